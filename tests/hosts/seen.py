"""What a host reported, collected so that a test can wait for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sheetd.core.model import AttemptId, Restarts, Spec
from sheetd.core.observation import (
    AttemptReported,
    AttemptSeen,
    HostSeen,
    HostUnseen,
    MetricsReported,
    Observation,
    Seen,
)
from sheetd.hosts.host import LocalHost
from sheetd.ports import LaunchOrder

Kind = TypeVar("Kind")

OVER = {Seen.EXITED, Seen.LOST, Seen.REVOKED, Seen.REBOOTED}


class Reports:
    """Give `reports.add` to `Host.keep`."""

    def __init__(self) -> None:
        self.all: list[Observation] = []
        self._changed = threading.Condition()

    def add(self, observation: Observation) -> None:
        with self._changed:
            self.all.append(observation)
            self._changed.notify_all()

    def wait(
        self,
        kind: type[Kind],
        such_that: Callable[[Kind], bool] = lambda _: True,
        *,
        since: int = 0,
        within_s: float = 20.0,
    ) -> Kind:
        """The first report of this kind for which that is true, now or to come. `since` skips that many reports."""

        def found() -> Kind | None:
            return next((o for o in self.all[since:] if isinstance(o, kind) and such_that(o)), None)

        return self.until(found, kind.__name__, within_s=within_s)

    def until(self, found: Callable[[], Kind | None], what: str, *, within_s: float = 20.0) -> Kind:
        """What that finds, asked anew after each report."""
        with self._changed:
            assert self._changed.wait_for(lambda: bool(found()), within_s), f"not reported: {what}; {self}"
            report = found()
        assert report is not None
        return report

    def attempt(self, attempt: AttemptId, *states: Seen, within_s: float = 20.0) -> AttemptSeen:
        return self.wait(
            AttemptReported, lambda o: o.attempt == attempt and o.seen.state in states, within_s=within_s
        ).seen

    def points(self, attempt: AttemptId) -> list[dict[str, float]]:
        with self._changed:
            batches = [o for o in self.all if isinstance(o, MetricsReported) and o.attempt == attempt]
        return [dict(point.values) for batch in batches for point in batch.points]

    def unseen(self) -> list[HostUnseen]:
        with self._changed:
            return [o for o in self.all if isinstance(o, HostUnseen)]

    def __str__(self) -> str:
        return f"{len(self.all)} reports, the latest: {self.all[-5:]}"


def order(
    attempt: AttemptId,
    *argv: str,
    resume: bool = False,
    secrets: dict[str, str] | None = None,
    nonce: str = "7" * 32,
    **spec: object,
) -> LaunchOrder:
    """A launch of `argv` that is not restarted by itself."""
    known: dict[str, object] = {"restarts": Restarts(max=0), "grace_s": 5.0, **spec}
    return LaunchOrder(
        attempt=attempt,
        nonce=nonce,
        spec=Spec(template="test", argv=argv, **known),  # type: ignore[arg-type]
        resume=resume,
        secrets=secrets or {},
    )


def end_attempts(root: Path) -> None:
    """Stop whatever still lives below a state folder of this machine, so that a test leaves no process behind."""
    reports, last = Reports(), LocalHost("last", root, epoch=10**6)
    last.keep(reports.add)
    kept = reports.wait(HostSeen).attempts
    last.watch(dict.fromkeys(kept, 0))
    for attempt in (attempt for attempt, seen in kept.items() if seen.state not in OVER):
        last.stop(attempt, 0.0)
        reports.attempt(attempt, *OVER)
    last.close()
