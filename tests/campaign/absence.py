"""`python -m tests.campaign absence`: minutes without daemon, sshd and network, over hosts whose jobs run and crash.

What runs must not notice, what crashes must be restarted by its supervisor, and when everything is back the rows must
show the whole truth: statuses, attempts, restarts, and the numbers that were reported while nobody was listening.
"""

from __future__ import annotations

import argparse
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.campaign.checker import Line, read_ledger
from tests.campaign.job import PATIENT, template_of, templates
from tests.campaign.laboratory import Laboratory
from tests.rig.waiting import wait_for

LOOK_S = 0.5
WITHIN_S = 90.0
Tell = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Truth:
    """What becomes of an ending: the exit codes while away, and what the row says when the daemon is back."""

    exits: tuple[int, ...]
    status: str
    message: str


TRUTHS = {
    "steady": Truth((), "running", ""),
    "crash-once": Truth((3,), "running", "crashed and was restarted once"),
    "crash-twice": Truth((3, 3), "running", "crashed and was restarted 2 times"),
    "end": Truth((0,), "succeeded", ""),
    "fail": Truth((4, 4), "failed", "exit code 4, after 1 restart"),
}
#: And what those that still run say when they have ended.
AFTERWARDS = {"steady": "", "crash-once": "restarted once on the way", "crash-twice": "restarted 2 times on the way"}


@dataclass
class Outcome:
    """What came of it; every number may be added to another campaign's."""

    minutes: float
    hosts: int
    experiments: int = 0
    executions: int = 0
    restarts: int = 0
    seconds: float = 0.0
    violations: list[str] = field(default_factory=list)
    kept: str | None = None
    is_interrupted: bool = False
    #: The rig or the campaign itself failed: nothing can be said of sheetd.
    broken: str | None = None

    def summary(self) -> dict[str, Any]:
        return {
            "campaign": "absence",
            "minutes": self.minutes,
            "hosts": self.hosts,
            "experiments": self.experiments,
            "executions": self.executions,
            "restarts": self.restarts,
            "seconds": round(self.seconds, 1),
            "violations_total": len(self.violations),
            "violations": self.violations[:20],
            "kept": self.kept,
            "interrupted": self.is_interrupted,
            "broken": self.broken,
        }


