"""What the page sees: a tab as a snapshot, and two revisions of a tab as the patch between them.

A cell is written once as JSON text and kept with its row, so two revisions are compared by the texts of the rows that
are not the same object. Rows and columns are named by their ids only. The page is told what to show, never how to
compute it: shown text and colours are decided here.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quote
from typing import Any

from sheetd.sheets.builtin import typed
from sheetd.sheets.builtin.conditional import Painter, painter_of
from sheetd.sheets.builtin.formats import hex_colour, merge
from sheetd.sheets.builtin.model import BLANK, Cell, Row, Sheet, Spreadsheet, read_json
from sheetd.sheets.builtin.ranges import Region, column_name, from_grid_range
from sheetd.sheets.builtin.render import Raw
from sheetd.sheets.builtin.sparkline import drawing

OWNER_MARK = "sheetd"
"""A protected range whose description begins so covers cells that only sheetd writes."""

LARGEST_PATCH = 20_000
"""Changed cells beyond which a snapshot is the shorter way."""


@lru_cache(maxsize=4096)
def style(user: str | None, painted: str | None) -> dict[str, Any]:
    """The style keys of a CELL: own format, and what conditional rules lay over it."""
    look = merge(read_json(user) if user else {}, read_json(painted) if painted else {})
    letters = look.get("textFormat", {})
    keys: dict[str, Any] = {
        "bg": hex_colour(look.get("backgroundColor")),
        "fg": hex_colour(letters.get("foregroundColor")),
        "bold": 1 if letters.get("bold") else None,
        "italic": 1 if letters.get("italic") else None,
        "strike": 1 if letters.get("strikethrough") else None,
        "align": {"LEFT": "left", "CENTER": "center", "RIGHT": "right"}.get(look.get("horizontalAlignment", "")),
        "wrap": 1 if look.get("wrapStrategy") == "WRAP" else None,
        "link": _safe_link(letters.get("link", {}).get("uri")),
    }
    return {name: value for name, value in keys.items() if value is not None}


def _safe_link(address: str | None) -> str | None:
    """Only addresses that a click may open; a cell is hostile input."""
    return address if address and address.lower().startswith(("https://", "http://", "mailto:")) else None


@lru_cache(maxsize=1024)
def rule_id(validation: str) -> str:
    return hashlib.sha256(validation.encode()).hexdigest()[:10]


@lru_cache(maxsize=1024)
def rule_wire(validation: str) -> dict[str, Any]:
    """A RULE: what the page offers in a validated cell."""
    rule = read_json(validation)
    condition = rule["condition"]
    answer: dict[str, Any] = {"type": "other", "strict": bool(rule.get("strict"))}
    if condition["type"] == "ONE_OF_LIST":
        answer |= {"type": "list", "values": [item["userEnteredValue"] for item in condition.get("values", [])]}
    elif condition["type"] == "BOOLEAN" and not condition.get("values"):
        answer["type"] = "checkbox"
    if rule.get("inputMessage"):
        answer["help"] = rule["inputMessage"]
    return answer


@lru_cache(maxsize=4096)
def _style_text(user: str | None, painted: str | None) -> str:
    """The style keys as they stand inside of a CELL's braces, with a comma before them."""
    return "".join(f",{quote(name)}:{json.dumps(value)}" for name, value in style(user, painted).items())


def cell_wire(cell: Cell, painted: str | None) -> str:
    """A CELL as JSON text."""
    look = _style_text(cell.format, painted) if painted or cell.format else ""
    if not (cell.note or cell.validation or cell.typed):
        # Most cells are bare text or numbers: no need to go through a dictionary.
        if cell.kind == "":
            return f"{{{look[1:]}}}" if look else "null"
        if cell.kind == "n" and cell.format is None:
            return f'{{"v":"{typed.plain_text(cell.value)}","k":"n"{look}}}'
        if cell.kind == "s" and typed.edit_text(cell) == cell.value:
            return f'{{"v":{quote(cell.value)}{look}}}' if look else quote(cell.value)
    keys = _content(cell)
    if cell.note:
        keys["note"] = cell.note
    if cell.validation:
        keys["d"] = rule_id(cell.validation)
    text = json.dumps(keys, separators=(",", ":"))[1:-1] + look
    return f"{{{text.removeprefix(',')}}}" if text else "null"


