"""Edits of the page: a message of operations by row and column ids, carried out on one draft.

A person's edit is never lost silently: a cell that may not be written (sheetd's own, gone, not allowed by its
validation) is named in the acknowledgement with its text and a plain reason, and the rest of the message is still done.
An operation that cannot be done at all refuses the whole message.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sheetd.sheets.builtin import batch_sheets, typed
from sheetd.sheets.builtin.batch_cells import sort_key
from sheetd.sheets.builtin.draft import Draft, SheetDraft
from sheetd.sheets.builtin.live_view import owned_regions
from sheetd.sheets.builtin.model import Cell, Row, read_json
from sheetd.sheets.builtin.problems import ApiError, invalid
from sheetd.sheets.builtin.store import Store

MOST_CELLS = 100_000
MOST_LINES = 10_000
WHY = {
    "owned": "sheetd writes this column; your text was not saved.",
    "gone": "This row or column was deleted meanwhile; your text was not saved.",
    "too_long": "A cell holds at most 50,000 characters.",
}


@dataclass
class Outcome:
    """What became of a message."""

    touched: list[tuple[int, int, str]] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)
    conflicts: list[list[Any]] = field(default_factory=list)
    ids: dict[str, int] = field(default_factory=dict)
    inserted: list[int] = field(default_factory=list)

    def reject(self, row: int, column: int, text: str, code: str, why: str | None = None) -> None:
        self.rejected.append({"cell": [row, column], "text": text, "code": code, "why": why or WHY[code]})


class Editor:
    """Carries out the operations of one message."""

    def __init__(self, store: Store, draft: Draft, sheet_id: int) -> None:
        self.store = store
        self.draft = draft
        self.sheet_id = sheet_id
        self.outcome = Outcome()

    def run(self, ops: list[Any]) -> Outcome:
        for op in ops:
            if not isinstance(op, dict) or op.get("op") not in _OPERATIONS:
                raise invalid(f"unknown operation {op.get('op') if isinstance(op, dict) else op!r}")
            _OPERATIONS[op["op"]](self, op)
        return self.outcome

    @property
    def sheet(self) -> SheetDraft:
        return self.draft.sheet(self.sheet_id)

    def row_index(self) -> dict[int, int]:
        return {row.id: index for index, row in enumerate(self.sheet.rows)}

    def column_index(self) -> dict[int, int]:
        return {column.id: index for index, column in enumerate(self.sheet.columns)}

    def row_id(self, value: Any) -> int:
        """A row id, or the id that was given to a temporary name of this message."""
        if isinstance(value, str) and value in self.outcome.ids:
            return self.outcome.ids[value]
        return _id(value)

    def cells(self, op: dict[str, Any]) -> None:
        changes = _list(op.get("cells"), MOST_CELLS)
        rows, columns = self.row_index(), self.column_index()
        owned = owned_regions(self.sheet.preview())
        for change in changes:
            row_id, column_id, text, was = _change(change)
            row_id, column_id = self.row_id(row_id), self.row_id(column_id)
            row, column = rows.get(row_id, -1), columns.get(column_id, -1)
            if row < 0 or column < 0:
                self.outcome.reject(row_id, column_id, text, "gone")
            elif any(row in region.row_range and column in region.column_range for region in owned):
                self.outcome.reject(row_id, column_id, text, "owned")
            elif len(text) > typed.LONGEST_TEXT:
                self.outcome.reject(row_id, column_id, text, "too_long")
            else:
                self._type(row, column, text, was)

    def _type(self, row: int, column: int, text: str, was: str | None) -> None:
        old = self.sheet.cell(row, column)
        row_id, column_id = self.sheet.rows[row].id, self.sheet.columns[column].id
        new = typed.with_entered(old, text)
        refusal = refused_by_validation(new)
        if refusal:
            self.outcome.reject(row_id, column_id, text, "invalid", refusal)
            return
        if was is not None and was != typed.edit_text(old):
            self.outcome.conflicts.append([row_id, column_id, typed.edit_text(old)])
        self.sheet.put(row, column, new)
        self.outcome.touched.append((row_id, column_id, text))

    def insert(self, op: dict[str, Any]) -> None:
        number = _count(op.get("rows"))
        at = self._after(op.get("after"), self.row_index(), self.sheet.base.row_index)
        made = self.sheet.insert_rows(at, number, inherit_before=at > self.sheet.meta.frozen_rows)
        self.outcome.inserted += made
        self._name(op.get("as"), made)

    def insert_columns(self, op: dict[str, Any]) -> None:
        at = self._after(op.get("after"), self.column_index(), self.sheet.base.column_index)
        self._name(op.get("as"), self.sheet.insert_columns(at, _count(op.get("columns"))))

    def _after(self, after: Any, index: dict[int, int], base: dict[int, int]) -> int:
        """Where to insert: behind the given line, else behind the nearest earlier one that is still there."""
        if after is None:
            return 0
        wanted = self.row_id(after)
        if wanted in index:
            return index[wanted] + 1
        if wanted not in base and base is self.sheet.base.row_index:
            return self._after_deleted(wanted, index)
        return len(index)

    def _after_deleted(self, row_id: int, index: dict[int, int]) -> int:
        seen: set[int] = set()
        current: int | None = row_id
        while current is not None and current not in index:
            if current in seen:
                return len(index)
            seen.add(current)
            found = self.store.deleted_rows(self.draft.base.key, self.sheet_id, [current])
            if current not in found:
                return len(index)
            current = found[current][0]
        return 0 if current is None else index[current] + 1

    def _name(self, names: Any, made: list[int]) -> None:
        if names is None:
            return
        if not isinstance(names, list) or len(names) != len(made) or any(not isinstance(name, str) for name in names):
            raise invalid("'as' must hold one name for each new line")
        self.outcome.ids.update(zip(names, made, strict=True))

    def delete(self, op: dict[str, Any]) -> None:
        gone = {_id(value) for value in _list(op.get("ids"), 200_000)}
        index = [number for number, row in enumerate(self.sheet.rows) if row.id in gone]
        for start, end in reversed(_runs(index)):
            self.sheet.delete_rows(start, end - start)

    def delete_columns(self, op: dict[str, Any]) -> None:
        gone = {_id(value) for value in _list(op.get("ids"), MOST_LINES)}
        index = [number for number, column in enumerate(self.sheet.columns) if column.id in gone]
        owned = {column for region in owned_regions(self.sheet.preview()) for column in region.column_range}
        if owned & set(index):
            raise ApiError(403, "sheetd writes this column; remove it from the sheet's settings, not from the page.")
        for start, end in reversed(_runs(index)):
            self.sheet.delete_columns(start, end - start)

    def restore(self, op: dict[str, Any]) -> None:
        ids = [_id(value) for value in _list(op.get("ids"), 200_000)]
        present = self.row_index()
        found = self.store.deleted_rows(self.draft.base.key, self.sheet_id, [row for row in ids if row not in present])
        columns = self.column_index()
        pending = {row_id: place for row_id, place in found.items() if row_id not in present}
        while pending:
            index = self.row_index()
            # A row whose predecessor comes back too must wait for it; one of them never waits.
            row_id = next(
                (row_id for row_id, (after, _) in pending.items() if after not in pending), next(iter(pending))
            )
            after, row = pending.pop(row_id)
            cells = {column: cell for column, cell in row.cells.items() if column in columns}
            at = 0 if after is None else index[after] + 1 if after in index else self._after_deleted(after, index)
            self.sheet.put_rows(at, [Row(row_id, cells)])

    def sort(self, op: dict[str, Any]) -> None:
        column_id = _id(op.get("colId"))
        if column_id not in self.column_index():
            raise invalid("The column to sort by was deleted.")
        top = self.sheet.meta.frozen_rows
        head, body = self.sheet.rows[:top], self.sheet.rows[top:]
        filled = [row for row in body if row.cells.get(column_id, Cell()).kind]
        rest = [row for row in body if not row.cells.get(column_id, Cell()).kind]
        rest.sort(key=lambda row: not any(cell.kind for cell in row.cells.values()))
        filled.sort(key=lambda row: sort_key(row.cells[column_id]), reverse=op.get("desc") is True)
        self.sheet.reorder([*head, *filled, *rest])

    def order(self, op: dict[str, Any]) -> None:
        index = self.row_index()
        wanted = [_id(value) for value in _list(op.get("rows"), 200_000)]
        wanted = [row_id for row_id in dict.fromkeys(wanted) if row_id in index]
        rows = list(self.sheet.rows)
        for place, row_id in zip(sorted(index[row_id] for row_id in wanted), wanted, strict=True):
            rows[place] = self.sheet.rows[index[row_id]]
        self.sheet.reorder(rows)

    def note(self, op: dict[str, Any]) -> None:
        cell, text = op.get("cell"), op.get("text")
        if not isinstance(cell, list) or len(cell) != 2 or not isinstance(text, str):
            raise invalid("a note needs a cell and a text")
        row_id, column_id = self.row_id(cell[0]), self.row_id(cell[1])
        row, column = self.row_index().get(row_id, -1), self.column_index().get(column_id, -1)
        if row < 0 or column < 0:
            self.outcome.reject(row_id, column_id, text, "gone")
            return
        self.sheet.put(row, column, self.sheet.cell(row, column)._replace(note=typed.check_length(text) or None))

    def width(self, op: dict[str, Any]) -> None:
        index, pixels = self.column_index().get(_id(op.get("colId"))), op.get("width")
        if not isinstance(pixels, (int, float)) or not 20 <= pixels <= 2000:
            raise invalid("a width lies between 20 and 2000 pixels")
        if index is not None:
            self.sheet.set_column(index, self.sheet.columns[index]._replace(width=round(pixels)))

    def add_tab(self, op: dict[str, Any]) -> None:
        self.draft.add(_title(op), 1000, 26)

    def rename_tab(self, op: dict[str, Any]) -> None:
        properties = {"sheetId": _id(op.get("sheet")), "title": _title(op)}
        batch_sheets.update_sheet_properties(self.draft, {"properties": properties, "fields": "title"})

    def delete_tab(self, op: dict[str, Any]) -> None:
        self.draft.remove(_id(op.get("sheet")))


_OPERATIONS: dict[str, Callable[[Editor, dict[str, Any]], None]] = {
    "cells": Editor.cells,
    "insert": Editor.insert,
    "insertColumns": Editor.insert_columns,
    "delete": Editor.delete,
    "deleteColumns": Editor.delete_columns,
    "restore": Editor.restore,
    "sort": Editor.sort,
    "order": Editor.order,
    "note": Editor.note,
    "width": Editor.width,
    "addTab": Editor.add_tab,
    "renameTab": Editor.rename_tab,
    "deleteTab": Editor.delete_tab,
}


def refused_by_validation(cell: Cell) -> str | None:
    """Why a strict validation forbids this value, in a sentence; None when it does not."""
    if cell.validation is None or cell.kind == "":
        return None
    rule = read_json(cell.validation)
    condition = rule["condition"]
    if not rule.get("strict"):
        return None
    if condition["type"] == "ONE_OF_LIST":
        words = [item["userEnteredValue"] for item in condition.get("values", [])]
        if typed.shown(cell) not in words:
            return f"This cell takes one of: {', '.join(words)}"[:500]
    if condition["type"] == "BOOLEAN" and not condition.get("values") and typed.worth(cell)[0] != "b":
        return "This cell takes TRUE or FALSE."
    return None


def _change(value: Any) -> tuple[Any, Any, str, str | None]:
    if not isinstance(value, list) or len(value) not in {3, 4} or not isinstance(value[2], str):
        raise invalid("a cell change is [rowId, colId, text, was]")
    was = value[3] if len(value) == 4 else None
    if was is not None and not isinstance(was, str):
        raise invalid("'was' is a text or null")
    return value[0], value[1], value[2], was


def _list(value: Any, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise invalid(f"a list of at most {most} items is wanted")
    return value


def _id(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise invalid(f"an id is a whole number, not {value!r}")
    return value


def _count(value: Any) -> int:
    number = _id(value)
    if not 1 <= number <= MOST_LINES:
        raise invalid(f"between 1 and {MOST_LINES} lines can be inserted at once")
    return number


def _title(op: dict[str, Any]) -> str:
    title = op.get("title")
    if not isinstance(title, str):
        raise invalid("a tab needs a title")
    return title


def _runs(index: list[int]) -> list[tuple[int, int]]:
    """Sorted numbers as half-open runs."""
    runs: list[tuple[int, int]] = []
    for number in index:
        if runs and runs[-1][1] == number:
            runs[-1] = (runs[-1][0], number + 1)
        else:
            runs.append((number, number + 1))
    return runs
