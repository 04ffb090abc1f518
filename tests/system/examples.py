"""Each file of conf/examples runs on real brokers, as it is but for addresses and names of users, and does what it is an example of."""
import json
import os
import re
import time

import pika

from rig import Gateway, Message, Record, StompMessage, until
from rig.jvm import USER
from rig.kafka import SCRAM_PASSWORD, SCRAM_USER

NEEDS = ("activemq",)
EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "conf", "examples")
SECONDS = 30


class Example(Gateway):
    """The file `name`.yaml with that environment, and `changes`: (what it says, what is said instead). It watches itself over a port of ours."""

    def __init__(self, rig, name, changes=(), **env):
        super().__init__(rig, {}, name, env)
        with open(os.path.join(EXAMPLES, f"{name}.yaml")) as f:
            text = f.read()
        for before, after in changes:
            assert before in text, f"{name}.yaml does not say {before}"
            text = text.replace(before, after)
        text = re.sub(r"^admin:.*\n", "", text, flags=re.MULTILINE) + f"\nadmin: {{ listen: 127.0.0.1:{self.port} }}\n"
        with open(self.file, "w") as f:
            f.write(text)
        rig.gateways.append(self)

    def start(self):
        """In a folder of the story, for what the file names by a relative path."""
        self.process.start([self.program, "run", self.file], env=dict(os.environ, **self.env), cwd=self.rig.folder)
        return self

    def total(self, what, route):
        return self.metric(f"bailey_messages_{what}_total", route=route) or 0

    def wait(self, condition, what):
        return until(condition, SECONDS, lambda: f"{what}: {self.ready_report()}\n{self.process.tail()}")

    def wait_total(self, what, route, count):
        self.wait(lambda: self.total(what, route) >= count, f"{route}: not {count} {what}")


def begin(rig, name, *topics, changes=(), partitions=1, **env):
    """(the example, the judge of a virtual host of its own); its topics are new."""
    rabbit = rig.rabbit.in_vhost(name)
    if topics:
        rig.kafka.create(*topics, partitions=partitions)
    return Example(rig, name, [(before, after.format(rabbit=rabbit)) for before, after in changes],
                   **{"KAFKA": rig.kafka.address, "RABBIT": rabbit.url, **env}), rabbit


def end(rig, example, *topics):
    example.term()
    if topics:
        rig.kafka.delete(*topics)


def values(count):
    return [b"%03d" % i for i in range(count)]


def bodies(messages):
    return sorted(message.body for message in messages)


def bind(rabbit, exchange, queue, kind="topic"):
    rabbit.declare(queue)
    rabbit.exchange(exchange, queue, kind=kind)


def story_activemq(rig):
    """Half of a queue by a selector; a topic's messages are kept while nobody is there."""
    rig.kafka.create("prices")
    example = Example(rig, "activemq", [("${ACTIVEMQ_1:-localhost}:61613", f"127.0.0.1:{rig.activemq.stomp_port}"),
                                        ("${RABBIT:-localhost}:61613", f"127.0.0.1:{rig.rabbit.stomp_port}"),
                                        ("login: bailey\n    passcode: \"${ACTIVEMQ", f"login: {USER[0]}\n    passcode: \"${{ACTIVEMQ"),
                                        ("login: bailey\n    passcode: \"${RABBIT", "login: guest\n    passcode: \"${RABBIT")],
                      KAFKA=rig.kafka.address, ACTIVEMQ_PASSCODE=USER[1], RABBIT_PASSCODE="guest").start().wait_ready()
    stomp = rig.stomp("a")
    stomp.send("/queue/orders", [StompMessage(body, {"region": "EU" if i % 2 else "US", "kind": "book"}) for i, body in enumerate(values(20))])
    stomp.send("/queue/orders", [StompMessage(b"x", {"region": "EU"})])
    example.wait_total("delivered", "orders", 11)
    example.term()
    stomp.send("/topic/prices", [StompMessage(body) for body in values(10)])
    example.start()
    example.wait_total("delivered", "prices", 10)
    example.term()
    assert bodies(rig.rabbit.drain("orders.book", 10)) == values(20)[1::2] and bodies(rig.rabbit.drain("orders.other", 1)) == [b"x"]
    assert [m.body for m in stomp.drain("/queue/orders", 10)] == values(20)[::2]
    assert [r.value for r in rig.kafka.consume("prices")] == values(10)


