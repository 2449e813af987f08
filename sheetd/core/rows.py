"""What a grid says: which column is what, and which row is which.

Columns are found by their header text and rows by the id in their id cell; positions are only used together with the
grid they were read from. This module reads; `acceptance` judges what a row means.

A fingerprint stands for everything a person typed into a row except the action: by it a row is recognised when its id
is missing, and an id that landed beside other cells than it was meant for is found out.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from sheetd.core.grid import BLANK, Cell, Grid

CONTROL_HEADERS = ("template", "action", "where", "gpus", "priority", "after", "repeat")
SYSTEM_HEADERS = (
    "id",
    "status",
    "message",
    "host",
    "attempt",
    "progress",
    "eta",
    "started",
    "runtime",
    "code",
)
REQUIRED_HEADERS = ("id", "status", "message")
METRIC_VIEWS = ("last", "min", "max", "mean")


class ColumnKind(str, Enum):
    CONTROL = "control"
    PARAMETER = "parameter"
    SYSTEM = "system"
    METRIC = "metric"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: its position in this grid, what it is, and its canonical name."""

    position: int
    kind: ColumnKind
    name: str


def canonical(text: str) -> str:
    """How keywords are compared: compatibility forms folded, ends stripped, case ignored. Never used on values."""
    return unicodedata.normalize("NFKC", text).strip().casefold()


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The columns of a tab. `problems` are sentences for a person; with any, nothing may be written."""

    columns: tuple[Column, ...]
    problems: tuple[str, ...]
    by_name: Mapping[str, int]

    @property
    def owned(self) -> tuple[Column, ...]:
        """The columns that only the daemon writes."""
        return tuple(c for c in self.columns if c.kind in (ColumnKind.SYSTEM, ColumnKind.METRIC))

    def position(self, name: str) -> int | None:
        return self.by_name.get(name)


def read_layout(header: Iterable[Cell], parameters: Iterable[str], metrics: Iterable[str]) -> Layout:
    """Name the columns of a header row. A parameter wins over a metric of the same name."""
    known_parameters = {canonical(name): name for name in parameters}
    known_metrics = {canonical(name): name for name in metrics}
    columns: list[Column] = []
    seen: dict[str, int] = {}
    problems: list[str] = []
    for position, cell in enumerate(header):
        column = _column(position, canonical(cell.shown), known_parameters, known_metrics)
        if column is None:
            continue
        if column.kind is not ColumnKind.NOTE and column.name in seen:
            problems.append(f'two columns are called "{column.name}": rename one of them')
        seen.setdefault(column.name, position)
        columns.append(column)
    missing = [name for name in REQUIRED_HEADERS if name not in seen]
    if missing:
        problems.append(f"the header row lacks {', '.join(missing)}: add these words to row 1, in any column")
    return Layout(columns=tuple(columns), problems=tuple(problems), by_name=seen)


def _column(position: int, text: str, parameters: Mapping[str, str], metrics: Mapping[str, str]) -> Column | None:
    if not text:
        return None
    if text in SYSTEM_HEADERS:
        return Column(position=position, kind=ColumnKind.SYSTEM, name=text)
    if text in CONTROL_HEADERS:
        return Column(position=position, kind=ColumnKind.CONTROL, name=text)
    if text in parameters:
        return Column(position=position, kind=ColumnKind.PARAMETER, name=parameters[text])
    metric, _, view = text.partition(":")
    if metric in metrics and (not view or view in METRIC_VIEWS):
        return Column(position=position, kind=ColumnKind.METRIC, name=f"{metrics[metric]}:{view or 'last'}")
    return Column(position=position, kind=ColumnKind.NOTE, name=f"note:{text}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row below the header, as one read saw it. `index` is its position in that grid only."""

    index: int
    cells: tuple[Cell, ...]
    id: str
    action: str
    is_blank: bool
    fingerprint: str

    def cell(self, position: int | None) -> Cell:
        if position is None or position >= len(self.cells):
            return BLANK
        return self.cells[position]


