"""The tables of the built-in sheet and how a tab and its rows are written into them.

One SQLite file holds everything. A row is one record (its cells as JSON under column ids); blank rows have none. The
order of rows is one short text of runs, so an insert in the middle rewrites a few bytes and not the table.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from sheetd.sheets.builtin.model import Cell, Column, Metadata, Row, Sheet, Spreadsheet, canonical

SCHEMA_VERSION = 1

TABLES = """
CREATE TABLE spreadsheet (
    key TEXT PRIMARY KEY, rev INTEGER NOT NULL, created_ms INTEGER NOT NULL, modified_ms INTEGER NOT NULL,
    document TEXT NOT NULL
);
CREATE TABLE sheet (
    key TEXT NOT NULL, sheet_id INTEGER NOT NULL, position INTEGER NOT NULL, document TEXT NOT NULL,
    row_runs TEXT NOT NULL, PRIMARY KEY (key, sheet_id)
);
CREATE TABLE row (
    key TEXT NOT NULL, sheet_id INTEGER NOT NULL, row_id INTEGER NOT NULL, cells TEXT NOT NULL,
    PRIMARY KEY (key, sheet_id, row_id)
) WITHOUT ROWID;
CREATE TABLE deleted_row (
    key TEXT NOT NULL, sheet_id INTEGER NOT NULL, row_id INTEGER NOT NULL, after INTEGER, cells TEXT NOT NULL,
    rev INTEGER NOT NULL, PRIMARY KEY (key, sheet_id, row_id)
);
CREATE TABLE operation (
    key TEXT NOT NULL, rev INTEGER NOT NULL, at_ms INTEGER NOT NULL, actor TEXT NOT NULL, kinds TEXT NOT NULL,
    PRIMARY KEY (key, rev)
);
CREATE TABLE acknowledged (
    key TEXT NOT NULL, client TEXT NOT NULL, seq INTEGER NOT NULL, ack TEXT NOT NULL,
    PRIMARY KEY (key, client, seq)
);
"""


def encode_cells(row: Row) -> str:
    """The cells of a row as JSON; trailing empty fields of a cell are left out."""
    return json.dumps({str(column): _trim(cell) for column, cell in row.cells.items()}, separators=(",", ":"))


def _trim(cell: Cell) -> list[Any]:
    fields = list(cell)
    while fields and fields[-1] is None:
        fields.pop()
    return fields


def decode_cells(text: str) -> dict[int, Cell]:
    return {int(column): Cell(*fields) for column, fields in json.loads(text).items()}


def encode_runs(ids: list[int]) -> str:
    """[1,2,3,9,10] as "1:3 9:2"."""
    runs: list[list[int]] = []
    for number in ids:
        if runs and number == runs[-1][0] + runs[-1][1]:
            runs[-1][1] += 1
        else:
            runs.append([number, 1])
    return " ".join(f"{start}:{length}" for start, length in runs)


def decode_runs(text: str) -> list[int]:
    ids: list[int] = []
    for run in text.split():
        start, _, length = run.partition(":")
        ids.extend(range(int(start), int(start) + int(length)))
    return ids


def sheet_document(sheet: Sheet) -> str:
    """Everything of a tab except its rows."""
    return canonical(
        {
            "title": sheet.title,
            "columns": sheet.columns,
            "next_row": sheet.next_row,
            "next_column": sheet.next_column,
            "frozen_rows": sheet.frozen_rows,
            "frozen_columns": sheet.frozen_columns,
            "hidden": sheet.hidden,
            "hide_gridlines": sheet.hide_gridlines,
            "tab_color": sheet.tab_color,
            "rules": sheet.rules,
            "protected": sheet.protected,
            "merges": sheet.merges,
            "metadata": sheet.metadata,
        }
    )


def book_document(book: Spreadsheet) -> str:
    """Everything of a spreadsheet except its tabs, key, revision and times."""
    return canonical(
        {
            "title": book.title,
            "next_object": book.next_object,
            "named_ranges": book.named_ranges,
            "permissions": book.permissions,
            "metadata": book.metadata,
        }
    )


def load_spreadsheet(database: sqlite3.Connection, key: str) -> Spreadsheet | None:
    """The last committed state, or None when there is no such spreadsheet."""
    found = database.execute(
        "SELECT rev, created_ms, modified_ms, document FROM spreadsheet WHERE key = ?", (key,)
    ).fetchone()
    if found is None:
        return None
    document = json.loads(found[3])
    records = database.execute(
        "SELECT sheet_id, document, row_runs FROM sheet WHERE key = ? ORDER BY position", (key,)
    ).fetchall()
    sheets = tuple(_load_sheet(database, key, *record) for record in records)
    return Spreadsheet(
        key,
        document["title"],
        found[0],
        found[1],
        found[2],
        sheets,
        document["next_object"],
        tuple(document["named_ranges"]),
        tuple(document["permissions"]),
        _metadata(document),
    )


def _metadata(document: dict[str, Any]) -> tuple[Metadata, ...]:
    """Files of before there was any have none."""
    return tuple(Metadata(*entry) for entry in document.get("metadata", ()))


def _column(number: int, width: int | None, hidden: int, metadata: Sequence[Sequence[Any]] = ()) -> Column:
    return Column(number, width, bool(hidden), tuple(Metadata(*entry) for entry in metadata))


def _load_sheet(database: sqlite3.Connection, key: str, sheet_id: int, document: str, runs: str) -> Sheet:
    fields = json.loads(document)
    cells = {
        row_id: decode_cells(text)
        for row_id, text in database.execute(
            "SELECT row_id, cells FROM row WHERE key = ? AND sheet_id = ?", (key, sheet_id)
        )
    }
    for name in ("rules", "protected", "merges"):
        fields[name] = tuple(fields[name])
    fields["metadata"] = _metadata(fields)
    fields["columns"] = tuple(_column(*column) for column in fields["columns"])
    rows = [Row(row_id, cells.get(row_id, {})) for row_id in decode_runs(runs)]
    return Sheet(id=sheet_id, rows=rows, **fields)
