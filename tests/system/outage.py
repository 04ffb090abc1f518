"""A sink that is away refuses nothing: `attempts` are not used up, memory does not grow, and all is delivered afterwards."""
import time

from rig import Flow, assert_nothing_lost, until

BREAKS = True
RETRY = {"attempts": 3, "backoff": "100ms..200ms"}
AWAY = 5.0      # seconds: many times what three attempts take
GROWTH = 8 << 10  # KiB that memory may grow by while messages wait


def story_of_a_sink(rig):
    flow = Flow(rig, "out", ("kr",), retry=RETRY, order="key", credit={"messages": 2000},
                dead_letter={"broker": "k", "topic": "out-dead"})
    rig.kafka.create("out-dead")
    gateway = rig.gateway({"routes": flow.routes}).wait_ready()
    flow.start_flow(1000)
    until(lambda: flow.all_deliver(gateway, 1000), 30, "nothing flows")
    rig.rabbit.process.kill()
    until(lambda: (gateway.route("kr") or {}).get("state") != "running", 30, "nobody sees that the sink is gone")
    before, began = gateway.rss_kb(), time.monotonic()
    until(lambda: time.monotonic() - began >= AWAY, 2 * AWAY, "time stands still")
    grown = gateway.rss_kb() - before
    assert gateway.metric("bailey_messages_dead_lettered_total", route="kr") == 0
    rig.rabbit.start()
    flow.finish_flow()
    flow.wait_settled(gateway)
    assert gateway.metric("bailey_messages_dead_lettered_total", route="kr") == 0
    gateway.term()
    tallies = flow.tallies()
    assert_nothing_lost(tallies)
    assert rig.kafka.count("out-dead") == 0
    assert grown < GROWTH, f"memory grew by {grown} KiB while the sink was away"
    return f"away for {AWAY:g} s: {tallies['kr']}; none dead; memory {grown:+d} KiB"
