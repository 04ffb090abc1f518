"""Dead letters are read back where they lie: looked at, removed one by one, and left, also by a reader that is killed. Who puts them there
and looks afterwards are clients that are not ours."""
import json
import os
import subprocess

from rig.kafka import Record
from rig.process import until
from rig.rabbitmq import Message as AmqpMessage
from rig.stomp_judge import StompMessage

NEEDS = ("activemq", "artemis", "rabbitmq")
SECONDS = 60
COUNT = 1000


def names(numbers):
    return [b"%d" % i for i in numbers]


class Shelf:
    """What a route sends to, and the program that reads it back."""

    def __init__(self, rig, name, sink):
        self.program = os.path.join(rig.build, "tests", "conformance", "conformance_shelf")
        self.file, self.name, self.is_ordered = os.path.join(rig.folder, f"shelf-{name}.yaml"), name, True
        config = {"brokers": {**rig.brokers(), "m": {"connector": "memory"}},
                  "routes": [{"name": name, "from": {"broker": "m", "queue": "none"}, "to": sink}]}
        with open(self.file, "w") as f:
            json.dump(config, f)

    def in_order(self, bodies):
        """As they must be: as they are, unless the broker has lost their order."""
        return bodies if self.is_ordered else sorted(bodies, key=int)

    def begin(self, *words):
        return subprocess.Popen([self.program, self.file, self.name, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, env=dict(os.environ, BAILEY_TEST_LOG="1"))

    def run(self, *words, code=0):
        """(bodies, last line, log)"""
        done = self.begin(*words)
        out, log = done.communicate(timeout=SECONDS)
        lines = out.splitlines()
        assert done.returncode == code and lines, (done.returncode, out[-500:], log[-2000:])
        return [line.partition(" ")[2].encode() for line in lines if line.startswith("message ")], lines[-1], log

    def look(self, expected, counted, cut=None):
        bodies, last, log = self.run("look")
        bodies = self.in_order(bodies)
        assert bodies == expected[:cut] and last == "finished", (len(bodies), bodies[:10], last)
        assert ("shelf.counted" in log) == counted and ("shelf.cut" in log) == (len(bodies) == cut), log

    def hang(self, count):
        """The first is removed, `count` are out, and it dies."""
        process = self.begin("hang", str(count))
        lines = [process.stdout.readline() for _ in range(count)]
        assert len(lines) == count and all(line.startswith("message ") for line in lines), lines[-3:]
        return process


def judge(shelf, put, count, drain, counted, cut=None, keeps_order=True):
    """The same for all brokers: look twice, remove some, die, and see what is left. `cut`: a look shows no more."""
    put(names(range(COUNT)))
    shelf.look(names(range(COUNT)), counted, cut)
    shelf.is_ordered = keeps_order
    shelf.look(names(range(COUNT)), counted, cut)
    until(lambda: count() == COUNT, 10, lambda: f"{count()} are left of {COUNT} after looks")
    bodies, last, log = shelf.run("take", *(str(i) for i in range(0, COUNT, 10)))
    assert shelf.in_order(bodies) == names(range(COUNT)) and last == "finished" and "shelf.counted" not in log, (len(bodies), last, log[-2000:])
    left = [i for i in range(COUNT) if i % 10]
    until(lambda: count() == len(left), 10, lambda: f"{count()} are left, not {len(left)}")
    process = shelf.hang(100)
    process.kill()
    process.communicate()
    until(lambda: count() in (len(left) - 1, len(left)), 20, lambda: f"{count()} are left after a kill, not {len(left)}")
    remaining = shelf.in_order(drain(count()))
    assert remaining in (names(left), names(left[1:])), (len(remaining), remaining[:5])
    shelf.look([], counted)
    return f"{COUNT} looked at twice, {COUNT // 10} removed, {len(remaining)} left {'in their order ' if keeps_order else ''}after a kill"


def amqp(rig, kind, arguments, counted, keeps_order):
    queue, rabbit = f"shelf.{kind}", rig.rabbit
    rabbit.declare(queue, arguments=arguments)
    shelf = Shelf(rig, f"amqp-{kind}", {"broker": "r", "queue": queue})
    return judge(shelf, lambda bodies: rabbit.publish(queue, [AmqpMessage(body) for body in bodies]), lambda: rabbit.count(queue),
                 lambda count: [m.body for m in rabbit.drain(queue, count)], counted, keeps_order=keeps_order)


def story_amqp_classic(rig):
    return amqp(rig, "classic", {}, counted=False, keeps_order=True)


def story_amqp_quorum(rig):
    """It counts the deliveries, and takes what is given back in any order."""
    return amqp(rig, "quorum", {"x-queue-type": "quorum"}, counted=True, keeps_order=False)


def story_amqp_what_cannot_be_read(rig):
    """A stream has no basic.get, and would end the connection; a queue that is not there is told."""
    rig.rabbit.declare("shelf.stream", arguments={"x-queue-type": "stream"})
    _, last, _ = Shelf(rig, "stream", {"broker": "r", "queue": "shelf.stream"}).run("look", code=1)
    assert "shelf.stream is a stream" in last, last
    _, last, _ = Shelf(rig, "missing", {"broker": "r", "queue": "shelf.missing"}).run("look", code=1)
    assert "no queue 'shelf.missing'" in last, last
    rig.rabbit.declare("shelf.active", quorum=True, arguments={"x-single-active-consumer": True})
    rig.rabbit.publish("shelf.active", [AmqpMessage(b"x")])
    _, last, _ = Shelf(rig, "active", {"broker": "r", "queue": "shelf.active"}).run("look", code=1)
    assert "single active consumer" in last, last


def story_amqp_x_death(rig):
    """RabbitMQ's own dead letters come with what it says of them."""
    rig.rabbit.declare("shelf.own-dead")
    rig.rabbit.declare("shelf.own", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "shelf.own-dead",
                                               "x-message-ttl": 1})
    rig.rabbit.publish("shelf.own", [AmqpMessage(b"late")])
    until(lambda: rig.rabbit.count("shelf.own-dead") == 1, 10, "it did not expire")
    Shelf(rig, "own", {"broker": "r", "queue": "shelf.own-dead"}).look([b"late"], counted=False)
    [message] = rig.rabbit.drain("shelf.own-dead", 1)
    assert message.headers["x-death"][0]["queue"] == "shelf.own", message.headers


