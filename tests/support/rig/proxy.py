"""A TCP proxy on loopback with the faults of a network: silence without a word, latency, one byte at a time, a cut.

    proxy = rig.proxy(broker.stomp_port)      # a gateway is told proxy.port
    proxy.swallow()                           # half-open: what is connected hears nothing more, and nobody is told
    proxy.latency, proxy.bytewise = 0.05, True
    proxy.cut()                               # RST to both sides of all

The broker's side of a swallowed connection stays open until the broker gives it up, as behind a router that lost its table.
"""
import socket
import struct
import threading
import time

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends RST


class Pair:
    """One connection: two threads, one a direction."""

    def __init__(self, proxy, client, broker, dead):
        self.proxy, self.sockets, self.dead = proxy, (client, broker), dead
        for side in self.sockets:
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for a, b in ((client, broker), (broker, client)):  # from here on either may be closed
            threading.Thread(target=self._pump, args=(a, b), daemon=True).start()

    def _pump(self, source, sink):
        try:
            while True:
                data = source.recv(1 << 16)
                if not data or not self._pass(data, sink):
                    break
        except OSError:
            pass
        if not self.dead:  # a dead connection tells nobody that its peer has closed
            self.close()

    def _pass(self, data, sink):
        if self.proxy.latency:
            time.sleep(self.proxy.latency)
        if self.dead:
            return True
        if self.proxy.bytewise:
            for i in range(len(data)):
                sink.sendall(data[i:i + 1])
        else:
            sink.sendall(data)
        return True

    def close(self, reset=False):
        for side in self.sockets:
            try:
                if reset:
                    side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                side.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)  # wakes the thread that reads; close() does not
            except OSError:
                pass  # the other direction was quicker
            side.close()


class Proxy:
    def __init__(self, target, address="127.0.0.1"):
        self.target, self.latency, self.bytewise, self.mute = target, 0.0, False, False
        self.pairs = []
        self.accepted = 0
        self.listener = socket.create_server((address, 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            try:
                broker = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                client.close()  # nobody listens behind us
                continue
            self.pairs.append(Pair(self, client, broker, self.mute))

    def swallow(self):
        """What is connected now hears nothing more. New connections pass, unless `mute` is set. Returns how many there were."""
        alive = [pair for pair in self.pairs if not pair.dead]
        for pair in alive:
            pair.dead = True
        return len(alive)

    def cut(self):
        for pair in self.pairs:
            pair.close(reset=True)
        self.pairs.clear()

    def end(self):
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self.listener.close()
        self.cut()
