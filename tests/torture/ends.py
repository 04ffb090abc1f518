"""The two ends of a route, for the ledger: producers that are told what their broker has taken, readers, and what each broker
says of what is done. None of them is Bailey's: pika, stomp.py, and the judge on plain librdkafka."""
import json
import os
import random
import struct
import subprocess
import threading

import pika
from ledger import Arrival, Ledger, Poison, id_of, key_of
from rig import Feed, Flow, Message, Record, until
from rig.flow import MARK, AmqpEnd, KafkaEnd, StompEnd
from rig.jvm import LIMITED
from rig.stomp_judge import StompMessage

ID, KEY = "idempotency-key", "bailey-key"
LETTER, LETTER_KEY = "bailey-dlq-id", "bailey-dlq-key"
TO = "to"                # a header: the queue where a message goes instead
FORBIDDEN = "forbidden." # begins the name of a queue of ActiveMQ's where a sink may not write
LIMIT = 256 * 1024       # max.message.bytes of a topic that refuses poison: more than all that are on their way else
BATCHES = (1, 1, 1, 2, 2, 2, 3, 20)  # so many at once: hardly a moment without one in doubt
OLD = 1000  # messages later, one may be sent again


def headers_of(ledger, number):
    return {ID: id_of(ledger.producer, number), **ledger.headers(number)}


def record_of(ledger, number):
    headers = [(name.encode(), value.encode()) for name, value in headers_of(ledger, number).items()]
    return Record(key_of(number), ledger.body(number), headers, partition=0)


def message_of(ledger, number):
    """In bailey-key a key travels where there is no place for it."""
    headers = {**headers_of(ledger, number), KEY: key_of(number)}
    return Message(ledger.body(number), pika.BasicProperties(delivery_mode=2, headers=headers))


def frame_of(ledger, number):
    return StompMessage(ledger.body(number), {**headers_of(ledger, number), KEY: key_of(number).decode()})


def arrival_of(body, key, headers):
    """`headers`: {name: text or bytes}. A dead letter has a key of its own, and the message's in a header."""
    def text(name):
        value = headers.get(name)
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    letter = text(LETTER)
    if letter is not None:
        key = headers.get(LETTER_KEY)
    return Arrival(body, key.encode() if isinstance(key, str) else key, text(ID), MARK in headers, letter)


def arrivals_of(messages):
    """Of what has no place for a key."""
    return [arrival_of(m.body, m.headers.get(KEY), m.headers) for m in messages]


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
        self.judge.stdin.write(b"".join(record_of(self.ledger, n).encode() for n in numbers))
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
        messages = [message_of(self.ledger, n) for n in numbers]
        self.connection.ioloop.add_callback_threadsafe(lambda: self.publish(messages))

    def finish(self):
        self.wait(lambda: len(self.ledger.acknowledged) == len(self.ledger.sent), "not all is confirmed")
        self.abandon()
        self.loop.join(10)

    def abandon(self):
        super().abandon()
        self.connection.ioloop.add_callback_threadsafe(self.connection.ioloop.stop)


class Sender(LedgerFeed):
    """Each batch is a transaction, and acknowledged when its COMMIT has a RECEIPT."""

    def __init__(self, judge, destination, *args):
        self.sender, self.destination, self.place = judge.sender(), destination, 0
        super().__init__(*args)

    def send(self, numbers):
        for number in numbers:
            self.sender.send(self.destination, frame_of(self.ledger, number))
        self.sender.confirm()
        for _ in numbers:
            self.ledger.acknowledge(self.place)
            self.place += 1

    def finish(self):
        self.sender.close()


class Log(KafkaEnd):
    HAS_POSITIONS = True
    brokers = {}

    def create(self, sources, sinks, quorum):
        if sources:
            self.kafka.create(*sources)
        if sinks:
            self.kafka.create(*sinks, max_message_bytes=LIMIT)

    def create_graves(self, *names):
        self.kafka.create(*names, cleanup_policy="compact")

    def refuse(self, percent, name, route):
        """It refuses what is too large. What it refuses is tried three times, since another of its batch may be too large."""
        route["retry"] = {"backoff": "50ms..100ms"}
        return Poison(percent, bulk=LIMIT)

    def mend(self, name):
        """Another topic takes it: its name, and what the route's sink becomes by that."""
        cure = f"{name}-large"
        self.kafka.create(cure)
        return cure, self.sink(cure)

    def left(self, graves):
        """Dead letters, less those that a tombstone removes."""
        records = self.kafka.consume(graves)
        return len({r.key for r in records} - {r.key for r in records if r.value is None})

    def settle(self, graves):
        pass

    def delete(self, *names):
        self.kafka.delete(*names)

    def feed(self, name, *args):
        return Producer(self.kafka, name, *args)

    def put(self, name, ledger, numbers):
        self.kafka.produce(name, [record_of(ledger, n) for n in numbers])

    def done(self, name, ledger):
        return self.kafka.committed(f"group-{name}", name).get(0, 0)

    def high(self, name):
        return self.kafka.offsets(name)[0][1]

    def arrivals(self, name, timeout):
        return [arrival_of(r.value, r.key, {name.decode("utf-8", "replace"): value for name, value in r.headers})
                for r in self.kafka.consume(name, timeout=timeout)]

    letters = arrivals


