"""Spreadsheets as Google answers them: resources, grid data, and a memory of answers that have not changed.

A read of a large tab is the hot path of the whole daemon, so each row keeps the JSON text of its cells under the mask
that asked for it: after a change only the changed rows are written out again, and an unchanged repeat is answered from
a cache with the same bytes. Text is escaped by the json module's own encoder, never by hand.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable
from json.encoder import encode_basestring_ascii as quote
from typing import Any, NamedTuple

from sheetd.sheets.builtin import formats, typed
from sheetd.sheets.builtin.conditional import Painter, painter_of
from sheetd.sheets.builtin.fields import Mask, below, cut, has
from sheetd.sheets.builtin.metadata import Place, resource
from sheetd.sheets.builtin.model import BLANK, Cell, Sheet, Spreadsheet, canonical, read_json
from sheetd.sheets.builtin.ranges import Region, parse_a1

CACHED_ANSWERS = 16
CACHED_BYTES = 64 * 2**20

_SIMPLE = frozenset({"userEnteredValue", "effectiveValue", "formattedValue"})
_PAINTED = frozenset({"effectiveFormat"})

CellText = Callable[[Cell], str]


class Raw(NamedTuple):
    """A part of an answer that is JSON text already."""

    text: str


def encode(value: Any) -> str:
    """JSON text of an answer in which Raw parts stand for themselves."""
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, dict):
        return "{" + ",".join(f"{quote(name)}:{encode(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(encode, value)) + "]"
    return json.dumps(value, allow_nan=False)


def sheet_properties(sheet: Sheet, index: int) -> dict[str, Any]:
    """SheetProperties; sheetId and index are there even when 0, as Google has them here."""
    grid: dict[str, Any] = {"rowCount": len(sheet.rows), "columnCount": len(sheet.columns)}
    if sheet.frozen_rows:
        grid["frozenRowCount"] = sheet.frozen_rows
    if sheet.frozen_columns:
        grid["frozenColumnCount"] = sheet.frozen_columns
    if sheet.hide_gridlines:
        grid["hideGridlines"] = True
    answer: dict[str, Any] = {
        "sheetId": sheet.id,
        "title": sheet.title,
        "index": index,
        "sheetType": "GRID",
        "gridProperties": grid,
    }
    if sheet.hidden:
        answer["hidden"] = True
    if sheet.tab_color is not None:
        answer["tabColor"] = sheet.tab_color
        answer["tabColorStyle"] = {"rgbColor": sheet.tab_color}
    return answer


def spreadsheet_properties(book: Spreadsheet) -> dict[str, Any]:
    return {
        "title": book.title,
        "locale": "en_US",
        "autoRecalc": "ON_CHANGE",
        "timeZone": "Etc/GMT",
        "defaultFormat": formats.DEFAULT_FORMAT,
    }


def spreadsheet(
    book: Spreadsheet, url: str, *, ranges: list[str], mask: Mask | None, grid_data: bool
) -> dict[str, Any]:
    """The Spreadsheet resource; with a mask, grid data is in it when the mask asks for it (Google's rule)."""
    regions = [parse_a1(book, text) for text in ranges]
    wanted = {region.sheet_id for region in regions}
    answer: dict[str, Any] = {"spreadsheetId": book.key, "properties": spreadsheet_properties(book)}
    sheet_mask = below(mask, "sheets")
    if has(mask, "sheets"):
        answer["sheets"] = [
            _sheet(
                sheet, index, [region for region in regions if region.sheet_id == sheet.id], sheet_mask, mask, grid_data
            )
            for index, sheet in enumerate(book.sheets)
            if not regions or sheet.id in wanted
        ]
    if book.metadata:
        answer["developerMetadata"] = [resource(entry, Place()) for entry in book.metadata]
    if book.named_ranges:
        answer["namedRanges"] = list(book.named_ranges)
    answer["spreadsheetUrl"] = url
    return {
        name: value if name == "sheets" else cut(value, below(mask, name))
        for name, value in answer.items()
        if has(mask, name)
    }


def _sheet(
    sheet: Sheet, index: int, regions: list[Region], mask: Mask | None, outer: Mask | None, grid_data: bool
) -> dict[str, Any]:
    parts: dict[str, Any] = {"properties": sheet_properties(sheet, index)}
    for name, items in (
        ("merges", sheet.merges),
        ("conditionalFormats", sheet.rules),
        ("protectedRanges", sheet.protected),
        ("developerMetadata", [resource(entry, Place(sheet.id)) for entry in sheet.metadata]),
    ):
        if items:
            parts[name] = list(items)
    answer = {name: cut(value, below(mask, name)) for name, value in parts.items() if has(mask, name)}
    if has(mask, "data") if outer is not None else grid_data:
        data_mask = below(mask, "data")
        answer["data"] = [grid(sheet, region, data_mask) for region in regions or [Region(sheet.id)]]
    return answer


def grid(sheet: Sheet, region: Region, mask: Mask | None) -> dict[str, Any]:
    """GridData of a region: rows up to the last one that holds anything, cells likewise; a start of 0 is left out."""
    closed = region.within(sheet)
    answer: dict[str, Any] = {}
    if closed.top and has(mask, "startRow"):
        answer["startRow"] = closed.top
    if closed.left and has(mask, "startColumn"):
        answer["startColumn"] = closed.left
    if has(mask, "rowData"):
        rows = row_texts(sheet, closed, below(below(mask, "rowData"), "values"))
        if rows:
            answer["rowData"] = Raw("[" + ",".join(rows) + "]")
    if has(mask, "columnMetadata"):
        columns = [_column(sheet, index) for index in range(len(sheet.columns))[closed.left : closed.right]]
        answer["columnMetadata"] = cut(columns, below(mask, "columnMetadata"))
    if has(mask, "rowMetadata"):
        answer["rowMetadata"] = cut([{"pixelSize": 21} for _ in closed.row_range], below(mask, "rowMetadata"))
    return answer


def _column(sheet: Sheet, index: int) -> dict[str, Any]:
    """Google's DimensionProperties."""
    column = sheet.columns[index]
    answer: dict[str, Any] = {"pixelSize": column.width or 100}
    if column.hidden:
        answer["hiddenByUser"] = True
    if column.metadata:
        answer["developerMetadata"] = [resource(entry, Place(sheet.id, index)) for entry in column.metadata]
    return answer


def row_texts(sheet: Sheet, closed: Region, mask: Mask | None) -> list[str]:
    """The JSON text of each row of a closed region; blank rows at the end are left out, others are {}."""
    painter = painter_of(sheet) if has(mask, "effectiveFormat") else None
    columns = [column.id for column in sheet.columns[closed.left : closed.right]]
    shape = (canonical(mask or {}), sheet.layout, closed.left, closed.right)
    cell_text = _cell_text(mask) if painter is None else None
    texts: list[str] = []
    end = 0
    for index in closed.row_range:
        row = sheet.rows[index]
        if not row.cells and painter is None:
            texts.append("{}")
            continue
        key = shape if painter is None else (*shape, painter.coverage(index))
        text = row.fragments.get(key)
        if text is None:
            if cell_text is not None:
                cells = [row.cells.get(column) for column in columns]
                while cells and cells[-1] is None:
                    cells.pop()
                text = '{"values":[' + ",".join(["{}" if cell is None else cell_text(cell) for cell in cells]) + "]}"
                text = text if cells else "{}"
            else:
                text = _painted_row(sheet, painter_of(sheet), index, closed, mask)
            if painter is None or painter.is_local:
                row.keep(key, text)
        texts.append(text)
        if text != "{}":
            end = len(texts)
    return texts[:end]


def _painted_row(sheet: Sheet, painter: Painter, index: int, closed: Region, mask: Mask | None) -> str:
    row = sheet.rows[index]
    painted = painter.paint(index, row)
    parts = []
    for column in closed.column_range:
        cell = row.cells.get(sheet.columns[column].id, BLANK)
        parts.append(
            {} if cell == BLANK and column not in painted else _cut_cell(cell_data(cell, painted.get(column)), mask)
        )
    while parts and not parts[-1]:
        parts.pop()
    return json.dumps({"values": parts}, separators=(",", ":")) if parts else "{}"


def _cell_text(mask: Mask | None) -> CellText:
    """The writer of one cell under a mask; the three value fields, which the daemon reads, have a fast one."""
    if mask is None or "*" in mask or set(mask) - _SIMPLE:
        return lambda cell: json.dumps(_cut_cell(cell_data(cell, None), mask), separators=(",", ":"))
    wanted = {name: below(mask, name) for name in mask}
    for_text = _template(wanted, "stringValue", "\1")
    for_number = _template(wanted, "numberValue", "\2")

    def write(cell: Cell) -> str:
        if cell.kind == "s":
            quoted = quote(str(cell.value))
            return for_text.replace("\1", quoted)
        if cell.kind == "n" and isinstance(cell.value, (int, float)):
            text = typed.show_number(cell.value) if cell.format is None else typed.shown(cell) or ""
            return for_number.replace("\2", repr(cell.value)).replace("\1", quote(text))
        return json.dumps(_cut_cell(_values(cell), mask), separators=(",", ":"))

    return write


def _template(wanted: Mask | dict[str, Mask | None], name: str, mark: str) -> str:
    """The JSON of a plain cell with control characters where value and text go; quoted text can hold none of them."""
    parts = [
        f'"{field}":{{"{name}":{mark}}}'
        for field in ("userEnteredValue", "effectiveValue")
        if field in wanted and has(wanted[field], name)
    ]
    if "formattedValue" in wanted:
        parts.append('"formattedValue":\1')
    return "{" + ",".join(parts) + "}"


def _values(cell: Cell) -> dict[str, Any]:
    """The three fields of CellData that say what a cell is worth."""
    answer: dict[str, Any] = {}
    entered = typed.user_entered_value(cell)
    if entered:
        answer["userEnteredValue"] = entered
    effective = typed.effective_value(cell)
    if effective:
        answer["effectiveValue"] = effective
    text = typed.shown(cell)
    if text is not None:
        answer["formattedValue"] = text
    return answer


def cell_data(cell: Cell, painted: str | None) -> dict[str, Any]:
    """Google's CellData, with everything that the built-in sheet keeps; `painted` is the conditional format."""
    answer = _values(cell)
    if cell.format:
        answer["userEnteredFormat"] = read_json(cell.format)
    kind = typed.worth(cell)[0]
    alignment = {"n": "RIGHT", "b": "CENTER", "x": "CENTER"}.get(kind, "LEFT")
    answer["effectiveFormat"] = formats.effective(cell.format, painted, alignment)
    link = typed.link_of(str(cell.value)) if cell.kind == "f" else None
    if link:
        answer["hyperlink"] = link
    if cell.note:
        answer["note"] = cell.note
    if cell.validation:
        answer["dataValidation"] = read_json(cell.validation)
    return answer


def _cut_cell(data: dict[str, Any], mask: Mask | None) -> dict[str, Any]:
    """CellData under a mask, without fields of which nothing is left."""
    return {name: value for name, value in cut(data, mask).items() if value != {}}


class AnswerCache:
    """The bytes of the last answers, by everything that they depend on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: OrderedDict[Any, bytes] = OrderedDict()
        self._size = 0

    def get(self, key: Any, make: Callable[[], bytes]) -> bytes:
        """The remembered bytes, else those that `make` makes."""
        with self._lock:
            found = self._answers.get(key)
            if found is not None:
                self._answers.move_to_end(key)
                return found
        made = make()
        with self._lock:
            if key not in self._answers:
                self._size += len(made)
            self._answers[key] = made
            while len(self._answers) > CACHED_ANSWERS or self._size > CACHED_BYTES:
                _, dropped = self._answers.popitem(last=False)
                self._size -= len(dropped)
        return made
