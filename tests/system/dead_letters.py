"""Messages that the sink refuses become dead letters with the reason, and `bailey dlq` lists, shows, replays and removes them."""
import json
import os

import pika

from rig import Message, Record, until

IDLE = True


def delivered(gateway, route, count, metric="bailey_messages_delivered_total"):
    until(lambda: (gateway.metric(metric, route=route) or 0) >= count, 30,
          lambda: f"{route} does not flow: {gateway.ready_report()}\n{gateway.process.tail()}")


def dlq(rig, gateway, *args, code=0):
    """`bailey dlq ARGS --json`: what it prints."""
    done = rig.run("dlq", *args, "--config", gateway.file, "--json", timeout=60)
    assert done.returncode == code, f"bailey dlq {args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout)


def story_of_a_queue(rig):
    """What no queue takes is a dead letter; when there is a queue it is replayed as it was."""
    rig.rabbit.declare("dl-in", "dl-dead")
    gateway = rig.gateway({
        "state": {"store": "rocksdb", "path": os.path.join(rig.folder, "state"), "processes": "one"},
        "routes": [{"name": "orders", "from": {"broker": "r", "queue": "dl-in"},
                    "to": {"broker": "r", "exchange": "", "routing_key": "${header.to}", "pass_headers": ["x-death"]},
                    "dead_letter": {"broker": "r", "queue": "dl-dead"},
                    "dedup": {"id": "${message_id}"}, "order": "none"}]}).wait_ready()
    rig.rabbit.declare("dl-known")
    sent = {}
    for i in range(20):
        body = b"\x00\xff%d" % i if i % 2 else b"text %d" % i
        to = "dl-known" if i % 4 == 0 else "dl-unknown"
        sent[f"id-{i}"] = (body, to)
        rig.rabbit.publish("dl-in", [Message(body, pika.BasicProperties(
            message_id=f"id-{i}", content_type="text/x", priority=3, headers={"to": to, "n": i, "x-death": [{"count": i}]}))])
    delivered(gateway, "orders", 5)
    delivered(gateway, "orders", 15, "bailey_messages_dead_lettered_total")
    until(lambda: rig.rabbit.count("dl-in") == 0, 10, "the source was not settled")

    listed = dlq(rig, gateway, "list", "orders")
    assert len(listed["letters"]) == 15, listed
    first = listed["letters"][0]
    assert first["class"] == "unroutable" and first["code"] == "amqp:312" and first["attempts"] == "1", first
    assert first["source"].endswith("dl-in") and "dl-unknown" in first["sink"], first
    shown = dlq(rig, gateway, "show", "orders", "--id", listed["letters"][3]["id"])["letters"]
    assert len(shown) == 1 and {h["name"] for h in shown[0]["headers"]} >= {"to", "n", "x-death"}, shown
    assert len(dlq(rig, gateway, "list", "orders", "--filter", "header.to=nowhere")["letters"]) == 0
    assert rig.rabbit.count("dl-dead") == 15, "looking has taken something away"

    # a copy of a dead one is settled, not sent
    rig.rabbit.publish("dl-in", [Message(b"copy", pika.BasicProperties(message_id="id-1", headers={"to": "dl-known"}))])
    delivered(gateway, "orders", 1, "bailey_messages_duplicate_total")

    # still nowhere to go: they die again, and are counted
    again = dlq(rig, gateway, "replay", "orders", "--limit", "5", code=1)
    assert again["replayed"] == 0 and again["dead_again"] == 5, again
    letters = dlq(rig, gateway, "list", "orders")["letters"]
    assert len(letters) == 15 and sum(1 for l in letters if l.get("replays") == "1") == 5, letters

    for letter in dlq(rig, gateway, "show", "orders", "--limit", "20")["letters"]:
        assert [h for h in letter["headers"] if h["name"] == "x-death"], letter
    rig.rabbit.declare("dl-unknown")
    assert dlq(rig, gateway, "replay", "orders", "--dry-run")["letters"].__len__() == 15
    done = dlq(rig, gateway, "replay", "orders")
    assert done["replayed"] == 15 and done["dead_again"] == 0, done
    assert rig.rabbit.count("dl-dead") == 0, "replayed dead letters are still there"
    got = {m.properties.message_id: m for m in rig.rabbit.drain("dl-unknown", 15) + rig.rabbit.drain("dl-known", 5)}
    assert set(got) == set(sent), sorted(got)
    for name, (body, to) in sent.items():
        message = got[name]
        assert message.body == body and message.properties.content_type == "text/x" and message.properties.priority == 3
        assert message.headers["to"] == to and message.headers["n"] == int(name[3:]), message.headers
        assert "x-death" in message.headers, (name, message.headers)
        assert message.headers["x-death"] == [{"count": int(name[3:])}], message.headers
        assert not [h for h in message.headers if h.startswith("bailey-dlq-")], message.headers

    # purge wants to be asked, or --yes
    rig.rabbit.publish("dl-in", [Message(b"x", pika.BasicProperties(message_id="gone", headers={"to": "dl-nowhere"}))])
    delivered(gateway, "orders", 16, "bailey_messages_dead_lettered_total")
    refused = rig.run("dlq", "purge", "orders", "--config", gateway.file)
    assert refused.returncode == 2 and "--yes" in refused.stderr, refused
    assert dlq(rig, gateway, "purge", "orders", "--yes")["removed"] == 1
    assert rig.rabbit.count("dl-dead") == 0
    gateway.term()
    return "15 of 20 dead, listed, shown, died again, replayed as they were"


