"""batchUpdate requests that change cells: their values, formats, rules and order, one by one or by content, and merges.

A `fields` mask decides what is written *and* what is cleared: a field that is listed and not given is emptied, a field
that is not listed is left alone. Nothing here parses text; a stringValue that looks like a formula stays text.
"""

from __future__ import annotations

import re
from typing import Any

from sheetd.sheets.builtin import formats, typed
from sheetd.sheets.builtin.draft import Draft, SheetDraft
from sheetd.sheets.builtin.fields import ANYTHING, Mask, parse_mask
from sheetd.sheets.builtin.formats import Format
from sheetd.sheets.builtin.model import Cell, canonical, read_json
from sheetd.sheets.builtin.problems import allow_only, boolean, integer, invalid, items, text, unimplemented, word
from sheetd.sheets.builtin.ranges import Region, to_grid_range

_CELL_KEYS = frozenset(
    {
        *("userEnteredValue", "effectiveValue", "formattedValue", "userEnteredFormat", "effectiveFormat", "hyperlink"),
        *("note", "dataValidation", "textFormatRuns", "pivotTable", "dataSourceTable", "dataSourceFormula", "chipRuns"),
    }
)
_WRITABLE = frozenset({"userEnteredValue", "userEnteredFormat", "note", "dataValidation"})
_CONDITIONS = frozenset({"ONE_OF_LIST", "BOOLEAN", "ONE_OF_RANGE", "CUSTOM_FORMULA", "TEXT_CONTAINS", "TEXT_EQ"})
_ORDERS = frozenset({"SORT_ORDER_UNSPECIFIED", "ASCENDING", "DESCENDING"})
_NO_CHANGE = frozenset({"effectiveValue", "formattedValue", "effectiveFormat", "hyperlink"})


def _mask(payload: dict[str, Any]) -> Mask:
    mask = parse_mask(text(payload.get("fields", ""), "fields") or None, dict.fromkeys(_CELL_KEYS, ANYTHING))
    if mask is None:
        raise invalid("At least one field must be listed in 'fields'. (Use '*' to indicate all fields.)")
    if "*" in mask:
        return {name: {} for name in _WRITABLE}
    for name in mask:
        if name in _NO_CHANGE:
            raise invalid(f"Field {name!r} of a cell is read-only")
        if name not in _WRITABLE:
            raise unimplemented(f"writing {name!r} of cells")
    return mask


class CellWriter:
    """One CellData under one mask, ready to be laid over any number of cells."""

    def __init__(self, data: Any, mask: Mask, where: str) -> None:
        given = allow_only(data if data is not None else {}, _CELL_KEYS, where)
        for name in ("textFormatRuns", "pivotTable", "chipRuns"):
            if given.get(name):
                raise unimplemented(f"writing {name!r} of cells")
        self.mask = mask
        self.where = where
        self.value = given.get("userEnteredValue")
        self.note = text(given.get("note", ""), f"{where}.note") or None
        self.format: Format = formats.normalise(given.get("userEnteredFormat", {}), f"{where}.userEnteredFormat")
        rule = given.get("dataValidation")
        self.validation = canonical(check_validation(rule, f"{where}.dataValidation")) if rule else None

    def apply(self, cell: Cell) -> Cell:
        if "userEnteredValue" in self.mask:
            cell = typed.with_extended(cell, self.value, f"{self.where}.userEnteredValue")
        if "note" in self.mask:
            cell = cell._replace(note=self.note)
        if "dataValidation" in self.mask:
            cell = cell._replace(validation=self.validation)
        if "userEnteredFormat" in self.mask:
            old = read_json(cell.format) if cell.format else {}
            cell = cell._replace(format=formats.text_of(_masked(old, self.format, self.mask["userEnteredFormat"])))
        return cell


def _masked(old: Format, new: Format, mask: Mask) -> Format:
    """`old` with the masked fields as they are in `new`; a colour's two names are one field."""
    if not mask or "*" in mask:
        return new
    answer = dict(old)
    for name, below in mask.items():
        stem = name.removesuffix("Style")
        for each in (stem, f"{stem}Style") if stem.endswith("Color") else (name,):
            answer.pop(each, None)
            if below and name == "textFormat":
                part = _masked(old.get(each, {}), new.get(each, {}), below)
                if part:
                    answer[each] = part
            elif each in new:
                answer[each] = new[each]
    return answer


