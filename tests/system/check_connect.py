"""bailey check --connect: what was found, what is missing, the commands that give it; and nothing is created or consumed."""
import glob
import json
import os
import shlex
import socket
import subprocess
import time

from rig.flow import messages, records
from rig.jvm import LIMITED, USER
from rig.kafka import USERS

NEEDS = ("activemq", "artemis", "rabbitmq")
BOB = "b0b-s3cret"


def write(rig, name, config):
    path = os.path.join(rig.folder, name)
    with open(path, "w") as f:
        json.dump(dict(config, brokers=dict(rig.brokers(), **config.get("brokers", {}))), f, indent=1)
    return path


def check(rig, path, code):
    """(the table, the JSON) of --connect, which must exit with `code`."""
    table, data = rig.run("check", "--connect", path), rig.run("check", "--connect", "--json", path)
    assert table.returncode == data.returncode == code, f"{table.returncode}, not {code}:\n{table.stdout}{table.stderr}"
    report = json.loads(data.stdout)
    assert report["version"] == 1 and report["valid"] and report["connected"] == (code == 0), report
    for row in report["ends"]:
        line = next((line for line in table.stdout.splitlines() if line.split()[:3] == [row["route"], row["end"], row["broker"]]
                     and row["what"] in line), None)
        assert line and row["result"] in line and row["address"] in line, f"{row} is not in\n{table.stdout}"
    return table.stdout, report


def found(report, route, end):
    """{what: (result, detail)}"""
    return {row["what"]: (row["result"], row["detail"]) for row in report["ends"] if (row["route"], row["end"]) == (route, end)}


def topics(rig):
    listed = subprocess.run(["kcat", "-b", rig.kafka.address, "-L", "-J"], capture_output=True, check=True)
    return {topic["topic"] for topic in json.loads(listed.stdout)["topics"]}


def queues(rig):
    names = rig.rabbit.eval("[binary_to_list(element(4, element(2, Q))) || Q <- rabbit_amqqueue:list(<<\"/\">>)]")
    return set(json.loads(names)) if names != "[]" else set()


def story_table(rig):
    kafka, rabbit = rig.kafka, rig.rabbit
    kafka.create("look-in", partitions=3)
    kafka.create("look-out", "look-more")
    kafka.produce("look-in", records(10))
    rabbit.declare("look-in", "look-out")
    rabbit.declare("look-quorum", quorum=True)
    rabbit.exchange("look-exchange", "look-out")
    rabbit.publish("look-in", messages(7))
    routes = [
        {"name": "kr", "from": {"broker": "k", "topic": ["look-in", "^look-m.*"], "group": "look"},
         "to": {"broker": "r", "exchange": "look-exchange", "routing_key": "k"}},
        {"name": "rk", "from": {"broker": "r", "queue": "look-in"}, "to": {"broker": "k", "topic": "look-out"}},
        {"name": "rr", "from": {"broker": "r", "queue": "look-quorum"}, "to": {"broker": "r", "queue": "${key}"}},
        {"name": "made", "from": {"broker": "r", "queue": "look-new", "declare": "create"},
         "to": {"broker": "k", "topic": "look-new", "declare": {"create": {"partitions": 2}}}},
        {"name": "here", "from": {"broker": "g"}, "to": {"broker": "m", "queue": "q"}},
        {"name": "open", "from": {"broker": "g"}, "to": {"broker": "k", "topic": "${key}"}},
    ]
    config = {"brokers": {"g": {"connector": "generate"}, "m": {"connector": "memory"}}, "routes": routes}
    before = topics(rig), queues(rig)
    table, report = check(rig, write(rig, "good.yaml", config), 0)
    assert found(report, "kr", "from")["topic look-in"] == ("ok", "3 partitions, leader 1; Read allowed")
    assert found(report, "kr", "from")["topic look-more"][0] == "ok" and found(report, "kr", "from")["group look"][0] == "ok"
    assert "1 topic" in found(report, "kr", "from")["topics ^look-m.*"][1]
    assert found(report, "kr", "to") == {"exchange look-exchange": ("ok", "write allowed")}
    assert found(report, "rk", "from") == {"queue look-in": ("ok", "7 messages waiting, 0 consumers; read allowed")}
    assert found(report, "rk", "to") == {"topic look-out": ("ok", "1 partition, leader 1; Write allowed")}
    assert found(report, "rr", "from")["queue look-quorum"][0] == "ok"
    assert found(report, "rr", "to") == {"queue ${...}": ("ok", "write allowed")}
    assert "will create it" in found(report, "made", "from")["queue look-new"][1]
    assert "will create it" in found(report, "made", "to")["topic look-new"][1]
    assert found(report, "open", "to")["topic ${...}"][0] == "not checked"
    assert report["grants"] == [] and "would give" not in table

    routes[1]["to"]["topic"] = "look-nowhere"
    routes[2]["from"]["queue"] = "look-nowhere"
    routes[0]["to"]["exchange"] = "look-nowhere"
    routes[3]["to"]["declare"]["create"]["replication_factor"] = 7
    table, report = check(rig, write(rig, "missing.yaml", config), 1)
    assert found(report, "rk", "to")["topic look-nowhere"] == ("missing", "does not exist")
    assert found(report, "rr", "from")["queue look-nowhere"][0] == "missing"
    assert found(report, "kr", "to")["exchange look-nowhere"][0] == "missing"
    assert found(report, "made", "to")["topic look-new"][0] == "missing" and "eplication factor" in table
    assert table.count("hint: ") >= 4, table

    assert (topics(rig) - {"__consumer_offsets"}, queues(rig)) == (before[0] - {"__consumer_offsets"}, before[1])
    assert rabbit.count("look-out") == 0, "something was published"
    got = rabbit.drain("look-in", 7)
    assert len(got) == 7 and not any(m.redelivered for m in got), "something was consumed"
    assert kafka.committed("look", "look-in") == {} and kafka.count("look-in") == 10
    config["routes"][0]["from"]["topik"] = "x"
    assert rig.run("check", "--connect", write(rig, "bad.yaml", config)).returncode == 2
    return f"{len(report['ends'])} rows; exit codes 0, 1 and 2; nothing created, published or consumed"