def _content(cell: Cell) -> dict[str, Any]:
    """The keys of a CELL that come from its value."""
    text, edit = typed.shown(cell) or "", typed.edit_text(cell)
    keys: dict[str, Any] = {"v": text} if text else {}
    if edit != text:
        keys["e"] = edit
    kind = typed.worth(cell)[0]
    mark = "x" if kind == "x" else "f" if cell.kind == "f" else {"n": "n", "b": "b"}.get(kind)
    if mark:
        keys["k"] = mark
    if cell.kind == "f":
        link = _safe_link(typed.link_of(str(cell.value)))
        spark = drawing(str(cell.value))
        keys |= ({"link": link} if link else {}) | ({"spark": spark} if spark else {})
    return keys


def row_wire(sheet: Sheet, painter: Painter, index: int) -> list[str]:
    """The CELLs of a row as JSON texts in column order, without the nulls at the end."""
    row = sheet.rows[index]
    coverage = painter.coverage(index)
    if not row.cells and not coverage:
        return []
    key = ("live", sheet.layout, coverage)
    known = row.fragments.get(key)
    if known is not None:
        kept: list[str] = known
        return kept
    painted = painter.paint(index, row) if coverage else {}
    cells = [
        cell_wire(row.cells.get(column.id, BLANK), painted.get(number)) for number, column in enumerate(sheet.columns)
    ]
    while cells and cells[-1] == "null":
        cells.pop()
    if painter.is_local:
        row.keep(key, cells)
    return cells


def tabs_wire(book: Spreadsheet) -> list[dict[str, Any]]:
    tabs = []
    for sheet in book.sheets:
        tab: dict[str, Any] = {"sheet": sheet.id, "title": sheet.title}
        if sheet.tab_color is not None:
            tab["color"] = hex_colour(dict(sheet.tab_color))
        if sheet.hidden:
            tab["hidden"] = True
        tabs.append(tab)
    return tabs


def owned_regions(sheet: Sheet) -> list[Region]:
    """The parts of a tab that only sheetd writes: protected by it, down to the end of the tab."""
    regions = [
        from_grid_range({**item["range"], "sheetId": sheet.id}, "range")
        for item in sheet.protected
        if str(item.get("description", "")).startswith(OWNER_MARK)
    ]
    return [region.within(sheet) for region in regions if region.bottom is None or region.bottom >= len(sheet.rows)]


def columns_wire(sheet: Sheet) -> list[dict[str, Any]]:
    owned: dict[int, int] = {}
    for region in owned_regions(sheet):
        for index in region.column_range:
            owned[index] = min(region.top, owned.get(index, region.top))
    columns = []
    for index, column in enumerate(sheet.columns):
        wire: dict[str, Any] = {"id": column.id, "name": column_name(index), "width": column.width}
        if index in owned:
            wire |= {"owned": True, "ownedFrom": owned[index]}
        if column.hidden:
            wire["hidden"] = True
        columns.append(wire)
    return columns


def _frozen(sheet: Sheet) -> dict[str, int]:
    return {"rows": sheet.frozen_rows, "columns": sheet.frozen_columns}


def snapshot(book: Spreadsheet, sheet: Sheet) -> dict[str, Any]:
    """The whole tab; encode it with render.encode."""
    painter = painter_of(sheet)
    rows = [f"[{row.id},[{','.join(row_wire(sheet, painter, index))}]]" for index, row in enumerate(sheet.rows)]
    return {
        "t": "snapshot",
        "rev": book.rev,
        "key": book.key,
        "title": book.title,
        "tabs": tabs_wire(book),
        "sheet": sheet.id,
        "frozen": _frozen(sheet),
        "columns": columns_wire(sheet),
        "rules": _rules(cell for row in sheet.rows for cell in row.cells.values()),
        "rows": Raw("[" + ",".join(rows) + "]"),
    }


