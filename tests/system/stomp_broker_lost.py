"""STOMP brokers are killed and come back; networks between (AMQP's, too) fall silent, are slow, or deliver byte by byte."""
import time

from broker_lost import finish, killed_and_restarted, wait_flow

from rig import Flow, until

NEEDS = ("activemq", "artemis", "rabbitmq")
BREAKS = True
RATE, HEARTBEAT = 400, 2  # messages a second on each route; seconds


def through_proxies(rig, letters="ats"):
    proxies, brokers = rig.through_proxies(letters)
    return proxies, {letter: dict(broker, heartbeat=f"{HEARTBEAT}s") for letter, broker in brokers.items()}


def story_killed_and_restarted(rig):
    flow = Flow(rig, "slost", ("kk", "ka", "ak", "aa", "kt", "tk", "tt", "rs", "sk", "ss"), durable_sinks="quorum")
    return killed_and_restarted(rig, flow, RATE, {"a": rig.activemq, "t": rig.artemis, "rs": rig.rabbit})


def half_open(gateway, flow, letter, proxy):
    """Seconds until the routes that use the broker are seen to be down, and until all flows again."""
    touched = {name for name in flow.names if letter in name}
    wait_flow(flow, gateway)
    began = time.monotonic()
    count = proxy.swallow()
    assert count >= len(touched), f"{count} connections only"
    until(lambda: touched <= {r["name"] for r in gateway.ready_report()["routes"] if r["state"] != "running"},
          2.5 * HEARTBEAT, lambda: f"{letter} is silent, and /readyz says {gateway.ready_report()}")
    found = time.monotonic() - began
    gateway.wait_ready(30)
    wait_flow(flow, gateway)
    return f"{letter} {found:.1f} s"


def story_half_open(rig):
    flow = Flow(rig, "half", ("kk", "ka", "aa", "tk", "tt", "ks", "ss"))
    proxies, brokers = through_proxies(rig)
    gateway = rig.gateway({"brokers": brokers, "routes": flow.routes}).wait_ready()
    flow.start_flow(RATE)
    found = [half_open(gateway, flow, letter, proxy) for letter, proxy in proxies.items()]
    return f"found with heart-beats of {HEARTBEAT} s: {', '.join(found)}; {finish(flow, gateway, marked=flow.names, mend=rig.artemis.restart)}"


def story_slow_network(rig):
    """Latency, then byte by byte, then connections that are reset: late, but nothing is taken for a failure that is none."""
    flow = Flow(rig, "slow", ("aa", "tt", "ss", "rr"))
    proxies, brokers = through_proxies(rig, "atsr")
    gateway = rig.gateway({"brokers": brokers, "routes": flow.routes}).wait_ready()
    flow.start_flow(100)
    for fault in ({"latency": 0.1}, {"latency": 0.0, "bytewise": True}):
        for proxy in proxies.values():
            vars(proxy).update(fault)
        wait_flow(flow, gateway)
        wait_flow(flow, gateway)
    restarts = gateway.values("bailey_end_restarts_total")
    assert not any(restarts.values()), f"a slow network was taken for a lost one: {restarts}"
    for proxy in proxies.values():
        proxy.cut()
    gateway.wait_ready(20)
    wait_flow(flow, gateway)
    return f"no end was opened again until the cut; {finish(flow, gateway, marked=flow.names, mend=rig.artemis.restart)}"
