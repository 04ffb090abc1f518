"""TLS and log-in: certificates are checked, EXTERNAL and SASL work, and a wrong authority is refused by name."""
import os

from rig import until
from rig.flow import messages, number_of


def story_tls_and_logins(rig):
    kafka, rabbit, tls = rig.kafka, rig.rabbit, rig.certificates()

    def pem(name):
        return os.path.join(tls, name)

    kafka.create("tls-a", "tls-b", "tls-c")
    rabbit.declare("tls-in", "tls-out")
    amqps = f"amqps://guest:guest@localhost:{rabbit.ssl_port}/%2f"
    client = {"ca": pem("ca.crt"), "cert": pem("client.crt"), "key": pem("client.key")}

    def sasl(mechanism, user, password):
        return {"connector": "kafka", "bootstrap_servers": f"127.0.0.1:{kafka.sasl_port}",
                "sasl": {"mechanism": mechanism, "username": user, "password": password}}

    gateway = rig.gateway({
        "brokers": {
            "r-tls": {"connector": "amqp", "url": amqps, "tls": {"ca": pem("ca.crt")}},
            "r-external": {"connector": "amqp", "url": f"amqps://localhost:{rabbit.ssl_port}/%2f", "auth": "external",
                           "tls": client},
            "r-stranger": {"connector": "amqp", "url": amqps, "tls": {"ca": pem("stranger.crt")}},
            "k-tls": {"connector": "kafka", "bootstrap_servers": f"localhost:{kafka.ssl_port}", "tls": client},
            "k-plain": sasl("PLAIN", "admin", "admin-secret"),
            "k-scram": sasl("SCRAM-SHA-256", "scram", "scram-secret"),
        },
        "routes": [
            {"name": "one", "from": {"broker": "r-tls", "queue": "tls-in"}, "to": {"broker": "k-tls", "topic": "tls-a"}},
            {"name": "two", "from": {"broker": "k-plain", "topic": "tls-a"}, "to": {"broker": "k-scram", "topic": "tls-b"}},
            {"name": "three", "from": {"broker": "k-scram", "topic": "tls-b"}, "to": {"broker": "r-external", "queue": "tls-out"}},
            {"name": "stranger", "from": {"broker": "r-stranger", "queue": "tls-out"}, "to": {"broker": "k", "topic": "tls-c"}},
        ]})
    for name in ("one", "two", "three"):
        gateway.wait_route(name, lambda r: r["state"] == "running", 30, f"{name} does not run")
    rabbit.publish("tls-in", messages(1000))
    until(lambda: gateway.metric("bailey_messages_delivered_total", route="three") == 1000, 20,
          lambda: f"no flow: {gateway.ready_report()}\n{gateway.process.tail()}")
    stranger = gateway.wait_route("stranger", lambda r: r["state"] == "down", 10, "a stranger's certificate was accepted")
    assert "certificate" in stranger["reason"], stranger
    gateway.term()
    assert [number_of(m.body) for m in rabbit.drain("tls-out", 1000)] == list(range(1000))
    return f"1,000 through amqps, Kafka TLS, PLAIN, SCRAM and EXTERNAL; refused: '{stranger['reason']}'"
