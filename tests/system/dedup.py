"""Deduplication on real brokers: copies by producers, restarts, a store that is locked, damaged, full, and clocks that jump."""
import errno
import os
import random

import pika

from rig import Message, Record, until

IDLE = True
PARTITIONS = 4


def state(rig, name, **more):
    return {"store": "rocksdb", "path": os.path.join(rig.folder, name), "processes": "one", **more}


def record(key, body):
    return Record(b"k%d" % (body % 97), b"%d" % body, headers=[(b"idempotency-key", key)])


def kafka_to_amqp(name, **dedup):
    return {"name": name, "lanes": 2, "from": {"broker": "k", "topic": f"{name}-in", "group": name},
            "to": {"broker": "r", "queue": f"{name}-out"}, "dedup": {"id": "${header.idempotency-key}", **dedup}}


def prepare(rig, name):
    rig.kafka.create(f"{name}-in", partitions=PARTITIONS)
    rig.rabbit.declare(f"{name}-out")


def wait_settled(rig, name, count):
    until(lambda: sum(rig.kafka.committed(name, f"{name}-in").values()) == count, 30,
          lambda: f"not all is settled: {rig.kafka.committed(name, f'{name}-in')} of {count}")


def story_copies_of_producers(rig):
    """Each id up to four times, on any partition, near each other and far apart: one arrives. Also after a restart."""
    prepare(rig, "copies")
    gateway = rig.gateway({"state": state(rig, "copies"), "routes": [kafka_to_amqp("copies")]}).wait_ready()
    dice = random.Random(7)
    ids = [i for i in range(2000) for _ in range(dice.choice((1, 1, 2, 4)))]
    dice.shuffle(ids)
    rig.kafka.produce("copies-in", [record(b"id-%d" % i, n) for n, i in enumerate(ids)])
    wait_settled(rig, "copies", len(ids))
    assert gateway.metric("bailey_messages_delivered_total", route="copies") == 2000
    assert gateway.metric("bailey_messages_duplicate_total", route="copies") == len(ids) - 2000
    gateway.term()

    gateway.start().wait_ready()
    again = [*range(0, 2000, 2), *range(2000, 2100)]
    rig.kafka.produce("copies-in", [record(b"id-%d" % i, n) for n, i in enumerate(again)])
    wait_settled(rig, "copies", len(ids) + len(again))
    assert gateway.metric("bailey_messages_delivered_total", route="copies") == 100
    gateway.term()
    arrived = rig.rabbit.drain("copies-out", 2100)
    seen = [m.properties.message_id for m in arrived]
    assert len(seen) == len(set(seen)) == 2100, f"{len(seen)} messages with {len(set(seen))} ids"
    assert not any("bailey-possible-duplicate" in m.headers for m in arrived)
    return f"{len(ids) + len(again)} messages with 2100 ids in 2 lanes, over a restart: 2100 arrived"


def story_message_without_id(rig):
    prepare(rig, "noid")
    gateway = rig.gateway({"state": state(rig, "noid"), "routes": [kafka_to_amqp("noid")]}).wait_ready()
    rig.kafka.produce("noid-in", [Record(b"a", b"1"), record(b"x", 2)])
    until(lambda: gateway.metric("bailey_messages_delivered_total", route="noid") == 1, 20, "the other one does not arrive")
    assert gateway.metric("bailey_messages_refused_total", route="noid", **{"class": "permanent"}) >= 1
    assert "idempotency-key" in gateway.output()
    gateway.term()
    return "refused, named in the log, and the others go on"


def story_locked_and_damaged(rig):
    prepare(rig, "locked")
    config = {"state": state(rig, "locked"), "routes": [kafka_to_amqp("locked")]}
    first = rig.gateway(config, name="first").wait_ready()
    rig.kafka.produce("locked-in", [record(b"id-%d" % i, i) for i in range(5000)])
    wait_settled(rig, "locked", 5000)
    second = rig.gateway(dict(config, instance="second"), name="second", start=False)
    result = rig.run("run", second.file)
    assert result.returncode == 1, result
    assert str(first.process.pid) in result.stderr and "locked" in result.stderr, result.stderr
    first.term()

    folder = os.path.join(rig.folder, "locked", "ids")
    files = sorted((os.path.join(folder, f) for f in os.listdir(folder)), key=os.path.getsize)
    with open(files[-1], "r+b") as f:
        f.seek(20000)  # what was written early, and confirmed since: no torn tail
        f.write(b"\x00damaged\xff")
    before = {f: open(f, "rb").read() for f in files}
    result = rig.run("run", first.file)
    assert result.returncode == 1 and os.path.basename(files[-1]) in result.stderr, (result.returncode, result.stderr)
    assert before == {f: open(f, "rb").read() for f in before}, "the damaged store was changed"
    return f"a second process names the first; damage in {os.path.basename(files[-1])} is named; nothing is touched"


