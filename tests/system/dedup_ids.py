"""The id that a route with dedup knows a message by travels on: to each kind of broker, in the place where its readers look for it, as
do the marks of possible duplicates. Artemis drops a copy by it."""
import itertools

import pika

from rig import Flow, Message, Record, until
from rig.flow import MARK, number_of, records

NEEDS = ("activemq", "artemis", "rabbitmq")
LONG = True
SINKS = "krats"
ID = "bailey-id"
LONG = "long-" + "i" * 295
IDS = ["order-7", "größe 漢", "a:b\\c", "two\nlines", LONG]
MEMORY = {"store": "memory", "processes": "one"}


def dedup(header="order"):
    return {"id": f"${{header.{header}}}"}


def sink(letter, name):
    return {"k": {"broker": "k", "topic": name}, "r": {"broker": "r", "queue": name}}.get(
        letter, {"broker": letter, "destination": f"/queue/{name}"})


def arrivals(rig, letter, name, count):
    """[(headers, message_id)] of what arrived, in order, as a reader sees it who is not Bailey; text where it is that."""
    if letter == "k":
        found = [({n.decode(): v.decode() for n, v in r.headers}, None) for r in rig.kafka.consume(name, count)]
        return [(headers, headers.get("bailey-message-id")) for headers, _ in found]
    if letter == "r":
        return [(m.headers, m.properties.message_id) for m in rig.rabbit.drain(name, count)]
    messages = rig.stomp(letter).drain(f"/queue/{name}", count)
    return [(m.headers, m.headers.get("amqp-message-id" if letter == "s" else "bailey-message-id")) for m in messages]


def prepare(rig, prefix):
    """{letter: name} of the sinks."""
    names = {letter: f"{prefix}-to-{letter}" for letter in SINKS}
    rig.kafka.create(names["k"])
    rig.rabbit.declare(names["r"], names["s"])
    return names


def delivered(gateway, count, routes):
    until(lambda: [gateway.values("bailey_messages_delivered_total").get(r, 0) for r in routes] == [count] * len(routes), 30,
          lambda: f"{gateway.values('bailey_messages_delivered_total')} {gateway.ready_report()}\n{gateway.process.tail()}")


def expect(what, got, wanted):
    assert got == wanted, f"{what}: {got!r}, not {wanted!r}"


def story_from_kafka(rig):
    """Without message-id, and with a bailey-id of somebody else's, which does not survive."""
    names = prepare(rig, "idk")
    rig.kafka.create("idk-in")
    gateway = rig.gateway({"state": MEMORY, "routes": [
        {"name": f"idk-{letter}", "from": {"broker": "k", "topic": "idk-in", "group": f"idk-{letter}"},
         "to": sink(letter, names[letter]), "dedup": dedup()} for letter in SINKS]}).wait_ready()
    plain = [Record(b"k", b"x", [(b"order", i.encode())], partition=0) for i in IDS]
    stale = [Record(b"k", b"x", [(b"bailey-id", b"theirs"), (b"order", b"again " + i.encode())], partition=0) for i in IDS]
    rig.kafka.produce("idk-in", plain + stale)
    delivered(gateway, 2 * len(IDS), [f"idk-{letter}" for letter in SINKS])
    gateway.term()
    wanted = IDS + ["again " + i for i in IDS]
    for letter in SINKS:
        for i, (headers, message_id), id in zip(itertools.count(), arrivals(rig, letter, names[letter], len(wanted)), wanted):
            what = f"message {i} to {letter}"
            has_header = letter != "r" or id.endswith(LONG) or i >= len(IDS)
            expect(f"{ID} of {what}", headers.get(ID), id if has_header else None)
            expect(f"message-id of {what}", message_id, id if letter == "r" and not id.endswith(LONG) else None)
            if letter == "t":
                expect(f"_AMQ_DUPL_ID of {what}", headers["_AMQ_DUPL_ID"].startswith("route.idk-t/sha256:"),
                       id.endswith(LONG) or "\n" in id)
            assert MARK not in headers, what
    return f"{len(wanted)} ids to Kafka, RabbitMQ, ActiveMQ, Artemis and RabbitMQ's STOMP"


