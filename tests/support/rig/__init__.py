"""The rig: real brokers on loopback, clients that are not Bailey's, and the gateway under test.

    with Rig("build/release") as rig:
        rig.start("kafka", "rabbitmq", "activemq", "artemis")
        rig.kafka.create("orders")
        gateway = rig.gateway({"routes": [...]})

Everything has a private folder and ports of its own, so that several rigs can run side by side, and everything ends with
the process that started it: by a normal exit, an exception or a SIGKILL.
"""
from .activemq import ActiveMQ
from .artemis import Artemis
from .flow import Feed, Flow, Producer, Publisher, StompFeed, assert_nothing_lost, tally
from .gateway import Gateway
from .kafka import Kafka, Record
from .process import Process, until
from .proxy import Proxy
from .rabbitmq import Message, RabbitMQ
from .rig import Rig
from .stomp_judge import StompJudge, StompMessage

__all__ = ["ActiveMQ", "Artemis", "Feed", "Flow", "Gateway", "Kafka", "Message", "Process", "Producer", "Proxy", "Publisher", "RabbitMQ",
           "Record", "Rig", "StompFeed", "StompJudge", "StompMessage", "assert_nothing_lost", "tally", "until"]
