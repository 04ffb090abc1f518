"""One message in a hundred is refused by a real broker: all of those are dead letters with the reason, and the rest goes on, in
order by key, hardly slower."""
import time

import pika

from rig import Message, Record, until

IDLE = True  # for balance

EVERY, KEYS = 100, 64
SLOWEST = 0.5  # of the rate without poison: a busy machine's; the figure is shown
RETRY = {"attempts": 3, "backoff": "100ms..200ms"}


def is_poison(number, every):
    return every > 0 and number % every == every // 2


def body(number, size=100):
    return (b"%08d " % number).ljust(size, b".")


def run(rig, name, count, source, sink, fill, **route):
    """Fill the source, and then start the gateway: messages a second."""
    fill()
    gateway = rig.gateway({"routes": [{"name": name, "order": "key", "retry": RETRY, "from": source, "to": sink,
                                       "dead_letter": {"broker": "r", "queue": f"{name}-dead"}, **route}]}, name=name)

    def settled():
        values = [gateway.metric(f"bailey_messages_{what}_total", route=name) or 0 for what in ("delivered", "dead_lettered")]
        return values if sum(values) >= count else None

    def begun():
        return gateway.metric("bailey_messages_received_total", route=name)
    until(begun, 30, lambda: f"{name} does not begin: {gateway.ready_report()}\n{gateway.process.tail()}")
    began = time.monotonic()
    until(settled, 60, lambda: f"{name}: {gateway.ready_report()}\n{gateway.process.tail()}")
    rate = count / (time.monotonic() - began)
    gateway.term()
    return rate


def judge(what, count, every, arrived, dead):
    """`arrived`: [(key, body)] as they stood at the sink; `dead`: messages."""
    poison = [n for n in range(count) if is_poison(n, every)]
    assert sorted(int(m.body[:9]) for m in dead) == poison, f"{what}: {len(dead)} dead letters of {len(poison)}"
    reasons = [m.headers.get("bailey-dlq-reason") for m in dead]
    assert all(reasons), f"{what}: a dead letter has no reason"
    by_key = {}
    for key, data in arrived:
        by_key.setdefault(key, []).append(int(data[:9]))
    for key, numbers in by_key.items():
        wanted = [n for n in range(int(key), count, KEYS) if not is_poison(n, every)]
        assert numbers == wanted, f"{what}: key {key!r}: {len(numbers)} of {len(wanted)}, or not in order"
    assert len(by_key) == KEYS, f"{what}: {len(by_key)} keys"


def kafka_to_amqp(rig, count, every):
    """Poison names a queue that is not there."""
    name = f"poison-kr-{every}"
    rig.kafka.create(name)
    rig.rabbit.declare(name, f"{name}-dead")
    records = [Record(b"%d" % (n % KEYS), body(n), partition=0,
                      headers=[(b"to", (f"{name}-nowhere" if is_poison(n, every) else name).encode()), (b"k", b"%d" % (n % KEYS))])
               for n in range(count)]
    rate = run(rig, name, count, {"broker": "k", "topic": name}, {"broker": "r", "exchange": "", "routing_key": "${header.to}"},
               lambda: rig.kafka.produce(name, records))

    def text(value):
        return value if isinstance(value, bytes) else value.encode()
    judge(name, count, every, [(text(m.headers["k"]), m.body) for m in rig.rabbit.drain(name)], rig.rabbit.drain(f"{name}-dead"))
    rig.rabbit.delete(name, f"{name}-dead")
    rig.kafka.delete(name)
    return rate


def amqp_to_kafka(rig, count, every):
    """Poison is larger than the topic allows: Kafka refuses all of the batch that it is in."""
    name, limit = f"poison-rk-{every}", 64 << 10
    rig.kafka.create(name, max_message_bytes=limit)
    rig.rabbit.declare(name, f"{name}-dead")
    messages = [Message(body(n, 2 * limit if is_poison(n, every) else 100), pika.BasicProperties(headers={"k": f"{n % KEYS}"}))
                for n in range(count)]
    rate = run(rig, name, count, {"broker": "r", "queue": name, "exclusive": True}, {"broker": "k", "topic": name},
               lambda: rig.rabbit.publish(name, messages), key="${header.k}")
    judge(name, count, every, [(r.key, r.value) for r in rig.kafka.consume(name)], rig.rabbit.drain(f"{name}-dead"))
    rig.rabbit.delete(name, f"{name}-dead")
    rig.kafka.delete(name)
    return rate


def compared(rig, direction, count):
    clean, poisoned = direction(rig, count, 0), direction(rig, count, EVERY)
    assert poisoned >= SLOWEST * clean, f"{poisoned:,.0f}/s with poison, {clean:,.0f}/s without"
    return f"{count // EVERY} of {count} dead; {poisoned:,.0f}/s, without poison {clean:,.0f}/s: {poisoned / clean:.0%}"


def story_kafka_to_amqp(rig):
    return compared(rig, kafka_to_amqp, 100_000)


def story_amqp_to_kafka(rig):
    return compared(rig, amqp_to_kafka, 20_000)
