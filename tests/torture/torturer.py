"""One run of the torture: a gateway under load is killed again and again, and the ledgers of its routes are judged.

It dies by SIGKILL only: at each crash point of gateway/base/crash.def, once on each route, and at random times. It is started
again at once, while the brokers stay up and messages go on coming. All choices are drawn from the run's seed.
"""
import json
import os
import random
import re
import signal
import threading
import time
from dataclasses import dataclass, field
from typing import Dict, Optional

from ends import LedgerFlow
from ledger import Account, id_of
from rig import until

HERE = os.path.dirname(os.path.abspath(__file__))
POINTS = os.path.join(HERE, "..", "..", "gateway", "base", "crash.def")
ROUTES = {"kafka-amqp": "kr", "kafka-kafka": "kk", "amqp-kafka": "rk", "amqp-amqp": "rr", "kafka-stomp": "ka", "stomp-kafka": "ak"}
GROUPS = {"all": list(ROUTES.values()), "four": [letters for letters in ROUTES.values() if "a" not in letters]}  # in one process
SHORTEST, MEAN, LONGEST = 0.2, 1.0, 5.0  # seconds of a life that ends at a random time
PASSAGES = 30             # a point kills at one of its first so many
LANES = (1, 2)            # of each route; the runs draw one of them
COMMITS_MS = (100, 1000)  # commit_interval of Kafka sources: its least and its default; the same
CREDIT = 500              # messages of a lane
PATIENCE = 30             # seconds within which a point is passed, …
CATCHING_UP = 180         # and within which all is settled, when no more comes: a busy machine leaves much
REPEAT_EVERY = 50         # with deduplication: one message in so many is an earlier one again
REPEATED = 300            # and when all is done, so many are sent once more
AUDIT_SECONDS = 1.0
DEDUP = {"id": "${header.idempotency-key}", "window": "24h"}


def choices():
    """{what may be tortured: its routes}"""
    return {**{name: [letters] for name, letters in ROUTES.items()}, **GROUPS}


def needs(routes):
    """Brokers of theirs besides Kafka and RabbitMQ."""
    return ("activemq",) if "a" in "".join(routes) else ()


def crash_points(dedup):
    """The points that a message passes, in their order."""
    with open(POINTS) as f:
        rows = re.findall(r'^POINT\((\w+), (true|false), ".*"\)$', f.read(), re.M)
    assert rows, f"no points in {POINTS}"
    return [name for name, with_dedup in rows if dedup or with_dedup == "false"]


@dataclass
class Kill:
    """One end of the gateway. `doubts`: messages that were in doubt on each route when it came."""
    point: Optional[str] = None
    route: Optional[str] = None
    passage: int = 0
    after: float = 0.0  # seconds, of a kill at a random time
    doubts: Dict[str, int] = field(default_factory=dict)
    recovered: Dict[str, float] = field(default_factory=dict)  # seconds from the start to the first confirmed message
    may_repeat: Dict[str, int] = field(default_factory=dict)   # as `bailey explain` says

    @property
    def counts(self):
        return bool(self.doubts)

    def __str__(self):
        return f"{self.point}:{self.passage}@{self.route}" if self.point else f"after {self.after:.2f} s"


def plan(rng, routes, points, random_kills):
    kills = [Kill(point, route, rng.randint(1, PASSAGES)) for point in points for route in routes]
    kills += [Kill(after=min(LONGEST, SHORTEST + rng.expovariate(1 / MEAN))) for _ in range(random_kills)]
    rng.shuffle(kills)
    return kills


class Watch:
    """What a life of the gateway says of itself, from /metrics."""

    def __init__(self, gateway):
        self.gateway, self.began = gateway, time.monotonic()
        self.recovered, self.delivered = {}, []  # [(time, {route: so many})]
        self.unconfirmed = {}

    def look(self):
        """False if nobody answers: it starts, or is gone."""
        try:
            samples = self.gateway.metrics()
        except OSError:
            return False
        now = time.monotonic()
        values = {name: {dict(labels).get("route"): int(value) for (n, labels), value in samples.items() if n == name}
                  for name in ("bailey_messages_delivered_total", "bailey_unconfirmed")}
        self.unconfirmed = values["bailey_unconfirmed"]
        self.delivered.append((now, values["bailey_messages_delivered_total"]))
        for route, count in self.delivered[-1][1].items():
            if count > 0:
                self.recovered.setdefault(route, now - self.began)
        return True

    def delivered_lately(self, route, seconds):
        """At most: from the last look before that time to the last one."""
        if not self.delivered:
            return 0
        since = self.delivered[-1][0] - seconds
        before = max((values.get(route, 0) for at, values in self.delivered if at <= since), default=0)
        return self.delivered[-1][1].get(route, 0) - before


