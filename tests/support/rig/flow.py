"""Numbered messages that flow while a story does its worst, and the tally of what arrived."""
import itertools
import threading
import time
from dataclasses import dataclass

import pika

from .kafka import Record
from .process import until
from .rabbitmq import Message
from .stomp_judge import StompMessage

KEYS = 16
MARK = "bailey-possible-duplicate"


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
    unmarked: int  # of the duplicates: without a word that they may be one (known where arrivals() was asked)
    ordered: bool  # first arrivals are in the order in which they were sent

    def __str__(self):
        lost = f"{len(self.lost)} lost {self.lost[:5]}" if self.lost else "0 lost"
        return f"{self.sent} sent, {self.arrived} arrived, {lost}, {self.duplicates} duplicates"


def tally(count, bodies, marks=None):
    """`bodies` in order of arrival; `marks` says of each whether it is marked as a possible duplicate."""
    seen, plain, last, ordered, duplicates, unmarked = set(), set(), -1, True, 0, 0
    for data, marked in zip(bodies, marks or itertools.repeat(True)):
        number = number_of(data)
        if not marked:
            unmarked += number in plain
            plain.add(number)
        if number in seen:
            duplicates += 1
            continue
        seen.add(number)
        ordered &= number > last
        last = number
    return Tally(count, len(bodies), [i for i in range(count) if i not in seen], duplicates, unmarked, ordered)


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
                count = self.batch
                self.put(self.count, count)
                self.count += count
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

    def abandon(self):
        """No more: its story is over, and may have failed."""
        self.ending.set()


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

    def abandon(self):
        super().abandon()
        self.judge.kill()

    def finish(self):
        err = self.judge.communicate(timeout=60)[1]
        assert self.judge.returncode == 0, err.decode()


class StompFeed(Feed):
    """Feeds a queue of a STOMP broker, also across its restarts, and then some messages twice."""

    def __init__(self, judge, queue, rate, size=200):
        self.judge, self.destination, self.sender = judge, f"/queue/{queue}", None
        super().__init__(rate, size)

    def put(self, first, count):
        deadline = time.monotonic() + 60
        while True:
            try:
                if self.sender is None:
                    self.sender = self.judge.sender()
                for i in range(first, first + count):
                    self.sender.send(self.destination, StompMessage(body(i, self.size)))
                self.sender.confirm()
                return
            except OSError:
                self.sender = None
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def finish(self):
        self.sender.close()


# ---- Where messages come from and go to: the same few questions to each kind of broker

class KafkaEnd:
    def __init__(self, rig, letter):
        self.kafka, self.letter = rig.kafka, letter

    def create(self, sources, sinks, quorum):
        self.kafka.create(*sources, *sinks)

    def source(self, name):
        return {"broker": self.letter, "topic": name, "group": f"group-{name}"}

    def sink(self, name):
        return {"broker": self.letter, "topic": name}

    def feed(self, name, rate):
        return Producer(self.kafka, name, rate)

    def taken(self, name, count):
        """All `count` that were put in have been settled."""
        return self.kafka.committed(f"group-{name}", name).get(0) == count

    def arrivals(self, name, timeout):
        """[(body, whether it is marked as a possible duplicate)]"""
        return [(r.value, any(h == MARK.encode() for h, _ in r.headers)) for r in self.kafka.consume(name, timeout=timeout)]


class AmqpEnd:
    def __init__(self, rig, letter):
        self.rabbit, self.letter = rig.rabbit, letter

    def create(self, sources, sinks, quorum):
        self.rabbit.declare(*sources)
        self.rabbit.declare(*sinks, quorum=quorum)

    def source(self, name):
        return {"broker": self.letter, "queue": name}

    sink = source

    def feed(self, name, rate):
        return Publisher(self.rabbit, name, rate)

    def taken(self, name, count):
        return self.rabbit.count(name) == 0

    def arrivals(self, name, timeout):
        return [(m.body, MARK in m.headers) for m in self.rabbit.drain(name, timeout=timeout)]


