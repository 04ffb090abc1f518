#!/usr/bin/python3
"""make torture: kill bailey while it carries messages between real brokers, and count what arrived.

A run has the crash points of gateway/base/crash.def, each once on each route, and --kills at random times. Run n has seed
SEED + n - 1. Exit code 1 if a run lost, invented or spoiled a message, told a source too early, with deduplication let a
duplicate or a further dead letter pass without a mark or one of a recorded id, with an order let a message overtake, with poison
has other dead letters than that or does not replay them as they were; what is left of such a run is kept.
"""
import argparse
import json
import os
import shutil
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "support"), HERE]

from ledger import Account  # noqa: E402
from rig import Rig  # noqa: E402
from torturer import ROUTES, Run, choices, knows_dedup, needs  # noqa: E402

COLUMNS = (("messages", "messages"), ("lost", "lost"), ("early", "early"), ("invented", "invented"), ("corrupted", "corrupted"),
           ("duplicates_marked", "dup marked"), ("duplicates_unmarked", "unmarked"), ("duplicates_recorded", "of recorded"),
           ("overtaken", "out of order"), ("poison", "poison"), ("dead", "dead letters"), ("dead_repeated", "repeated"),
           ("dead_unmarked", "unmarked"), ("dead_unexplained", "unexplained"), ("misjudged", "misjudged"),
           ("replayed", "replayed"), ("replay_wrong", "wrongly"))
POISONED = COLUMNS[-8:]  # tells nothing of runs without poison


class Sum:
    """Of all runs, by route: its Account, the kills that hit it, the longest way back."""

    def __init__(self, routes):
        self.runs, self.kills, self.counted, self.points = 0, 0, 0, {}
        self.accounts = {route: Account() for route in routes}
        self.hit, self.recovery = dict.fromkeys(routes, 0), dict.fromkeys(routes, 0.0)

    def add(self, run):
        self.runs += 1
        for kill in run.kills:
            self.kills += 1
            self.counted += kill.counts
            where = kill.point or "random time"
            self.points[where] = self.points.get(where, 0) + kill.counts
            for route in kill.doubts:
                self.hit[route] += 1
            for route, seconds in kill.recovered.items():
                self.recovery[route] = max(self.recovery[route], seconds)
        for route, account in run.accounts.items():
            self.accounts[route].add(account)

    def as_json(self, options, dedup, failed, seconds):
        names = {letters: name for name, letters in ROUTES.items()}
        return {"version": 1, "seed": options.seed, "runs": self.runs, "failed": failed, "dedup": dedup,
                "order": options.order, "poison_percent": options.poison,
                "seconds": round(seconds, 1), "kills": self.kills, "kills_counted": self.counted,
                "kills_counted_by_point": self.points,
                "routes": [{"route": names[route], "kills_counted": self.hit[route],
                            **{name: getattr(account, name) for name, _ in COLUMNS},
                            "recovery_seconds": round(self.recovery[route], 2)} for route, account in self.accounts.items()]}


def table(result):
    columns = [c for c in COLUMNS if result["poison_percent"] or c not in POISONED]
    heads = ["route", "kills", *(head for _, head in columns), "recovery"]
    rows = [[r["route"], f"{r['kills_counted']:,}", *(f"{r[name]:,}" for name, _ in columns), f"{r['recovery_seconds']:.2f} s"]
            for r in result["routes"]]
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    lines = ["  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths)))
             for row in [heads, *rows]]
    points = ", ".join(f"{where} {count}" for where, count in sorted(result["kills_counted_by_point"].items()))
    lines.append(f"{result['runs']} runs, {result['kills']} kills, {result['kills_counted']} counted ({points}); "
                 f"deduplication {'on' if result['dedup'] else 'off'}, order {result['order']}, poison {result['poison_percent']:g} %")
    return "\n".join(lines)


def carry(rig, run, total):
    """[what was wrong]"""
    problems = []
    try:
        total.add(run.carry())
        problems = run.mistakes()
    except Exception as e:  # the gateway did what it must not, or the rig did not what it should
        problems = traceback.format_exception(e)[-2:]
    try:
        rig.finish()
    except AssertionError as e:
        problems.append(str(e))
    return problems


def one_run(rig, options, seed, dedup, total):
    """Has it passed?"""
    rig.begin(f"run-{seed}", needs(options.routes))
    run = Run(rig, seed, options.routes, options.kills, options.rate, dedup, options.order, options.poison)
    began, kept = time.monotonic(), os.path.join(options.evidence, str(seed))
    problems = carry(rig, run, total)
    lines = [f"  {'FAIL' if problems else 'ok  '} {time.monotonic() - began:5.1f} s  {run}"]
    said = problems + run.remarks()
    if said:
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(rig.folder, kept)
        said += [f"kept: {kept}", f"again: {run.again()}"]
        lines += [f"       {line}" for problem in said for line in problem.splitlines()]
    else:
        run.clear()
    print("\n".join(lines), file=options.out, flush=True)
    return not problems


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--route", choices=[*choices()], default="all", help="all: in one process; four: those without STOMP")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--kills", type=int, default=20, help="at random times, a run")
    parser.add_argument("--rate", type=int, default=400, help="messages a second and route")
    parser.add_argument("--dedup", choices=["on", "off", "auto"], default="auto", help="auto: if this bailey knows it")
    parser.add_argument("--order", choices=["none", "key"], default="none", help="of the routes")
    parser.add_argument("--poison", type=float, default=0, help="percent of the messages, which the sinks refuse for good")
    parser.add_argument("--json", action="store_true", help="the result as JSON on standard output")
    options = parser.parse_args()
    options.routes = choices()[options.route]
    options.evidence = os.path.join(os.path.abspath(options.build), "torture")
    options.out = sys.stderr if options.json else sys.stdout
    return options


def main():
    options = parse()
    failed, began = 0, time.monotonic()
    with Rig(options.build, "torture") as rig:
        rig.start()
        dedup = knows_dedup(rig) if options.dedup == "auto" else options.dedup == "on"
        total, began = Sum(options.routes), time.monotonic()
        for seed in range(options.seed, options.seed + options.runs):
            failed += not one_run(rig, options, seed, dedup, total)
    result = total.as_json(options, dedup, failed, time.monotonic() - began)
    print(json.dumps(result) if options.json else f"\n{table(result)}")
    print(f"torture, {result['seconds']:.0f} s: {options.runs - failed} passed, {failed} failed", file=options.out)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
