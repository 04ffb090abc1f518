"""The two ends of a route, for the ledger: producers that are told what their broker has taken, readers, and what each broker
says of what is done. None of them is Bailey's: pika, and the judge on plain librdkafka."""
import random
import struct
import threading

import pika
from ledger import Arrival, compose, id_of, key_of
from rig import Feed, Flow, Message, Record, until
from rig.flow import MARK, AmqpEnd, KafkaEnd

ID = "idempotency-key"
BATCHES = (1, 1, 1, 2, 2, 2, 3, 20)  # so many at once: hardly a moment without one in doubt
OLD = 1000  # messages later, one may be sent again


def record_of(producer, number):
    return Record(key_of(number), compose(producer, number), [(ID.encode(), id_of(producer, number).encode())], partition=0)


def message_of(producer, number):
    """In bailey-key a key travels where there is no place for it."""
    headers = {ID: id_of(producer, number), "bailey-key": key_of(number)}
    return Message(compose(producer, number), pika.BasicProperties(delivery_mode=2, headers=headers))


class LedgerFeed(Feed):
    """Puts in what the ledger says, and tells it what the broker acknowledged. A subclass sends numbers, and acknowledges."""

    def __init__(self, ledger, rate, seed, repeat_every):
        self.ledger, self.random, self.repeat_every = ledger, random.Random(f"{seed} {ledger.producer}"), repeat_every
        super().__init__(rate)

    def put(self, first, count):
        self.batch = self.random.choice(BATCHES)
        old = self.ledger.fresh - OLD
        if self.repeat_every and old > 0 and self.random.random() * self.repeat_every < count:
            self.send(self.ledger.write(count - 1) + self.ledger.repeat([self.random.randrange(old)]))
        else:
            self.send(self.ledger.write(count))


class Producer(LedgerFeed):
    def __init__(self, kafka, topic, *args):
        self.judge = kafka.producing(topic, acknowledged=True)
        self.listener = threading.Thread(target=self.listen, daemon=True)
        self.listener.start()
        super().__init__(*args)

    def listen(self):
        """Of each acknowledged record: its number in the input, and its offset."""
        while pair := self.judge.stdout.read(16):
            place, offset = struct.unpack("<qq", pair)
            if place != offset:  # the topic is no one else's, and the producer keeps the order
                self.error = AssertionError(f"record {place} has offset {offset}")
            self.ledger.acknowledge(offset)

    def send(self, numbers):
        self.judge.stdin.write(b"".join(record_of(self.ledger.producer, n).encode() for n in numbers))
        self.judge.stdin.flush()

    def finish(self):
        self.judge.stdin.close()
        self.listener.join(60)
        err = self.judge.stderr.read().decode()
        assert self.judge.wait(10) == 0, err

    def abandon(self):
        super().abandon()
        self.judge.kill()


class Publisher(LedgerFeed):
    """With publisher confirms, without waiting for each."""

    def __init__(self, rabbit, queue, *args):
        self.queue, self.channel, self.published, self.confirmed, self.failure = queue, None, 0, 0, None
        self.connection = pika.SelectConnection(
            rabbit.parameters(), on_open_callback=lambda connection: connection.channel(on_open_callback=self.opened),
            on_open_error_callback=self.failed, on_close_callback=self.failed)
        self.loop = threading.Thread(target=self.connection.ioloop.start, daemon=True)
        self.loop.start()
        super().__init__(*args)

    def opened(self, channel):
        channel.confirm_delivery(self.confirm, callback=lambda _: setattr(self, "channel", channel))

    def failed(self, _, why):
        self.failure = why
        self.connection.ioloop.stop()

    def confirm(self, frame):
        """Delivery tags count from 1."""
        method = frame.method
        if not isinstance(method, pika.spec.Basic.Ack):
            self.failure = f"the broker answered {method}"
            return
        for tag in range(self.confirmed + 1 if method.multiple else method.delivery_tag, method.delivery_tag + 1):
            self.ledger.acknowledge(tag - 1)
        if method.multiple:
            self.confirmed = method.delivery_tag

    def publish(self, messages):
        for message in messages:
            self.channel.basic_publish("", self.queue, message.body, message.properties)

    def require(self):
        assert self.failure is None, f"the producer of {self.queue}: {self.failure}"

    def wait(self, condition, what):
        until(lambda: self.require() or condition(), 30, f"the producer of {self.queue}: {what}")

    def send(self, numbers):
        self.wait(lambda: self.channel is not None, "no channel")
        messages = [message_of(self.ledger.producer, n) for n in numbers]
        self.connection.ioloop.add_callback_threadsafe(lambda: self.publish(messages))

    def finish(self):
        self.wait(lambda: len(self.ledger.acknowledged) == len(self.ledger.sent), "not all is confirmed")
        self.abandon()
        self.loop.join(10)

    def abandon(self):
        super().abandon()
        self.connection.ioloop.add_callback_threadsafe(self.connection.ioloop.stop)