def stomp(rig, letter, queue, counted, cut=None, **sink):
    judge_of, destination = rig.stomp(letter), f"/queue/{queue}"
    shelf = Shelf(rig, f"stomp-{queue}", {"broker": letter, "destination": destination, **sink})
    return judge(shelf, lambda bodies: judge_of.send(destination, [StompMessage(body) for body in bodies]),
                 lambda: judge_of.count(queue), lambda count: [m.body for m in judge_of.drain(destination, count)], counted, cut)


def story_activemq(rig):
    """Its browser takes nothing, and ends after 400."""
    return stomp(rig, "a", "shelf.activemq", counted=False, cut=400)


def story_artemis(rig):
    return stomp(rig, "t", "shelf.artemis", counted=False)


def story_artemis_does_not_count_looks(rig):
    """It allows ten deliveries."""
    rig.stomp("t").send("/queue/shelf.often", [StompMessage(b"x")])
    shelf = Shelf(rig, "often", {"broker": "t", "destination": "/queue/shelf.often"})
    for _ in range(11):
        shelf.look([b"x"], counted=False)
    assert [m.body for m in rig.stomp("t").drain("/queue/shelf.often", 1)] == [b"x"]


def story_rabbitmq(rig):
    return stomp(rig, "s", "shelf.rabbitmq", counted=False)


def story_rabbitmq_quorum(rig):
    rig.rabbit.declare("shelf.rabbitmq-quorum", quorum=True)
    bodies = names(range(20))
    rig.rabbit.publish("shelf.rabbitmq-quorum", [AmqpMessage(body) for body in bodies])
    shelf = Shelf(rig, "quorum", {"broker": "s", "destination": "/queue/shelf.rabbitmq-quorum", "headers": {"x-queue-type": "quorum"}})
    shelf.look(bodies, counted=True)
    Shelf(rig, "amq", {"broker": "s", "destination": "/amq/queue/shelf.rabbitmq-quorum", "unroutable": "accept"}).look(bodies, counted=True)
    messages = rig.rabbit.drain("shelf.rabbitmq-quorum", 20)
    assert [m.headers["x-delivery-count"] for m in messages] == [2] * 20


