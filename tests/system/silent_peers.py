"""Peers that never say a word, say one byte a second, or do not even take a connection: each is given up within 10 s, with one event, and tried again. The other routes
of the same worker notice nothing."""
import re
import socket
import struct
import threading
import time

from rig import Flow, assert_nothing_lost, until
from rig.jvm import USER

NEEDS = ("activemq", "artemis", "rabbitmq")
LONG = True
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


class Drip:
    """Says `opening`, then one byte a second, for ever: whoever waits for a pause waits in vain."""

    def __init__(self, rig, opening, byte):
        self.opening, self.byte, self.closed = opening, byte, False
        self.listener = socket.create_server(("127.0.0.1", rig.free_port()), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._drip, args=(client,), daemon=True).start()

    def _drip(self, client):
        try:
            client.sendall(self.opening)
            while not self.closed:
                client.sendall(self.byte)
                time.sleep(1)
        except OSError:
            pass
        client.close()

    def end(self):
        self.closed = True
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self.listener.close()


class Full:
    """A listener whose queue is full: the kernel drops what wants to connect."""

    def __init__(self, rig):
        self.port = rig.free_port()
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen(0)
        self.waiting = []
        while len(self.waiting) < 4:
            self.waiting.append(socket.socket())
            self.waiting[-1].setblocking(False)
            self.waiting[-1].connect_ex(("127.0.0.1", self.port))

    def end(self):
        for each in (*self.waiting, self.listener):
            each.close()


def slow_brokers(rig):
    """({name: broker}, {name: peer}): a drip in each handshake, and connections that are never made."""
    ca = {"ca": f"{rig.certificates()}/ca.crt"}

    def amqp(port, scheme="amqp", **options):
        return dict({"connector": "amqp", "url": f"{scheme}://guest:guest@127.0.0.1:{port}/%2f"}, **options)

    def stomp(port, scheme="stomp", **options):
        return dict({"connector": "stomp", "url": f"{scheme}://127.0.0.1:{port}", "login": "a", "passcode": "b"}, **options)

    def kafka(port):
        return {"connector": "kafka", "bootstrap_servers": f"127.0.0.1:{port}"}

    def token(port):
        return dict(kafka(rig.kafka.oauth_port), sasl={"mechanism": "OAUTHBEARER", "oauth": {
            "token_url": f"http://127.0.0.1:{port}/", "client_id": "a", "client_secret": "b"}})
    peers = {
        "amqp-drip": (Drip(rig, struct.pack(">BHI", 1, 0, 4000), b"\0"), amqp),  # a frame that is never whole
        "amqps-drip": (Drip(rig, b"\x16\x03\x03\x40\0", b"\x02"), lambda port: amqp(port, "amqps", tls=ca)),
        "stomp-drip": (Drip(rig, b"CONNECTED\nversion:1.2\nx:", b"y"), stomp),
        "stomp-newlines": (Drip(rig, b"\n" * 100, b"\n"), stomp),  # heart-beats before there is a connection
        "ws-drip": (Drip(rig, b"HTTP/1.1 101 x\r\nX: ", b"y"), lambda port: stomp(port, "ws")),
        "kafka-drip": (Drip(rig, struct.pack(">I", 1 << 20), b"\0"), kafka),
        "token-drip": (Drip(rig, b"HTTP/1.1 200 OK\r\nX: ", b"y"), token),
        "amqp-full": (Full(rig), amqp),
        "stomp-full": (Full(rig), stomp),
        "kafka-full": (Full(rig), kafka),
        "token-full": (Full(rig), token),
    }
    return {name: of(peer.port) for name, (peer, of) in peers.items()}, {name: peer for name, (peer, _) in peers.items()}


class Watch:
    """One worker with those brokers as sources, beside a route that flows. wait() returns when each broker has its event."""

    def __init__(self, rig, brokers, peers):
        self.rig, self.brokers, self.peers, self.told, self.gap = rig, brokers, peers, {}, 0
        rig.kafka.create("silent")
        rig.rabbit.declare("silent", "silent-out")
        self.flow = Flow(rig, "beside", ("rr",))
        routes = [{"name": name, "from": source_of(name, broker), "to": {"broker": "r", "queue": "silent-out"}}
                  for name, broker in brokers.items()]
        self.gateway = rig.gateway({"workers": 1, "brokers": brokers, "routes": self.flow.routes + routes})
        self.began = time.monotonic()
        self.flow.start_flow(500)
        self.gateway.wait_route("rr", lambda r: r["state"] == "running", 10, "the other route does not run")
        self.last = self.flow.delivered(self.gateway)["rr"], time.monotonic()

    def _all_told(self):
        now, delivered = time.monotonic(), self.flow.delivered(self.gateway)["rr"]
        self.gap = max(self.gap, now - self.last[1])
        if delivered > self.last[0]:
            self.last = delivered, now
        for name in self.brokers:
            if name not in self.told and events_of(self.gateway, name):
                self.told[name] = now - self.began
        return len(self.told) == len(self.brokers)

    def wait(self):
        until(self._all_told, BOUND + MARGIN, lambda: f"no event of {set(self.brokers) - set(self.told)}; {self.told}:\n"
              f"{self.gateway.process.tail(40)}")
        report = {r["name"]: r for r in self.gateway.ready_report()["routes"]}
        events = {name: events_of(self.gateway, name) for name in self.brokers}
        assert all(t > BOUND - 1 for t in self.told.values()), f"too soon: {self.told}"
        assert all(len(lines) == 1 for lines in events.values()), events
        assert all(report[name]["state"] in ("down", "held") and report[name]["reason"] for name in self.brokers), report
        assert all(str(self.peers[name].port) in events[name][0] for name in self.brokers), events
        assert self.gap < 1, f"the other route stood still for {self.gap:.1f} s"

    def end(self):
        self.flow.finish_flow()
        self.flow.wait_settled(self.gateway)
        self.gateway.term()
        assert_nothing_lost(self.flow.tallies())
        self.rig.kafka.delete("silent")
        self.rig.rabbit.delete("silent", "silent-out")
        return (f"{len(self.brokers)} kinds given up after {min(self.told.values()):.1f} to {max(self.told.values()):.1f} s with one "
                f"event each; the route beside them never paused for more than {1000 * self.gap:.0f} ms")


def story_silent_peers(rig):
    watch = Watch(rig, *silent_brokers(rig))
    watch.wait()
    for proxy in watch.peers.values():
        proxy.mute = False
        proxy.cut()
    watch.gateway.wait_ready(40)
    return watch.end()


def story_slow_and_hanging_peers(rig):
    watch = Watch(rig, *slow_brokers(rig))
    try:
        watch.wait()
    finally:
        for peer in watch.peers.values():
            peer.end()
    return watch.end()