def _rules(cells: Any) -> dict[str, Any]:
    return {rule_id(text): rule_wire(text) for text in {cell.validation for cell in cells if cell.validation}}


def patch_ops(old_book: Spreadsheet, old: Sheet, new_book: Spreadsheet, new: Sheet) -> list[dict[str, Any]] | None:
    """What turns a view of `old` into one of `new`; None when a snapshot is due (columns changed, or very much did)."""
    if _frozen(old) != _frozen(new) or (
        (old.columns != new.columns or old.protected != new.protected) and columns_wire(old) != columns_wire(new)
    ):
        return None
    ops: list[dict[str, Any]] = []
    if old is not new:
        ops = _row_ops(old, new)
        cells: list[Any] = next((op["cells"] for op in ops if op["op"] == "cells"), [])
        if len(cells) > LARGEST_PATCH:
            return None
    if old_book.sheets is not new_book.sheets and tabs_wire(old_book) != tabs_wire(new_book):
        ops.append({"op": "tabs", "tabs": tabs_wire(new_book)})
    if old_book.title != new_book.title:
        ops.append({"op": "title", "title": new_book.title})
    return ops


def _row_ops(old: Sheet, new: Sheet) -> list[dict[str, Any]]:
    old_painter, painter = painter_of(old), painter_of(new)
    ops: list[dict[str, Any]] = []
    same_rows = old.rows is new.rows or (
        len(old.rows) == len(new.rows) and all(a.id == b.id for a, b in zip(old.rows, new.rows, strict=True))
    )
    changed: list[Row] = []
    if not same_rows:
        ops += _structure_ops(old, new, painter)
        changed += [row for row in new.rows if row.id not in old.row_index]
    cells: list[Any] = []
    calm = painter.is_local and old_painter.is_local and old.rules == new.rules and same_rows
    for index, row in enumerate(new.rows):
        at = index if same_rows else old.row_index.get(row.id, -1)
        if at < 0 or (calm and old.rows[at] is row):
            continue
        if old.rows[at] is row and _same_paint(old_painter, at, painter, index):
            continue
        before, after = row_wire(old, old_painter, at), row_wire(new, painter, index)
        if before != after:
            changed.append(row)
            cells += _changed_cells(new, row, before, after)
    if cells:
        ops.append({"op": "cells", "cells": cells})
    rules = _rules(cell for row in changed for cell in row.cells.values())
    return [{"op": "rules", "rules": rules}, *ops] if rules else ops


def _same_paint(old: Painter, at: int, new: Painter, index: int) -> bool:
    return old.is_local and new.is_local and old.coverage(at) == new.coverage(index)


def _changed_cells(sheet: Sheet, row: Row, before: list[str], after: list[str]) -> list[Any]:
    length = max(len(before), len(after))
    before, after = before + ["null"] * (length - len(before)), after + ["null"] * (length - len(after))
    return [
        [row.id, sheet.columns[number].id, Raw(after[number])]
        for number in range(length)
        if before[number] != after[number]
    ]


def _structure_ops(old: Sheet, new: Sheet, painter: Painter) -> list[dict[str, Any]]:
    ops: list[dict[str, Any]] = []
    gone = [row.id for row in old.rows if row.id not in new.row_index]
    if gone:
        ops.append({"op": "delete", "ids": gone})
    previous: int | None = None
    run: list[Any] = []
    for index, row in enumerate(new.rows):
        if row.id in old.row_index:
            run = []
        else:
            if not run:
                ops.append({"op": "insert", "after": previous, "rows": run})
            run.append([row.id, Raw("[" + ",".join(row_wire(new, painter, index)) + "]")])
        previous = row.id
    stayed = [row.id for row in new.rows if row.id in old.row_index]
    if stayed != [row.id for row in old.rows if row.id in new.row_index]:
        ops.append({"op": "order", "rows": [row.id for row in new.rows]})
    return ops
