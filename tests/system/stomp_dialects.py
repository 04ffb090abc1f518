"""Where the three brokers differ from each other: what they do, frame by frame, and what Bailey does about it. docs/stomp.md
names the functions of this file; when a newer broker behaves differently, one of the first kind fails."""
import os
import re
import socket

import pika

from rig import Message, StompMessage, until
from rig.jvm import LIMITED, USER

NEEDS = ("activemq", "artemis", "rabbitmq")
LETTERS = ("a", "t", "s")


class Wire:
    """A connection that sends what it is given, byte by byte, and reads frames without unescaping anything."""

    def __init__(self, rig, letter):
        broker = {"a": lambda: rig.activemq, "t": lambda: rig.artemis, "s": lambda: rig.rabbit}[letter]()
        user = ("guest", "guest") if letter == "s" else USER
        self.socket = socket.create_connection(("127.0.0.1", broker.stomp_port), timeout=10)
        self.input = b""
        self.headers = []  # of the last frame: (name, value), as they came
        self.send(f"CONNECT\naccept-version:1.2\nhost:/\nlogin:{user[0]}\npasscode:{user[1]}\n\n")
        assert self.frame()[0] == "CONNECTED"

    def send(self, frame):
        self.socket.sendall(frame.encode() + b"\0")

    def frame(self, timeout=10):
        """(command, {header: first value}, body), or None if nothing comes, or ("", {}, b"") at the end."""
        self.socket.settimeout(timeout)
        try:
            while True:
                self.input = self.input.lstrip(b"\r\n")
                head, found, rest = self.input.partition(b"\n\n")
                if found:
                    command, *lines = head.decode().split("\n")
                    self.headers = [tuple(line.split(":", 1)) for line in lines]
                    headers = dict(reversed(self.headers))
                    length = int(headers["content-length"]) if "content-length" in headers else rest.find(b"\0")
                    if 0 <= length < len(rest):
                        self.input = rest[length + 1:]
                        return command, headers, rest[:length]
                data = self.socket.recv(1 << 16)
                if not data:
                    return "", {}, b""
                self.input += data
        except socket.timeout:
            return None
        except ConnectionError:
            return "", {}, b""

    def until(self, command):
        """The next frame of that kind."""
        while True:
            frame = self.frame()
            assert frame is not None and frame[0] in (command, "MESSAGE", "RECEIPT"), f"{command} wanted, {frame} came"
            if frame[0] == command:
                return frame

    def subscribe(self, queue, count, **headers):
        """That many of its messages."""
        more = "".join(f"{name}:{value}\n" for name, value in headers.items())
        self.send(f"SUBSCRIBE\nid:1\ndestination:{queue}\nack:client-individual\n{more}\n")
        return [self.until("MESSAGE") for _ in range(count)]

    def leave(self):
        self.send("DISCONNECT\nreceipt:end\n\n")
        while self.frame(timeout=1) not in (None, ("", {}, b"")):
            pass
        self.socket.close()


# ---- What they do

def story_acks_after_unsubscribe_mean_nothing(rig):
    """So a source that drains does not unsubscribe."""
    for letter in LETTERS:
        queue = f"/queue/dialects.unsubscribe-{letter}"
        rig.stomp(letter).send(queue, [StompMessage(b"x")])
        wire = Wire(rig, letter)
        message = wire.subscribe(queue, 1)[0]
        wire.send("UNSUBSCRIBE\nid:1\nreceipt:u\n\n")
        wire.until("RECEIPT")
        wire.send(f"ACK\nid:{message[1]['ack']}\nreceipt:a\n\n")
        assert wire.frame()[0] == ("RECEIPT" if letter == "a" else "ERROR"), letter
        wire.leave()
        assert len(rig.stomp(letter).drain(queue, 1)) == 1


def story_artemis_counts_disconnects(rig):
    """Ten make a dead letter of the oldest message; UNSUBSCRIBE first costs nothing."""
    queue = "/queue/dialects.attempts"
    rig.stomp("t").send(queue, [StompMessage(b"x")])
    for _ in range(15):
        wire = Wire(rig, "t")
        wire.subscribe(queue, 1)
        wire.send("UNSUBSCRIBE\nid:1\n\n")
        wire.leave()
    for _ in range(10):
        wire = Wire(rig, "t")
        wire.subscribe(queue, 1)
        wire.leave()
    wire = Wire(rig, "t")
    wire.subscribe(queue, 0)
    assert wire.frame(timeout=1) is None
    wire.leave()


