"""The daemon's journal: `ports.Journal` on SQLite.

An intent is durable when `append` returns (write-ahead log, synchronous=FULL), so it may be acted upon. One daemon per
folder (flock), each with an epoch larger than any before it. Methods may be called from any thread.

It must not decide anything: it keeps events and gives them back in order. Adding them up is for `core.lifecycle`.

A folder restored from a backup has an old epoch and lacks the newest events: the sheet knows a larger one, and
`core.ownership` raises ours above it and asks the hosts for what is missing.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from sheetd.core.events import Event, TakeoverBegun
from sheetd.core.metrics import MetricSummary
from sheetd.core.model import AttemptId
from sheetd.journal import records
from sheetd.journal.cache import Cache
from sheetd.journal.database import check, explained, open_for_writing, transaction
from sheetd.journal.lock import hold
from sheetd.journal.migrations import migrate
from sheetd.journal.requests import Request, RequestStore

JOURNAL_NAME = "journal.sqlite"


class SqliteJournal:
    """Open for writing, at most once per folder. Creates the folder, private to the user, when it is not there.

    Raises JournalError when another daemon holds it, it is damaged, from a newer sheetd, or on a network file system.
    """

    epoch: int
    #: Another for a copy of the folder, on this machine or elsewhere; the same as long as the folder stays where it is.
    owner: str

    def __init__(self, folder: Path, *, wall_s: Callable[[], float] = time.time) -> None:
        self.folder = folder
        self.path = folder / JOURNAL_NAME
        self._wall_s = wall_s
        self._mutex = threading.Lock()
        self._opened: list[Callable[[], None]] = []
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        lock = hold(self.folder)
        self._opened.append(lock.release)
        self.owner = lock.place()
        with explained(self.path):
            self._connection = open_for_writing(self.path, synchronous="FULL")
            self._opened.append(self._connection.close)
            check(self._connection, self.path)
            migrate(self._connection, self.path, self._wall_s())
            self.epoch = _next_epoch(self._connection)
        self._requests = RequestStore(self.folder, wall_s=self._wall_s)
        self._opened.append(self._requests.close)
        self._cache = Cache(self.folder)
        self._opened.append(self._cache.close)

    def append(self, events: Sequence[Event]) -> None:
        """All of them or none. Durable when this returns; JournalError means that none was recorded."""
        if not events:
            return
        raised = [event.epoch for event in events if isinstance(event, TakeoverBegun)]
        epoch = max([self.epoch, *raised])
        with self._mutex, explained(self.path):
            with transaction(self._connection):
                self._connection.execute("UPDATE epoch SET epoch = ?", (epoch,))
                records.write(self._connection, events, epoch=epoch, wall_s=self._wall_s())
            self.epoch = epoch

    def load(self) -> Sequence[Event]:
        """Every event since the beginning, in order."""
        with self._mutex, explained(self.path):
            return [recorded.event for recorded in records.read(self._connection, self.path)]

    def cache_metrics(self, attempt: AttemptId, offset: int, summaries: Mapping[str, MetricSummary]) -> None:
        """Keep what the first `offset` bytes of the attempt's metrics file add up to."""
        self._cache.keep_metrics(attempt, offset, summaries)

    def metrics(self, attempt: AttemptId) -> Mapping[str, MetricSummary]:
        return self._cache.metrics(attempt)

    def metrics_offsets(self) -> Mapping[AttemptId, int]:
        """From which byte on each attempt's metrics are news."""
        return self._cache.offsets()

    def cache_view(self, name: str, view: Mapping[str, Any]) -> None:
        """Keep for other processes what they may want to show. Must be plain JSON."""
        self._cache.set_view(name, view, self._wall_s())

    def add_request(self, action: str, subject: str, *, by: str = "") -> int:
        """As `RequestStore.add`, for callers inside the daemon's process."""
        return self._requests.add(action, subject, by=by)

    def pending_requests(self) -> tuple[Request, ...]:
        """What people asked for on the command line and no `finish_request` has answered yet."""
        return self._requests.pending()

    def finish_request(self, number: int, answer: str) -> None:
        self._requests.finish(number, answer)

    def close(self) -> None:
        """Give the folder back. The lock goes last, so that a successor finds everything closed."""
        with self._mutex:
            while self._opened:
                self._opened.pop()()

    def __enter__(self) -> SqliteJournal:  # noqa: PYI034 - Self is not in Python 3.10
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _next_epoch(connection: sqlite3.Connection) -> int:
    with transaction(connection):
        connection.execute("UPDATE epoch SET epoch = epoch + 1")
        (epoch,) = connection.execute("SELECT epoch FROM epoch").fetchone()
    return int(epoch)
