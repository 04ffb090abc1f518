"""One test bed: a private folder, brokers on demand, gateways by the story."""
import atexit
import os
import shutil
import signal
import sys
import tempfile
from urllib.parse import urlsplit

from .activemq import ActiveMQ
from .artemis import Artemis
from .gateway import Gateway, run_command
from .kafka import Kafka
from .ports import free_port
from .proxy import Proxy
from .rabbitmq import RabbitMQ
from .tls import make_certificates


def cache_folder():
    """Where tools/setup puts what is not in apt."""
    return os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "bailey")


# name: how to make it, in a folder of its own. The first two run under every story, the others where it NEEDS them.
BROKERS = {
    "kafka": lambda rig, folder: Kafka(rig, folder, cache_folder()),
    "rabbitmq": RabbitMQ,
    "activemq": lambda rig, folder: ActiveMQ(rig, folder, cache_folder()),
    "artemis": lambda rig, folder: Artemis(rig, folder, cache_folder()),
}
STOMP = {"a": "activemq", "t": "artemis", "s": "rabbitmq"}  # letter in configurations: broker


class Rig:
    def __init__(self, build, name="rig"):
        self.build = os.path.abspath(build)
        self.bailey = os.path.join(self.build, "bailey")
        self.judge = os.path.join(self.build, "tests", "rig", "judge_kafka")
        self.root = tempfile.mkdtemp(prefix=f"bailey-{name}-")
        self.folder = self.root  # of the story that runs
        self.keep = False
        self.running = {}  # name: broker
        self.needs = ()    # of the story that runs
        self.gateways, self.proxies, self.feeds, self.nodes = [], [], [], []
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

    def start(self, *names):
        """Those brokers, side by side; without a name Kafka and RabbitMQ."""
        names = names or ("kafka", "rabbitmq")
        for name in names:
            if name not in self.running:
                self.running[name] = BROKERS[name](self, os.path.join(self.root, name))
                self.running[name].launch()
        for name in names:
            self.running[name].ready()
        return self

    def _broker(self, name):
        if name not in self.running:
            self.start(name)
        return self.running[name]

    kafka = property(lambda self: self._broker("kafka"))
    rabbit = property(lambda self: self._broker("rabbitmq"))
    activemq = property(lambda self: self._broker("activemq"))
    artemis = property(lambda self: self._broker("artemis"))

    def cluster(self, size):
        """So many nodes of RabbitMQ as one broker, until the story ends."""
        self.nodes = []
        for i in range(size):
            self.nodes.append(RabbitMQ(self, os.path.join(self.folder, f"node{i}"), beside=self.nodes[0] if i else None))
            self.nodes[i].launch()
        for node in self.nodes:
            node.ready()
        for node in self.nodes[1:]:
            node.join(self.nodes[0])
        return self.nodes

    def heal(self):
        """After a story: all brokers run again, whatever it did to them."""
        for broker in self.running.values():
            if broker.process.stopped:
                broker.process.cont()
            if not broker.process.alive():
                broker.launch()
        for broker in self.running.values():
            broker.ready()
        if "rabbitmq" in self.running and self.rabbit.eval("rabbit_alarm:get_alarms()") != "[]":
            self.rabbit.memory_alarm(False)

    # ---- Stories

    def begin(self, name, needs=()):
        """A folder of its own for the story's configuration and logs, and the brokers whose STOMP it NEEDS."""
        self.needs = needs
        if needs:
            self.start(*needs)
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
        for feed in self.feeds:
            feed.abandon()
        self.feeds.clear()
        for proxy in self.proxies:
            proxy.end()
        self.proxies.clear()
        for node in self.nodes:
            node.end()
        self.nodes.clear()
        if errors:
            raise errors[0]

    def brokers(self):
        """The `brokers:` that every configuration gets: k and r, and of STOMP those that the story needs: a, t and s."""
        brokers = {}
        if "kafka" in self.running:
            brokers["k"] = {"connector": "kafka", "bootstrap_servers": self.kafka.address,
                            "librdkafka": {"fetch.wait.max.ms": 20}}
        if "rabbitmq" in self.running:
            brokers["r"] = {"connector": "amqp", "url": self.rabbit.url}
        for letter, name in STOMP.items():
            if name in self.needs:
                brokers[letter] = self.running[name].broker()
        return brokers

    def stomp(self, letter):
        """The judge of broker a, t or s."""
        return self._broker(STOMP[letter]).stomp

    def gateway(self, config, name="bailey", env=None, start=True, program=None):
        gateway = Gateway(self, config, name, env, program)
        self.gateways.append(gateway)
        return gateway.start() if start else gateway

    def proxy(self, port, address="127.0.0.1"):
        """A way to 127.0.0.1:port that can be disturbed, until the story ends. It listens at `address`, a loopback's."""
        self.proxies.append(Proxy(port, address))
        return self.proxies[-1]

    def through_proxies(self, letters):
        """{letter: proxy}, and those `brokers:` with the proxies' addresses."""
        proxies, brokers = {}, {}
        for letter, broker in self.brokers().items():
            if letter in letters:
                port = urlsplit(broker["url"]).port
                proxies[letter] = self.proxy(port)
                brokers[letter] = dict(broker, url=broker["url"].replace(f":{port}", f":{proxies[letter].port}"))
        return proxies, brokers

    def run(self, *args, **kwargs):
        """`bailey ARGS` to its end."""
        return run_command(self.bailey, *args, **kwargs)

    # ---- The end

    def close(self):
        atexit.unregister(self.close)
        for gateway in self.gateways:
            gateway.process.kill()
        for broker in (*self.running.values(), *self.nodes):
            broker.end()
        if not self.keep:
            shutil.rmtree(self.root, ignore_errors=True)
            return
        for data in ("kafka/data", "rabbitmq/mnesia", "activemq/data", "artemis/data"):
            shutil.rmtree(os.path.join(self.root, data), ignore_errors=True)
