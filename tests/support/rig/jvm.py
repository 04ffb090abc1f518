"""What the two STOMP brokers on a JVM share: ActiveMQ and Artemis."""
import os
import subprocess

from .process import Process, until

KEYSTORE_PASSWORD = "changeit"  # Java wants one
USER = ("admin", "admin-secret")
LIMITED = ("limited", "limited-secret")  # may use only destinations that begin with "limited."

LOG4J = """\
status=error
appender.o.type=Console
appender.o.name=O
appender.o.layout.type=PatternLayout
appender.o.layout.pattern=%d %p %c{1} %m%n
rootLogger.level=WARN
rootLogger.appenderRef.o.ref=O
"""


def make_keystores(tls):
    """(keys, trust): server.p12 (key and certificate) and trust.p12 (the authority) beside the certificates. Made once, 0.5 s."""
    keys, trust = os.path.join(tls, "server.p12"), os.path.join(tls, "trust.p12")
    if not os.path.exists(trust):
        subprocess.run(["openssl", "pkcs12", "-export", "-in", "server.crt", "-inkey", "server.key", "-certfile", "ca.crt",
                        "-name", "server", "-passout", f"pass:{KEYSTORE_PASSWORD}", "-out", keys], cwd=tls, check=True)
        subprocess.run(["keytool", "-J-XX:TieredStopAtLevel=1", "-importcert", "-noprompt", "-alias", "ca", "-file", "ca.crt",
                        "-storetype", "PKCS12", "-keystore", trust, "-storepass", KEYSTORE_PASSWORD], cwd=tls, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return keys, trust


class JavaBroker:
    """start() returns when the broker answers. kill(), stop(), cont() of its process and start() again keep ports and data.

    A child class has a `stomp` (StompJudge), writes its files in its own __init__(), and knows its command line."""
    heap = "256m"

    def __init__(self, name, home, folder, stomp_port):
        self.name, self.home, self.folder = name, home, folder
        self.stomp_port = stomp_port
        self.stomp_url = f"stomp://127.0.0.1:{stomp_port}"
        self.process = Process(name, os.path.join(folder, f"{name.lower()}.log"))
        for sub in ("etc", "data", "tmp", "lock"):
            os.makedirs(os.path.join(folder, sub), exist_ok=True)

    def write(self, **files):
        for name, text in files.items():
            with open(os.path.join(self.folder, "etc", name), "w") as f:
                f.write(text)

    def broker(self):
        """As a configuration of ours has it."""
        return {"connector": "stomp", "url": self.stomp_url, "login": USER[0], "passcode": USER[1]}

    def launch(self):
        """Begin to start; ready() waits."""
        if not os.path.isdir(self.home):
            raise AssertionError(f"no {self.name} in {self.home}: make setup")
        self.process.start(["java", f"-Xmx{self.heap}", "-Xms48m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
                            "-Djava.awt.headless=true", f"-Djava.io.tmpdir={self.folder}/tmp",
                            f"-Dlog4j2.configurationFile=file:{self.folder}/etc/log4j2.properties", *self.arguments()],
                           cwd=self.folder)

    def ready(self, timeout=120):
        def answers():
            self.process.require()
            return self.stomp.answers()
        until(answers, timeout, lambda: f"{self.name} is not ready:\n{self.process.tail()}", every=0.1)
        return self

    def start(self):
        self.launch()
        return self.ready()

    def end(self):
        self.process.kill()  # its data goes with it
