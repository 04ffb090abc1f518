"""A client of STOMP brokers that is not Bailey's: stomp.py, version 1.2 of the protocol.

Its own speed is some 10,000 messages a second each way; what takes longer is the broker (ActiveMQ syncs its disk for each
message, so send() gathers them in transactions there).
"""
import logging
import os
import threading
import time
from dataclasses import dataclass, field
from typing import Dict

os.environ.setdefault("STOMP_SKIP_HOSTNAME_SCAN", "1")  # or importing it looks up this host's name

import stomp  # noqa: E402

from .process import until  # noqa: E402

logging.getLogger("stomp.py").setLevel(logging.CRITICAL)  # it tells of each refused connection
PREFETCH = {"activemq": ("activemq.prefetchSize", "1000"), "artemis": ("consumer-window-size", str(4 << 20)),
            "rabbitmq": ("prefetch-count", "1000")}
WINDOW = 4000  # receipts that are outstanding at most


@dataclass
class StompMessage:
    """A message as STOMP has it: headers are text, and the first of a name counts. One that is None is left out of what send()
    adds: persistent:true and content-length."""
    body: bytes = b""
    headers: Dict[str, str] = field(default_factory=dict)

    @property
    def user_headers(self):
        """Without what belongs to the protocol or the broker."""
        return {name: value for name, value in self.headers.items() if name not in OWN}


OWN = frozenset(("destination", "message-id", "subscription", "ack", "content-length", "receipt", "transaction", "redelivered",
                 "timestamp", "expires", "priority", "persistent", "content-type"))


class Listener(stomp.ConnectionListener):
    """Counts receipts, keeps messages and the broker's last word."""

    def __init__(self):
        self.changed = threading.Condition()
        self.receipts, self.messages, self.error, self.connected = 0, [], None, True

    def on_receipt(self, frame):
        with self.changed:
            self.receipts += 1
            self.changed.notify()

    def on_message(self, frame):
        with self.changed:
            self.messages.append(frame)
            self.changed.notify()

    def on_error(self, frame):
        with self.changed:
            self.error = f"{frame.headers.get('message', '')} {(frame.body or b'')[:300]!r}"
            self.changed.notify()

    def on_disconnected(self):
        with self.changed:
            self.connected = False
            self.changed.notify()

    def wait(self, condition, timeout, what):
        """Until condition(); OSError when the connection is lost before."""
        with self.changed:
            done = self.changed.wait_for(lambda: condition() or self.error or not self.connected, timeout)
            if self.error:
                raise OSError(f"{what}: the broker says {self.error}")
            if not condition():
                raise OSError(f"{what}: the connection is lost") if done else AssertionError(f"{what}, after {timeout:g} s")