def check_validation(value: Any, where: str) -> dict[str, Any]:
    """A DataValidationRule as it is stored; kinds that the page cannot offer are kept and shown as such."""
    given = allow_only(value, frozenset({"condition", "inputMessage", "strict", "showCustomUi"}), where)
    condition = allow_only(given.get("condition"), frozenset({"type", "values"}), f"{where}.condition")
    if text(condition.get("type"), f"{where}.condition.type") not in _CONDITIONS:
        raise unimplemented(f"data validation of type {condition.get('type')!r}")
    for item in items(condition.get("values"), f"{where}.condition.values"):
        part = allow_only(item, frozenset({"userEnteredValue", "relativeDate"}), f"{where}.condition.values")
        text(part.get("userEnteredValue"), f"{where}.condition.values.userEnteredValue")
    text(given.get("inputMessage", ""), f"{where}.inputMessage")
    for name in ("strict", "showCustomUi"):
        boolean(given.get(name, False), f"{where}.{name}")
    kept = {name: item for name, item in given.items() if item is not False}
    return kept | {"condition": condition}


def update_cells(draft: Draft, payload: Any) -> dict[str, Any]:
    given = allow_only(payload, frozenset({"rows", "fields", "start", "range"}), "updateCells")
    mask = _mask(given)
    if ("start" in given) == ("range" in given):
        raise invalid("exactly one of 'start' and 'range' must be set")
    rows = items(given.get("rows"), "rows")
    cells = [items(allow_only(row, frozenset({"values"}), "rows").get("values"), "rows.values") for row in rows]
    width = max(map(len, cells), default=0)
    if "start" in given:
        start = allow_only(given["start"], frozenset({"sheetId", "rowIndex", "columnIndex"}), "start")
        top, left = (integer(start.get(name, 0), f"start.{name}") for name in ("rowIndex", "columnIndex"))
        sheet = draft.sheet(integer(start.get("sheetId", 0), "start.sheetId"))
        region = draft.close(sheet, Region(sheet.base.id, top, top + len(cells), left, left + width))
    else:
        sheet, region = draft.region(given["range"], "range")
        if len(cells) > len(region.row_range) or width > len(region.column_range):
            raise invalid("Attempting to write outside of the range of the request")
    blank = CellWriter(None, mask, "rows.values")
    covers = "range" in given
    for offset, row in enumerate(region.row_range):
        line = cells[offset] if offset < len(cells) else []
        for column in range(region.left, region.column_range.stop if covers else region.left + len(line)):
            at = column - region.left
            writer = CellWriter(line[at], mask, "rows.values") if at < len(line) else blank
            sheet.put(row, column, writer.apply(sheet.cell(row, column)))
    return {}


def append_cells(draft: Draft, payload: Any) -> dict[str, Any]:
    """New cells from the first column on, below the last row that holds a value, in rows that are added as needed.

    Being one request of a transaction, it meets the rows as they are then: two who append never overwrite each other.
    """
    given = allow_only(payload, frozenset({"sheetId", "rows", "fields", "tableId"}), "appendCells")
    if "tableId" in given:
        raise unimplemented("appendCells with tableId")
    mask = _mask(given)
    sheet = draft.sheet(integer(given.get("sheetId", 0), "sheetId"))
    rows = items(given.get("rows"), "rows")
    cells = [items(allow_only(row, frozenset({"values"}), "rows").get("values"), "rows.values") for row in rows]
    top = max((index + 1 for index, row in enumerate(sheet.rows) if any(c.kind for c in row.cells.values())), default=0)
    missing = top + len(cells) - len(sheet.rows)
    if missing > 0:
        sheet.insert_rows(len(sheet.rows), missing, inherit_before=top > 1)
    wider = max(map(len, cells), default=0) - len(sheet.columns)
    if wider > 0:
        sheet.insert_columns(len(sheet.columns), wider)
    for row, line in enumerate(cells, start=top):
        for column, data in enumerate(line):
            sheet.put(row, column, CellWriter(data, mask, "rows.values").apply(sheet.cell(row, column)))
    return {}


