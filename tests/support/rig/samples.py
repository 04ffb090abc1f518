"""Messages with everything in them, and what each must look like on the other side."""
import random
from datetime import datetime, timezone
from decimal import Decimal

import pika

from .kafka import Record
from .rabbitmq import Message

MIB = 1 << 20
EPOCH_MS = 1_700_000_000_000  # a timestamp in the past


def sizes(count, rng):
    """Of 10,000: 9,900 up to 1 KiB, 90 up to 64 KiB, 10 of 1 MiB, mixed; None is null, 0 empty."""
    large, middle = count // 1000, 9 * count // 1000
    out = [MIB] * large + [rng.randint(1025, 64 << 10) for _ in range(middle)]
    while len(out) < count:
        kind = rng.random()
        out.append(None if kind < 0.02 else 0 if kind < 0.04 else rng.randint(1, 1024))
    rng.shuffle(out)
    return out


def text(rng, most=24):
    return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz0123456789-_. äöü€漢") for _ in range(rng.randint(0, most)))


# ---- Kafka

def kafka_records(count, seed=1):
    rng = random.Random(seed)
    out = []
    for i, size in enumerate(sizes(count, rng)):
        key = rng.choice([None, b"", b"key-%d" % (i % 50), rng.randbytes(rng.randint(1, 40))])
        headers = []
        for _ in range(rng.choice([0, 0, 1, 2, 5])):
            name = rng.choice([b"trace", b"trace", b"x-tenant", "größe".encode(), b"n%d" % rng.randint(0, 5)])
            value = rng.choice([None, b"", text(rng).encode(), rng.randbytes(rng.randint(1, 64)), b"\xff\xfe"])
            headers.append((name, value))
        body = None if size is None else rng.randbytes(size)
        out.append(Record(key, body, headers, EPOCH_MS + i * 7, partition=0))
    return out


def difference(sent, got, fields):
    """The first field that differs, in words; None if all are equal."""
    for name in fields:
        a, b = getattr(sent, name), getattr(got, name)
        if a != b or type(a) is not type(b):
            return f"{name}: sent {shown(a)}, arrived {shown(b)}"
    return None


def shown(value):
    line = repr(value)
    return line if len(line) < 200 else f"{line[:200]}… ({len(value)})"


KAFKA_FIELDS = ("key", "value", "headers", "timestamp", "timestamp_kind")


def take_hops(got, expected):
    """Every passage counts one. Takes the header out; the difference in words, or None."""
    hops = [value for name, value in got.headers if name == b"bailey-hops"]
    got.headers = [(name, value) for name, value in got.headers if name != b"bailey-hops"]
    return None if hops == [expected] else f"hops: {hops}, not {expected}"


def kafka_difference(sent, got):
    return take_hops(got, b"1") or difference(sent, got, KAFKA_FIELDS)


# What a passage through AMQP leaves behind in a record: the mapping's own words about properties that Kafka has not.
AMQP_TRACES = (b"bailey-types", b"bailey-durable")


def kafka_difference_after_amqp(sent, got):
    got.headers = [(name, value) for name, value in got.headers if name not in AMQP_TRACES]
    return take_hops(got, b"2") or difference(sent, got, KAFKA_FIELDS)


def header_as_amqp(value):
    """A Kafka header has no type: text where it is UTF-8, else bytes."""
    if value is None:
        return None
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value


def amqp_difference_from_kafka(sent, got):
    """A Kafka record as RabbitMQ shows it to pika (which keeps the last of repeated headers)."""
    expected = {name.decode(): header_as_amqp(value) for name, value in sent.headers}
    if sent.key is not None:
        expected["bailey-key"] = sent.key
    if sent.value is None:
        expected["bailey-null"] = True
    if sent.timestamp % 1000:
        expected["bailey-ts"] = sent.timestamp
    headers = {name: value for name, value in got.headers.items() if name != "bailey-hops"}
    if got.body != (sent.value or b""):
        return f"body: sent {shown(sent.value)}, arrived {shown(got.body)}"
    if headers != expected:
        return f"headers: expected {shown(expected)}, arrived {shown(headers)}"
    if got.properties.timestamp != sent.timestamp // 1000:
        return f"timestamp: sent {sent.timestamp} ms, arrived {got.properties.timestamp} s"
    if got.properties.delivery_mode != 2:
        return f"delivery mode {got.properties.delivery_mode}"
    return None


# ---- AMQP

PROPERTIES = ("content_type", "content_encoding", "delivery_mode", "priority", "correlation_id", "reply_to", "message_id",
              "timestamp", "type", "app_id")


