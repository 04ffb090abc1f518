"""Two processes share a topic: one joins, one leaves, one is killed. Clean moves repeat nothing, a kill loses nothing."""
from rig import Producer, assert_nothing_lost, tally, until
from rig.flow import number_of

PARTITIONS, RATE = 6, 3000


def route(assignment, topic):
    return {"name": "share", "from": {"broker": "k", "topic": f"{topic}-in", "group": topic, "assignment": assignment,
                                      "session_timeout": "3s"},
            "to": {"broker": "k", "topic": f"{topic}-out", "partition": "source"}}


def delivered(gateway):
    return gateway.metric("bailey_messages_delivered_total", route="share") or 0


def flows(gateway, more=200):
    before = delivered(gateway)
    until(lambda: delivered(gateway) >= before + more, 20, lambda: f"{gateway.name} does not share: {gateway.ready_report()}")


def judge_of(kafka, topic, count):
    """Tally of the whole, and whether each partition is in order."""
    until(lambda: kafka.count(f"{topic}-out") >= count, 30, lambda: f"{kafka.count(f'{topic}-out')} of {count} arrived")
    got = kafka.consume(f"{topic}-out", count)
    ordered = all(tally(0, [r.value for r in got if r.partition == p]).ordered for p in range(PARTITIONS))
    assert all(number_of(r.value) % PARTITIONS == r.partition for r in got)
    return tally(count, [r.value for r in got]), ordered


def share(rig, assignment):
    kafka, topic = rig.kafka, f"share-{assignment}"
    kafka.create(f"{topic}-in", f"{topic}-out", partitions=PARTITIONS)
    config = {"routes": [route(assignment, topic)]}
    a = rig.gateway(dict(config, instance="a"), f"{assignment}-a").wait_ready()
    feed = Producer(kafka, f"{topic}-in", RATE, partitions=PARTITIONS)
    flows(a)
    b = rig.gateway(dict(config, instance="b"), f"{assignment}-b").wait_ready()
    flows(b)
    flows(a)
    a.term()
    flows(b, 1000)
    a.start()
    flows(a)
    flows(b)
    count = feed.stop()
    clean, ordered = judge_of(kafka, topic, count)
    assert_nothing_lost({"clean": clean})
    assert clean.duplicates == 0, f"clean rebalances repeated messages: {clean}"
    assert ordered, "the order within a partition was not kept"

    feed = Producer(kafka, f"{topic}-in", RATE, partitions=PARTITIONS, first=count)
    flows(a)
    a.kill()
    flows(b, 3000)
    result, _ = judge_of(kafka, topic, count + feed.stop())
    assert_nothing_lost({"killed": result})
    b.term()
    return f"{count} with 3 clean moves: 0 lost, 0 duplicates, in order; after a kill: {result}"


def story_eager(rig):
    return share(rig, "eager")


def story_cooperative(rig):
    return share(rig, "cooperative")
