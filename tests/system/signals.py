"""Signals: the first drains (exit 0), a second one ends at once (128 + n), a drain that takes too long fails (1)."""
import signal

from rig import Publisher, until

BREAKS = True


def routes(name):
    return [{"name": "one", "from": {"broker": "r", "queue": f"{name}-in"}, "to": {"broker": "r", "queue": f"{name}-out"}}]


def falls_silent_in_time(rig, gateway):
    """Stop the broker while it owes confirms. False, and it goes on, if all was settled in the moment before."""
    until(lambda: gateway.metric("bailey_unconfirmed", route="one"), 20, "nothing is in flight", every=0)
    rig.rabbit.process.stop()
    readings = [gateway.metric("bailey_unsettled", route="one") for _ in range(20)]  # what is on the wire arrives meanwhile
    if readings[-1]:
        return True
    rig.rabbit.process.cont()
    return False


def stuck(rig, name, **config):
    """A gateway that cannot finish what it has in flight: its broker is silent."""
    rig.rabbit.declare(f"{name}-in", f"{name}-out")
    gateway = rig.gateway(dict(config, routes=routes(name)), name).wait_ready()
    feed = Publisher(rig.rabbit, f"{name}-in", 3000)
    until(lambda: falls_silent_in_time(rig, gateway), 30, "all was settled each time before the broker fell silent", every=0)
    feed.ending.set()  # it ends when the broker goes on
    gateway.process.child.send_signal(signal.SIGTERM)
    until(lambda: "gateway.draining" in gateway.output(), 5, "no drain began")
    return gateway


def exit_code(gateway, timeout):
    code = gateway.process.wait(timeout)
    rig_may_forget(gateway)
    return code


def rig_may_forget(gateway):
    """This end was asked for: it is no failure of the story."""
    gateway.process.child = None


def story_term_and_int(rig):
    rig.rabbit.declare("clean-in", "clean-out")
    for number in (signal.SIGTERM, signal.SIGINT):
        gateway = rig.gateway({"routes": routes("clean")}, f"clean-{number}").wait_ready()
        gateway.process.child.send_signal(number)
        code = exit_code(gateway, 10)
        assert code == 0, f"exit code {code} after one {number.name}"
    return "0 after SIGTERM and after SIGINT"


def story_second_signal(rig):
    gateway = stuck(rig, "twice", drain_timeout="60s")
    gateway.process.child.send_signal(signal.SIGINT)
    code = exit_code(gateway, 2)
    assert code == 128 + signal.SIGINT, f"exit code {code}"
    return f"ends at once with {code}"


def story_drain_too_long(rig):
    gateway = stuck(rig, "late", drain_timeout="1s")
    code = exit_code(gateway, 9)
    assert code == 1, f"exit code {code}"
    return "exit code 1"