def story_artemis_hides_what_it_repeats(rig):
    """The second of two messages comes again as if it were new."""
    queue = "/queue/dialects.hidden"
    rig.stomp("t").send(queue, [StompMessage(b"x")] * 2)
    seen = []
    for _ in range(2):
        wire = Wire(rig, "t")
        seen.append([(m[1]["message-id"].partition(",")[2], m[1]["redelivered"]) for m in wire.subscribe(queue, 2)])
        wire.leave()
    assert [number for number, _ in seen[0]] == [number for number, _ in seen[1]]
    assert seen[1][1][1] == "false", seen


def story_rabbitmq_gives_receipts_for_what_it_loses(rig):
    wire = Wire(rig, "s")
    for destination in ("/topic/nobody", "/amq/queue/nowhere", "/exchange/amq.direct/nobody"):
        wire.send(f"SEND\ndestination:{destination}\nreceipt:r\n\nx")
        assert wire.frame()[0] == "RECEIPT"
    wire.leave()


def story_rabbitmq_ignores_selectors(rig):
    queue = "/queue/dialects.selector"
    rig.stomp("s").send(queue, [StompMessage(b"x", {"color": "blue"})])
    wire = Wire(rig, "s")
    assert wire.subscribe(queue, 1, selector="color = 'red'")[0][1]["color"] == "blue"
    wire.leave()


FORGED = {"ack": "T_1@@x@@1", "subscription": "evil", "message-id": "T_1@@y@@1"}


class Twice(dict):
    """A table with one name twice, which AMQP allows."""

    def items(self):
        return [*super().items(), ("content-length", "9"), ("content-length", "7")]


def story_what_a_producer_can_forge(rig):
    """All three hand on headers that are named like their own, ActiveMQ excepted; what is the broker's is known by its place.
    RabbitMQ and Artemis even hand on a content-length, behind which the next frame is read as a body."""
    frame = "".join(f"{name}:{value}\n" for name, value in FORGED.items() if name != "message-id")
    for letter in LETTERS:
        queue = f"/queue/dialects.forged-{letter}"
        wire = Wire(rig, letter)
        if letter == "s":
            rig.rabbit.declare(queue[len("/queue/"):])
            rig.rabbit.publish(queue[len("/queue/"):], [
                Message(b"x", pika.BasicProperties(headers=FORGED)), Message(b"y", pika.BasicProperties(headers=Twice(a="b")))])
        else:
            wire.send(f"SEND\ndestination:{queue}\n{frame}message-id:{FORGED['message-id']}\ncontent-length:1\nreceipt:1\n\nx")
            wire.send(f"SEND\ndestination:{queue}\ncontent-length:9\ncontent-length:0\nreceipt:2\n\n" if letter == "t" else
                      f"SEND\ndestination:{queue}\ncontent-length:1\nreceipt:2\n\ny")
            assert [wire.until("RECEIPT")[1]["receipt-id"] for _ in range(2)] == ["1", "2"]
        wire.subscribe(queue, 1)
        names, values = zip(*wire.headers)
        found = {name: [v for n, v in wire.headers if n == name] for name in (*FORGED, "content-length")}
        if letter == "a":
            assert all(len(values) == 1 for values in found.values()) and "T_1" not in str(wire.headers), wire.headers
        else:
            assert all(FORGED[name] in found[name] for name in FORGED), wire.headers
            assert "@@session" in found["message-id"][0] or letter == "t", wire.headers
        if letter == "s":
            assert found["ack"][0] == found["message-id"][0] and names[-1] == "content-length", wire.headers
        if letter == "t":
            assert found["ack"][-1] == found["message-id"][0] == values[-1], wire.headers
            assert names.index("content-length") < names.index("message-id"), wire.headers
        if letter == "a":
            wire.leave()
            continue
        wire.input += wire.socket.recv(1 << 16) if b"\n\n" not in wire.input.lstrip() else b""
        head = wire.input.lstrip().partition(b"\n\n")[0].decode().split("\n")
        lengths = [i for i, line in enumerate(head) if line.startswith("content-length:")]
        if letter == "s":
            assert len(lengths) == 2 and head[-1] == "content-length:1", head
        else:
            assert [head[i] for i in lengths] == ["content-length:9"] and head[-1].startswith("ack:"), head
        wire.socket.close()