class Log(KafkaEnd):
    HAS_POSITIONS = True

    def feed(self, name, *args):
        return Producer(self.kafka, name, *args)

    def put(self, name, producer, numbers):
        self.kafka.produce(name, [record_of(producer, n) for n in numbers])

    def done(self, name, ledger):
        return self.kafka.committed(f"group-{name}", name).get(0, 0)

    def high(self, name):
        return self.kafka.offsets(name)[0][1]

    def arrivals(self, name, timeout):
        found = []
        for record in self.kafka.consume(name, timeout=timeout):
            headers = dict(record.headers)
            found.append(Arrival(record.value, record.key, (headers.get(ID.encode()) or b"").decode("utf-8", "replace"),
                                 MARK.encode() in headers))
        return found


class Queue(AmqpEnd):
    HAS_POSITIONS = False

    def feed(self, name, *args):
        return Publisher(self.rabbit, name, *args)

    def put(self, name, producer, numbers):
        self.rabbit.publish(name, [message_of(producer, n) for n in numbers])

    def done(self, name, ledger):
        """What was surely in the queue, less what still is, ready or unsettled at a consumer."""
        acknowledged = len(ledger.acknowledged)
        return max(0, acknowledged - self.rabbit.held(name))

    def high(self, name):
        return self.rabbit.count(name)

    def arrivals(self, name, timeout):
        return [Arrival(m.body, m.headers.get("bailey-key"), m.headers.get(ID), MARK in m.headers)
                for m in self.rabbit.drain(name, timeout=timeout)]


class LedgerFlow(Flow):
    """A Flow whose messages stand in ledgers: {route: Ledger}."""
    kinds = {"k": Log, "r": Queue}

    def __init__(self, rig, prefix, ledgers, commit_ms, **route):
        super().__init__(rig, prefix, tuple(ledgers), **route)
        self.ledgers, self.arrivals = ledgers, {name: [] for name in ledgers}
        for made in self.routes:
            if self.source_of(made["name"]).HAS_POSITIONS:
                made["from"]["commit_interval"] = f"{commit_ms}ms"

    def source_of(self, name):
        return self.ends[name[0]]

    def sink_of(self, name):
        return self.ends[name[1]]

    def start_flow(self, rate, seed, repeat_every):
        self.feeds = {name: self.source_of(name).feed(self.input(name), ledger, rate, seed, repeat_every)
                      for name, ledger in self.ledgers.items()}
        self.rig.feeds += self.feeds.values()

    def repeat(self, name, numbers):
        """Send those once more, when the flow has ended."""
        self.source_of(name).put(self.input(name), self.ledgers[name].producer, self.ledgers[name].repeat(numbers))
        self.counts[name] += len(numbers)

    def audit(self):
        """Note what each source was told, and then what its sink has. When the flow has ended, that must be all."""
        for name, ledger in self.ledgers.items():
            done = self.source_of(name).done(self.input(name), ledger)
            ledger.audit(done, self.sink_of(name).high(self.output(name)))

    def accounts(self, timeout=60):
        """{route: Account}; takes the messages out of the sinks' queues."""
        self.arrivals = {name: self.sink_of(name).arrivals(self.output(name), timeout) for name in self.ledgers}
        return {name: ledger.judge(self.arrivals[name], self.source_of(name).HAS_POSITIONS) for name, ledger in self.ledgers.items()}
