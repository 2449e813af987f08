"""What can be asked again from the hosts: metrics, how far they were read, and views for other processes.

Written without waiting for the disk, so that a thousand metric lines a second cost no fsync. Every entry is bounded. A
damaged or foreign file is deleted and filled anew: only the journal is worth saving.

Weak point: after a power cut the newest seconds are gone together with their offsets, and are read again; after the
whole file is gone, what a host no longer keeps stays gone.
"""

from __future__ import annotations

import json
import logging
import math
import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sheetd.core.model import AttemptId
from sheetd.core.observation import MetricPoint
from sheetd.journal.database import Damaged, check, explained, open_for_writing, transaction

CACHE_NAME = "cache.sqlite"
#: Points kept per metric for the little curve in a cell.
RECENT: Final = 120
#: Metrics kept per attempt. A job may invent a name a second; the first ones win.
NAMES: Final = 100
_SHAPE: Final = 1
_TABLES = (
    """CREATE TABLE metrics (
         attempt TEXT NOT NULL, name TEXT NOT NULL, last REAL NOT NULL, minimum REAL NOT NULL, maximum REAL NOT NULL,
         mean REAL NOT NULL, count INTEGER NOT NULL, step REAL, recent TEXT NOT NULL, PRIMARY KEY (attempt, name)
       ) WITHOUT ROWID""",
    "CREATE TABLE offsets (attempt TEXT PRIMARY KEY, offset INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE views (name TEXT PRIMARY KEY, wall_s REAL NOT NULL, text TEXT NOT NULL) WITHOUT ROWID",
    f"PRAGMA user_version={_SHAPE}",
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSummary:
    """One metric of one attempt so far. `step` is the last point's; `recent` holds (step, value), oldest first."""

    last: float
    minimum: float
    maximum: float
    mean: float
    count: int
    step: float | None
    recent: tuple[tuple[float | None, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What the daemon wanted others to show, and the wall time at which it said so."""

    value: Mapping[str, Any]
    wall_s: float


class Cache:
    """The daemon's side. Other processes read through `read_metrics` and `read_view`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / CACHE_NAME
        self._mutex = threading.Lock()
        self._connection = self._open()

    def _open(self) -> sqlite3.Connection:
        try:
            return self._open_as_it_is()
        except Damaged as error:
            _log.warning("%s; it can be asked again from the hosts, so it is started anew", error)
            for suffix in ("", "-wal", "-shm"):
                self.path.with_name(CACHE_NAME + suffix).unlink(missing_ok=True)
            return self._open_as_it_is()

    def _open_as_it_is(self) -> sqlite3.Connection:
        with explained(self.path):
            connection = open_for_writing(self.path, synchronous="NORMAL")
            try:
                check(connection, self.path)
                shape = connection.execute("PRAGMA user_version").fetchone()[0]
                if shape not in (0, _SHAPE):
                    raise Damaged(f"{self.path} was made by another version of sheetd")  # noqa: TRY301 - closes below
                if shape == 0:
                    with transaction(connection):
                        for statement in _TABLES:
                            connection.execute(statement)
            except BaseException:
                connection.close()
                raise
        return connection

    def add_points(self, attempt: AttemptId, end: int, points: Sequence[MetricPoint]) -> None:
        """Fold in the points that end at this byte of the metrics file. A repeated report counts once."""
        with self._mutex, explained(self.path), transaction(self._connection):
            known = self._connection.execute("SELECT offset FROM offsets WHERE attempt = ?", (attempt,)).fetchone()
            if known is not None and end <= known[0]:
                return
            summaries = read_metrics(self._connection, attempt)
            changed = {
                name: summary for name, summary in _folded(summaries, points) if summary is not summaries.get(name)
            }
            self._connection.executemany(
                "INSERT OR REPLACE INTO metrics VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        attempt,
                        name,
                        one.last,
                        one.minimum,
                        one.maximum,
                        one.mean,
                        one.count,
                        one.step,
                        json.dumps(one.recent),
                    )
                    for name, one in changed.items()
                ],
            )
            self._connection.execute("INSERT OR REPLACE INTO offsets VALUES (?, ?)", (attempt, end))

    def metrics(self, attempt: AttemptId) -> Mapping[str, MetricSummary]:
        with self._mutex, explained(self.path):
            return read_metrics(self._connection, attempt)

    def offsets(self) -> Mapping[AttemptId, int]:
        with self._mutex, explained(self.path):
            return dict(self._connection.execute("SELECT attempt, offset FROM offsets").fetchall())

    def set_view(self, name: str, view: Mapping[str, Any], wall_s: float) -> None:
        text = json.dumps(view)
        with self._mutex, explained(self.path), transaction(self._connection):
            self._connection.execute("INSERT OR REPLACE INTO views VALUES (?, ?, ?)", (name, wall_s, text))

    def close(self) -> None:
        with self._mutex:
            self._connection.close()


def read_metrics(connection: sqlite3.Connection, attempt: AttemptId) -> dict[str, MetricSummary]:
    rows = connection.execute(
        "SELECT name, last, minimum, maximum, mean, count, step, recent FROM metrics WHERE attempt = ?", (attempt,)
    )
    return {
        name: MetricSummary(
            last=last,
            minimum=minimum,
            maximum=maximum,
            mean=mean,
            count=count,
            step=step,
            recent=tuple((step, value) for step, value in json.loads(recent)),
        )
        for name, last, minimum, maximum, mean, count, step, recent in rows
    }


def read_view(connection: sqlite3.Connection, name: str) -> View | None:
    row = connection.execute("SELECT text, wall_s FROM views WHERE name = ?", (name,)).fetchone()
    return View(value=json.loads(row[0]), wall_s=row[1]) if row else None


def _folded(before: Mapping[str, MetricSummary], points: Sequence[MetricPoint]) -> Iterable[tuple[str, MetricSummary]]:
    """The summaries after these points. What is not a finite number has no place in a summary and is left out."""
    arrived: dict[str, list[tuple[float | None, float]]] = {}
    for point in points:
        step = point.step if point.step is not None and math.isfinite(point.step) else None
        for name, value in point.values.items():
            if not math.isfinite(value) or (
                name not in before and name not in arrived and len({*before, *arrived}) >= NAMES
            ):
                continue
            arrived.setdefault(name, []).append((step, float(value)))
    for name, new in arrived.items():
        yield name, _summary(before.get(name), new)


def _summary(old: MetricSummary | None, new: Sequence[tuple[float | None, float]]) -> MetricSummary:
    values = [value for _, value in new]
    count, mean = (old.count, old.mean) if old else (0, 0.0)
    for value in values:
        count += 1
        # Not a sum divided by a count: the sum of large finite numbers is not finite.
        mean += value / count - mean / count
    return MetricSummary(
        last=values[-1],
        minimum=min(values if old is None else [old.minimum, *values]),
        maximum=max(values if old is None else [old.maximum, *values]),
        mean=mean,
        count=count,
        step=new[-1][0],
        recent=(*(old.recent if old else ()), *new)[-RECENT:],
    )