def story_marks_from_amqp(rig):
    """What RabbitMQ gives again is marked on every sink, beside a message-id that stays; a stale mark hides nothing."""
    names = prepare(rig, "idr")
    routes = [f"idr-{letter}" for letter in SINKS]
    rig.rabbit.declare(*(f"{route}-in" for route in routes))
    headers = [{"order": "1"}, {"order": "2", MARK: "0", ID: "theirs"}]
    for route in routes:
        rig.rabbit.publish(f"{route}-in", [Message(b"x", pika.BasicProperties(message_id="m", headers=h)) for h in headers])
        taken = rig.rabbit.connect()
        channel = taken.channel()
        for _ in headers:
            assert channel.basic_get(f"{route}-in")[0] is not None
        taken.close()  # they go back to the queue
    gateway = rig.gateway({"state": MEMORY, "routes": [
        {"name": route, "from": {"broker": "r", "queue": f"{route}-in"}, "to": sink(route[-1], names[route[-1]]), "dedup": dedup()}
        for route in routes]}).wait_ready()
    delivered(gateway, len(headers), routes)
    gateway.term()
    for letter in SINKS:
        for (got, message_id), sent in zip(arrivals(rig, letter, names[letter], len(headers)), headers):
            what = f"message {sent['order']} to {letter}"
            expect(f"{MARK} of {what}", got.get(MARK), "1")
            expect(f"{ID} of {what}", got.get(ID), sent["order"])
            expect(f"message-id of {what}", message_id, "m")
    return "marked on Kafka, RabbitMQ, ActiveMQ, Artemis and RabbitMQ's STOMP"


def story_there_and_back(rig):
    """Through each broker by routes of which only the first knows ids: what it added, and a mark, come out of the last one."""
    names = prepare(rig, "idb")
    rig.kafka.create("idb-in", *(f"idb-back-{letter}" for letter in SINKS))
    routes = [{"name": f"idb-{letter}", "from": {"broker": "k", "topic": "idb-in", "group": f"idb-{letter}"},
               "to": sink(letter, names[letter]), "dedup": dedup()} for letter in SINKS]
    routes += [{"name": f"idb-back-{letter}", "to": {"broker": "k", "topic": f"idb-back-{letter}"},
                "from": sink(letter, names[letter])} for letter in SINKS]
    gateway = rig.gateway({"state": MEMORY, "routes": routes}).wait_ready()
    sent = [Record(b"k", b"%d" % i, [(b"order", id.encode()), (MARK.encode(), b"1")], partition=0) for i, id in enumerate(IDS)]
    rig.kafka.produce("idb-in", sent)
    delivered(gateway, len(sent), [route["name"] for route in routes])
    gateway.term()
    for letter in SINKS:
        for record, before in zip(rig.kafka.consume(f"idb-back-{letter}", len(sent)), sent):
            headers = [(n, v) for n, v in record.headers if n not in (b"bailey-hops", b"bailey-durable", b"bailey-types", b"_AMQ_DUPL_ID")]
            id = before.header(b"order")
            place = b"bailey-message-id" if letter == "r" and len(id) <= 255 else b"bailey-id"
            expect(f"by way of {letter}", headers, before.headers + [(place, id)])
            expect(f"body by way of {letter}", record.value, before.value)
    return f"{len(sent)} messages through each of {len(SINKS)} sinks: their headers, and the id"


# ---- Artemis

