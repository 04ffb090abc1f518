"""The four directions of Kafka and AMQP in one process, killed at each crash point once on each route and at random times: make torture, briefly."""
import os
import sys
import time

from rig.gateway import run_command

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "torture"))

from torturer import GROUPS, Run, crash_points, knows_dedup, program  # noqa: E402

IDLE = True
RANDOM_KILLS = 5


def story_unknown_point(rig):
    """A test that kills nothing must not pass."""
    for crash in ("after_sent:1", "after_send", "after_send:0", "after_send:1x", "after_send:1@"):
        done = run_command(program(rig), "--version", env={"BAILEY_CRASH": crash})
        assert done.returncode == 2 and all(point in done.stderr for point in crash_points(True)), f"{crash}: {done}"
    done = rig.run("--version", env={"BAILEY_CRASH": "after_sent:1"})
    assert done.returncode == 0 and not done.stderr, f"the usual build has crash points: {done}"


def torture(rig, kills, **kinds):
    run = Run(rig, int(time.time()), GROUPS["four"], kills, dedup=knows_dedup(rig), **kinds).carry()
    mistakes = run.mistakes()
    assert not mistakes, f"{'; '.join(mistakes)}\n{run.again()}"
    run.clear()
    slowest = max(seconds for kill in run.kills for seconds in kill.recovered.values())
    duplicates = ", ".join(f"{route} {account.duplicates}" for route, account in run.accounts.items())
    return run, f"{run}; 0 lost; duplicates: {duplicates}; back after {slowest:.1f} s at most"


def story_four_directions(rig):
    return torture(rig, RANDOM_KILLS)[1]


def story_order_and_poison(rig):
    run, said = torture(rig, 0, order="key", poison=1)
    accounts = run.accounts.values()
    dead, replayed = (sum(getattr(account, name) for account in accounts) for name in ("dead", "replayed"))
    assert dead > 0 and replayed > 0, f"there was no poison: {said}"
    return f"{said}; 0 out of order; {dead} dead letters, {replayed} of them replayed as they were"
