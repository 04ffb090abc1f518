"""A queue is deleted under a running route, at its source and at its sink: seen, named, and mended without a restart."""
from rig import Message, assert_nothing_lost, tally, until
from rig.flow import messages


def setup(rig, name):
    rig.rabbit.declare(f"{name}-in", f"{name}-out", f"{name}-other-in", f"{name}-other-out")
    gateway = rig.gateway({"routes": [
        {"name": "broken", "unroutable": "retry", "from": {"broker": "r", "queue": f"{name}-in"}, "to": {"broker": "r", "queue": f"{name}-out"}},
        {"name": "other", "from": {"broker": "r", "queue": f"{name}-other-in"},
         "to": {"broker": "r", "queue": f"{name}-other-out"}}]}).wait_ready()
    rig.rabbit.publish(f"{name}-in", messages(1000))
    delivered(gateway, "broken", 1000)
    return gateway


def delivered(gateway, route, count):
    until(lambda: (gateway.metric("bailey_messages_delivered_total", route=route) or 0) >= count, 20,
          lambda: f"{route} does not flow: {gateway.ready_report()}\n{gateway.process.tail()}")


def other_flows(rig, gateway, name, times):
    rig.rabbit.publish(f"{name}-other-in", [Message(b"x")] * 100)
    delivered(gateway, "other", 100 * times)


def story_of_the_source(rig):
    gateway = setup(rig, "gone")
    rig.rabbit.delete("gone-in")
    report = gateway.wait_route("broken", lambda r: r["state"] == "down" and "gone-in" in r["reason"], 5,
                                "/readyz does not name the queue")
    other_flows(rig, gateway, "gone", 1)
    rig.rabbit.declare("gone-in")
    rig.rabbit.publish("gone-in", messages(1000, first=1000))
    delivered(gateway, "broken", 2000)
    gateway.wait_ready(5)
    gateway.term()
    result = tally(2000, [m.body for m in rig.rabbit.drain("gone-out", 2000)])
    assert_nothing_lost({"broken": result})
    assert result.duplicates == 0, result
    return f"'{report['reason']}'"


def story_of_the_sink(rig):
    gateway = setup(rig, "void")
    first = rig.rabbit.drain("void-out", 1000)
    rig.rabbit.delete("void-out")
    rig.rabbit.publish("void-in", messages(200, first=1000))
    refused = until(lambda: sum(v for (name, labels), v in gateway.metrics().items()
                                if name == "bailey_messages_refused_total" and ("route", "broken") in labels), 10,
                    lambda: f"nothing was refused: {gateway.ready_report()}\n{gateway.process.tail()}")
    other_flows(rig, gateway, "void", 1)
    assert rig.rabbit.count("void-in") == 0, "refused messages went back to their queue"
    rig.rabbit.declare("void-out")
    delivered(gateway, "broken", 1200)
    gateway.term()
    result = tally(1200, [m.body for m in first + rig.rabbit.drain("void-out", 200)])
    assert_nothing_lost({"broken": result})
    assert result.duplicates == 0, result
    return f"{refused:.0f} times refused, all 200 delivered when the queue was back"
