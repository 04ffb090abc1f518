"""What real brokers refuse: each refusal is told from the others, and becomes what the route says."""
import re

import pika

from rig import Message, Record, until

IDLE = True  # for balance

FAST = {"attempts": 3, "backoff": "100ms..200ms"}
TIMES_OUT = 30  # seconds
LIMIT = 4000    # bytes: the topic's max.message.bytes


def total(gateway, what, route):
    return gateway.metric(f"bailey_messages_{what}_total", route=route) or 0


def wait_total(gateway, what, route, count):
    until(lambda: total(gateway, what, route) >= count, TIMES_OUT,
          lambda: f"{route}: not {count} {what}: {gateway.ready_report()}\n{gateway.process.tail()}")


def wait_bodies(rig, queue, count):
    return sorted(m.body for m in rig.rabbit.drain(queue, count, timeout=TIMES_OUT))


def wait_restarts(gateway, route, count):
    """Until its ends were opened more often than that."""
    until(lambda: (gateway.metric("bailey_end_restarts_total", route=route) or 0) > count, TIMES_OUT,
          lambda: f"the sink is not tried again: {gateway.ready_report()}\n{gateway.process.tail()}")


def why(message):
    """(class, attempts) of a dead letter."""
    return message.headers["bailey-dlq-class"], message.headers["bailey-dlq-attempts"]


def to_header(i, queue, **properties):
    return Message(b"%d" % i, pika.BasicProperties(headers={"to": queue}, **properties))


def story_unroutable(rig):
    """Each policy, on messages of which every other one names a queue that is not there."""
    policies = ("dead-letter", "accept", "retry")
    names = {policy: f"un-{policy}" for policy in policies}
    rig.rabbit.declare("un-known", "un-dead", *names.values())
    gateway = rig.gateway({"routes": [
        {"name": name, "from": {"broker": "r", "queue": name}, "unroutable": policy, "retry": {"backoff": FAST["backoff"]},
         "to": {"broker": "r", "exchange": "", "routing_key": "${header.to}"}, "dead_letter": {"broker": "r", "queue": "un-dead"}}
        for policy, name in names.items()]}).wait_ready()
    for name in names.values():
        rig.rabbit.publish(name, [to_header(i, f"{name}-late" if i % 2 else "un-known") for i in range(20)])
        wait_total(gateway, "delivered", name, 10)
    wait_total(gateway, "dead_lettered", names["dead-letter"], 10)
    wait_total(gateway, "unroutable", names["accept"], 10)
    wait_total(gateway, "retried", names["retry"], 30)  # more often than FAST would allow: this route tries for ever
    assert rig.rabbit.held(names["retry"]) == 10 and total(gateway, "dead_lettered", names["retry"]) == 0
    rig.rabbit.declare(f"{names['retry']}-late")
    wait_total(gateway, "delivered", names["retry"], 20)
    for name in names.values():
        until(lambda: rig.rabbit.held(name) == 0, TIMES_OUT, f"{name} was not settled")
    gateway.term()
    odd = [b"%d" % i for i in range(1, 20, 2)]
    assert wait_bodies(rig, f"{names['retry']}-late", 10) == sorted(odd)
    dead = rig.rabbit.drain("un-dead", 10)
    assert sorted(m.body for m in dead) == sorted(odd) and {why(m) for m in dead} == {("unroutable", "1")}, dead
    return "10 dead-lettered, 10 accepted, 10 retried until there was a queue"


