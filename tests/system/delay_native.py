"""A sink's broker holds messages until their time, where it can: they come in the order of their times, none before it, and a restart of the
broker loses none."""
import json
import os
import subprocess
import time

from rig import until

NEEDS = ("activemq", "artemis", "rabbitmq")
BREAKS = True
DELAYS = {b"later": 6000, b"soon": 1500, b"at once": 0, b"then": 3500}
LATE = 2.0  # seconds, on a busy machine


def send(rig, letter, sink, delays, code=0):
    program = os.path.join(rig.build, "tests", "conformance", "conformance_delay")
    path = os.path.join(rig.folder, f"delay-{letter}.yaml")
    config = {"brokers": {**rig.brokers(), "m": {"connector": "memory"}},
              "routes": [{"name": letter, "from": {"broker": "m", "queue": "none"}, "to": {"broker": letter, **sink}}]}
    with open(path, "w") as f:
        json.dump(config, f)
    done = subprocess.run([program, path, letter, *(f"{body.decode()}={ms}" for body, ms in delays.items())], timeout=90,
                          env=dict(os.environ, BAILEY_TEST_LOG="1"), capture_output=True, text=True)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr[-2000:])
    return done.stdout + done.stderr


def in_time(rig, letter, sink, arrivals):
    began = time.time()
    assert "confirmed" in send(rig, letter, sink, DELAYS)
    sent = time.time()
    came = arrivals(len(DELAYS))
    assert [body for _, body in came] == sorted(DELAYS, key=DELAYS.get), came
    for at, body in came:
        due = DELAYS[body] / 1000
        assert began + due <= at <= sent + due + LATE, f"{body} came after {at - began:.2f} to {at - sent:.2f} s, not {due} s"
    return "late by at most %.2f s" % max(at - sent - DELAYS[body] / 1000 for at, body in came[1:])


def stomp_in_time(rig, letter):
    queue = f"/queue/delay.{letter}"
    return in_time(rig, letter, {"destination": queue}, lambda count: rig.stomp(letter).arrivals(queue, count))


def story_activemq(rig):
    return stomp_in_time(rig, "a")


def story_artemis(rig):
    return stomp_in_time(rig, "t")



def amqp_arrivals(rabbit, queue, count):
    connection = rabbit.connect()
    came = []
    connection.channel().basic_consume(queue, lambda _, __, ___, body: came.append((time.time(), body)), auto_ack=True)
    until(lambda: connection.process_data_events(0.05) or len(came) == count, 60, lambda: f"{len(came)} of {count} came")
    connection.close()
    return came


def story_amqp(rig):
    """RabbitMQ, by queues that we declare: to a queue, and to an exchange, with each message's routing key."""
    rig.rabbit.declare("delay.r")
    figures = in_time(rig, "r", {"queue": "delay.r"}, lambda count: amqp_arrivals(rig.rabbit, "delay.r", count))
    rig.rabbit.declare("delay.bound")
    connection = rig.rabbit.connect()
    channel = connection.channel()
    channel.exchange_declare("delay.topic", "topic", durable=True)
    channel.queue_bind("delay.bound", "delay.topic", "orders.*")
    connection.close()
    assert "confirmed" in send(rig, "r", {"exchange": "delay.topic", "routing_key": "orders.new"}, {b"x": 1200})
    [message] = rig.rabbit.drain("delay.bound", 1)
    assert (message.body, message.exchange, message.routing_key) == (b"x", "delay.topic", "orders.new"), message
    assert "expiration" not in vars(message.properties) or message.properties.expiration is None
    return figures


def story_amqp_many(rig):
    """One that waits long does not hold up those that wait shorter, of another step; equal ones come in their order."""
    rig.rabbit.declare("delay.many")
    send(rig, "r", {"queue": "delay.many"}, {b"day": 86400000, **{b"%d" % i: 3000 for i in range(300)}})
    came = amqp_arrivals(rig.rabbit, "delay.many", 300)
    assert [body for _, body in came] == [b"%d" % i for i in range(300)]
    assert rig.rabbit.count("bailey.delay..90112000") == 1, "the one that waits a day is not where it should be"


def story_amqp_nobody_there_in_time(rig):
    """What no queue takes when its time has come is kept until there is one. RabbitMQ tries every 3 minutes, here every 2 seconds."""
    rig.rabbit.eval("application:set_env(rabbit, dead_letter_worker_publisher_confirm_timeout, 2000)")
    rig.rabbit.declare("delay.later")
    began = time.time()
    send(rig, "r", {"queue": "delay.later"}, {b"kept": 2100})
    rig.rabbit.delete("delay.later")
    until(lambda: time.time() - began > 6, 10, "time stands still")
    rig.rabbit.declare("delay.later")
    assert [body for _, body in amqp_arrivals(rig.rabbit, "delay.later", 1)] == [b"kept"]


def story_amqp_a_restart_in_between(rig):
    """What is confirmed is on the broker's disk, in queues that are there for some seconds: 3.10 forgets a younger one when it is killed."""
    rig.rabbit.declare("delay.restart")
    began = time.time()
    send(rig, "r", {"queue": "delay.restart"}, {b"first": 15000})
    until(lambda: time.time() - began > 6, 10, "time stands still")
    began = time.time()
    send(rig, "r", {"queue": "delay.restart"}, {b"%d" % i: 15000 for i in range(1, 100)})
    rig.rabbit.process.kill()
    rig.rabbit.start()
    assert time.time() - began < 15, "the start took too long for this test"
    assert rig.rabbit.count("delay.restart") == 0
    got = {body for _, body in amqp_arrivals(rig.rabbit, "delay.restart", 100)}
    assert len(got) == 100 and time.time() - began >= 15, (len(got), time.time() - began)


def story_rabbitmq_does_not(rig):
    """Its STOMP has no word for it: the message is refused, and does not go before its time."""
    said = send(rig, "s", {"destination": "/queue/delay.s"}, {b"later": 60000}, code=1)
    assert "rabbitmq does not hold messages until their time over STOMP" in said, said
    until(lambda: rig.rabbit.eval('rabbit_amqqueue:exists(rabbit_misc:r(<<"/">>, queue, <<"delay.s">>))') == "false", 5, "it was sent")