class Auditor(threading.Thread):
    def __init__(self, flow):
        super().__init__(daemon=True)
        self.flow, self.ending, self.error = flow, threading.Event(), None
        self.start()

    def run(self):
        try:
            while not self.ending.wait(AUDIT_SECONDS):
                self.flow.audit()
        except Exception as e:  # shown by stop()
            self.error = e

    def stop(self):
        self.ending.set()
        self.join(PATIENCE)
        if self.error is not None:
            raise self.error


class Run:
    """`routes` are letters, as in ROUTES; of their messages `poison` percent are refused for good. After carry() there are
    `kills`, `accounts` and mistakes(). What a run that fails leaves is in the rig's folder, with evidence() of it."""

    def __init__(self, rig, seed, routes, kills=20, rate=400, dedup=False, order="none", poison=0):
        self.rig, self.seed, self.rate, self.dedup, self.order, self.poison = rig, seed, rate, dedup, order, poison
        self.random = random.Random(seed)
        self.commit_ms, self.lanes = self.random.choice(COMMITS_MS), self.random.choice(LANES)
        if self.is_ordered:
            self.lanes = 1  # which is all that an order allows from AMQP
        self.flow = LedgerFlow(rig, f"t{seed}", routes, self.commit_ms, poison, lanes=self.lanes, credit={"messages": CREDIT},
                               order=order, **({"dedup": DEDUP} if dedup else {}))
        self.random_kills = kills
        self.kills = plan(self.random, routes, crash_points(dedup), kills)
        self.accounts = {route: Account() for route in routes}
        config = {"brokers": self.flow.brokers, "routes": self.flow.routes, **({"state": state_in(rig.folder)} if dedup else {})}
        self.gateway = rig.gateway(config, start=False, program=program(rig))

    @property
    def routes(self):
        return list(self.accounts)

    @property
    def is_ordered(self):
        return self.order != "none"

    # ---- Lives and ends

    def start(self, crash=None):
        self.gateway.env = {"BAILEY_CRASH": crash} if crash else {}
        self.gateway.start()
        return Watch(self.gateway)

    def live(self, kill):
        watch = self.start(f"{kill.point}:{kill.passage}@{kill.route}" if kill.point else None)
        if kill.point:
            self.die_at(kill, watch)
            kill.doubts = {kill.route: 1}  # at least: that is where the points stand
        else:
            self.die_after(kill, watch)
            kill.doubts = {route: count for route, count in watch.unconfirmed.items() if count > 0}
        kill.recovered = watch.recovered
        kill.may_repeat = {route: self.may_repeat(route, watch) for route in self.routes}

    def may_repeat(self, route, watch):
        """What was unsettled; without deduplication from Kafka also what was confirmed since the last commit."""
        credit = CREDIT * self.lanes
        if self.dedup or not self.flow.source_of(route).HAS_POSITIONS:
            return credit
        return credit + watch.delivered_lately(route, self.commit_ms / 1000) + CREDIT  # since the last look

    def die_at(self, kill, watch):
        process, deadline = self.gateway.process, watch.began + PATIENCE
        while process.alive():
            assert time.monotonic() < deadline, f"nothing came to {kill} within {PATIENCE} s:\n{process.tail()}"
            watch.look()
            time.sleep(0.02)
        said = f"crash point={kill.point} route={kill.route}"
        assert process.wait(0) == -signal.SIGKILL and said in process.tail(1), f"not killed by {kill}:\n{process.tail()}"

    def die_after(self, kill, watch):
        left = kill.after
        while left > 0.02:
            self.gateway.process.require()
            watch.look()
            left = watch.began + kill.after - time.monotonic()
            time.sleep(max(0, min(0.02, left)))
        if not watch.look():
            watch.unconfirmed = {}
        self.gateway.process.require()
        self.gateway.kill()

    # ---- The run

    def carry(self):
        try:
            self.torture()
        except Exception:
            self.evidence()
            raise
        if self.mistakes() or self.remarks():
            self.evidence()
        return self

    def torture(self):
        self.flow.start_flow(self.rate, self.seed, REPEAT_EVERY if self.dedup else 0)
        auditor = Auditor(self.flow)
        for kill in self.kills:
            self.live(kill)
        self.start()
        self.flow.finish_flow()
        self.flow.wait_settled(self.gateway, CATCHING_UP)
        auditor.stop()
        self.wait_complete()
        if self.dedup:
            self.repeat_what_is_done()
        self.gateway.term()
        self.accounts = self.flow.accounts()
        for name in self.flow.poisoned:
            self.flow.replay(name, self.gateway, self.accounts[name], self.dedup)
        if not self.is_ordered:
            self.forgive_order()

    def forgive_order(self):
        unordered = set(re.findall(r" delivery\.refused route=(\w+)", self.gateway.output()))
        unordered |= {route for route in self.routes if self.lanes > 1 and not self.flow.source_of(route).HAS_POSITIONS}
        for route in unordered:  # there is no order over a refusal, nor between lanes that share a queue
            self.accounts[route].overtaken = 0

    def wait_complete(self):
        """The last audit: the sources themselves say that all is done, which the gateway knows a little before."""
        def complete():
            self.flow.audit()
            return all(ledger.is_complete() for ledger in self.flow.ledgers.values())
        until(complete, PATIENCE, lambda: "a source was not told of all: " + ", ".join(
            f"{route} {ledger.audits[-1].done} of {len(ledger.sent)}" for route, ledger in self.flow.ledgers.items()))

    def repeat_what_is_done(self):
        """What is recorded is known after one more kill, too."""
        self.gateway.kill()
        for name, ledger in self.flow.ledgers.items():
            self.flow.repeat(name, self.random.sample(range(ledger.fresh), min(REPEATED, ledger.fresh)))
        self.start()
        self.flow.wait_settled(self.gateway, CATCHING_UP)

    # ---- Judgement

    def __str__(self):
        counted = sum(kill.counts for kill in self.kills)
        return (f"seed {self.seed}, lanes {self.lanes}: {len(self.kills)} kills, {counted} counted, "
                f"{sum(account.messages for account in self.accounts.values()):,} messages")

    def mistakes(self):
        """[what is wrong], in words."""
        found = []
        for route, account in self.accounts.items():
            found += [f"{route}: {name} {count}" for name, count in account.mistakes(self.dedup, self.is_ordered).items()]
            bound = sum(kill.may_repeat.get(route, 0) for kill in self.kills)
            repeated = account.duplicates + account.dead_repeated
            if repeated > bound:
                found.append(f"{route}: {repeated} duplicates, where {bound} may be")
        return found

    def remarks(self):
        """[what is worth a look, and no mistake]: a broker may change the order itself when it takes messages back."""
        return [f"{route}: {account.overtaken} out of order" for route, account in self.accounts.items() if account.overtaken]

    def clear(self):
        """What the brokers have of it."""
        self.flow.delete()

    def again(self):
        """The command that does the same run."""
        route = next(name for name, letters in choices().items() if self.routes == letters)
        return (f"make torture ROUTE={route} RUNS=1 SEED={self.seed} KILLS={self.random_kills} RATE={self.rate} "
                f"DEDUP={'on' if self.dedup else 'off'} ORDER={self.order} POISON={self.poison:g}")

    def evidence(self):
        """Beside configuration and log: the kills, and of each route what was sent, acknowledged, audited and found."""
        folder = self.rig.folder
        with open(os.path.join(folder, "kills.txt"), "w") as f:
            f.write(f"{self.again()}\n")
            f.writelines(f"{kill} doubts={kill.doubts} recovered={kill.recovered}\n" for kill in self.kills)
        for route, ledger in self.flow.ledgers.items():
            with open(os.path.join(folder, f"{route}.ledger.json"), "w") as f:
                json.dump({"account": vars(self.accounts[route]), "sent": [id_of(ledger.producer, n) for n in ledger.sent],
                           "not_acknowledged": sorted(set(range(len(ledger.sent))) - ledger.acknowledged),
                           "audits": [vars(audit) for audit in ledger.audits],
                           "arrived": [f"{a.id}{' marked' if a.marked else ''}" for a in self.flow.arrivals[route]],
                           "dead": [f"{a.id} {a.letter}{' marked' if a.marked else ''}" for a in self.flow.letters[route]]},
                          f, indent=0)


def state_in(folder):
    return {"store": "rocksdb", "path": os.path.join(folder, "state"), "processes": "one"}


def program(rig):
    """The gateway that can be told where to die."""
    return os.path.join(rig.build, "crash", "bailey")


def knows_dedup(rig):
    """Does `bailey check` take a route with dedup?"""
    routes = [{"name": "d", "from": {"broker": "k", "topic": "a"}, "to": {"broker": "k", "topic": "b"}, "dedup": DEDUP}]
    gateway = rig.gateway({"routes": routes, "state": state_in(rig.folder)}, name="knows-dedup", start=False)
    return rig.run("check", gateway.file).returncode == 0
