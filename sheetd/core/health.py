"""What the journal says of each host: a person's wish to drain it, our own quarantine, and what speaks against it.

Drain and quarantine both only stop new attempts; what runs goes on. Times here are monotonic and belong to this
daemon's life: after a restart a quarantine is counted again in full, so it is never cut short.

Where it is weak: a host is judged by the endings of attempts on it. Three that point to the host, without one success
between them, are taken for its fault, and three unlucky users can look the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sheetd.core import events as ev
from sheetd.core.model import Attempt, Reason, experiment_of

#: So many endings that point to the host, without a healthy one between them, quarantine it.
FAULTS_MAX = 3
#: An attempt that ran for so long speaks for its host, however it ended.
HEALTHY_S = 600.0
#: The first quarantine in a row, and the longest.
QUARANTINE_S, QUARANTINE_S_MAX = 300.0, 4 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HostHealth:
    """One host's record. The default is that of a host of which nothing is known (`UNKNOWN_HEALTH`)."""

    #: Who wished that it get nothing new; empty when nobody does.
    drained_by: str = ""
    #: Why it is quarantined; empty when it is not.
    quarantine: str = ""
    until_s: float = 0.0
    until_wall_s: float = 0.0
    for_s: float = 0.0
    #: How many quarantines in a row ended without trust.
    times: int = 0
    #: After a quarantine: one attempt at a time until it has proved itself.
    is_on_trial: bool = False
    #: When it was released last (monotonic).
    released_s: float = 0.0
    #: Endings that point to it, the newest last: whose they count as, and what was said.
    faults: tuple[tuple[str, str], ...] = ()
    #: The ids of its accelerators; None before they were seen once.
    accelerators: frozenset[str] | None = None
    #: Registered ones that it does not show any more.
    lost: frozenset[str] = frozenset()

    @property
    def is_closed(self) -> bool:
        """Whether it gets no new attempts."""
        return bool(self.drained_by or self.quarantine)

    @property
    def had_accelerators(self) -> bool:
        """Such a host does not become one of plain slots because it shows none any more."""
        return bool(self.accelerators or self.lost)

    @property
    def is_suspect(self) -> bool:
        """One on trial has no further credit."""
        return len({whose for whose, _ in self.faults}) >= (1 if self.is_on_trial else FAULTS_MAX)


#: Of a host of which nothing is known.
UNKNOWN_HEALTH = HostHealth()


def quarantine_s(health: HostHealth) -> float:
    """How long the next quarantine lasts: each in a row twice as long as the one before."""
    return float(min(QUARANTINE_S * 2**health.times, QUARANTINE_S_MAX))


# --- folds: for `state` only -------------------------------------------------------------------------------------


def after_end(health: HostHealth, attempt: Attempt, event: ev.AttemptEnded) -> HostHealth:
    """What the end of an attempt on it says of the host."""
    if event.host_fault:
        # What a program printed counts once for each experiment: one broken program is no broken host.
        is_attested = event.reason in (Reason.HOST_LOST, Reason.LAUNCH_FAILED)
        whose = attempt.id if is_attested else str(experiment_of(attempt.id))
        known = tuple(fault for fault in health.faults if fault[0] != whose)
        return replace(health, faults=(*known, (whose, event.host_fault))[-FAULTS_MAX:])
    if event.reason is Reason.SUCCEEDED or event.runtime_s >= HEALTHY_S:
        return trusted(health)
    return health


def trusted(health: HostHealth) -> HostHealth:
    """Whatever was held against it is forgotten. A quarantine that is under way ends by its own rules."""
    if health.quarantine:
        return replace(health, faults=())
    return replace(health, faults=(), is_on_trial=False, times=0)


def quarantined(health: HostHealth, event: ev.HostQuarantined, now_s: float) -> HostHealth:
    return replace(
        health,
        quarantine=event.why,
        until_s=now_s + event.for_s,
        until_wall_s=event.until_wall_s,
        for_s=event.for_s,
        times=health.times + 1,
        is_on_trial=False,
        faults=(),
        lost=health.lost | frozenset(event.lost),
        accelerators=None if health.accelerators is None else health.accelerators - frozenset(event.lost),
    )


def released(health: HostHealth, now_s: float) -> HostHealth:
    return replace(health, quarantine="", is_on_trial=True, released_s=now_s, faults=())


def recounted(health: HostHealth, now_s: float, wall_s: float) -> HostHealth:
    """A daemon took over: the rest of a quarantine is not known, so all of it is counted, and shown, once more."""
    if not health.quarantine:
        return health
    return replace(health, until_s=now_s + health.for_s, until_wall_s=wall_s + health.for_s)


def registered(health: HostHealth, event: ev.AcceleratorsRegistered) -> HostHealth:
    ids = frozenset(event.accelerators)
    return replace(health, accelerators=ids, lost=frozenset() if event.forgets_lost else health.lost - ids)


def drained(health: HostHealth, by: str) -> HostHealth:
    return replace(health, drained_by=by or "somebody")


def resumed(health: HostHealth, now_s: float) -> HostHealth:
    return replace(health, drained_by="", quarantine="", is_on_trial=False, times=0, faults=(), released_s=now_s)
