#!/usr/bin/python3
"""The ledger of the torture finds what it is there for: of a faultless run that one mistake is made in, it names just that one.
TAP."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from ledger import KEYS, Arrival, Ledger, compose, decipher, id_of, key_of  # noqa: E402

COUNT = 200
HERE, ELSEWHERE = "1.kr", "1.rr"


def arrival(number, producer=HERE, marked=False):
    return Arrival(compose(producer, number), key_of(number), id_of(producer, number), marked)


def faultless():
    """A ledger of COUNT messages, told of half of them on the way and of all at the end, and their arrivals."""
    ledger = Ledger(HERE)
    ledger.write(COUNT)
    for place in range(COUNT):
        ledger.acknowledge(place)
    ledger.audit(COUNT // 2, COUNT // 2 + 10)
    ledger.audit(COUNT, COUNT)
    return ledger, [arrival(n) for n in range(COUNT)]


def insert(ledger, arrivals, place, another):
    arrivals.insert(place, another)
    for audit in ledger.audits:
        audit.high += audit.high > place


def judged(change, has_positions=True, dedup=True):
    """{what: how many}, of what is not as in a faultless run."""
    ledger, arrivals = faultless()
    arrivals = change(ledger, arrivals) or arrivals
    account = ledger.judge(arrivals, has_positions)
    normal = {"messages": COUNT, "arrived": len(arrivals), "examples": account.examples}
    found = {name: value for name, value in vars(account).items() if value != normal.get(name, 0)}
    assert set(account.mistakes(dedup)) == set(found) - {"messages", "duplicates_marked", "overtaken"} - (
        set() if dedup else {"duplicates_unmarked", "duplicates_recorded"}), (account, found)
    assert bool(account.examples) == bool(found.keys() - {"messages", "duplicates_marked"}), account
    return found


# ---- One mistake each. A change works in place, or returns other arrivals.

def nothing(ledger, arrivals):
    pass


def drop(ledger, arrivals):
    del arrivals[70]


def drop_the_last(ledger, arrivals):
    arrivals.pop()
    ledger.audits.pop()


def repeat(ledger, arrivals):
    insert(ledger, arrivals, 61, arrival(60))


def repeat_marked(ledger, arrivals):
    insert(ledger, arrivals, 61, arrival(60, marked=True))


def repeat_when_all_is_done(ledger, arrivals):
    arrivals.append(arrival(150, marked=True))


def repeat_when_it_was_done(ledger, arrivals):
    insert(ledger, arrivals, COUNT // 2 + 10, arrival(50, marked=True))


def send_again_and_keep_both(ledger, arrivals):
    ledger.repeat([50])
    arrivals.append(arrival(50))


def send_again_and_keep_one(ledger, arrivals):
    ledger.repeat([50])


def swap(ledger, arrivals):
    arrivals[20], arrivals[20 + KEYS] = arrivals[20 + KEYS], arrivals[20]


def swap_other_keys(ledger, arrivals):
    arrivals[20], arrivals[21] = arrivals[21], arrivals[20]


def spoil_the_body(ledger, arrivals):
    body = bytearray(arrivals[30].body)
    body[40] ^= 1
    insert(ledger, arrivals, 31, Arrival(bytes(body), key_of(30), id_of(HERE, 30), False))


def cut_the_body(ledger, arrivals):
    insert(ledger, arrivals, 31, Arrival(arrivals[30].body[:-1], key_of(30), id_of(HERE, 30), False))


def spoil_the_only_copy(ledger, arrivals):
    arrivals[30] = Arrival(b"", key_of(30), id_of(HERE, 30), False)


def null_the_body(ledger, arrivals):
    insert(ledger, arrivals, 31, Arrival(None, key_of(30), id_of(HERE, 30), False))


def exchange_the_key(ledger, arrivals):
    arrivals[30].key = key_of(31)


def lose_the_id(ledger, arrivals):
    arrivals[30].id = None


def leak_from_another_route(ledger, arrivals):
    arrivals.append(arrival(30, ELSEWHERE))


def invent(ledger, arrivals):
    arrivals.append(arrival(COUNT + 1))


def settle_early(ledger, arrivals):
    ledger.audits[0].done = COUNT // 2 + 11


def unacknowledged_and_absent(ledger, arrivals):
    ledger.write(1)


def unacknowledged_and_here(ledger, arrivals):
    ledger.write(1)
    arrivals.append(arrival(COUNT))


LOG, QUEUE = True, False
CASES = [
    ("nothing is wrong with a faultless run", nothing, LOG, {}),
    ("nor with one from a queue", nothing, QUEUE, {}),
    ("a dropped record is lost, and its source was told early", drop, LOG, {"lost": 1, "early": 1}),
    ("so it is of a queue", drop, QUEUE, {"lost": 1, "early": 1}),
    ("the last one dropped is lost", drop_the_last, LOG, {"lost": 1}),
    ("a repeated record is a duplicate without a mark", repeat, LOG, {"duplicates_unmarked": 1}),
    ("a marked one is told apart", repeat_marked, LOG, {"duplicates_marked": 1}),
    ("one that comes after all was done is one of a recorded id", repeat_when_all_is_done, LOG,
     {"duplicates_marked": 1, "duplicates_recorded": 1}),
    ("of a queue, too", repeat_when_all_is_done, QUEUE, {"duplicates_marked": 1, "duplicates_recorded": 1}),
    ("one that comes after its position was committed, too", repeat_when_it_was_done, LOG,
     {"duplicates_marked": 1, "duplicates_recorded": 1}),
    ("of a queue that is not known before all is done", repeat_when_it_was_done, QUEUE, {"duplicates_marked": 1}),
    ("a producer's own repetition that passes is a duplicate", send_again_and_keep_both, LOG,
     {"duplicates_unmarked": 1, "duplicates_recorded": 1}),
    ("one that is held back is none", send_again_and_keep_one, LOG, {}),
    ("nor is it missed from a queue", send_again_and_keep_one, QUEUE, {}),
    ("swapped records of one key are out of order", swap, LOG, {"overtaken": 1}),
    ("of two keys they are not", swap_other_keys, LOG, {}),
    ("one flipped bit is corruption", spoil_the_body, LOG, {"corrupted": 1}),
    ("a byte less is, too", cut_the_body, LOG, {"corrupted": 1}),
    ("and a null body", null_the_body, LOG, {"corrupted": 1}),
    ("a spoiled only copy is a loss as well", spoil_the_only_copy, LOG, {"corrupted": 1, "lost": 1, "early": 1}),
    ("another's key is corruption", exchange_the_key, LOG, {"corrupted": 1}),
    ("a missing id is, too", lose_the_id, LOG, {"corrupted": 1}),
    ("a message of another route is invented", leak_from_another_route, LOG, {"invented": 1}),
    ("one that nobody sent is, too", invent, LOG, {"invented": 1}),
    ("a source that is told before the sink has it is told early", settle_early, LOG, {"early": 1}),
    ("so it is of a queue: told of more than the sink has", settle_early, QUEUE, {"early": 1}),
    ("what the broker did not acknowledge need not arrive", unacknowledged_and_absent, LOG, {}),
    ("but may", unacknowledged_and_here, LOG, {}),
]


def bodies_come_back():
    for number in (0, 1, KEYS, 10**9):
        assert decipher(compose("7.x-y", number)) == ("7.x-y", number)
    for spoiled in (None, b"", b"12345678", compose("a", 1)[1:], compose("a", 1) + b"0"):
        assert decipher(spoiled) is None


def without_dedup_duplicates_are_no_mistakes():
    judged(repeat, dedup=False)
    judged(repeat_when_all_is_done, dedup=False)


def main():
    def case(change, kind, expected):
        def check():
            found = judged(change, kind)
            assert found == expected, f"found {found}, expected {expected}"
        return check
    tests = [(name, case(change, kind, expected)) for name, change, kind, expected in CASES]
    tests += [("a body is understood again, and only unspoiled", bodies_come_back),
              ("without deduplication a duplicate is no mistake", without_dedup_duplicates_are_no_mistakes)]
    failed = 0
    print(f"1..{len(tests)}")
    for number, (name, check) in enumerate(tests, 1):
        try:
            check()
            print(f"ok {number} - {name}")
        except Exception as e:
            failed += 1
            print(f"not ok {number} - {name}: {e!r}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
