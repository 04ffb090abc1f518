"""Messages that wait on this machine's disk, over kill -9 and over jumps of the wall clock: none is lost, none comes before its time, each
comes once or is marked. When they came is what the broker of the sink wrote down."""
import datetime
import glob
import os
import random
import time

import pika

from rig import Message, Record, StompMessage, until
from rig.flow import MARK, body, number_of

NEEDS = ("artemis",)
EACH, PARTS = 1800, 3     # messages on each route; in so many parts
SOONEST, LATEST = 3000, 7000  # ms that they wait
SECONDS = 40


def now_ms():
    return time.time_ns() // 1_000_000


def rfc3339(ms):
    """In another zone than the machine's."""
    zone = datetime.timezone(datetime.timedelta(hours=-7))
    return datetime.datetime.fromtimestamp(ms / 1000, zone).isoformat(timespec="milliseconds")


class Waits:
    """One route, from a source of any kind to a topic whose broker stamps what arrives. `header` holds the wait, or the moment."""

    def __init__(self, rig, name, source, header, **route):
        self.rig, self.topic, self.header = rig, f"late-{name}", header
        self.due = {}  # number: ms since 1970
        rig.kafka.create(self.topic, message_timestamp_type="LogAppendTime")
        self.config = {"name": name, "from": source, "to": {"broker": "k", "topic": self.topic}, "dead_letter": {"broker": "r", "queue": "late-dead"},
                       **route}

    def plan(self, count, dice):
        """[(number, value of the header)] of the next messages."""
        planned = []
        for number in range(len(self.due), len(self.due) + count):
            wait_ms = dice.randint(SOONEST, LATEST)
            self.due[number] = now_ms() + wait_ms
            value = wait_ms if "delay" in self.config else self.due[number]
            planned.append((number, rfc3339(value) if self.header == "deliver-at" and number % 2 else str(value)))
        return planned

    def arrivals(self):
        return self.rig.kafka.consume(self.topic)

    def has_all(self):
        return len({record.value for record in self.arrivals()}) == len(self.due)

    def judge(self):
        """How many copies came, all marked; by how many ms the last one was late that is no copy."""
        copies, seen, late = 0, set(), 0
        for record in self.arrivals():
            number, is_marked = number_of(record.value), any(name == MARK.encode() for name, _ in record.headers)
            assert record.timestamp >= self.due[number], f"{self.topic}: {number} came {self.due[number] - record.timestamp} ms before its time"
            assert number not in seen or is_marked, f"{self.topic}: {number} came twice, and is not marked"
            copies += number in seen
            seen.add(number)
            late = max(late, record.timestamp - self.due[number])
        assert seen == set(self.due), f"{self.topic}: {len(self.due) - len(seen)} are lost"
        return copies, late


class FromKafka(Waits):
    def __init__(self, rig, name, header, **route):
        self.source = f"late-{name}-in"
        rig.kafka.create(self.source)
        super().__init__(rig, name, {"broker": "k", "topic": self.source, "group": f"late-{name}"}, header, **route)

    def send(self, count, dice):
        self.rig.kafka.produce(self.source, [Record(b"%d" % number, body(number), [(self.header.encode(), value.encode())])
                                             for number, value in self.plan(count, dice)])


class FromAmqp(Waits):
    def __init__(self, rig, name, header, **route):
        self.source = f"late-{name}-in"
        rig.rabbit.declare(self.source)
        super().__init__(rig, name, {"broker": "r", "queue": self.source}, header, **route)

    def send(self, count, dice):
        self.rig.rabbit.publish(self.source, [
            Message(body(number), pika.BasicProperties(message_id=f"{number}", delivery_mode=2, headers={self.header: int(value)}))
            for number, value in self.plan(count, dice)])


class FromStomp(Waits):
    def __init__(self, rig, name, header, **route):
        self.source = f"/queue/late-{name}-in"
        super().__init__(rig, name, {"broker": "t", "destination": self.source}, header, **route)

    def send(self, count, dice):
        self.rig.stomp("t").send(self.source, [StompMessage(body(number), {self.header: value, "number": str(number)})
                                               for number, value in self.plan(count, dice)])


def state(rig):
    return {"store": "rocksdb", "path": os.path.join(rig.folder, "state"), "processes": "one"}


def begin(rig, routes, **more):
    rig.rabbit.declare("late-dead")
    return rig.gateway({"state": state(rig), "routes": [route.config for route in routes]}, **more)


