"""What a spreadsheet is in memory: immutable snapshots that share everything which did not change.

A reader keeps a snapshot as long as it likes without a lock; a writer builds the next one in a draft. Because an
unchanged row is the *same object* in both, the difference between two revisions is found by identity, and what was
encoded for a row once is kept with it. Nothing here may be changed in place, except the memo fields that say so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import count
from typing import Any, NamedTuple

Scalar = str | int | float | bool | None
Json = Any

FRAGMENTS_PER_ROW = 4
"""Encodings kept with a row: the daemon's read, the page's view, and two to spare."""

_layouts = count(1)


class Cell(NamedTuple):
    """One cell. `kind` is "" (no value), "s" text, "n" number, "b" boolean or "f" formula (value is its text with =).

    `typed` is what a person typed, where that is not what the value would print; `format` and `validation` are
    canonical JSON texts of Google's CellFormat and DataValidationRule, so that equal ones are cheap to compare.
    """

    kind: str = ""
    value: Scalar = None
    typed: str | None = None
    format: str | None = None
    note: str | None = None
    validation: str | None = None


BLANK = Cell()


class Row:
    """A row with its id for life. `cells` is keyed by column id and holds no blank cells."""

    __slots__ = ("cells", "fragments", "id")

    def __init__(self, row_id: int, cells: dict[int, Cell]) -> None:
        self.id = row_id
        self.cells = cells
        self.fragments: dict[Any, Any] = {}
        """A memo: what was encoded for this row, by what decides the encoding."""

    def keep(self, key: Any, fragment: Any) -> None:
        """Remember an encoding; the oldest is dropped so that odd requests cannot grow memory."""
        if len(self.fragments) >= FRAGMENTS_PER_ROW:
            self.fragments.pop(next(iter(self.fragments)), None)
        self.fragments[key] = fragment


class Metadata(NamedTuple):
    """One entry of developer metadata. Where it is kept says where it is located."""

    id: int
    key: str
    value: str
    visibility: str


class Column(NamedTuple):
    """A column with its id for life; `width` in pixels, None = the viewer's choice. Its metadata moves with it."""

    id: int
    width: int | None = None
    hidden: bool = False
    metadata: tuple[Metadata, ...] = ()


@dataclass(frozen=True)
class Sheet:
    """One tab. `rules`, `protected`, `merges` hold Google's JSON (ConditionalFormatRule, ProtectedRange, GridRange)."""

    id: int
    title: str
    rows: list[Row]
    columns: tuple[Column, ...]
    next_row: int
    next_column: int
    frozen_rows: int = 0
    frozen_columns: int = 0
    hidden: bool = False
    hide_gridlines: bool = False
    tab_color: Mapping[str, Any] | None = None
    rules: tuple[Json, ...] = ()
    protected: tuple[Json, ...] = ()
    merges: tuple[Json, ...] = ()
    metadata: tuple[Metadata, ...] = ()
    layout: int = field(default_factory=lambda: next(_layouts), compare=False)
    """Changes when columns come, go or move; values of a row are kept under it."""

    @cached_property
    def row_index(self) -> dict[int, int]:
        return {row.id: index for index, row in enumerate(self.rows)}

    @cached_property
    def column_index(self) -> dict[int, int]:
        return {column.id: index for index, column in enumerate(self.columns)}

    def cell(self, row: int, column: int) -> Cell:
        """The cell at these zero-based indexes; blank outside the grid."""
        if not (0 <= row < len(self.rows) and 0 <= column < len(self.columns)):
            return BLANK
        return self.rows[row].cells.get(self.columns[column].id, BLANK)


@dataclass(frozen=True)
class Spreadsheet:
    """All tabs of one spreadsheet at one revision."""

    key: str
    title: str
    rev: int
    created_ms: int
    modified_ms: int
    sheets: tuple[Sheet, ...]
    next_object: int = 1
    named_ranges: tuple[Json, ...] = ()
    permissions: tuple[Json, ...] = ()
    metadata: tuple[Metadata, ...] = ()

    def sheet(self, sheet_id: int) -> Sheet | None:
        return next((sheet for sheet in self.sheets if sheet.id == sheet_id), None)


def canonical(value: Json) -> str:
    """The one text of a JSON value: equal values give equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


@lru_cache(maxsize=4096)
def read_json(text: str) -> Json:
    """The value of a canonical text. Shared between callers: never change what it returns."""
    return json.loads(text)


def new_layout() -> int:
    return next(_layouts)


def new_sheet(sheet_id: int, title: str, rows: int = 1000, columns: int = 26) -> Sheet:
    """An empty tab of Google's default size."""
    return Sheet(
        sheet_id,
        title,
        [Row(number, {}) for number in range(1, rows + 1)],
        tuple(Column(number) for number in range(1, columns + 1)),
        rows + 1,
        columns + 1,
    )
