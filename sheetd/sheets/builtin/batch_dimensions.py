"""batchUpdate requests that add, remove, move or measure whole rows and columns.

Inserted rows get new ids and moved ones keep theirs: a row's id is what an open editor in the page holds on to. Heights
of rows are not kept; asking for one is refused.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sheetd.sheets.builtin.draft import Draft, SheetDraft
from sheetd.sheets.builtin.fields import parse_mask
from sheetd.sheets.builtin.problems import allow_only, boolean, integer, invalid, text, unimplemented
from sheetd.sheets.builtin.ranges import Axis

_RANGE = frozenset({"sheetId", "dimension", "startIndex", "endIndex"})


class Lines(NamedTuple):
    """A DimensionRange on its tab; an open end is closed at the edge of the grid."""

    sheet: SheetDraft
    axis: Axis
    start: int
    end: int


def _axis(value: Any) -> Axis:
    if value == "ROWS":
        return "ROWS"
    if value == "COLUMNS":
        return "COLUMNS"
    raise invalid(f"Invalid value at 'dimension' (TYPE_ENUM), {value!r}")


def _lines(draft: Draft, value: Any, where: str, *, beyond: bool = False) -> Lines:
    given = allow_only(value, _RANGE, where)
    sheet = draft.sheet(integer(given.get("sheetId", 0), f"{where}.sheetId"))
    axis = _axis(given.get("dimension"))
    size = len(sheet.rows) if axis == "ROWS" else len(sheet.columns)
    start = integer(given.get("startIndex", 0), f"{where}.startIndex")
    end = integer(given["endIndex"], f"{where}.endIndex") if "endIndex" in given else size
    if not start < end or (end > size and not beyond) or start > size:
        raise invalid(
            f"Invalid value at '{where}': [{start}, {end}) is not within the {size} {axis.lower()} of the grid"
        )
    return Lines(sheet, axis, start, end)


def insert_dimension(draft: Draft, payload: Any) -> dict[str, Any]:
    given = allow_only(payload, frozenset({"range", "inheritFromBefore"}), "insertDimension")
    lines = _lines(draft, given.get("range"), "range", beyond=True)
    before = boolean(given.get("inheritFromBefore", False), "inheritFromBefore")
    if before and lines.start == 0:
        raise invalid("inheritFromBefore cannot be set when inserting at the first line")
    if lines.axis == "ROWS":
        lines.sheet.insert_rows(lines.start, lines.end - lines.start, inherit_before=before)
    else:
        lines.sheet.insert_columns(lines.start, lines.end - lines.start, inherit_before=before)
    return {}


def append_dimension(draft: Draft, payload: Any) -> dict[str, Any]:
    given = allow_only(payload, frozenset({"sheetId", "dimension", "length", "tableId"}), "appendDimension")
    if "tableId" in given:
        raise unimplemented("appendDimension with tableId")
    sheet = draft.sheet(integer(given.get("sheetId", 0), "sheetId"))
    length = integer(given.get("length", 0), "length", least=1)
    if _axis(given.get("dimension")) == "ROWS":
        sheet.insert_rows(len(sheet.rows), length, inherit_before=len(sheet.rows) > 1)
    else:
        sheet.insert_columns(len(sheet.columns), length)
    return {}


def delete_dimension(draft: Draft, payload: Any) -> dict[str, Any]:
    given = allow_only(payload, frozenset({"range"}), "deleteDimension")
    lines = _lines(draft, given.get("range"), "range")
    if lines.axis == "ROWS":
        lines.sheet.delete_rows(lines.start, lines.end - lines.start)
    else:
        lines.sheet.delete_columns(lines.start, lines.end - lines.start)
    return {}


def move_dimension(draft: Draft, payload: Any) -> dict[str, Any]:
    given = allow_only(payload, frozenset({"source", "destinationIndex"}), "moveDimension")
    lines = _lines(draft, given.get("source"), "source")
    destination = integer(given.get("destinationIndex", 0), "destinationIndex")
    lines.sheet.move(lines.axis, lines.start, lines.end, destination)
    return {}


_PROPERTIES = frozenset(
    {"pixelSize", "hiddenByUser", "hiddenByFilter", "developerMetadata", "dataSourceColumnReference"}
)


def update_dimension_properties(draft: Draft, payload: Any) -> dict[str, Any]:
    """Widths and hiding of columns; rows have neither here."""
    given = allow_only(
        payload, frozenset({"range", "properties", "fields", "dataSourceSheetRange"}), "updateDimensionProperties"
    )
    lines = _lines(draft, given.get("range"), "range")
    mask = parse_mask(text(given.get("fields", ""), "fields") or None, dict.fromkeys(_PROPERTIES))
    if mask is None:
        raise invalid("At least one field must be listed in 'fields'. (Use '*' to indicate all fields.)")
    names = {"pixelSize", "hiddenByUser"} if "*" in mask else set(mask)
    if lines.axis == "ROWS" or names - {"pixelSize", "hiddenByUser"}:
        raise unimplemented(f"updateDimensionProperties of {lines.axis} for {', '.join(sorted(names))}")
    properties = allow_only(given.get("properties", {}), _PROPERTIES, "properties")
    for index in range(lines.start, lines.end):
        column = lines.sheet.columns[index]
        if "pixelSize" in names:
            size = properties.get("pixelSize")
            column = column._replace(width=None if size is None else integer(size, "properties.pixelSize", least=1))
        if "hiddenByUser" in names:
            column = column._replace(hidden=boolean(properties.get("hiddenByUser", False), "properties.hiddenByUser"))
        lines.sheet.set_column(index, column)
    return {}


KINDS = {
    "insertDimension": insert_dimension,
    "appendDimension": append_dimension,
    "deleteDimension": delete_dimension,
    "moveDimension": move_dimension,
    "updateDimensionProperties": update_dimension_properties,
}