def sums(gateway, what):
    return sum(gateway.values(f"bailey_messages_{what}_total").values())


def story_killed_while_they_wait(rig):
    """Kills while messages are taken in, while all of them wait, and while they fall due."""
    dice = random.Random(rig.folder)
    routes = [FromKafka(rig, "kd", "AMQ_SCHEDULED_DELAY", delay="${header.AMQ_SCHEDULED_DELAY}ms"),
              FromKafka(rig, "km", "deliver-at", deliver_at="${header.deliver-at}", dedup={"id": "${source.position}"}),
              FromAmqp(rig, "rd", "x-delay", delay="${header.x-delay:-0}ms", dedup={"id": "${message_id}"}),
              FromStomp(rig, "tm", "_AMQ_SCHED_DELIVERY", deliver_at="${header._AMQ_SCHED_DELIVERY}", dedup={"id": "${header.number}"})]
    gateway = begin(rig, routes).wait_ready()
    waiting = []

    def send():
        for route in routes:
            route.send(EACH // PARTS, dice)

    def kill(condition, what):
        until(condition, SECONDS, lambda: f"{what}: {gateway.ready_report()}\n{gateway.process.tail()}", every=0)
        waiting.append(f"{sum(len(route.due) for route in routes) - delivered():.0f}")
        gateway.kill()
        gateway.start()

    def delivered():
        return sum(rig.kafka.count(route.topic) for route in routes)

    send()
    kill(lambda: sums(gateway, "scheduled") >= 1, "nothing is put to wait")
    send()
    gateway.wait_ready()
    kill(lambda: sums(gateway, "received") >= EACH // PARTS * len(routes) and sum(gateway.values("bailey_unsettled").values()) == 0, "not all is settled")

    def kept():
        return sum(gateway.values("bailey_kept").values())
    until(lambda: kept() >= len(routes) * 100, SECONDS, lambda: f"after a kill {kept()} are said to wait")
    send()
    kill(lambda: sums(gateway, "due") >= 50, "nothing falls due")
    kill(lambda: len(gateway.values("bailey_messages_delivered_total")) == len(routes) and sums(gateway, "delivered") >= 500, "nothing is delivered")
    for route in routes:
        until(route.has_all, SECONDS, lambda: f"not all came to {route.topic}: {gateway.ready_report()}\n{gateway.process.tail()}", every=0.3)
    until(lambda: kept() == 0, SECONDS, lambda: f"all have come, and {kept()} are said to wait")
    gateway.term()
    judged = {route.config["name"]: route.judge() for route in routes}
    assert rig.rabbit.count("late-dead") == 0
    return (f"4 kills, {', '.join(waiting)} waiting; 0 of {len(routes) * EACH} lost, 0 early; marked copies: " +
            ", ".join(f"{name} {copies}" for name, (copies, _) in judged.items()))


def story_killed_while_they_are_parked(rig):
    """What is refused waits on the disk, and its source is settled: over kills it is delivered when there is a queue for it, and its refusals are counted on."""
    count = 2000
    rig.kafka.create("park-in")
    rig.rabbit.declare("park-in", "park-known", "park-dead")
    parks = {"to": {"broker": "r", "exchange": "", "routing_key": "${header.to}"}, "unroutable": "retry",
             "dead_letter": {"broker": "r", "queue": "park-dead"}}
    gateway = rig.gateway({"state": state(rig), "routes": [
        {"name": "patient", "from": {"broker": "k", "topic": "park-in", "group": "park"}, **parks,
         "retry": {"backoff": "500ms..1s", "park": "store"}, "dedup": {"id": "${source.position}"}},
        {"name": "counting", "from": {"broker": "r", "queue": "park-in"}, **parks,
         "retry": {"attempts": 4, "backoff": "500ms..1s", "park": "store"}, "dedup": {"id": "${message_id}"}}]}).wait_ready()
    rig.kafka.produce("park-in", [Record(b"%d" % n, body(n), [(b"to", b"park-later" if n % 2 else b"park-known")]) for n in range(2 * count)])
    rig.rabbit.publish("park-in", [Message(body(n), pika.BasicProperties(message_id=f"{n}", delivery_mode=2, headers={"to": "park-nowhere"}))
                                   for n in range(count)])

    def wait(condition, what):
        until(condition, SECONDS, lambda: f"{what}: {gateway.ready_report()}\n{gateway.process.tail()}")

    def is_settled():
        return rig.kafka.committed("park", "park-in").get(0) == 2 * count and rig.rabbit.held("park-in") == 0
    wait(is_settled, "the sources are not settled")
    for _ in range(2):
        gateway.kill()
        gateway.start()
        wait(lambda: sums(gateway, "retried") >= 100, "nothing is tried again")
    gateway.kill()
    gateway.start()
    wait(lambda: rig.rabbit.count("park-dead") >= count, "not all are dead letters")
    rig.rabbit.declare("park-later")
    wait(lambda: rig.rabbit.count("park-later") >= count, "not all are delivered")
    wait(lambda: sum(gateway.values("bailey_unsettled").values()) == 0, "it does not come to rest")
    gateway.term()
    dead = rig.rabbit.drain("park-dead", count)
    assert {number_of(m.body) for m in dead} == set(range(count)) and {m.headers["bailey-dlq-attempts"] for m in dead} == {"4"}, \
        {m.headers["bailey-dlq-attempts"] for m in dead}
    assert len({m.headers["bailey-dlq-id"] for m in dead}) == count, "a dead letter has two ids"
    copies = {}
    for queue, numbers in (("park-later", range(1, 2 * count, 2)), ("park-known", range(0, 2 * count, 2))):
        came = rig.rabbit.drain(queue, count)
        plain = [number_of(m.body) for m in came if MARK not in m.headers]
        assert {number_of(m.body) for m in came} == set(numbers) and len(set(plain)) == len(plain), \
            f"{queue}: {len(came)} came of {count}, {len(plain) - len(set(plain))} of them twice and unmarked"
        copies[queue] = len(came) - count
    return f"3 kills; {count} parked and delivered, {copies['park-later']} of them marked copies; {count} dead after 4 attempts each"


class Clock:
    """The wall clock of a gateway, to be set while it runs; its monotonic clock goes on."""

    def __init__(self, rig):
        self.file = os.path.join(rig.folder, "offset")
        self.set("+0")
        [library] = glob.glob("/usr/lib/*/faketime/libfaketime.so.1") or ["libfaketime is missing: make setup"]
        self.env = {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": self.file, "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}

    def set(self, offset):
        with open(self.file + ".new", "w") as f:
            f.write(f"{offset}\n")
        os.replace(self.file + ".new", self.file)


def story_clock_jumps(rig):
    """The wall clock of a running gateway is set an hour on, and back by two, with a kill in between: waits take no notice, moments follow it."""
    clock, dice = Clock(rig), random.Random(rig.folder)
    waits, moments = FromKafka(rig, "jw", "x-delay", delay="${header.x-delay}ms"), FromKafka(rig, "jm", "deliver-at", deliver_at="${header.deliver-at}")
    gateway = begin(rig, (waits, moments), env=clock.env).wait_ready()
    hour, count = 3_600_000, 300

    def send_moments(due_ms):
        numbers = range(len(moments.due), len(moments.due) + count)
        moments.due.update((number, due_ms) for number in numbers)
        rig.kafka.produce(moments.source, [Record(b"%d" % n, body(n), [(b"deliver-at", rfc3339(due_ms).encode())]) for n in numbers])

    def wait_all(route):
        until(route.has_all, SECONDS, lambda: f"not all came to {route.topic}: {gateway.ready_report()}\n{gateway.process.tail()}", every=0.1)

    def scheduled(route, more):
        until(lambda: gateway.metric("bailey_messages_scheduled_total", route=route) == more, SECONDS, f"{route} does not keep {more}")
    waits.send(count, dice)
    send_moments(now_ms() + hour // 2)
    scheduled("jw", count), scheduled("jm", count)
    assert moments.arrivals() == []
    clock.set("+1h")
    wait_all(moments)
    assert now_ms() < max(waits.due.values()), "this took too long to tell anything of the waits"
    clock.set("-1h")
    send_moments(now_ms() + 1000)
    scheduled("jm", 2 * count)
    gateway.kill()
    gateway.start().wait_ready()
    waits.send(count, dice)
    wait_all(waits)
    assert len(moments.arrivals()) == count, "moments came by another clock than the gateway's"
    clock.set("+0")
    wait_all(moments)
    gateway.term()
    moments.due.update((number, due_ms - hour) for number, due_ms in moments.due.items() if number < count)
    (_, waited), (_, came) = waits.judge(), moments.judge()
    assert waited < 5000, f"a wait ended {waited} ms late"
    return f"waits late by {waited} ms at most; moments came when the gateway's clock was set to them"
