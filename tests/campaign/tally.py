"""What was done to whom and when: counted for the summary, and kept for the judgement afterwards.

A lost exit is excused by the death of its witnesses, so each blow is remembered with the attempt that it struck.
Times are of the kernel's monotonic clock, which all hosts of a fleet share with this machine.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import final


@dataclass(frozen=True, slots=True)
class Blow:
    """One thing done to one host. `pid` is the host's own number for the process."""

    at_s: float
    host: str
    kind: str
    pid: int = 0
    attempt: str = ""
    k: int | None = None

    def __str__(self) -> str:
        run = "" if self.k is None else f" run {self.k}"
        return f"{self.at_s:.3f} {self.host}: {self.kind} {self.attempt}{run} (pid {self.pid})"


@final
@dataclass
class Tally:
    """Kept by several threads. `wanted` kills end the storm."""

    wanted: int
    kills: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    decoys: Counter[str] = field(default_factory=Counter)
    blows: list[Blow] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def kill(self, host: str, kind: str, pid: int = 0, attempt: str = "", k: int | None = None) -> None:
        """A SIGKILL was delivered."""
        with self._lock:
            self.kills[kind] += 1
            self.blows.append(Blow(time.monotonic(), host, kind, pid, attempt, k))

    def fault(self, host: str, kind: str) -> None:
        with self._lock:
            self.faults[kind] += 1
            self.blows.append(Blow(time.monotonic(), host, kind))

    def decoy(self, role: str) -> None:
        with self._lock:
            self.decoys[role] += 1

    @property
    def total(self) -> int:
        return sum(self.kills.values())

    @property
    def is_enough(self) -> bool:
        return self.total >= self.wanted

    def struck(self, attempt: str, kind: str, since_s: float, until_s: float = float("inf")) -> Iterator[Blow]:
        """The blows against one attempt's processes of a kind, between two moments."""
        blows = (blow for blow in self.blows if (blow.attempt, blow.kind) == (attempt, kind))
        return (blow for blow in blows if since_s <= blow.at_s <= until_s)

    def power_losses(self, host: str, since_s: float, until_s: float) -> Iterator[Blow]:
        blows = (blow for blow in self.blows if (blow.host, blow.kind) == (host, "reboot"))
        return (blow for blow in blows if since_s <= blow.at_s <= until_s)
