"""Messages of STOMP with everything in them, and what each must look like on the other side."""
import base64
import random
import time

from .samples import EPOCH_MS, difference, shown, sizes, take_hops
from .stomp_judge import StompMessage

# Headers of a MESSAGE that the broker sets for each delivery, or for the protocol.
PROTOCOL = {"destination", "message-id", "subscription", "ack", "content-length", "receipt", "redelivered", "destination-type",
            "_AMQ_LARGE_SIZE"}
# What a broker on JMS gives a message that has none of its own.
DEFAULTS = {"priority": "4", "expires": "0"}
NATIVE = {"content-type": "content_type", "correlation-id": "correlation_id", "reply-to": "reply_to", "type": "type",
          "content-encoding": "content_encoding", "app-id": "app_id", "amqp-message-id": "message_id"}
PRIORITY = 3  # of all messages that pass Artemis: it delivers the urgent ones first, and the stories look at the order
AWKWARD = "abc019-_. äöü€漢:\\\n\r\t"


def awkward_text(rng, most=24):
    """With every character that has an escape, blanks at the ends, and what looks like an escape and is none."""
    return rng.choice(["", " ", "\\n", "\\\\c", "a:b"]) + "".join(rng.choice(AWKWARD) for _ in range(rng.randint(0, most)))


