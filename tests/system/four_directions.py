"""10,000 messages in each direction, and there and back again: field by field, in order, none lost, none twice."""
import time

from rig import until
from rig.samples import (amqp_difference, amqp_difference_from_kafka, amqp_messages, compare, kafka_difference,
                         kafka_difference_after_amqp, kafka_difference_from_amqp, kafka_records)

COUNT = 10000


def story_field_by_field(rig):
    kafka, rabbit = rig.kafka, rig.rabbit
    kafka.create("f-kk-in", "f-kk-out", "f-ka-in", "f-kak-out", "f-ak-out", max_message_bytes=4 << 20)
    rabbit.declare("f-aa-in", "f-aa-out", "f-ka-out", "f-ka-back", "f-ak-in", "f-aka-out")
    rabbit.exchange("f-ka", "f-ka-out", "f-ka-back")
    gateway = rig.gateway({"routes": [
        {"name": "kk", "from": {"broker": "k", "topic": "f-kk-in"}, "to": {"broker": "k", "topic": "f-kk-out"}},
        {"name": "aa", "from": {"broker": "r", "queue": "f-aa-in"}, "to": {"broker": "r", "queue": "f-aa-out"}},
        {"name": "ka", "from": {"broker": "k", "topic": "f-ka-in"}, "to": {"broker": "r", "exchange": "f-ka"}},
        {"name": "kak", "from": {"broker": "r", "queue": "f-ka-back"}, "to": {"broker": "k", "topic": "f-kak-out"}},
        {"name": "ak", "from": {"broker": "r", "queue": "f-ak-in"}, "to": {"broker": "k", "topic": "f-ak-out"}},
        {"name": "aka", "from": {"broker": "k", "topic": "f-ak-out"}, "to": {"broker": "r", "queue": "f-aka-out"}},
    ]}).wait_ready()
    records, messages = kafka_records(COUNT), amqp_messages(COUNT)
    began = time.monotonic()
    kafka.produce("f-kk-in", records)
    kafka.produce("f-ka-in", records)
    rabbit.publish("f-aa-in", messages)
    rabbit.publish("f-ak-in", messages)
    routes = ("kk", "aa", "ka", "kak", "ak", "aka")

    def all_delivered():
        values = gateway.values("bailey_messages_delivered_total")
        return all(values.get(route, 0) >= COUNT for route in routes)
    until(all_delivered, 60, lambda: f"not all delivered: {gateway.values('bailey_messages_delivered_total')} "
          f"{gateway.ready_report()}\n{gateway.process.tail()}")
    took = time.monotonic() - began
    gateway.term()
    compare(records, kafka.consume("f-kk-out"), kafka_difference, "Kafka to Kafka")
    compare(messages, rabbit.drain("f-aa-out"), amqp_difference, "AMQP to AMQP")
    compare(records, rabbit.drain("f-ka-out"), amqp_difference_from_kafka, "Kafka to AMQP")
    compare(records, kafka.consume("f-kak-out"), kafka_difference_after_amqp, "Kafka to AMQP to Kafka")
    compare(messages, kafka.consume("f-ak-out"), kafka_difference_from_amqp, "AMQP to Kafka")
    compare(messages, rabbit.drain("f-aka-out"), amqp_difference, "AMQP to Kafka to AMQP")
    kafka.delete("f-kk-in", "f-kk-out", "f-ka-in", "f-kak-out", "f-ak-out")
    return f"6 x {COUNT} messages equal and in order; in and through in {took:.1f} s"
