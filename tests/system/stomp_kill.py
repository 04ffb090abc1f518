"""One process that runs every direction of Kafka, AMQP and STOMP, with STOMP on three brokers, is killed with SIGKILL."""
from kill_gateway import killed_three_times

from rig import Flow

NEEDS = ("activemq", "artemis", "rabbitmq")
RATE = 400  # on each of 19 routes: more than the brokers and the judges carry on two cores, so that all is always in doubt
ROUTES = ("kk", "kr", "rk", "rr", *(name.replace("x", broker) for broker in "ats" for name in ("kx", "rx", "xk", "xr", "xx")))


def story_every_direction_killed_three_times(rig):
    return killed_three_times(rig, Flow(rig, "skill", ROUTES), RATE, warm=100)