def story_what_is_no_queue(rig):
    """Topics and exchanges cannot be read back."""
    for letter, destination in (("a", "/topic/shelf"), ("t", "/topic/shelf"), ("s", "/exchange/amq.topic/shelf")):
        sink = {"broker": letter, "destination": destination, **({"unroutable": "accept"} if letter == "s" else {})}
        _, last, _ = Shelf(rig, f"topic-{letter}", sink).run("look", code=1)
        assert f"{destination} is no queue" in last, last


def live(rig, topic):
    """What no tombstone has removed: of each key's records the newest, and those without a key."""
    newest = {}
    records = rig.kafka.consume(topic)
    for record in records:
        if record.key is not None:
            newest[record.partition, record.key] = record.offset
    return [r for r in records if r.value is not None and (r.key is None or newest[r.partition, r.key] == r.offset)]


def take(rig, topic):
    """Remove all, as another client would."""
    records = live(rig, topic)
    rig.kafka.produce(topic, [Record(r.key, None, partition=r.partition) for r in records])
    return records


def kafka(rig, name):
    return Shelf(rig, f"kafka-{name}", {"broker": "k", "topic": f"shelf-{name}"})


def story_kafka(rig):
    rig.kafka.create("shelf-many", cleanup_policy="compact")
    return judge(kafka(rig, "many"), lambda bodies: rig.kafka.produce("shelf-many", [Record(b"id-" + body, body) for body in bodies]),
                 lambda: len(live(rig, "shelf-many")), lambda count: [r.value for r in take(rig, "shelf-many")], counted=False)


def story_kafka_what_is_removed(rig):
    """Tombstones count, of records with one key the newest, in each partition for itself; a record without a key stays."""
    rig.kafka.create("shelf-mixed", partitions=3)
    rig.kafka.produce("shelf-mixed", [
        Record(b"a", b"old", partition=0), Record(b"a", b"1", partition=1), Record(b"b", b"gone", partition=0),
        Record(None, b"2", partition=2), Record(b"a", b"3", partition=0), Record(b"b", None, partition=0),
        Record(b"b", b"4", partition=2), Record(b"b", None, partition=1), Record(b"", b"5", partition=1), Record(b"c", b"", partition=1)])
    shelf = kafka(rig, "mixed")
    bodies, last, log = shelf.run("look")
    assert sorted(bodies) == [b"", b"1", b"2", b"3", b"4", b"5"] and last == "finished" and "shelf." not in log, (bodies, last, log)
    before = rig.kafka.count("shelf-mixed")
    bodies, last, log = shelf.run("take", "1", "2", "4", "5")
    assert sorted(bodies) == [b"", b"1", b"2", b"3", b"4", b"5"] and last == "finished", (bodies, last)
    assert log.count("shelf.cannot_remove") == 1 and "kafka-configs.sh" in log and "shelf.not_removed" not in log, log
    assert rig.kafka.count("shelf-mixed") == before + 3, "not three tombstones"
    tombstones = [(r.partition, r.key) for r in rig.kafka.consume("shelf-mixed") if r.value is None]
    assert sorted(tombstones) == sorted([(0, b"b"), (1, b"b"), (1, b"a"), (2, b"b"), (1, b"")]), tombstones
    bodies, _, _ = shelf.run("look")
    assert sorted(bodies) == [b"", b"2", b"3"], bodies
    rig.kafka.produce("shelf-mixed", [Record(b"b", b"again", partition=2)])
    bodies, _, _ = shelf.run("look")
    assert sorted(bodies) == [b"", b"2", b"3", b"again"], bodies


def story_kafka_what_cannot_be_read(rig):
    _, last, _ = kafka(rig, "missing").run("look", code=1)
    assert "topic shelf-missing does not exist" in last, last
    _, last, _ = Shelf(rig, "kafka-template", {"broker": "k", "topic": "shelf.${header.x}"}).run("look", code=1)
    assert "no one topic" in last, last
    rig.kafka.create("shelf-empty", partitions=2)
    kafka(rig, "empty").look([], counted=False)
