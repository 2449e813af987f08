"""Rows that ask for what was done already, as the checker judges them: nobody began them, unless somebody said so."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sheetd.core import events as ev
from sheetd.core.model import AttemptId, ExperimentId, Reason, Spec, experiment_of

if TYPE_CHECKING:
    from tests.sim.checker import Books, Checker


def _work(spec: Spec) -> Spec:
    """All of it that makes it what it is: compared field by field, and not by the digest of the code under test."""
    return replace(Spec(template=spec.template, argv=spec.argv), params=spec.params, env=spec.env, code=spec.code)


class Repeats:
    """The part of the checker that knows what was done before."""

    def __init__(self, checker: Checker) -> None:
        self.checker = checker

    def accepted(self, books: Books, event: ev.RowAccepted) -> None:
        checker = self.checker
        if any(order.asked[word] for order in checker.orders(event.experiment) for word in ("run", "rerun")):
            return
        for other in checker.by_seed[int(event.spec.params["seed"])]:
            spec = books.specs.get(other)
            if other == event.experiment or spec is None or other not in books.accepted:
                continue
            if _work(spec) == _work(event.spec) and spec.after == event.spec.after and self._is_kept_up(books, other):
                checker.blame("repeats", f"{event.experiment} is begun, nobody asked for it, and {other} does the same")

    def _is_kept_up(self, books: Books, id_: ExperimentId) -> bool:
        """Whether it has succeeded, or is on its way to: by what was recorded of it, where that is plain."""
        if self.checker.ledgers[id_].reopened or id_ in books.withdrawn:
            return False
        attempts = [one for one in books.intents if experiment_of(AttemptId(one)) == id_]
        if any(books.reasons.get(one) is Reason.SUCCEEDED for one in attempts):
            return True
        return not any(one in books.ended or one in books.stops for one in attempts)
