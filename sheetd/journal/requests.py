"""What people ask of a running daemon from the command line, and what it answered.

A file of its own: the process of a person who pressed Ctrl-Z in the wrong moment may hold this file's lock, but never
the journal's. A request is durable when `add` returns; the daemon answers it once, and a
repeated answer changes nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sheetd.journal.database import explained, open_for_writing, transaction

REQUESTS_NAME = "requests.sqlite"
#: Answered requests are kept for those who wait for the answer, not for history.
KEPT: Final = 1_000
#: How many the daemon takes in one go.
BATCH: Final = 200

_TABLE = """CREATE TABLE IF NOT EXISTS requests (
              number INTEGER PRIMARY KEY AUTOINCREMENT, action TEXT NOT NULL, subject TEXT NOT NULL,
              wall_s REAL NOT NULL, answer TEXT, asked_by TEXT NOT NULL DEFAULT ''
            )"""
#: What brings a file of before to the same shape: then only experiments were spoken of, and nobody was named.
_SINCE = (
    "ALTER TABLE requests RENAME COLUMN experiment TO subject",
    "ALTER TABLE requests ADD COLUMN asked_by TEXT NOT NULL DEFAULT ''",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`stop`, `restart` or `rerun` of an experiment by its id; `drain`, `resume` or `retest` of a host by its name."""

    number: int
    action: str
    subject: str
    by: str = ""
    #: When it was asked. With the number it names the request, also after this file was lost.
    wall_s: float = 0.0


class RequestStore:
    """The requests of one state folder. Any process of the same user may add one, whether or not a daemon runs."""

    def __init__(self, folder: Path, *, wall_s: Callable[[], float] = time.time) -> None:
        self.path = folder / REQUESTS_NAME
        self._wall_s = wall_s
        self._mutex = threading.Lock()
        with explained(self.path):
            self._connection = open_for_writing(self.path, synchronous="FULL")
            try:
                with transaction(self._connection):
                    self._connection.execute(_TABLE)
                    columns = [row[1] for row in self._connection.execute("PRAGMA table_info(requests)")]
                    if "experiment" in columns:
                        for statement in _SINCE:
                            self._connection.execute(statement)
            except BaseException:
                self._connection.close()
                raise

    def add(self, action: str, subject: str, *, by: str = "") -> int:
        """Ask; returns the number under which the answer can be looked up."""
        with self._mutex, explained(self.path), transaction(self._connection):
            number = self._connection.execute(
                "INSERT INTO requests (action, subject, wall_s, asked_by) VALUES (?, ?, ?, ?)",
                (action, subject, self._wall_s(), by),
            ).lastrowid
            assert number is not None  # noqa: S101 - an INSERT that did not raise has a row id; said for the type checker
            self._connection.execute("DELETE FROM requests WHERE answer IS NOT NULL AND number <= ?", (number - KEPT,))
        return number

    def ask_once(self, action: str, subject: str) -> int:
        """Ask, unless the very same is asked already and nobody has answered it; returns the number either way."""
        with self._mutex, explained(self.path):
            row = self._connection.execute(
                "SELECT number FROM requests WHERE answer IS NULL AND action = ? AND subject = ?", (action, subject)
            ).fetchone()
        return self.add(action, subject) if row is None else int(row[0])

    def pending(self) -> tuple[Request, ...]:
        """Those without an answer, oldest first, at most BATCH at a time."""
        with self._mutex, explained(self.path):
            rows = self._connection.execute(
                "SELECT number, action, subject, asked_by, wall_s FROM requests WHERE answer IS NULL"
                " ORDER BY number LIMIT ?",
                (BATCH,),
            ).fetchall()
        return tuple(
            Request(number=number, action=action, subject=subject, by=by, wall_s=wall_s)
            for number, action, subject, by, wall_s in rows
        )

    def finish(self, number: int, answer: str) -> None:
        """Say what became of it, for the person who asked. The first answer stays."""
        with self._mutex, explained(self.path), transaction(self._connection):
            self._connection.execute(
                "UPDATE requests SET answer = ? WHERE number = ? AND answer IS NULL", (answer, number)
            )

    def answer(self, number: int) -> str | None:
        """What the daemon said, or None while it has not."""
        with self._mutex, explained(self.path):
            row = self._connection.execute("SELECT answer FROM requests WHERE number = ?", (number,)).fetchone()
        return row[0] if row else None

    def close(self) -> None:
        with self._mutex:
            self._connection.close()