def story_both_ways(rig):
    """What goes round comes to an end."""
    example, rabbit = begin(rig, "both-ways", "events")
    example.start().wait_ready()
    rig.kafka.produce("events", [Record(b"key", b"round")])
    example.wait(lambda: sum(example.total("dead_lettered", route) for route in ("to-rabbit", "to-kafka")) == 1, "it goes on")
    [dead] = rabbit.drain("events.dead", 1)
    assert dead.body == b"round" and dead.headers["bailey-dlq-class"] == "loop", dead
    assert [r.value for r in rig.kafka.consume("events")] == 3 * [b"round"] and rabbit.held("events") == 0
    end(rig, example, "events")


def story_dead_letters(rig):
    """Its three commands, on a country without a queue."""
    example, rabbit = begin(rig, "dead-letters")
    example.start().wait_ready()
    rabbit.declare("orders.de")
    rabbit.publish("orders", [Message(body, pika.BasicProperties(headers={"country": "de" if i % 2 else "at"})) for i, body in enumerate(values(10))])
    example.wait_total("dead_lettered", "orders", 5)

    def dlq(*words):
        done = rig.run("dlq", *words, "--config", example.file, "--json", "--state", os.path.join(rig.folder, "replays"), env=example.env)
        assert done.returncode == 0, done
        return json.loads(done.stdout)
    letters = dlq("list", "orders")["letters"]
    assert [letter["class"] for letter in letters] == 5 * ["unroutable"], letters
    assert len(dlq("show", "orders", "--id", letters[0]["id"])["letters"]) == 1
    rabbit.declare("orders.at")
    assert dlq("replay", "orders")["replayed"] == 5
    end(rig, example)
    for queue, expected in (("orders.de", values(10)[1::2]), ("orders.at", values(10)[::2]), ("orders.dead", [])):
        assert bodies(rabbit.drain(queue, len(expected))) == expected, queue


def story_dedup(rig):
    """Copies by their ids; without ids all."""
    example, rabbit = begin(rig, "dedup", "orders", "audit", changes=[("localhost:5672/%2f", "127.0.0.1:{rabbit.port}/{rabbit.vhost}")],
                            KAFKA_SERVERS=rig.kafka.address)
    rabbit.declare("orders", "audit")
    example.start().wait_ready()
    rig.kafka.produce("orders", [Record(b"key", body, [(b"idempotency-key", body)]) for body in 2 * values(10)])
    rig.kafka.produce("audit", [Record(b"key", body) for body in 2 * values(10)])
    example.wait_total("duplicate", "orders", 10)
    example.wait_total("delivered", "audit", 20)
    end(rig, example, "orders", "audit")
    assert bodies(rabbit.drain("orders", 10)) == values(10) and bodies(rabbit.drain("audit", 20)) == sorted(2 * values(10))


def story_delay(rig):
    """So long after it came, and at its moment, and not before."""
    example, rabbit = begin(rig, "delay")
    example.start().wait_ready()
    wait_ms, began_ms = 1500, time.time() * 1000
    rabbit.publish("reminders", [Message(body, pika.BasicProperties(headers=headers)) for body, headers in (
        (b"now", {}), (b"later", {"x-delay": wait_ms}), (b"never", {"x-delay": "soon"}))])
    rig.kafka.produce("appointments", [Record(b"key", b"then", [(b"deliver-at", b"%d" % (began_ms + wait_ms))])])
    example.wait_total("scheduled", "reminders", 1)
    example.wait_total("scheduled", "appointments", 1)
    example.wait_total("delivered", "reminders", 2)
    example.wait_total("delivered", "appointments", 1)
    assert time.time() * 1000 >= began_ms + wait_ms, "they came too early"
    example.wait_total("dead_lettered", "reminders", 1)
    assert [r.value for r in rig.kafka.consume("reminders")] == [b"now", b"later"]
    assert bodies(rabbit.drain("appointments", 1)) == [b"then"] and bodies(rabbit.drain("reminders.dead", 1)) == [b"never"]
    end(rig, example, "reminders", "appointments")