class StompJudge:
    """`counter` tells how many messages a queue has: count(queue)."""

    def __init__(self, dialect, port, login, passcode, vhost="/", counter=None, transaction=0):
        self.dialect, self.port, self.vhost = dialect, port, vhost
        self.login, self.passcode = login, passcode
        self.transaction = transaction  # messages that send() puts into one; 0: each gets a receipt
        if counter is not None:
            self.count = counter

    def connect(self, login=None, passcode=None):
        """(connection, its listener); OSError if the broker does not take us."""
        connection = stomp.StompConnection12([("127.0.0.1", self.port)], reconnect_attempts_max=1, timeout=60,
                                             vhost=self.vhost, auto_decode=False, auto_content_length=False,
                                             try_loopback_connect=False)
        connection.transport._Transport__recv_bytes = 1 << 18  # 1024 by default: 1 MiB would take seconds
        listener = Listener()
        connection.set_listener("rig", listener)
        try:
            connection.connect(login or self.login, passcode or self.passcode, wait=True, with_connect_command=True)
        except stomp.exception.StompException as e:
            raise OSError(f"{type(e).__name__}: {listener.error}") from e
        return connection, listener

    def answers(self):
        try:
            close(*self.connect())
            return True
        except OSError:
            return False

    # ---- In and out

    def send(self, destination, messages, timeout=60):
        """Returns when the broker has confirmed all."""
        sender = self.sender(timeout)
        for message in messages:
            sender.send(destination, message)
        sender.confirm()
        sender.close()

    def sender(self, timeout=60):
        return Sender(self, *self.connect(), timeout)

    def drain(self, destination, count=0, timeout=60, quiet=0.3):
        """Take messages out of /queue/..., acknowledging each by itself, until `count` came and it is empty, by the broker's own
        count: a pause of `quiet` seconds proves nothing on a loaded machine. More come back if there are more."""
        connection, listener = self.connect()
        name, value = PREFETCH[self.dialect]
        connection.subscribe(destination, id="1", ack="client-individual", headers={name: value, "receipt": "begin"})
        listener.wait(lambda: listener.receipts, timeout, f"subscribing to {destination}")  # RabbitMQ: or UNSUBSCRIBE may be too early
        messages, deadline = [], time.monotonic() + timeout
        while True:
            frames = self._next(listener, quiet)
            for frame in frames:
                messages.append(StompMessage(frame.body or b"", frame.headers))
                connection.ack(frame.headers["ack"])
            if not frames and (time.monotonic() >= deadline or
                               (len(messages) >= count and self.count(destination[len("/queue/"):]) == 0)):
                break
        connection.unsubscribe("1", receipt="end")
        listener.wait(lambda: listener.receipts == 2, timeout, f"draining {destination}")
        close(connection, listener)
        assert len(messages) >= count, f"{len(messages)} of {count} messages came to {destination} within {timeout:g} s"
        return messages

    def browse(self, destination, timeout=60):
        """All messages of a queue of ActiveMQ's, or its first 400: they stay there."""
        connection, listener = self.connect()
        name, value = PREFETCH[self.dialect]
        connection.subscribe(destination, id="1", ack="auto", headers={"browser": "true", name: value})

        def ended():
            return listener.messages and listener.messages[-1].headers.get("browser") == "end"
        listener.wait(ended, timeout, f"looking into {destination}")
        close(connection, listener)
        return [StompMessage(frame.body or b"", frame.headers) for frame in listener.messages[:-1]]

    def arrivals(self, destination, count, timeout=60):
        """[(time.time(), body)] of the first `count` messages, which are taken."""
        connection, listener = self.connect()
        connection.subscribe(destination, id="1", ack="auto")
        came, deadline = [], time.monotonic() + timeout
        while len(came) < count and time.monotonic() < deadline:
            came += [(time.time(), frame.body or b"") for frame in self._next(listener, 0.05)]
        close(connection, listener)
        assert len(came) == count, f"{len(came)} of {count} messages came to {destination} within {timeout:g} s"
        return came

    def ask(self, destination, reply_to, headers, timeout=10):
        """The first answer to a message without a body."""
        connection, listener = self.connect()
        connection.subscribe(reply_to, id="1", ack="auto")
        connection.send(destination, b"", headers={"reply-to": reply_to, **headers})
        listener.wait(lambda: listener.messages, timeout, f"{destination} does not answer")
        frame = listener.messages[0]
        close(connection, listener)
        return StompMessage(frame.body or b"", frame.headers)

    @staticmethod
    def _next(listener, quiet):
        """What has come; nothing after a quiet while."""
        with listener.changed:
            listener.changed.wait_for(lambda: listener.messages or listener.error or not listener.connected, quiet)
            if listener.error or not listener.connected:
                raise AssertionError(f"the broker ends the subscription: {listener.error}")
            frames, listener.messages = listener.messages, []
        return frames


class Sender:
    """Sends with receipts, without waiting for each; confirm() waits for all. OSError if the connection is lost."""

    def __init__(self, judge, connection, listener, timeout):
        self.connection, self.listener, self.timeout = connection, listener, timeout
        self.per_transaction = judge.transaction
        self.transaction, self.sent, self.asked = None, 0, 0

    def send(self, destination, message):
        headers = {"persistent": "true", "content-length": str(len(message.body)), **message.headers}
        headers = {name: value for name, value in headers.items() if value is not None}
        if self.per_transaction:
            self.transaction = self.transaction or self.connection.begin()
            headers["transaction"] = self.transaction
        else:
            self._ask(headers)
        try:
            self.connection.send(destination, message.body, headers=headers)
        except stomp.exception.StompException as e:
            raise OSError(f"sending: {e!r}") from e
        self.sent += 1
        if self.transaction and self.sent % self.per_transaction == 0:
            self._commit()
        if self.asked % 1000 == 0:
            self._wait(WINDOW)

    def confirm(self):
        if self.transaction:
            self._commit()
        self._wait(0)

    def close(self):
        close(self.connection, self.listener)

    def _ask(self, headers):
        self.asked += 1
        headers["receipt"] = str(self.asked)

    def _commit(self):
        headers = {}
        self._ask(headers)
        self.connection.commit(self.transaction, headers=headers)
        self.transaction = None

    def _wait(self, outstanding):
        self.listener.wait(lambda: self.listener.receipts >= self.asked - outstanding, self.timeout,
                           "not all is confirmed")


def close(connection, listener):
    """DISCONNECT, and wait until the broker has closed."""
    connection.disconnect("bye")
    until(lambda: not listener.connected, 10, "the broker does not close", every=0.005)

