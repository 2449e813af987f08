"""Rows that have an id and are not accepted yet, and how events about them change the state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sheetd.core import events
from sheetd.core.model import ExperimentId
from sheetd.errors import IllegalTransition

if TYPE_CHECKING:
    from sheetd.core.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A row that has an id and is not accepted yet."""

    fingerprint: str
    copied_from: ExperimentId | None = None
    #: What does the same already, and what the row said when that was found (`repeats`).
    repeats: ExperimentId | None = None
    repeats_as: str = ""


def _id_assigned(state: State, event: events.IdAssigned, _now_s: float) -> None:
    if state.knows(event.experiment):
        raise IllegalTransition(f"the id {event.experiment} is taken")
    state.file_under(event.fingerprint, event.experiment)
    state.drafts[event.experiment] = Draft(fingerprint=event.fingerprint, copied_from=event.copied_from)


def _id_withdrawn(state: State, event: events.IdWithdrawn, _now_s: float) -> None:
    if event.experiment not in state.drafts:
        raise IllegalTransition(f"{event.experiment} is not a draft")
    state.file_under("", event.experiment)
    del state.drafts[event.experiment]
    state.consumed.pop(event.experiment, None)


def _repeat_found(state: State, event: events.RepeatFound, _now_s: float) -> None:
    if event.experiment not in state.drafts:
        raise IllegalTransition(f"{event.experiment} is not a draft")
    state.known(event.of)
    draft = state.drafts[event.experiment]
    state.drafts[event.experiment] = replace(draft, repeats=event.of, repeats_as=event.fingerprint)


#: Into the table of `state`.
DRAFT_FOLDS: dict[type, Callable[[State, Any, float], None]] = {
    events.IdAssigned: _id_assigned,
    events.IdWithdrawn: _id_withdrawn,
    events.RepeatFound: _repeat_found,
}
