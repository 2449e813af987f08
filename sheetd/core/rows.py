"""What a grid says: which column is what, and which row is which.

Columns are found by their header text and rows by the id in their id cell; positions are only used together with the
grid they were read from. This module reads; `validation` judges what a row means.

A fingerprint stands for what a person asks for in a row (parameters and controls, but not the action): by it a row is
recognised when its id is missing, and an id that landed beside other cells than it was meant for is found out. Notes do
not count, for they may be edited, or be formulas over our own cells, without meaning anything to us.
"""

from __future__ import annotations

import difflib
import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TypeAlias

from sheetd.core.grid import BLANK, Cell, ColumnTag, Grid, column_letters
from sheetd.core.model import group_of

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
METRIC_VIEWS = ("last", "min", "max", "mean", "curve")


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
    #: The columns that only the daemon writes.
    owned: tuple[Column, ...]
    #: Columns that rows were typed for and that are not there, by name: a sentence each. What they would fill is
    #: refused rather than run on a default that nobody typed.
    lost: Mapping[str, str]

    def position(self, name: str) -> int | None:
        return self.by_name.get(name)

    @property
    def tags(self) -> tuple[ColumnTag, ...]:
        """What the columns that only the daemon writes are to be known by."""
        return tuple(ColumnTag(column.position, column.name) for column in self.owned)


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
            places = f"{column_letters(seen[column.name])} and {column_letters(position)}"
            problems.append(f'columns {places} are both called "{column.name}": rename one of them')
        seen.setdefault(column.name, position)
        columns.append(column)
    missing = [name for name in REQUIRED_HEADERS if name not in seen]
    if missing:
        problems.append(f"the header row lacks {', '.join(missing)}: add these words to row 1, in any column")
    owned = tuple(column for column in columns if column.kind in (ColumnKind.SYSTEM, ColumnKind.METRIC))
    lost = dict(_misspelt([*known_parameters.values(), *CONTROL_HEADERS], columns))
    return Layout(columns=tuple(columns), problems=tuple(problems), by_name=seen, owned=owned, lost=lost)


def _misspelt(names: Iterable[str], columns: Iterable[Column]) -> Iterator[tuple[str, str]]:
    """Absent columns that some unknown header nearly names."""
    present = {column.name for column in columns}
    unknown = [column.name.removeprefix("note:") for column in columns if column.kind is ColumnKind.NOTE]
    for name in names:
        near = difflib.get_close_matches(canonical(name), unknown, n=1, cutoff=0.8) if name not in present else ()
        for found in near:
            yield name, f'there is no column "{name}", but one called "{found}": rename it'


def without(layout: Layout, before: Layout) -> Layout:
    """The layout, knowing which columns that rows may be typed for were there before and are gone."""
    kinds = (ColumnKind.CONTROL, ColumnKind.PARAMETER)
    gone = {
        column.name: f'the column "{column.name}" is gone: bring it back, or restart sheetd to go on without it'
        for column in before.columns
        if column.kind in kinds
    }
    lost = {name: why for name, why in {**before.lost, **gone, **layout.lost}.items() if name not in layout.by_name}
    return replace(layout, lost=lost)


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


