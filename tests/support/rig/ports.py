"""Free ports that stay free while a broker is down.

They lie below the range from which the kernel takes source ports, so no outgoing connection can take the port of a broker
that is just being restarted, and each is guarded by a lock file, so no other rig takes it either.
"""
import fcntl
import os
import random
import socket
import tempfile

FIRST, LAST = 20000, 32000
_held = []  # open lock files: the lock lives as long as this process


def _kernel_takes(port):
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range") as f:
            low, high = map(int, f.read().split())
        return low <= port <= high
    except OSError:
        return False


def _bindable(port):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _lock(port):
    folder = os.path.join(tempfile.gettempdir(), f"bailey-ports-{os.getuid()}")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    f = open(os.path.join(folder, str(port)), "w")
    try:
        fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        f.close()
        return None
    return f


def free_port():
    """A port of 127.0.0.1 that is ours until this process ends."""
    for _ in range(2000):
        port = random.SystemRandom().randint(FIRST, LAST)
        if _kernel_takes(port):
            continue
        lock = _lock(port)
        if lock is None:
            continue
        if _bindable(port):
            _held.append(lock)
            return port
        lock.close()
    raise RuntimeError(f"no free port between {FIRST} and {LAST}")
