"""The shape of journal.sqlite, as the numbered steps that lead to it.

A step is never edited after a release: the next one is added below it. Each is carried out in a transaction of its own
and recorded, so a crash between two of them leaves a journal that the next start finishes.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from sheetd.errors import JournalError
from sheetd.journal.database import transaction
from sheetd.version import __version__


@dataclass(frozen=True, slots=True)
class Migration:
    number: int
    name: str
    statements: tuple[str, ...]


MIGRATIONS = (
    Migration(
        1,
        "events and epoch",
        (
            """CREATE TABLE events (
                 number     INTEGER PRIMARY KEY,   -- 1, 2, 3 ... without a gap: a gap is a lost event
                 epoch      INTEGER NOT NULL,      -- of the daemon that recorded it
                 wall_s     REAL    NOT NULL,      -- for people; nothing is computed from it
                 version    INTEGER NOT NULL,      -- of the text
                 kind       TEXT    NOT NULL,
                 experiment TEXT,
                 crc        INTEGER NOT NULL,      -- CRC-32 of the text
                 text       TEXT    NOT NULL
               )""",
            "CREATE INDEX events_by_experiment ON events (experiment, number)",
            "CREATE TABLE epoch (only_row INTEGER PRIMARY KEY CHECK (only_row = 1), epoch INTEGER NOT NULL)",
            "INSERT INTO epoch VALUES (1, 0)",
        ),
    ),
    Migration(
        2,
        "no attempt without proof that the one before is over",
        (
            # What the core promises, held by the file itself: whatever bug there may be above, an attempt cannot be
            # recorded, and so not be launched, while one before it may live.
            # An attempt begins by being intended, or by being adopted from another daemon. In each trigger the first
            # table is the newest beginning: nothing (NULL), or one row.
            """CREATE TRIGGER intent_follows_proof BEFORE INSERT ON events WHEN NEW.kind = 'LaunchIntended'
               BEGIN
                 SELECT CASE
                   WHEN json_extract(NEW.text, '$.attempt') <> NEW.experiment || '.' || (1 + coalesce(
                     CAST(substr(begun.attempt, length(NEW.experiment) + 2) AS INTEGER), 0))
                   THEN RAISE(ABORT, 'an attempt was intended twice, or a number was left out')
                   WHEN begun.number IS NOT NULL AND NOT EXISTS (
                     SELECT 1 FROM events
                     WHERE experiment = NEW.experiment AND kind = 'AttemptEnded' AND number > begun.number)
                   THEN RAISE(ABORT, 'an attempt was intended without proof that the one before it is over')
                 END
                 FROM (SELECT max(number) AS number, json_extract(text, '$.attempt') AS attempt FROM events
                       WHERE experiment = NEW.experiment AND kind IN ('LaunchIntended', 'AttemptAdopted')) AS begun;
               END""",
            """CREATE TRIGGER end_has_proof BEFORE INSERT ON events WHEN NEW.kind = 'AttemptEnded'
               BEGIN
                 SELECT RAISE(ABORT, 'an attempt cannot have ended without a proof')
                 WHERE json_extract(NEW.text, '$.proof') IS NULL OR json_extract(NEW.text, '$.proof') NOT IN (
                   'exit_record', 'lost', 'rebooted', 'revoked', 'lease_expired', 'forced_by_operator');
                 SELECT CASE
                   WHEN begun.attempt IS NOT json_extract(NEW.text, '$.attempt') OR EXISTS (
                     SELECT 1 FROM events
                     WHERE experiment = NEW.experiment AND kind = 'AttemptEnded' AND number > begun.number)
                   THEN RAISE(ABORT, 'only the newest attempt can end, once, and after it was intended')
                 END
                 FROM (SELECT max(number) AS number, json_extract(text, '$.attempt') AS attempt FROM events
                       WHERE experiment = NEW.experiment AND kind IN ('LaunchIntended', 'AttemptAdopted')) AS begun;
               END""",
        ),
    ),
)

_RECORD = """CREATE TABLE IF NOT EXISTS migrations (
               number INTEGER PRIMARY KEY, name TEXT NOT NULL, sheetd TEXT NOT NULL, wall_s REAL NOT NULL
             )"""


def migrate(connection: sqlite3.Connection, path: Path, wall_s: float) -> None:
    """Carry out the steps that this file has not seen. Raises JournalError when a newer sheetd has been here."""
    connection.execute(_RECORD)
    done = refuse_newer(connection, path)
    for step in MIGRATIONS:
        if step.number <= done:
            continue
        with transaction(connection):
            for statement in step.statements:
                connection.execute(statement)
            connection.execute(
                "INSERT INTO migrations (number, name, sheetd, wall_s) VALUES (?, ?, ?, ?)",
                (step.number, step.name, __version__, wall_s),
            )


def is_migrated(connection: sqlite3.Connection) -> bool:
    """Whether the tables are there. A file that was only just created has none yet."""
    tables = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'epoch'"
    return bool(connection.execute(tables).fetchone()[0])


def refuse_newer(connection: sqlite3.Connection, path: Path) -> int:
    """The number of the last step this file has seen. Raises JournalError when a newer sheetd has been here."""
    row = connection.execute("SELECT number, sheetd FROM migrations ORDER BY number DESC LIMIT 1").fetchone()
    done, by = row or (0, "")
    if done > MIGRATIONS[-1].number:
        raise JournalError(
            f"{path} is from a newer sheetd ({by}; this is {__version__}). Start the newer sheetd again:"
            " an older one could misread what it decided"
        )
    return int(done)
