"""What happens to the row of an accepted experiment, folded into the state: edits, absences, words and requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sheetd.core import events
from sheetd.core.model import Phase, is_same
from sheetd.errors import IllegalTransition

if TYPE_CHECKING:
    from sheetd.core.state import State


def _action_consumed(state: State, event: events.ActionConsumed, _now_s: float) -> None:
    state.consumed[event.experiment] = event.action
    if event.obeyed:
        state.unobeyed.pop(event.experiment, None)
    else:
        state.unobeyed[event.experiment] = event.why_not


def _action_cleared(state: State, event: events.ActionCleared, _now_s: float) -> None:
    state.consumed.pop(event.experiment, None)
    state.unobeyed.pop(event.experiment, None)


def _request_obeyed(state: State, event: events.RequestObeyed, _now_s: float) -> None:
    state.known(event.experiment)
    state.obeyed_requests[event.experiment] = (event.request, event.wall_s)


def _row_edited(state: State, event: events.RowEdited, _now_s: float) -> None:
    state.known(event.experiment)
    if event.fingerprint == state.fingerprints.get(event.experiment):
        state.edited.pop(event.experiment, None)
    else:
        state.edited[event.experiment] = event.fingerprint


def _row_revised(state: State, event: events.RowRevised, _now_s: float) -> None:
    experiment = state.known(event.experiment)
    if event.experiment in state.sweeps or not experiment.takes_live_edits:
        raise IllegalTransition(f"{event.experiment} is {experiment.phase.value}: it cannot be revised now")
    old = experiment.spec.params
    changed = {name: value for name, value in event.spec.params.items() if not is_same(value, old.get(name, ""))}
    is_running = experiment.phase is Phase.RUNNING
    state.put(
        replace(
            experiment,
            spec=event.spec,
            handed={**experiment.handed, **changed} if is_running else {},
            handovers=experiment.handovers + (is_running and bool(changed)),
        )
    )
    if event.fingerprint:
        state.file_under(event.fingerprint, event.experiment)
        state.fingerprints[event.experiment] = event.fingerprint
        state.edited.pop(event.experiment, None)


def _row_vanished(state: State, event: events.RowVanished, now_s: float) -> None:
    experiment = state.known(event.experiment)
    state.put(replace(experiment, missing_since_s=now_s))


def _row_returned(state: State, event: events.RowReturned, _now_s: float) -> None:
    experiment = state.known(event.experiment)
    state.put(replace(experiment, missing_since_s=None))


ROW_FOLDS: dict[type, Callable[[State, Any, float], None]] = {
    events.ActionConsumed: _action_consumed,
    events.ActionCleared: _action_cleared,
    events.RequestObeyed: _request_obeyed,
    events.RowEdited: _row_edited,
    events.RowRevised: _row_revised,
    events.RowVanished: _row_vanished,
    events.RowReturned: _row_returned,
}
