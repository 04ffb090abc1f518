"""10,000 messages in each direction of Kafka, AMQP and STOMP, on each STOMP broker, and there and back again: field by field, in
order, none lost, none twice."""
import time

from rig import until
from rig.samples import amqp_difference, amqp_messages, compare, kafka_records
from rig.samples_stomp import (PRIORITY, amqp_difference_from_stomp, kafka_difference_after_stomp, kafka_difference_from_stomp,
                               stomp_difference, stomp_difference_from_amqp, stomp_difference_from_kafka, stomp_messages)

NEEDS = ("activemq", "artemis", "rabbitmq")
COUNT, LOOK = 10000, 1000  # LOOK: of what is consumed on its way, this many are also looked at in the middle


def directions(rig, letter):
    kafka, rabbit, judge, p = rig.kafka, rig.rabbit, rig.stomp(letter), f"d{letter}"
    topics, queues = (f"{p}-k-in", f"{p}-look-in", f"{p}-kxk", f"{p}-xk"), (f"{p}-r-in", f"{p}-look-in", f"{p}-rxr", f"{p}-xr")
    kafka.create(*topics, max_message_bytes=4 << 20)
    rabbit.declare(*queues)
    if letter == "s":
        rabbit.declare(*(f"{p}-{name}" for name in ("kx", "klook", "rx", "rlook", "x-in", "xx", "xk-in", "xr-in", "xkx", "xrx")))

    def k(name):
        return {"broker": "k", "topic": f"{p}-{name}"}

    def r(name):
        return {"broker": "r", "queue": f"{p}-{name}"}

    def x(name):
        return {"broker": letter, "destination": f"/queue/{p}-{name}"}

    ways = {"kx": (k("k-in"), x("kx")), "kxk": (x("kx"), k("kxk")), "klook": (k("look-in"), x("klook")),
            "rx": (r("r-in"), x("rx")), "rxr": (x("rx"), r("rxr")), "rlook": (r("look-in"), x("rlook")),
            "xk": (x("xk-in"), k("xk")), "xkx": (k("xk"), x("xkx")),
            "xr": (x("xr-in"), r("xr")), "xx": (x("x-in"), x("xx"))}
    gateway = rig.gateway({"routes": [
        {"name": f"{p}-{name}", "credit": {"messages": 1000}, "from": source, "to": sink}
        for name, (source, sink) in ways.items()]})
    records, messages, frames = kafka_records(COUNT), amqp_messages(COUNT), stomp_messages(COUNT, judge.dialect)
    if letter == "t":
        for message in messages:
            message.properties.priority = PRIORITY
    began = time.monotonic()
    kafka.produce(f"{p}-k-in", records)
    kafka.produce(f"{p}-look-in", records[:LOOK])
    rabbit.publish(f"{p}-r-in", messages)
    rabbit.publish(f"{p}-look-in", messages[:LOOK])
    for name in ("x-in", "xk-in", "xr-in"):
        judge.send(f"/queue/{p}-{name}", frames)

    def all_delivered():
        values = gateway.values("bailey_messages_delivered_total")
        return len(values) == len(ways) and all(v >= (LOOK if "look" in name else COUNT) for name, v in values.items())
    until(all_delivered, 90, lambda: f"not all delivered: {gateway.values('bailey_messages_delivered_total')} "
          f"{gateway.ready_report()}\n{gateway.process.tail()}")
    took = time.monotonic() - began
    gateway.term()

    def drained(name, count=COUNT):
        return judge.drain(f"/queue/{p}-{name}", count)

    same = stomp_difference(judge.dialect)
    compare(records, kafka.consume(f"{p}-kxk"), kafka_difference_after_stomp, "Kafka to STOMP to Kafka")
    compare(records[:LOOK], drained("klook", LOOK), stomp_difference_from_kafka, "Kafka to STOMP")
    compare(messages, rabbit.drain(f"{p}-rxr"), amqp_difference, "AMQP to STOMP to AMQP")
    compare(messages[:LOOK], drained("rlook", LOOK), stomp_difference_from_amqp, "AMQP to STOMP")
    compare(frames, drained("xx"), same, "STOMP to STOMP")
    compare(frames, kafka.consume(f"{p}-xk"), kafka_difference_from_stomp, "STOMP to Kafka")
    compare(frames, drained("xkx"), same, "STOMP to Kafka to STOMP")
    compare(frames, rabbit.drain(f"{p}-xr"), amqp_difference_from_stomp, "STOMP to AMQP")
    kafka.delete(*topics)
    return f"{len(ways) - 2} x {COUNT} messages equal and in order; in and through in {took:.1f} s"


def story_activemq(rig):
    return directions(rig, "a")


def story_artemis(rig):
    return directions(rig, "t")


def story_rabbitmq(rig):
    return directions(rig, "s")