def story_looking_makes_nothing(rig):
    """A queue that is not there is not made by who only looks for dead letters in it, or removes them."""
    gateway = rig.gateway({"routes": [{
        "name": "look", "from": {"broker": "r", "queue": "dl-look"}, "to": {"broker": "r", "queue": "dl-look-out"},
        "dead_letter": {"broker": "r", "queue": "dl-look-dead", "declare": "create"}}]}, start=False)
    for verb, *flags in (["list"], ["purge", "--yes"]):
        done = rig.run("dlq", verb, "look", *flags, "--config", gateway.file, timeout=60)
        assert done.returncode == 1 and "no queue 'dl-look-dead'" in done.stderr, done
    assert rig.rabbit.eval('rabbit_amqqueue:exists(rabbit_misc:r(<<"/">>, queue, <<"dl-look-dead">>))') == "false", "it was made"


def story_kafka_refuses_whole_batches(rig):
    """Of a batch with one message that is too large, Kafka refuses all; only that one is dead, and that was no attempt of the others."""
    count, limit = 100, 64 * 1024
    rig.rabbit.declare("dlb-in")
    rig.kafka.create("dlb-out", max_message_bytes=limit)
    rig.kafka.create("dlb-dead")
    bodies = [b"%d %s" % (i, b"x" * (limit if i % 10 == 0 else 20)) for i in range(count)]
    rig.rabbit.publish("dlb-in", [Message(body) for body in bodies])
    gateway = rig.gateway({"routes": [{
        "name": "batches", "from": {"broker": "r", "queue": "dlb-in"}, "to": {"broker": "k", "topic": "dlb-out", "linger": "50ms"},
        "retry": {"attempts": 1, "backoff": "50ms..100ms"}, "dead_letter": {"broker": "k", "topic": "dlb-dead"}}]}).wait_ready()
    until(lambda: rig.rabbit.held("dlb-in") == 0, 60, lambda: f"not all is settled\n{gateway.process.tail()}")
    gateway.term()
    refusals = gateway.output().count("delivery.refused ")
    dead, delivered = ({record.value for record in rig.kafka.consume(topic)} for topic in ("dlb-dead", "dlb-out"))
    assert dead == {body for body in bodies if len(body) > limit}, sorted(len(body) for body in dead)
    assert delivered == set(bodies) - dead and rig.kafka.count("dlb-out") == len(delivered), len(delivered)
    return f"{len(dead)} of {count} dead, {len(delivered)} delivered; {refusals} refusals told"


