"""What hosts keep that our journal may not know, while the tab is being taken from another daemon.

Only remembers what hosts say; what becomes of it is decided in `ownership`. A host may also be the first to show that
there is something to take over: it keeps an attempt of an experiment that we know, and we know of no such attempt. Then
our folder was brought back from a backup, and the sheet had not been told yet what the backup lacks.
"""

from __future__ import annotations

from collections.abc import Mapping

from sheetd.core.model import AttemptId, experiment_of, row_of
from sheetd.core.observation import AttemptKept, AttemptSeen
from sheetd.core.world import HostView, Stranger, World

#: One is enough to be in doubt. A host that makes up more with each greeting is not listened to for ever.
UNRECORDED_MAX = 1000


def is_stranger(world: World, attempt: AttemptId) -> bool:
    """Whether an attempt that a host keeps may be unknown to our journal. Whether it is, only its claim there tells."""
    experiment = world.state.experiments.get(experiment_of(attempt))
    newest = None if experiment is None else experiment.attempt
    number = int(attempt.rpartition(".")[2])
    if newest is None or number > newest.number:
        return True
    return number == newest.number and newest.proof is None


def is_unrecorded(world: World, attempt: AttemptId) -> bool:
    """Whether a later state of our journal must have begun it: the experiment is ours, and its attempts are fewer."""
    id_ = experiment_of(attempt)
    experiment = world.state.experiments.get(id_)
    begun = 0 if experiment is None or experiment.attempt is None else experiment.attempt.number
    return world.state.knows(row_of(id_)) and int(attempt.rpartition(".")[2]) > begun


def note_strangers(world: World, host: HostView, attempts: Mapping[AttemptId, AttemptSeen]) -> None:
    """All that the host keeps, as it says now. What it has described before stands."""
    former, host.strangers = host.strangers, {}
    for attempt in attempts:
        if len(world.unrecorded) >= UNRECORDED_MAX:
            break
        if attempt not in world.unrecorded and is_unrecorded(world, attempt):
            world.unrecorded[attempt] = host.name
            world.must_doubt = world.state.takeover is None
    if world.state.takeover is not None:
        for attempt, seen in attempts.items():
            if is_stranger(world, attempt):
                told = world.redactor.seen(seen)
                host.strangers[attempt] = former.get(attempt, Stranger(told))._replace(seen=told)


def note_described(host: HostView, kept: Mapping[AttemptId, AttemptKept]) -> None:
    for attempt, one in kept.items():
        if attempt in host.strangers:
            host.strangers[attempt] = host.strangers[attempt]._replace(kept=one)


def forget_strangers(world: World) -> None:
    for host in world.hosts.values():
        host.strangers.clear()
