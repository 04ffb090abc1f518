#!/usr/bin/python3
"""Each mutant beside this program must be found by one of the first 20,000 seeds. TAP; a mutant that survives fails.

A mutant is the simulation with one source changed by a file of tests/simulation/mutations. It counts as found when the ledger ends a
run, when an assert does, or when it dies.
"""
import concurrent.futures
import os
import subprocess
import sys

SEEDS = 20000
SECONDS = 100
FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "mutants")


def hunt(name):
    """(found, what to say of it)"""
    argv = [os.path.join(FOLDER, name), "--seed", "1", "--runs", str(SEEDS)]
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return False, f"no end within {SECONDS} s"
    text = done.stdout.decode("utf-8", "replace")
    why = next((line for line in text.splitlines() if line.startswith("seed ")), f"exit {done.returncode}")
    return done.returncode == 1 or done.returncode < 0, "survives" if done.returncode == 0 else why


def main():
    names = sorted(name for name in os.listdir(FOLDER) if "." not in name)
    found = 0
    print(f"1..{len(names)}")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, (name, (ok, why)) in enumerate(zip(names, pool.map(hunt, names)), 1):
            print(f"{'ok' if ok else 'not ok'} {number} - {name}: {why}", flush=True)
            found += ok
    return 0 if names and found == len(names) else 1


if __name__ == "__main__":
    sys.exit(main())
