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
from typing import List, Optional, Tuple

KEYS = 16
PADDING = bytes(range(33, 127))


def key_of(number):
    return b"key-%02d" % (number % KEYS)


def id_of(producer, number):
    return f"{producer}-{number}"


def compose(producer, number, bulk=0):
    """The body of a message: producer, key, sequence within the key, idempotency key, filling, checksum. `bulk`: so many bytes more."""
    head = b"%s %s %d %s " % (producer.encode(), key_of(number), number // KEYS, id_of(producer, number).encode())
    length = 60 + number * 7 % 240 + bulk
    data = head + (PADDING * (length // len(PADDING) + 1))[:length] + b" "
    return data + b"%08x" % zlib.crc32(data)


def decipher(body):
    """(producer, number) of an unspoiled body, of whatever bulk, else None."""
    if body is None or len(body) < 9 or b"%08x" % zlib.crc32(body[:-8]) != body[-8:]:
        return None
    try:
        producer, number = body.split(b" ", 4)[3].decode().rsplit("-", 1)
        bulk = len(body) - len(compose(producer, int(number)))
        return (producer, int(number)) if bulk >= 0 and compose(producer, int(number), bulk) == body else None
    except (ValueError, IndexError):
        return None


@dataclass(frozen=True)
class Poison:
    """The messages that their sink refuses for good: which, and what makes it refuse them."""
    percent: float = 0
    bulk: int = 0                                  # so many bytes more
    headers: Tuple[Tuple[str, str], ...] = ()      # and these headers


@dataclass
class Arrival:
    """A copy of a message as the reader found it at the sink, where they have an order, or among the dead letters: there with
    the message's own key."""
    body: Optional[bytes]
    key: Optional[bytes]
    id: Optional[str]  # the header idempotency-key
    marked: bool       # as a possible duplicate
    letter: Optional[str] = None  # bailey-dlq-id, of a dead letter


@dataclass
class Audit:
    """At one moment on the way: the source had been told that at least `done` messages are done, when the sink had at most
    its first `high` arrivals, and the dead letters their first `dead`. Of a source with positions, these are the first `done` of it."""
    done: int
    high: int
    all: bool  # of what was sent until then
    dead: int = 0


@dataclass
class Account:
    """What a route did in one run. Wrong is what mistakes() says."""
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
    poison: int = 0             # of the messages
    dead: int = 0               # dead letters
    dead_repeated: int = 0      # of them, with the bailey-dlq-id of another one of the same message, or marked
    dead_unmarked: int = 0      # of them, without a mark, beyond the first such of a message
    dead_unexplained: int = 0   # of them, with neither
    misjudged: int = 0          # healthy messages among the dead letters, and poison at the sink
    replayed: int = 0           # messages that a replay brought to the sink
    replay_wrong: int = 0       # dead letters that it did not bring, brought spoiled, or twice without a mark
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

    def mistakes(self, dedup, ordered=False):
        """{what: how many} of that which must never be."""
        never = ("lost", "early", "invented", "corrupted", "dead_unexplained", "misjudged", "replay_wrong")
        never += (("duplicates_unmarked", "duplicates_recorded", "dead_unmarked") if dedup else ()) + (("overtaken",) if ordered else ())
        return {name: getattr(self, name) for name in never if getattr(self, name)}


def first_places(numbers):
    """{number: where it stands first}"""
    places = {}
    for place, number in enumerate(numbers):
        if number is not None:
            places.setdefault(number, place)
    return places


class Ledger:
    """`sent` are the numbers in the order in which they were put into the source, a number twice if its producer repeated it;
    acknowledge() names those, by their place in it, that the source's broker has. Audits are told in the order of time."""
    NEVER = 1 << 60  # a place behind all

    def __init__(self, producer, poison=Poison()):
        self.producer, self.poison = producer, poison
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

    def is_poison(self, number):
        return zlib.crc32(id_of(self.producer, number).encode()) % 100_000 < self.poison.percent * 1000

    def body(self, number):
        return compose(self.producer, number, self.poison.bulk if self.is_poison(number) else 0)

    def headers(self, number):
        """Besides key and idempotency key."""
        return dict(self.poison.headers) if self.is_poison(number) else {}

    def audit(self, done, high, dead=0):
        self.audits.append(Audit(done, high, done == len(self.sent), dead))

    def is_complete(self):
        """By the last audit the source had been told that all is done."""
        return self.audits[-1].all

    # ---- Judgement

    def _recognize(self, arrivals, account):
        """The number of each arrival, or of each dead letter; None where it is none of ours or spoiled."""
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
                if arrival.key != key_of(found[1]) or arrival.id != id_of(*found) or len(arrival.body) != len(self.body(found[1])):
                    account.corrupted += 1
                    account.note(f"arrival {place}: {id_of(*found)} came with key {arrival.key!r}, id {arrival.id!r} "
                                 f"and {len(arrival.body)} bytes")
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
            if self.is_poison(number):
                continue
            if number < newest.get(number % KEYS, -1):
                account.overtaken += 1
                account.note(f"{id_of(self.producer, number)} came behind {id_of(self.producer, newest[number % KEYS])}")
            else:
                newest[number % KEYS] = number

    def _judge_letters(self, letters, numbers, account):
        """A message becomes a dead letter once; again only marked, or without deduplication under the same id. No two share an id."""
        plain, owners = {}, {}  # number: ids of those without a mark; id: number
        for place, (number, letter) in enumerate(zip(numbers, letters)):
            if number is None:
                continue
            ids = plain.setdefault(number, [])
            if not letter.marked:
                ids.append(letter.letter)
            if not letter.letter or owners.setdefault(letter.letter, number) != number:
                account.corrupted += 1
                account.note(f"dead letter {place}: {id_of(self.producer, number)} has the id {letter.letter!r}, or another's")
        for number, ids in plain.items():
            if len(ids) > 1:
                account.dead_unmarked += len(ids) - 1
                account.dead_unexplained += len(set(ids)) - 1
                account.note(f"{id_of(self.producer, number)}: dead letters {sorted(map(str, ids))}, none of them marked")
        account.dead = len(letters)
        account.dead_repeated = sum(number is not None for number in numbers) - len(plain) - account.dead_unexplained

    def _judge_places(self, first, buried, account):
        """Poison is among the dead letters and nowhere else, and all else is at the sink and nowhere else."""
        wrong = sorted({n for n in first if self.is_poison(n)} | {n for n in buried if not self.is_poison(n)})
        account.misjudged = len(wrong)
        for number in wrong[:5]:
            account.note(f"{id_of(self.producer, number)} is {'poison and was delivered' if number in first else 'a dead letter, and no poison'}")

    def _check_early(self, first, buried, account, has_positions):
        """What the source was told is done had arrived, or was a dead letter."""
        places = [-1 if n in buried else first.get(n, self.NEVER) for n in self.sent]
        graves = [buried.get(n, -1) for n in self.sent]
        latest = [list(itertools.accumulate(those, max, initial=-1)) for those in (places, graves)]  # of the first so many
        by_place, by_grave = sorted(place for n, place in first.items() if n not in buried), sorted(buried.values())
        repeats = len(self.sent) - self.fresh
        for audit in self.audits:
            if not has_positions:
                early = audit.done - repeats - bisect.bisect_left(by_place, audit.high) - bisect.bisect_left(by_grave, audit.dead)
            elif latest[0][audit.done] >= audit.high or latest[1][audit.done] >= audit.dead:
                early = sum(place >= audit.high or grave >= audit.dead
                            for place, grave in zip(places[:audit.done], graves[:audit.done]))
            else:
                early = 0
            if early > account.early:
                account.early = early
                account.note(f"the source was told that {audit.done} are done, and {early} of them were not at the sink")

    def _count_recorded(self, numbers, first, account, has_positions, high):
        """What arrived again after the source had been told: at the sink, or among the dead letters, by the `high` of an audit
        there. Without positions that is known only when all is done."""
        audits = [audit for audit in self.audits if has_positions or audit.all]
        dones, places = [audit.done for audit in audits], {}
        for place, number in enumerate(self.sent):
            places.setdefault(number, place)
        for place, number in enumerate(numbers):
            if number is None or place == first[number]:
                continue
            told = bisect.bisect_right(dones, places[number])
            if told < len(audits) and place >= high(audits[told]):
                account.duplicates_recorded += 1
                account.note(f"arrival {place}: {id_of(self.producer, number)} came again after its source had been told")

    def judge(self, arrivals, has_positions, letters=()):
        """The Account. `has_positions`: the source is a log, and done is always a beginning of it. `letters`: the dead ones."""
        account = Account(arrived=len(arrivals))
        numbers, of_letters = self._recognize(arrivals, account), self._recognize(letters, account)
        first, buried = first_places(numbers), first_places(of_letters)
        owed = {self.sent[place] for place in self.acknowledged}
        account.messages, account.poison = len(owed), sum(map(self.is_poison, owed))
        lost = sorted(owed - first.keys() - buried.keys())
        account.lost = len(lost)
        for number in lost[:5]:
            account.note(f"{id_of(self.producer, number)} is lost")
        self._count_duplicates(arrivals, numbers, account)
        self._count_overtaken(first, account)
        self._judge_letters(letters, of_letters, account)
        self._judge_places(first, buried, account)
        self._check_early(first, buried, account, has_positions)
        self._count_recorded(numbers, first, account, has_positions, lambda audit: audit.high)
        self._count_recorded(of_letters, buried, account, has_positions, lambda audit: audit.dead)
        return account

    def judge_replay(self, letters, arrivals, account, dedup):
        """What a replay of all dead letters brought to the sink is what was sent, and each once, or marked. Without deduplication a
        repeated dead letter may be brought, too, as a repeated message is."""
        found = Account()
        owed = Counter(self._recognize(letters, Account()))
        del owed[None]
        meant = owed.keys()
        numbers = self._recognize(arrivals, found)
        self._count_duplicates(arrivals, numbers, found)
        if not dedup:
            found.duplicates_unmarked -= min(found.duplicates_unmarked, sum(owed.values()) - len(owed))
        missing, strange = sorted(meant - set(numbers)), sorted(set(numbers) - meant - {None})
        for number in (missing + strange)[:5]:
            found.note(f"{id_of(self.producer, number)} was {'not replayed' if number in meant else 'replayed and no dead letter'}")
        account.replayed = len(meant & set(numbers))
        account.replay_wrong = len(missing) + len(strange) + found.corrupted + found.invented + found.duplicates_unmarked
        for what in found.examples:
            account.note(f"replay: {what}")
