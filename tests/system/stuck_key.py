"""The first message of one key is refused, again and again: those behind it wait on disk, far more than the credit holds; all other keys
go on, over a kill, too; and when it is taken, they follow in their order."""
import os

from rig import Record, until

IDLE = True
CREDIT, STUCK, OTHERS, KEYS = 200, 4_000, 4_000, 20


def body(number):
    return (b"%08d " % number).ljust(200, b".")


def drained(rig, queue, count):
    until(lambda: rig.rabbit.count(queue) >= count, 60, lambda: f"{rig.rabbit.count(queue)} of {count} are in {queue}")
    return [m.body for m in rig.rabbit.drain(queue)]


def story_waits_on_disk(rig):
    rig.kafka.create("stuck-in")
    rig.rabbit.declare("stuck-others")
    records, stuck, others = [], [], []
    for number in range(STUCK + OTHERS):
        is_stuck = number % 2 == 0
        (stuck if is_stuck else others).append(body(number))
        records.append(Record(b"stuck" if is_stuck else b"key %d" % (number % KEYS), body(number), partition=0,
                              headers=[(b"to", b"stuck-late" if is_stuck else b"stuck-others"), (b"id", b"%d" % number)]))
    rig.kafka.produce("stuck-in", records)
    gateway = rig.gateway({
        "state": {"store": "rocksdb", "path": os.path.join(rig.folder, "stuck-state"), "processes": "one"},
        "routes": [{"name": "stuck", "order": "key", "unroutable": "retry", "retry": {"backoff": "200ms..1s"},
                    "credit": {"messages": CREDIT}, "dedup": {"id": "${header.id}"}, "from": {"broker": "k", "topic": "stuck-in"},
                    "to": {"broker": "r", "exchange": "", "routing_key": "${header.to}"}}]}, "stuck")

    def value(name):
        return gateway.metric(name, route="stuck") or 0
    until(lambda: value("bailey_spilled") >= STUCK - CREDIT, 60,
          lambda: f"{value('bailey_spilled')} are on disk: {gateway.ready_report()}\n{gateway.process.tail()}")
    in_memory = value("bailey_unsettled") - value("bailey_spilled")
    assert in_memory < CREDIT, in_memory
    gateway.kill()
    gateway.start()
    until(lambda: value("bailey_spilled") >= STUCK - CREDIT and value("bailey_messages_duplicate_total") > 0, 60,
          lambda: f"{value('bailey_spilled')} are on disk again: {gateway.ready_report()}\n{gateway.process.tail()}")
    arrived = drained(rig, "stuck-others", OTHERS)
    for key in range(KEYS):
        of_key = [n for n in map(int, (b[:8] for b in arrived)) if n % KEYS == key]
        assert of_key == sorted(of_key), f"key {key} is not in order"
    assert sorted(set(arrived)) == others, f"{len(set(arrived))} of {OTHERS}"
    again = len(arrived) - OTHERS
    assert again <= CREDIT, f"{again} came twice"
    assert gateway.route("stuck")["state"] == "running", gateway.route("stuck")

    rig.rabbit.declare("stuck-late")
    late = drained(rig, "stuck-late", STUCK)
    assert late == stuck, f"{len(late)} of {STUCK}, or not in order"
    until(lambda: value("bailey_spilled") == 0 and value("bailey_unsettled") == 0, 10, "some are left")
    gateway.term()
    return f"{STUCK} waited behind one with a credit of {CREDIT}; {OTHERS} others passed them, {again} of them twice"
