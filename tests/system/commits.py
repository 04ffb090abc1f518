"""Offsets are committed as often as commit_interval says: a crash repeats no more than that."""
import time

from rig import Producer, until

SECONDS = 3


def story_commit_interval(rig):
    kafka = rig.kafka
    kafka.create("often-in", "often-out")
    gateway = rig.gateway({"routes": [
        {"name": "often", "from": {"broker": "k", "topic": "often-in", "group": "often", "commit_interval": "100ms"},
         "to": {"broker": "k", "topic": "often-out"}}]}).wait_ready()
    feed = Producer(kafka, "often-in", 2000)
    until(lambda: kafka.committed("often", "often-in").get(0, 0) > 0, 10, "nothing is committed")
    seen, began = set(), time.monotonic()
    while time.monotonic() - began < SECONDS:
        seen.add(kafka.committed("often", "often-in").get(0))
    count = feed.stop()
    until(lambda: kafka.committed("often", "often-in").get(0) == count, 5, "the last message is not committed")
    gateway.term()
    assert len(seen) >= 4 * SECONDS, f"{len(seen)} commits within {SECONDS} s, for an interval of 100 ms"
    return f"{len(seen)} different commits within {SECONDS} s"
