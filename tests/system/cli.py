"""The command line as scripts use it: exit codes, output, copy, installation."""
import json
import os
import subprocess

from rig.flow import number_of, records


def write(rig, name, text):
    path = os.path.join(rig.folder, name)
    with open(path, "w") as f:
        f.write(text)
    return path


GOOD = """\
brokers:
  k: { connector: kafka, bootstrap_servers: localhost:9092 }
routes:
  - name: one
    from: { broker: k, topic: a }
    to: { broker: k, topic: b }
"""


def story_check_and_friends(rig):
    good = write(rig, "good.yaml", GOOD)
    bad = write(rig, "bad.yaml", GOOD.replace("topic: a", "topik: a").replace("broker: k, topic: b", "broker: q, topic: b"))
    assert rig.run("check", good).returncode == 0
    wrong = rig.run("check", bad)
    assert wrong.returncode == 2, wrong
    assert f"{bad}:5:" in wrong.stderr and f"{bad}:6:" in wrong.stderr, f"both errors in one run: {wrong.stderr}"
    assert "did you mean topic" in wrong.stderr.replace("'", "").replace('"', ""), wrong.stderr
    found = json.loads(rig.run("check", bad, "--json").stdout)
    assert found["version"] == 1 and not found["valid"] and found["errors"] >= 2, found
    assert rig.run("run", bad).returncode == 2
    assert rig.run("check", os.path.join(rig.folder, "none.yaml")).returncode == 2
    assert rig.run("check").returncode == 2
    assert rig.run("frobnicate").returncode == 2
    assert rig.run("help").returncode == 0 and rig.run("--version").stdout.startswith("bailey ")
    names = json.loads(rig.run("connectors", "--json").stdout)
    assert names["version"] == 1
    listed = rig.run("connectors").stdout
    assert all(name in listed for name in ("kafka", "amqp", "generate", "memory")), listed
    assert "bootstrap_servers" in rig.run("connectors", "kafka").stdout
    assert rig.run("connectors", "kafak").returncode == 2
    explained = rig.run("explain", good)
    assert explained.returncode == 0 and "at-least-once" in explained.stdout, explained
    assert "while a refused message waits, the offset of its partition waits" in explained.stdout, "a bound without its limit"
    return "exit codes 0 and 2, errors with file:line:column"


def story_an_order_needs_a_source_and_a_sink_that_keep_it(rig):
    rig.start()

    def check(order, source, sink):
        gateway = rig.gateway({"routes": [{"name": "o", "order": order, "from": source, "to": sink}]}, name="order", start=False)
        return rig.run("check", gateway.file)

    topic, queue = {"broker": "k", "topic": "order"}, {"broker": "r", "queue": "order"}
    assert check("key", topic, queue).returncode == 0
    assert check("partition", topic, dict(topic, partition="source")).returncode == 0
    refused = check("partition", topic, topic)
    assert refused.returncode == 2 and "set partition: source" in refused.stderr, refused
    assert check("key", dict(queue, exclusive=True), topic).returncode == 0
    refused = check("key", queue, topic)
    assert refused.returncode == 2 and "exclusive" in refused.stderr, refused


def story_explain_dedup(rig):
    """What is said with each store and sync; the same as JSON."""
    rig.kafka.create("explain-in", "explain-out")

    def explain(state, *flags, **dedup):
        gateway = rig.gateway({"state": state, "routes": [
            {"name": "e", "lanes": 2, "credit": {"messages": 500}, "from": {"broker": "k", "topic": "explain-in"},
             "to": {"broker": "k", "topic": "explain-out"}, "dedup": {"id": "${key}", **dedup}}]}, name="explain", start=False)
        result = rig.run("explain", gateway.file, *flags)
        assert result.returncode == 0, result
        return result.stdout

    path = os.path.join(rig.folder, "never")
    batch = explain({"store": "rocksdb", "path": path})
    for words in ("once for each id that is recorded", "at most what was sent and not recorded: 1000 messages",
                  "the same as a crash", "remembered for 1d", f"in {path}: ids", "another process that shares the source"):
        assert words in batch, (words, batch)
    assert "another process" not in explain({"store": "rocksdb", "path": path, "processes": "one"})
    assert "recorded or begun in the 100ms before it" in explain({"store": "rocksdb", "path": path, "sync": "100ms"})
    assert "half a minute" in explain({"store": "rocksdb", "path": path, "sync": "none"})
    assert "forgets all ids" in explain({"store": "memory"})
    assert "their ids are not remembered" in explain({"store": "memory"}, on_store_failure="pass")
    route = json.loads(explain({"store": "rocksdb", "path": path}, "--json"))["routes"][0]
    assert route["deduplicated"] and route["duplicates_at_crash"] == 1000 and route["on_disk"] == [path], route
    assert route["dedup"] == {"scope": "route.e", "window_ms": 86400000, "max": 10000000, "durable": True, "sync_ms": 0,
                              "on_store_failure": "stop"}, route
    assert not os.path.exists(path), "explain touched the disk"
    return "crash, power cut, ids, disk and failure for each store and sync; text and JSON"


def story_copy(rig):
    kafka, rabbit = rig.kafka, rig.rabbit
    kafka.create("copy-in", "copy-back")
    rabbit.declare("copy-out")
    kafka.produce("copy-in", records(1000))
    source, middle = f"kafka://{kafka.address}/copy-in", rabbit.url + "?queue=copy-out"
    first = rig.run("copy", source, middle, "--count", 400)
    assert first.returncode == 0, first.stderr
    assert rabbit.count("copy-out") == 400, rabbit.count("copy-out")
    second = rig.run("copy", source, middle, "--idle", "1s")
    assert second.returncode == 0, second.stderr
    assert rabbit.count("copy-out") == 1000, "the second copy does not go on where the first ended"
    back = rig.run("copy", middle, f"kafka://{kafka.address}/copy-back", "--count", 1000)
    assert back.returncode == 0, back.stderr
    assert [number_of(r.value) for r in kafka.consume("copy-back", 1000)] == list(range(1000))
    lost = rig.run("copy", "kafak://x/y", middle)
    assert lost.returncode == 2 and "kafka" in lost.stderr, lost
    return "Kafka to AMQP in two parts, and back: 1,000 in order"


def story_installed(rig):
    """make install puts everything in its place, and the program finds its connectors there."""
    root = os.path.join(rig.folder, "root")
    repo = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    subprocess.run(["make", "-s", "-C", repo, f"BUILD={os.path.relpath(rig.build, repo)}", "install", f"PREFIX={root}/usr"],
                   check=True, stdout=subprocess.DEVNULL, env=env)
    done = subprocess.run([f"{root}/usr/bin/bailey", "connectors"], capture_output=True, text=True, check=True)
    assert "kafka" in done.stdout, done
    assert os.path.exists(f"{root}/usr/include/bailey/connector.h")
    assert os.path.exists(f"{root}/usr/share/bailey/conf/examples/ring.yaml")
    return "bailey finds its connectors below its prefix"
