"""SIGTERM in full flow: what is in flight is finished and settled, nothing comes twice."""
import time

from rig import Flow, assert_nothing_lost, until

RATE, STOPS = 1500, 3


def story_sigterm_without_a_duplicate(rig):
    flow = Flow(rig, "drain")
    gateway = rig.gateway({"routes": flow.routes}).wait_ready()
    flow.start_flow(RATE)
    longest = 0
    for _ in range(STOPS):
        until(lambda: all(v > 200 for v in gateway.values("bailey_messages_delivered_total").values() or [0]), 30,
              lambda: f"no flow: {gateway.ready_report()}")
        began = time.monotonic()
        gateway.term(12)
        longest = max(longest, time.monotonic() - began)
        gateway.start()
    flow.finish_flow()
    flow.wait_settled(gateway)
    gateway.term()
    tallies = flow.tallies()
    assert_nothing_lost(tallies)
    repeated = {route: t.duplicates for route, t in tallies.items() if t.duplicates}
    assert not repeated, f"drained, and yet there are duplicates: {repeated}"
    assert all(t.ordered for t in tallies.values()), {r: t.ordered for r, t in tallies.items()}
    return f"{STOPS} stops under {4 * RATE} messages/s: 0 of {flow.count} lost, 0 duplicates, in order; longest {longest:.1f} s"