def story_disk_full(rig):
    """A file system of one megabyte: it fills up, the route holds its source, and goes on by itself when there is room."""
    prepare(rig, "full")
    mount = os.path.join(rig.folder, "small")
    os.makedirs(mount, exist_ok=True)
    gateway = rig.gateway({"state": {"store": "rocksdb", "path": os.path.join(mount, "state"), "processes": "one"},
                           "routes": [kafka_to_amqp("full")]}, start=False)
    # In a mount namespace of its own: needs no right outside of it, and ends with the process.
    fill = os.path.join(mount, "fill")
    script = f'mount -t tmpfs -o size=2m tmpfs "{mount}" && exec "$0" "$@"'
    gateway.process.start(["unshare", "--map-root-user", "--mount", "sh", "-c", script, rig.bailey, "run", gateway.file])
    gateway.wait_ready()
    fill = f"/proc/{gateway.process.pid}/root{fill}"
    count = 0
    filler = os.open(fill, os.O_CREAT | os.O_WRONLY)
    try:
        while True:
            os.write(filler, b"\0" * 4096)
    except OSError as e:
        assert e.errno == errno.ENOSPC, e
    os.close(filler)

    def held():
        nonlocal count
        rig.kafka.produce("full-in", [record(b"id-%d" % i, i) for i in range(count, count + 1000)])
        count += 1000
        return (gateway.route("full") or {}).get("state") == "held"
    until(held, 60, lambda: f"the disk is full, and the route is {gateway.route('full')}", every=0.2)
    reason = gateway.route("full")["reason"]
    assert "state store" in reason and "space" in reason.lower(), reason
    os.unlink(fill)
    gateway.wait_route("full", lambda r: r["state"] == "running", 20, "it does not go on by itself")
    wait_settled(rig, "full", count)
    gateway.term()
    arrived = [m.properties.message_id for m in rig.rabbit.drain("full-out", count)]
    assert len(set(arrived)) == count, f"{count - len(set(arrived))} lost"
    assert len(arrived) == count, f"{len(arrived) - count} copies"
    return f"held with '{reason}', and {count} messages arrived once"


def story_clock_jumps(rig):
    """The wall clock is an hour ahead, then an hour behind, over restarts: the window neither empties nor freezes."""
    prepare(rig, "clock")
    gateway = rig.gateway({"state": state(rig, "clock"), "routes": [kafka_to_amqp("clock", window="10m")]}, start=False)
    faketime = next((p for p in ("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
                                 "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1") if os.path.exists(p)), None)
    assert faketime is not None, "libfaketime is missing: make setup"
    total = 0
    for offset in ("+0", "+1h", "-1h", "+0"):
        gateway.env = {"LD_PRELOAD": faketime, "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        gateway.start().wait_ready()
        rig.kafka.produce("clock-in", [record(b"id-%d" % i, i) for i in range(500)])
        total += 500
        wait_settled(rig, "clock", total)
        gateway.term()
    assert rig.rabbit.count("clock-out") == 500, rig.rabbit.count("clock-out")
    return "the same 500 ids under +0, +1h, -1h and +0: 500 arrived"


def story_amqp_in_memory(rig):
    rig.rabbit.declare("mem-in", "mem-out")
    gateway = rig.gateway({"state": {"store": "memory", "processes": "one"}, "routes": [
        {"name": "mem", "lanes": 3, "from": {"broker": "r", "queue": "mem-in"}, "to": {"broker": "r", "queue": "mem-out"},
         "dedup": {"id": "${message_id}", "window": "1h", "max": "100k"}}]}).wait_ready()
    rig.rabbit.publish("mem-in", [Message(b"%d" % n, pika.BasicProperties(message_id=f"m-{n % 1000}")) for n in range(3000)])
    until(lambda: gateway.metric("bailey_messages_duplicate_total", route="mem") == 2000, 30,
          lambda: f"{gateway.metric('bailey_messages_duplicate_total', route='mem')} duplicates of 2000")
    gateway.term()
    arrived = [m.properties.message_id for m in rig.rabbit.drain("mem-out", 1000)]
    assert len(arrived) == len(set(arrived)) == 1000
    return "3000 messages with 1000 ids over 3 lanes: 1000 arrived"


def story_window_ends(rig):
    prepare(rig, "window")
    gateway = rig.gateway({"state": state(rig, "window"), "routes": [kafka_to_amqp("window", window="2s")]}).wait_ready()
    rig.kafka.produce("window-in", [record(b"again", 1), record(b"again", 2)])
    until(lambda: gateway.metric("bailey_messages_duplicate_total", route="window") == 1, 20, "the copy is no duplicate")
    def passes():
        rig.kafka.produce("window-in", [record(b"again", 3)])
        return gateway.metric("bailey_messages_delivered_total", route="window") >= 2
    until(passes, 20, "the id is never forgotten", every=0.5)
    gateway.term()
    return "after its window an id is delivered again"