#: The fingerprint and the id.
RowKey: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row below the header, as one read saw it. `index` is its position in that grid only."""

    index: int
    cells: tuple[Cell, ...]
    id: str
    action: str
    is_blank: bool
    fingerprint: str
    #: What is typed and the id beside it, by which rows are counted (`SheetView.since`).
    key: RowKey
    #: Where cells of it that mean something lie inside a merge, the sentence that says so: they show a person what
    #: they do not hold.
    merged: str = ""

    @property
    def judged_as(self) -> str:
        """Stands for everything that a verdict about the row depends on."""
        return f"{self.fingerprint} {self.merged}"

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
    #: Rows whose action cell holds something.
    acting: list[Row] = field(default_factory=list)
    #: Since when (monotonic) so many rows have had these typed cells and this id.
    since: dict[RowKey, tuple[float, int]] = field(default_factory=dict)
    read_at_s: float = 0.0
    #: Whether it was the first to show a write of ours, so that it cannot be older than that write.
    is_proven: bool = False
    #: The rows without an id of their own, and up to which event that was found (`binding`).
    nameless: tuple[int, list[Row]] | None = None
    #: The rows by their names, once somebody asked (`dependencies`).
    names: dict[str, list[Row]] | None = None

    def unchanged_for_s(self, row: Row) -> float:
        """For how long two or more reads have agreed on what is typed in the row. Zero on its first sight."""
        since_s, _ = self.since.get(row.key, (self.read_at_s, 1))
        return self.read_at_s - since_s


def view_grid(grid: Grid, layout: Layout, before: SheetView | None, now_s: float) -> SheetView:
    """Understand a grid, reusing what an earlier view of the same columns already knew of the very same rows.

    The same means the same object, which is what an adapter hands out for a row that did not change: to compare cells
    would cost more than to read them. An equal row of another object is read anew.
    """
    known: dict[int, Row] = {}
    if before is not None and before.layout.columns == layout.columns:
        # Each of these cells is alive as long as `before` is, so no other row can have its identity.
        known = {id(row.cells): row for row in before.rows}
    reader = _RowReader(layout)
    merged = _merged(grid, layout)
    view = SheetView(grid=grid, layout=layout, read_at_s=now_s)
    rows = []
    for index, cells in enumerate(grid.rows[1:], start=1):
        old = known.get(id(cells))
        row = old if old is not None and old.index == index else reader.read(index, cells, old)
        if row.merged != merged.get(index, ""):
            row = replace(row, merged=merged.get(index, ""))
        rows.append(row)
        _file(view, row)
    view.rows = tuple(rows)
    view.since = _since(Counter([row.key for row in rows if not row.is_blank]), before, now_s)
    return view


def _merged(grid: Grid, layout: Layout) -> dict[int, str]:
    """By the position of a row: that the first cell of it which means something, and is not its merge's own, is merged.

    Of a merge only the upper left cell holds what is shown, so a row must not run on what it seems to lack.
    """
    found: dict[int, str] = {}
    kinds = (ColumnKind.CONTROL, ColumnKind.PARAMETER)
    for column in layout.columns if grid.merges else ():
        if column.kind not in kinds and column.name not in REQUIRED_HEADERS:
            continue
        for merge in grid.merges:
            if merge.left <= column.position < merge.right:
                own = merge.top if column.position == merge.left else -1
                is_typed = column.kind in kinds
                sentence = (
                    f"{column.name} is inside the merged cells {merge.a1}: unmerge them (Format, Merge cells, Unmerge)"
                    f"{' and fill in each row' if is_typed else ', and sheetd fills in each row'}"
                )
                for index in range(max(1, merge.top), min(merge.bottom, len(grid.rows))):
                    if index != own:
                        found.setdefault(index, sentence)
    return found


def _file(view: SheetView, row: Row) -> None:
    if row.action:
        view.acting.append(row)
    if row.id:
        if row.id in view.by_id:
            view.copies.append(row)
        else:
            view.by_id[row.id] = row
    elif not row.is_blank:
        view.unnamed.append(row)


def _since(counts: Mapping[RowKey, int], before: SheetView | None, now_s: float) -> dict[RowKey, tuple[float, int]]:
    """One more row that says the same starts the time anew: it may be half typed, on its way to saying something else.

    A row that was given an id, or another one, has not changed by that.
    """
    known = {} if before is None else before.since
    renamed: dict[str, float] = {}
    for key, (since_s, count) in known.items():
        if counts.get(key, 0) < count:
            typed, _ = key
            renamed[typed] = max(since_s, renamed.get(typed, since_s))
    since = {}
    for key, count in counts.items():
        old = known.get(key)
        if old is not None:
            since_s, before_count = old
            # The same pair where nothing changed: ten thousand new ones each cycle are work for the collector.
            since[key] = old if before_count == count else (now_s if before_count < count else since_s, count)
        elif before is not None and key[1] not in before.by_id:
            since[key] = (renamed.get(key[0], now_s), count)
        else:
            since[key] = (now_s, count)
    return since


class _RowReader:
    def __init__(self, layout: Layout) -> None:
        self.id = layout.position("id")
        self.action = layout.position("action")
        #: A row counts as typed when one of these is filled; a note alone is a person's own remark.
        self.meant = tuple(c for c in layout.columns if c.kind in (ColumnKind.CONTROL, ColumnKind.PARAMETER))

    def read(self, index: int, cells: tuple[Cell, ...], old: Row | None) -> Row:
        if old is not None:
            return replace(old, index=index)
        width = len(cells)

        def at(position: int | None) -> Cell:
            return cells[position] if position is not None and position < width else BLANK

        is_blank = all(at(column.position).is_blank for column in self.meant)
        typed = {c.name: at(c.position) for c in self.meant if c.position != self.action}
        told = "" if is_blank else fingerprint(typed)
        id_ = str(at(self.id).value or "").strip()
        if group_of(id_) is not None:
            id_ = ""  # the members of a group have no rows: what somebody typed there is no id, like any other word
        return Row(
            index=index,
            cells=cells,
            id=id_,
            action=canonical(at(self.action).shown),
            is_blank=is_blank,
            fingerprint=told,
            key=(told, id_),
        )


def fingerprint(cells: Mapping[str, Cell]) -> str:
    """A short digest of typed cells by column name. Neither the order of columns nor one that is empty counts.

    Nor does a formula's text, since sorting rewrites the references in it: what counts is the value.
    """
    parts = sorted((name, cell.value, cell.error) for name, cell in cells.items() if not cell.is_blank)
    return hashlib.blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