def story_unreachable(rig):
    """Bounded, however many brokers are silent, and beside those that answer."""
    kafka, rabbit = rig.kafka, rig.rabbit
    kafka.create("reach")
    silent = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]  # accepts, and never says a word
    ports = [s.getsockname()[1] for s in silent]
    closed = rig.free_port()
    brokers = {
        "mute-amqp": {"connector": "amqp", "url": f"amqp://127.0.0.1:{ports[0]}/"},
        "mute-kafka": {"connector": "kafka", "bootstrap_servers": f"127.0.0.1:{ports[1]}"},
        "mute-token": {"connector": "kafka", "bootstrap_servers": f"127.0.0.1:{kafka.oauth_port}",
                       "sasl": {"mechanism": "OAUTHBEARER", "oauth": {"token_url": f"http://127.0.0.1:{ports[2]}/",
                                                                      "client_id": "a", "client_secret": "b"}}},
        "closed-amqp": {"connector": "amqp", "url": f"amqp://127.0.0.1:{closed}/"},
        "closed-kafka": {"connector": "kafka", "bootstrap_servers": f"127.0.0.1:{closed}"},
        "wrong-amqp": {"connector": "amqp", "url": f"amqp://guest:nonsense@127.0.0.1:{rabbit.port}/"},
        "two-urls": {"connector": "amqp", "url": [f"amqp://127.0.0.1:{closed}/", rabbit.url]},
    }
    rabbit.declare("reach")
    routes = [{"name": name, "from": {"broker": name, **({"queue": "reach"} if b["connector"] == "amqp" else {"topic": "reach"})},
               "to": {"broker": "k", "topic": "reach"}} for name, b in brokers.items()]
    path = write(rig, "reach.yaml", {"brokers": brokers, "routes": routes})
    began = time.monotonic()
    done = rig.run("check", "--connect", "--json", path)
    took = time.monotonic() - began
    for s in silent:
        s.close()
    report = json.loads(done.stdout)
    assert done.returncode == 1 and took < 13, f"exit code {done.returncode} after {took:.1f} s"
    for name in brokers:
        (result, detail), = found(report, name, "from").values() if name != "two-urls" else [("ok", "")]
        wanted = "refused" if name == "wrong-amqp" else "ok" if name == "two-urls" else "unreachable"
        assert result == wanted and (detail or wanted == "ok"), f"{name} is {result}: {detail}"
    assert found(report, "two-urls", "from")["queue reach"][0] == "ok", "the second URL is not tried"
    assert all(result == "ok" for name in brokers for result, _ in found(report, name, "to").values())
    return f"7 brokers, 5 of them silent or closed, in {took:.1f} s"


def rabbitmqctl(rabbit, command):
    words = shlex.split(command)
    assert words[0] == "rabbitmqctl", command
    tool, = glob.glob("/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmqctl")
    subprocess.run([tool, "-q", "-n", rabbit.node, *words[1:]], env=rabbit._env(), check=True, timeout=60)