def story_fan_in(rig):
    """All topics of the pattern, each message under the name of its own."""
    example, rabbit = begin(rig, "fan-in", "events.a", "events.b", "event", partitions=2)
    example.start().wait_ready()
    bind(rabbit, "events", "all")
    for topic in ("events.a", "events.b", "event"):
        rig.kafka.produce(topic, [Record(b"key", f"{topic}.{i % 2}".encode(), partition=i % 2) for i in range(10)])
    example.wait_total("delivered", "events", 20)
    end(rig, example, "events.a", "events.b", "event")
    came = [(m.routing_key.encode(), m.body) for m in rabbit.drain("all", 20)]
    assert sorted(came) == sorted(5 * [(name, name) for name in (b"events.a.0", b"events.a.1", b"events.b.0", b"events.b.1")]), came


def story_migrate(rig):
    """Queues move to another broker with all that their messages carry."""
    old, new = rig.rabbit.in_vhost("migrate-old"), rig.rabbit.in_vhost("migrate-new")
    old.declare("invoices", "mails")
    kept = pika.BasicProperties(delivery_mode=1, priority=4, correlation_id="c", headers={"n": 1, "deep": {"list": [1, "a"]}})
    old.publish("invoices", [Message(body, kept) for body in values(10)])
    old.publish("mails", [Message(body, pika.BasicProperties(delivery_mode=2)) for body in values(10)])
    example = Example(rig, "migrate", OLD=old.url, NEW=new.url).start().wait_ready()
    for route in ("invoices", "mails"):
        example.wait_total("delivered", route, 10)
        example.wait(lambda: old.held(route) == 0, f"{route} is not empty")
    end(rig, example)
    came = new.drain("invoices", 10)
    assert [m.body for m in came] == [m.body for m in new.drain("mails", 10)] == values(10)
    for message in came:
        headers = {name: value for name, value in message.headers.items() if not name.startswith("bailey-")}
        headers.pop("x-delivery-count", None)  # the quorum queue's
        assert headers == kept.headers and (message.properties.correlation_id, message.properties.priority) == ("c", 4), message


def story_order(rig):
    """A queue that is full refuses again and again: each account's messages keep their order."""
    example, rabbit = begin(rig, "order", "accounts")
    example.start().wait_ready()
    rabbit.policy("^accounts$", max_length=10, overflow="reject-publish")
    rig.kafka.produce("accounts", [Record(b"%d" % (i % 4), body) for i, body in enumerate(values(60))])
    example.wait_total("retried", "accounts", 4)
    came = []
    while len(came) < 60:
        came += [m.body for m in rabbit.drain("accounts", 1, timeout=SECONDS)]
    end(rig, example, "accounts")
    assert all([body for body in came if int(body) % 4 == key] == values(60)[key::4] for key in range(4)), came
    assert rabbit.count("accounts.dead") == 0


