"""A broker is killed with SIGKILL and comes back, or is silent for 20 s: nothing is lost, the other one's routes flow on."""
import time

from rig import Flow, assert_nothing_lost, until

BREAKS = True
SILENT_SECONDS = 20


def wait_flow(flow, gateway, timeout=40):
    """Until each route has delivered more than it has now."""
    before = flow.delivered(gateway)
    until(lambda: len(before) == len(flow.names) and all(v > before[r] for r, v in flow.delivered(gateway).items()), timeout,
          lambda: f"not all routes flow: {gateway.ready_report()}\n{gateway.process.tail()}")


def finish(flow, gateway, marked=(), mend=None):
    """`marked`: routes on which nothing but lost connections may have caused a duplicate, and so each says that it may be one.
    `mend`: see killed_three_times()."""
    flow.finish_flow()
    if mend is not None:
        mend()
    flow.wait_settled(gateway)
    gateway.term()
    tallies = flow.tallies()
    assert_nothing_lost(tallies)
    unmarked = {route: t.unmarked for route, t in tallies.items() if t.unmarked and route in marked}
    assert not unmarked, f"duplicates that are not marked: {unmarked}"
    return f"0 of {flow.count} lost; duplicates: " + ", ".join(f"{r} {t.duplicates}" for r, t in sorted(tallies.items()))


def killed_and_restarted(rig, flow, rate, brokers):
    """`brokers`: {the letters that stand for it in the routes' names: broker}. What it did, in words."""
    gateway = rig.gateway({"routes": flow.routes}).wait_ready()
    flow.start_flow(rate)
    times = []
    for letters, broker in brokers.items():
        touched = {name for name in flow.names if set(letters) & set(name)}
        others = [name for name in flow.names if name not in touched]
        wait_flow(flow, gateway)
        broker.process.kill()
        until(lambda: touched <= {r["name"] for r in gateway.ready_report()["routes"] if r["state"] != "running"}, 15,
              lambda: f"{broker.process.name} is dead, and /readyz says {gateway.ready_report()}")
        before = flow.delivered(gateway)
        until(lambda: all(flow.delivered(gateway)[name] > before[name] for name in others), 5,
              lambda: f"{broker.process.name} is dead, and not all of {others} flow")
        broker.start()
        began = time.monotonic()
        gateway.wait_ready(40)
        wait_flow(flow, gateway)
        times.append(f"{broker.process.name} {time.monotonic() - began:.1f} s")
    return f"flow again after {', '.join(times)}; {finish(flow, gateway)}"


def story_killed_and_restarted(rig):
    flow = Flow(rig, "lost", durable_sinks="quorum")
    return killed_and_restarted(rig, flow, 1000, {"k": rig.kafka, "r": rig.rabbit})


def silent(flow, gateway, broker, unaffected):
    """SIGSTOP for 20 s; the route that does not use the broker goes on, and memory does not grow."""
    wait_flow(flow, gateway)
    began, before, rss = time.monotonic(), flow.delivered(gateway)[unaffected], gateway.rss_kb()
    broker.process.stop()
    until(lambda: not gateway.is_ready(), SILENT_SECONDS, lambda: f"{broker.process.name} is silent, and /readyz says {gateway.ready_report()}")
    noticed = time.monotonic() - began
    until(lambda: time.monotonic() - began >= SILENT_SECONDS, SILENT_SECONDS + 1, "time stands still", every=0.1)
    went_on = flow.delivered(gateway)[unaffected] - before
    grown = gateway.rss_kb() - rss
    broker.process.cont()
    gateway.wait_ready(40)
    wait_flow(flow, gateway)
    assert went_on > 0, f"route {unaffected} stood still while {broker.process.name} was silent"
    return f"{broker.process.name}: noticed after {noticed:.1f} s, {unaffected} moved {went_on:.0f} meanwhile, RSS {grown:+d} KiB"


def story_silent_for_20_s(rig):
    flow = Flow(rig, "mute")
    gateway = rig.gateway({"brokers": {"r": {"connector": "amqp", "url": rig.rabbit.url, "heartbeat": "5s"}},
                           "routes": flow.routes}).wait_ready()
    flow.start_flow(1000)
    figures = [silent(flow, gateway, rig.rabbit, "kk"), silent(flow, gateway, rig.kafka, "rr")]
    return f"{'; '.join(figures)}; {finish(flow, gateway)}"
