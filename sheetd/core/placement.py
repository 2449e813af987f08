"""Which host an experiment gets, and why the others wait.

Pure bookkeeping over slots: a slot is free when no live attempt of ours holds it and its host answers. A host that
cannot be reached keeps its slots taken, for what runs there goes on running.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

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
    # Slots only become fewer here, so what found no room once finds none for the next that asks for the same.
    full: dict[tuple[int, str], Sentence] = {}
    ahead = 0
    for experiment in sorted(waiting, key=lambda experiment: -experiment.spec.priority):
        need, where = experiment.spec.slots, experiment.spec.where
        if (need, where) not in full:
            allowed = [name for name in candidates if allows(candidates[name], where)]
            roomy = [name for name in allowed if len(free.get(name, ())) >= need]
            if roomy:
                chosen = max(roomy, key=lambda name: (*_past(experiment, name), len(free[name])))
                placed[experiment.id] = (chosen, tuple(free[chosen][:need]))
                del free[chosen][:need]
                continue
            full[need, where] = why_not(need, where, [candidates[name] for name in allowed])
        reasons[experiment.id] = full[need, where].told(ahead)
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


class Sentence(NamedTuple):
    """Why somebody waits. Where there is a queue, how many are ahead is said in between."""

    line: str
    rest: str = ""
    is_queue: bool = False

    def told(self, ahead: int) -> str:
        return (
            f"{self.line}, {about(ahead)} ahead of it{self.rest}" if self.is_queue and ahead else self.line + self.rest
        )


def about(count: int) -> str:
    """A number of rows. A large one is rounded, or every launch would change the message of everybody who waits."""
    if count < 10:
        return str(count)
    step = 10 ** (len(str(count)) - 1)
    return f"at least {count // step * step}"


def why_not(need: int, where: str, allowed: list[Candidate]) -> Sentence:
    """The sentence for the row: what it needs, what each host says, and what happens next."""
    if not allowed:
        if not where:
            return Sentence("no host is configured: add one with a [[hosts]] entry")
        return Sentence(f'where is "{where[:60]}": no host has this name or label')
    if all(len(host.slots) < need for host in allowed):
        most = max(len(host.slots) for host in allowed)
        return Sentence(f"needs {need} slots on one host; the largest host it may use has {most}")
    busy = [host for host in allowed if not host.closed]
    closed = [f"{host.name} {host.closed}" for host in allowed if host.closed]
    if not busy:
        return Sentence(f"waits for a host: {'; '.join(closed[:3])}")
    free = sum(len(host.free) for host in busy)
    total = sum(len(host.slots) for host in busy)
    line = f"waits for {need} slot{'s' if need > 1 else ''}: {total - free} of {total} are taken"
    return Sentence(line, f"; {'; '.join(closed[:2])}" if closed else "", is_queue=True)
