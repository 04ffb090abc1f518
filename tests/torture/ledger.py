"""The ledger of a route: what its producer sent and its broker took, what a reader found at the other end, and what is wrong.

A message is known by its number. All else follows from that: the key, the sequence number within the key, the idempotency key
and the body, which carries them and ends with a checksum. Nothing here knows a broker or Bailey; test_ledger.py shows
that each kind of mistake is found.
"""
import bisect
import itertools
import zlib
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import List, Optional

KEYS = 16
PADDING = bytes(range(33, 127)) * 4


def key_of(number):
    return b"key-%02d" % (number % KEYS)


def id_of(producer, number):
    return f"{producer}-{number}"


def compose(producer, number):
    """The body of a message: producer, key, sequence within the key, idempotency key, filling, checksum."""
    head = b"%s %s %d %s " % (producer.encode(), key_of(number), number // KEYS, id_of(producer, number).encode())
    data = head + PADDING[:60 + number * 7 % 240] + b" "
    return data + b"%08x" % zlib.crc32(data)


def decipher(body):
    """(producer, number) of an unspoiled body, else None."""
    if body is None or len(body) < 9 or b"%08x" % zlib.crc32(body[:-8]) != body[-8:]:
        return None
    try:
        producer, number = body.split(b" ", 4)[3].decode().rsplit("-", 1)
        return (producer, int(number)) if compose(producer, int(number)) == body else None
    except (ValueError, IndexError):
        return None


@dataclass
class Arrival:
    """A copy of a message as the reader found it at the sink, where they have an order."""
    body: Optional[bytes]
    key: Optional[bytes]
    id: Optional[str]  # the header idempotency-key
    marked: bool       # as a possible duplicate


@dataclass
class Audit:
    """At one moment on the way: the source had been told that at least `done` messages are done, when the sink had at most
    its first `high` arrivals. Of a source with positions, these are the first `done` of it."""
    done: int
    high: int
    all: bool  # of what was sent until then


@dataclass
class Account:
    """What a route did in one run. All but `arrived`, `duplicates_*` and `overtaken` are wrong whenever they are not 0."""
    messages: int = 0           # that the source's broker had acknowledged
    arrived: int = 0            # copies
    lost: int = 0
    early: int = 0              # the source was told before the sink had it
    invented: int = 0           # nobody sent it
    corrupted: int = 0          # body, key or idempotency key are not what was sent
    duplicates_marked: int = 0
    duplicates_unmarked: int = 0
    duplicates_recorded: int = 0  # copies that came after the source had been told
    overtaken: int = 0          # first arrivals behind a later one of the same key
    examples: List[str] = field(default_factory=list)

    @property
    def duplicates(self):
        return self.duplicates_marked + self.duplicates_unmarked

    def add(self, other):
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)

    def note(self, what):
        if len(self.examples) < 20:
            self.examples.append(what)

    def mistakes(self, dedup):
        """{what: how many} of that which must never be."""
        never = ("lost", "early", "invented", "corrupted") + (("duplicates_unmarked", "duplicates_recorded") if dedup else ())
        return {name: getattr(self, name) for name in never if getattr(self, name)}


