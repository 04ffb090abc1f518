"""Log-in, encryption and permissions on each STOMP broker, each with its twin that must be refused: one clear event that names
the broker, its address and the reason, readiness false, no secret anywhere, and no other route notices."""
import json
import os
import re
import subprocess
from urllib.parse import urlsplit

from rig import StompMessage, until
from rig.jvm import LIMITED, USER

NEEDS = ("activemq", "artemis", "rabbitmq")
SECRET, KEY_PASSWORD = "s3cr3t-Passw0rd", "k3y-Passw0rd"
COUNT = 10


class Cases:
    """Brokers and routes of one configuration. A good case carries messages, a bad one has words that its event must have."""

    def __init__(self, rig):
        self.rig, self.brokers, self.routes, self.good, self.bad = rig, {}, [], {}, {}

    def _add(self, name, broker, source, sink):
        self.brokers[name] = broker
        self.routes.append({"name": name, "from": {"broker": name, "destination": source},
                            "to": {"broker": name, "destination": sink}})

    def works(self, name, letter, broker, prefix="login"):
        self._add(name, broker, f"/queue/{prefix}.{name}-in", f"/queue/{prefix}.{name}-out")
        self.good[name] = (self.rig.stomp(letter), f"/queue/{prefix}.{name}")

    def fails(self, name, broker, *words, source="/queue/login.none", sink="/queue/login.none-out"):
        self._add(name, broker, source, sink)
        self.bad[name] = (urlsplit(broker["url"]).netloc.rpartition("@")[2], words)


def locked_key(rig):
    key = os.path.join(rig.folder, "locked.key")
    subprocess.run(["openssl", "pkey", "-in", os.path.join(rig.certificates(), "client.key"), "-aes256", "-passout",
                    f"pass:{KEY_PASSWORD}", "-out", key], check=True)
    return key


def stomp(url, user=None, **options):
    broker = {"connector": "stomp", "url": url, **options}
    return dict(broker, login=user[0], passcode=user[1]) if user else broker


def add_cases(cases, rig, letter, broker, user, refused):
    """What all three have. `refused`: what this broker says to a wrong password."""
    tls = rig.certificates()
    ca, stranger = ({"ca": os.path.join(tls, name)} for name in ("ca.crt", "stranger.crt"))
    client = dict(ca, cert=os.path.join(tls, "client.crt"), key=os.path.join(tls, "client.key"))
    locked = locked_key(rig)
    plain, tcp = f"stomp://127.0.0.1:{broker.stomp_port}", f"127.0.0.1:{broker.stomp_port}"
    encrypted = f"stomp+ssl://localhost:{broker.stomps_port}"
    elsewhere = rig.proxy(broker.stomps_port, "127.0.0.2")  # not a name of the certificate

    cases.works(f"{letter}-plain", letter, stomp(plain, user))
    cases.works(f"{letter}-url", letter, stomp(f"stomp://{user[0]}:{user[1]}@{tcp}"))
    cases.works(f"{letter}-tls", letter, stomp(encrypted, user, tls=ca))
    cases.works(f"{letter}-unverified", letter, stomp(f"stomp+ssl://127.0.0.2:{elsewhere.port}", user, tls={"verify": False}))
    cases.works(f"{letter}-limited", letter, stomp(plain, LIMITED), prefix="limited")
    cases.fails(f"{letter}-password", stomp(plain, (user[0], SECRET)), refused)
    cases.fails(f"{letter}-tls-password", stomp(encrypted, (user[0], SECRET), tls=ca), refused)
    cases.fails(f"{letter}-authority", stomp(encrypted, user, tls=stranger), "certificate")
    cases.fails(f"{letter}-name", stomp(f"stomp+ssl://127.0.0.2:{elsewhere.port}", user, tls=ca), "certificate", "127.0.0.2")
    cases.fails(f"{letter}-refused", stomp(f"stomp://127.0.0.1:{rig.free_port()}", (user[0], SECRET)), "refused")
    cases.fails(f"{letter}-source", stomp(plain, LIMITED), "forbidden", source="/queue/forbidden", sink="/queue/limited.none")
    cases.fails(f"{letter}-sink", stomp(plain, LIMITED), "forbidden", source=f"/queue/limited.{letter}", sink="/queue/forbidden")
    rig.stomp(letter).send(f"/queue/limited.{letter}", [StompMessage(b"for nobody")])
    path = "/ws" if letter == "s" else ""  # RabbitMQ's; the others take any
    ws, wss = f"ws://127.0.0.1:{broker.ws_port}{path}", f"wss://localhost:{broker.wss_port}{path}"
    cases.works(f"{letter}-ws", letter, stomp(ws, user))
    cases.works(f"{letter}-wss", letter, stomp(wss, user, tls=ca))
    cases.fails(f"{letter}-ws-password", stomp(ws, (user[0], SECRET)), refused)
    cases.fails(f"{letter}-wss-authority", stomp(wss, user, tls=stranger), "certificate")
    if letter == "s":  # its certificate is also its log-in
        cases.works("s-certificate", letter, stomp(encrypted, tls=client))
        cases.fails("s-vhost", stomp(plain, user, vhost="nowhere"), "nowhere")
    else:
        asking = f"stomp+ssl://localhost:{broker.mtls_port}"
        cases.works(f"{letter}-certificate", letter, stomp(asking, user, tls=client))
        cases.works(f"{letter}-locked", letter, stomp(asking, user, tls=dict(client, key=locked, key_password=KEY_PASSWORD)))
        cases.fails(f"{letter}-no-certificate", stomp(asking, user, tls=ca), "certificate")


