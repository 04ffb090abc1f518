"""With dedup each process knows its own ids only. What another process may have sent is marked: the first `credit` messages of a
Kafka partition that was its, and no others."""
from rig import Producer, until
from rig.flow import MARK, number_of, records

IDLE = True
CREDIT, RATE = 500, 2000


def gateway(rig, name, instance, sink, brokers=None, commit_interval="1s"):
    return rig.gateway({"instance": instance, "brokers": brokers or {}, "state": {"store": "memory", "processes": "several"},
                        "routes": [{"name": name, "credit": {"messages": CREDIT},
                                    "from": {"broker": "k", "topic": f"{name}-in", "group": name, "session_timeout": "3s",
                                             "commit_interval": commit_interval},
                                    "to": sink, "dedup": {"id": "${body.sha256}"}}]}, f"{name}-{instance}")


def committed(rig, name):
    return rig.kafka.committed(name, f"{name}-in").get(0, 0)


def is_committed(rig, name, gateway, least):
    until(lambda: committed(rig, name) >= least, 30,
          lambda: f"{committed(rig, name)} of {least} are settled: {gateway.ready_report()}\n{gateway.process.tail()}")


def killed_in_flow(rig, name, gateway):
    """The offset that it had committed then. Numbers are offsets."""
    until(lambda: gateway.metric("bailey_unsettled", route=name), 10, "nothing is under way", every=0)
    gateway.kill()
    return committed(rig, name)


def explain(marked, expected):
    more, less = sorted(marked - expected), sorted(expected - marked)
    return f"marked without a reason: {len(more)} {more[:5]}; not marked: {len(less)} {less[:5]}"


def story_the_first_messages_are_marked(rig):
    """a is killed and comes back, is killed, b takes over, is killed and comes back: what b took over is marked, and nothing else."""
    rig.kafka.create("heir-in", "heir-out")
    sink = {"broker": "k", "topic": "heir-out"}
    a = gateway(rig, "heir", "a", sink).wait_ready()
    feed = Producer(rig.kafka, "heir-in", RATE)
    rig.feeds.append(feed)
    is_committed(rig, "heir", a, 2000)
    again = killed_in_flow(rig, "heir", a)
    a.start().wait_ready()
    is_committed(rig, "heir", a, again + 2000)
    b = gateway(rig, "heir", "b", sink).wait_ready()  # there is one partition: it waits
    first = killed_in_flow(rig, "heir", a)
    is_committed(rig, "heir", b, first + 2 * CREDIT)
    again = killed_in_flow(rig, "heir", b)
    b.start().wait_ready()
    is_committed(rig, "heir", b, again + 2000)
    count = feed.stop()
    is_committed(rig, "heir", b, count)
    b.term()

    arrived = rig.kafka.consume("heir-out", count)
    assert {number_of(r.value) for r in arrived} == set(range(count)), "some are lost"
    marked = {number_of(r.value) for r in arrived if any(name == MARK.encode() for name, _ in r.headers)}
    expected = set(range(first, first + CREDIT))
    assert marked == expected, explain(marked, expected)
    assert "kafka.taken_over" not in a.output() and b.output().count("kafka.taken_over") == 1
    return f"{CREDIT} of {count} messages are marked, from {first} on, where a was killed"


def story_a_claim_outlives_its_maker(rig):
    """b takes over, and is killed before it has settled anything. So a must mark what comes then, though a was the last to settle."""
    rig.kafka.create("claim-in")
    rig.rabbit.declare("claim-out")
    proxies, brokers = rig.through_proxies("r")
    sink = {"broker": "r", "queue": "claim-out"}
    a = gateway(rig, "claim", "a", sink, brokers).wait_ready()
    rig.kafka.produce("claim-in", records(100))
    is_committed(rig, "claim", a, 100)
    a.term()
    proxies["r"].mute = True
    b = gateway(rig, "claim", "b", sink, brokers)
    until(lambda: rig.kafka.metadata("claim", "claim-in") == {0: "bailey 1 b"}, 20,
          lambda: f"the last commit is by {rig.kafka.metadata('claim', 'claim-in')}\n{b.process.tail()}")
    rig.kafka.produce("claim-in", records(50, first=100))
    b.kill()
    proxies["r"].mute = False
    a.start()
    is_committed(rig, "claim", a, 150)
    a.term()
    marked = {number_of(m.body) for m in rig.rabbit.drain("claim-out", 150) if MARK in m.headers}
    assert marked == set(range(100, 150)), explain(marked, set(range(100, 150)))
    return "the 50 messages that b may have sent are marked by a"


def story_a_first_owner_leaves_its_name(rig):
    """a is the first that ever reads the partition, and is killed before its first commit of anything: b marks what a has sent."""
    rig.kafka.create("first-in", "first-out")
    rig.kafka.produce("first-in", records(100))
    sink = {"broker": "k", "topic": "first-out"}
    a = gateway(rig, "first", "a", sink, commit_interval="60s").wait_ready()
    rig.kafka.consume("first-out", 100)
    a.kill()
    assert committed(rig, "first") == 0, "it has committed what it sent: nothing is tested"
    metadata = rig.kafka.metadata("first", "first-in")
    assert metadata == {0: "bailey 1 a"}, metadata
    b = gateway(rig, "first", "b", sink).wait_ready()
    is_committed(rig, "first", b, 100)
    b.term()
    arrived = rig.kafka.consume("first-out", 200)
    copies = [(number_of(r.value), any(name == MARK.encode() for name, _ in r.headers)) for r in arrived]
    assert sorted(copies[:100]) == [(n, False) for n in range(100)], "what a sent"
    assert sorted(copies[100:]) == [(n, True) for n in range(100)], "what b sent"
    return "100 messages that were sent by a and never committed come again by b, marked"
