"""Stopping: whom to signal, with what, and when. TERM, the grace, ABRT for a traceback, KILL.

Signals go to proven processes of the attempt only. It waits for nothing and says of nothing that it has ended: the
supervisor looks again until nothing is left.
"""

import signal
from typing import Any, Dict, List, Optional, Set

from . import cgroup
from .attempt import Attempt
from .judgement import Identity, Process, who_to_signal
from .system import System, dump

ABORT_PAUSE_S = 1.0  # for Python's faulthandler to write where every thread is
UNKILLABLE_S = 60.0
CLOCKS_APART_S = 2.0  # the kernel's start ticks of a process may lag behind boottime by a tick; be generous

Json = Dict[str, Any]


def order_stop(system: System, attempt: Attempt, grace: float) -> None:
    """Stop.json; a second order may only shorten the grace."""
    now = system.boottime()
    order = {"at": now, "grace_s": grace, "asked": True, "reason": None, "gently": grace > 0}
    former = attempt.load("stop.json")
    if former is not None:
        left = former["at"] + former["grace_s"] - now
        order.update(at=former["at"], grace_s=now - former["at"] + min(grace, left))
    system.replace(attempt.at("stop.json"), dump(order), durable=True)
    attempt.wake()


class Stopping:
    """What was sent to whom, during the life of one run."""

    def __init__(self, system: System, marker: bytes, keeper: int, claimed_at: float) -> None:
        self.system = system
        self.marker = marker
        self.keeper = keeper
        self.since = claimed_at - CLOCKS_APART_S  # the marker is no older
        self.shim: Optional[Identity] = None
        self.job: Optional[Identity] = None
        self.cgroup: Optional[str] = None
        self.told: Dict[Identity, int] = {}
        self.seen: Set[int] = set()  # everybody who was ever found to be of the attempt
        self.aborted_at: Optional[float] = None

    def follow(self, shim: Optional[Identity], job: Optional[Identity], group: Optional[str]) -> None:
        """A new run, whose processes these are."""
        self.shim, self.job, self.cgroup = shim, job, group
        self.told, self.aborted_at = {}, None

    def targets(self) -> List[Identity]:
        """Everything of the run that lives."""
        known = {one for one in (self.shim, self.job) if one}
        contained = set(cgroup.members(self.cgroup)) if self.cgroup else set()
        found = who_to_signal(self.table(), known, self.keeper, contained)
        self.seen.update(one.pid for one in found)
        return found

    def table(self) -> List[Process]:
        return self.system.table(self.marker, self.since)

    def send(self, targets: List[Identity], number: int) -> None:
        if number == signal.SIGKILL and self.cgroup and targets:
            cgroup.kill(self.cgroup)
        for one in targets:
            if self.told.get(one) != number:
                self.told[one] = number
                self.system.signal(one, number)

    def obey(self, stop: Json) -> float:
        """Carry a stop further. Returns seconds until it needs another look."""
        now = self.system.boottime()
        left = float(stop["at"] + stop["grace_s"] - now)
        targets = self.targets()
        others = [one for one in targets if one != self.shim]  # the shim must live to testify; it ends with its job
        if left > 0:
            self.send(others or targets, signal.SIGTERM)
            return left
        pause = self.abort(now) if stop.get("gently", True) else 0.0
        if pause > 0:
            return pause
        self.send(others if others or left > -2.0 - ABORT_PAUSE_S else targets, signal.SIGKILL)
        return min(max(-left, 0.05), 5.0)

    def abort(self, now: float) -> float:
        """Make the job say where it hangs before it is killed. Returns how long that may still take."""
        if self.job is None or (self.aborted_at is None and not self.system.alive(self.job)):
            return 0.0
        if self.aborted_at is None:
            self.aborted_at = now
            self.system.spare_core(self.job)
            self.system.signal(self.job, signal.SIGABRT)
        return self.aborted_at + ABORT_PAUSE_S - now if self.system.alive(self.job) else 0.0

    def was_killed_by_us(self) -> bool:
        return signal.SIGKILL in self.told.values()


def survivors(count: int) -> str:
    what = "1 process survives" if count == 1 else "{} processes survive".format(count)
    return what + " SIGKILL (stuck in the kernel?)"
