"""`bailey` as a person uses it: on a terminal of some width, that shows a bar and asks before it removes anything; interrupted, and begun again."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pika

from rig import Message, until
from rig.flow import MARK, body, number_of

COUNT = 1500
SECONDS = 30


class Terminal:
    """A command on a terminal of its own. Typed lines and Ctrl-C reach it as a person's do."""

    def __init__(self, argv, env, columns=160):
        self.shown, (self.master, slave) = "", pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.child = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, env=env, preexec_fn=self._own, close_fds=True)
        os.close(slave)

    @staticmethod
    def _own():
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever was started in the background ignores it
        os.setsid()
        os.close(os.open(os.ttyname(0), os.O_RDWR))  # the first that a session opens controls it

    def read(self):
        """Whether there may be more."""
        try:
            if select.select([self.master], [], [], 0.05)[0]:
                self.shown += os.read(self.master, 65536).decode()
            return True
        except OSError:
            return False  # all have closed it

    def wait(self, pattern):
        """Until that is shown: the match."""
        return until(lambda: self.read() and re.search(pattern, self.shown), SECONDS, lambda: f"not shown: {pattern}: {self.shown[-500:]!r}", every=0)

    def type(self, text):
        os.write(self.master, text.encode())

    def end(self):
        """(exit code, all that was shown)"""
        deadline = time.monotonic() + SECONDS
        while self.read():
            assert time.monotonic() < deadline, f"it does not end: {self.shown[-500:]!r}"
        os.close(self.master)
        return self.child.wait(SECONDS), self.shown


class Person:
    def __init__(self, rig, gateway):
        self.rig, self.gateway = rig, gateway

    def begin(self, *words):
        return Terminal([self.rig.bailey, "dlq", *words, "--config", self.gateway.file], dict(os.environ, XDG_STATE_HOME=self.rig.folder))

    def run(self, *words, answer=None):
        terminal = self.begin(*words)
        if answer is not None:
            terminal.wait(r"\[y/N\] $")
            terminal.type(answer)
        return terminal.end()


def story_of_a_person(rig):
    rig.rabbit.declare("tty-in", "tty-dead")
    gateway = rig.gateway({"routes": [{"name": "orders", "from": {"broker": "r", "queue": "tty-in"},
                                       "to": {"broker": "r", "exchange": "", "routing_key": "tty-out"},
                                       "dead_letter": {"broker": "r", "queue": "tty-dead"}}]}).wait_ready()
    rig.rabbit.publish("tty-in", [Message(body(n), pika.BasicProperties(delivery_mode=2, headers={"part": n % 3})) for n in range(COUNT)])
    until(lambda: rig.rabbit.count("tty-dead") == COUNT, SECONDS, "they do not die")
    person = Person(rig, gateway)

    code, shown = person.run("list", "orders", "--limit", "5")
    assert code == 0 and len(re.findall("NO_ROUTE", shown)) == 5 and "perhaps more" in shown, shown
    for columns in (140, 90):
        code, shown = Terminal([rig.bailey, "explain", gateway.file], os.environ, columns).end()
        lines = [line for line in shown.splitlines() if line.startswith("  ")]
        assert code == 0 and columns - 15 < max(map(len, lines)) <= columns and len(lines) > 10, shown
    code, shown = Terminal([rig.bailey, "dlq", "list", "orders", "--limit", "5", "--config", gateway.file], os.environ, 140).end()
    assert code == 0 and [len(line) for line in shown.splitlines() if line.endswith("...")] == 5 * [140], shown

    third = COUNT // 3
    question = f"Remove {third} dead letters of orders for good? [y/N]"
    for answer, how in (("n\r", 1), ("\r", 1), ("\x04", 1), ("\x03", -signal.SIGINT)):
        code, shown = person.run("purge", "orders", "--filter", "header.part=2", answer=answer)
        assert question in shown and code == how, (answer, code, shown)
        assert rig.rabbit.count("tty-dead") == COUNT, f"{answer!r} removed something"
    code, shown = person.run("purge", "orders", "--filter", "header.part=2", answer="y\r")
    assert code == 0 and f"{third} removed" in shown, shown
    left = COUNT - third
    until(lambda: rig.rabbit.count("tty-dead") == left, SECONDS, "the others are not where they were")

    rig.rabbit.declare("tty-out")
    terminal = person.begin("replay", "orders", "--rate", "300")
    terminal.wait(r"\[#+\.+\] [1-9][0-9]{2} of [0-9]+ done, [0-9]+/s")
    terminal.type("\x03")
    code, shown = terminal.end()
    [replayed] = re.findall(r"([0-9]+) replayed, 0 had been before", shown)
    assert code == 1 and 100 <= int(replayed) < left, (code, shown[-500:])
    until(lambda: rig.rabbit.count("tty-dead") == left - int(replayed), SECONDS,
          lambda: f"{replayed} of {left} were replayed, {rig.rabbit.count('tty-dead')} are there")
    code, shown = person.run("replay", "orders")
    assert code == 0 and f"{left - int(replayed)} replayed, 0 had been before, 0 are dead letters again" in shown, shown[-500:]
    gateway.term()
    came = rig.rabbit.drain("tty-out", left)
    assert sorted(number_of(m.body) for m in came) == [n for n in range(COUNT) if n % 3 != 2] and not any(MARK in m.headers for m in came)
    assert rig.rabbit.count("tty-dead") == 0
    return f"{third} removed when asked; {replayed} replayed until Ctrl-C, {left - int(replayed)} afterwards, each once"


def story_of_another_client(rig):
    """Dead letters that RabbitMQ made itself, with its x-death: listed, shown, one removed, and replayed as they were."""
    rig.rabbit.declare("xd-in", "xd-dead", "xd-out")
    rig.rabbit.declare("xd-own", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "xd-dead", "x-message-ttl": 1})
    rig.rabbit.publish("xd-own", [Message(b"\x00late %d" % n, pika.BasicProperties(content_type="text/x", headers={"n": n})) for n in range(20)])
    until(lambda: rig.rabbit.count("xd-dead") == 20, SECONDS, "they do not expire")
    gateway = rig.gateway({"routes": [{"name": "own", "from": {"broker": "r", "queue": "xd-in"}, "to": {"broker": "r", "queue": "xd-out"},
                                       "dead_letter": {"broker": "r", "queue": "xd-dead"}}]}).wait_ready()
    person = Person(rig, gateway)
    code, shown = person.run("list", "own")
    assert code == 0 and len(re.findall(r"^- .* [78] *\r?$", shown, re.MULTILINE)) == 20, shown
    code, shown = person.run("show", "own", "--filter", "header.n=7")
    assert code == 0 and "x-death" in shown and "late 7" in shown, shown
    code, shown = person.run("purge", "own", "--filter", "header.n=7", answer="y\r")
    assert code == 0 and "1 dead letter of" in shown, shown
    code, shown = person.run("replay", "own")
    assert code == 0 and "19 replayed" in shown, shown
    gateway.term()
    came = rig.rabbit.drain("xd-out", 19)
    assert [(m.body, m.headers["n"], m.properties.content_type) for m in came] == [(b"\x00late %d" % n, n, "text/x") for n in range(20) if n != 7]
    assert rig.rabbit.count("xd-dead") == 0
    return "19 of RabbitMQ's own replayed as they were, 1 removed"
