"""One process that runs all four routes is killed with SIGKILL, while messages are in doubt in each."""
import time

from rig import FourDirections, assert_nothing_lost, until

RATE = 3000
RESUME_SECONDS = 6  # 3 s after the brokers' consent, which Kafka gives within 3 s of losing a member


def all_in_doubt(gateway):
    """{route: messages sent and unconfirmed}, if that is one at least in each."""
    values = gateway.values("bailey_unconfirmed")
    return values if len(values) == 4 and all(v >= 1 for v in values.values()) else None


def resume(rig, gateway):
    """Start again; seconds until each route has delivered something."""
    began = time.monotonic()
    gateway.start()
    until(lambda: all(v >= 1 for v in gateway.values("bailey_messages_delivered_total").values() or [0]), 30,
          lambda: f"not all routes deliver again: {gateway.ready_report()}")
    return time.monotonic() - began


def story_four_routes_killed_three_times(rig):
    flow = FourDirections(rig, "kill")
    gateway = rig.gateway({"routes": flow.routes}).wait_ready()
    flow.start_flow(RATE)
    doubts, resumed = [], []
    for _ in range(3):
        until(lambda: all(v > 500 for v in gateway.values("bailey_messages_delivered_total").values() or [0]), 30,
              lambda: f"no flow: {gateway.ready_report()}")
        doubt = until(lambda: all_in_doubt(gateway), 20,
                      lambda: f"not in doubt on every route: {gateway.values('bailey_unconfirmed')}", every=0)
        gateway.kill()
        doubts.append("+".join(str(int(doubt[route])) for route in ("kk", "ka", "ak", "aa")))
        resumed.append(resume(rig, gateway))
    flow.finish_flow()
    flow.wait_settled(gateway)
    gateway.term()
    tallies = flow.tallies()
    assert_nothing_lost(tallies)
    assert max(resumed) <= RESUME_SECONDS, f"took {max(resumed):.1f} s to move messages again"
    duplicates = ", ".join(f"{route} {t.duplicates}" for route, t in sorted(tallies.items()))
    return (f"in doubt at the kills (kk+ka+ak+aa) {', '.join(doubts)}; 0 of {flow.count} lost; duplicates: {duplicates}; "
            f"moving again after {', '.join(f'{s:.1f}' for s in resumed)} s")