def story_too_large(rig):
    """A record over its topic's max.message.bytes is a dead letter. The limit is one of batches: those that are small go on, in smaller batches."""
    count, poison = 20_000, 10
    rig.kafka.create("tl-out", max_message_bytes=LIMIT)
    rig.rabbit.declare("tl-in", "tl-dead")
    bodies = [b"%08d" % i + bytes(2 * LIMIT if i % (count // poison) == 7 else 100) for i in range(count)]
    rig.rabbit.publish("tl-in", [Message(body, pika.BasicProperties()) for body in bodies])
    gateway = rig.gateway({"routes": [{"name": "large", "from": {"broker": "r", "queue": "tl-in"}, "retry": FAST,
                                       "to": {"broker": "k", "topic": "tl-out"},
                                       "dead_letter": {"broker": "r", "queue": "tl-dead"}}]}).wait_ready()
    wait_total(gateway, "dead_lettered", "large", poison)
    wait_total(gateway, "delivered", "large", count - poison)
    until(lambda: rig.rabbit.held("tl-in") == 0, TIMES_OUT, "not all was settled")
    assert total(gateway, "retried", "large") == 0, "a small one waited for a large one's sake"
    gateway.term()
    dead = rig.rabbit.drain("tl-dead", poison)
    assert {m.headers["bailey-dlq-code"] for m in dead} == {"kafka:10"}, [m.headers for m in dead]
    assert sorted(m.body for m in dead) == [b for b in bodies if len(b) > LIMIT]
    arrived = sorted(r.value for r in rig.kafka.consume("tl-out"))
    assert arrived == [b for b in bodies if len(b) < LIMIT], f"{len(arrived)} arrived"
    return f"{poison} of {count} too large, and dead letters"


def story_no_key(rig):
    """A compacted topic takes no record without a key: Kafka names it, and refuses the others of its batch for its sake."""
    rig.kafka.create("nk-in")
    rig.kafka.create("nk-out", cleanup_policy="compact")
    rig.rabbit.declare("nk-dead")
    rig.kafka.produce("nk-in", [Record(None if i % 50 == 7 else b"%d" % i, b"%d" % i) for i in range(1000)])
    gateway = rig.gateway({"routes": [{"name": "keyless", "from": {"broker": "k", "topic": "nk-in"}, "retry": FAST,
                                       "to": {"broker": "k", "topic": "nk-out"},
                                       "dead_letter": {"broker": "r", "queue": "nk-dead"}}]}).wait_ready()
    wait_total(gateway, "delivered", "keyless", 980)
    wait_total(gateway, "dead_lettered", "keyless", 20)
    assert total(gateway, "retried", "keyless") == 0, "one with a key waited for the sake of one without"
    gateway.term()
    dead = rig.rabbit.drain("nk-dead", 20)
    assert {m.headers["bailey-dlq-code"] for m in dead} == {"kafka:87"} and {why(m) for m in dead} == {("permanent", "1")}, [m.headers for m in dead]
    assert {m.headers["bailey-dlq-reason"] for m in dead} == {"topic nk-out: Broker: Broker failed to validate record"}, [m.headers for m in dead]
    assert sorted(int(m.body) for m in dead) == [i for i in range(1000) if i % 50 == 7]
    assert sorted(int(r.value) for r in rig.kafka.consume("nk-out")) == [i for i in range(1000) if i % 50 != 7]
    return "20 of 1000 without a key, and dead letters"


def story_no_topic(rig):
    """A topic that is missing is the operator's to mend: that is no attempt of a message, and it goes on when there is one."""
    rig.rabbit.declare("nt-in", "nt-dead")
    gateway = rig.gateway({"routes": [{"name": "missing", "from": {"broker": "r", "queue": "nt-in"}, "retry": FAST,
                                       "to": {"broker": "k", "topic": "nt-out"},
                                       "dead_letter": {"broker": "r", "queue": "nt-dead"}}]})
    rig.rabbit.publish("nt-in", [Message(b"%02d" % i, pika.BasicProperties()) for i in range(50)])
    gateway.wait_route("missing", lambda route: "nt-out" in str(route), TIMES_OUT, "the route does not name the missing topic")
    wait_restarts(gateway, "missing", FAST["attempts"])
    assert total(gateway, "dead_lettered", "missing") == 0, "messages are blamed for a topic that all of them lack"
    rig.kafka.create("nt-out")
    wait_total(gateway, "delivered", "missing", 50)
    assert total(gateway, "dead_lettered", "missing") == 0
    gateway.term()
    assert [r.value for r in rig.kafka.consume("nt-out")] == [b"%02d" % i for i in range(50)]
    assert rig.rabbit.count("nt-dead") == 0
    return "50 waited for their topic"


def story_no_exchange(rig):
    """An exchange that is missing is an outage as well, whatever it is asked to take."""
    rig.rabbit.declare("ne-in", "ne-out", "ne-dead")
    gateway = rig.gateway({"routes": [{"name": "nowhere", "from": {"broker": "r", "queue": "ne-in"}, "retry": FAST,
                                       "to": {"broker": "r", "exchange": "ne", "routing_key": "${header.to}"},
                                       "dead_letter": {"broker": "r", "queue": "ne-dead"}}]})
    rig.rabbit.publish("ne-in", [to_header(i, "anything") for i in range(50)])
    gateway.wait_route("nowhere", lambda route: "404" in str(route), TIMES_OUT, "the route does not name the missing exchange")
    wait_restarts(gateway, "nowhere", FAST["attempts"])
    assert total(gateway, "dead_lettered", "nowhere") == 0, "messages are blamed for an exchange that all of them lack"
    rig.rabbit.exchange("ne", "ne-out")
    wait_total(gateway, "delivered", "nowhere", 50)
    assert wait_bodies(rig, "ne-out", 50) == sorted(b"%d" % i for i in range(50)) and rig.rabbit.count("ne-dead") == 0
    gateway.term()
    return "50 waited for their exchange"


def story_precondition_failed(rig):
    """RabbitMQ closes the channel on a message that it does not like (406), without a word which one: that is a dead letter, the others arrive."""
    most = 4000  # bytes; a channel asks for the limit when it is opened
    bodies = [b"%03d" % i + bytes(2 * most if i % 30 == 7 else 100) for i in range(300)]
    rig.kafka.create("pf-in", "pf-dead")
    rig.rabbit.declare("pf-out")
    [usual] = re.findall("[0-9]+", rig.rabbit.eval("application:get_env(rabbit, max_message_size)"))
    rig.rabbit.eval(f"application:set_env(rabbit, max_message_size, {most})")
    try:
        gateway = rig.gateway({"routes": [{"name": "disliked", "from": {"broker": "k", "topic": "pf-in"}, "to": {"broker": "r", "queue": "pf-out"},
                                           "retry": FAST, "dead_letter": {"broker": "k", "topic": "pf-dead"}}]}).wait_ready()
        rig.kafka.produce("pf-in", [Record(b"key", body) for body in bodies])
        wait_total(gateway, "dead_lettered", "disliked", 10)
        wait_total(gateway, "delivered", "disliked", 290)
        gateway.term()
    finally:
        rig.rabbit.eval(f"application:set_env(rabbit, max_message_size, {usual})")
    dead = rig.kafka.consume("pf-dead", 10)
    assert [r.value for r in dead] == [body for body in bodies if len(body) > most], len(dead)
    assert {(r.header(b"bailey-dlq-code"), r.header(b"bailey-dlq-class")) for r in dead} == {(b"amqp:406", b"permanent")}, dead[0].headers
    assert set(wait_bodies(rig, "pf-out", 290)) == {body for body in bodies if len(body) < most}
    return "10 of 300 found, each of which had closed the channel"


STEERING = {"reply-to": (b"bailey-reply-to", b"amq.rabbitmq.reply-to"), "user": (b"bailey-user-id", b"somebody"), "expiry": (b"bailey-expiration", b"soon"),
            "mode": (b"bailey-delivery-mode", b"7"), "CC": (b"CC", b"sh-elsewhere"), "BCC": (b"BCC", b"sh-elsewhere"), "death": (b"x-death", b"x")}


def story_steering_headers(rig):
    """What makes RabbitMQ close a channel, or send a message elsewhere, does neither when a producer of the source says it. Where it is
    asked to pass a header on, a value that RabbitMQ would refuse is a dead letter, in the same broker."""
    rig.rabbit.declare("sh-open", "sh-passing", "sh-elsewhere", "sh-dead")
    rig.kafka.create("sh-in")
    gateway = rig.gateway({"routes": [
        {"name": name, "from": {"broker": "k", "topic": "sh-in", "group": name}, "to": {"broker": "r", "queue": name, **passed},
         "retry": FAST, "dead_letter": {"broker": "r", "queue": "sh-dead"}} for name, passed in (("sh-open", {}), ("sh-passing", {"pass_headers": ["CC", "BCC"]}))]})
    gateway.wait_ready()
    rig.kafka.produce("sh-in", [Record(b"key", name.encode(), [header]) for name, header in STEERING.items()])
    wait_total(gateway, "delivered", "sh-open", len(STEERING))
    wait_total(gateway, "delivered", "sh-passing", len(STEERING) - 2)
    wait_total(gateway, "dead_lettered", "sh-passing", 2)
    assert "culprit" not in gateway.output(), "RabbitMQ has closed a channel"
    gateway.term()
    assert wait_bodies(rig, "sh-open", len(STEERING)) == sorted(name.encode() for name in STEERING)
    dead = rig.rabbit.drain("sh-dead", 2)
    assert sorted(m.body for m in dead) == [b"BCC", b"CC"] and {why(m) for m in dead} == {("permanent", "1")}, dead
    assert rig.rabbit.count("sh-elsewhere") == 0
    return f"{len(STEERING)} that would close the channel or go elsewhere; 2 dead where CC and BCC are passed on"


def story_full_queue(rig):
    """A queue that is full refuses: without a number of attempts messages wait for room, with one they are dead letters."""
    full = {"x-max-length": 10, "x-overflow": "reject-publish"}
    rig.kafka.create("fq-wait-in", "fq-few-in")
    rig.rabbit.declare("fq-wait", "fq-few", arguments=full)
    rig.rabbit.declare("fq-dead")
    gateway = rig.gateway({"routes": [
        {"name": f"fq-{name}", "from": {"broker": "k", "topic": f"fq-{name}-in"}, "to": {"broker": "r", "queue": f"fq-{name}"},
         "retry": retry, "order": "key", "dead_letter": {"broker": "r", "queue": "fq-dead"}}
        for name, retry in (("wait", {"backoff": FAST["backoff"]}), ("few", FAST))]}).wait_ready()
    records = [Record(key=b"key", value=b"%03d" % i, partition=0) for i in range(40)]
    bodies = [record.value for record in records]
    for name in ("wait", "few"):
        rig.kafka.produce(f"fq-{name}-in", records)
    wait_total(gateway, "retried", "fq-wait", 5)
    assert total(gateway, "dead_lettered", "fq-wait") == 0
    came, delivered = [], lambda: total(gateway, "delivered", "fq-wait")
    while len(came) < 40:
        came += [m.body for m in rig.rabbit.drain("fq-wait", 1, timeout=TIMES_OUT)]
    assert came == bodies and delivered() == 40, came
    until(lambda: total(gateway, "delivered", "fq-few") + total(gateway, "dead_lettered", "fq-few") == 40, TIMES_OUT,
          lambda: f"not all is decided: {gateway.ready_report()}\n{gateway.process.tail()}")
    gateway.term()
    taken, dead = rig.rabbit.drain("fq-few"), rig.rabbit.drain("fq-dead")
    assert [m.body for m in taken] + [m.body for m in dead] == bodies, ([m.body for m in taken], [m.body for m in dead])
    assert dead and {why(m) for m in dead} == {("transient", "3")}, [m.headers for m in dead]
    return f"40 of 40 in order when there was room; else {len(dead)} dead after 3 attempts"


def permit(rig, user, pattern):
    """What the user may configure, write and read. Channels that are open remember what they were told: close them."""
    rig.rabbit.eval(f'rabbit_auth_backend_internal:set_permissions(<<"{user}">>, <<"/">>, ' + f'<<"{pattern}">>, ' * 3 + '<<"rig">>), '
                    '[rabbit_networking:close_connection(proplists:get_value(pid, C), <<"permissions">>) || '
                    f'C <- rabbit_networking:connection_info_all([pid, user]), proplists:get_value(user, C) =:= <<"{user}">>]')


def story_no_permission(rig):
    """Permissions are taken away under a running route and given back: that is no attempt of a message either."""
    user, password = rig.rabbit.admit_limited()
    limited = {"connector": "amqp", "url": f"amqp://{user}:{password}@127.0.0.1:{rig.rabbit.port}/%2f"}
    rig.rabbit.declare("np-in", "np-dead", "limited.np-out")
    gateway = rig.gateway({"brokers": {"limited": limited},
                           "routes": [{"name": "denied", "from": {"broker": "r", "queue": "np-in"}, "retry": FAST,
                                       "to": {"broker": "limited", "queue": "limited.np-out"},
                                       "dead_letter": {"broker": "r", "queue": "np-dead"}}]}).wait_ready()
    rig.rabbit.publish("np-in", [Message(b"%03d" % i) for i in range(100)])
    wait_total(gateway, "delivered", "denied", 100)
    permit(rig, user, "^nothing$")
    try:
        rig.rabbit.publish("np-in", [Message(b"%03d" % i) for i in range(100, 200)])
        wait_restarts(gateway, "denied", FAST["attempts"])
        gateway.wait_route("denied", lambda route: "403" in str(route), TIMES_OUT, "the route does not name the denial")
        assert total(gateway, "dead_lettered", "denied") == 0, "messages are blamed for a permission that all of them lack"
    finally:
        permit(rig, user, "^(limited[.].*|amq[.]default)$")
    wait_total(gateway, "delivered", "denied", 200)
    gateway.term()
    assert set(wait_bodies(rig, "limited.np-out", 200)) == {b"%03d" % i for i in range(200)}
    assert rig.rabbit.count("np-dead") == 0
    return "100 waited for their permission"
