"""A real pair with a kill and a drain, short enough for a sanitized binary: make asan, make tsan."""
from rig import Flow, assert_nothing_lost, until

ON_DEMAND = True
RATE = 1000


def story_kill_and_drain(rig):
    flow = Flow(rig, "san")
    gateway = rig.gateway({"routes": flow.routes}).wait_ready(60)
    flow.start_flow(RATE)

    def flowing():
        until(lambda: all(v > 100 for v in gateway.values("bailey_messages_delivered_total").values() or [0]), 60,
              lambda: f"no flow: {gateway.ready_report()}\n{gateway.process.tail()}")
    flowing()
    gateway.kill()
    gateway.start()
    flowing()
    rig.rabbit.process.kill()
    rig.rabbit.start()
    rig.kafka.process.kill()
    rig.kafka.start()
    gateway.wait_ready(60)
    gateway.term(20)
    gateway.start()
    flow.finish_flow()
    flow.wait_settled(gateway)
    gateway.get("/metrics")
    gateway.term(20)
    tallies = flow.tallies()
    assert_nothing_lost(tallies)
    return f"0 of {flow.count} lost, no report of the sanitizer"