def amqp_header(rng, depth=0):
    """Any kind that pika 1.2 can write: no floats."""
    simple = [lambda: None, lambda: rng.random() < 0.5, lambda: rng.randint(-1000, 1000), lambda: rng.randint(2**33, 2**40),
              lambda: text(rng), lambda: rng.randbytes(rng.randint(1, 32)),
              lambda: Decimal(rng.randint(0, 10**6)).scaleb(-2),
              lambda: datetime.fromtimestamp(rng.randint(1, 2**31), timezone.utc).replace(tzinfo=None)]
    if depth < 2 and rng.random() < 0.2:
        nested = [amqp_header(rng, depth + 1) for _ in range(rng.randint(0, 3))]
        return nested if rng.random() < 0.5 else {f"f{i}": value for i, value in enumerate(nested)}
    return rng.choice(simple)()


def amqp_messages(count, seed=2):
    rng = random.Random(seed)

    def sometimes(value):
        return value if rng.random() < 0.5 else None

    out = []
    for i, size in enumerate(sizes(count, rng)):
        headers = {rng.choice(["trace", "x-tenant", "größe", "n1", "n2", "n3"]): amqp_header(rng)
                   for _ in range(rng.choice([0, 0, 1, 3]))}
        properties = pika.BasicProperties(
            content_type=sometimes("application/octet-stream"), content_encoding=sometimes("identity"),
            headers=headers or None, delivery_mode=rng.choice([1, 2]), priority=sometimes(rng.randint(0, 9)),
            correlation_id=sometimes(f"c-{i}"), reply_to=sometimes("answers"),
            expiration=sometimes(str(rng.randint(600_000, 6_000_000))), message_id=sometimes(f"m-{i}"),
            timestamp=sometimes(EPOCH_MS // 1000 + i), type=sometimes("order.created"), app_id=sometimes("shop"))
        out.append(Message(rng.randbytes(size or 0), properties))
    return out


def kind(value):
    """The type, of pika's integers (it has a class of its own for 64 bits) that of all integers; True is no integer."""
    return int if isinstance(value, int) and not isinstance(value, bool) else type(value)


def amqp_difference(sent, got):
    if sent.body != got.body:
        return f"body: sent {shown(sent.body)}, arrived {shown(got.body)}"
    problem = difference(sent.properties, got.properties, PROPERTIES)
    if problem:
        return problem
    headers = {name: value for name, value in got.headers.items() if name != "bailey-hops"}
    if headers != sent.headers or list(map(kind, headers.values())) != list(map(kind, sent.headers.values())):
        return f"headers: sent {shown(sent.headers)}, arrived {shown(headers)}"
    before, after = sent.properties.expiration, got.properties.expiration
    if (before is None) != (after is None) or (before and not int(before) - 300_000 <= int(after) <= int(before)):
        return f"expiration: sent {before}, arrived {after}"
    return None


def kafka_difference_from_amqp(sent, got):
    """An AMQP message as Kafka has it: properties in headers of their own, values as text where AMQP has numbers."""
    if got.value != sent.body:
        return f"value: sent {shown(sent.body)}, arrived {shown(got.value)}"
    if got.key is not None:
        return f"key: arrived {shown(got.key)}"
    user = [(name, value) for name, value in got.headers if not name.startswith(b"bailey-")]
    if [name.decode() for name, _ in user] != list(sent.headers):
        return f"headers: sent {shown(sent.headers)}, arrived {shown(user)}"
    for (name, value), expected in zip(user, sent.headers.values()):
        plain = {str: lambda v: v.encode(), bytes: bytes, int: lambda v: b"%d" % v,
                 bool: lambda v: b"true" if v else b"false", type(None): lambda v: None}.get(type(expected))
        if plain is not None and value != plain(expected):
            return f"header {name.decode()}: sent {expected!r}, arrived {value!r}"
    own = {name.decode()[len("bailey-"):]: value.decode() for name, value in got.headers
           if name.startswith(b"bailey-") and name != b"bailey-types"}
    if own.get("hops") != "1":
        return f"hops: {own}"
    for name in ("content_type", "content_encoding", "correlation_id", "reply_to", "message_id", "type", "app_id"):
        if own.get(name.replace("_", "-")) != getattr(sent.properties, name):
            return f"{name}: sent {getattr(sent.properties, name)!r}, arrived {own}"
    seconds = sent.properties.timestamp
    if seconds is not None and got.timestamp != seconds * 1000:
        return f"timestamp: sent {seconds} s, arrived {got.timestamp} ms"
    return None


def compare(sent, got, differ, what):
    """Fail with the first difference. Same number, same order, field by field."""
    for i, (a, b) in enumerate(zip(sent, got)):
        problem = differ(a, b)
        assert problem is None, f"{what}: message {i} of {len(sent)}: {problem}"
    assert len(sent) == len(got), f"{what}: {len(sent)} sent, {len(got)} arrived"
