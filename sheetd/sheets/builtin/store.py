"""The SQLite file behind the built-in sheet: snapshots to read, one atomic transaction at a time to write.

A committed transaction raises the spreadsheet's `rev` by one and is on the disk before anybody sees it; one that fails
or changes nothing leaves no trace. A message of the page is acknowledged in the same transaction, so that sending it
again after a lost answer does nothing twice. One process owns the file: a second one is refused, not corrupted.
"""

from __future__ import annotations

import logging
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from sheetd.errors import SheetRefused
from sheetd.sheets.builtin.draft import Draft
from sheetd.sheets.builtin.model import Row, Sheet, Spreadsheet, new_sheet
from sheetd.sheets.builtin.problems import ApiError
from sheetd.sheets.builtin.schema import (
    SCHEMA_VERSION,
    TABLES,
    book_document,
    decode_cells,
    encode_cells,
    encode_runs,
    load_spreadsheet,
    sheet_document,
)

KEPT_OPERATIONS = 10_000
KEPT_DELETED_ROWS = 10_000
KEPT_ACKS_PER_CLIENT = 1_000
KEPT_ACKS = 20_000
"""Bounds of what is kept per spreadsheet for looking back, undo and lost answers."""

#: What SQLite says when the disk is at fault, and not we.
_DISK_WORDS = ("is full", "disk I/O error", "readonly")

log = logging.getLogger(__name__)

T = TypeVar("T")
Listener = Callable[[str, str], None]


class StoreInUseError(SheetRefused):
    """Another process has this file open."""


class StoreUnusableError(SheetRefused):
    """The file is of a later version of sheetd, damaged, or no sheet at all; it was not touched."""


@dataclass(frozen=True)
class Committed(Generic[T]):
    """What a transaction made: its result, the snapshots before and after, and the answer kept for its message."""

    result: T | None
    before: Spreadsheet
    after: Spreadsheet
    ack: str | None = None