def repeat_cell(draft: Draft, payload: Any) -> dict[str, Any]:
    given = allow_only(payload, frozenset({"range", "cell", "fields"}), "repeatCell")
    writer = CellWriter(given.get("cell"), _mask(given), "cell")
    sheet, region = draft.region(given.get("range"), "range")
    for row in region.row_range:
        for column in region.column_range:
            sheet.put(row, column, writer.apply(sheet.cell(row, column)))
    return {}


def set_data_validation(draft: Draft, payload: Any) -> dict[str, Any]:
    given = allow_only(payload, frozenset({"range", "rule", "filteredRowsIncluded"}), "setDataValidation")
    rule = canonical(check_validation(given["rule"], "rule")) if given.get("rule") else None
    sheet, region = draft.region(given.get("range"), "range")
    for row in region.row_range:
        for column in region.column_range:
            sheet.put(row, column, sheet.cell(row, column)._replace(validation=rule))
    return {}


def sort_range(draft: Draft, payload: Any) -> dict[str, Any]:
    """Cells move with format, note and validation, inside the range only; rows keep their ids and what lies outside."""
    given = allow_only(payload, frozenset({"range", "sortSpecs"}), "sortRange")
    sheet, region = draft.region(given.get("range"), "range")
    specs = items(given.get("sortSpecs"), "sortSpecs") or [{"dimensionIndex": region.left}]
    lines = [[sheet.cell(row, column) for column in region.column_range] for row in region.row_range]
    for item in reversed(specs):
        spec = allow_only(item, frozenset({"dimensionIndex", "sortOrder"}), "sortSpecs")
        column = integer(spec.get("dimensionIndex", 0), "sortSpecs.dimensionIndex") - region.left
        if not 0 <= column < len(region.column_range):
            raise invalid("sortSpecs.dimensionIndex lies outside of the range")
        descending = word(spec.get("sortOrder", "ASCENDING"), "sortSpecs.sortOrder", _ORDERS) == "DESCENDING"
        lines = _sorted(lines, column, descending=descending)
    for row, line in zip(region.row_range, lines, strict=True):
        for column, cell in zip(region.column_range, line, strict=True):
            sheet.put(row, column, cell)
    return {}


def _sorted(lines: list[list[Cell]], column: int, *, descending: bool) -> list[list[Cell]]:
    """Stable, with the empty cells of the column last either way."""
    filled = [line for line in lines if line[column].kind]
    filled.sort(key=lambda line: sort_key(line[column]), reverse=descending)
    return filled + [line for line in lines if not line[column].kind]


def sort_key(cell: Cell) -> tuple[int, Any]:
    """Sheets' order: numbers, text without regard to case, booleans, errors."""
    kind, value = typed.worth(cell)
    if kind == "n":
        return 0, value
    return {"s": 1, "": 1, "b": 2}.get(kind, 3), str(value or "").casefold() if kind != "b" else bool(value)


_FIND_KEYS = frozenset(
    {
        *("find", "replacement", "matchCase", "matchEntireCell", "searchByRegex", "includeFormulas"),
        *("range", "sheetId", "allSheets"),
    }
)


def find_replace(draft: Draft, payload: Any) -> dict[str, Any]:
    """Replace by content, whatever row it is on by now; the reply counts what changed (counts of zero are left out)."""
    given = allow_only(payload, _FIND_KEYS, "findReplace")
    find, replacement = text(given.get("find", ""), "find"), text(given.get("replacement", ""), "replacement")
    if not find:
        raise invalid("findReplace: 'find' must not be empty")
    if given.get("searchByRegex"):
        raise unimplemented("findReplace with searchByRegex")
    if sum(name in given for name in ("range", "sheetId", "allSheets")) != 1:
        raise invalid("findReplace: exactly one of 'range', 'sheetId' and 'allSheets' must be set")
    if "range" in given:
        places = [draft.region(given["range"], "range")]
    else:
        ids = draft.sheets if given.get("allSheets") else [integer(given.get("sheetId", 0), "sheetId")]
        places = [draft.region({"sheetId": sheet_id}, "sheetId") for sheet_id in ids]
    pattern = re.compile(re.escape(find), 0 if given.get("matchCase") else re.IGNORECASE)
    counts = dict.fromkeys(
        ["occurrencesChanged", "valuesChanged", "formulasChanged", "rowsChanged", "sheetsChanged"], 0
    )
    for sheet, region in places:
        rows = 0
        for row in region.row_range:
            rows += bool(_replace_in_row(sheet, region, row, pattern, replacement, given, counts))
        counts["rowsChanged"] += rows
        counts["sheetsChanged"] += bool(rows)
    return {"findReplace": {name: count for name, count in counts.items() if count}}


