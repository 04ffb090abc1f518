"""bailey check --connect: what was found, what is missing, the commands that give it; and nothing is created or consumed."""
import glob
import json
import os
import shlex
import socket
import subprocess
import time

from rig.flow import messages, records
from rig.kafka import USERS

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
