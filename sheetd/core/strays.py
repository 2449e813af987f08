"""Strays: attempts that a host still runs although our journal has a proof of their end.

No proof of ours is wrong by itself, but a person may say that a machine is gone and it comes back, and a machine may be
restored from a snapshot. A stray is stopped; until it is over it keeps its slots, and nothing of its experiment is
started beside it. What it still says of itself changes nothing in the row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from sheetd.core.effect import Stop
from sheetd.core.model import Attempt, AttemptId, Experiment, ExperimentId, HostName, experiment_of
from sheetd.core.observation import AttemptSeen, Seen
from sheetd.core.probing import give_back
from sheetd.core.state import State
from sheetd.core.world import OVER, HostView, World


def note_strays(world: World, host: HostView, attempts: Mapping[AttemptId, AttemptSeen], now_s: float) -> None:
    """All that the host keeps, as it says now."""
    for attempt in [known for known in host.strays if known not in attempts]:
        note_stray(world, host, attempt, AttemptSeen(state=Seen.ABSENT), now_s)
    for attempt, seen in attempts.items():
        note_stray(world, host, attempt, seen, now_s)


def note_stray(world: World, host: HostView, attempt: AttemptId, seen: AttemptSeen, now_s: float) -> None:
    """What the host says of this attempt, if it is or was a stray."""
    if seen.state not in OVER and seen.state is not Seen.ABSENT:
        if _ended(world.state, attempt) is not None:
            host.strays[attempt] = world.redactor.seen(seen)
    elif host.strays.pop(attempt, None) is not None:
        world.hold_until_s.pop((host.name, attempt), None)
        record = _ended(world.state, attempt)
        if record is not None:
            give_back(world, replace(record, host=host.name), now_s)


def _ended(state: State, attempt: AttemptId) -> Attempt | None:
    """The attempt as our journal has it, if that has a proof of its end."""
    experiment = state.experiments.get(experiment_of(attempt))
    attempts = () if experiment is None else experiment.attempts
    return next((one for one in attempts if one.id == attempt and one.proof is not None), None)


def holding(world: World) -> Iterator[tuple[HostName, Experiment, Attempt]]:
    """Everything that keeps slots of a host from others: strays, and every attempt that has not ended.

    What was begun under the second name of a machine keeps those of the first: no other name of it gets anything new.
    """
    first = {name: host.name for host in world.hosts.values() for name in host.second_names}
    for host in world.hosts.values():
        for attempt in host.strays:
            record = _ended(world.state, attempt)
            if record is not None:
                yield first.get(host.name, host.name), world.state.experiments[experiment_of(attempt)], record
    for id_ in world.state.live.values():
        experiment = world.state.experiments[id_]
        if experiment.attempt is not None:
            name = experiment.attempt.host
            yield first.get(name, name), experiment, experiment.attempt


def in_the_way(world: World) -> dict[ExperimentId, str]:
    """The experiments of which nothing may be started because of a stray, and the sentence for each."""
    return {
        experiment_of(attempt): f"{attempt}, which was taken to be over, still runs on {host.name}: it is stopped first"
        for host in world.hosts.values()
        for attempt in host.strays
    }


def plan_stops(world: World, host: HostView) -> Iterator[Stop]:
    for attempt in host.strays:
        experiment = world.state.experiments.get(experiment_of(attempt))
        if experiment is not None:
            yield Stop(host=host.name, attempt=attempt, grace_s=experiment.spec.grace_s)
