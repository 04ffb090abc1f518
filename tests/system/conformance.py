"""The rules that every connector keeps (tests/support/conformance.c), on the real brokers."""
import os
import re
import subprocess

from rig.jvm import USER as JVM_USER
from rig.rabbitmq import USER as RABBIT_USER

NEEDS = ("activemq", "artemis", "rabbitmq")
CASE = re.compile(r"^(ok|not ok) \d+ - (.*)$", re.M)
SECONDS = 150


def judge(rig, connector, **brokers):
    """Run the suite for one connector; each of `brokers` is an environment variable that names a broker."""
    program = os.path.join(rig.build, "tests", "conformance", "conformance_brokers")
    done = subprocess.run([program], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", timeout=SECONDS,
                          env=dict(os.environ, CMOCKA_MESSAGE_OUTPUT="TAP", BAILEY_TEST_FILTER=f"{connector}: *", **brokers))
    with open(os.path.join(rig.folder, "conformance.log"), "w") as f:
        f.write(done.stdout)
    cases = CASE.findall(done.stdout)
    broken = [name for result, name in cases if result != "ok"]
    assert not broken and done.returncode == 0, f"{broken or done.returncode}:\n{done.stdout[-4000:]}"
    assert len(cases) > 10, f"only {len(cases)} cases ran:\n{done.stdout[-2000:]}"
    return f"{connector} keeps {len(cases)} rules"


def story_kafka(rig):
    return judge(rig, "kafka", BAILEY_TEST_KAFKA=rig.kafka.address, BAILEY_TEST_AMQP=rig.rabbit.url)


def story_amqp(rig):
    return judge(rig, "amqp", BAILEY_TEST_KAFKA=rig.kafka.address, BAILEY_TEST_AMQP=rig.rabbit.url)


def stomp_url(broker, user):
    return broker.stomp_url.replace("://", "://%s:%s@" % user)


def story_stomp_activemq(rig):
    return judge(rig, "stomp-activemq", BAILEY_TEST_STOMP_ACTIVEMQ=stomp_url(rig.activemq, JVM_USER))


def story_stomp_artemis(rig):
    return judge(rig, "stomp-artemis", BAILEY_TEST_STOMP_ARTEMIS=stomp_url(rig.artemis, JVM_USER))


def story_stomp_rabbitmq(rig):
    return judge(rig, "stomp-rabbitmq", BAILEY_TEST_STOMP_RABBITMQ=stomp_url(rig.rabbit, RABBIT_USER))
