"""Wrong passwords, names and addresses at run time: one clear event each, readiness false, no password anywhere."""
import json

from rig import Message, Record, until
from rig.kafka import USERS

SECRET = "s3cr3t-Passw0rd"


def story_every_kind_of_trouble(rig):
    kafka, rabbit = rig.kafka, rig.rabbit
    kafka.create("bad-in", "bad-out")
    rabbit.declare("bad-in", "bad-out")
    closed = rig.free_port()
    sasl = {"mechanism": "PLAIN", "username": "admin", "password": SECRET}
    brokers = {
        "amqp-password": {"connector": "amqp", "url": f"amqp://guest:{SECRET}@127.0.0.1:{rabbit.port}/%2f"},
        "amqp-refused": {"connector": "amqp", "url": f"amqp://guest:{SECRET}@127.0.0.1:{closed}/%2f"},
        "amqp-vhost": {"connector": "amqp", "url": f"amqp://guest:guest@127.0.0.1:{rabbit.port}/nowhere"},
        "kafka-password": {"connector": "kafka", "bootstrap_servers": f"127.0.0.1:{kafka.sasl_port}", "sasl": sasl},
        "kafka-refused": {"connector": "kafka", "bootstrap_servers": f"127.0.0.1:{closed}"},
    }
    amqp_address, closed_address = f"127.0.0.1:{rabbit.port}", f"127.0.0.1:{closed}"
    # route: (its source, what /readyz or the log must say about it)
    trouble = {
        "amqp-password": ({"broker": "amqp-password", "queue": "bad-in"}, ["amqp-password", amqp_address]),
        "amqp-refused": ({"broker": "amqp-refused", "queue": "bad-in"}, ["amqp-refused", closed_address, "refused"]),
        "amqp-vhost": ({"broker": "amqp-vhost", "queue": "bad-in"}, ["amqp-vhost", "nowhere"]),
        "kafka-password": ({"broker": "kafka-password", "topic": "bad-in"}, ["kafka-password", f"127.0.0.1:{kafka.sasl_port}"]),
        "kafka-refused": ({"broker": "kafka-refused", "topic": "bad-in"}, ["kafka-refused", closed_address]),
        "no-queue": ({"broker": "r", "queue": "no-such-queue"}, ["no-such-queue"]),
        "no-topic": ({"broker": "k", "topic": "no-such-topic"}, ["no-such-topic"]),
    }
    routes = [{"name": name, "from": source, "to": {"broker": "k", "topic": "bad-out"}}
              for name, (source, _) in trouble.items()]
    routes.append({"name": "no-exchange", "from": {"broker": "r", "queue": "bad-in"},
                   "to": {"broker": "r", "exchange": "no-such-exchange"}})
    routes.append({"name": "good", "from": {"broker": "k", "topic": "bad-in"}, "to": {"broker": "r", "queue": "bad-out"}})
    trouble["no-exchange"] = (None, ["no-such-exchange"])
    gateway = rig.gateway({"brokers": brokers, "routes": routes})

    kafka.produce("bad-in", [Record(b"k", b"v")])
    until(lambda: gateway.metric("bailey_messages_delivered_total", route="good") == 1, 20,
          lambda: f"the good route does not flow: {gateway.ready_report()}\n{gateway.process.tail()}")
    reasons = {}
    for name in trouble:
        report = gateway.wait_route(name, lambda r: r["state"] != "running" and r["reason"], 20, f"{name} has no reason")
        reasons[name] = report["reason"]
    assert gateway.ready_report()["ready"] is False
    page, metrics = gateway.get("/readyz")[1], gateway.get("/metrics")[1]

    # What does not exist at first may come: it is tried again, and the route runs without a restart.
    rabbit.declare("no-such-queue")
    kafka.create("no-such-topic")
    for name in ("no-queue", "no-topic"):
        gateway.wait_route(name, lambda r: r["state"] == "running", 35, f"{name} is not tried again")
    gateway.term()

    output = gateway.output()
    for name, (_, words) in trouble.items():
        lines = [line for line in output.splitlines() if all(word in line for word in words)]
        assert lines, f"{name}: no event has all of {words}; the reason is {reasons[name]!r}; the log:\n{output[-6000:]}"
    explained = rig.run("explain", gateway.file)
    explained_json = rig.run("explain", gateway.file, "--json")
    assert explained.returncode == 0, explained.stderr
    json.loads(explained_json.stdout)
    for what, text in {"the log": output, "/readyz": page, "/metrics": metrics, "explain": explained.stdout,
                       "explain --json": explained_json.stdout + explained_json.stderr}.items():
        assert SECRET not in text, f"the password is in {what}"
    return f"{len(trouble)} routes in trouble, {len(output.splitlines())} lines of log, e.g. {reasons['amqp-password']!r}"


def story_hostile_messages(rig):
    """Reserved names and odd properties from outside change nothing but themselves."""
    import pika
    rig.rabbit.declare("odd-in", "odd-out", "odd-victim")
    gateway = rig.gateway({"routes": [{"name": "odd", "from": {"broker": "r", "queue": "odd-in"},
                                       "to": {"broker": "r", "queue": "odd-out"}}]}).wait_ready()
    nested = []
    for _ in range(40):
        nested = [nested]
    odd = [{"CC": ["odd-victim"]}, {"BCC": ["odd-victim"]}, {"bailey-null": "text"}, {"bailey-key": 5},
           {"bailey-h": "x"}, {"bailey-hops": 10**6}, {"bailey-ts": -1}, {"": "empty name"}, {"x" * 255: "long name"},
           {"deep": nested}, {f"n{i}": i for i in range(5000)}, {"bailey-types": "\x00\x01"}]
    # a producer's own CC is followed by its broker when it publishes: that copy is not ours
    rig.rabbit.publish("odd-in", [Message(b"%d" % i, pika.BasicProperties(headers=h)) for i, h in enumerate(odd)])
    until(lambda: gateway.metric("bailey_messages_delivered_total", route="odd") == len(odd), 15,
          lambda: f"stuck: {gateway.ready_report()}\n{gateway.process.tail()}")
    gateway.term()
    got = rig.rabbit.drain("odd-out", len(odd))
    assert [m.body for m in got] == [b"%d" % i for i in range(len(odd))]
    copies = len(rig.rabbit.drain("odd-victim"))
    assert copies == 2, f"{copies} copies: CC was followed again"  # the two that the producer itself caused
    assert USERS  # keeps the import honest: the broker has users, the routes above use none of their passwords
    return f"{len(odd)} odd messages passed in order"
