"""Numbered messages that flow while a story does its worst, and the tally of what arrived."""
import threading
import time
from dataclasses import dataclass

import pika

from .kafka import Record
from .process import until
from .rabbitmq import Message

KEYS = 16


def body(number, size=200):
    """A body that begins with its number."""
    return b"%09d " % number + b"." * (size - 10)


def number_of(data):
    return int(data[:9])


def records(count, size=200, first=0, partitions=1):
    """Kafka records of which each partition's are in order of their numbers."""
    return [Record(key=b"key-%d" % (i % KEYS), value=body(i, size), partition=i % partitions)
            for i in range(first, first + count)]


def messages(count, size=200, first=0):
    return [Message(body(i, size), pika.BasicProperties(delivery_mode=2)) for i in range(first, first + count)]


@dataclass
class Tally:
    sent: int
    arrived: int
    lost: list
    duplicates: int
    ordered: bool  # first arrivals are in the order in which they were sent

    def __str__(self):
        lost = f"{len(self.lost)} lost {self.lost[:5]}" if self.lost else "0 lost"
        return f"{self.sent} sent, {self.arrived} arrived, {lost}, {self.duplicates} duplicates"


def tally(count, bodies):
    """`bodies` in order of arrival."""
    seen, last, ordered, duplicates = set(), -1, True, 0
    for data in bodies:
        number = number_of(data)
        if number in seen:
            duplicates += 1
            continue
        seen.add(number)
        ordered &= number > last
        last = number
    return Tally(count, len(bodies), [i for i in range(count) if i not in seen], duplicates, ordered)


class Feed(threading.Thread):
    """Puts numbered messages into a source at a rate until stop(); `count` then says how many it were.

    One thread a source. Batches are numbered in order, and repeated if the broker dies before it confirms."""

    def __init__(self, rate, size=200):
        super().__init__(daemon=True)
        self.rate, self.size = rate, size
        self.batch = max(1, rate // 50)
        self.count = 0
        self.ending = threading.Event()
        self.error = None
        self.start()

    def run(self):
        try:
            began = time.monotonic()
            while not self.ending.is_set():
                self.put(self.count, self.batch)
                self.count += self.batch
                self.ending.wait(max(0, began + self.count / self.rate - time.monotonic()))
            self.finish()
        except Exception as e:  # shown by stop()
            self.error = e

    def stop(self, timeout=60):
        """No more; wait until the broker has all of it."""
        self.ending.set()
        self.join(timeout)
        if self.error is not None:
            raise self.error
        assert not self.is_alive(), f"{self} does not end"
        return self.count


class Publisher(Feed):
    """Feeds a queue, by transactions: also across restarts of the broker, and then some messages twice."""

    def __init__(self, rabbit, queue, rate, size=200):
        self.rabbit, self.queue, self.channel = rabbit, queue, None
        super().__init__(rate, size)

    def put(self, first, count):
        deadline = time.monotonic() + 60
        while True:
            try:
                if self.channel is None:
                    self.channel = self.rabbit.connect().channel()
                    self.channel.tx_select()
                for message in messages(count, self.size, first):
                    self.channel.basic_publish("", self.queue, message.body, message.properties)
                self.channel.tx_commit()
                return
            except (pika.exceptions.AMQPError, OSError):
                self.channel = None
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def finish(self):
        self.channel.connection.close()


class Producer(Feed):
    """Feeds a topic, through the idempotent producer of the judge."""

    def __init__(self, kafka, topic, rate, size=200, partitions=1, first=0):
        self.judge, self.partitions, self.first = kafka.producing(topic), partitions, first
        super().__init__(rate, size)

    def put(self, first, count):
        data = b"".join(r.encode() for r in records(count, self.size, self.first + first, self.partitions))
        self.judge.stdin.write(data)
        self.judge.stdin.flush()

    def finish(self):
        err = self.judge.communicate(timeout=60)[1]
        assert self.judge.returncode == 0, err.decode()


class FourDirections:
    """The four routes kk, ka, ak, aa of one process, each with a source and a sink of its own, and a steady flow.

    start_flow(rate) feeds all four sources; finish_flow() ends that, wait_settled() waits for the last message, tallies()
    counts what arrived."""

    def __init__(self, rig, prefix, durable_sinks="classic", **route):
        self.rig, self.prefix = rig, prefix
        kafka, rabbit = rig.kafka, rig.rabbit
        name = self.name
        kafka.create(name("kk-in"), name("kk-out"), name("ka-in"), name("ak-out"))
        rabbit.declare(name("aa-in"), name("ak-in"))
        rabbit.declare(name("aa-out"), name("ka-out"), quorum=durable_sinks == "quorum")

        def kafka_source(topic):
            return {"broker": "k", "topic": name(topic), "group": name("group-" + topic)}

        self.routes = [
            dict(route, name="kk", **{"from": kafka_source("kk-in"), "to": {"broker": "k", "topic": name("kk-out")}}),
            dict(route, name="ka", **{"from": kafka_source("ka-in"), "to": {"broker": "r", "queue": name("ka-out")}}),
            dict(route, name="ak", **{"from": {"broker": "r", "queue": name("ak-in")},
                                      "to": {"broker": "k", "topic": name("ak-out")}}),
            dict(route, name="aa", **{"from": {"broker": "r", "queue": name("aa-in")},
                                      "to": {"broker": "r", "queue": name("aa-out")}}),
        ]
        self.feeds, self.counts = {}, {}

    def name(self, what):
        return f"{self.prefix}-{what}"

    def start_flow(self, rate):
        kafka, rabbit, name = self.rig.kafka, self.rig.rabbit, self.name
        self.feeds = {route: Producer(kafka, name(route + "-in"), rate) if route[0] == "k" else
                      Publisher(rabbit, name(route + "-in"), rate) for route in ("kk", "ka", "ak", "aa")}
        return self

    def finish_flow(self):
        self.counts = {route: feed.stop() for route, feed in self.feeds.items()}

    @property
    def count(self):
        return sum(self.counts.values())

    def wait_settled(self, gateway, timeout=60):
        """Until everything that was put in has been taken, confirmed and settled."""
        kafka, rabbit, name = self.rig.kafka, self.rig.rabbit, self.name

        def settled():
            gateway.process.require()
            values = gateway.values("bailey_unsettled")
            return (len(values) == 4 and not any(values.values())
                    and all(kafka.committed(name(f"group-{r}-in"), name(f"{r}-in")).get(0) == self.counts[r]
                            for r in ("kk", "ka"))
                    and all(rabbit.count(name(r + "-in")) == 0 for r in ("ak", "aa")))
        until(settled, timeout, lambda: f"not all is settled: {gateway.values('bailey_unsettled')}, "
              f"{[r for r in (gateway.ready_report() or {}).get('routes', []) if r['state'] != 'running']}\n"
              f"{gateway.process.tail()}", every=0.1)

    def tallies(self, timeout=60):
        """{route: Tally}, read by clients that are not ours."""
        kafka, rabbit, name = self.rig.kafka, self.rig.rabbit, self.name
        bodies = {}
        for route in ("kk", "ak"):
            bodies[route] = [r.value for r in kafka.consume(name(route + "-out"), timeout=timeout)]
        for route in ("ka", "aa"):
            bodies[route] = [m.body for m in rabbit.drain(name(route + "-out"), timeout=timeout)]
        return {route: tally(self.counts[route], data) for route, data in bodies.items()}


def assert_nothing_lost(tallies):
    lost = {route: str(t) for route, t in tallies.items() if t.lost}
    assert not lost, f"messages were lost: {lost}"