def story_grants(rig):
    """The commands are sufficient, and each denial has one."""
    kafka, rabbit = rig.kafka, rig.rabbit
    kafka.create("grant-in", "grant-out", "grant.third")
    rabbit.declare("grant.in", "grant-out")
    rabbit.exchange("grant (x)")
    rabbit.eval(f'rabbit_auth_backend_internal:add_user(<<"bob">>, <<"{BOB}">>, <<"rig">>)')
    config = {
        "brokers": {
            "alice": {"connector": "kafka", "bootstrap_servers": f"127.0.0.1:{kafka.sasl_port}",
                      "sasl": {"mechanism": "PLAIN", "username": "alice", "password": USERS["alice"]}},
            "bob": {"connector": "amqp", "url": f"amqp://bob:{BOB}@127.0.0.1:{rabbit.port}/%2f"},
        },
        "routes": [
            {"name": "ab", "from": {"broker": "alice", "topic": ["grant-in", "grant.third"]}, "to": {"broker": "bob", "queue": "grant-out"}},
            {"name": "ba", "from": {"broker": "bob", "queue": "grant.in"}, "to": {"broker": "alice", "topic": "grant-out"}},
            {"name": "new", "from": {"broker": "bob", "queue": "grant-new", "declare": "create"},
             "to": {"broker": "alice", "topic": "grant-new", "declare": "create"}},
            {"name": "ex", "from": {"broker": "bob", "queue": "grant.in"}, "to": {"broker": "bob", "exchange": "grant (x)"}},
        ]}
    path = write(rig, "grants.yaml", config)
    rounds = 0
    while True:  # what one may not see may hide what one may not do
        done = rig.run("check", "--connect", "--json", path)
        report = json.loads(done.stdout)
        if done.returncode == 0 or rounds == 3:
            break
        assert done.returncode == 1 and report["grants"], report
        assert all(row["result"] in ("denied", "ok") for row in report["ends"]), report
        for command in report["grants"]:
            (rabbitmqctl if command.startswith("rabbitmqctl") else lambda _, c: kafka.run_acls(c))(rabbit, command)
        rounds += 1
    assert done.returncode == 0, f"still missing after {rounds} rounds: {report}"
    assert rounds <= 2, f"{rounds} rounds"
    assert BOB not in done.stdout and USERS["alice"] not in done.stdout
    gateway = rig.gateway(config).wait_ready(30)
    gateway.term()
    return f"all granted after {rounds} round{'s' if rounds > 1 else ''} of the printed commands, and bailey runs"


