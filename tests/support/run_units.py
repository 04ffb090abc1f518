#!/usr/bin/python3
"""Run the test programs that need no broker. `N passed, N failed` at the end.

    run_units.py --build DIR [--jobs N] PROGRAM... [--replay FUZZER...]

Most of them wait for timers, and need little of a core: so three a core run side by side, unless told otherwise.

A program of cmocka counts as its test cases (it is asked for TAP); one that dies fails those it did not come to. A fuzz
target, built with tests/fuzz/replay.c, is given all inputs of its corpus and regressions and counts as one case.
"""
import argparse
import concurrent.futures
import glob
import os
import re
import subprocess
import sys
import time

SECONDS = 300  # for one program, also under a sanitizer
RESULT = re.compile(r"^(ok|not ok) \d+(?: - (.*))?$", re.M)
SKIPPED = re.compile(r"^not ok \d+ # SKIP", re.M)  # cmocka's way to say it; each test says why in its source
PLAN = re.compile(r"^1\.\.(\d+)", re.M)
HERE = os.path.dirname(os.path.abspath(__file__))


def run(argv):
    """(exit code or what ended it, output, seconds)"""
    began = time.monotonic()
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=SECONDS, env=dict(os.environ, CMOCKA_MESSAGE_OUTPUT="TAP"))
        return done.returncode, done.stdout.decode("utf-8", "replace"), time.monotonic() - began
    except subprocess.TimeoutExpired as e:
        return f"no end within {SECONDS} s", (e.stdout or b"").decode("utf-8", "replace"), SECONDS
    except OSError as e:
        return str(e), "", 0


def run_program(program):
    """(name, passed, failed, seconds, what to show of a failure: the last lines, which hold the reason, after the names)"""
    code, output, seconds = run([program])
    results = [match.group(1) == "ok" for match in RESULT.finditer(output)]
    planned = sum(int(count) for count in PLAN.findall(output)) - len(SKIPPED.findall(output))
    passed = sum(results)
    failed = max(planned, len(results)) - passed
    if code != 0 and failed == 0 or code == 0 and not results:
        failed += 1  # died outside of a test (a sanitizer's report at exit), or tested nothing
    names = [match.group(0) for match in RESULT.finditer(output) if match.group(1) != "ok"]
    return os.path.basename(program), passed, failed, seconds, "\n".join(output.splitlines()[-50:] + [f"exit: {code}"] + names)


def run_replay(program):
    name = os.path.basename(program)
    folders = [os.path.join(HERE, "..", "fuzz", kind, name.removeprefix("fuzz_")) for kind in ("corpus", "regressions")]
    inputs = [path for folder in folders for path in sorted(glob.glob(os.path.join(folder, "*")))]
    if not inputs:
        return name, 0, 1, 0, f"no inputs in {' or '.join(map(os.path.relpath, folders))}"
    code, output, seconds = run([program, *inputs])
    text = "\n".join(output.splitlines()[-50:] + [f"exit: {code}"])
    return f"{name} ({len(inputs)} inputs)", code == 0, code != 0, seconds, text


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--jobs", type=int, default=3 * os.cpu_count())
    parser.add_argument("--replay", nargs="*", default=[])
    parser.add_argument("programs", nargs="*")
    options = parser.parse_args()
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        jobs = [pool.submit(run_program, p) for p in options.programs] + [pool.submit(run_replay, p) for p in options.replay]
        passed = failed = 0
        for job in jobs:
            name, ok, bad, seconds, text = job.result()
            passed, failed = passed + ok, failed + bad
            print(f"  {'FAIL' if bad else 'ok  '} {seconds:6.2f} s  {name}: {ok:d} passed" + (f", {bad:d} failed" if bad else ""),
                  flush=True)
            if bad:
                print("\n".join("      " + line for line in text.splitlines()), flush=True)
    print(f"unit, {time.monotonic() - began:.0f} s: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
