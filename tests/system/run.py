#!/usr/bin/python3
"""Run the system tests: stories on real brokers. One line a story, `N passed, N failed` at the end.

    run.py --build build/release [STORY...]     a story is a file of this folder, or FILE.FUNCTION

Each file's functions story_*() take a Rig. Three tracks run side by side, each with brokers of its own: files with
BREAKS = True kill and stop brokers, the others do not (those with LONG = True run in the same track, for balance). Files with
IDLE = True have the third: those that mostly wait, and some for balance. Kafka and RabbitMQ run always; NEEDS = ("activemq", "artemis",
"rabbitmq") names those whose STOMP a file uses, and they are `brokers:` a, t and s of its configurations then. A file with ON_DEMAND = True runs only when it is named.
"""
import argparse
import importlib
import multiprocessing
import os
import queue
import shutil
import signal
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "support"), HERE]

from rig import Rig  # noqa: E402

STORY_SECONDS = 240


class TooLong(Exception):
    pass


def too_long(*_):
    raise TooLong(f"longer than {STORY_SECONDS} s")


def files():
    return sorted(f[:-3] for f in os.listdir(HERE) if f.endswith(".py") and f != "run.py")


def stories_of(name):
    """[(name, function)] of one file, in its order."""
    module = importlib.import_module(name)
    return [(f"{name}.{attribute[len('story_'):]}", function) for attribute, function in vars(module).items()
            if attribute.startswith("story_")]


def track_of(module):
    if getattr(module, "IDLE", False):
        return "idle"
    return "storm" if getattr(module, "BREAKS", False) or getattr(module, "LONG", False) else "calm"


def chosen(wanted):
    """{track: [(name, function)]}"""
    tracks = {"calm": [], "storm": [], "idle": []}
    for name in files():
        module = importlib.import_module(name)
        for story, function in stories_of(name):
            named = name in wanted or story in wanted
            if named or (not wanted and not getattr(module, "ON_DEMAND", False)):
                tracks[track_of(module)].append((story, function))
    return {track: stories for track, stories in tracks.items() if stories}


def run_story(rig, name, function):
    """(passed, what to say)"""
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(STORY_SECONDS)
    try:
        rig.begin(name, getattr(sys.modules[function.__module__], "NEEDS", ()))
        figures = function(rig)
        rig.finish()
        return True, figures or ""
    except Exception as e:  # a story fails by any of them
        failure = "".join(traceback.format_exception(type(e), e, e.__traceback__)[-3:])
        return False, f"{e}\n{failure}"
    finally:
        signal.alarm(0)
        try:
            rig.finish()
        except AssertionError:
            pass


def run_track(track, names, build, logs, results):
    passed_all = True
    try:
        with Rig(build, track) as rig:
            rig.start()
            for name, function in names:
                began = time.monotonic()
                passed, text = run_story(rig, name, function)
                passed_all &= passed
                if not passed:
                    keep_logs(rig, name, logs)
                results.put((name, passed, time.monotonic() - began, text))
                rig.heal()
            if not passed_all:
                for broker in rig.running.values():
                    shutil.copy(broker.process.log, os.path.join(logs, f"{track}-{broker.process.name}.log"))
    except Exception as e:
        results.put((f"brokers of the {track} track", False, 0, f"{e}\n{traceback.format_exc()}"))
    results.put(None)


def keep_logs(rig, name, logs):
    target = os.path.join(logs, name)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(rig.folder, target, ignore=shutil.ignore_patterns("*.records"))


def show(name, passed, seconds, text):
    first, _, rest = text.partition("\n")
    print(f"  {'ok  ' if passed else 'FAIL'} {seconds:6.1f} s  {name}{': ' + first if first else ''}", flush=True)
    if not passed and rest:
        print("\n".join("      " + line for line in rest.splitlines()), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("stories", nargs="*")
    options = parser.parse_args()
    tracks = chosen(set(options.stories))
    if options.list:
        print("\n".join(name for stories in tracks.values() for name, _ in stories))
        return 0
    known = {story for name in files() for story, _ in stories_of(name)} | set(files())
    unknown = set(options.stories) - known
    if unknown or not tracks:
        print(f"no such story: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2

    logs = os.path.join(os.path.abspath(options.build), "logs")
    shutil.rmtree(logs, ignore_errors=True)
    os.makedirs(logs)
    results = multiprocessing.Queue()
    children = [multiprocessing.Process(target=run_track, args=(track, stories, options.build, logs, results))
                for track, stories in tracks.items()]
    began = time.monotonic()
    for child in children:
        child.start()
    passed = failed = 0
    running = len(children)
    while running:
        try:
            result = results.get(timeout=5)
        except queue.Empty:
            if not any(child.is_alive() for child in children):
                print("  FAIL a track has died")
                failed += 1
                break
            continue
        if result is None:
            running -= 1
            continue
        show(*result)
        passed, failed = passed + result[1], failed + (not result[1])
    for child in children:
        child.join()
    if failed:
        print(f"logs: {logs}")
    print(f"system, {time.monotonic() - began:.0f} s: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