class Ledger:
    """`sent` are the numbers in the order in which they were put into the source, a number twice if its producer repeated it;
    acknowledge() names those, by their place in it, that the source's broker has. Audits are told in the order of time."""
    NEVER = 1 << 60  # a place behind all

    def __init__(self, producer):
        self.producer = producer
        self.sent, self.acknowledged, self.audits = [], set(), []
        self.fresh = 0  # the next number that was never sent

    def write(self, count):
        """The next `count` new numbers, as sent."""
        numbers = list(range(self.fresh, self.fresh + count))
        self.fresh += count
        self.sent += numbers
        return numbers

    def repeat(self, numbers):
        """The same ones again, under the same idempotency keys."""
        self.sent += numbers
        return numbers

    def acknowledge(self, place):
        self.acknowledged.add(place)

    def audit(self, done, high):
        self.audits.append(Audit(done, high, done == len(self.sent)))

    def is_complete(self):
        """By the last audit the source had been told that all is done."""
        return self.audits[-1].all

    # ---- Judgement

    def _recognize(self, arrivals, account):
        """The number of each arrival; None where it is none of ours or spoiled."""
        known, numbers = set(self.sent), []
        for place, arrival in enumerate(arrivals):
            found = decipher(arrival.body)
            if found is None:
                account.corrupted += 1
                account.note(f"arrival {place}: spoiled body {arrival.body!r:.80}")
                numbers.append(None)
            elif found[0] != self.producer or found[1] not in known:
                account.invented += 1
                account.note(f"arrival {place}: nobody sent {id_of(*found)} here")
                numbers.append(None)
            else:
                if arrival.key != key_of(found[1]) or arrival.id != id_of(*found):
                    account.corrupted += 1
                    account.note(f"arrival {place}: {id_of(*found)} came with key {arrival.key!r} and id {arrival.id!r}")
                numbers.append(found[1])
        return numbers

    def _count_duplicates(self, arrivals, numbers, account):
        copies, plain = Counter(numbers), Counter()
        for number, arrival in zip(numbers, arrivals):
            if number is not None and not arrival.marked:
                plain[number] += 1
        del copies[None]
        for number, count in copies.items():
            unmarked = max(0, plain[number] - 1)
            account.duplicates_unmarked += unmarked
            account.duplicates_marked += count - 1 - unmarked
            if unmarked:
                account.note(f"{id_of(self.producer, number)}: {count} copies, {plain[number]} of them without a mark")

    def _count_overtaken(self, first, account):
        newest = {}
        for number in sorted(first, key=first.get):
            if number < newest.get(number % KEYS, -1):
                account.overtaken += 1
                account.note(f"{id_of(self.producer, number)} came behind {id_of(self.producer, newest[number % KEYS])}")
            else:
                newest[number % KEYS] = number

    def _check_early(self, first, account, has_positions):
        """What the source was told is done had arrived."""
        places = [first.get(number, self.NEVER) for number in self.sent]
        latest = list(itertools.accumulate(places, max, initial=-1))  # of the first so many
        by_place, repeats = sorted(first.values()), len(self.sent) - self.fresh
        for audit in self.audits:
            if has_positions:
                early = sum(place >= audit.high for place in places[:audit.done]) if latest[audit.done] >= audit.high else 0
            else:
                early = audit.done - repeats - bisect.bisect_left(by_place, audit.high)
            if early > account.early:
                account.early = early
                account.note(f"the source was told that {audit.done} are done, and {early} of them were not at the sink")

    def _count_recorded(self, numbers, first, account, has_positions):
        """What arrived again after the source had been told. Without positions that is known only when all is done."""
        audits = [audit for audit in self.audits if has_positions or audit.all]
        dones, places = [audit.done for audit in audits], {}
        for place, number in enumerate(self.sent):
            places.setdefault(number, place)
        for place, number in enumerate(numbers):
            if number is None or place == first[number]:
                continue
            told = bisect.bisect_right(dones, places[number])
            if told < len(audits) and place >= audits[told].high:
                account.duplicates_recorded += 1
                account.note(f"arrival {place}: {id_of(self.producer, number)} came again after its source had been told")

    def judge(self, arrivals, has_positions):
        """The Account. `has_positions`: the source is a log, and done is always a beginning of it."""
        account = Account(arrived=len(arrivals))
        numbers, first = self._recognize(arrivals, account), {}
        for place, number in enumerate(numbers):
            if number is not None:
                first.setdefault(number, place)
        owed = {self.sent[place] for place in self.acknowledged}
        account.messages = len(owed)
        lost = sorted(owed - first.keys())
        account.lost = len(lost)
        for number in lost[:5]:
            account.note(f"{id_of(self.producer, number)} is lost")
        self._count_duplicates(arrivals, numbers, account)
        self._count_overtaken(first, account)
        self._check_early(first, account, has_positions)
        self._count_recorded(numbers, first, account, has_positions)
        return account