def stomp_messages(count, dialect, seed=3):
    rng = random.Random(seed)
    soon_ms = int(time.time() * 1000) + 3_600_000
    out = []
    for i, size in enumerate(sizes(count, rng)):
        headers = {rng.choice(["trace", "x-tenant", "n1", "n2", "n.3_x"]): awkward_text(rng) for _ in range(rng.choice([0, 0, 1, 3]))}
        properties = {"content-type": "application/octet-stream", "correlation-id": f"c-{i}:\\x", "reply-to": "/queue/answers",
                      "type": "order.created", "priority": str(rng.randint(0, 9))}
        if dialect == "rabbitmq":
            properties.update({"content-encoding": "identity", "app-id": "shop", "amqp-message-id": f"m-{i}",
                               "expiration": "3600000", "timestamp": str(EPOCH_MS // 1000 + i)})
        else:
            properties["expires"] = str(soon_ms + i)
        if dialect == "activemq":
            properties["timestamp"] = str(EPOCH_MS + i * 7)
        headers.update((name, value) for name, value in properties.items() if rng.random() < 0.3)
        if dialect == "artemis":
            headers["priority"] = str(PRIORITY)
        body = rng.randbytes(size or 0)
        if dialect == "activemq" and rng.random() < 0.2:  # then the message is text
            body, headers["content-length"] = awkward_text(rng, len(body) // 4).encode(), None
        out.append(StompMessage(body, headers))
    return out


def without_own(headers):
    """Without what the broker and the mapping add."""
    return {name: value for name, value in headers.items() if name not in PROTOCOL and not name.startswith("bailey-")}


def stomp_difference(dialect):
    """STOMP to STOMP on the same kind of broker, by whatever way."""
    def differ(sent, got):
        if sent.body != got.body:
            return f"body: sent {shown(sent.body)}, arrived {shown(got.body)}"
        was_text = sent.headers.get("content-length", "") is None  # only ActiveMQ's samples have such
        if dialect == "activemq" and was_text != ("content-length" not in got.headers):
            return f"text: sent {was_text}, arrived {got.headers}"
        headers = without_own(got.headers)
        expected = dict(DEFAULTS if dialect != "rabbitmq" else {}, persistent="true", **sent.headers)
        expected.pop("content-length", None)
        if "timestamp" not in sent.headers:
            headers.pop("timestamp", None)
        left, before = headers.pop("expiration", None), expected.pop("expiration", None)
        if (left is None) != (before is None) or (left and not int(before) - 300_000 <= int(left) <= int(before)):
            return f"expiration: sent {before}, arrived {left}"
        return None if headers == expected else f"headers: sent {shown(expected)}, arrived {shown(headers)}"
    return differ


# ---- Kafka

def is_plain(name, value):
    """May a header of Kafka stand under its own name in STOMP?"""
    try:
        text = value.decode()
    except (AttributeError, UnicodeDecodeError):
        return False
    return name.isascii() and all(c >= " " and c != "\x7f" or c in "\t\n\r" for c in text)


def stomp_difference_from_kafka(sent, got):
    """A Kafka record as a reader without Bailey sees it in STOMP."""
    if got.body != (sent.value or b""):
        return f"body: sent {shown(sent.value)}, arrived {shown(got.body)}"
    if (sent.value is None) != ("bailey-null" in got.headers):
        return f"null: sent {shown(sent.value)}, arrived {got.headers.get('bailey-null')}"
    key = got.headers.get("bailey-key")
    key = base64.b64decode(got.headers["bailey-key-b64"]) if "bailey-key-b64" in got.headers else key and key.encode()
    if (sent.key or None) != (key or None):
        return f"key: sent {sent.key}, arrived {key}"
    expected = {}
    for name, value in sent.headers:
        if is_plain(name.decode(), value):
            expected.setdefault(name.decode(), value.decode())
    headers = {name: value for name, value in without_own(got.headers).items() if name not in (*DEFAULTS, "persistent", "timestamp")}
    return None if headers == expected else f"headers: sent {shown(expected)}, arrived {shown(headers)}"


def kafka_difference_after_stomp(sent, got):
    return take_hops(got, b"2") or difference(sent, got, ("key", "value", "headers", "timestamp", "timestamp_kind"))


def kafka_difference_from_stomp(sent, got):
    """A STOMP message as Kafka has it: properties in headers of their own."""
    if got.value != sent.body:
        return f"value: sent {shown(sent.body)}, arrived {shown(got.value)}"
    own = {name.decode()[len("bailey-"):]: value.decode() for name, value in got.headers if name.startswith(b"bailey-")}
    if own.get("hops") != "1":
        return f"hops: {own}"
    user = {name.decode(): value.decode() for name, value in got.headers if not name.startswith(b"bailey-")}
    if user != user_headers(sent):
        return f"headers: sent {shown(user_headers(sent))}, arrived {shown(user)}"
    for name, value in sent.headers.items():
        if name in NATIVE and own.get(name.replace("amqp-", "")) != value:
            return f"{name}: sent {value}, arrived {own}"
    return None


def user_headers(message):
    return {name: value for name, value in message.headers.items()
            if name not in NATIVE and name not in ("priority", "expires", "expiration", "timestamp", "persistent",
                                                  "content-length")}


# ---- AMQP

def stomp_difference_from_amqp(sent, got):
    """An AMQP message as a reader without Bailey sees it in STOMP: what is text or a number, under its own name."""
    if got.body != sent.body:
        return f"body: sent {shown(sent.body)}, arrived {shown(got.body)}"
    for name, value in sent.headers.items():
        if type(value) in (str, int, bool) and name.isascii() and got.headers.get(name) != (
                str(value).lower() if isinstance(value, bool) else str(value)):
            return f"header {name}: sent {value!r}, arrived {got.headers.get(name)!r}"
    for name in ("content_type", "correlation_id", "type"):
        if getattr(sent.properties, name) != got.headers.get(name.replace("_", "-")):
            return f"{name}: sent {getattr(sent.properties, name)!r}, arrived {got.headers}"
    return None


def amqp_difference_from_stomp(sent, got):
    if got.body != sent.body:
        return f"body: sent {shown(sent.body)}, arrived {shown(got.body)}"
    headers = {name: value for name, value in got.headers.items() if not name.startswith("bailey-")}
    if headers != user_headers(sent):
        return f"headers: sent {shown(user_headers(sent))}, arrived {shown(headers)}"
    for name, attribute in NATIVE.items():
        if name in sent.headers and getattr(got.properties, attribute) != sent.headers[name]:
            return f"{name}: sent {sent.headers[name]!r}, arrived {getattr(got.properties, attribute)!r}"
    return None
