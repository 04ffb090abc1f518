"""What an idle gateway costs: memory of each kind of route, a thousand routes, and the time to check a large file."""
import time

from rig import until

NEEDS = ("activemq",)

def over_tls(rig):
    """Those brokers, r-tls and a-tls."""
    tls = {"ca": f"{rig.certificates()}/ca.crt"}
    return {"r-tls": {"connector": "amqp", "url": f"amqps://guest:guest@localhost:{rig.rabbit.ssl_port}/%2f", "tls": tls},
            "a-tls": dict(rig.activemq.broker(), url=f"stomp+ssl://localhost:{rig.activemq.stomps_port}", tls=tls)}


def idle_rss(rig, name, routes):
    """VmRSS in KiB when all routes have been running for a second."""
    gateway = rig.gateway({"brokers": over_tls(rig), "routes": routes}, name).wait_ready()
    began = time.monotonic()
    until(lambda: time.monotonic() - began > 1, 2, "time stands still")
    rss = gateway.rss_kb()
    gateway.term()
    return rss


def story_idle_memory(rig):
    rig.kafka.create("idle-in", "idle-out")
    rig.rabbit.declare("idle-in", "idle-out")
    k_in, k_out = {"broker": "k", "topic": "idle-in"}, {"broker": "k", "topic": "idle-out"}
    r_in, r_out = {"broker": "r", "queue": "idle-in"}, {"broker": "r", "queue": "idle-out"}
    a_in, a_out = {"broker": "a", "destination": "/queue/idle-in"}, {"broker": "a", "destination": "/queue/idle-out"}
    limits = {"AMQP to AMQP": (r_in, r_out, 12), "Kafka to Kafka": (k_in, k_out, 24), "Kafka to AMQP": (k_in, r_out, 24),
              "AMQP to Kafka": (r_in, k_out, 24), "AMQP to STOMP": (r_in, a_out, 12), "STOMP to AMQP": (a_in, r_out, 12),
              "AMQP to STOMP over TLS": (dict(r_in, broker="r-tls"), dict(a_out, broker="a-tls"), 12)}
    figures = {}
    for name, (source, sink, limit) in limits.items():
        figures[name] = idle_rss(rig, name.lower().replace(" ", "-"), [{"name": "idle", "from": source, "to": sink}]) / 1024
    over = {name: f"{figures[name]:.1f} MB, at most {limits[name][2]}" for name in limits if figures[name] > limits[name][2]}
    assert not over, over
    return "VmRSS idle: " + ", ".join(f"{name} {mb:.1f} MB" for name, mb in figures.items())


def story_thousand_idle_routes(rig):
    names = [f"many-{i}" for i in range(1000)]
    rig.rabbit.declare("many-out", *names, durable=False)
    routes = [{"name": name, "from": {"broker": "r", "queue": name}, "to": {"broker": "r", "queue": "many-out"}}
              for name in names]
    gateway = rig.gateway({"routes": routes})
    began = time.monotonic()
    gateway.wait_ready(60)
    started = time.monotonic() - began
    began, cpu = time.monotonic(), gateway.process.cpu_seconds()
    until(lambda: time.monotonic() - began > 6, 7, "time stands still", every=0.5)
    share = (gateway.process.cpu_seconds() - cpu) / (time.monotonic() - began)
    rss = gateway.rss_kb() / 1024
    gateway.term()
    rig.rabbit.delete("many-out", *names)
    assert rss <= 400, f"{rss:.0f} MB with 1,000 idle routes"
    assert share <= 0.01, f"{100 * share:.1f} % of a core with 1,000 idle routes"
    return f"{rss:.1f} MB, {100 * share:.2f} % of a core, all running after {started:.1f} s"


def story_check_is_quick(rig):
    brokers = "brokers:\n  k: { connector: kafka, bootstrap_servers: localhost:9092 }\n"
    brokers += "  r: { connector: amqp, url: \"amqp://localhost/%2f\" }\nroutes:\n"
    text = brokers + "".join(f"  - name: r{i}\n    from: {{ broker: k, topic: t{i} }}\n"
                             f"    to: {{ broker: r, exchange: e{i}, routing_key: \"${{key}}\" }}\n" for i in range(100))
    path = f"{rig.folder}/hundred.yaml"
    with open(path, "w") as f:
        f.write(text)
    times = []
    for _ in range(7):
        began = time.monotonic()
        done = rig.run("check", path)
        times.append(time.monotonic() - began)
        assert done.returncode == 0, done.stderr
    assert min(times) < 0.05, f"check of 100 routes took {1000 * min(times):.0f} ms"
    return f"check of 100 routes: {1000 * min(times):.0f} ms"