def story_artemis_drops_what_was_in_doubt(rig):
    """Connections are cut while much is unconfirmed: what is sent again arrives once. Without dedup, by the same network, some twice."""
    proxies, brokers = rig.through_proxies("t")
    proxies["t"].latency = 0.03  # RECEIPTs are on their way when it is cut
    flows = {name: Flow(rig, f"doubt-{name}", ("kt",), **more) for name, more in
             {"once": {"dedup": {"id": "${body.sha256}"}}, "twice": {}}.items()}
    gateways = {name: rig.gateway({"state": MEMORY, "brokers": brokers, "routes": flow.routes} if name == "once" else
                                  {"brokers": brokers, "routes": flow.routes}, name).wait_ready() for name, flow in flows.items()}
    for flow in flows.values():
        flow.start_flow(400)
    for _ in range(2):
        until(lambda: all(flows[name].all_deliver(g, 200) and g.metric("bailey_unconfirmed", route="kt") > 20
                          for name, g in gateways.items()), 30, "not much is in doubt", every=0)
        proxies["t"].cut()
        for gateway in gateways.values():
            before = gateway.metric("bailey_messages_delivered_total", route="kt")
            until(lambda: gateway.metric("bailey_messages_delivered_total", route="kt") > before + 200, 30,
                  lambda: f"{gateway.name} does not go on: {gateway.ready_report()}\n{gateway.process.tail()}")
    tallies = {}
    for name, flow in flows.items():
        flow.finish_flow()
        flow.wait_settled(gateways[name])
        gateways[name].term()
        tallies[name] = flow.tallies()["kt"]
    assert not tallies["once"].lost and not tallies["twice"].lost, tallies
    assert tallies["twice"].duplicates > 0, "the cuts put nothing in doubt that had arrived"
    assert tallies["once"].duplicates == 0, f"{tallies['once']}"
    dropped = dropped_copies(rig)
    assert dropped > 0, "Artemis has dropped nothing"
    return f"with dedup {tallies['once']}, {dropped} copies were dropped; without {tallies['twice']}"


def dropped_copies(rig):
    with open(rig.artemis.process.log, encoding="utf-8", errors="replace") as log:
        return sum("AMQ222059" in line for line in log)  # it warns of each


def story_artemis_takes_later_what_it_refused(rig):
    """A full address refuses. The id of what was refused must not be among those that Artemis knows: it would drop the next attempt, and
    confirm it."""
    judge, queue, count = rig.stomp("t"), "small.refused", 40
    rig.kafka.create("small-in")
    gateway = rig.gateway({"state": MEMORY, "routes": [
        {"name": "small", "from": {"broker": "k", "topic": "small-in"}, "to": {"broker": "t", "destination": f"/queue/{queue}"},
         "dedup": {"id": "${body.sha256}"}}]}).wait_ready()
    rig.kafka.produce("small-in", records(count, size=1000))
    until(lambda: refusals(gateway) >= 5, 30, lambda: f"not refused: {gateway.ready_report()}\n{gateway.process.tail()}")
    arrived = []

    def all_arrive():
        arrived.extend(number_of(m.body) for m in judge.drain(f"/queue/{queue}"))
        return len(set(arrived)) == count
    until(all_arrive, 60, lambda: f"{len(set(arrived))} of {count} arrived: {gateway.ready_report()}\n{gateway.process.tail()}",
          every=0.2)
    refused = refusals(gateway)
    gateway.term()
    assert len(arrived) == count, f"{len(arrived) - count} copies"
    return f"{count} arrived, after {refused:.0f} refusals"


def refusals(gateway):
    return sum(value for (name, _), value in gateway.metrics().items() if name == "bailey_messages_refused_total")


def story_scopes_are_told_apart(rig):
    """Two routes with equal ids to one address: they are not each other's copies. Within one scope, they are."""
    judge = rig.stomp("t")
    routes = {"one": "route", "two": "route", "three": "both", "four": "both"}
    rig.kafka.create(*(f"scope-{name}" for name in routes))
    gateway = rig.gateway({"state": MEMORY, "routes": [
        {"name": f"scope-{name}", "from": {"broker": "k", "topic": f"scope-{name}"},
         "to": {"broker": "t", "destination": "/queue/scope-out"}, "dedup": dict(dedup(), scope=scope)}
        for name, scope in routes.items()]}).wait_ready()
    for name in routes:
        rig.kafka.produce(f"scope-{name}", [Record(b"k", b"%d" % i, [(b"order", b"%d" % i)], partition=0) for i in range(100)])
    until(lambda: sum(rig.kafka.committed(f"bailey-scope-{name}", f"scope-{name}").get(0, 0) for name in routes) == 400, 30,
          lambda: f"not all is settled: {gateway.ready_report()}\n{gateway.process.tail()}")
    gateway.term()
    scopes = [m.headers["_AMQ_DUPL_ID"].split("/")[0] for m in judge.drain("/queue/scope-out", 300)]
    assert sorted(set(scopes)) == ["route.scope-one", "route.scope-two", "scope.both"], set(scopes)
    assert all(scopes.count(scope) == 100 for scope in set(scopes)), [scopes.count(scope) for scope in set(scopes)]
    return "100 ids in three scopes: 300 arrived"
