"""Rows that stand for several runs, as people mean them: which runs there have to be, and that each is one experiment.

What a row asks for is read from its cells by a rule of its own, not by the code under test.
"""

from __future__ import annotations

import random
from collections import defaultdict
from typing import TYPE_CHECKING

from sheetd.core import events as ev
from sheetd.core.grid import CellValue
from sheetd.core.model import AttemptId, Experiment, ExperimentId, Phase, Spec, experiment_of, group_of, row_of

if TYPE_CHECKING:
    from tests.sim.checker import Books, Checker

#: What people type, and the values that they mean by it.
LISTS: dict[str, tuple[float, ...]] = {
    "{0.1 | 0.2}": (0.1, 0.2),
    "{0.5|0.2 | 0.1}": (0.5, 0.2, 0.1),
    "1..3": (1.0, 2.0, 3.0),
    "0.1..0.4 step 0.1": (0.1, 0.2, 0.3, 0.4),
    "0.01..1 log 3": (0.01, 0.1, 1.0),
}


def draw_values(chance: random.Random) -> tuple[str | float, float | None]:
    """What stands in `lr` and in `repeat` of a row that makes two to four runs."""
    if chance.random() < 0.4:
        return 0.1, float(chance.randrange(2, 4))
    return chance.choice(list(LISTS)), 2.0 if chance.random() < 0.1 else None


def meant(lr: CellValue, repeat: CellValue) -> set[tuple[float, str]]:
    """The runs that a valid row asks for, by their value and their repetition."""
    values = LISTS.get(str(lr)) or (float(lr or 0.0),)
    return {(value, str(number)) for value in values for number in range(1, int(repeat or 1) + 1)}


def run_of(spec: Spec) -> tuple[float, str]:
    return float(spec.params["lr"]), spec.env.get("SHEETD_REPEAT", "1")


def work_of(spec: Spec) -> tuple[CellValue, ...]:
    """What makes two runs of a row the same work. Another tag does not: a template's default may have been edited."""
    return (*run_of(spec), str(spec.params["tag"]), spec.params["seed"])


class Sweeps:
    """The part of the checker that knows of groups."""

    def __init__(self, checker: Checker) -> None:
        self.checker = checker
        #: Each set of members that a group was ever said to have, by whichever journal.
        self.expansions: dict[ExperimentId, list[tuple[ExperimentId, ...]]] = defaultdict(list)

    def expanded(self, books: Books, event: ev.SweepExpanded) -> None:
        checker, id_ = self.checker, event.experiment
        if id_ not in books.accepted:
            checker.accepted(books, id_, event.spec)
        known = [member for member in books.accepted if group_of(member) == id_]
        runs = {work_of(checker.ledgers[member].specs[-1]) for member in known}
        for member in event.begun:
            if member.id in books.accepted:
                checker.blame("I8", f"{member.id} was begun twice")
            books.accepted.add(member.id)
            checker.ledger_of(member.id).specs.append(member.spec)
            books.specs[member.id] = member.spec
            if row_of(member.id) != id_:
                checker.blame("I11", f"{member.id} is begun for the row {id_}")
            run = work_of(member.spec)
            if run in runs:
                checker.blame("I1", f"{member.id} is what another run of {id_} is: {run}")
            runs.add(run)
        self.expansions[id_].append(event.members)
        asked = sum(order.asked[word] for order in checker.orders(id_) for word in ("run", "rerun"))
        if len(self.expansions[id_]) > 1 + asked and not checker.is_doubtful(id_):
            checker.blame(
                "I9", f"{id_} was expanded {len(self.expansions[id_])} times and asked for {asked} times again"
            )

    def parts(self, id_: ExperimentId) -> list[tuple[ExperimentId, ...]]:
        """Each set of experiments of which all have to be done before something runs after `id_`.

        A row that ran alone and was asked for several runs later was done when a launch after it was intended.
        """
        return [(id_,), *self.expansions.get(id_, ())]

    def final(self, group: Experiment, members: list[Experiment], lr: CellValue, repeat: CellValue) -> None:
        """A quiet group whose row was not edited since: every run that the row asks for is there, once, and over."""
        runs = sorted(run_of(member.spec) for member in members)
        if runs != sorted(meant(lr, repeat)):
            self.checker.blame("I20", f"{group.id} asks for {sorted(meant(lr, repeat))}, and has the runs {runs}")
        for member in members:
            if member.phase is not Phase.ENDED:
                self.checker.blame("I20", f"{member.id} of {group.id} has not ended")

    def succeeded(self, member: Experiment) -> bool:
        """Whether a run of its last attempt really was a success."""
        runs = self.checker.executions[member.attempts[-1].id] if member.attempts else []
        return any(run.status == 0 for run in runs)

    def done_on(self, id_: ExperimentId) -> set[str]:
        """The machines on which it has succeeded."""
        of_it = [
            run for one, runs in self.checker.executions.items() if experiment_of(AttemptId(one)) == id_ for run in runs
        ]
        return {run.host for run in of_it if run.ended is not None and run.status == 0}