class Queue(AmqpEnd):
    HAS_POSITIONS = False
    brokers = {}

    def create_graves(self, *names):
        self.rabbit.declare(*names)

    def refuse(self, percent, name, route):
        """A header leads to a queue that is not there."""
        del route["to"]["queue"]
        route["to"].update(exchange="", routing_key="${header.%s:-%s}" % (TO, name))
        return Poison(percent, headers=((TO, self.cure_of(name)),))

    def cure_of(self, name):
        """The queue that is missing."""
        return f"{name}-missing"

    def mend(self, name):
        self.rabbit.declare(self.cure_of(name))
        return self.cure_of(name), {}

    def left(self, graves):
        return self.rabbit.count(graves)

    def settle(self, graves):
        """Until it has got back what a killed replay had."""
        until(lambda: self.rabbit.held(graves) == self.rabbit.count(graves), 30, f"{graves} does not get back what a killed replay had")

    def delete(self, *names):
        self.rabbit.delete(*names)

    def feed(self, name, *args):
        return Publisher(self.rabbit, name, *args)

    def put(self, name, ledger, numbers):
        self.rabbit.publish(name, [message_of(ledger, n) for n in numbers])

    def done(self, name, ledger):
        """What was surely in the queue, less what still is, ready or unsettled at a consumer."""
        acknowledged = len(ledger.acknowledged)
        return max(0, acknowledged - self.rabbit.held(name))

    def high(self, name):
        return self.rabbit.count(name)

    def arrivals(self, name, timeout):
        return arrivals_of(self.rabbit.drain(name, timeout=timeout))

    def letters(self, name, timeout):
        """They stay where they are."""
        return arrivals_of(self.rabbit.look(name))


class Destination(StompEnd):
    """Queues of ActiveMQ's. There is a user who may write to those that begin with "limited." and to no other."""
    HAS_POSITIONS = False

    @property
    def brokers(self):
        login, passcode = LIMITED
        return {self.limited: {**self.rig.brokers()[self.letter], "login": login, "passcode": passcode}}

    @property
    def limited(self):
        return f"{self.letter}-limited"

    def queue(self, name):
        return name if name.startswith(FORBIDDEN) else f"limited.{name}"

    def source(self, name):
        return super().source(self.queue(name))

    sink = source

    def create_graves(self, *names):
        pass

    def refuse(self, percent, name, route):
        """A header leads to a queue that the user may not write to."""
        route["to"].update(broker=self.limited, destination="${header.%s:-/queue/%s}" % (TO, self.queue(name)))
        return Poison(percent, headers=((TO, f"/queue/{self.cure_of(name)}"),))

    def cure_of(self, name):
        return f"{FORBIDDEN}{name}"

    def mend(self, name):
        """Another user may."""
        return self.cure_of(name), {"broker": self.letter}

    def left(self, graves):
        return self.judge.count(self.queue(graves))

    def settle(self, graves):
        until(lambda: self.rig.activemq.unsettled(self.queue(graves)) == 0, 30, f"{graves} does not get back what a killed replay had")

    def delete(self, *names):
        """What is empty stays: there is no frame that deletes."""

    def feed(self, name, *args):
        return Sender(self.judge, f"/queue/{self.queue(name)}", *args)

    def put(self, name, ledger, numbers):
        self.judge.send(f"/queue/{self.queue(name)}", [frame_of(ledger, n) for n in numbers])

    def taken(self, name, count):
        return super().taken(self.queue(name), count)

    def done(self, name, ledger):
        acknowledged = len(ledger.acknowledged)
        return max(0, acknowledged - self.judge.count(self.queue(name)))

    def high(self, name):
        return self.judge.count(self.queue(name))

    def arrivals(self, name, timeout):
        return arrivals_of(self.judge.drain(f"/queue/{self.queue(name)}", timeout=timeout))

    def letters(self, name, timeout):
        return arrivals_of(self.judge.browse(f"/queue/{self.queue(name)}", timeout))


