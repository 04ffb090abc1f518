#!/usr/bin/python3
"""The ledger of the torture finds what it is there for: of a faultless run that one mistake is made in, it names just that one.
TAP."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from ledger import KEYS, Account, Arrival, Ledger, Poison, compose, decipher, id_of, key_of  # noqa: E402

COUNT = 200
HERE, ELSEWHERE = "1.kr", "1.rr"
POISON = Poison(percent=10, bulk=1000)


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
    require_mistakes(account, found, dedup)
    return found


def require_mistakes(account, found, dedup=True):
    """What is found is a mistake, and told of, unless it may be."""
    may_be = {"messages", "duplicates_marked", "dead", "dead_repeated", "poison", "replayed"}
    strict = set() if dedup else {"duplicates_unmarked", "duplicates_recorded", "dead_unmarked"}
    assert set(account.mistakes(dedup, ordered=True)) == set(found) - may_be - strict, (account, found)
    assert set(account.mistakes(dedup)) == set(found) - may_be - strict - {"overtaken"}, (account, found)
    assert bool(account.examples) == bool(found.keys() - may_be), account


# ---- With poison

def letter(number, marked=False, name=None):
    return Arrival(compose(HERE, number, POISON.bulk), key_of(number), id_of(HERE, number), marked, name or f"letter-{number}")


def faultless_with_poison():
    """The same with dead letters: (ledger, arrivals, letters)."""
    ledger, arrivals = faultless()
    ledger.poison = POISON
    poison = [n for n in range(COUNT) if ledger.is_poison(n)]
    assert 5 < len(poison) < COUNT // 5
    for audit in ledger.audits:
        audit.dead = sum(n < audit.high for n in poison)
        audit.high -= audit.dead
    return ledger, [a for n, a in enumerate(arrivals) if n not in poison], [letter(n) for n in poison]


def judged_with_poison(change, has_positions=True):
    """As judged(); a change gets the dead letters, too."""
    ledger, arrivals, letters = faultless_with_poison()
    count = len(letters)
    change(ledger, arrivals, letters)
    account = ledger.judge(arrivals, has_positions, letters)
    normal = {"messages": COUNT, "arrived": len(arrivals), "poison": count, "dead": count, "examples": account.examples}
    found = {name: value - normal.get(name, 0) if name in ("poison", "dead") else value
             for name, value in vars(account).items() if value != normal.get(name, 0)}
    require_mistakes(account, found)
    return found


def number_of(arrival):
    return decipher(arrival.body)[1]


def all_as_it_must_be(ledger, arrivals, letters):
    pass


def drop_a_letter(ledger, arrivals, letters):
    del letters[3]


def drop_a_healthy_one(ledger, arrivals, letters):
    del arrivals[30]


def insert_letter(ledger, letters, place, another):
    letters.insert(place, another)
    for audit in ledger.audits:
        audit.dead += audit.dead > place


def repeat_a_letter(ledger, arrivals, letters):
    insert_letter(ledger, letters, 4, letter(number_of(letters[3])))


def repeat_a_letter_marked(ledger, arrivals, letters):
    insert_letter(ledger, letters, 4, letter(number_of(letters[3]), marked=True, name="another"))


def repeat_a_letter_under_another_id(ledger, arrivals, letters):
    insert_letter(ledger, letters, 4, letter(number_of(letters[3]), name="another"))


def repeat_a_letter_when_all_is_done(ledger, arrivals, letters):
    letters.append(letter(number_of(letters[3])))


def share_a_letters_id(ledger, arrivals, letters):
    letters[4].letter = letters[3].letter


def lose_a_letters_id(ledger, arrivals, letters):
    letters[3].letter = None


def spoil_a_letter(ledger, arrivals, letters):
    body = bytearray(letters[3].body)
    body[900] ^= 1
    insert_letter(ledger, letters, 4, Arrival(bytes(body), letters[3].key, letters[3].id, False, letters[3].letter))


def slim_a_letter(ledger, arrivals, letters):
    letters[3].body = compose(HERE, number_of(letters[3]))


def exchange_a_letters_key(ledger, arrivals, letters):
    letters[3].key = key_of(number_of(letters[3]) + 1)


def deliver_poison(ledger, arrivals, letters):
    arrivals.append(Arrival(letters[3].body, letters[3].key, letters[3].id, False))


def deliver_poison_only(ledger, arrivals, letters):
    deliver_poison(ledger, arrivals, letters)
    del letters[3]
    ledger.audits.clear()


def bury_a_healthy_one(ledger, arrivals, letters):
    healthy = arrivals.pop()
    letters.append(Arrival(healthy.body, healthy.key, healthy.id, False, "healthy"))
    ledger.audits.clear()


def bury_late(ledger, arrivals, letters):
    """The last that the first audit knows of came when the source had been told."""
    ledger.audits[0].done = number_of(letters[ledger.audits[0].dead - 1]) + 1
    ledger.audits[0].high = COUNT
    ledger.audits[0].dead -= 1


def swap_two_of_a_key(ledger, arrivals, letters):
    first = 20
    second = next(i for i in range(first + 1, len(arrivals)) if arrivals[i].key == arrivals[first].key)
    arrivals[first], arrivals[second] = arrivals[second], arrivals[first]


POISON_CASES = [
    ("poison that is dead and all else delivered is as it must be", all_as_it_must_be, True, {}),
    ("from a queue, too", all_as_it_must_be, False, {}),
    ("a dropped dead letter is lost, and its source was told early", drop_a_letter, True, {"lost": 1, "early": 1, "dead": -1}),
    ("from a queue, too", drop_a_letter, False, {"lost": 1, "early": 1, "dead": -1}),
    ("what is no poison is lost as ever", drop_a_healthy_one, True, {"lost": 1, "early": 1}),
    ("a dead letter may come again marked", repeat_a_letter_marked, True, {"dead": 1, "dead_repeated": 1}),
    ("but not without a mark under its id", repeat_a_letter, True, {"dead": 1, "dead_repeated": 1, "dead_unmarked": 1}),
    ("nor as another one", repeat_a_letter_under_another_id, True, {"dead": 1, "dead_unmarked": 1, "dead_unexplained": 1}),
    ("nor when its id was recorded as dead", repeat_a_letter_when_all_is_done, True,
     {"dead": 1, "dead_repeated": 1, "dead_unmarked": 1, "duplicates_recorded": 1}),
    ("two messages do not share the id of a dead letter", share_a_letters_id, True, {"corrupted": 1}),
    ("and none is without", lose_a_letters_id, True, {"corrupted": 1}),
    ("one flipped bit is corruption of a dead letter", spoil_a_letter, True, {"dead": 1, "corrupted": 1}),
    ("another length is, too", slim_a_letter, True, {"corrupted": 1}),
    ("and another's key", exchange_a_letters_key, True, {"corrupted": 1}),
    ("poison that is delivered as well is misjudged", deliver_poison, True, {"misjudged": 1}),
    ("and poison that is only delivered", deliver_poison_only, True, {"misjudged": 1, "dead": -1}),
    ("a healthy message among the dead ones is, too", bury_a_healthy_one, True, {"misjudged": 1, "dead": 1}),
    ("a source that is told before the dead letter is there is told early", bury_late, True, {"early": 1}),
    ("swapped messages of one key are out of order", swap_two_of_a_key, True, {"overtaken": 1}),
]


# ---- A replay

def replay_wrong(change, dedup=True, repeated=()):
    """How many of a faultless replay's, in which one mistake is made."""
    ledger, _, letters = faultless_with_poison()
    account, arrivals = Account(), [Arrival(a.body, a.key, a.id, False) for a in letters]
    ledger.judge_replay(letters + [letters[i] for i in repeated], change(arrivals) or arrivals, account, dedup)
    assert bool(account.mistakes(True)) == bool(account.replay_wrong) and (account.examples or not account.replay_wrong), account
    return account.replay_wrong


