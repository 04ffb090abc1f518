"""One process that runs all four routes is killed with SIGKILL, while messages are in doubt in each."""
import time

from rig import Flow, assert_nothing_lost, until

RATE = 3000
RESUME_SECONDS = 6  # 3 s after the brokers' consent, which Kafka gives within 3 s of losing a member


def resume(flow, gateway):
    """Start again; seconds until each route has delivered something."""
    began = time.monotonic()
    gateway.start()
    until(lambda: flow.all_deliver(gateway, 0), 30, lambda: f"not all routes deliver again: {gateway.ready_report()}")
    return time.monotonic() - began


def killed_three_times(rig, flow, rate, warm=500, brokers=None, resume_seconds=RESUME_SECONDS, mend=None):
    """In full flow, after `warm` messages on each route, with at least one in doubt on each. What it did, in words.

    `mend` is called when the flow has ended: what a broker needs before it gives out all that it has."""
    gateway = rig.gateway({"brokers": brokers or {}, "routes": flow.routes}).wait_ready()
    flow.start_flow(rate)
    doubts, resumed = [], []
    for _ in range(3):
        until(lambda: flow.all_deliver(gateway, warm), 30,
              lambda: f"no flow: {flow.delivered(gateway)} {gateway.ready_report()}\n{gateway.process.tail()}")
        doubt = until(lambda: flow.all_in_doubt(gateway), 20,
                      lambda: f"not in doubt on every route: {gateway.values('bailey_unconfirmed')}", every=0)
        gateway.kill()
        doubts.append("+".join(str(int(doubt[route])) for route in flow.names))
        resumed.append(resume(flow, gateway))
    flow.finish_flow()
    if mend is not None:
        mend()
    flow.wait_settled(gateway)
    gateway.term()
    tallies = flow.tallies()
    assert_nothing_lost(tallies)
    assert max(resumed) <= resume_seconds, f"took {max(resumed):.1f} s to move messages again"
    duplicates = ", ".join(f"{route} {t.duplicates}" for route, t in tallies.items())
    return (f"in doubt at the kills ({'+'.join(flow.names)}) {', '.join(doubts)}; 0 of {flow.count} lost; "
            f"duplicates: {duplicates}; moving again after {', '.join(f'{s:.1f}' for s in resumed)} s")


def story_four_routes_killed_three_times(rig):
    return killed_three_times(rig, Flow(rig, "kill"), RATE)
