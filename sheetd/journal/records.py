"""The rows of the table of events: how they are written, and how damage is noticed when they are read.

SQLite's own check looks at the structure of the file, not at what is in it, so each text carries a CRC, and numbers
have no gaps. An event that is gone could be a launch, and a forgotten launch is an experiment that runs twice.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sheetd.core import events as ev
from sheetd.core.events import Event
from sheetd.core.model import ExperimentId, experiment_of
from sheetd.errors import JournalError
from sheetd.journal import codec
from sheetd.journal.database import damaged


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """An event with its place in the journal. `wall_s` is the wall clock of the daemon's machine then: for people."""

    number: int
    epoch: int
    wall_s: float
    event: Event


def write(connection: sqlite3.Connection, events: Sequence[Event], *, epoch: int, wall_s: float) -> None:
    """Append. Must be called inside a transaction."""
    (last,) = connection.execute("SELECT coalesce(max(number), 0) FROM events").fetchone()
    rows = []
    for number, event in enumerate(events, start=last + 1):
        text = codec.encode(event)
        crc = zlib.crc32(text.encode())
        rows.append((number, epoch, wall_s, codec.VERSION, event.kind, experiment_in(event), crc, text))
    connection.executemany(
        "INSERT INTO events (number, epoch, wall_s, version, kind, experiment, crc, text)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )


def read(
    connection: sqlite3.Connection, path: Path, *, after: int = 0, experiment: ExperimentId | None = None
) -> Iterator[Recorded]:
    """The events in order. Raises JournalError at the first that is damaged, missing, or from a newer sheetd."""
    rows = connection.execute(
        "SELECT number, epoch, wall_s, version, crc, text FROM events"
        " WHERE number > ? AND (? IS NULL OR experiment = ?) ORDER BY number",
        (after, experiment, experiment),
    )
    expected = after
    for number, epoch, wall_s, version, crc, text in rows:
        expected += 1
        if experiment is None and number != expected:
            raise damaged(path, f"event {expected} is missing")
        if zlib.crc32(text.encode()) != crc:
            raise damaged(path, f"the text of event {number} is not what was written")
        try:
            event = codec.decode(text, version)
        except JournalError as error:
            raise JournalError(f"{path}, event {number}: {error}") from error
        yield Recorded(number=number, epoch=epoch, wall_s=wall_s, event=event)


def experiment_in(event: Event) -> ExperimentId | None:
    """Whose history the event belongs to, or None for the daemon's own and those of hosts."""
    if isinstance(event, ev.LaunchIntended | ev.AttemptAdopted | ev.AttemptStarted | ev.StopIntended | ev.AttemptEnded):
        return experiment_of(event.attempt)
    found: ExperimentId | None = getattr(event, "experiment", None)
    return found
