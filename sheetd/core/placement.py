"""Which host an experiment gets, and why the others wait.

Pure bookkeeping over slots: a slot is free when no live attempt of ours holds it and its host answers. A host that
cannot be reached keeps its slots taken, for what runs there goes on running.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sheetd.core.model import Experiment, ExperimentId, HostName, Reason, SlotName


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A host as placement sees it. `closed` says in words why it takes nothing at the moment, if so."""

    name: HostName
    slots: tuple[SlotName, ...]
    free: tuple[SlotName, ...]
    labels: frozenset[str] = frozenset()
    closed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Who goes where, and a sentence for each experiment that does not."""

    placed: Mapping[ExperimentId, tuple[HostName, tuple[SlotName, ...]]] = field(default_factory=dict)
    waiting: Mapping[ExperimentId, str] = field(default_factory=dict)


def place(waiting: Iterable[Experiment], hosts: Iterable[Candidate]) -> Placement:
    """Hand out free slots by priority, then by order of acceptance.

    Each goes to a host that refused it least often, rather to the one where it ran last (its checkpoint is there), and
    then to the one with the most room.
    An experiment that fits nowhere now does not hold up smaller ones behind it. Where this is weak: a steady stream of
    small ones can keep a large one waiting.
    """
    candidates = {host.name: host for host in hosts}
    free = {host.name: list(host.free) for host in candidates.values() if not host.closed}
    placed: dict[ExperimentId, tuple[HostName, tuple[SlotName, ...]]] = {}
    reasons: dict[ExperimentId, str] = {}
    queue = sorted(waiting, key=lambda experiment: -experiment.spec.priority)
    ahead = 0
    for experiment in queue:
        need = experiment.spec.slots
        allowed = [name for name in candidates if allows(candidates[name], experiment.spec.where)]
        roomy = [name for name in allowed if len(free.get(name, ())) >= need]
        if roomy:
            chosen = max(roomy, key=lambda name: (*_past(experiment, name), len(free[name])))
            placed[experiment.id] = (chosen, tuple(free[chosen][:need]))
            del free[chosen][:need]
        else:
            reasons[experiment.id] = why_not(experiment, [candidates[name] for name in allowed], ahead)
            ahead += 1
    return Placement(placed=placed, waiting=reasons)


def _past(experiment: Experiment, host: HostName) -> tuple[int, bool]:
    refused = sum(attempt.host == host and attempt.reason is Reason.LAUNCH_FAILED for attempt in experiment.attempts)
    last = next((attempt.host for attempt in reversed(experiment.attempts) if attempt.started), None)
    return -refused, last == host


def allows(host: Candidate, where: str) -> bool:
    """Whether `where` (a host name, a label, or nothing) permits the host."""
    wanted = where.strip().casefold()
    return not wanted or wanted == host.name.casefold() or wanted in {label.casefold() for label in host.labels}


def why_not(experiment: Experiment, allowed: list[Candidate], ahead: int) -> str:
    """The sentence for the row: what it needs, what each host says, and what happens next."""
    need = experiment.spec.slots
    if not allowed:
        if not experiment.spec.where:
            return "no host is configured: add one with a [[hosts]] entry"
        return f'where is "{experiment.spec.where[:60]}": no host has this name or label'
    if all(len(host.slots) < need for host in allowed):
        most = max(len(host.slots) for host in allowed)
        return f"needs {need} slots on one host; the largest host it may use has {most}"
    busy = [host for host in allowed if not host.closed]
    closed = [f"{host.name} {host.closed}" for host in allowed if host.closed]
    if not busy:
        return f"waits for a host: {'; '.join(closed[:3])}"
    free = sum(len(host.free) for host in busy)
    total = sum(len(host.slots) for host in busy)
    line = f"waits for {need} slot{'s' if need > 1 else ''}: {total - free} of {total} are taken"
    if ahead:
        line += f", {ahead} ahead of it"
    if closed:
        line += f"; {'; '.join(closed[:2])}"
    return line
