"""One process that runs every direction of Kafka, AMQP and STOMP, with STOMP on three brokers, is killed with SIGKILL."""
from kill_gateway import killed_three_times

from rig import Flow

NEEDS = ("activemq", "artemis", "rabbitmq")
RATE = 200       # messages a second on each of 19 routes
CREDIT = 1000    # or the routes that are ahead flood a broker with their thousands, and the others starve
LATENCY = 0.03   # seconds each way: with so many routes, confirms that come at once leave some of them without doubt at any instant
RESUME_SECONDS = 16  # Artemis may take 10 s to close a channel whose client died, and serves no other of the same thread meanwhile
ROUTES = ("kk", "kr", "rk", "rr", *(name.replace("x", broker) for broker in "ats" for name in ("kx", "rx", "xk", "xr", "xx")))


def story_every_direction_killed_three_times(rig):
    proxies, brokers = rig.through_proxies("rats")
    for proxy in proxies.values():
        proxy.latency = LATENCY
    flow = Flow(rig, "skill", ROUTES, credit={"messages": CREDIT})
    for route in flow.routes:
        if route["to"]["broker"] == "k":  # it tells clients its own address: no proxy
            route["to"]["linger"] = f"{int(2000 * LATENCY)}ms"
    return killed_three_times(rig, flow, RATE, warm=50, brokers=brokers, resume_seconds=RESUME_SECONDS,
                              mend=rig.artemis.restart)
