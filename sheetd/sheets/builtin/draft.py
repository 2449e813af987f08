"""The next revision of a spreadsheet while it is being made.

A draft copies what it changes and shares the rest, so a transaction that fails half-way is simply dropped: nothing that
anybody can see was touched. It knows nothing of HTTP, of the page or of SQLite. Everything that lives by row and column
numbers (rules, protections, merges, named ranges) moves here when rows and columns move.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from sheetd.sheets.builtin.formula import shift_references
from sheetd.sheets.builtin.model import BLANK, Cell, Column, Row, Sheet, Spreadsheet, new_layout, new_sheet
from sheetd.sheets.builtin.problems import invalid
from sheetd.sheets.builtin.ranges import (
    Axis,
    Region,
    SpanChange,
    deleted,
    from_grid_range,
    inserted,
    map_span,
    moved,
    to_grid_range,
)

MOST_CELLS = 5_000_000
MOST_ROWS = 200_000
MOST_COLUMNS = 2_000
"""Bounds of a spreadsheet and of one tab; Google's are 10,000,000 cells and 18,278 columns."""


class SheetDraft:
    """One tab being changed. Indexes are those of the moment, zero-based."""

    def __init__(self, sheet: Sheet, lines_moved: Callable[[int, Axis, SpanChange], None]) -> None:
        """`lines_moved` is told what every insert, deletion and move makes of a span of this tab."""
        self.base = sheet
        self._lines_moved = lines_moved
        self.meta = sheet
        self.rows: list[Row] = list(sheet.rows)
        self.columns: list[Column] = list(sheet.columns)
        self.next_row = sheet.next_row
        self.next_column = sheet.next_column
        self._own: set[int] = set()
        self._order_changed = False

    def cell(self, row: int, column: int) -> Cell:
        return self.rows[row].cells.get(self.columns[column].id, BLANK)

    def put(self, row: int, column: int, cell: Cell) -> None:
        """Set one cell; a blank one leaves no trace."""
        self.put_by_id(row, self.columns[column].id, cell)

    def put_by_id(self, row: int, column_id: int, cell: Cell) -> None:
        found = self.rows[row]
        if found.cells.get(column_id, BLANK) == cell:
            return
        if found.id not in self._own:
            found = Row(found.id, dict(found.cells))
            self.rows[row] = found
            self._own.add(found.id)
        if cell == BLANK:
            found.cells.pop(column_id, None)
        else:
            found.cells[column_id] = cell

    def change(self, **changes: Any) -> None:
        """Replace fields of the tab that are neither rows nor columns (title, rules ...)."""
        self.meta = replace(self.meta, **changes)

    def insert_rows(self, at: int, number: int, *, inherit_before: bool = False) -> list[int]:
        """New rows before index `at` with the format and validation of a neighbour; returns their ids."""
        self._check_size(len(self.rows) + number, len(self.columns))
        pattern = self.rows[at - 1] if inherit_before and at else self.rows[at] if at < len(self.rows) else None
        cells = _look_of(pattern) if pattern else {}
        fresh = [Row(self.next_row + index, dict(cells)) for index in range(number)]
        self.next_row += number
        self.put_rows(at, fresh, extend_end=inherit_before)
        return [row.id for row in fresh]

    def put_rows(self, at: int, rows: Sequence[Row], *, extend_end: bool = False) -> None:
        """Rows that exist already (restored ones) or were just made, before index `at`."""
        self._own.update(row.id for row in rows)
        self._order_changed = True
        self.rows[at:at] = rows
        self._move_ranges("ROWS", inserted(at, len(rows), extend_end=extend_end), _shifted(at, len(rows)))
        if at < self.meta.frozen_rows:
            self.change(frozen_rows=self.meta.frozen_rows + len(rows))

    def delete_rows(self, at: int, number: int) -> None:
        if number >= len(self.rows):
            raise invalid("You can't delete all the rows on the sheet.")
        del self.rows[at : at + number]
        self._order_changed = True
        self._move_ranges("ROWS", deleted(at, number), _shifted(at, -number))
        lost = max(0, min(at + number, self.meta.frozen_rows) - at)
        if lost:
            self.change(frozen_rows=self.meta.frozen_rows - lost)

    def insert_columns(self, at: int, number: int, *, inherit_before: bool = False) -> list[int]:
        """New empty columns before index `at`; returns their ids."""
        self._check_size(len(self.rows), len(self.columns) + number)
        fresh = [Column(self.next_column + index) for index in range(number)]
        self.next_column += number
        self.columns[at:at] = fresh
        self._move_ranges("COLUMNS", inserted(at, number, extend_end=inherit_before), _shifted(at, number))
        if at < self.meta.frozen_columns:
            self.change(frozen_columns=self.meta.frozen_columns + number)
        return [column.id for column in fresh]

    def delete_columns(self, at: int, number: int) -> None:
        if number >= len(self.columns):
            raise invalid("You can't delete all the columns on the sheet.")
        gone = [column.id for column in self.columns[at : at + number]]
        for row, found in enumerate(self.rows):
            for column_id in gone:
                if column_id in found.cells:
                    self.put_by_id(row, column_id, BLANK)
        del self.columns[at : at + number]
        self._move_ranges("COLUMNS", deleted(at, number), _shifted(at, -number))
        lost = max(0, min(at + number, self.meta.frozen_columns) - at)
        if lost:
            self.change(frozen_columns=self.meta.frozen_columns - lost)

    def move(self, axis: Axis, start: int, end: int, destination: int) -> None:
        """Move whole rows or columns [start, end) so that they stand before what is now at `destination`."""
        size = len(self.rows) if axis == "ROWS" else len(self.columns)
        if start < destination < end or not 0 <= start < end <= size or not 0 <= destination <= size:
            raise invalid("Invalid moveDimension: the destination lies within the moved lines or outside of the grid")
        lines = list(range(size))
        block = lines[start:end]
        rest = [line for line in lines if not start <= line < end]
        at = destination if destination <= start else destination - len(block)
        order = [*rest[:at], *block, *rest[at:]]
        new_index = [0] * size
        for new, old in enumerate(order):
            new_index[old] = new
        if axis == "ROWS":
            self.reorder([self.rows[line] for line in order])
        else:
            self.columns = [self.columns[line] for line in order]
        self._move_ranges(axis, moved(new_index), lambda line: new_index[line] if line < size else line)

    def reorder(self, rows: list[Row]) -> None:
        """The same rows in another order; their ids and contents travel together, ranges stay where they are."""
        self.rows = rows
        self._order_changed = True

    def set_column(self, index: int, column: Column) -> None:
        self.columns[index] = column

    def _check_size(self, rows: int, columns: int) -> None:
        if rows > MOST_ROWS or columns > MOST_COLUMNS or rows * columns > MOST_CELLS:
            raise invalid(
                f"This action would grow the sheet above the limit of {MOST_CELLS} cells, "
                f"{MOST_ROWS} rows or {MOST_COLUMNS} columns."
            )

    def _move_ranges(self, axis: Axis, span: SpanChange, line: Callable[[int], int]) -> None:
        self._lines_moved(self.base.id, axis, span)

        def move_range(value: Any) -> Any | None:
            region = map_span(from_grid_range({**value, "sheetId": self.base.id}, "range"), axis, span)
            return None if region is None else to_grid_range(region)

        def move_formula(rule: Any) -> Any:
            condition = rule["booleanRule"]["condition"]
            if condition["type"] != "CUSTOM_FORMULA":
                return rule
            same: Callable[[int], int] = lambda index: index  # noqa: E731 - the axis that does not move
            row, column = (line, same) if axis == "ROWS" else (same, line)
            text = shift_references(condition["values"][0]["userEnteredValue"], row=row, column=column)
            condition = {**condition, "values": [{"userEnteredValue": text}]}
            return {**rule, "booleanRule": {**rule["booleanRule"], "condition": condition}}

        rules = []
        for rule in self.meta.rules:
            ranges = [found for found in map(move_range, rule["ranges"]) if found is not None]
            if ranges:
                rules.append(move_formula({**rule, "ranges": ranges}))
        merges = tuple(found for found in map(move_range, self.meta.merges) if found is not None)
        protected = []
        for item in self.meta.protected:
            found = move_range(item.get("range", {}))
            if found is not None:
                protected.append({**item, "range": found})
        now = (tuple(rules), tuple(protected), merges)
        if now != (self.meta.rules, self.meta.protected, self.meta.merges):
            self.change(rules=now[0], protected=now[1], merges=merges)

    def preview(self) -> Sheet:
        """The tab as it stands now, for functions that read snapshots."""
        return replace(self.meta, rows=self.rows, columns=tuple(self.columns))

    def finish(self) -> Sheet:
        """The new snapshot of the tab; the old one itself when nothing is different."""
        same_rows = not self._own and not self._order_changed
        columns = tuple(self.columns)
        same_columns = columns == self.base.columns
        if same_rows and same_columns and self.meta == self.base:
            return self.base
        same_layout = [column.id for column in columns] == [column.id for column in self.base.columns]
        return replace(
            self.meta,
            rows=self.base.rows if same_rows else self.rows,
            columns=columns,
            next_row=self.next_row,
            next_column=self.next_column,
            layout=self.base.layout if same_layout else new_layout(),
        )


