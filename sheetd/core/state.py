"""What the journal adds up to: `apply` folds one event in, and nothing else changes the state.

An event that the lifecycle forbids raises IllegalTransition before anything is touched. Times kept here are monotonic
and belong to this daemon's life: after a restart every delay is counted again in full, so it is never cut short.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any

from sheetd.core import events, health
from sheetd.core.adoption import adopted, attempt_from
from sheetd.core.drafts import DRAFT_FOLDS, Draft
from sheetd.core.health import UNKNOWN_HEALTH, HostHealth
from sheetd.core.host_folds import HOST_FOLDS
from sheetd.core.lifecycle import Move, after
from sheetd.core.model import (
    Afterwards,
    Attempt,
    AttemptId,
    Experiment,
    ExperimentId,
    HostName,
    Phase,
    Reason,
    Takeover,
    attempt_id,
    experiment_of,
    group_of,
    row_of,
)
from sheetd.core.row_folds import ROW_FOLDS
from sheetd.core.sweeps import Sweep, group_around
from sheetd.core.work import work_of
from sheetd.errors import IllegalTransition


@dataclass(slots=True)
class State:
    """All experiments, and the few indexes that keep the cost of a turn to what is open."""

    epoch: int = 0
    #: How many events were folded in: what was concluded from the state holds as long as this is the same.
    folded: int = field(default=0, compare=False)
    #: Each epoch that began, in order, and how many events there were before it.
    begun: list[tuple[int, int]] = field(default_factory=list, compare=False)
    experiments: dict[ExperimentId, Experiment] = field(default_factory=dict)
    drafts: dict[ExperimentId, Draft] = field(default_factory=dict)
    #: The user cells of each accepted row, as they were then: by these a row is recognised when its id was lost.
    fingerprints: dict[ExperimentId, str] = field(default_factory=dict)
    #: The other way round. Several ids may share a fingerprint: people type the same row twice.
    by_fingerprint: dict[str, dict[ExperimentId, None]] = field(default_factory=dict)
    consumed: dict[ExperimentId, str] = field(default_factory=dict)
    #: The ids of what is executed, by what that does (`work`). Filed once, and never taken out.
    by_work: dict[bytes, dict[ExperimentId, None]] = field(default_factory=dict)
    #: Those whose consumed word was not obeyed, and why if it was for what the row is (else empty).
    unobeyed: dict[ExperimentId, str] = field(default_factory=dict)
    #: The last request of the command line that was obeyed, by its number and its time.
    obeyed_requests: dict[ExperimentId, tuple[int, float]] = field(default_factory=dict)
    #: What accepted rows say that were edited since.
    edited: dict[ExperimentId, str] = field(default_factory=dict)
    #: While the tab is being taken from another daemon.
    takeover: Takeover | None = None
    #: Everything that is not ENDED, in order of acceptance (a dict is the ordered set of the language).
    open: dict[ExperimentId, None] = field(default_factory=dict)
    live: dict[AttemptId, ExperimentId] = field(default_factory=dict)
    #: The rows that stand for several runs.
    sweeps: dict[ExperimentId, Sweep] = field(default_factory=dict)
    #: The consumed word of each host in the tab of hosts.
    host_words: dict[HostName, events.HostActionConsumed] = field(default_factory=dict)
    #: What is on record of hosts; those without an entry never gave cause for one (`health_of`).
    health: dict[HostName, HostHealth] = field(default_factory=dict)

    def apply(self, event: events.Event, now_s: float) -> None:
        """Fold one event in. Raises IllegalTransition and changes nothing when it cannot have happened."""
        _FOLDS[type(event)](self, event, now_s)
        self.folded += 1

    def folded_until(self, epoch: int) -> int:
        """How many events were recorded before anything of a later epoch than this was."""
        place = bisect_right(self.begun, epoch, key=itemgetter(0))
        return self.begun[place][1] if place < len(self.begun) else self.folded

    def knows(self, experiment: str) -> bool:
        return experiment in self.experiments or experiment in self.drafts

    def put(self, experiment: Experiment) -> None:
        """For the folds below only: everything else changes the state through an event."""
        sweep, group = self.sweeps.get(experiment.id), group_of(experiment.id)
        phase = experiment.phase if sweep is None or experiment.is_live else sweep.phase
        kept = replace(experiment, phase=phase, revision=experiment.revision + 1)
        known = self.experiments.get(kept.id)
        if sweep is None and (known is None or known.spec is not kept.spec):
            self.by_work.setdefault(work_of(kept.spec), {})[kept.id] = None
        self.experiments[kept.id] = kept
        if kept.phase is Phase.ENDED:
            self.open.pop(kept.id, None)
        else:
            self.open[kept.id] = None
        if group is not None:
            self.sweeps[group].note(kept)
            self.put(self.experiments[group])

    def print_of(self, experiment: ExperimentId) -> str | None:
        """The typed cells by which the experiment's row is recognised."""
        draft = self.drafts.get(experiment)
        return draft.fingerprint if draft is not None else self.fingerprints.get(experiment)

    def file_under(self, fingerprint: str, experiment: ExperimentId) -> None:
        """For the folds below only: keep `by_fingerprint` in step."""
        old = self.print_of(experiment)
        if old is not None and old != fingerprint:
            alike = self.by_fingerprint.get(old, {})
            alike.pop(experiment, None)
            if not alike:
                self.by_fingerprint.pop(old, None)
        if fingerprint:
            self.by_fingerprint.setdefault(fingerprint, {})[experiment] = None

    def known(self, experiment: ExperimentId) -> Experiment:
        """The accepted experiment. Raises IllegalTransition when there is none."""
        try:
            return self.experiments[experiment]
        except KeyError:
            raise IllegalTransition(f"there is no experiment {experiment}") from None

    def revisable(self) -> Iterator[tuple[Experiment, str]]:
        """Those whose edited row may still change what runs, each with what its row says."""
        for id_, typed in self.edited.items():
            experiment = self.experiments[id_]
            if experiment.takes_live_edits and id_ not in self.sweeps:
                yield experiment, typed

    def members(self, group: ExperimentId) -> list[Experiment]:
        """Every run that there ever was of a row that stands for several."""
        return [self.experiments[id_] for id_ in self.sweeps[group].known]

    def health_of(self, host: HostName) -> HostHealth:
        return self.health.get(host, UNKNOWN_HEALTH)

    def newest(self, attempt: AttemptId) -> tuple[Experiment, Attempt]:
        experiment = self.experiments.get(experiment_of(attempt))
        if experiment is None or experiment.attempt is None or experiment.attempt.id != attempt:
            raise IllegalTransition(f"{attempt} is not the newest attempt of a known experiment")
        return experiment, experiment.attempt


