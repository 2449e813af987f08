"""`python -m tests.campaign kills`: rows are typed and run while everything around them is killed, and is judged then.

Three parts: the storm, until the wanted number of kills was delivered; rest, in which nothing is broken any more and
every row must come to its end; the judgement. One seed gives one storm of draws, not one history: what is alive when a
blow falls is decided by real processes. More than ROUND kills are several storms, one after the other, each with hosts,
a journal and a sheet of its own and a seed one higher, so that each can be had again alone.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any

from sheetd.journal import JournalReader
from tests.campaign.checker import Evidence, judge, read_ledger
from tests.campaign.decoy import offences
from tests.campaign.job import ENDINGS, SHORT, STATUS_OF_ENDING, template_of, templates
from tests.campaign.laboratory import Laboratory
from tests.campaign.nemesis import DaemonNemesis, HostNemesis, Thread
from tests.campaign.tally import Tally

#: So many kills leave about as many rows in a sheet.
ROUND = 1000
LOOK_S = 1.0
#: Rows that are not at their end, for each slot: so that none is ever idle for want of work.
ROWS_FOR_EACH_SLOT = 3
AT_REST = frozenset(STATUS_OF_ENDING.values()) | {"stopped", "invalid"}
LAST_LOSS = "0.2"
#: How likely somebody is to stop a row, at each look.
STOP = 0.06
Tell = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Storm:
    """What was asked for."""

    count: int
    seed: int
    hosts: int = 4
    slots: int = 3
    gap_s: float = 0.5
    daemon_gap_s: float = 9.0
    rest_s: float = 300.0
    keep: bool = False


@dataclass
class Outcome:
    """What came of it."""

    storm: Storm
    tally: Tally
    #: Storms that were begun.
    rounds: int = 0
    experiments: int = 0
    attempts: int = 0
    executions: int = 0
    restarts: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    #: Rows that succeeded and do not show the number that their job reported last.
    numbers_missing: list[str] = field(default_factory=list)
    storm_s: float = 0.0
    seconds: float = 0.0
    cpu_s: float = 0.0
    violations: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    is_interrupted: bool = False
    #: The rig or the campaign itself failed: nothing can be said of sheetd.
    broken: str | None = None

    def summary(self) -> dict[str, Any]:
        return {
            "campaign": "kills",
            "seed": self.storm.seed,
            "rounds": self.rounds,
            "kills_total": self.tally.total,
            "kills": dict(sorted(self.tally.kills.items())),
            "faults": dict(sorted(self.tally.faults.items())),
            "decoys": dict(sorted(self.tally.decoys.items())),
            "experiments": self.experiments,
            "attempts": self.attempts,
            "executions": self.executions,
            "restarts": self.restarts,
            "numbers_missing_total": len(self.numbers_missing),
            "numbers_missing": self.numbers_missing[:20],
            "statuses": dict(sorted(self.statuses.items())),
            "storm_seconds": round(self.storm_s, 1),
            "seconds": round(self.seconds, 1),
            "cpu_seconds": round(self.cpu_s, 1),
            "violations_total": len(self.violations),
            "violations": [violation[:2000] for violation in self.violations[:20]],
            "kept": self.kept,
            "interrupted": self.is_interrupted,
            "broken": self.broken,
        }

    def add(self, one: Outcome) -> None:
        """What came of one round."""
        for mine, its in (
            (self.tally.kills, one.tally.kills),
            (self.tally.faults, one.tally.faults),
            (self.tally.decoys, one.tally.decoys),
            (self.statuses, one.statuses),
        ):
            mine.update(its)
        self.experiments += one.experiments
        self.attempts += one.attempts
        self.executions += one.executions
        self.restarts += one.restarts
        self.storm_s += one.storm_s
        self.seconds += one.seconds
        self.cpu_s += one.cpu_s
        self.numbers_missing += one.numbers_missing
        self.violations += [f"seed {one.storm.seed}: {violation}" for violation in one.violations]
        self.kept += one.kept
        self.rounds += 1


class Typist:
    """Keeps the sheet full of rows that wait; remembers how each is to end."""

    def __init__(self, lab: Laboratory, seed: int, open_rows: int) -> None:
        self.person = lab.person
        self.draw = random.Random(f"{seed} rows")
        self.open_rows = open_rows
        self.endings: dict[str, str] = {}
        self.stopped: set[str] = set()
        self.statuses: Counter[str] = Counter()

    def look(self) -> int:
        """How many rows are at rest."""
        shown = {row["token"]: row["status"] for row in self.person.rows() if row["token"]}
        self.statuses = Counter(shown.values())
        return sum(status in AT_REST for status in shown.values())

    def type_more(self, at_rest: int) -> None:
        missing = self.open_rows - (len(self.endings) - at_rest)
        if missing > self.open_rows // 6:
            self.person.type_rows([self.row() for _ in range(missing)])

    def stop_one(self) -> None:
        """Somebody does not want a row any more, whatever it is doing."""
        left = [token for token in self.endings if token not in self.stopped]
        if left and self.draw.random() < STOP:
            token = self.draw.choice(left[-self.open_rows :])
            self.stopped.add(token)
            self.person.type_cell(token, "action", "stop")

    def row(self) -> dict[str, Any]:
        ending = self.draw.choices(list(ENDINGS), list(ENDINGS.values()))[0]
        token = f"t{len(self.endings)}"
        self.endings[token] = ending
        seconds = round(self.draw.choice([0.01, 0.2, 0.5, 1.0, 2.0]) * self.draw.uniform(0.5, 1.5), 2) + 0.001
        notes = f"note {self.draw.randrange(10**6)}"
        return {
            "template": template_of(ending),
            "token": token,
            "seconds": round(seconds, 3),
            "ending": ending,
            "notes": notes,
        }


def run(storm: Storm, outcome: Outcome, tell: Tell) -> None:
    """The whole campaign. Raises what broke the rig; what broke sheetd is in the outcome."""
    began_s = time.monotonic()
    with Laboratory(hosts=storm.hosts, slots=storm.slots, program=SHORT, templates=templates) as lab:
        typist = Typist(lab, storm.seed, storm.hosts * storm.slots * ROWS_FOR_EACH_SLOT)
        try:
            with contextlib.ExitStack() as decoys:
                rage(storm, lab, typist, outcome, tell, decoys)
                stuck = rest(storm, lab, typist, tell)
                outcome.violations += [*stuck, *examine(lab, typist, outcome)]
        except Exception:
            outcome.kept = [str(lab.folder)]
            raise
        finally:
            outcome.seconds = time.monotonic() - began_s
            outcome.cpu_s = lab.cpu_s()
            if outcome.violations or storm.keep:
                outcome.kept = [str(lab.folder)]
            lab.keep_folder = bool(outcome.kept)


def rage(
    storm: Storm, lab: Laboratory, typist: Typist, outcome: Outcome, tell: Tell, decoys: contextlib.ExitStack
) -> None:
    """Until the wanted kills are delivered. In the end every fault is mended, and the daemon is another one."""
    began_s = time.monotonic()
    stop = threading.Event()
    typist.type_more(0)
    lab.project.start()
    threads: list[Thread] = []
    for host in lab.fleet:
        nemesis = HostNemesis(lab, host, storm.seed, storm.gap_s, outcome.tally, stop)
        decoys.callback(nemesis.close_decoys)
        threads.append(nemesis)
    threads.append(DaemonNemesis(lab.project, storm.seed, storm.daemon_gap_s, outcome.tally, stop))
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads):
            at_rest = typist.look()
            if not outcome.tally.is_enough:
                typist.type_more(at_rest)
                typist.stop_one()
            tell(min(outcome.tally.total, storm.count), storm.count, words_of(typist))
            stop.wait(LOOK_S)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    for thread in threads:
        if thread.trouble is not None:
            raise thread.trouble
    lab.project.kill()
    lab.project.begin()
    outcome.storm_s = time.monotonic() - began_s


def words_of(typist: Typist) -> str:
    return ", ".join(f"{count} {status or 'new'}" for status, count in sorted(typist.statuses.items()))


def rest(storm: Storm, lab: Laboratory, typist: Typist, tell: Tell) -> list[str]:
    """Nothing is broken any more: every row must end. The rows that do not."""
    until_s = time.monotonic() + storm.rest_s
    while typist.look() < len(typist.endings) and time.monotonic() < until_s:
        tell(storm.count, storm.count, words_of(typist))
        time.sleep(LOOK_S)
    return [
        "stuck row: {token} ({id}.{attempt}) is {status} on {host}: {message}".format(**row)
        for row in lab.person.rows()
        if row["status"] not in AT_REST
    ]


def examine(lab: Laboratory, typist: Typist, outcome: Outcome) -> Iterator[str]:
    """The judgement, and the numbers for the summary."""
    if lab.project.stop() != 0:
        yield "the daemon did not end in peace"
    lines = [line for host in lab.fleet for line in read_ledger(host.alias, host.home / "ledger")]
    monotonic = time.monotonic() - time.time()  # what turns the journal's wall times into those of ledgers and blows
    events = [(one.wall_s + monotonic, one.event) for one in JournalReader(lab.project.state).events()]
    evidence = Evidence(lines, outcome.tally, events, lab.person.rows(), typist.endings, typist.stopped)
    outcome.experiments = len(typist.endings)
    outcome.attempts = evidence.attempts
    outcome.executions = sum(line.word == "start" for line in lines)
    outcome.restarts = sum(claim.restarts for claim in evidence.claims.values())
    outcome.statuses = typist.statuses
    outcome.numbers_missing = [
        "{token} ({id}.{attempt}) on {host} shows {loss}".format(**row)
        for row in evidence.rows
        if row["status"] == "succeeded" and row["loss"] != LAST_LOSS
    ]
    yield from judge(evidence)
    if Counter(lab.person.typed_now()) != Counter(lab.person.typed):
        yield "wrong row: what people typed has changed"
    for host in lab.fleet:
        yield from (f"decoy signalled on {host.alias}: {line}" for line in offences(host))
    yield from (f"left behind: {stray}" for stray in lab.strays_at_rest())


def add_to(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=int, required=True, help="kills to deliver")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--hosts", type=int, default=Storm.hosts)
    parser.add_argument("--slots", type=int, default=Storm.slots, help="of each host")
    parser.add_argument("--gap-s", type=float, default=Storm.gap_s, help="mean time between two blows on a host")
    parser.add_argument("--daemon-gap-s", type=float, default=Storm.daemon_gap_s, help="between kills of the daemon")
    parser.add_argument("--rest-s", type=float, default=Storm.rest_s, help="after this long at rest a row is stuck")
    parser.add_argument("--keep", action="store_true", help="keep the folder, whatever was found")


def main(chosen: argparse.Namespace, tell: Tell) -> Outcome:
    storm = Storm(**{one.name: getattr(chosen, one.name) for one in fields(Storm)})
    outcome = Outcome(storm, Tally(storm.count))
    try:
        for number, done in enumerate(range(0, storm.count, ROUND)):
            part = replace(storm, seed=storm.seed + number, count=min(ROUND, storm.count - done))
            one = Outcome(part, Tally(part.count))
            try:
                run(part, one, lambda kills, _, words, done=done: tell(done + kills, storm.count, words))
            finally:
                outcome.add(one)
    except KeyboardInterrupt:
        outcome.is_interrupted = True
    except Exception:  # noqa: BLE001 - told in the summary, which must come whatever happens
        outcome.broken = traceback.format_exc()
    return outcome