def story_orders(rig):
    """Both directions; the message's key in the routing key."""
    shop = rig.rabbit.in_vhost("shop")
    auth, everything = "rabbit_auth_backend_internal", ', '.join(3 * ['<<".*">>'])
    shop.eval(f'{auth}:add_user(<<"bailey">>, <<"of-the-shop">>, <<"rig">>), '
              f'{auth}:set_permissions(<<"bailey">>, <<"shop">>, {everything}, <<"rig">>)')
    rig.kafka.create("orders", "results")
    shop.declare("results")
    bind(shop, "orders", "all")
    example = Example(rig, "orders", [(":5672/shop", f":{shop.port}/shop")], HOSTNAME="h", KAFKA_1=rig.kafka.address,
                      KAFKA_2=rig.kafka.address, RABBIT_1="127.0.0.1", RABBIT_PASSWORD="of-the-shop").start().wait_ready()
    rig.kafka.produce("orders", [Record(None, body, [(b"order-id", body)]) for body in values(10)] + [Record(None, b"x")])
    shop.publish("results", [Message(body) for body in values(10)])
    for route, count in (("orders", 11), ("results", 10)):
        example.wait_total("delivered", route, count)
    came = [(m.routing_key, m.body) for m in shop.drain("all", 11)]
    assert came == [(f"order.{body.decode()}", body) for body in values(10)] + [("order.none", b"x")], came
    assert sorted(r.value for r in rig.kafka.consume("results")) == values(10)
    end(rig, example, "orders", "results")


def story_retry(rig):
    """A full queue: dead after the fifth refusal; and delivered when it has room before."""
    example, rabbit = begin(rig, "retry", "orders")
    example.start().wait_ready()
    rabbit.policy("^orders$", max_length=100, overflow="reject-publish")

    def fill():
        rabbit.publish("orders", [Message(b"full")] * 150)

    def decided():
        return example.total("delivered", "orders") + example.total("dead_lettered", "orders")

    def send(count):
        before = decided()
        rig.kafka.produce("orders", [Record(b"key", body) for body in values(count)])
        return lambda: decided() == before + count
    fill()
    example.wait(send(20), "not all is decided")
    dead = rabbit.drain("orders.dead", 1)
    assert {m.headers["bailey-dlq-attempts"] for m in dead} == {"5"} and example.total("retried", "orders") >= 4 * len(dead), dead

    def is_delivered_again():
        fill()
        retried, delivered = example.total("retried", "orders"), example.total("delivered", "orders")
        is_decided = send(20)
        example.wait_total("retried", "orders", retried + 1)
        rabbit.drain("orders")
        example.wait(is_decided, "not all is decided")
        return example.total("delivered", "orders") == delivered + 20
    example.wait(is_delivered_again, "what is refused is not delivered when there is room")
    end(rig, example, "orders")


def story_ring(rig):
    """Once around."""
    example, _ = begin(rig, "ring", ACTIVEMQ=rig.activemq.stomp_url, ACTIVEMQ_USER=USER[0], ACTIVEMQ_PASSWORD=USER[1], COUNT="500",
                       STATE=rig.folder)
    example.start()
    example.wait_total("delivered", "to-kafka", 500)
    assert len({r.value for r in rig.kafka.consume("ring-end")}) == 500
    end(rig, example, "ring-start", "ring-end")


def story_secure(rig):
    """Both ends by TLS and log-in."""
    rig.kafka.create("audit")
    rig.rabbit.declare("audit")
    example = Example(rig, "secure", [("username: bailey", f"username: {SCRAM_USER}")], KAFKA=f"localhost:{rig.kafka.sasl_ssl_port}",
                      KAFKA_PASSWORD=SCRAM_PASSWORD, RABBIT=f"localhost:{rig.rabbit.ssl_port}", CERTIFICATES=rig.certificates()).start().wait_ready()
    rig.rabbit.publish("audit", [Message(body) for body in values(10)])
    example.wait_total("delivered", "audit", 10)
    assert sorted(r.value for r in rig.kafka.consume("audit")) == values(10)
    end(rig, example, "audit")


def story_no_example_without_a_story(rig):
    stories = {name[len("story_"):].replace("_", "-") for name in globals() if name.startswith("story_")}
    missing = {file[:-len(".yaml")] for file in os.listdir(EXAMPLES)} - stories
    assert not missing, f"nothing runs {missing}"