def _look_of(row: Row) -> dict[int, Cell]:
    """What a new row takes from its neighbour: formats and validation, never values."""
    looks = {column: Cell(format=cell.format, validation=cell.validation) for column, cell in row.cells.items()}
    return {column: cell for column, cell in looks.items() if cell != BLANK}


def _shifted(at: int, number: int) -> Callable[[int], int]:
    return lambda line: line if line < at else max(at, line + number)


class Draft:
    """One transaction over all tabs."""

    def __init__(self, book: Spreadsheet) -> None:
        self.base = book
        self.book = book
        self.sheets = [sheet.id for sheet in book.sheets]
        self._drafts: dict[int, SheetDraft] = {}
        self._sheets: dict[int, Sheet] = {sheet.id: sheet for sheet in book.sheets}

    def sheet(self, sheet_id: int) -> SheetDraft:
        """The tab for changing; ApiError 400 when there is none of this id."""
        if sheet_id not in self._drafts:
            if sheet_id not in self._sheets:
                raise invalid(f"No grid with id: {sheet_id}")
            self._drafts[sheet_id] = SheetDraft(self._sheets[sheet_id], self._move_named)
        return self._drafts[sheet_id]

    def metas(self) -> Iterable[Sheet]:
        """All tabs as they stand now, in order."""
        return [self._drafts[key].preview() if key in self._drafts else self._sheets[key] for key in self.sheets]

    def add(self, title: str, rows: int, columns: int, *, sheet_id: int | None = None, index: int | None = None) -> int:
        """A new empty tab; returns its id. The title must be free (ApiError 400)."""
        self.check_title(title, None)
        if sheet_id is None:
            sheet_id = next(
                number for number in iter(lambda: secrets.randbelow(2**31), -1) if number not in self.sheets
            )
        if sheet_id in self._sheets:
            raise invalid(f"A sheet with the id {sheet_id} already exists. Please enter another id.")
        if rows > MOST_ROWS or columns > MOST_COLUMNS or rows * columns > MOST_CELLS:
            raise invalid(f"This action would grow the sheet above the limit of {MOST_CELLS} cells.")
        self.place(new_sheet(sheet_id, title, rows, columns), index)
        return sheet_id

    def place(self, sheet: Sheet, index: int | None) -> None:
        self._sheets[sheet.id] = sheet
        self.sheets.insert(len(self.sheets) if index is None else index, sheet.id)

    def swap(self, sheet: Sheet) -> None:
        """Put a finished tab in the place of the one of the same id."""
        self._drafts.pop(sheet.id, None)
        self._sheets[sheet.id] = sheet

    def remove(self, sheet_id: int) -> None:
        self.sheet(sheet_id)
        visible = [sheet.id for sheet in self.metas() if not sheet.hidden]
        if visible == [sheet_id]:
            raise invalid("You can't remove all the visible sheets in a document.")
        self.sheets.remove(sheet_id)
        del self._sheets[sheet_id], self._drafts[sheet_id]
        named = tuple(item for item in self.book.named_ranges if item["range"].get("sheetId", 0) != sheet_id)
        self.change(named_ranges=named)

    def check_title(self, title: str, own: int | None) -> None:
        """Titles are unique without regard to case, as at Google, and neither empty nor longer than 100 characters."""
        if not title or len(title) > 100:
            raise invalid("A sheet name must have between 1 and 100 characters.")
        if any(sheet.title.lower() == title.lower() and sheet.id != own for sheet in self.metas()):
            raise invalid(f'A sheet with the name "{title}" already exists. Please enter another name.')

    def object_id(self) -> int:
        """A number for a protected or named range, never given twice in this spreadsheet."""
        number = self.book.next_object
        self.change(next_object=number + 1)
        return number

    def metadata_id(self) -> int:
        """A random id that no developer metadata of this spreadsheet has."""
        taken = {entry.id for entry in self.book.metadata}
        for sheet in self.metas():
            taken.update(entry.id for entry in sheet.metadata)
            taken.update(entry.id for column in sheet.columns for entry in column.metadata)
        return next(number for number in iter(lambda: 1 + secrets.randbelow(2**31 - 1), 0) if number not in taken)

    def change(self, **changes: Any) -> None:
        self.book = replace(self.book, **changes)

    def _move_named(self, sheet_id: int, axis: Axis, span: SpanChange) -> None:
        """Named ranges belong to the spreadsheet, and follow the lines of their tab."""
        kept = []
        for item in self.book.named_ranges:
            region = from_grid_range(item["range"], "range")
            now = map_span(region, axis, span) if region.sheet_id == sheet_id else region
            if now is not None:
                kept.append({**item, "range": to_grid_range(now)})
        if tuple(kept) != self.book.named_ranges:
            self.change(named_ranges=tuple(kept))

    def region(self, value: Any, where: str) -> tuple[SheetDraft, Region]:
        """A GridRange of a request on its tab, with open ends closed at the grid as it is now."""
        region = from_grid_range(value, where)
        sheet = self.sheet(region.sheet_id)
        return sheet, self.close(sheet, region)

    @staticmethod
    def close(sheet: SheetDraft, region: Region) -> Region:
        rows, columns = len(sheet.rows), len(sheet.columns)
        if (region.bottom or 0) > rows or (region.right or 0) > columns or region.top > rows or region.left > columns:
            raise invalid(f"Range exceeds grid limits. Max rows: {rows}, max columns: {columns}")
        bottom = rows if region.bottom is None else region.bottom
        right = columns if region.right is None else region.right
        return Region(region.sheet_id, region.top, bottom, region.left, right)

    def finish(self) -> Spreadsheet:
        """The next snapshot, still with the old `rev`; the old one itself when nothing is different."""
        sheets = tuple(self._drafts[key].finish() if key in self._drafts else self._sheets[key] for key in self.sheets)
        if len(sheets) == len(self.base.sheets) and all(map(lambda a, b: a is b, sheets, self.base.sheets)):
            sheets = self.base.sheets
        if sum(len(sheet.rows) * len(sheet.columns) for sheet in sheets) > MOST_CELLS:
            raise invalid(f"This action would grow the spreadsheet above the limit of {MOST_CELLS} cells.")
        if sheets is self.base.sheets and self.book == self.base:
            return self.base
        return replace(self.book, sheets=sheets)