class Absence:
    """One run through it. `rows` maps tokens to endings."""

    def __init__(self, lab: Laboratory, slots: int) -> None:
        self.lab = lab
        self.rows = {f"{ending}-{n}": ending for n in range(len(lab.fleet) * slots // len(TRUTHS)) for ending in TRUTHS}

    def lines(self) -> list[Line]:
        return [line for host in self.lab.fleet for line in read_ledger(host.alias, host.home / "ledger")]

    def shown(self) -> dict[str, dict[str, str]]:
        return {row["token"]: row for row in self.lab.person.rows()}

    def begin(self) -> None:
        """Every row runs and has reported a number."""
        self.lab.project.start()
        self.lab.person.type_rows(
            [
                {"template": template_of(ending), "token": token, "seconds": 1, "ending": ending, "notes": "mine"}
                for token, ending in self.rows.items()
            ]
        )
        wait_for(
            lambda: all((row["status"], row["loss"]) == ("running", "1") for row in self.shown().values()),
            "every row runs and shows its number",
            within_s=WITHIN_S,
        )

    def go_away(self) -> None:
        """The daemon is killed, every connection is dead, and no packet passes. Then the jobs hear of it."""
        self.lab.project.kill()
        for host in self.lab.fleet:
            self.lab.proxies[host.alias].cut()
            host.stop_sshd()
            host.cut()
        for host in self.lab.fleet:
            (host.home / "away").touch()
        wait_for(self.is_all_done, "every job has done what it does while nobody is there", within_s=WITHIN_S)

    def is_all_done(self) -> bool:
        """Each ending's exits were written, and what goes on has begun to wait."""
        lines = self.lines()
        for token, ending in self.rows.items():
            mine = [line for line in lines if line.token == token]
            truth = TRUTHS[ending]
            runs = len(truth.exits) + (truth.status == "running")
            exits = tuple(line.rc for line in mine if line.word == "exit")
            if exits != truth.exits or sum(line.word == "away" for line in mine) != runs:
                return False
        return True

    def come_back(self) -> None:
        for host in self.lab.fleet:
            host.heal()
            host.start_sshd()
            self.lab.proxies[host.alias].heal()
        self.lab.project.start()

    def untrue_rows(self, truths: dict[str, tuple[str, str]]) -> list[str]:
        """Rows that do not show status and message of their ending, one attempt, and the number of meanwhile."""
        found = []
        for token, row in self.shown().items():
            status, message = truths[self.rows[token]]
            is_true = (row["status"], row["attempt"], row["loss:min"]) == (status, "1", "0.01")
            if not is_true or message not in row["message"] or (not message and row["message"]):
                found.append(f"untrue row: wanted {status} ({message}), is {row}")
        return found

    def await_truth(self, truths: dict[str, tuple[str, str]]) -> list[str]:
        until_s = time.monotonic() + WITHIN_S
        while (untrue := self.untrue_rows(truths)) and time.monotonic() < until_s:
            time.sleep(LOOK_S)
        return untrue

    def end(self) -> list[str]:
        """Those that still run hear that everybody is back, and end."""
        for host in self.lab.fleet:
            (host.home / "back").touch()
        ended = {ending: ("succeeded", message) for ending, message in AFTERWARDS.items()}
        others = {ending: (truth.status, truth.message) for ending, truth in TRUTHS.items() if ending not in ended}
        return self.await_truth(ended | others)


def hold(absence: Absence, seconds: float, tell: Tell) -> Iterator[str]:
    """Nothing may change, neither on the hosts nor in the sheet."""
    before, shown = absence.lines(), absence.shown()
    until_s = time.monotonic() + seconds
    while (left_s := until_s - time.monotonic()) > 0:
        tell(int(seconds - left_s), int(seconds), "seconds of absence")
        time.sleep(min(LOOK_S, left_s))
    if absence.lines() != before:
        yield f"something happened to jobs that only ran: {[str(line) for line in absence.lines()[len(before) :]]}"
    if absence.shown() != shown:
        yield "the sheet changed while there was no daemon"


def run(outcome: Outcome, slots: int, tell: Tell) -> None:
    began_s = time.monotonic()
    with Laboratory(hosts=outcome.hosts, slots=slots, program=PATIENT, templates=templates) as lab:
        absence = Absence(lab, slots)
        try:
            absence.begin()
            absence.go_away()
            outcome.violations += hold(absence, outcome.minutes * 60, tell)
            absence.come_back()
            outcome.violations += absence.await_truth({e: (truth.status, truth.message) for e, truth in TRUTHS.items()})
            outcome.violations += absence.end()
            outcome.violations += examine(absence, outcome)
        except Exception:
            outcome.kept = str(lab.folder)
            raise
        finally:
            outcome.seconds = time.monotonic() - began_s
            if outcome.violations:
                outcome.kept = str(lab.folder)
            lab.keep_folder = outcome.kept is not None


def examine(absence: Absence, outcome: Outcome) -> Iterator[str]:
    """What the jobs wrote, against what they were to do; and what people typed."""
    lab, lines = absence.lab, absence.lines()
    if lab.project.stop() != 0:
        yield "the daemon did not end in peace"
    starts = Counter((line.token, line.attempt.rpartition(".")[2], line.k) for line in lines if line.word == "start")
    wanted = Counter(
        (token, "1", k)
        for token, ending in absence.rows.items()
        for k in range(len(TRUTHS[ending].exits) + (TRUTHS[ending].status == "running"))
    )
    if starts != wanted:
        yield f"executions: {starts - wanted} too many, {wanted - starts} missing"
    yield from (f"alive twice: {line}" for line in lines if line.word == "twice")
    if Counter(lab.person.typed_now()) != Counter(lab.person.typed):
        yield "wrong row: what people typed has changed"
    yield from (f"left behind: {stray}" for stray in lab.strays_at_rest())
    outcome.experiments = len(absence.rows)
    outcome.executions = sum(starts.values())
    outcome.restarts = sum(k > 0 for _, _, k in starts.elements())


def add_to(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--hosts", type=int, default=3)
    parser.add_argument("--slots", type=int, default=len(TRUTHS), help="of each host")


def main(chosen: argparse.Namespace, tell: Tell) -> Outcome:
    outcome = Outcome(chosen.minutes, chosen.hosts)
    try:
        run(outcome, chosen.slots, tell)
    except KeyboardInterrupt:
        outcome.is_interrupted = True
    except Exception:  # noqa: BLE001 - told in the summary, which must come whatever happens
        outcome.broken = traceback.format_exc()
    return outcome