@dataclass(slots=True, kw_only=True)
class SheetView:
    """A read grid, understood. Rows are in sheet order; the lists below it are what `reconcile` has to look at."""

    grid: Grid
    layout: Layout
    rows: tuple[Row, ...] = ()
    #: The row that an id belongs to. Of several with one id, the first; the others are in `copies`.
    by_id: dict[str, Row] = field(default_factory=dict)
    copies: list[Row] = field(default_factory=list)
    #: Rows with something typed and no id.
    unnamed: list[Row] = field(default_factory=list)
    #: Since when (monotonic) some row has had these typed cells, by fingerprint: an id that is added changes nothing.
    since_s: dict[str, float] = field(default_factory=dict)
    read_at_s: float = 0.0

    def unchanged_for_s(self, row: Row) -> float:
        """For how long two or more reads have agreed on what is typed in the row. Zero on its first sight."""
        return self.read_at_s - self.since_s.get(row.fingerprint, self.read_at_s)


def view_grid(grid: Grid, layout: Layout, before: SheetView | None, now_s: float) -> SheetView:
    """Understand a grid, reusing what an earlier view of the same columns already knew of equal rows."""
    known: dict[tuple[Cell, ...], Row] = {}
    if before is not None and before.layout.columns == layout.columns:
        known = {row.cells: row for row in before.rows if not row.is_blank}
    reader = _RowReader(layout)
    view = SheetView(grid=grid, layout=layout, read_at_s=now_s)
    rows = []
    for index, cells in enumerate(grid.rows[1:], start=1):
        old = known.get(cells)
        row = old if old is not None and old.index == index else reader.read(index, cells, old)
        rows.append(row)
        _file(view, row, before, now_s)
    view.rows = tuple(rows)
    return view


def _file(view: SheetView, row: Row, before: SheetView | None, now_s: float) -> None:
    if row.id:
        if row.id in view.by_id:
            view.copies.append(row)
        else:
            view.by_id[row.id] = row
    elif not row.is_blank:
        view.unnamed.append(row)
    if not row.is_blank:
        seen_before = before.since_s.get(row.fingerprint) if before is not None else None
        view.since_s[row.fingerprint] = now_s if seen_before is None else seen_before


class _RowReader:
    def __init__(self, layout: Layout) -> None:
        self.id = layout.position("id")
        self.action = layout.position("action")
        owned = {column.position for column in layout.owned}
        self.typed = tuple(
            column.position
            for column in layout.columns
            if column.position not in owned and column.position != self.action
        )
        #: A row counts as typed when one of these is filled; a note alone is a person's own remark.
        self.meant = tuple(c.position for c in layout.columns if c.kind in (ColumnKind.CONTROL, ColumnKind.PARAMETER))

    def read(self, index: int, cells: tuple[Cell, ...], old: Row | None) -> Row:
        if old is not None:
            return Row(
                index=index,
                cells=cells,
                id=old.id,
                action=old.action,
                is_blank=old.is_blank,
                fingerprint=old.fingerprint,
            )
        width = len(cells)

        def at(position: int | None) -> Cell:
            return cells[position] if position is not None and position < width else BLANK

        is_blank = all(at(position).is_blank for position in self.meant)
        return Row(
            index=index,
            cells=cells,
            id=str(at(self.id).value or "").strip(),
            action=canonical(at(self.action).shown),
            is_blank=is_blank,
            fingerprint="" if is_blank else fingerprint(at(position) for position in self.typed),
        )


def fingerprint(cells: Iterable[Cell]) -> str:
    """A short digest of typed cells. Blank cells at the end do not count: a new empty column changes nothing."""
    parts = [(cell.value, cell.formula, cell.error) for cell in cells]
    while parts and parts[-1] == (None, None, None):
        parts.pop()
    return hashlib.blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