def _with_attempt(experiment: Experiment, attempt: Attempt) -> tuple[Attempt, ...]:
    return (*experiment.attempts[:-1], attempt)


def _daemon_started(state: State, event: events.DaemonStarted, now_s: float) -> None:
    state.begun.append((event.epoch, state.folded))
    state.epoch = event.epoch
    for host, record in state.health.items():
        state.health[host] = health.recounted(record, now_s, event.wall_s)


def _takeover_begun(state: State, event: events.TakeoverBegun, _now_s: float) -> None:
    if event.epoch < state.epoch or event.epoch <= event.former_epoch:
        raise IllegalTransition(f"epoch {event.epoch} is not above {state.epoch} and {event.former_epoch}")
    state.begun.append((event.epoch, state.folded))
    state.epoch = event.epoch
    state.takeover = Takeover(event.former_owner, event.former_epoch, event.former_where)


def _takeover_ended(state: State, _event: events.TakeoverEnded, _now_s: float) -> None:
    state.takeover = None


def _row_accepted(state: State, event: events.RowAccepted, now_s: float) -> None:
    if event.experiment in state.experiments:
        raise IllegalTransition(f"{event.experiment} was accepted before")
    state.file_under(event.fingerprint, event.experiment)
    state.drafts.pop(event.experiment, None)
    state.fingerprints[event.experiment] = event.fingerprint
    state.put(
        Experiment(
            id=event.experiment,
            spec=event.spec,
            accepted_wall_s=event.wall_s,
            resume=False,
            waiting_since_s=now_s,
        )
    )


def _sweep_expanded(state: State, event: events.SweepExpanded, now_s: float) -> None:
    id_, known = event.experiment, state.experiments.get(event.experiment)
    if known is not None and known.is_live:
        raise IllegalTransition(f"{id_} is {known.phase.value} as one experiment: it cannot become several")
    if taken := [member.id for member in event.begun if member.id in state.experiments or group_of(member.id) != id_]:
        raise IllegalTransition(f"{taken[0]} cannot be a new member of {id_}")
    sweep = state.sweeps.setdefault(id_, Sweep())
    if strange := set(event.members) - sweep.known.keys() - {member.id for member in event.begun}:
        raise IllegalTransition(f"{min(strange)} is no member of {id_}")
    state.file_under(event.fingerprint, id_)
    state.drafts.pop(id_, None)
    state.fingerprints[id_] = event.fingerprint
    state.edited.pop(id_, None)
    group = known or Experiment(id=id_, spec=event.spec, accepted_wall_s=event.wall_s)
    state.experiments[id_] = replace(group, spec=event.spec, is_paused=False)
    for member in event.begun:
        begun = Experiment(
            id=member.id, spec=member.spec, accepted_wall_s=event.wall_s, resume=False, waiting_since_s=now_s
        )
        state.put(begun)
    sweep.members = event.members
    state.put(state.experiments[id_])


def _launch_intended(state: State, event: events.LaunchIntended, _now_s: float) -> None:
    experiment = state.known(experiment_of(event.attempt))
    phase = after(experiment.phase, Move.LAUNCH_INTENDED)
    former, number = experiment.attempt, len(experiment.attempts) + 1
    if former is not None and former.proof is None:
        raise IllegalTransition(f"{former.id} is not proven to be over: {event.attempt} may not exist")
    if event.attempt != attempt_id(experiment.id, number):
        raise IllegalTransition(f"{event.attempt} is not the next attempt of {experiment.id}")
    state.put(
        replace(
            experiment,
            phase=phase,
            attempts=(*experiment.attempts, attempt_from(event, number)),
            handed={},
            handovers=0,
            afterwards=Afterwards.END,
            stop_reason="",
            stop_by_person=False,
        )
    )
    state.live[event.attempt] = experiment.id


