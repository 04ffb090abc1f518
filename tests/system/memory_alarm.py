"""RabbitMQ's memory alarm with a large backlog: the source is held, memory is flat, other routes keep their rate."""
import time

from rig import assert_nothing_lost, tally, until
from rig.flow import records

BREAKS = True
CREDIT, BACKLOG, RATE = 1000, 60000, 4000
WINDOW = 3  # seconds over which rates are measured


def rate_of(gateway, routes):
    """Messages a second over the window, by route."""
    before, began = gateway.values("bailey_messages_delivered_total"), time.monotonic()
    until(lambda: time.monotonic() - began >= WINDOW, WINDOW + 1, "time stands still")
    after, took = gateway.values("bailey_messages_delivered_total"), time.monotonic() - began
    return {route: (after[route] - before[route]) / took for route in routes}


def story_source_is_held(rig):
    kafka, rabbit = rig.kafka, rig.rabbit
    kafka.create("alarm-in", "alarm-other", "alarm-back")
    rabbit.declare("alarm-out", "alarm-feed")
    others = ["other"]
    gateway = rig.gateway({
        "workers": 1,
        "brokers": {"g": {"connector": "generate"}},
        "routes": [
            {"name": "held", "credit": {"messages": CREDIT},
             "from": {"broker": "k", "topic": "alarm-in"}, "to": {"broker": "r", "queue": "alarm-out"}},
            {"name": "other", "from": {"broker": "g", "rate": RATE, "size": 256},
             "to": {"broker": "k", "topic": "alarm-other"}}]}).wait_ready()
    kafka.produce("alarm-in", records(100, size=1024))
    until(lambda: gateway.metric("bailey_messages_delivered_total", route="held") == 100, 10, "no flow before the alarm")
    normal = rate_of(gateway, others)

    rabbit.memory_alarm(True)
    kafka.produce("alarm-in", records(BACKLOG // 2, size=1024, first=100))
    taken = until(lambda: (gateway.metric("bailey_messages_received_total", route="held") or 0) > 100 and time.monotonic(),
                  10, "nothing was received")
    report = gateway.wait_route("held", lambda r: r["state"] == "held", 5, "the route is not held")
    noticed = time.monotonic() - taken
    assert "blocked" in report["reason"] and ("memory" in report["reason"] or "resources" in report["reason"]), report
    assert noticed <= 1.0, f"/readyz shows the reason {noticed:.2f} s after the first message only"
    assert gateway.ready_report()["ready"] is False

    # What had been fetched when the sink was blocked is given up after 5 s. Memory then, against memory with twice the backlog.
    until(lambda: time.monotonic() - taken > 7, 10, "time stands still", every=0.2)
    rss = gateway.rss_kb()
    kafka.produce("alarm-in", records(BACKLOG - BACKLOG // 2, size=1024, first=100 + BACKLOG // 2))
    during = rate_of(gateway, others)
    later = gateway.rss_kb()
    metrics = gateway.metrics()
    received = metrics["bailey_messages_received_total", frozenset({("route", "held")})]
    unsettled = metrics["bailey_unsettled", frozenset({("route", "held")})]
    assert unsettled <= CREDIT, f"{unsettled} unsettled with a credit of {CREDIT}"
    assert received - 100 <= CREDIT, f"{received - 100} received with a credit of {CREDIT}"
    growth = (later - rss) / rss
    assert abs(growth) <= 0.10, f"RSS went from {rss} to {later} KiB"
    slowed = {r: during[r] / normal[r] for r in others}
    assert min(slowed.values()) >= 0.95, f"other routes slowed down: {normal} before, {during} during the alarm"

    rabbit.memory_alarm(False)
    total = BACKLOG + 100
    until(lambda: gateway.metric("bailey_messages_delivered_total", route="held") >= total, 30,
          lambda: f"the backlog does not flow: {gateway.ready_report()}")
    gateway.wait_ready(5)
    gateway.term()
    result = tally(total, [m.body for m in rabbit.drain("alarm-out")])
    assert_nothing_lost({"held": result})
    assert result.duplicates == 0, result
    return (f"held {BACKLOG // CREDIT} x credit, reason after {noticed * 1000:.0f} ms, RSS {rss} KiB {100 * growth:+.1f} %, "
            f"other route at {100 * min(slowed.values()):.0f} % of its rate")