class LedgerFlow(Flow):
    """A Flow whose messages stand in ledgers: {route: Ledger}. `poison` percent of them are refused for good."""
    kinds = {"k": Log, "r": Queue, "a": Destination}

    def __init__(self, rig, prefix, names, commit_ms, poison=0, **route):
        super().__init__(rig, prefix, names, **route)
        self.ledgers = {name: Ledger(f"{prefix}.{name}") for name in names}
        self.arrivals, self.letters = {name: [] for name in names}, {name: [] for name in names}
        self.poisoned, self.cures = self.names if poison else (), []
        for made in self.routes:
            if self.source_of(made["name"]).HAS_POSITIONS:
                made["from"]["commit_interval"] = f"{commit_ms}ms"
            elif made.get("order", "none") != "none":
                made["from"]["exclusive"] = True
            if poison:
                self.poison(made, poison)

    def poison(self, route, percent):
        """Let its sink refuse so much, and what that refuses be a dead letter on the sink's broker."""
        name = route["name"]
        sink, dead = self.sink_of(name), self.graves(name)
        sink.create_graves(dead)
        route["dead_letter"] = sink.sink(dead)
        self.ledgers[name].poison = sink.refuse(percent, self.output(name), route)

    @property
    def brokers(self):
        """What the configuration has besides the rig's."""
        return {name: broker for end in self.ends.values() for name, broker in end.brokers.items()}

    def graves(self, name):
        return f"{self.prefix}-{name}-dead"

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
        self.source_of(name).put(self.input(name), self.ledgers[name], self.ledgers[name].repeat(numbers))
        self.counts[name] += len(numbers)

    def audit(self):
        """Note what each source was told, and then what its sink has. When the flow has ended, that must be all."""
        for name, ledger in self.ledgers.items():
            done = self.source_of(name).done(self.input(name), ledger)
            sink = self.sink_of(name)
            ledger.audit(done, sink.high(self.output(name)), sink.high(self.graves(name)) if name in self.poisoned else 0)

    def accounts(self, timeout=60):
        """{route: Account}; takes the messages out of the sinks' queues, but not the dead letters."""
        self.arrivals = {name: self.sink_of(name).arrivals(self.output(name), timeout) for name in self.ledgers}
        self.letters.update((name, self.sink_of(name).letters(self.graves(name), timeout)) for name in self.poisoned)
        return {name: ledger.judge(self.arrivals[name], self.source_of(name).HAS_POSITIONS, self.letters[name])
                for name, ledger in self.ledgers.items()}

    # ---- Replay

    def replay(self, name, gateway, account, dedup, timeout=60):
        """Mend the cause, and let `bailey dlq replay` bring the dead letters of the route there: killed when it has brought the first,
        and begun again."""
        sink, dead = self.sink_of(name), self.graves(name)
        cure, changed = sink.mend(self.output(name))
        self.cures.append((sink, cure))
        place = os.path.join(self.rig.folder, f"replay-{name}")
        with open(f"{place}.yaml", "w") as f:
            routes = [{**route, "to": {**route["to"], **(changed if route["name"] == name else {})}} for route in self.routes]
            json.dump({**gateway.config, "routes": routes}, f)
        words = ("dlq", "replay", name, "--config", f"{place}.yaml", "--state", place, "--json")
        with open(f"{place}.log", "wb") as log:
            slow = subprocess.Popen([self.rig.bailey, *words, "--rate", str(max(1, len(self.letters[name]) // 4))],
                                    stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            until(lambda: slow.poll() is not None or sink.high(cure) > 0, timeout, f"{name}: nothing is replayed")
            slow.kill()
            slow.wait()
        sink.settle(dead)
        done = self.rig.run(*words, timeout=timeout)
        assert done.returncode == 0, f"the replay of {name} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        left = sink.left(dead)
        assert left == 0, f"{left} dead letters of {name} are left after their replay: {done.stdout}"
        self.ledgers[name].judge_replay(self.letters[name], sink.arrivals(cure, timeout), account, dedup)

    def delete(self):
        """What the brokers have of it."""
        for letter, end in self.ends.items():
            names = [self.input(n) for n in self.names if n[0] == letter]
            names += [self.output(n) for n in self.names if n[1] == letter]
            names += [self.graves(n) for n in self.poisoned if n[1] == letter]
            names += [cure for sink, cure in self.cures if sink is end]
            end.delete(*names)
