"""An attempt that another daemon started becomes one of ours: the only way in which a history may have a gap.

Those before it are over, or it would not exist: whoever started it had a proof. Which, our journal does not know.
"""

from __future__ import annotations

from dataclasses import replace

from sheetd.core.events import AttemptAdopted, LaunchIntended
from sheetd.core.lifecycle import Move, after
from sheetd.core.model import Afterwards, Attempt, Experiment, Proof, Reason, attempt_id, experiment_of
from sheetd.errors import IllegalTransition


def attempt_from(event: LaunchIntended | AttemptAdopted, number: int) -> Attempt:
    """The attempt as the event that brings it into our books tells it."""
    return Attempt(
        id=event.attempt,
        number=number,
        host=event.host,
        slots=event.slots,
        nonce=event.nonce,
        machine=event.machine,
        accelerators=event.accelerators,
    )


def adopted(known: Experiment | None, event: AttemptAdopted) -> Experiment:
    """The experiment with the attempt as its newest. Raises IllegalTransition when ours is newer, or the same."""
    id_, number = experiment_of(event.attempt), int(event.attempt.rpartition(".")[2])
    experiment = known or Experiment(id=id_, spec=event.spec, accepted_wall_s=event.wall_s)
    newest = experiment.attempt
    if newest is not None and newest.number >= number and not _is_same_number_elsewhere(newest, number, event):
        raise IllegalTransition(f"{event.attempt} is not newer than {newest.id}")
    kept = tuple(_closed(attempt) for attempt in experiment.attempts[: number - 1])
    missing = tuple(
        _closed(Attempt(id=attempt_id(id_, n), number=n, host=event.host, slots=(), nonce=""))
        for n in range(len(kept) + 1, number)
    )
    return replace(
        experiment,
        spec=event.spec,
        phase=after(experiment.phase, Move.ADOPTED),
        attempts=(*kept, *missing, attempt_from(event, number)),
        afterwards=Afterwards.END,
        stop_reason="",
        stop_by_person=False,
        is_paused=False,
        handed={},
        handovers=0,
        missing_since_s=None,
    )


def _is_same_number_elsewhere(newest: Attempt, number: int, event: AttemptAdopted) -> bool:
    """Whether ours was meant for somewhere, and only the other daemon's of that number came into being."""
    is_another = (newest.host, newest.nonce) != (event.host, event.nonce)
    return newest.number == number and newest.proof is None and is_another


def _closed(attempt: Attempt) -> Attempt:
    if attempt.proof is not None:
        return attempt
    return replace(
        attempt, reason=Reason.HOST_LOST, proof=Proof.SUCCEEDED_BY_ANOTHER, detail="ended under another daemon"
    )