def story_which_errors_name_the_message(rig):
    for letter, frame, named in (("a", "SEND\nreceipt:7\n\nx", True), ("t", "SEND\nreceipt:7\n\nx", True),
                                 ("s", "SEND\nreceipt:7\n\nx", False)):
        wire = Wire(rig, letter)
        wire.send(frame)
        assert (wire.until("ERROR")[1].get("receipt-id") == "7") is named, letter
        wire.socket.close()


# ---- What Bailey does about it

def route(name, letter, source, sink, **options):
    return {"name": name, "from": {"broker": letter, "destination": source},
            "to": dict({"broker": letter, "destination": sink}, **options)}


def story_a_message_that_the_broker_hates(rig):
    """An ERROR ends the connection: only the culprit is refused, and all others arrive, whether the ERROR names it or not."""
    rig.rabbit.admit_limited()
    brokers, routes = {}, []
    for letter in LETTERS:
        good = f"/queue/limited.hated-{letter}"
        rig.stomp(letter).send(f"/queue/dialects.hated-{letter}", [
            StompMessage(b"%d" % i, {"where": "/queue/forbidden" if i == 50 else good}) for i in range(100)])
        brokers[f"{letter}-limited"] = dict(rig.brokers()[letter], login=LIMITED[0], passcode=LIMITED[1])
        routes.append({"name": letter, "from": {"broker": letter, "destination": f"/queue/dialects.hated-{letter}"},
                       "to": {"broker": f"{letter}-limited", "destination": "${header.where}"}})
    gateway = rig.gateway({"brokers": brokers, "routes": routes})
    for letter in LETTERS:
        until(lambda: gateway.metric("bailey_messages_delivered_total", route=letter) == 99, 30,
              lambda: f"{gateway.route(letter)}\n{gateway.process.tail()}")
    gateway.term()
    for letter in LETTERS:
        bodies = {m.body for m in rig.stomp(letter).drain(f"/queue/limited.hated-{letter}", 99)}
        assert bodies == {b"%d" % i for i in range(100) if i != 50}
        assert [m.body for m in rig.stomp(letter).drain(f"/queue/dialects.hated-{letter}", 1)] == [b"50"]
    assert "stomp.culprit_wanted" in gateway.output()


def story_websocket_bodies_that_are_no_text(rig):
    """ActiveMQ would spoil them: that message alone is refused, with the reason and what to do. The others take every byte."""
    bodies = [b"text", "t\N{LATIN SMALL LETTER E WITH ACUTE}xt\0".encode(), b"\xff\xfe\0 no text", b"", b"last"]
    ports, brokers, routes = {"a": rig.activemq.ws_port, "t": rig.artemis.ws_port, "s": rig.rabbit.ws_port}, {}, []
    for letter in LETTERS:
        rig.stomp(letter).send(f"/queue/dialects.ws-{letter}", [StompMessage(body) for body in bodies])
        url = f"ws://127.0.0.1:{ports[letter]}{'/ws' if letter == 's' else ''}"
        brokers[f"{letter}-ws"] = dict(rig.brokers()[letter], url=url)
        routes.append(dict(route(letter, letter, f"/queue/dialects.ws-{letter}", f"/queue/dialects.ws-{letter}-out")))
        routes[-1]["to"]["broker"] = f"{letter}-ws"
        routes[-1]["dead_letter"] = {"broker": letter, "destination": f"/queue/dialects.ws-{letter}-dead"}
    gateway = rig.gateway({"brokers": brokers, "routes": routes})
    expected = {letter: [body for body in bodies if letter != "a" or body != bodies[2]] for letter in LETTERS}
    for letter in LETTERS:
        until(lambda: gateway.metric("bailey_messages_delivered_total", route=letter) == len(expected[letter]), 20,
              lambda: f"{gateway.route(letter)}\n{gateway.process.tail()}")
    refused = until(lambda: gateway.metric("bailey_messages_refused_total", route="a", **{"class": "permanent"}), 10,
                    lambda: f"nothing is refused: {gateway.metrics()}")
    events = [line for line in gateway.output().splitlines() if "delivery.given_up " in line]
    assert events and all(words in event for event in events for words in (
        "route=a ", "it is not UTF-8, and activemq takes only that over WebSocket", "Use a stomp:// or stomp+ssl:// URL")), events
    assert gateway.is_ready(), gateway.ready_report()  # the route goes on
    gateway.term()
    for letter in LETTERS:
        got = rig.stomp(letter).drain(f"/queue/dialects.ws-{letter}-out", len(expected[letter]))
        assert [m.body for m in got] == expected[letter], (letter, got)
    assert [m.body for m in rig.stomp("a").drain("/queue/dialects.ws-a-dead", 1)] == [bodies[2]]
    return f"refused {refused:.0f} times by us, and a dead letter; the other two brokers take it"


