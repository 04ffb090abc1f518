"""A RabbitMQ node with an epmd of its own, and clients that are not Bailey's: pika, and stomp.py for its STOMP."""
import copy
import glob
import os
import secrets
import subprocess
import time
from dataclasses import dataclass
from typing import Any, Optional

import pika

from .process import Process, until
from .stomp_judge import StompJudge

USER = ("guest", "guest")
LIMITED = ("limited", "limited-secret")  # may use only queues that begin with "limited."; exists after admit_limited()

SETTINGS = """\
listeners.tcp.1 = 127.0.0.1:{port}
listeners.ssl.1 = 127.0.0.1:{ssl}
ssl_options.cacertfile = {tls}/ca.crt
ssl_options.certfile   = {tls}/server.crt
ssl_options.keyfile    = {tls}/server.key
ssl_options.verify     = verify_peer
ssl_options.fail_if_no_peer_cert = false
ssl_cert_login_from = common_name
auth_mechanisms.1 = PLAIN
auth_mechanisms.2 = EXTERNAL
stomp.listeners.tcp.1 = 127.0.0.1:{stomp}
stomp.listeners.ssl.1 = 127.0.0.1:{stomps}
stomp.ssl_cert_login = true
web_stomp.tcp.ip = 127.0.0.1
web_stomp.tcp.port = {ws}
web_stomp.ssl.ip = 127.0.0.1
web_stomp.ssl.port = {wss}
web_stomp.ssl.cacertfile = {tls}/ca.crt
web_stomp.ssl.certfile = {tls}/server.crt
web_stomp.ssl.keyfile = {tls}/server.key
disk_free_limit.absolute = 50MB
vm_memory_high_watermark.absolute = 1GB
raft.wal_max_size_bytes = 16000000
max_message_size = 134217728
heartbeat = 60
log.console = true
log.console.level = warning
log.file = false
"""


@dataclass
class Message:
    """A message as its broker has it: body, pika's properties, and how it came."""
    body: bytes
    properties: Any = None
    exchange: str = ""
    routing_key: str = ""
    redelivered: bool = False

    def __post_init__(self):
        if self.properties is None:
            self.properties = pika.BasicProperties()

    @property
    def headers(self):
        return self.properties.headers or {}