class StompEnd:
    def __init__(self, rig, letter):
        self.rig, self.letter, self.judge = rig, letter, rig.stomp(letter)

    def create(self, sources, sinks, quorum):
        if self.letter == "s":  # the others make a queue when somebody asks for it
            self.rig.rabbit.declare(*sources, *sinks)

    def source(self, name):
        return {"broker": self.letter, "destination": f"/queue/{name}"}

    sink = source

    def feed(self, name, rate):
        return StompFeed(self.judge, name, rate)

    def taken(self, name, count):
        return self.judge.count(name) == 0

    def arrivals(self, name, timeout):
        return [(m.body, MARK in m.headers) for m in self.judge.drain(f"/queue/{name}", timeout=timeout)]


ENDS = {"k": KafkaEnd, "r": AmqpEnd, "a": StompEnd, "t": StompEnd, "s": StompEnd}
FOUR = ("kk", "kr", "rk", "rr")


class Flow:
    """Routes of one process, each with a source and a sink of its own, and a steady flow.

    A route is named by the letters of its brokers: "kr" goes from Kafka to RabbitMQ. start_flow(rate) feeds all sources;
    finish_flow() ends that, wait_settled() waits for the last message, tallies() counts what arrived."""
    kinds = ENDS

    def __init__(self, rig, prefix, names=FOUR, durable_sinks="classic", **route):
        self.rig, self.prefix, self.names = rig, prefix, tuple(names)
        self.ends = {letter: self.kinds[letter](rig, letter) for letter in sorted(set("".join(names)))}
        for letter, end in self.ends.items():
            end.create([self.input(n) for n in names if n[0] == letter], [self.output(n) for n in names if n[1] == letter],
                       durable_sinks == "quorum")
        self.routes = [dict(route, name=n, **{"from": self.ends[n[0]].source(self.input(n)),
                                              "to": self.ends[n[1]].sink(self.output(n))}) for n in names]
        self.feeds, self.counts = {}, {}

    def input(self, name):
        return f"{self.prefix}-{name}-in"

    def output(self, name):
        return f"{self.prefix}-{name}-out"

    def start_flow(self, rate):
        self.feeds = {name: self.ends[name[0]].feed(self.input(name), rate) for name in self.names}
        self.rig.feeds += self.feeds.values()
        return self

    def finish_flow(self):
        self.counts = {name: feed.stop() for name, feed in self.feeds.items()}

    @property
    def count(self):
        return sum(self.counts.values())

    def wait_settled(self, gateway, timeout=60):
        """Until everything that was put in has been taken, confirmed and settled."""
        left = set(self.names)

        def settled():
            gateway.process.require()
            values = gateway.values("bailey_unsettled")
            for name in sorted(left):
                if self.ends[name[0]].taken(self.input(name), self.counts[name]):
                    left.discard(name)  # nothing is put in any more
            return all(values.get(name) == 0 for name in self.names) and not left
        until(settled, timeout, lambda: f"not all is settled: {sorted(left)}, {gateway.values('bailey_unsettled')}, "
              f"{[r for r in (gateway.ready_report() or {}).get('routes', []) if r['state'] != 'running']}\n"
              f"{gateway.process.tail()}", every=0.1)

    def tallies(self, timeout=60):
        """{route: Tally}, read by clients that are not ours."""
        tallies = {}
        for name in self.names:
            arrivals = self.ends[name[1]].arrivals(self.output(name), timeout)
            tallies[name] = tally(self.counts[name], [data for data, _ in arrivals], [marked for _, marked in arrivals])
        return tallies

    # ---- What the gateway says about it

    def delivered(self, gateway):
        return gateway.values("bailey_messages_delivered_total")

    def all_deliver(self, gateway, more_than):
        """Each route has delivered more than so many in this life of the process."""
        values = self.delivered(gateway)
        return len(values) == len(self.names) and all(v > more_than for v in values.values())

    def all_in_doubt(self, gateway):
        """{route: messages sent and unconfirmed}, if that is one at least in each."""
        values = gateway.values("bailey_unconfirmed")
        return values if len(values) == len(self.names) and all(v >= 1 for v in values.values()) else None


def assert_nothing_lost(tallies):
    lost = {route: str(t) for route, t in tallies.items() if t.lost}
    assert not lost, f"messages were lost: {lost}"