def _attempt_adopted(state: State, event: events.AttemptAdopted, _now_s: float) -> None:
    id_ = experiment_of(event.attempt)
    known, row = state.experiments.get(id_), row_of(id_)
    experiment = adopted(known, event)
    if row not in state.experiments:
        state.file_under(event.fingerprint, row)
        state.drafts.pop(row, None)
        state.fingerprints[row] = event.fingerprint
    if known is not None and known.attempt is not None:
        state.live.pop(known.attempt.id, None)
    if row != id_:
        state.sweeps.setdefault(row, Sweep())
        state.experiments.setdefault(row, group_around(experiment))
    state.put(experiment)
    state.live[event.attempt] = id_


def _attempt_started(state: State, event: events.AttemptStarted, _now_s: float) -> None:
    experiment, attempt = state.newest(event.attempt)
    state.put(
        replace(
            experiment,
            phase=after(experiment.phase, Move.STARTED),
            attempts=_with_attempt(experiment, replace(attempt, started=True)),
            started_wall_s=experiment.started_wall_s or event.wall_s,
        )
    )


def _stop_intended(state: State, event: events.StopIntended, _now_s: float) -> None:
    experiment, _ = state.newest(event.attempt)
    state.put(
        replace(
            experiment,
            phase=after(experiment.phase, Move.STOP_INTENDED),
            stop_reason=event.why,
            stop_by_person=experiment.stop_by_person or event.by_person,
            afterwards=event.then,
        )
    )


def _attempt_ended(state: State, event: events.AttemptEnded, now_s: float) -> None:
    experiment, attempt = state.newest(event.attempt)
    move = Move.FINISHED if event.relaunch_delay_s is None else Move.GIVEN_BACK
    phase = after(experiment.phase, move)
    # What follows is settled now; a reason why it was stopped stays only where that was somebody's wish.
    is_wish = phase is Phase.ENDED and experiment.afterwards is not Afterwards.RELAUNCH
    is_paused = is_wish and experiment.afterwards is Afterwards.PAUSE and event.reason is not Reason.SUCCEEDED
    ended = replace(
        attempt,
        reason=event.reason,
        proof=event.proof,
        exit_code=event.exit_code,
        detail=event.detail,
        restarts=event.restarts,
        runtime_s=event.runtime_s,
    )
    state.put(
        replace(
            experiment,
            phase=phase,
            attempts=_with_attempt(experiment, ended),
            not_before_s=now_s + (event.relaunch_delay_s or 0.0),
            waiting_since_s=now_s,
            resume=True,
            afterwards=Afterwards.END,
            stop_reason=experiment.stop_reason if is_wish else "",
            is_paused=is_paused,
        )
    )
    state.live.pop(event.attempt, None)
    record = health.after_end(state.health_of(attempt.host), ended, event)
    if record != state.health_of(attempt.host):
        state.health[attempt.host] = record


def _experiment_withdrawn(state: State, event: events.ExperimentWithdrawn, _now_s: float) -> None:
    experiment = state.known(event.experiment)
    is_at_rest = experiment.is_paused and not event.pauses
    phase = experiment.phase if is_at_rest else after(experiment.phase, Move.WITHDRAWN)
    state.put(replace(experiment, phase=phase, stop_reason=event.why, is_paused=event.pauses))


def _experiment_reopened(state: State, event: events.ExperimentReopened, now_s: float) -> None:
    experiment = state.known(event.experiment)
    state.put(
        replace(
            experiment,
            phase=after(experiment.phase, Move.REOPENED),
            spec=event.spec or experiment.spec,
            resume=event.resume,
            afterwards=Afterwards.END,
            stop_reason="",
            is_paused=False,
            not_before_s=0.0,
            waiting_since_s=now_s,
            budget_from=len(experiment.attempts) + 1,
            started_wall_s=experiment.started_wall_s if event.resume else None,
        )
    )
    if event.fingerprint:
        state.file_under(event.fingerprint, event.experiment)
        state.fingerprints[event.experiment] = event.fingerprint
        state.edited.pop(event.experiment, None)


_FOLDS: dict[type, Callable[[State, Any, float], None]] = {
    events.DaemonStarted: _daemon_started,
    events.TakeoverBegun: _takeover_begun,
    events.TakeoverEnded: _takeover_ended,
    events.RowAccepted: _row_accepted,
    events.SweepExpanded: _sweep_expanded,
    events.LaunchIntended: _launch_intended,
    events.AttemptAdopted: _attempt_adopted,
    events.AttemptStarted: _attempt_started,
    events.StopIntended: _stop_intended,
    events.AttemptEnded: _attempt_ended,
    events.ExperimentWithdrawn: _experiment_withdrawn,
    events.ExperimentReopened: _experiment_reopened,
    **ROW_FOLDS,
    **DRAFT_FOLDS,
    **HOST_FOLDS,
}
