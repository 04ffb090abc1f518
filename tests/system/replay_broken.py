"""The broker that holds the dead letters dies while they are replayed, so that what is confirmed at the sink is not removed: begun again, the
replay sends nothing twice that was confirmed, and what is in doubt is marked."""
import json
import os
import subprocess

import pika

from rig import Message, Record, until
from rig.flow import MARK, body, number_of

IDLE = True
COUNT, RATE, BEFORE = 1200, 400, 200  # dead letters; replayed a second; at the sink when the broker is killed
SECONDS = 60


def dlq(rig, gateway, *words):
    return [rig.bailey, "dlq", *words, "--config", gateway.file, "--json", "--state", os.path.join(rig.folder, "replays")]


def replay_over_a_kill(rig, gateway, words, broker, count, arrivals):
    """Marked copies, and what the replays said: that which was cut off, and that which was begun again."""
    gateway.term()
    first = subprocess.Popen(dlq(rig, gateway, "replay", *words, "--rate", str(RATE)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        until(lambda: first.poll() is not None or count() >= BEFORE, SECONDS, "nothing is replayed")
        assert first.poll() is None, f"it is over: {first.communicate()}"
        broker.process.kill()
        broker.start()
        said, complaint = first.communicate(timeout=SECONDS)
    finally:
        first.kill()
    left = json.loads(rig.run(*dlq(rig, gateway, "list", words[0])[1:]).stdout)["letters"]
    assert not left or first.returncode == 1, f"{len(left)} are left, and nobody says so: {said}"
    again = rig.run(*dlq(rig, gateway, "replay", *words)[1:], timeout=SECONDS)
    assert again.returncode == 0, again
    listed = rig.run(*dlq(rig, gateway, "list", words[0])[1:])
    assert listed.returncode == 0 and json.loads(listed.stdout)["letters"] == [], f"some are left: {listed} {said} {complaint} {again.stdout}"
    came = arrivals()
    plain = [number for number, is_marked in came if not is_marked]
    assert {number for number, _ in came} == set(range(COUNT)), f"{COUNT - len({number for number, _ in came})} are lost"
    assert len(set(plain)) == len(plain), f"{len(plain) - len(set(plain))} came twice, and are not marked"
    return len(came) - COUNT, [{key: value for key, value in json.loads(text).items() if key.startswith("replayed")} for text in (said, again.stdout)]


def story_of_a_queue(rig):
    """RabbitMQ is killed: acknowledgements are lost."""
    rig.rabbit.declare("rb-in", "rb-idle")
    rig.rabbit.declare("rb-dead", quorum=True)
    rig.kafka.create("rb-out")
    gateway = rig.gateway({"routes": [
        {"name": "queue", "from": {"broker": "r", "queue": "rb-in"}, "to": {"broker": "r", "exchange": "", "routing_key": "rb-nowhere"},
         "dead_letter": {"broker": "r", "queue": "rb-dead"}},
        {"name": "mended", "from": {"broker": "r", "queue": "rb-idle"}, "to": {"broker": "k", "topic": "rb-out"}}]}).wait_ready()
    rig.rabbit.publish("rb-in", [Message(body(n), pika.BasicProperties(delivery_mode=2)) for n in range(COUNT)])
    until(lambda: rig.rabbit.count("rb-dead") == COUNT, SECONDS, "they do not die")
    gateway.term()
    rig.rabbit.eval("ok = rabbit:stop(), ok = rabbit:start()", timeout=60)  # or a killed node forgets that its youngest queues had a leader
    rig.rabbit.ready()
    copies, said = replay_over_a_kill(rig, gateway, ("queue", "--to", "mended"), rig.rabbit, lambda: rig.kafka.count("rb-out"), lambda: [
        (number_of(r.value), any(name == MARK.encode() for name, _ in r.headers)) for r in rig.kafka.consume("rb-out")])
    return f"{COUNT} replayed, {copies} marked copies: {said}"


def story_of_a_topic(rig):
    """Kafka is killed: tombstones are lost."""
    rig.kafka.create("rb-topic-in")
    rig.kafka.create("rb-topic-dead", cleanup_policy="compact")
    gateway = rig.gateway({"routes": [
        {"name": "topic", "from": {"broker": "k", "topic": "rb-topic-in"}, "to": {"broker": "r", "exchange": "", "routing_key": "rb-later"},
         "dead_letter": {"broker": "k", "topic": "rb-topic-dead"}}]}).wait_ready()
    rig.kafka.produce("rb-topic-in", [Record(b"%d" % n, body(n)) for n in range(COUNT)])
    until(lambda: rig.kafka.count("rb-topic-dead") == COUNT, SECONDS, "they do not die")
    rig.rabbit.declare("rb-later")
    copies, said = replay_over_a_kill(rig, gateway, ("topic",), rig.kafka, lambda: rig.rabbit.count("rb-later"), lambda: [
        (number_of(m.body), MARK in m.headers) for m in rig.rabbit.drain("rb-later", COUNT)])
    return f"{COUNT} replayed, {copies} marked copies: {said}"
