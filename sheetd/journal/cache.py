"""What can be asked again from the hosts: metrics, how far they were read, and views for other processes.

Written without waiting for the disk, so that a thousand metric lines a second cost no fsync. Every entry is bounded. A
damaged or foreign file is deleted and filled anew: only the journal is worth saving.

Weak point: after a power cut the newest seconds are gone together with their offsets, and are read again; after the
whole file is gone, what a host no longer keeps stays gone.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sheetd.core.curve import with_value
from sheetd.core.metrics import MetricSummary
from sheetd.core.model import AttemptId
from sheetd.journal.database import Damaged, check, explained, open_for_writing, transaction

CACHE_NAME = "cache.sqlite"
_SHAPE: Final = 3
_TABLES = (
    """CREATE TABLE metrics (
         attempt TEXT NOT NULL, name TEXT NOT NULL, last REAL NOT NULL, minimum REAL NOT NULL, maximum REAL NOT NULL,
         mean REAL NOT NULL, count INTEGER NOT NULL, step REAL, history BLOB NOT NULL, PRIMARY KEY (attempt, name)
       ) WITHOUT ROWID""",
    "CREATE TABLE offsets (attempt TEXT PRIMARY KEY, offset INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE views (name TEXT PRIMARY KEY, wall_s REAL NOT NULL, text TEXT NOT NULL) WITHOUT ROWID",
    f"PRAGMA user_version={_SHAPE}",
)
_log = logging.getLogger(__name__)


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
                if shape == 2:
                    shape = _from_shape_2(connection)
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

    def keep_metrics(self, attempt: AttemptId, offset: int, summaries: Mapping[str, MetricSummary]) -> None:
        """Keep what the attempt's metrics file adds up to as far as this byte, in place of what was kept before."""
        with self._mutex, explained(self.path), transaction(self._connection):
            self._connection.executemany(
                "INSERT OR REPLACE INTO metrics VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(attempt, name, *_columns(summary)) for name, summary in summaries.items()],
            )
            self._connection.execute("INSERT OR REPLACE INTO offsets VALUES (?, ?)", (attempt, offset))

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
        "SELECT name, last, minimum, maximum, mean, count, step, history FROM metrics WHERE attempt = ?", (attempt,)
    )
    return {
        name: MetricSummary(
            last=last,
            minimum=minimum,
            maximum=maximum,
            mean=mean,
            count=count,
            step=step,
            history=history,
        )
        for name, last, minimum, maximum, mean, count, step, history in rows
    }


def _from_shape_2(connection: sqlite3.Connection) -> int:
    """It kept the last points, with their steps: the curve begins with these."""
    with transaction(connection):
        connection.execute("ALTER TABLE metrics RENAME COLUMN recent TO history")
        for attempt, name, recent in connection.execute("SELECT attempt, name, history FROM metrics").fetchall():
            history = b""
            for _, value in struct.iter_unpack("<dd", recent):
                history = with_value(history, value)
            connection.execute(
                "UPDATE metrics SET history = ? WHERE attempt = ? AND name = ?", (history, attempt, name)
            )
        connection.execute(f"PRAGMA user_version={_SHAPE}")
    return _SHAPE


def read_view(connection: sqlite3.Connection, name: str) -> View | None:
    row = connection.execute("SELECT text, wall_s FROM views WHERE name = ?", (name,)).fetchone()
    return View(value=json.loads(row[0]), wall_s=row[1]) if row else None


def _columns(one: MetricSummary) -> tuple[float | int | bytes | None, ...]:
    return (one.last, one.minimum, one.maximum, one.mean, one.count, one.step, one.history)
