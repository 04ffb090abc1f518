"""A child process in a session of its own, with its output in a file, that never outlives us."""
import ctypes
import os
import signal
import subprocess
import time

_libc = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


def _die_with_parent():
    os.setsid()
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def until(condition, timeout, what, every=0.02):
    """Call `condition` until it returns something true, and return that; fail with `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() >= deadline:
            raise AssertionError(f"{what() if callable(what) else what}, after {timeout:g} s")
        time.sleep(every)


class Process:
    """`name` is for messages. Output is appended to `log`. Started by start(); one process at a time."""

    def __init__(self, name, log):
        self.name = name
        self.log = log
        self.child = None
        self.stopped = False

    def start(self, argv, env=None, cwd=None):
        assert not self.alive(), f"{self.name} runs already"
        out = open(self.log, "ab")
        self.child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=env,
                                      cwd=cwd, preexec_fn=_die_with_parent)
        out.close()
        self.stopped = False

    @property
    def pid(self):
        return self.child.pid

    def alive(self):
        return self.child is not None and self.child.poll() is None

    def signal(self, number):
        """To the whole session: helpers of the process, too."""
        os.killpg(self.child.pid, number)

    def stop(self):
        """SIGSTOP: silent, but still holding its sockets."""
        self.signal(signal.SIGSTOP)
        self.stopped = True

    def cont(self):
        self.signal(signal.SIGCONT)
        self.stopped = False

    def kill(self):
        """SIGKILL, and wait."""
        if self.alive():
            self.signal(signal.SIGKILL)
        return self.wait(10)

    def term(self, timeout=20):
        """SIGTERM, and wait; SIGKILL if that does not end it. Returns the exit code, as for wait()."""
        if self.alive():
            if self.stopped:
                self.cont()
            self.child.send_signal(signal.SIGTERM)
            try:
                return self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        return self.wait(0)

    def wait(self, timeout):
        """Exit code; negative: the signal that ended it. None if it never started."""
        return None if self.child is None else self.child.wait(timeout)

    def tail(self, lines=20):
        try:
            with open(self.log, "rb") as f:
                f.seek(max(0, os.path.getsize(self.log) - 100000))
                return "\n".join(f.read().decode("utf-8", "replace").splitlines()[-lines:])
        except OSError:
            return ""

    def require(self):
        if not self.alive():
            raise AssertionError(f"{self.name} ended with {self.wait(0)}:\n{self.tail()}")

    # ---- What it costs

    def rss_kb(self):
        with open(f"/proc/{self.pid}/status") as f:
            return int(next(line for line in f if line.startswith("VmRSS:")).split()[1])

    def cpu_seconds(self):
        """Of all its threads, by the process's own clock (clock_getcpuclockid(3)): /proc tells hundredths of a second only."""
        return time.clock_gettime(~self.pid << 3 | 2)
