"""Peers that take a connection and never say a word: each is given up within 10 s, with one event, and tried again. The other routes
of the same worker notice nothing."""
import re
import time

from rig import Flow, assert_nothing_lost, until
from rig.jvm import USER

NEEDS = ("activemq", "artemis", "rabbitmq")
BOUND, MARGIN = 10, 3  # seconds


def silent_brokers(rig):
    """({name: broker}, {name: proxy}): each kind of connection, through a proxy that swallows all."""
    kafka, rabbit, activemq, artemis = rig.kafka, rig.rabbit, rig.activemq, rig.artemis
    ca = {"ca": f"{rig.certificates()}/ca.crt"}
    stomp = {"connector": "stomp", "login": USER[0], "passcode": USER[1]}
    kinds = {
        "amqp": (rabbit.port, lambda at: {"connector": "amqp", "url": f"amqp://guest:guest@{at}/%2f"}),
        "amqps": (rabbit.ssl_port, lambda at: {"connector": "amqp", "url": f"amqps://guest:guest@{at}/%2f", "tls": ca}),
        "kafka": (kafka.port, lambda at: {"connector": "kafka", "bootstrap_servers": at}),
        "kafka-tls": (kafka.sasl_ssl_port, lambda at: {"connector": "kafka", "bootstrap_servers": at, "tls": ca, "sasl": {
            "mechanism": "PLAIN", "username": "admin", "password": "admin-secret"}}),
        "activemq": (activemq.stomp_port, lambda at: dict(stomp, url=f"stomp://{at}")),
        "artemis": (artemis.stomp_port, lambda at: dict(stomp, url=f"stomp://{at}")),
        "rabbitmq": (rabbit.stomp_port, lambda at: dict(stomp, url=f"stomp://{at}", login="guest", passcode="guest")),
        "stomp-tls": (artemis.stomps_port, lambda at: dict(stomp, url=f"stomp+ssl://{at}", tls=ca)),
        "ws": (activemq.ws_port, lambda at: dict(stomp, url=f"ws://{at}")),
    }
    proxies = {name: rig.proxy(port) for name, (port, _) in kinds.items()}
    for proxy in proxies.values():
        proxy.mute = True
    return {name: of(f"localhost:{proxies[name].port}") for name, (_, of) in kinds.items()}, proxies


def source_of(name, broker):
    where = {"kafka": "topic", "amqp": "queue", "stomp": "destination"}[broker["connector"]]
    return {"broker": name, where: "/queue/silent" if where == "destination" else "silent"}


def events_of(gateway, name):
    return re.findall(rf"^\S+ (?:warn|error) ((?:amqp|kafka|stomp)\.\w+ broker={name} .*)$", gateway.output(), re.MULTILINE)


def story_silent_peers(rig):
    rig.kafka.create("silent")
    rig.rabbit.declare("silent", "silent-out")
    brokers, proxies = silent_brokers(rig)
    flow = Flow(rig, "beside", ("rr",))
    routes = [{"name": name, "from": source_of(name, broker), "to": {"broker": "r", "queue": "silent-out"}}
              for name, broker in brokers.items()]
    gateway = rig.gateway({"workers": 1, "brokers": brokers, "routes": flow.routes + routes})
    began = time.monotonic()
    flow.start_flow(500)
    gateway.wait_route("rr", lambda r: r["state"] == "running", 10, "the other route does not run")
    told, gap, last = {}, 0, (flow.delivered(gateway)["rr"], time.monotonic())

    def all_told():
        nonlocal gap, last
        now, delivered = time.monotonic(), flow.delivered(gateway)["rr"]
        if delivered > last[0]:
            gap, last = max(gap, now - last[1]), (delivered, now)
        for name in brokers:
            if name not in told and events_of(gateway, name):
                told[name] = now - began
        return len(told) == len(brokers)
    until(all_told, BOUND + MARGIN, lambda: f"no event of {set(brokers) - set(told)}; {told}:\n{gateway.process.tail(40)}")
    report = {r["name"]: r for r in gateway.ready_report()["routes"]}
    events = {name: events_of(gateway, name) for name in brokers}
    assert all(t > BOUND - 1 for t in told.values()), f"too soon: {told}"
    assert all(len(lines) == 1 for lines in events.values()), events
    assert all(report[name]["state"] in ("down", "held") and report[name]["reason"] for name in brokers), report
    assert all(str(proxies[name].port) in events[name][0] for name in brokers), events
    assert gap < 1, f"the other route stood still for {gap:.1f} s"
    for proxy in proxies.values():
        proxy.mute = False
        proxy.cut()
    gateway.wait_ready(40)
    flow.finish_flow()
    flow.wait_settled(gateway)
    gateway.term()
    assert_nothing_lost(flow.tallies())
    return (f"{len(brokers)} kinds given up after {min(told.values()):.1f} to {max(told.values()):.1f} s with one event each; the "
            f"route beside them never paused for more than {1000 * gap:.0f} ms")