def story_of_a_topic(rig):
    """Dead letters in a compacted topic: what is replayed or removed gets a tombstone, and nothing else changes."""
    rig.kafka.create("dl-orders")
    rig.rabbit.declare("dl-topic-known")
    gateway = rig.gateway({
        "state": {"store": "rocksdb", "path": os.path.join(rig.folder, "topic-state"), "processes": "one"},
        "routes": [{"name": "topic", "from": {"broker": "k", "topic": "dl-orders"},
                    "to": {"broker": "r", "exchange": "", "routing_key": "${header.to}"},
                    "dead_letter": {"broker": "k", "topic": "dl-orders-dead",
                                    "declare": {"create": {"partitions": 3, "config": {"cleanup.policy": "compact"}}}}}]}).wait_ready()
    sent = {}
    for i in range(20):
        sent[b"key-%d" % i] = Record(b"key-%d" % i, b"\x00\xff%d" % i if i % 2 else b"text %d" % i,
                                     [(b"to", b"dl-topic-known" if i % 4 == 0 else b"dl-topic-unknown"), (b"n", b"%d" % i)])
    rig.kafka.produce("dl-orders", sent.values())
    delivered(gateway, "topic", 5)
    delivered(gateway, "topic", 15, "bailey_messages_dead_lettered_total")

    def tombstones():
        return [r.key.decode() for r in rig.kafka.consume("dl-orders-dead") if r.value is None]

    listed = dlq(rig, gateway, "list", "topic")["letters"]
    assert len(listed) == 15 and all(l["class"] == "unroutable" and l["code"] == "amqp:312" for l in listed), listed
    shown = dlq(rig, gateway, "show", "topic", "--id", listed[3]["id"])["letters"]
    assert len(shown) == 1 and {h["name"] for h in shown[0]["headers"]} >= {"to", "n"}, shown
    assert dlq(rig, gateway, "replay", "topic", "--dry-run")["letters"].__len__() == 15
    assert rig.kafka.count("dl-orders-dead") == 15 and tombstones() == [], "looking has changed something"

    # still nowhere to go: they die again, under another id, and the old ones are removed
    again = dlq(rig, gateway, "replay", "topic", "--limit", "5", code=1)
    assert again["replayed"] == 0 and again["dead_again"] == 5, again
    assert len(tombstones()) == 5, tombstones()
    letters = dlq(rig, gateway, "list", "topic")["letters"]
    assert len(letters) == 15 and sum(1 for l in letters if l.get("replays") == "1") == 5, letters
    assert not {l["id"] for l in letters} & set(tombstones()), letters

    gone = letters[7]["id"]
    assert dlq(rig, gateway, "purge", "topic", "--id", gone, "--yes")["removed"] == 1
    assert gone in tombstones(), tombstones()
    rig.rabbit.declare("dl-topic-unknown")
    done = dlq(rig, gateway, "replay", "topic")
    assert done["replayed"] == 14 and done["dead_again"] == 0, done
    assert dlq(rig, gateway, "list", "topic")["letters"] == []
    assert len(set(tombstones())) == 20, tombstones()
    got = rig.rabbit.drain("dl-topic-unknown", 14) + rig.rabbit.drain("dl-topic-known", 5)
    assert len({m.body for m in got}) == 19, [m.body for m in got]
    for message in got:
        [record] = [r for r in sent.values() if r.value == message.body]
        assert message.headers["to"].encode() == record.header(b"to") and message.headers["n"].encode() == record.header(b"n"), message.headers
        assert not [h for h in message.headers if h.startswith("bailey-dlq-")], message.headers
    gateway.term()
    return "15 of 20 dead in a topic, listed, shown, died again, one removed, the rest replayed as they were"
