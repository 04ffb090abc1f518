"""A broker does not trust our certificate any more: that is told as what it is, and a new one in the same files is enough."""
import os
import shutil

from logins import certificate

from rig import until
from rig.flow import number_of, records

BREAKS = True


def trust(rig, authority):
    """Kafka, killed and started again, trusts who was signed by that one: ca or stranger."""
    kafka, path = rig.kafka, os.path.join(rig.kafka.folder, "server.properties")
    with open(path) as f:
        lines = f.read().splitlines()
    with open(path, "w") as f:
        for line in lines:
            known = line.startswith("ssl.truststore.location=")
            f.write((f"ssl.truststore.location={kafka.tls}/{authority}.crt" if known else line) + "\n")
    kafka.process.kill()
    kafka.start()


def install(rig, made):
    """Put them in place of the client's, as a tool that renews certificates does."""
    for kind, path in zip(("crt", "key"), made):
        place = os.path.join(rig.folder, f"client.{kind}")
        shutil.copy(path, place + ".new")
        os.rename(place + ".new", place)


def story_kafka(rig):
    tls = rig.certificates()
    rig.kafka.create("refused-in", "refused-out")
    install(rig, (f"{tls}/client.crt", f"{tls}/client.key"))
    broker = {"connector": "kafka", "bootstrap_servers": f"localhost:{rig.kafka.ssl_port}",
              "tls": {"ca": f"{tls}/ca.crt", "cert": f"{rig.folder}/client.crt", "key": f"{rig.folder}/client.key"}}
    gateway = rig.gateway({"brokers": {"mtls": broker}, "routes": [
        {"name": "refused", "from": {"broker": "mtls", "topic": "refused-in"}, "to": {"broker": "mtls", "topic": "refused-out"}}]})

    def carries(count):
        rig.kafka.produce("refused-in", records(100, first=count - 100))
        until(lambda: len({number_of(r.value) for r in rig.kafka.consume("refused-out")}) == count, 45,
              lambda: f"{gateway.route('refused')}\n{gateway.process.tail()}", every=0.2)
    carries(100)
    try:
        trust(rig, "stranger")
        refused = gateway.wait_route("refused", lambda r: r["state"] == "down" and "SSL alert number" in r["reason"], 60,
                                     "the refusal is not told")
        events = [line for line in gateway.output().splitlines() if "end.down" in line and "SSL alert number" in line]
        assert events and all("`tls.cert`" in line and "class=configuration" in line for line in events), events
        install(rig, certificate(rig, "renewed", "guest", "stranger"))
        carries(200)
    finally:
        trust(rig, "ca")
    gateway.kill()
    return f"down: '{refused['reason']}'; runs again with a new certificate in the same files"
