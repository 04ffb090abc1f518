"""The gateway under test: build/release/bailey with a configuration, watched over its admin port."""
import http.client
import json
import os
import re
import signal
import subprocess

from .process import Process, until

SANITIZER = re.compile(r"(ERROR|WARNING): \w*Sanitizer|runtime error: ")
SAMPLE = re.compile(r'^(\w+)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Gateway:
    """`config` is the YAML file as a dict (JSON is YAML). brokers k and r are added, and an admin port."""

    def __init__(self, rig, config, name="bailey", env=None, program=None):
        self.rig, self.name, self.program = rig, name, program or rig.bailey
        self.port = rig.free_port()
        self.config = dict(config)
        self.config.setdefault("instance", name)
        self.config.setdefault("admin", {"listen": f"127.0.0.1:{self.port}"})
        self.config["brokers"] = dict(rig.brokers(), **self.config.get("brokers", {}))
        self.env = env
        self.file = os.path.join(rig.folder, f"{name}.yaml")
        self.process = Process(name, os.path.join(rig.folder, f"{name}.log"))
        self.starts = 0
        with open(self.file, "w") as f:
            json.dump(self.config, f, indent=1)

    def start(self):
        self.starts += 1
        self.process.start([self.program, "run", self.file], env=dict(os.environ, **(self.env or {})))
        return self

    # ---- The admin port

    def get(self, path, timeout=5):
        """(status, body). OSError while it does not listen."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode("utf-8")
        except http.client.HTTPException as e:
            raise OSError(str(e)) from e
        finally:
            connection.close()

    def ready_report(self):
        """/readyz, or None while the admin port does not listen."""
        self.process.require()
        try:
            status, body = self.get("/readyz")
        except OSError:
            return None
        report = json.loads(body)
        assert report["ready"] == (status == 200), f"/readyz answers {status} and says {body}"
        return report

    def is_ready(self):
        report = self.ready_report()
        return report is not None and report["ready"]

    def wait_ready(self, timeout=30):
        until(self.is_ready, timeout, lambda: f"{self.name} is not ready: {self.ready_report()}\n{self.process.tail()}")
        return self

    def route(self, name):
        """This route's part of /readyz."""
        report = self.ready_report()
        return next((r for r in (report or {}).get("routes", []) if r["name"] == name), None)

    def wait_route(self, name, condition, timeout, what):
        def check():
            route = self.route(name)
            return route if route is not None and condition(route) else None
        return until(check, timeout, lambda: f"{what}: {self.route(name)}\n{self.process.tail()}")

    def metrics(self):
        """{(name, frozenset of labels): value}"""
        samples = {}
        for line in self.get("/metrics")[1].splitlines():
            match = SAMPLE.match(line) if not line.startswith("#") else None
            if match:
                labels = frozenset(LABEL.findall(match.group(2) or ""))
                samples[match.group(1), labels] = float(match.group(3))
        return samples

    def metric(self, name, **labels):
        """One sample; None while it does not exist or the port does not listen."""
        try:
            return self.metrics().get((name, frozenset(labels.items())))
        except OSError:
            return None

    def values(self, name, label="route"):
        """{route: value} of a metric, from one answer."""
        try:
            samples = self.metrics()
        except OSError:
            return {}
        return {dict(labels)[label]: value for (n, labels), value in samples.items() if n == name and label in dict(labels)}

    # ---- Output and end

    def output(self):
        with open(self.process.log, "rb") as f:
            return f.read().decode("utf-8", "replace")

    def kill(self):
        self.process.kill()

    def term(self, timeout=15):
        """SIGTERM; must exit with 0."""
        code = self.process.term(timeout)
        assert code == 0, f"{self.name} ended with {code} after SIGTERM:\n{self.process.tail(40)}"

    def end(self):
        """At the end of a story: a gateway that fell over by itself fails it."""
        child = self.process.child
        fallen = child is not None and child.poll() not in (None, 0, -signal.SIGKILL)
        self.process.kill()
        if fallen:
            raise AssertionError(f"{self.name} ended with {child.returncode}:\n{self.process.tail(40)}")
        report = SANITIZER.search(self.output()) if os.path.exists(self.process.log) else None
        if report:
            raise AssertionError(f"{self.name}: a sanitizer reports:\n{self.output()[report.start():][:6000]}")

    def rss_kb(self):
        return self.process.rss_kb()


def run_command(bailey, *args, timeout=30, env=None, cwd=None):
    """Run `bailey ARGS` to its end: CompletedProcess with text."""
    return subprocess.run([bailey, *map(str, args)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=timeout, cwd=cwd,
                          env=None if env is None else dict(os.environ, **env))