def story_no_route_no_receipt(rig):
    """On RabbitMQ a sink takes /queue/NAME only, and a selector is refused, in the words of docs/stomp.md."""
    rig.stomp("s").send("/queue/dialects.noroute", [StompMessage(b"x", {"where": "/topic/nobody"}),
                                                    StompMessage(b"y", {"where": "/queue/dialects.noroute-out"})])
    selecting = route("selects", "s", "/queue/dialects.noroute-2", "/queue/dialects.noroute-3")
    selecting["from"]["selector"] = "color = 'red'"
    by_header = dict(route("by-header", "s", "/queue/dialects.noroute", "${header.where}"),
                     dead_letter={"broker": "s", "destination": "/queue/dialects.noroute-dead"})
    gateway = rig.gateway({"routes": [by_header,
                                      route("to-topic", "s", "/queue/dialects.noroute-2", "/topic/nobody"), selecting,
                                      route("accepts", "s", "/queue/dialects.noroute-4", "/topic/nobody", unroutable="accept")]})
    until(lambda: gateway.metric("bailey_messages_delivered_total", route="by-header") == 1, 20, gateway.process.tail)
    until(lambda: "proves no route for /topic/nobody" in gateway.output(), 10, gateway.process.tail)
    for name, words in (("to-topic", "proves no route for /topic/nobody"), ("selects", "has no selectors")):
        gateway.wait_route(name, lambda r: r["state"] == "down" and words in r["reason"], 10, name)
    gateway.wait_route("accepts", lambda r: r["state"] == "running", 10, "accepts")
    gateway.kill()
    assert re.search(r"accepts.*\n(  .*\n)*  warning: unroutable: accept", rig.run("explain", gateway.file).stdout)
    assert [m.body for m in rig.stomp("s").drain("/queue/dialects.noroute-out", 1)] == [b"y"]


def story_a_destination_that_is_not_there(rig):
    """Nothing takes such a message: a refusal of its own class, and the others go on."""
    routes = []
    for letter, nowhere in (("t", "/queue/closed.nowhere"), ("s", "/exchange/nowhere/x")):
        out = f"/queue/dialects.there-{letter}"
        rig.stomp(letter).send(f"/queue/dialects.nowhere-{letter}", [StompMessage(b"%d" % i, {"where": nowhere if i == 3 else out})
                                                                     for i in range(10)])
        routes.append(route(letter, letter, f"/queue/dialects.nowhere-{letter}", "${header.where}", unroutable="accept"))
    gateway = rig.gateway({"routes": routes})
    for letter in "ts":
        until(lambda: gateway.metric("bailey_messages_delivered_total", route=letter) == 9, 20, gateway.process.tail)
        until(lambda: gateway.metric("bailey_messages_refused_total", route=letter, **{"class": "unroutable"}), 10,
              lambda: f"{gateway.metrics()}\n{gateway.process.tail()}")
        assert gateway.metric("bailey_messages_refused_total", route=letter, **{"class": "permanent"}) == 0
    gateway.term()
    for letter in "ts":
        got = {m.body for m in rig.stomp(letter).drain(f"/queue/dialects.there-{letter}", 9)}
        assert got == {b"%d" % i for i in range(10) if i != 3}, got


def story_a_backslash_in_a_passcode(rig):
    """RabbitMQ reads escapes in CONNECT, against the specification: both forms are tried."""
    passcode = "back\\slash:colon"
    rig.rabbit.eval(f'rabbit_auth_backend_internal:add_user(<<"backslash">>, <<"{passcode.replace(chr(92), chr(92) * 2)}">>, '
                    '<<"rig">>), rabbit_auth_backend_internal:set_permissions(<<"backslash">>, <<"/">>, <<".*">>, <<".*">>, '
                    '<<".*">>, <<"rig">>)')
    broker = {"connector": "stomp", "url": f"stomp://127.0.0.1:{rig.rabbit.stomp_port}", "login": "backslash",
              "passcode": passcode}
    rig.stomp("s").send("/queue/dialects.backslash", [StompMessage(b"x")])
    gateway = rig.gateway({"brokers": {"b": broker}, "routes": [route("b", "b", "/queue/dialects.backslash", "/queue/dialects.b")]})
    until(lambda: gateway.metric("bailey_messages_delivered_total", route="b") == 1, 20, gateway.process.tail)
    gateway.term()
    assert "stomp.connection_failed" not in gateway.output()


