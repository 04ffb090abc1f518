"""A consumer that has died, and whom its broker still serves: its successor must not be given what lies behind the messages that will
come back. Its process is stopped here, as a busy broker would not have read its end yet. First what RabbitMQ does by itself."""
from rig import StompMessage, until
from rig.flow import messages, number_of, tally

NEEDS = ("activemq",)
COUNT = 3000
QUEUES = {"classic": {}, "quorum": {"x-queue-type": "quorum"}, "single": {"x-queue-type": "quorum", "x-single-active-consumer": True}}


def gateway(rig, name, **sink):
    sources = {"classic": {"broker": "r", "queue": "only-classic", "exclusive": True},
               "quorum": {"broker": "r", "queue": "only-quorum", "exclusive": True},
               "single": {"broker": "r", "queue": "only-single", "declare": {"create": {"single_active": True}}},
               "activemq": {"broker": "a", "destination": "/queue/only-activemq", "exclusive": True}}
    return rig.gateway({"instance": name, "routes": [
        {"name": kind, "credit": {"messages": 1000}, "from": source, "to": dict(sink, broker="k", topic=f"only-{kind}")}
        for kind, source in sources.items()]}, name)


def story_the_order_outlasts_a_consumer_that_lingers(rig):
    kinds = (*QUEUES, "activemq")
    rig.kafka.create(*(f"only-{kind}" for kind in kinds))
    for kind, arguments in QUEUES.items():
        rig.rabbit.declare(f"only-{kind}", arguments=arguments)
        rig.rabbit.publish(f"only-{kind}", messages(COUNT))
    rig.stomp("a").send("/queue/only-activemq", [StompMessage(message.body) for message in messages(COUNT)])
    first = gateway(rig, "first", linger="300ms")  # so that what it was given is never settled at once
    until(lambda: all((first.metric("bailey_messages_delivered_total", route=kind) or 0) > 0 for kind in kinds), 60,
          lambda: f"the first one delivers nothing: {first.ready_report()}\n{first.process.tail()}")
    first.process.stop()
    unsettled = {kind: rig.rabbit.held(f"only-{kind}") - rig.rabbit.count(f"only-{kind}") for kind in QUEUES}
    assert all(unsettled.values()) and rig.activemq.count("only-activemq") > 0, f"nothing is left unsettled: {unsettled}"

    second = gateway(rig, "second")
    for kind in ("quorum", "classic"):
        second.wait_route(kind, lambda route: route["state"] == "down" and "has another consumer" in route["reason"], 30,
                          f"{kind}: it does not wait for the first one")
    for kind in ("single", "activemq"):
        second.wait_route(kind, lambda route: route["state"] == "running", 30, f"{kind}: it does not stand ready")
    first.kill()

    def all_came():
        values = second.values("bailey_messages_delivered_total")
        if not all(rig.rabbit.held(f"only-{kind}") == 0 for kind in QUEUES) or rig.activemq.count("only-activemq") > 0:
            return False
        return all(values.get(kind, 0) > 0 for kind in kinds)
    until(all_came, 90, lambda: f"not all came: {second.ready_report()}\n{second.process.tail()}")
    second.term()
    said = []
    for kind in kinds:
        arrived = tally(COUNT, [record.value for record in rig.kafka.consume(f"only-{kind}")])
        assert not arrived.lost and arrived.ordered, f"{kind}: {arrived}, in order: {arrived.ordered}"
        said.append(f"{kind} {arrived.duplicates}")
    rig.kafka.delete(*(f"only-{kind}" for kind in kinds))
    return f"4 x {COUNT} in order; repeated: {', '.join(said)}"


def take(rig, queue, count):
    """A consumer that is given `count` of 30 messages, settles none, and goes."""
    until(lambda: rig.rabbit.count(queue) == 30, 20, f"{queue} has not (again) what belongs to it")
    connection = rig.rabbit.connect()
    channel = connection.channel()
    channel.basic_qos(prefetch_count=count)
    taken = [number_of(body) for _, (_, _, body) in zip(range(count), channel.consume(queue))]
    connection.close()
    return taken


def story_a_quorum_queue_gives_back_in_parts(rig):
    """Why amq_needs_steady_window(): whoever dies with less than was given back changes the order."""
    for kind in QUEUES:
        queue = f"parts-{kind}"
        rig.rabbit.declare(queue, arguments=QUEUES[kind])
        rig.rabbit.publish(queue, messages(30))
        assert take(rig, queue, 20) == list(range(20)), queue
        assert take(rig, queue, 20) == list(range(20)), f"{queue}: as many as were given back come in order"
        assert take(rig, queue, 10) == list(range(10)), queue
        left = take(rig, queue, 30)
        parts = [*range(10, 20), *range(10), *range(20, 30)]
        assert left == (list(range(30)) if kind == "classic" else parts), f"{queue}: {left}"
    rig.rabbit.delete(*(f"parts-{kind}" for kind in QUEUES))


def story_a_quorum_queue_ignores_exclusive(rig):
    rig.rabbit.declare("shared", quorum=True)
    connections = [rig.rabbit.connect() for _ in range(2)]
    for connection in connections:
        connection.channel().basic_consume("shared", lambda *_: None, exclusive=True)
    for connection in connections:
        connection.close()
    rig.rabbit.delete("shared")
