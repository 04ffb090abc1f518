"""A sink that is away refuses nothing: `attempts` are not used up, memory does not grow, and all is delivered afterwards."""
import time

from rig import Flow, Producer, assert_nothing_lost, tally, until

IDLE = True
RATE = 100
RETRY = {"attempts": 3, "backoff": "100ms..200ms"}
AWAY = 120.0    # seconds: many times what three attempts take
GROWTH = 8 << 10  # KiB that memory may grow by while messages wait


def story_of_a_sink(rig):
    flow = Flow(rig, "out", ("kr",), retry=RETRY, order="key", credit={"messages": 2000},
                dead_letter={"broker": "k", "topic": "out-dead"})
    rig.kafka.create("out-dead")
    gateway = rig.gateway({"routes": flow.routes}).wait_ready()
    flow.start_flow(RATE)
    until(lambda: flow.all_deliver(gateway, 1000), 30, "nothing flows")
    rig.rabbit.process.kill()
    until(lambda: (gateway.route("kr") or {}).get("state") != "running", 30, "nobody sees that the sink is gone")
    before, began = gateway.rss_kb(), time.monotonic()
    until(lambda: time.monotonic() - began >= AWAY, 2 * AWAY, "time stands still")
    grown = gateway.rss_kb() - before
    assert gateway.metric("bailey_messages_dead_lettered_total", route="kr") == 0
    rig.rabbit.start()
    flow.finish_flow()
    flow.wait_settled(gateway)
    assert gateway.metric("bailey_messages_dead_lettered_total", route="kr") == 0
    gateway.term()
    tallies = flow.tallies()
    assert_nothing_lost(tallies)
    assert rig.kafka.count("out-dead") == 0
    assert grown < GROWTH, f"memory grew by {grown} KiB while the sink was away"
    return f"away for {AWAY:g} s: {tallies['kr']}; none dead; memory {grown:+d} KiB"


def story_of_a_majority(rig):
    """A quorum queue of which one node of three is left confirms nothing, and refuses nothing: messages wait, and go on in their order."""
    nodes = rig.cluster(3)
    first = nodes[0]
    first.declare("majority", quorum=True)
    members = first.eval('{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"majority">>)), '
                         'length(maps:get(nodes, amqqueue:get_type_state(Q)))')
    assert members == "3", f"the queue has {members} members"
    rig.kafka.create("majority-in", "majority-dead")
    gateway = rig.gateway({"brokers": {"three": {"connector": "amqp", "url": first.url}},
                           "routes": [{"name": "majority", "from": {"broker": "k", "topic": "majority-in", "group": "majority"}, "retry": RETRY,
                                       "to": {"broker": "three", "queue": "majority"},
                                       "dead_letter": {"broker": "k", "topic": "majority-dead"}}]}).wait_ready()
    feed = Producer(rig.kafka, "majority-in", RATE)
    rig.feeds.append(feed)

    def metric(name):
        return gateway.metric(name, route="majority") or 0

    def delivered():
        return metric("bailey_messages_delivered_total")
    until(lambda: delivered() >= 500, 30, "nothing flows")
    for node in nodes[1:]:
        node.process.kill()
    until(lambda: metric("bailey_unconfirmed") >= 3 * RATE, 30, lambda: f"it goes on: {gateway.ready_report()}\n{gateway.process.tail()}")
    before, refused = delivered(), gateway.output().count("delivery.refused")
    until(lambda: rig.kafka.count("majority-in") >= before + 10 * RATE, 60, "the source is not fed")
    assert delivered() == before, "somebody confirms without a majority"
    assert metric("bailey_messages_dead_lettered_total") == 0
    for node in nodes[1:]:
        node.launch()
    for node in nodes[1:]:
        node.ready()
    count = feed.stop()
    until(lambda: rig.kafka.committed("majority", "majority-in").get(0) == count, 60,
          lambda: f"not all is settled: {gateway.ready_report()}\n{gateway.process.tail()}")
    assert metric("bailey_messages_dead_lettered_total") == 0
    gateway.term()
    came = tally(count, [m.body for m in first.drain("majority", count)])
    assert not came.lost and came.ordered, came
    return f"{came}, in order; {refused} refused without a majority"