def story_forged_ids_acknowledge_nothing(rig):
    """A message that waits is what all the others, whose producers are hostile, want to have acknowledged. RabbitMQ takes such an
    id, and Artemis one with the right number of the consumer, which is one of those that are tried."""
    gateways, expected, goals = [], {}, {}
    for letter in LETTERS:
        source, sink = f"/queue/dialects.hostile-{letter}", f"/queue/dialects.hostile-{letter}-out"
        rig.stomp(letter).send(source, [StompMessage(b"waits", {"where": ""})])
        wire = Wire(rig, letter)
        goals[letter] = wire.subscribe(source, 1)[0][1]["message-id"]
        if letter == "t":
            wire.send("UNSUBSCRIBE\nid:1\n\n")
        wire.leave()
        hostile = dict(route(letter, letter, source, "${header.where}"), dead_letter={"broker": "nobody", "queue": "x"})  # so it waits
        gateways.append(rig.gateway({"brokers": {"nobody": {"connector": "amqp", "url": "amqp://127.0.0.1:1"}},
                                     "routes": [hostile]}, name=f"hostile-{letter}"))
        until(lambda: "the destination is empty" in gateways[-1].output(), 20, gateways[-1].process.tail)
        good = {"where": sink}
        if letter == "s":
            rig.rabbit.publish(source[len("/queue/"):], [
                Message(b"%d" % i, pika.BasicProperties(headers=dict(good, **{**FORGED, "ack": f"T_1@@x@@{i}"} if i % 3 else {})))
                for i in range(150)] + [Message(b"twice", pika.BasicProperties(headers=Twice(good))), Message(b"last", pika.BasicProperties(headers=good))])
            expected[letter] = [b"%d" % i for i in range(150)] + [b"twice", b"last"]
            continue
        consumer, _, number = goals[letter].partition(",")
        forged = [f"{int(consumer) + i},{number}" if letter == "t" else goals[letter] for i in range(150)]
        rig.stomp(letter).send(source, [StompMessage(b"%d" % i, dict(good, **{"ack": id, "message-id": id, "subscription": "evil"} if i % 3 else {}))
                                        for i, id in enumerate(forged)])
        wire = Wire(rig, letter)
        if letter == "t":  # the next message is its body, for who believes it
            wire.send(f"SEND\ndestination:{source}\nwhere:{sink}\ncontent-length:9\ncontent-length:0\nreceipt:r\n\n")
            assert wire.until("RECEIPT")
        wire.leave()
        rig.stomp(letter).send(source, [StompMessage(b"last", good)])
        expected[letter] = [b"%d" % i for i in range(150)] + [b""] * (letter == "t") + [b"last"]
    for letter, gateway in zip(LETTERS, gateways):
        until(lambda: gateway.metric("bailey_messages_delivered_total", route=letter) >= len(expected[letter]), 20,
              lambda: f"{gateway.route(letter)}\n{gateway.process.tail()}")
        gateway.term()
        assert [m.body for m in rig.stomp(letter).drain(f"/queue/dialects.hostile-{letter}-out", len(expected[letter]))] == expected[letter]
        assert [m.body for m in rig.stomp(letter).drain(f"/queue/dialects.hostile-{letter}", 1)] == [b"waits"], letter
        assert "stomp.error" not in gateway.output() and "stomp.connection_failed" not in gateway.output(), gateway.output()


def story_a_durable_subscription_is_acknowledged(rig):
    """Its name is part of RabbitMQ's ids. What is sent while Bailey is away comes later, and once."""
    for letter in LETTERS:
        topic, sink = f"/topic/dialects.durable-{letter}", f"/queue/dialects.durable-{letter}-out"
        durable = route("durable", letter, topic, sink)
        durable["from"]["subscription"] = "a name: of its own"
        for i in range(2):
            gateway = rig.gateway({"instance": "durable", "routes": [durable]}, name=f"durable-{letter}-{i}").wait_ready()
            rig.stomp(letter).send(topic, [StompMessage(b"%d" % (10 * i + j)) for j in range(5)])
            until(lambda: gateway.metric("bailey_messages_delivered_total", route="durable") == 5 + 5 * i, 20, gateway.process.tail)
            gateway.term()
            assert "stomp.forged_id" not in gateway.output() and "stomp.error" not in gateway.output(), gateway.output()
            if i == 0:
                rig.stomp(letter).send(topic, [StompMessage(b"%d" % (5 + j)) for j in range(5)])
        assert sorted(int(m.body) for m in rig.stomp(letter).drain(sink, 15)) == list(range(15)), letter


