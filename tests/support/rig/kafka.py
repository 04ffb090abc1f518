"""A Kafka broker (KRaft, one node), and a client of it that is not Bailey's: judge_kafka, plain librdkafka."""
import argparse
import os
import shlex
import shutil
import struct
import subprocess
import zlib
from dataclasses import dataclass, field
from typing import List, Optional, Tuple

from .process import Process, until

VERSION = "4.3.1"
USERS = {"admin": "admin-secret", "alice": "alice-secret"}  # SASL PLAIN
SCRAM_USER, SCRAM_PASSWORD = "scram", "scram-secret"        # both SCRAM mechanisms
# Who may do everything; others (alice) what ACLs allow: Kafka.run_acls(). guest is the client's certificate, bailey a token's subject.
SUPER_USERS = ["ANONYMOUS", "admin", SCRAM_USER, "guest", "bailey"]
JVM = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]

SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{sasl},SSL://127.0.0.1:{ssl},SASL_SSL://127.0.0.1:{sasl_ssl},OAUTH://127.0.0.1:{oauth},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{sasl},SSL://localhost:{ssl},SASL_SSL://localhost:{sasl_ssl},OAUTH://127.0.0.1:{oauth}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL,OAUTH:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
message.max.bytes=16777216
replica.fetch.max.bytes=16777216
socket.request.max.bytes=209715200
# one node
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
log.retention.ms=-1
# quick
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.initial.task.delay.ms=500
log.segment.delete.delay.ms=100
log.cleaner.dedupe.buffer.size=8388608
num.network.threads=2
num.io.threads=2
background.threads=2
# a broker that was killed may register again only after its old session has ended (by default 9 s)
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=300
# log-in and encryption
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required {users};
listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required {users};
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
# any unsigned token is good there, until it expires: its subject is the user
listener.name.oauth.sasl.enabled.mechanisms=OAUTHBEARER
listener.name.oauth.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";
ssl.keystore.type=PEM
ssl.keystore.location={tls}/server.pem
ssl.truststore.type=PEM
ssl.truststore.location={tls}/ca.crt
listener.name.ssl.ssl.client.auth=required
listener.name.sasl_ssl.ssl.client.auth=none
ssl.principal.mapping.rules=RULE:^CN=([^,]+)$/$1/,DEFAULT
# permissions
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users={super_users}
"""

LOG4J = """\
status=error
appender.o.type=Console
appender.o.name=O
appender.o.layout.type=PatternLayout
appender.o.layout.pattern=%d %p %c{1} %m%n
rootLogger.level=WARN
rootLogger.appenderRef.o.ref=O
"""


@dataclass
class Record:
    """A Kafka record, as its broker has it. None is null, b"" is empty."""
    key: Optional[bytes] = None
    value: Optional[bytes] = None
    headers: List[Tuple[bytes, Optional[bytes]]] = field(default_factory=list)
    timestamp: Optional[int] = None  # ms
    timestamp_kind: int = 1          # 0 none, 1 create, 2 append
    partition: int = -1              # -1: by the key
    offset: int = -1

    def header(self, name):
        """Value of the first header of that name; KeyError if there is none."""
        for key, value in self.headers:
            if key == name:
                return value
        raise KeyError(name)

    def encode(self):
        def data(value):
            return struct.pack("<i", -1) if value is None else struct.pack("<i", len(value)) + value

        stamped = self.timestamp is not None
        parts = [struct.pack("<qBiq", self.timestamp if stamped else -1, 1 if stamped else 0, self.partition, self.offset),
                 data(self.key), data(self.value), struct.pack("<i", len(self.headers))]
        for name, value in self.headers:
            parts += [data(name), data(value)]
        body = b"".join(parts)
        return struct.pack("<I", len(body)) + body


def decode_records(data):
    records, at = [], 0

    def take():
        nonlocal at
        length, = struct.unpack_from("<i", data, at)
        at += 4
        if length < 0:
            return None
        at += length
        return data[at - length:at]

    while at < len(data):
        timestamp, kind, partition, offset = struct.unpack_from("<qBiq", data, at + 4)
        at += 4 + 21
        key, value = take(), take()
        count, = struct.unpack_from("<i", data, at)
        at += 4
        headers = [(take(), take()) for _ in range(count)]
        records.append(Record(key, value, headers, timestamp, kind, partition, offset))
    return records


class Kafka:
    """start() returns when the broker answers. kill(), stop(), cont() and start() again keep ports and data."""

    def __init__(self, rig, folder, cache):
        self.folder, self.judge, self.cache = folder, rig.judge, cache
        self.port, self.sasl_port, self.ssl_port, self.controller_port = (rig.free_port() for _ in range(4))
        self.sasl_ssl_port, self.oauth_port = rig.free_port(), rig.free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.data = os.path.join(folder, "data")
        self.tls = rig.certificates()
        self.process = Process("Kafka", os.path.join(folder, "kafka.log"))
        self._configure()

    def _configure(self):
        os.makedirs(self.folder, exist_ok=True)
        users = " ".join(f'user_{name}="{password}"' for name, password in USERS.items())
        with open(os.path.join(self.folder, "server.properties"), "w") as f:
            f.write(SETTINGS.format(port=self.port, sasl=self.sasl_port, ssl=self.ssl_port, sasl_ssl=self.sasl_ssl_port,
                                    oauth=self.oauth_port, controller=self.controller_port, data=self.data, tls=self.tls,
                                    users=users, super_users=";".join(f"User:{name}" for name in SUPER_USERS)))
        with open(os.path.join(self.folder, "log4j2.properties"), "w") as f:
            f.write(LOG4J)

    def _java(self, heap, *args):
        jars = os.path.join(self.cache, f"kafka-{VERSION}", "lib")
        if not os.path.isdir(jars):
            raise AssertionError(f"no Kafka in {jars}: make setup")
        return ["java", *JVM, f"-Xmx{heap}", f"-Dlog4j2.configurationFile={self.folder}/log4j2.properties",
                f"-Dkafka.logs.dir={self.folder}", "-cp", f"{jars}/*", *args]

    def _format(self):
        """Formatting takes a JVM of its own, 1.5 s. Its result knows no ports: make it once and copy it."""
        scram = [arg for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
                 for arg in ("--add-scram", f"{mechanism}=[name={SCRAM_USER},password={SCRAM_PASSWORD}]")]
        template = os.path.join(self.cache, f"kafka-{VERSION}", f"formatted-{zlib.crc32(repr(scram).encode()):08x}")
        if not os.path.isdir(template):
            subprocess.run(self._java("64m", "kafka.tools.StorageTool", "format", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c",
                                      f"{self.folder}/server.properties", *scram),
                           check=True, stdout=open(os.path.join(self.folder, "format.log"), "wb"),
                           stderr=subprocess.STDOUT)
            made = f"{template}.{os.getpid()}"
            shutil.copytree(self.data, made)
            try:
                os.rename(made, template)
            except OSError:
                shutil.rmtree(made)  # somebody was quicker
        else:
            shutil.copytree(template, self.data)

    def launch(self):
        """Begin to start; ready() waits."""
        if not os.path.isdir(self.data):
            self._format()
        self.process.start(self._java("320m", "-Xms64m", "kafka.Kafka", f"{self.folder}/server.properties"))

    def ready(self, timeout=60):
        def answers():
            self.process.require()
            done = subprocess.run(["kcat", "-b", self.address, "-L", "-m", "1"], stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL)
            return done.returncode == 0 and b" 1 brokers" in done.stdout
        until(answers, timeout, lambda: f"Kafka is not ready:\n{self.process.tail()}", every=0.1)
        return self

    def start(self):
        self.launch()
        return self.ready()

    def end(self):
        self.process.kill()  # its data goes with it

    # ---- The judge

    def _run(self, command, topic, *args, data=None, timeout=60):
        done = subprocess.run([self.judge, command, "-b", self.address, "-t", topic, *map(str, args)], input=data,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout + 10)
        if done.returncode != 0:
            raise AssertionError(done.stderr.decode("utf-8", "replace").strip())
        return done.stdout

    def create(self, *topics, partitions=1, **config):
        settings = [arg for name, value in config.items() for arg in ("-c", f"{name.replace('_', '.')}={value}")]
        self._run("create", ",".join(topics), "-p", partitions, *settings)

    def delete(self, *topics):
        self._run("delete", ",".join(topics))

    def run_acls(self, command):
        """Do what this command of Kafka's own tool would do, to the letter: kafka-acls.sh --bootstrap-server S --add
        --allow-principal P --operation O --topic T (or --group G, --cluster). The tool itself needs a JVM and 2 s."""
        words = shlex.split(command)
        assert words[:2] == ["kafka-acls.sh", "--bootstrap-server"] and words[3] == "--add", command
        parser = argparse.ArgumentParser(exit_on_error=False)
        for flag in ("--allow-principal", "--operation", "--topic", "--group"):
            parser.add_argument(flag)
        parser.add_argument("--cluster", action="store_true")
        wanted = parser.parse_args(words[4:])
        kinds = [(kind, name) for kind, name in (("topic", wanted.topic), ("group", wanted.group),
                                                 ("cluster", "kafka-cluster" if wanted.cluster else None)) if name]
        assert wanted.allow_principal and wanted.operation and len(kinds) == 1, command
        self._run("allow", kinds[0][1], "-c", f"principal={wanted.allow_principal}", "-c", f"operation={wanted.operation}",
                  "-c", f"kind={kinds[0][0]}")

    def produce(self, topic, records, timeout=60):
        self._run("produce", topic, "-w", int(timeout * 1000), data=b"".join(r.encode() for r in records), timeout=timeout)

    def producing(self, topic, acknowledged=False):
        """A judge that produces what is written to its standard input: a Popen. Its standard output then may name the
        `acknowledged` ones: two little-endian i64 each, its number in the input from 0 and its offset."""
        return subprocess.Popen([self.judge, "produce", "-b", self.address, "-t", topic, "-w", "60000", *(["-a"] if acknowledged else [])],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE if acknowledged else None, stderr=subprocess.PIPE)

    def consume(self, topic, count=-1, timeout=60):
        """All records of a topic. With a count: wait for so many; more come back if there are more."""
        return decode_records(self._run("consume", topic, "-n", count, "-w", int(timeout * 1000), timeout=timeout))

    def follow(self, topic, timeout=3600):
        """Records as they arrive, from the beginning, also of a topic that does not exist yet. A generator; close() ends it."""
        child = subprocess.Popen([self.judge, "consume", "-b", self.address, "-t", topic, "-n", str(1 << 60), "-w",
                                  str(timeout * 1000)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            while True:
                head = child.stdout.read(4)
                if len(head) < 4:
                    return
                yield decode_records(head + child.stdout.read(struct.unpack("<I", head)[0]))[0]
        finally:
            child.kill()
            child.wait()

    def offsets(self, topic):
        """{partition: (low, high)}"""
        lines = self._run("offsets", topic).decode().splitlines()
        return {int(p): (int(low), int(high)) for p, low, high in (line.split() for line in lines)}

    def count(self, topic):
        """Records in the topic (offsets: markers of transactions and compacted records count, too)."""
        return sum(high - low for low, high in self.offsets(topic).values())

    def committed(self, group, topic):
        """{partition: offset}, without the partitions for which the group has none."""
        return {partition: offset for partition, (offset, _) in self._commits(group, topic).items()}

    def metadata(self, group, topic):
        """{partition: what the last commit says besides the offset}"""
        return {partition: metadata for partition, (_, metadata) in self._commits(group, topic).items()}

    def _commits(self, group, topic):
        lines = self._run("committed", topic, "-g", group).decode().splitlines()
        return {int(p): (int(o), metadata) for p, o, metadata in (line.split(" ", 2) for line in lines) if int(o) >= 0}