def _replace_in_row(
    sheet: SheetDraft,
    region: Region,
    row: int,
    pattern: re.Pattern[str],
    replacement: str,
    given: dict[str, Any],
    counts: dict[str, int],
) -> int:
    changed = 0
    if not sheet.rows[row].cells:
        return 0
    for column in region.column_range:
        cell = sheet.cell(row, column)
        is_formula = cell.kind == "f" and bool(given.get("includeFormulas"))
        if not cell.kind or (cell.kind == "f" and not is_formula):
            continue
        content = str(cell.value) if is_formula else typed.shown(cell) or ""
        if given.get("matchEntireCell"):
            found, number = (replacement, 1) if pattern.fullmatch(content) else (content, 0)
        else:
            found, number = pattern.subn(lambda _match: replacement, content)
        if not number:
            continue
        # As Google does: the new content is taken as if typed, but text that was text stays text.
        new = typed.with_raw(cell, found, parse=cell.kind != "s")
        sheet.put(row, column, new)
        counts["occurrencesChanged"] += number
        counts["formulasChanged" if is_formula else "valuesChanged"] += 1
        changed += 1
    return changed


def merge_cells(draft: Draft, payload: Any) -> dict[str, Any]:
    given = allow_only(payload, frozenset({"range", "mergeType"}), "mergeCells")
    sheet, region = draft.region(given.get("range"), "range")
    kind = given.get("mergeType", "MERGE_ALL")
    if kind == "MERGE_ALL":
        parts = [region]
    elif kind == "MERGE_ROWS":
        parts = [region._replace(top=row, bottom=row + 1) for row in region.row_range]
    elif kind == "MERGE_COLUMNS":
        parts = [region._replace(left=column, right=column + 1) for column in region.column_range]
    else:
        raise invalid(f"Invalid value at 'mergeType' (TYPE_ENUM), {kind!r}")
    if any(_overlap(part, item) for part in parts for item in sheet.meta.merges):
        raise invalid("You must select all cells in a merged range to merge or unmerge them.")
    for part in parts:
        for row in part.row_range:
            for column in part.column_range:
                if (row, column) != (part.top, part.left):
                    cell = sheet.cell(row, column)
                    sheet.put(row, column, cell._replace(kind="", value=None, typed=None))
    sheet.change(merges=(*sheet.meta.merges, *map(to_grid_range, parts)))
    return {}


def unmerge_cells(draft: Draft, payload: Any) -> dict[str, Any]:
    given = allow_only(payload, frozenset({"range"}), "unmergeCells")
    sheet, region = draft.region(given.get("range"), "range")
    sheet.change(merges=tuple(item for item in sheet.meta.merges if not _overlap(region, item)))
    return {}


def _overlap(region: Region, merge: dict[str, int]) -> bool:
    rows = range(max(region.top, merge["startRowIndex"]), min(region.row_range.stop, merge["endRowIndex"]))
    columns = range(max(region.left, merge["startColumnIndex"]), min(region.column_range.stop, merge["endColumnIndex"]))
    return bool(rows) and bool(columns)


KINDS = {
    "updateCells": update_cells,
    "appendCells": append_cells,
    "repeatCell": repeat_cell,
    "setDataValidation": set_data_validation,
    "sortRange": sort_range,
    "findReplace": find_replace,
    "mergeCells": merge_cells,
    "unmergeCells": unmerge_cells,
}