class RabbitMQ:
    """start() returns when the node takes connections. kill(), stop(), cont() and start() again keep ports and data.

    A node that is made `beside` another one can join() it."""

    def __init__(self, rig, folder, beside=None):
        self.folder = folder
        self.port, self.ssl_port, self.dist_port, self.epmd_port = (rig.free_port() for _ in range(4))
        self.stomp_port, self.stomps_port, self.ws_port, self.wss_port = (rig.free_port() for _ in range(4))
        self.stomp_url = f"stomp://127.0.0.1:{self.stomp_port}"
        self.stomp = StompJudge("rabbitmq", self.stomp_port, *USER, counter=self.count)
        self.vhost, self.url = "/", f"amqp://guest:guest@127.0.0.1:{self.port}/%2f"
        self.node = f"rig{self.port}@localhost"
        self.tls = rig.certificates()
        self.epmd = beside.epmd if beside else Process("epmd", os.path.join(folder, "epmd.log"))
        self.process = Process("RabbitMQ", os.path.join(folder, "rabbitmq.log"))
        self.cookie = beside.cookie if beside else secrets.token_hex(10)
        self.epmd_port = beside.epmd_port if beside else self.epmd_port
        self._configure()

    def _configure(self):
        for sub in ("mnesia", "log"):
            os.makedirs(os.path.join(self.folder, sub), exist_ok=True)
        files = {".erlang.cookie": self.cookie, "env.conf": "", "advanced.config": "[].\n",
                 "enabled_plugins": "[rabbitmq_auth_mechanism_ssl,rabbitmq_stomp,rabbitmq_web_stomp].\n",
                 "rabbitmq.conf": SETTINGS.format(port=self.port, ssl=self.ssl_port, tls=self.tls, stomp=self.stomp_port,
                                                  stomps=self.stomps_port, ws=self.ws_port, wss=self.wss_port)}
        for name, text in files.items():
            path = os.path.join(self.folder, name)
            with open(path, "w") as f:
                f.write(text)
        os.chmod(os.path.join(self.folder, ".erlang.cookie"), 0o400)

    def _env(self):
        d = self.folder
        return dict(os.environ, HOME=d, ERL_EPMD_PORT=str(self.epmd_port), ERL_EPMD_ADDRESS="127.0.0.1",
                    RABBITMQ_NODENAME=self.node, RABBITMQ_MNESIA_BASE=f"{d}/mnesia", RABBITMQ_LOG_BASE=f"{d}/log",
                    RABBITMQ_CONFIG_FILE=f"{d}/rabbitmq.conf", RABBITMQ_ENABLED_PLUGINS_FILE=f"{d}/enabled_plugins",
                    RABBITMQ_DIST_PORT=str(self.dist_port), RABBITMQ_CONF_ENV_FILE=f"{d}/env.conf",
                    RABBITMQ_ADVANCED_CONFIG_FILE=f"{d}/advanced.config", RABBITMQ_PID_FILE=f"{d}/pid",
                    RUNNING_UNDER_SYSTEMD="true",  # the script becomes the node instead of waiting for it as a child
                    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 "
                                                        "+sbwt none +sbwtdcpu none +sbwtdio none")

    def broker(self):
        """Its STOMP, as a configuration of ours has it."""
        return {"connector": "stomp", "url": self.stomp_url, "login": USER[0], "passcode": USER[1]}

    def launch(self):
        """Begin to start; ready() waits."""
        # Not /usr/sbin/rabbitmq-server: that wrapper changes the user and writes to /var/log.
        scripts = glob.glob("/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server")
        if not scripts:
            raise AssertionError("no RabbitMQ in /usr/lib/rabbitmq: make setup")
        if not self.epmd.alive():
            self.epmd.start(["epmd", "-port", str(self.epmd_port), "-address", "127.0.0.1"])
        self.process.start([scripts[0]], env=self._env())

    def ready(self, timeout=90):
        def answers():
            self.process.require()
            try:
                self.connect().close()
                return True
            except (pika.exceptions.AMQPError, OSError):
                return False
        until(answers, timeout, lambda: f"RabbitMQ is not ready:\n{self.process.tail()}", every=0.1)
        return self

    def start(self):
        self.launch()
        return self.ready()

    def end(self):
        self.process.kill()  # its data goes with it
        self.epmd.kill()

    def join(self, other):
        """Become another node of its cluster; what this one had is gone."""
        self.eval(f"ok = rabbit:stop(), ok = rabbit_mnesia:join_cluster('{other.node}', disc), ok = rabbit:start()", timeout=60)

    def eval(self, expression, timeout=20):
        """Evaluate Erlang on the node; the text of its result. (rabbitmqctl does the same, in 2 s.)"""
        def call():
            done = subprocess.run(["erl_call", "-n", self.node, "-c", self.cookie, "-e"], input=f"{expression}.\n".encode(),
                                  env=self._env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout)
            return None if b"failed to connect" in done.stderr else done  # a busy node lets nobody in, and has done nothing
        done = until(call, 20, f"erl_call cannot connect to {self.node}", every=0.1)
        answer = done.stdout.decode().strip()
        if not answer.startswith("{ok, "):
            raise AssertionError(f"erl_call: {answer or done.stderr.decode().strip()}")
        return answer[len("{ok, "):-1]

    def admit_limited(self):
        """Add the user LIMITED, unless it is there. Returns it as (name, password)."""
        name, password = (f'<<"{word}">>' for word in LIMITED)
        auth, by, own = "rabbit_auth_backend_internal", '<<"rig">>', '<<"^(limited[.].*|amq[.]default)$">>'
        self.eval(f"case {auth}:lookup_user({name}) of {{ok, _}} -> ok; _ -> {auth}:add_user({name}, {password}, {by}) end, "
                  f'{auth}:set_permissions({name}, <<"/">>, {own}, {own}, {own}, {by})')
        return LIMITED

    def in_vhost(self, name):
        """The judge of another virtual host of this node, which is made: its queues are no others' queues."""
        self.eval(f'ok = rabbit_vhost:add(<<"{name}">>, <<"rig">>), rabbit_auth_backend_internal:set_permissions(<<"guest">>, '
                  f'<<"{name}">>, <<".*">>, <<".*">>, <<".*">>, <<"rig">>)')
        other = copy.copy(self)
        other.vhost, other.url = name, self.url.replace("%2f", name)
        return other

    def policy(self, pattern, **definition):
        """A policy for the queues of that pattern: numbers and texts, by the names of the settings (max_length)."""
        settings = ", ".join(f'{{<<"{name.replace("_", "-")}">>, {value if isinstance(value, int) else f"""<<"{value}">>"""}}}'
                             for name, value in definition.items())
        self.eval(f'ok = rabbit_policy:set(<<"{self.vhost}">>, <<"rig">>, <<"{pattern}">>, [{settings}], 0, <<"queues">>, <<"rig">>)')

    def memory_alarm(self, on):
        """Raise or clear the memory alarm: while it is on, who publishes is blocked."""
        self.eval(f"vm_memory_monitor:set_vm_memory_high_watermark({'0.00001' if on else '{absolute, 1073741824}'})")
        until(lambda: (self.eval("rabbit_alarm:get_alarms()") != "[]") == on, 10, "the memory alarm did not change")

    # ---- The judge

    def parameters(self, user="guest", password="guest"):
        return pika.ConnectionParameters("127.0.0.1", self.port, self.vhost, credentials=pika.PlainCredentials(user, password), heartbeat=0,
                                         socket_timeout=10, blocked_connection_timeout=60)

    def connect(self, user="guest", password="guest"):
        return pika.BlockingConnection(self.parameters(user, password))

    def declare(self, *queues, arguments=None, quorum=False, durable=True):
        arguments = dict(arguments or {}, **({"x-queue-type": "quorum"} if quorum else {}))
        connection = self.connect()
        channel = connection.channel()
        for queue in queues:
            channel.queue_declare(queue, durable=durable, arguments=arguments)
        connection.close()

    def exchange(self, name, *queues, kind="fanout"):
        """An exchange with queues bound to it by the routing key "#"."""
        connection = self.connect()
        channel = connection.channel()
        channel.exchange_declare(name, kind, durable=True)
        for queue in queues:
            channel.queue_bind(queue, name, "#")
        connection.close()

    def delete(self, *queues):
        connection = self.connect()
        for queue in queues:
            connection.channel().queue_delete(queue)
        connection.close()

    def count(self, queue):
        """Messages that are ready in the queue (not those that a consumer has)."""
        connection = self.connect()
        count = connection.channel().queue_declare(queue, passive=True).method.message_count
        connection.close()
        return count

    def held(self, queue):
        """Messages in the queue, those that a consumer has and has not settled too."""
        answer = self.eval(f'{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"{self.vhost}">>, queue, <<"{queue}">>)), '
                           'rabbit_amqqueue:info(Q, [messages])')
        return int(answer.rpartition(",")[2].rstrip("}]"))

    def publish(self, queue, messages):
        """Publish through the default exchange; returns when the node has dealt with all."""
        connection = self.connect()
        channel = connection.channel()
        for message in messages:
            channel.basic_publish("", queue, message.body, message.properties)
        channel.queue_declare(queue, passive=True)  # the channel does things in order
        connection.close()

    def look(self, queue):
        """All messages that are ready in a classic queue, which keeps them."""
        connection = self.connect()
        channel = connection.channel()
        messages = []
        while True:
            method, properties, body = channel.basic_get(queue)
            if method is None:
                break
            messages.append(Message(body, properties, method.exchange, method.routing_key, method.redelivered))
        connection.close()
        return messages

    def drain(self, queue, count=0, timeout=60, quiet=0.3):
        """Take messages out of a queue: until `count` came and it is empty. More come back if there are more.

        The end is seen by a passive declaration, not by a pause, unless messages are unsettled at another consumer:
        then wait `quiet` seconds for another one."""
        connection = self.connect()
        channel = connection.channel()
        channel.basic_qos(prefetch_count=2000)
        messages, unsettled = [], None  # delivery tag up to which nothing was settled yet
        deadline = time.monotonic() + timeout
        for method, properties, body in channel.consume(queue, inactivity_timeout=quiet):
            if method is None:
                empty = channel.queue_declare(queue, passive=True).method.message_count == 0
                if (len(messages) >= count and empty) or time.monotonic() >= deadline:
                    break
                continue
            messages.append(Message(body, properties, method.exchange, method.routing_key, method.redelivered))
            unsettled = method.delivery_tag
            if len(messages) % 500 == 0:
                channel.basic_ack(unsettled, multiple=True)
                unsettled = None
        if unsettled is not None:
            channel.basic_ack(unsettled, multiple=True)
        channel.cancel()
        connection.close()
        assert len(messages) >= count, f"{len(messages)} of {count} messages came to {queue} within {timeout:g} s"
        return messages
