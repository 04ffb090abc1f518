"""RabbitMQ's consumer_timeout: it closes the channel of a consumer that leaves a message unsettled for too long. Before that, what is unsettled is
handed back and taken again, while it is refused; and while the sink is away it is left to its queue."""
import time

from rig import Message, until

IDLE = True
TIMEOUT = 10  # seconds; RabbitMQ looks every second here, by itself each minute
COUNT = 50


def hold(rabbit, queue):
    """A consumer of pika's that settles nothing: how long RabbitMQ bears it."""
    connection = rabbit.connect()
    channel = connection.channel()
    channel.basic_qos(prefetch_count=10)
    channel.basic_consume(queue, lambda *_: None)
    began = time.monotonic()
    until(lambda: connection.process_data_events(0.1) or channel.is_closed, 3 * TIMEOUT, "RabbitMQ bears an unsettled message for ever")
    connection.close()
    return time.monotonic() - began


def set_patience(rabbit, timeout, interval):
    """Of channels that are opened from now on, in seconds."""
    rabbit.eval(f"application:set_env(rabbit, consumer_timeout, {timeout * 1000}), "
                f"application:set_env(rabbit, channel_tick_interval, {interval * 1000})")


def story_it_is_handed_back_before(rig):
    set_patience(rig.rabbit, TIMEOUT, 1)
    try:
        return hand_back(rig)
    finally:
        set_patience(rig.rabbit, 1800, 60)


def hand_back(rig):
    rabbit = rig.rabbit
    rabbit.declare("patience", "patience-refused", "patience-away", "patience-out")
    rabbit.declare("patience-full", arguments={"x-max-length": 0, "x-overflow": "reject-publish"})
    bodies = [b"%d" % i for i in range(COUNT)]
    for queue in ("patience", "patience-refused"):
        rabbit.publish(queue, [Message(body) for body in bodies])
    proxy = rig.proxy(rabbit.port)
    gateway = rig.gateway({
        "brokers": {"far": {"connector": "amqp", "url": rabbit.url.replace(f":{rabbit.port}", f":{proxy.port}"), "heartbeat": "1s"}},
        "routes": [
            {"name": "refused", "from": {"broker": "r", "queue": "patience-refused", "consumer_timeout": f"{TIMEOUT}s"},
             "to": {"broker": "r", "queue": "patience-full"}},
            {"name": "away", "from": {"broker": "r", "queue": "patience-away", "consumer_timeout": f"{TIMEOUT}s"},
             "to": {"broker": "far", "queue": "patience-out"}}]}).wait_ready()
    proxy.mute = True  # what the sink sends now is in doubt, until it is given up; nobody answers when it is dialed again
    proxy.swallow()
    rabbit.publish("patience-away", [Message(body) for body in bodies])

    bears = hold(rabbit, "patience")  # longer than ours may be out
    until(lambda: rabbit.count("patience-away") == COUNT, 3 * TIMEOUT, lambda: gateway.process.tail())
    until(lambda: gateway.output().count("amqp.handed_back route=refused") >= 2, 3 * TIMEOUT, gateway.process.tail)
    assert gateway.output().count("amqp.handed_back route=away") <= 1, gateway.output()
    assert "timed out" not in gateway.output() and "end=source" not in gateway.output(), gateway.process.tail()

    rabbit.delete("patience-full")
    rabbit.declare("patience-full")
    proxy.mute = False
    proxy.cut()
    for queue in ("patience-full", "patience-out"):
        got = set()
        until(lambda: got.update(m.body for m in rabbit.drain(queue)) or len(got) == COUNT, 60, gateway.process.tail)
    gateway.term()
    assert rabbit.held("patience-refused") == rabbit.held("patience-away") == 0
    return f"RabbitMQ bears it for {bears:.0f} s; {gateway.output().count('amqp.handed_back')} times handed back before"
