"""One test bed: a private folder, brokers on demand, gateways by the story."""
import atexit
import os
import shutil
import signal
import sys
import tempfile

from .gateway import Gateway, run_command
from .kafka import Kafka
from .ports import free_port
from .rabbitmq import RabbitMQ
from .tls import make_certificates


def cache_folder():
    """Where tools/setup puts what is not in apt."""
    return os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "bailey")


class Rig:
    def __init__(self, build, name="rig"):
        self.build = os.path.abspath(build)
        self.bailey = os.path.join(self.build, "bailey")
        self.judge = os.path.join(self.build, "tests", "rig", "judge_kafka")
        self.root = tempfile.mkdtemp(prefix=f"bailey-{name}-")
        self.folder = self.root  # of the story that runs
        self.keep = False
        self._kafka = self._rabbit = None
        self.gateways = []
        self.free_port = free_port
        atexit.register(self.close)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that atexit is heeded

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.keep |= kind is not None
        self.close()

    def certificates(self):
        return make_certificates(os.path.join(self.root, "tls"))

    # ---- Brokers: started when first asked for

    def start(self):
        """Both, side by side."""
        if self._kafka is None:
            self._kafka = Kafka(self, os.path.join(self.root, "kafka"), cache_folder())
            self._kafka.launch()
        if self._rabbit is None:
            self._rabbit = RabbitMQ(self, os.path.join(self.root, "rabbitmq"))
            self._rabbit.launch()
        self._kafka.ready()
        self._rabbit.ready()
        return self

    @property
    def kafka(self):
        if self._kafka is None:
            self.start()
        return self._kafka

    @property
    def rabbit(self):
        if self._rabbit is None:
            self.start()
        return self._rabbit

    def heal(self):
        """After a story: both brokers run again, whatever it did to them."""
        for broker in (self._kafka, self._rabbit):
            if broker is None:
                continue
            if broker.process.stopped:
                broker.process.cont()
            if not broker.process.alive():
                broker.launch()
        for broker in (self._kafka, self._rabbit):
            if broker is not None:
                broker.ready()
        if self._rabbit is not None and self._rabbit.eval("rabbit_alarm:get_alarms()") != "[]":
            self._rabbit.memory_alarm(False)

    # ---- Stories

    def begin(self, name):
        """A folder of its own for the story's configuration and logs."""
        self.folder = os.path.join(self.root, name)
        os.makedirs(self.folder, exist_ok=True)

    def finish(self):
        """End what the story started. Fails if a gateway has fallen over by itself."""
        errors = []
        for gateway in self.gateways:
            try:
                gateway.end()
            except AssertionError as e:
                errors.append(e)
        self.gateways.clear()
        if errors:
            raise errors[0]

    def brokers(self):
        """The `brokers:` that every configuration gets."""
        brokers = {}
        if self._kafka is not None:
            brokers["k"] = {"connector": "kafka", "bootstrap_servers": self._kafka.address,
                            "librdkafka": {"fetch.wait.max.ms": 20}}
        if self._rabbit is not None:
            brokers["r"] = {"connector": "amqp", "url": self._rabbit.url}
        return brokers

    def gateway(self, config, name="bailey", env=None, start=True):
        gateway = Gateway(self, config, name, env)
        self.gateways.append(gateway)
        return gateway.start() if start else gateway

    def run(self, *args, **kwargs):
        """`bailey ARGS` to its end."""
        return run_command(self.bailey, *args, **kwargs)

    # ---- The end

    def close(self):
        atexit.unregister(self.close)
        for gateway in self.gateways:
            gateway.process.kill()
        for broker in (self._kafka, self._rabbit):
            if broker is not None:
                broker.end()
        if not self.keep:
            shutil.rmtree(self.root, ignore_errors=True)
            return
        for data in ("kafka/data", "rabbitmq/mnesia"):
            shutil.rmtree(os.path.join(self.root, data), ignore_errors=True)
