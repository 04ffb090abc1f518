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


class Publisher(threading.Thread):
    """Publishes numbered messages to a queue at a rate, durably (transactions), also across restarts of the broker.

    finish() waits for the end. What was in doubt when the broker died is published again: `in_doubt` counts these."""

    def __init__(self, rabbit, queue, count, rate, size=200):
        super().__init__(daemon=True)
        self.rabbit, self.queue, self.count, self.rate, self.size = rabbit, queue, count, rate, size
        self.published = self.in_doubt = 0
        self.error = None
        self.start()

    def run(self):
        try:
            batch = max(1, self.rate // 50)
            began = time.monotonic()
            channel = None
            while self.published < self.count:
                size = min(batch, self.count - self.published)
                try:
                    channel = channel or self._open()
                    for message in messages(size, self.size, self.published):
                        channel.basic_publish("", self.queue, message.body, message.properties)
                    channel.tx_commit()
                    self.published += size
                except (pika.exceptions.AMQPError, OSError):
                    self.in_doubt += size
                    channel = None
                    time.sleep(0.2)
                ahead = began + self.published / self.rate - time.monotonic()
                if ahead > 0:
                    time.sleep(ahead)
            channel.connection.close()
        except Exception as e:  # shown by finish()
            self.error = e

    def _open(self):
        channel = self.rabbit.connect().channel()
        channel.tx_select()
        return channel

    def finish(self, timeout=90):
        self.join(timeout)
        if self.error is not None:
            raise self.error
        assert not self.is_alive(), f"only {self.published} of {self.count} messages could be published to {self.queue}"


class FourDirections:
    """The four routes kk, ka, ak, aa of one process, each with a source and a sink of its own, and a steady flow.

    start_flow(count, rate) feeds all four sources in the background; tallies() waits for the end of it all."""

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
        self.count = 0

    def name(self, what):
        return f"{self.prefix}-{what}"

    def start_flow(self, count, rate):
        kafka, rabbit, name = self.rig.kafka, self.rig.rabbit, self.name
        self.count = count
        self.publishers = [Publisher(rabbit, name("aa-in"), count, rate), Publisher(rabbit, name("ak-in"), count, rate)]
        self.producers = [kafka.produce_in_background(name("kk-in"), records(count), rate),
                          kafka.produce_in_background(name("ka-in"), records(count), rate)]
        return self

    def finish_flow(self, timeout=90):
        for finish in self.producers:
            finish(timeout)
        for publisher in self.publishers:
            publisher.finish(timeout)

    def wait_settled(self, gateway, timeout=60):
        """Until everything that was put in has been taken, confirmed and settled."""
        kafka, rabbit, name = self.rig.kafka, self.rig.rabbit, self.name

        def settled():
            gateway.process.require()
            values = gateway.values("bailey_unsettled")
            return (len(values) == 4 and not any(values.values())
                    and all(kafka.committed(name("group-" + t), name(t)).get(0) == self.count for t in ("kk-in", "ka-in"))
                    and all(rabbit.count(name(q)) == 0 for q in ("aa-in", "ak-in")))
        until(settled, timeout, lambda: f"not all is settled: {gateway.values('bailey_unsettled')}, "
              f"{[r for r in (gateway.ready_report() or {}).get('routes', []) if r['state'] != 'running']}", every=0.1)

    def tallies(self, timeout=60):
        """{route: Tally}, read by clients that are not ours."""
        kafka, rabbit, name = self.rig.kafka, self.rig.rabbit, self.name
        bodies = {}
        for route in ("kk", "ak"):
            bodies[route] = [r.value for r in kafka.consume(name(route + "-out"), timeout=timeout)]
        for route in ("ka", "aa"):
            bodies[route] = [m.body for m in rabbit.drain(name(route + "-out"), timeout=timeout)]
        return {route: tally(self.count, data) for route, data in bodies.items()}


def assert_nothing_lost(tallies):
    lost = {route: str(t) for route, t in tallies.items() if t.lost}
    assert not lost, f"messages were lost: {lost}"