def story_a_text_message_stays_one(rig):
    """What came from ActiveMQ as a TextMessage is one again there, and on Artemis; a BytesMessage stays bytes."""
    bodies = ["gr\u00fc\u00df\n\u20ac \U0001f600".encode(), b"", b"x" * 5000, "\u00e4".encode() * 100000]
    rig.stomp("a").send("/queue/dialects.text", [StompMessage(body, {"content-length": length}) for body in bodies
                                                 for length in (None, str(len(body)))])
    rig.stomp("a").send("/queue/dialects.text-2", [StompMessage(body, {"content-length": length}) for body in bodies
                                                   for length in (None, str(len(body)))])
    gateway = rig.gateway({"routes": [route("aa", "a", "/queue/dialects.text", "/queue/dialects.text-out"),
                                      route("at", "a", "/queue/dialects.text-2", "/queue/dialects.text-out", broker="t")]})
    for name in ("aa", "at"):
        until(lambda: gateway.metric("bailey_messages_delivered_total", route=name) == 2 * len(bodies), 20, gateway.process.tail)
    gateway.term()
    for letter in "at":
        wire = Wire(rig, letter)
        frames = wire.subscribe("/queue/dialects.text-out", 2 * len(bodies), **{"consumer-window-size": 4 << 20})
        assert [body for _, _, body in frames] == [body for body in bodies for _ in range(2)], letter
        for i, (_, headers, body) in enumerate(frames):
            is_text = "content-length" not in headers
            if letter == "t" and body:  # Artemis gives the length of bytes near the begin, that of a text behind all others
                is_text = next(iter(headers)) == "content-length"
            assert is_text == (i % 2 == 0), f"{letter} {i}: {headers}"
        wire.leave()


def story_attempts_are_not_used_up(rig):
    """Twelve orderly ends with an unsettled message: Artemis would have made a dead letter of it after ten."""
    rig.stomp("t").send("/queue/dialects.stuck", [StompMessage(b"x", {"where": ""})])
    for i in range(12):
        gateway = rig.gateway({"routes": [route("stuck", "t", "/queue/dialects.stuck", "${header.where}")]}, name=f"stuck-{i}")
        until(lambda: "the destination is empty" in gateway.output(), 20, gateway.process.tail)
        gateway.term()
    assert [m.body for m in rig.stomp("t").drain("/queue/dialects.stuck", 1)] == [b"x"]


def story_large_bodies_are_held_back(rig):
    """150 MiB wait at each broker, and no prefetch of messages bounds them: the connection is not read while there is no room."""
    peak = {}
    for letter in LETTERS:
        queue = f"/queue/dialects.large-{letter}"
        rig.stomp(letter).send(queue, [StompMessage(os.urandom(1 << 20)) for _ in range(60)], timeout=120)
        closed = rig.free_port()
        gateway = rig.gateway({"brokers": {"away": {"connector": "stomp", "url": f"stomp://127.0.0.1:{closed}"}, "m": {"connector": "memory"}},
                               "routes": [{"name": "held", "credit": {"bytes": "4MiB"}, "from": {"broker": letter, "destination": queue},
                                           "to": {"broker": "m", "queue": "x", "capacity": 2}}]}, name=f"large-{letter}")
        until(lambda: (gateway.metric("bailey_unsettled_bytes", route="held") or 0) > 2 << 20, 20, gateway.process.tail)
        until(lambda: gateway.metric("bailey_messages_delivered_total", route="held") == 2, 20, gateway.process.tail)
        with open(f"/proc/{gateway.process.pid}/status") as f:
            peak[letter] = int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1)) / 1024
        gateway.kill()
        assert len(rig.stomp(letter).drain(queue, 58, timeout=120)) >= 58
        assert peak[letter] < 40, f"{letter}: {peak[letter]:.0f} MiB for 4 MiB of credit"
    return "at most " + ", ".join(f"{letter} {mib:.0f} MiB" for letter, mib in peak.items())
