"""Every log-in on real brokers, each with a twin that fails: one clear event, not ready, tried again, and never a secret."""
import json
import os
import re
import subprocess

from rig import Record, until
from rig.flow import messages, number_of, records
from rig.kafka import SCRAM_PASSWORD, SCRAM_USER, USERS
from rig.tokens import CLIENT, SECRET as CLIENT_SECRET, TokenServer

LONG = True

WRONG, KEY_PASSWORD = "wr0ng-Passw0rd", "k3y-Passw0rd"
COUNT = 200


def write(rig, name, text):
    """Whole or not at all, as secrets are rotated."""
    path = os.path.join(rig.folder, name)
    with open(path + ".new", "w") as f:
        f.write(text)
    os.rename(path + ".new", path)
    return path




def gateway_with_files(rig, config, name="bailey"):
    gateway = rig.gateway(config, name, start=False)
    with open(gateway.file) as f:
        text = f.read()
    with open(gateway.file, "w") as f:
        f.write(re.sub(r'\{\s*"!file": ("[^"]*")\s*\}', r"!file \1", text))
    return gateway.start()


def certificate(rig, name, subject, authority):
    """A client's certificate, signed by `authority` of the rig (ca or stranger): (certificate, key)."""
    tls, path = rig.certificates(), os.path.join(rig.folder, name)
    for args in (["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={subject}",
                  "-keyout", f"{path}.key", "-out", f"{path}.csr"],
                 ["x509", "-req", "-in", f"{path}.csr", "-CA", f"{tls}/{authority}.crt", "-CAkey", f"{tls}/{authority}.key",
                  "-set_serial", "7", "-days", "2", "-out", f"{path}.crt"]):
        subprocess.run(["openssl", *args], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return f"{path}.crt", f"{path}.key"


def locked(rig):
    """The rig's client with its key encrypted, as options of `tls`; the password stands in a file."""
    tls, key = rig.certificates(), os.path.join(rig.folder, "locked.key")
    subprocess.run(["openssl", "pkey", "-in", f"{tls}/client.key", "-aes256", "-passout", f"pass:{KEY_PASSWORD}", "-out", key],
                   check=True)
    return {"cert": f"{tls}/client.crt", "key": key, "key_password": {"!file": write(rig, "key-password", KEY_PASSWORD + "\n")}}


def assert_refused(gateway, twins):
    """twins: {route: (broker, address, words of the reason)}. None runs, each has one event that names it all, and they are
    tried again."""
    for name, (broker, address, words) in twins.items():
        report = gateway.wait_route(name, lambda r: r["state"] in ("down", "held") and r["reason"] and
                                    all(word in r["reason"] for word in words), 20, f"{name} is not refused with {words}")
        assert report["state"] != "running"

        def tried_again():
            lines = [line for line in gateway.output().splitlines() if f"broker={broker}" in line and address in line]
            return len(lines) >= (2 if report["state"] == "down" else 1) and lines  # librdkafka itself goes on silently
        lines = until(tried_again, 20, lambda: f"{name} is not tried again:\n{gateway.process.tail(40)}")
        clear = [line for line in lines if all(word in line for word in words)]
        assert clear, f"{name}: no event names {broker}, {address} and {words}:\n" + "\n".join(lines)
    assert gateway.ready_report()["ready"] is False


def assert_no_secret(rig, gateway, secrets):
    """Not in anything that Bailey shows."""
    shown = {"the log": gateway.output(), "/readyz": gateway.get("/readyz")[1], "/metrics": gateway.get("/metrics")[1]}
    for command in (["explain"], ["explain", "--json"], ["check", "--json"], ["check", "--connect"],
                    ["check", "--connect", "--json"]):
        done = rig.run(*command, gateway.file)
        shown[" ".join(command)] = done.stdout + done.stderr
    for what, text in shown.items():
        for secret in secrets:
            assert secret not in text, f"a secret is in {what}"


def chain(brokers, prefix):
    """Routes that carry what is in PREFIX-0 through every broker as source and sink, to PREFIX-n."""
    return [{"name": f"{prefix}-{name}", "from": {"broker": name, "topic": f"{prefix}-{i}"},
             "to": {"broker": name, "topic": f"{prefix}-{i + 1}"}} for i, name in enumerate(brokers)]


def story_kafka(rig):
    kafka, tls = rig.kafka, rig.certificates()
    ca = {"ca": f"{tls}/ca.crt"}
    guest = {**ca, "cert": f"{tls}/client.crt", "key": f"{tls}/client.key"}
    stranger = dict(zip(("cert", "key"), certificate(rig, "stranger-guest", "guest", "stranger")))
    loopback, over_tls = f"127.0.0.1:{kafka.sasl_port}", f"localhost:{kafka.sasl_ssl_port}"

    def broker(address, mechanism=None, user=SCRAM_USER, password=SCRAM_PASSWORD, **options):
        sasl = {"sasl": {"mechanism": mechanism, "username": user, "password": password}} if mechanism else {}
        return dict({"connector": "kafka", "bootstrap_servers": address}, **sasl, **options)

    good = {
        "plain": broker(loopback, "PLAIN", "admin", USERS["admin"]),
        "scram-256": broker(loopback, "SCRAM-SHA-256"),
        "scram-512": broker(loopback, "SCRAM-SHA-512"),
        "plain-tls": broker(over_tls, "PLAIN", "admin", USERS["admin"], tls=ca),
        "scram-tls": broker(over_tls, "SCRAM-SHA-512", tls=ca),
        "unverified": broker(over_tls, "PLAIN", "admin", USERS["admin"], tls={"ca": f"{tls}/stranger.crt", "verify": False}),
        "mtls": broker(f"localhost:{kafka.ssl_port}", tls=guest),
        "mtls-locked": broker(f"localhost:{kafka.ssl_port}", tls={**ca, **locked(rig)}),
    }
    elsewhere = f"127.0.0.2:{rig.proxy(kafka.sasl_ssl_port, '127.0.0.2').port}"  # not a name of the certificate
    password = write(rig, "password", WRONG + "\n")
    wrong = {
        "wrong-plain": (broker(loopback, "PLAIN", "admin", {"!file": password}), loopback, ["Authentication failed"]),
        "wrong-256": (broker(loopback, "SCRAM-SHA-256", password=WRONG), loopback, ["invalid credentials", "SHA-256"]),
        "wrong-512": (broker(loopback, "SCRAM-SHA-512", password=WRONG), loopback, ["invalid credentials", "SHA-512"]),
        "wrong-tls": (broker(over_tls, "SCRAM-SHA-512", password=WRONG, tls=ca), over_tls, ["invalid credentials"]),
        "wrong-ca": (broker(over_tls, "PLAIN", "admin", WRONG, tls={"ca": f"{tls}/stranger.crt"}), over_tls,
                     ["certificate verify failed"]),
        "wrong-name": (broker(elsewhere, "PLAIN", "admin", WRONG, tls=ca), elsewhere, ["certificate verify failed", "IP address mismatch"]),
        "no-certificate": (broker(f"localhost:{kafka.ssl_port}", tls=ca), f"localhost:{kafka.ssl_port}", ["alert"]),
        "stranger": (broker(f"localhost:{kafka.ssl_port}", tls={**ca, **stranger}), f"localhost:{kafka.ssl_port}", ["alert"]),
        "no-mechanism": (broker(f"127.0.0.1:{kafka.oauth_port}", "PLAIN", password=WRONG), f"127.0.0.1:{kafka.oauth_port}",
                         ["Unsupported SASL mechanism", "OAUTHBEARER"]),
        "tls-to-plain": (broker(kafka.address, tls=ca), kafka.address, ["PLAINTEXT broker listener"]),
        "plain-to-tls": (broker(over_tls), over_tls, ["perhaps it expects tls"]),
        "sasl-to-plain": (broker(kafka.address, "PLAIN", password=WRONG), kafka.address, ["not valid in current SASL state"]),
        "sasl-to-tls": (broker(over_tls, "PLAIN", password=WRONG), over_tls, ["perhaps it expects tls"]),
    }
    kafka.create(*(f"in-{i}" for i in range(len(good) + 1)), "twin")
    kafka.produce("in-0", records(COUNT))
    gateway = gateway_with_files(rig, {
        "brokers": dict(good, **{name: b for name, (b, _, _) in wrong.items()}),
        "routes": chain(good, "in") + [{"name": name, "from": {"broker": name, "topic": "twin", "group": name},
                                        "to": {"broker": "k", "topic": "twin"}} for name in wrong]})
    arrived = kafka.consume(f"in-{len(good)}", COUNT, timeout=30)
    assert [number_of(r.value) for r in arrived] == list(range(COUNT))
    assert_refused(gateway, {name: (name, address, words) for name, (_, address, words) in wrong.items()})
    hints = {line.split("hint=")[1] for line in gateway.output().splitlines() if "end.down" in line and "hint=" in line}
    assert len(hints) >= 5, hints
    assert_no_secret(rig, gateway, [WRONG, KEY_PASSWORD, SCRAM_PASSWORD, USERS["admin"]])
    write(rig, "password", USERS["admin"] + "\n")
    gateway.wait_route("wrong-plain", lambda r: r["state"] == "running", 35, "the corrected password is not read")
    gateway.term()
    return f"{len(good)} log-ins carry {COUNT}, {len(wrong)} twins refused; a corrected !file is enough"


def story_kafka_tokens(rig):
    kafka, tls = rig.kafka, rig.certificates()
    plain, over_tls = TokenServer(rig.free_port(), life=3), TokenServer(rig.free_port(), tls=tls)
    ended = TokenServer(rig.free_port(), life=2)
    nobody = f"http://localhost:{rig.free_port()}/token"

    def broker(url, secret=CLIENT_SECRET, **oauth):
        oauth = dict({"token_url": url, "client_id": CLIENT, "client_secret": secret}, **oauth)
        return {"connector": "kafka", "bootstrap_servers": f"127.0.0.1:{kafka.oauth_port}",
                "sasl": {"mechanism": "OAUTHBEARER", "oauth": oauth}}

    good = {"short-lived": broker(plain.url, scope="read write"),
            "https": broker(over_tls.url, ca=f"{tls}/ca.crt", client_auth="post", parameters={"audience": "kafka"})}
    wrong = {"wrong-secret": (broker(plain.url, WRONG), plain.url, ["401 invalid_client"]),
             "wrong-ca": (broker(over_tls.url, ca=f"{tls}/stranger.crt"), over_tls.url, ["certificate is refused"]),
             "too-short": (broker(ended.url), ended.url, ["is good for less than 2 s"]),
             "no-server": (broker(nobody), nobody, ["Connection refused"])}
    kafka.create(*(f"token-{i}" for i in range(len(good) + 1)), "token-twin")
    gateway = rig.gateway({
        "brokers": dict(good, **{name: b for name, (b, _, _) in wrong.items()}),
        "routes": chain(good, "token") + [{"name": name, "from": {"broker": name, "topic": "token-twin", "group": name},
                                           "to": {"broker": "k", "topic": "token-twin"}} for name in wrong]})
    for name in good:
        gateway.wait_route(f"token-{name}", lambda r: r["state"] == "running", 20, f"{name} does not run")
    # Beyond two lives of the token: messages flow, and no end goes down or is held.
    sent = 0

    def tokens():
        return [r for r in plain.requests if r.get("scope") == "read write"]

    def another_batch():
        nonlocal sent
        kafka.produce("token-0", [Record(b"k", b"%09d " % (sent + i)) for i in range(20)])
        sent += 20
        until(lambda: gateway.metric("bailey_messages_delivered_total", route="token-https") == sent, 20,
              lambda: f"no flow after {len(tokens())} tokens:\n{gateway.process.tail(30)}")
        return len(tokens()) >= 8 and sent >= COUNT
    until(another_batch, 40, lambda: f"{len(tokens())} tokens were asked for", every=0.5)
    good_requests = tokens()
    assert good_requests and all(r["audience"] == "kafka" and r["client_id"] == CLIENT for r in over_tls.requests)
    assert_refused(gateway, {name: (name, url.split("/")[2], words) for name, (_, url, words) in wrong.items()})
    troubled = [line for line in gateway.output().splitlines()
                if "route=token-" in line and ("end.down" in line or "to=held" in line)]
    assert not troubled, troubled
    warned = [line for line in gateway.output().splitlines() if "kafka.token_short_lived" in line]
    assert len(warned) == 1 and "broker=short-lived life=2" in warned[0], warned  # its end is told in whole seconds
    # What works outlives its token server; what begins does not, and says why.
    plain.failure = (503, {"error": "temporarily_unavailable"})
    refused = rig.run("check", "--connect", "--json", gateway.file)
    rows = {r["route"]: r for r in json.loads(refused.stdout)["ends"] if r["end"] == "from"}
    assert "503 temporarily_unavailable" in rows["token-short-lived"]["detail"], rows
    plain.failure = None
    assert_no_secret(rig, gateway, [WRONG, CLIENT_SECRET])
    gateway.term()
    for server in (plain, over_tls, ended):
        server.close()
    return f"{sent} messages over {len(good_requests)} tokens of 3 s; twins: 401, a stranger's certificate, less than 2 s, nobody there"


def story_kafka_denials(rig):
    """A denial names principal, operation and resource, with the command that allows it."""
    kafka = rig.kafka
    kafka.create("acl-in", "acl-out", "acl-open")
    for resource in ("--topic acl-open", "--group acl-group"):
        kafka.run_acls(f"kafka-acls.sh --bootstrap-server x --add --allow-principal User:alice --operation Read {resource}")
    alice = {"connector": "kafka", "bootstrap_servers": f"127.0.0.1:{kafka.sasl_port}",
             "sasl": {"mechanism": "PLAIN", "username": "alice", "password": USERS["alice"]}}
    denied = {
        "read": ({"broker": "alice", "topic": "acl-in", "group": "acl-group"}, {"broker": "k", "topic": "acl-out"},
                 "User:alice may not Read topic acl-in", "--operation Read --topic acl-in"),
        "group": ({"broker": "alice", "topic": "acl-open", "group": "acl-other"}, {"broker": "k", "topic": "acl-out"},
                  "User:alice may not Read group acl-other", "--operation Read --group acl-other"),
        "write": ({"broker": "k", "topic": "acl-in", "group": "acl-k"}, {"broker": "alice", "topic": "acl-out"},
                  "User:alice may not Write topic acl-out", "--operation Write --topic acl-out"),
    }
    gateway = rig.gateway({"brokers": {"alice": alice},
                           "routes": [{"name": name, "from": source, "to": sink} for name, (source, sink, _, _) in denied.items()]})
    for name, (_, _, text, command) in denied.items():
        gateway.wait_route(name, lambda r: r["state"] == "down" and text in r["reason"], 20, f"{name} is not denied by name")
        lines = [line for line in gateway.output().splitlines() if "end.down" in line and text in line]
        assert lines and all("broker alice" in line and command in line for line in lines), lines
    assert gateway.ready_report()["ready"] is False
    for _, _, _, command in denied.values():
        kafka.run_acls(f"kafka-acls.sh --bootstrap-server x --add --allow-principal User:alice {command}")
    gateway.wait_ready(35)
    gateway.term()
    return "topic read, topic write and group; each runs when its own command was followed"


def connections(rabbit):
    """{name of a client's connection: its process}: another process would be another connection."""
    listed = rabbit.eval('[{binary_to_list(element(3, lists:keyfind(<<"connection_name">>, 1, '
                         'proplists:get_value(client_properties, C)))), proplists:get_value(pid, C)} || '
                         'C <- rabbit_networking:connection_info_all([pid, client_properties]), '
                         'lists:keymember(<<"connection_name">>, 1, proplists:get_value(client_properties, C))]')
    return dict(re.findall(r'\{"([^"]*)", (<[^>]*>)\}', listed))


def story_amqp(rig):
    rabbit, tls = rig.rabbit, rig.certificates()
    rabbit.declare(*(f"login-{i}" for i in range(5)))
    ca = {"ca": f"{tls}/ca.crt"}
    nobody = dict(zip(("cert", "key"), certificate(rig, "nobody", "nobody", "ca")))
    stranger = dict(zip(("cert", "key"), certificate(rig, "stranger-guest", "guest", "stranger")))
    url, address = f"amqps://localhost:{rabbit.ssl_port}/%2f", f"localhost:{rabbit.ssl_port}"
    plain = f"amqp://nobody:{WRONG}@127.0.0.1:{rabbit.port}/%2f"
    elsewhere = f"127.0.0.2:{rig.proxy(rabbit.ssl_port, '127.0.0.2').port}"  # not a name of the certificate
    secret = write(rig, "secret", "guest\n")

    def broker(where, **options):
        return dict({"connector": "amqp", "url": where}, **options)

    good = {
        "amqps": broker(url.replace("://", "://guest:guest@"), tls=ca),
        "external": broker(url, auth="external", tls={**ca, "cert": f"{tls}/client.crt", "key": f"{tls}/client.key"}),
        "external-locked": broker(url, auth="external", tls={**ca, **locked(rig)}),
        "file": broker(plain, username="guest", password={"!file": secret}),
    }
    wrong = {
        "wrong-amqps": (broker(url, username="guest", password=WRONG, tls=ca), address, ["403 ACCESS_REFUSED"]),
        "wrong-ca": (broker(url, tls={"ca": f"{tls}/stranger.crt"}), address, ["certificate is refused"]),
        "wrong-name": (broker(f"amqps://{elsewhere}/", username="guest", password=WRONG, tls=ca), elsewhere,
                       ["certificate is refused", "IP address mismatch"]),
        "external-nobody": (broker(url, auth="external", tls={**ca, **nobody}), address, ["403 ACCESS_REFUSED", "EXTERNAL"]),
        "external-stranger": (broker(url, auth="external", tls={**ca, **stranger}), address, ["TLS"]),
        "wrong-plain": (broker(plain), f"127.0.0.1:{rabbit.port}", ["403 ACCESS_REFUSED"]),
        "tls-to-plain": (broker(f"amqps://localhost:{rabbit.port}/", tls=ca), f"localhost:{rabbit.port}", ["TLS"]),
        "plain-to-tls": (broker(f"amqp://localhost:{rabbit.ssl_port}/"), address, ["does not speak AMQP"]),
    }
    routes = [{"name": name, "from": {"broker": name, "queue": f"login-{i}"}, "to": {"broker": name, "queue": f"login-{i + 1}"}}
              for i, name in enumerate(good)]
    rabbit.publish("login-0", messages(COUNT))
    gateway = gateway_with_files(rig, {
        "brokers": dict(good, **{name: b for name, (b, _, _) in wrong.items()}),
        "routes": routes + [{"name": name, "from": {"broker": name, "queue": "login-0"}, "to": {"broker": "r", "queue": "login-1"}}
                            for name in wrong]})
    until(lambda: gateway.metric("bailey_messages_delivered_total", route="file") == COUNT, 20,
          lambda: f"no flow: {gateway.ready_report()}\n{gateway.process.tail()}")
    assert_refused(gateway, {name: (name, where, words) for name, (_, where, words) in wrong.items()})

    before = connections(rabbit)
    mine = {name: pid for name, pid in before.items() if "/file " in name}
    assert len(mine) == 2, before
    write(rig, "secret", "n3w-t0ken\n")  # RabbitMQ's own users have no use for it: it takes it, and says so
    until(lambda: gateway.output().count("amqp.secret_renewed broker=file") == 2, 10,
          lambda: f"the new secret is not told:\n{gateway.process.tail()}")
    rabbit.publish("login-0", messages(COUNT, first=COUNT))
    until(lambda: gateway.metric("bailey_messages_delivered_total", route="file") == 2 * COUNT, 20,
          lambda: f"no flow: {gateway.ready_report()}\n{gateway.process.tail()}")
    after = connections(rabbit)
    assert all(after.get(name) == pid for name, pid in mine.items()), f"connected anew: {mine} {after}"
    assert_no_secret(rig, gateway, [WRONG, KEY_PASSWORD, "n3w-t0ken"])
    gateway.term()
    assert [number_of(m.body) for m in rabbit.drain("login-4", 2 * COUNT)] == list(range(2 * COUNT))
    return f"{len(good)} log-ins carry {2 * COUNT}, {len(wrong)} twins refused; a new secret on the same two connections"
