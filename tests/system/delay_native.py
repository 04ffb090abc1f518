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


def send(rig, letter, destination, delays, code=0):
    program = os.path.join(rig.build, "tests", "conformance", "conformance_delay")
    path = os.path.join(rig.folder, f"delay-{letter}.yaml")
    config = {"brokers": {**rig.brokers(), "m": {"connector": "memory"}},
              "routes": [{"name": letter, "from": {"broker": "m", "queue": "none"}, "to": {"broker": letter, "destination": destination}}]}
    with open(path, "w") as f:
        json.dump(config, f)
    done = subprocess.run([program, path, letter, *(f"{body.decode()}={ms}" for body, ms in delays.items())], timeout=90,
                          env=dict(os.environ, BAILEY_TEST_LOG="1"), capture_output=True, text=True)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr[-2000:])
    return done.stdout + done.stderr


def in_time(rig, letter):
    queue, judge = f"/queue/delay.{letter}", rig.stomp(letter)
    began = time.time()
    assert "confirmed" in send(rig, letter, queue, DELAYS)
    sent = time.time()
    came = judge.arrivals(queue, len(DELAYS))
    assert [body for _, body in came] == sorted(DELAYS, key=DELAYS.get), came
    for at, body in came:
        due = DELAYS[body] / 1000
        assert began + due <= at <= sent + due + LATE, f"{body} came after {at - began:.2f} to {at - sent:.2f} s, not {due} s"
    return "late by at most %.2f s" % max(at - sent - DELAYS[body] / 1000 for at, body in came[1:])


def story_activemq(rig):
    return in_time(rig, "a")


def story_artemis(rig):
    return in_time(rig, "t")


def story_a_restart_in_between(rig):
    """What is confirmed is on the broker's disk."""
    for letter, broker in (("a", rig.activemq), ("t", rig.artemis)):
        queue, delay = f"/queue/delay.restart-{letter}", 15
        began = time.time()
        send(rig, letter, queue, {b"%d" % i: delay * 1000 for i in range(100)})
        broker.process.kill()
        broker.start()
        assert time.time() - began < delay, "the start took too long for this test"
        assert broker.stomp.drain(queue, 0, timeout=1) == []
        got = {m.body for m in broker.stomp.drain(queue, 100, timeout=60)}
        assert len(got) == 100 and time.time() - began >= delay, (len(got), time.time() - began)


def story_rabbitmq_does_not(rig):
    """Its STOMP has no word for it: the message is refused, and does not go before its time."""
    said = send(rig, "s", "/queue/delay.s", {b"later": 60000}, code=1)
    assert "rabbitmq does not hold messages until their time over STOMP" in said, said
    until(lambda: rig.rabbit.eval('rabbit_amqqueue:exists(rabbit_misc:r(<<"/">>, queue, <<"delay.s">>))') == "false", 5, "it was sent")