def story_stomp_logins(rig):
    cases = Cases(rig)
    add_cases(cases, rig, "a", rig.activemq, USER, "password is invalid")
    add_cases(cases, rig, "t", rig.artemis, USER, "password is invalid")
    add_cases(cases, rig, "s", rig.rabbit, ("guest", "guest"), "Access refused")
    rig.rabbit.admit_limited()
    for judge, queue in cases.good.values():
        judge.send(f"{queue}-in", [StompMessage(b"%d" % i) for i in range(COUNT)])
    gateway = rig.gateway({"brokers": cases.brokers, "routes": cases.routes})
    for name in cases.good:
        until(lambda: gateway.metric("bailey_messages_delivered_total", route=name) == COUNT, 20,
              lambda: f"{name} does not flow: {gateway.route(name)}\n{gateway.process.tail(60)}")
    reasons = {name: gateway.wait_route(name, lambda r: r["state"] == "down" and r["reason"], 15, f"{name} has no reason")["reason"]
               for name in cases.bad}
    report = gateway.ready_report()
    assert report["ready"] is False
    assert {r["name"] for r in report["routes"] if r["state"] == "running"} == set(cases.good), report
    page, metrics = gateway.get("/readyz")[1], gateway.get("/metrics")[1]
    gateway.kill()  # it could not drain: what is for a forbidden queue has nowhere to go
    for name, (judge, queue) in cases.good.items():
        assert [m.body for m in judge.drain(f"{queue}-out", COUNT)] == [b"%d" % i for i in range(COUNT)], name

    output = gateway.output()
    problems = []
    for name, (address, words) in cases.bad.items():
        events = re.findall(rf"^\S+ (?:warn|error) (stomp\.\w+ broker={name} .*)$", output, re.MULTILINE)
        if len(set(events)) != 1 or not all(word in events[0] for word in (f"address={address} ", *words)):
            problems.append(f"{name}: not one event with {address} and {words}, but {events}; the reason is {reasons[name]!r}")
    assert not problems, "\n".join(problems)
    warned = [name for name in cases.good if name.endswith("unverified") and not
              any("verif" in line and name in line for line in output.splitlines())]
    assert not warned, f"{warned} do not verify, and nothing warns of it"
    explained, explained_json = rig.run("explain", gateway.file), rig.run("explain", gateway.file, "--json")
    assert explained.returncode == 0, explained.stderr
    json.loads(explained_json.stdout)
    texts = {"the log": output, "/readyz": page, "/metrics": metrics, "explain": explained.stdout + explained.stderr,
             "explain --json": explained_json.stdout + explained_json.stderr}
    for what, text in texts.items():
        for secret in (SECRET, KEY_PASSWORD, USER[1], LIMITED[1]):
            assert secret not in text, f"a password is in {what}"
    return f"{len(cases.good)} log-ins work, {len(cases.bad)} are refused, e.g. {reasons['t-password']!r}"