class Store:
    """All spreadsheets of one file. Every method may be called from any thread."""

    def __init__(self, path: str | Path) -> None:
        """Open or create the file, readable for its owner only; raises StoreInUseError or StoreUnusableError."""
        self.path = str(path)
        self._lock = threading.RLock()
        self._listeners: list[Listener] = []
        self._books: dict[str, Spreadsheet] = {}
        self._trouble = ""
        Path(self.path).touch(mode=0o600)
        self._database = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None, timeout=0.5)
        try:
            self._prepare()
        except sqlite3.DatabaseError as error:
            self._database.close()
            if "locked" in str(error):
                raise StoreInUseError(f"{self.path} is open in another process: stop that one first") from error
            raise StoreUnusableError(f"{self.path} cannot be used as a sheet ({error}): restore a copy") from error
        except StoreUnusableError:
            self._database.close()
            raise

    def _prepare(self) -> None:
        execute = self._database.execute
        # Exclusive: snapshots live in this process's memory, a second writer would fork them.
        execute("PRAGMA locking_mode = EXCLUSIVE")
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = FULL")
        version = execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise StoreUnusableError(f"{self.path} was written by a later version of sheetd: update sheetd to open it")
        if version == 0:
            self._database.executescript(f"BEGIN IMMEDIATE;{TABLES}PRAGMA user_version = {SCHEMA_VERSION};COMMIT;")
        else:
            execute("BEGIN IMMEDIATE")
            execute("COMMIT")

    def close(self) -> None:
        """Close the file; everything committed is on the disk already."""
        with self._lock:
            self._database.close()

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener(key, actor)` after each commit, in the writer's thread; returns the way to stop it."""
        with self._lock:
            self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def spreadsheets(self) -> list[Spreadsheet]:
        """All spreadsheets, the last changed first."""
        with self._lock:
            found = self._database.execute(
                "SELECT key FROM spreadsheet ORDER BY modified_ms DESC, rowid DESC"
            ).fetchall()
            return [self.snapshot(key) for (key,) in found]

    def newest_key(self) -> str | None:
        """The key of the spreadsheet that was changed last, None when there is none."""
        with self._lock:
            found = self._database.execute("SELECT key FROM spreadsheet ORDER BY modified_ms DESC, rowid DESC LIMIT 1")
            row = found.fetchone()
            return None if row is None else str(row[0])

    def snapshot(self, key: str) -> Spreadsheet:
        """The last committed state; ApiError 404 for an unknown key."""
        book = self._books.get(key)
        if book is not None:
            return book
        with self._lock:
            book = self._books.get(key) or load_spreadsheet(self._database, key)
            if book is None:
                raise ApiError(404, "Requested entity was not found.")
            self._books[key] = book
            return book

    def create_spreadsheet(self, title: str, *, sheets: Iterable[Sheet] = (), actor: str = "api") -> str:
        """A new spreadsheet with one empty tab `Sheet1` (or the given tabs); returns its key."""
        key = secrets.token_urlsafe(24)
        now = wall_ms()
        book = Spreadsheet(key, title, 1, now, now, tuple(sheets) or (new_sheet(0, "Sheet1"),))
        with self._lock:
            with self._transaction():
                self._write(None, book, actor, ("create",))
            self._books[key] = book
        self._tell(key, actor)
        return key

    def delete_spreadsheet(self, key: str) -> None:
        """Remove a spreadsheet and everything of it; ApiError 404 for an unknown key."""
        with self._lock:
            self.snapshot(key)
            with self._transaction():
                for table in ("spreadsheet", "sheet", "row", "deleted_row", "operation", "acknowledged"):
                    self._database.execute(f"DELETE FROM {table} WHERE key = ?", (key,))  # noqa: S608 - own names
            del self._books[key]
        self._tell(key, "api")

    def transact(
        self,
        key: str,
        actor: str,
        kinds: tuple[str, ...],
        change: Callable[[Draft], T],
        *,
        message: tuple[str, int] | None = None,
        answer: Callable[[T, Spreadsheet, Spreadsheet], str] | None = None,
    ) -> Committed[T]:
        """Run `change` on a draft and commit it, all or nothing; whatever it raises passes through.

        ApiError 503 while the disk takes nothing: the same may be tried again.

        `message` (client, seq) makes it idempotent: a repeated one returns the `ack` that `answer` made the first time.
        """
        with self._lock:
            before = self.snapshot(key)
            known = self._known_ack(key, message)
            if known is not None:
                return Committed(None, before, before, known)
            draft = Draft(before)
            result = change(draft)
            after = draft.finish()
            if after is not before:
                after = replace(after, rev=before.rev + 1, modified_ms=max(wall_ms(), before.modified_ms))
            ack = answer(result, before, after) if answer else None
            if after is not before or message:
                with self._transaction():
                    if after is not before:
                        self._write(before, after, actor, kinds)
                    if message and ack is not None:
                        self._write_ack(key, message, ack)
                # Still under the lock: the next transaction must begin from this one.
                self._books[key] = after
        if after is not before:
            self._tell(key, actor)
        return Committed(result, before, after, ack)

    def deleted_rows(self, key: str, sheet_id: int, row_ids: list[int]) -> dict[int, tuple[int | None, Row]]:
        """Deleted rows that can still come back: id -> (the id of the row they stood after, the row)."""
        with self._lock:
            found: dict[int, tuple[int | None, Row]] = {}
            for row_id in row_ids:
                record = self._database.execute(
                    "SELECT after, cells FROM deleted_row WHERE key = ? AND sheet_id = ? AND row_id = ?",
                    (key, sheet_id, row_id),
                ).fetchone()
                if record is not None:
                    found[row_id] = (record[0], Row(row_id, decode_cells(record[1])))
            return found

    def operations(self, key: str, since: int = 0) -> list[tuple[int, int, str, str]]:
        """The log of committed transactions after `since`: (rev, wall clock in ms, actor, kinds)."""
        with self._lock:
            return self._database.execute(
                "SELECT rev, at_ms, actor, kinds FROM operation WHERE key = ? AND rev > ? ORDER BY rev", (key, since)
            ).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._database.execute("BEGIN IMMEDIATE")
            yield
            self._database.execute("COMMIT")
        except BaseException as error:
            if self._database.in_transaction:  # on a full disk SQLite has rolled back by itself
                self._database.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError) and any(word in str(error) for word in _DISK_WORDS):
                self._say_trouble(str(error))
                raise ApiError(503, f"The built-in sheet cannot be saved ({error}): free some space there.") from error
            raise
        self._say_trouble("")

    def _say_trouble(self, why: str) -> None:
        """Once, however often it is tried."""
        if why and why != self._trouble:
            log.error("%s cannot be saved (%s): free some space there; open pages keep what is typed", self.path, why)
        elif self._trouble and not why:
            log.warning("%s is saved again", self.path)
        self._trouble = why

    def _known_ack(self, key: str, message: tuple[str, int] | None) -> str | None:
        if message is None:
            return None
        found = self._database.execute(
            "SELECT ack FROM acknowledged WHERE key = ? AND client = ? AND seq = ?", (key, *message)
        ).fetchone()
        return found[0] if found else None

    def _write_ack(self, key: str, message: tuple[str, int], ack: str) -> None:
        execute = self._database.execute
        client, seq = message
        execute("INSERT INTO acknowledged VALUES (?, ?, ?, ?)", (key, client, seq, ack))
        execute(
            "DELETE FROM acknowledged WHERE key = ? AND client = ? AND seq <= ?",
            (key, client, seq - KEPT_ACKS_PER_CLIENT),
        )
        execute("DELETE FROM acknowledged WHERE rowid <= (SELECT max(rowid) FROM acknowledged) - ?", (KEPT_ACKS,))

    def _write(self, before: Spreadsheet | None, after: Spreadsheet, actor: str, kinds: tuple[str, ...]) -> None:
        execute = self._database.execute
        execute(
            "INSERT OR REPLACE INTO spreadsheet VALUES (?, ?, ?, ?, ?)",
            (after.key, after.rev, after.created_ms, after.modified_ms, book_document(after)),
        )
        old = {sheet.id: sheet for sheet in before.sheets} if before else {}
        positions = {sheet.id: index for index, sheet in enumerate(before.sheets)} if before else {}
        for position, sheet in enumerate(after.sheets):
            if sheet is not old.get(sheet.id) or position != positions.get(sheet.id):
                self._write_sheet(after, position, old.pop(sheet.id, None), sheet)
            else:
                del old[sheet.id]
        for sheet_id in old:
            for table in ("sheet", "row", "deleted_row"):
                execute(f"DELETE FROM {table} WHERE key = ? AND sheet_id = ?", (after.key, sheet_id))  # noqa: S608 - own names
        execute(
            "INSERT INTO operation VALUES (?, ?, ?, ?, ?)",
            (after.key, after.rev, after.modified_ms, actor, " ".join(dict.fromkeys(kinds))),
        )
        execute("DELETE FROM operation WHERE key = ? AND rev <= ?", (after.key, after.rev - KEPT_OPERATIONS))

    def _write_sheet(self, book: Spreadsheet, position: int, old: Sheet | None, sheet: Sheet) -> None:
        execute, many = self._database.execute, self._database.executemany
        execute(
            "INSERT OR REPLACE INTO sheet VALUES (?, ?, ?, ?, ?)",
            (book.key, sheet.id, position, sheet_document(sheet), encode_runs([row.id for row in sheet.rows])),
        )
        if old is not None and old.rows is sheet.rows:
            return
        before = {row.id: row for row in old.rows} if old else {}
        changed = [row for row in sheet.rows if row is not before.get(row.id)]
        gone = before.keys() - {row.id for row in sheet.rows} if old else set()
        many(
            "INSERT OR REPLACE INTO row VALUES (?, ?, ?, ?)",
            [(book.key, sheet.id, row.id, encode_cells(row)) for row in changed if row.cells],
        )
        many(
            "DELETE FROM row WHERE key = ? AND sheet_id = ? AND row_id = ?",
            [(book.key, sheet.id, row_id) for row_id in gone]
            + [(book.key, sheet.id, row.id) for row in changed if not row.cells and row.id in before],
        )
        if old is not None and (gone or len(sheet.rows) != len(old.rows)):
            self._keep_deleted(book, old, sheet, gone)

    def _keep_deleted(self, book: Spreadsheet, old: Sheet, sheet: Sheet, gone: set[int]) -> None:
        """Rows that went stay restorable; rows that came (back) are deleted ones no more."""
        came = {row.id for row in sheet.rows} - {row.id for row in old.rows}
        many = self._database.executemany
        many(
            "DELETE FROM deleted_row WHERE key = ? AND sheet_id = ? AND row_id = ?",
            [(book.key, sheet.id, row_id) for row_id in came],
        )
        records = [
            (book.key, sheet.id, row.id, old.rows[index - 1].id if index else None, encode_cells(row), book.rev)
            for index, row in enumerate(old.rows)
            if row.id in gone
        ]
        many("INSERT OR REPLACE INTO deleted_row VALUES (?, ?, ?, ?, ?, ?)", records[-KEPT_DELETED_ROWS:])
        if records:
            self._database.execute(
                """DELETE FROM deleted_row WHERE key = ? AND rowid <=
                (SELECT rowid FROM deleted_row WHERE key = ? ORDER BY rowid DESC LIMIT 1 OFFSET ?)""",
                (book.key, book.key, KEPT_DELETED_ROWS),
            )

    def _tell(self, key: str, actor: str) -> None:
        for listener in list(self._listeners):
            listener(key, actor)


def wall_ms() -> int:
    """Milliseconds since 1970, for showing when something changed; never for intervals."""
    return time.time_ns() // 1_000_000