def replays_are_judged():
    def again(marked):
        return lambda arrivals: arrivals + [Arrival(arrivals[3].body, arrivals[3].key, arrivals[3].id, marked)]
    assert replay_wrong(lambda arrivals: None) == 0
    assert replay_wrong(again(marked=True)) == 0
    assert replay_wrong(again(marked=False)) == replay_wrong(again(marked=False), repeated=[3]) == 1
    assert replay_wrong(again(marked=False), dedup=False) == 1
    assert replay_wrong(again(marked=False), dedup=False, repeated=[3]) == 0
    assert replay_wrong(lambda arrivals: arrivals[1:]) == 1
    healthy = faultless_with_poison()[1][0]
    assert replay_wrong(lambda arrivals: arrivals + [healthy]) == 1
    assert replay_wrong(lambda arrivals: arrivals + [Arrival(b"x", b"", "", False)]) == 1
    assert replay_wrong(lambda arrivals: [Arrival(a.body, b"another", a.id, False) for a in arrivals[:1]] + arrivals[1:]) == 1


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
        for bulk in (0, 1, 10**5):
            assert decipher(compose("7.x-y", number, bulk)) == ("7.x-y", number)
    for spoiled in (None, b"", b"12345678", compose("a", 1)[1:], compose("a", 1) + b"0"):
        assert decipher(spoiled) is None


def without_dedup_duplicates_are_no_mistakes():
    judged(repeat, dedup=False)
    judged(repeat_when_all_is_done, dedup=False)


def main():
    def case(judge, change, kind, expected):
        def check():
            found = judge(change, kind)
            assert found == expected, f"found {found}, expected {expected}"
        return check
    tests = [(name, case(judged, *rest)) for name, *rest in CASES]
    tests += [(name, case(judged_with_poison, *rest)) for name, *rest in POISON_CASES]
    tests += [("a body is understood again, and only unspoiled", bodies_come_back),
              ("without deduplication a duplicate is no mistake", without_dedup_duplicates_are_no_mistakes),
              ("a replay brings what was sent, each once or marked", replays_are_judged)]
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
