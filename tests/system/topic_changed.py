"""A route that gets another topic in its file reads that one after a quick restart, although its membership is static."""
from rig import until
from rig.flow import number_of, records

IDLE = True


def route(topic):
    return {"instance": "moved", "routes": [{"name": "moved", "from": {"broker": "k", "topic": topic, "group": "moved"},
                        "to": {"broker": "k", "topic": "moved-out"}}]}


def story_read_after_a_restart(rig):
    kafka = rig.kafka
    kafka.create("moved-old", "moved-new", "moved-out")
    kafka.produce("moved-old", records(100))
    before = rig.gateway(route("moved-old"), "before").wait_ready()
    until(lambda: before.metric("bailey_messages_delivered_total", route="moved") == 100, 20, "the old topic is not read")
    before.kill()  # its session goes on for 10 s
    kafka.produce("moved-old", records(50, first=100))
    kafka.produce("moved-new", records(100, first=200))
    after = rig.gateway(route("moved-new"), "after").wait_ready(40)
    until(lambda: (after.metric("bailey_messages_delivered_total", route="moved") or 0) >= 100, 40,
          lambda: f"the new topic is not read: {after.ready_report()}\n{after.process.tail()}")
    after.term()
    numbers = [number_of(r.value) for r in kafka.consume("moved-out")]
    assert set(range(200, 300)) <= set(numbers), "messages of the new topic are missing"
    assert not set(range(100, 150)) & set(numbers), "the old topic is still read"
    return "the new topic is read, the old one is not"