def story_stomp(rig):
    """Log-in on all three, over each transport. RabbitMQ's queues, exchanges and permissions by rehearsal; the others cannot be asked
    without making what is missing, and are not."""
    rabbit, tls = rig.rabbit, rig.certificates()
    ca, stranger = ({"ca": os.path.join(tls, name)} for name in ("ca.crt", "stranger.crt"))
    rabbit.admit_limited()
    rabbit.declare("stomp-look", "limited.look")
    rabbit.declare("stomp-quorum", quorum=True)
    rabbit.declare("stomp-transient", durable=False)
    rabbit.exchange("stomp-look-x")
    rabbit.publish("stomp-look", messages(7))
    rabbit.publish("stomp-quorum", messages(3))
    brokers, routes, expected = {}, [], {}

    def broker(name, url, user, **options):
        brokers[name] = {"connector": "stomp", "url": url, "login": user[0], "passcode": user[1], **options}

    def ends(name, broker, source, sink, found_source, found_sink):
        """(result, words of its detail) that each end must have."""
        routes.append({"name": name, "from": {"broker": broker, "destination": source},
                       "to": {"broker": broker, "destination": sink, **({"unroutable": "accept"} if sink[1:2] != "q" else {})}})
        expected[name, "from"], expected[name, "to"] = (source, *found_source), (sink, *found_sink)

    def alike(name, broker, *found):
        ends(name, broker, "/queue/stomp-never", "/queue/stomp-never-2", found, found)

    for letter, name, node, user, words in (("a", "activemq", rig.activemq, USER, "password is invalid"), ("t", "artemis", rig.artemis, USER, "password is invalid"),
                                            ("s", "rabbitmq", rabbit, ("guest", "guest"), "Access refused")):
        path = "/ws" if letter == "s" else ""
        urls = {"tcp": f"stomp://127.0.0.1:{node.stomp_port}", "tls": f"stomp+ssl://localhost:{node.stomps_port}",
                "ws": f"ws://127.0.0.1:{node.ws_port}{path}", "wss": f"wss://localhost:{node.wss_port}{path}"}
        for way, url in urls.items():
            broker(f"{letter}-{way}", url, user, tls=ca)
            alike(f"{letter}-{way}", f"{letter}-{way}", *(("ok", "does not exist; it will be created; ") if letter == "s" and way in ("tcp", "tls") else
                                                          ("not checked", f"not looked up: {name} creates what is missing")))
        broker(f"{letter}-password", urls["tcp"], (user[0], "nonsense"))
        alike(f"{letter}-password", f"{letter}-password", "refused", words)
        for way in ("tls", "wss"):
            broker(f"{letter}-{way}-ca", urls[way], user, tls=stranger)
            alike(f"{letter}-{way}-ca", f"{letter}-{way}-ca", "refused", "certificate")
        broker(f"{letter}-closed", f"stomp://127.0.0.1:{rig.free_port()}", user)
        alike(f"{letter}-closed", f"{letter}-closed", "unreachable", "refused")
    broker("s-vhost", f"stomp://127.0.0.1:{rabbit.stomp_port}", ("guest", "guest"), vhost="nowhere")
    alike("s-vhost", "s-vhost", "refused", "Virtual host 'nowhere'")
    broker("s-limited", f"stomp://127.0.0.1:{rabbit.stomp_port}", LIMITED)
    denied = ("denied", "refused")
    for name, of, source, sink, found_source, found_sink in (
            ("there", "s-tcp", "/queue/stomp-look", "/queue/stomp-quorum", ("ok", "exists; read allowed"), ("ok", "exists; write allowed")),
            ("amq", "s-tcp", "/amq/queue/stomp-quorum", "/exchange/stomp-look-x/k", ("ok", "exists; read allowed"), ("ok", "write allowed")),
            ("gone", "s-tcp", "/amq/queue/stomp-gone", "/exchange/stomp-gone/k", ("missing", "no queue"), ("missing", "no exchange")),
            ("topic", "s-tcp", "/topic/stomp", "/topic/stomp", ("not checked", "not looked up"), ("ok", "write allowed")),
            ("odd", "s-tcp", "/queue/stomp-transient", "/amq/queue/stomp-look", ("refused", "inequivalent arg 'durable'"), ("ok", "whether it exists cannot be told")),
            ("may", "s-limited", "/queue/limited.look", "/queue/limited.new", ("ok", "exists; read"), ("ok", "will be created; write allowed")),
            ("may-not", "s-limited", "/queue/stomp-look", "/queue/stomp-new", denied, denied),
            ("may-not-use", "s-limited", "/amq/queue/stomp-look", "/exchange/stomp-look-x/k", denied, denied)):
        ends(name, of, source, sink, found_source, found_sink)
    routes.append({"name": "any", "from": {"broker": "s-tcp", "destination": "/queue/stomp-look", "selector": "a = 1"},
                   "to": {"broker": "a-tcp", "destination": "${key}"}})
    expected["any", "from"] = ("/queue/stomp-look", "refused", "has no selectors")
    expected["any", "to"] = ("${...}", "not checked", "the messages name the destination")

    before = queues(rig)
    path = write(rig, "stomp.yaml", {"brokers": brokers, "routes": routes})
    began = time.monotonic()
    table, report = check(rig, path, 1)
    took = time.monotonic() - began
    problems = []
    for (route, end), (what, result, words) in expected.items():
        got = found(report, route, end)
        if set(got) != {what} or got[what][0] != result or words not in got[what][1]:
            problems.append(f"{route} {end}: not {what}: {result} {words!r}, but {got}")
    assert not problems, "\n".join(problems)
    assert queues(rig) == before, f"made: {queues(rig) - before}"
    for node in (rig.activemq, rig.artemis):
        assert node.size("stomp-never") is None and node.size("stomp-never-2") is None, f"{node.name} has made a queue"
    for queue, count in (("stomp-look", 7), ("stomp-quorum", 3)):
        got = rabbit.drain(queue, count)
        assert len(got) == count and not any(m.redelivered for m in got), f"something was published to {queue}, or consumed"
    for secret in (USER[1], LIMITED[1], "nonsense"):
        assert secret not in table + json.dumps(report), "a password is in it"
    assert "needs configure" in table and "needs read" in table and "needs write" in table, table
    return f"{len(expected)} ends, asked twice in {took:.1f} s; nothing created, published or consumed"
