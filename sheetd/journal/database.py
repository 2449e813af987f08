"""How the folder's SQLite files are opened, and what their errors mean to a person.

Every `sqlite3.Error` ends here, as a JournalError that names the file and the next step. Must not know any table.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sheetd.errors import JournalError

#: How long to wait for another process to finish its transaction. Ours last microseconds.
BUSY_MS = 5_000
CACHE_KB = 128


class Damaged(JournalError):  # noqa: N818 - a state of a file, not our mistake
    """What is in the file is not what was written."""


def open_for_writing(path: Path, *, synchronous: str) -> sqlite3.Connection:
    """A connection in write-ahead mode, so that readers never wait for the writer nor it for them.

    `synchronous` is SQLite's: FULL survives a power cut, NORMAL may lose the newest commits but never tears the file
    (https://www.sqlite.org/pragma.html#pragma_synchronous).
    """
    # One connection is used from several threads, each time under its owner's mutex.
    connection = sqlite3.connect(path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False)
    try:
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            text = f"{path} cannot use SQLite's write-ahead log here (mode {mode}); choose another state_dir"
            raise JournalError(text)  # noqa: TRY301 - the connection is closed below
        connection.execute(f"PRAGMA synchronous={synchronous}")
        # Read once and then only added to: of SQLite's own two megabytes of pages none would be looked at again.
        connection.execute(f"PRAGMA cache_size=-{CACHE_KB}")
        # On macOS a plain fsync leaves the data in the drive's own cache; elsewhere this says nothing.
        connection.execute("PRAGMA fullfsync=ON")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def open_for_reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that cannot change the file, whether its writer is alive, was killed, or closed it in peace."""
    with (
        explained(path),
        closing(
            sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_MS / 1000, isolation_level=None
            )
        ) as connection,
    ):
        yield connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing. The write lock is taken at once, so a commit never meets one that was not there at the start."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite has rolled back by itself after some errors, such as a full disk.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def check(connection: sqlite3.Connection, path: Path) -> None:
    """Raise JournalError when the file's structure is damaged."""
    with explained(path):
        answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if answer != "ok":
        raise damaged(path, answer)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors about this file into JournalError."""
    try:
        yield
    except sqlite3.Error as error:
        raise _explain(path, error) from error


def damaged(path: Path, detail: str) -> Damaged:
    return Damaged(
        f"{path} is damaged ({detail}). Copy the whole folder {path.parent} to a safe place first, then restore a"
        f" backup or try: sqlite3 {path.name} .recover. Do not start over with an empty folder while experiments run:"
        " sheetd would not know them"
    )


def _explain(path: Path, error: sqlite3.Error) -> JournalError:
    text = str(error)
    if "is full" in text:
        return JournalError(
            f"the disk that holds {path} is full. What cannot be recorded is not started; running experiments go on."
            " Free some space there and sheetd continues"
        )
    if any(word in text for word in ("malformed", "not a database", "Could not decode")):
        return damaged(path, text)
    if "locked" in text or "busy" in text:
        return JournalError(f"another program keeps {path} locked ({text}); close the program that has it open")
    if "readonly" in text or "unable to open" in text:
        return JournalError(f"{path} cannot be opened ({text}); check that its folder exists and who owns it")
    return JournalError(f"{path}: {text}")
