"""batchUpdate requests for whole tabs and the spreadsheet itself: add, delete, duplicate, and their properties."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sheetd.sheets.builtin import formats
from sheetd.sheets.builtin.draft import Draft, SheetDraft
from sheetd.sheets.builtin.fields import ANYTHING, Mask, parse_mask
from sheetd.sheets.builtin.model import Metadata, new_layout
from sheetd.sheets.builtin.problems import allow_only, boolean, integer, invalid, text, unimplemented
from sheetd.sheets.builtin.render import sheet_properties

_PROPERTIES = frozenset(
    {
        *("sheetId", "title", "index", "sheetType", "gridProperties", "hidden", "tabColor", "tabColorStyle"),
        *("rightToLeft", "dataSourceSheetProperties"),
    }
)
SPREADSHEET_PROPERTIES = frozenset(
    {"title", "locale", "timeZone", "autoRecalc", "defaultFormat", "spreadsheetTheme", "iterativeCalculationSettings"}
    | {"importFunctionsExternalUrlAccessAllowed"}
)
_GRID = frozenset({"rowCount", "columnCount", "frozenRowCount", "frozenColumnCount", "hideGridlines"})
_GRID_ALL = _GRID | {"rowGroupControlAfter", "columnGroupControlAfter"}
_KNOWN = dict.fromkeys(_PROPERTIES, ANYTHING) | {"gridProperties": dict.fromkeys(_GRID_ALL)}


def update_sheet_properties(draft: Draft, payload: Any) -> dict[str, Any]:
    given = allow_only(payload, frozenset({"properties", "fields"}), "updateSheetProperties")
    properties = allow_only(given.get("properties"), _PROPERTIES, "properties")
    mask = parse_mask(text(given.get("fields", ""), "fields") or None, _KNOWN)
    if mask is None:
        raise invalid("At least one field must be listed in 'fields'. (Use '*' to indicate all fields.)")
    if "*" in mask:
        mask = {name: {} for name in properties if name not in {"sheetId", "sheetType"}}
    sheet = draft.sheet(integer(properties.get("sheetId", 0), "properties.sheetId"))
    _apply_properties(draft, sheet, properties, mask)
    return {}


def _apply_properties(draft: Draft, sheet: SheetDraft, properties: dict[str, Any], mask: Mask) -> None:
    for name in mask:
        if name == "title":
            title = text(properties.get("title", ""), "properties.title")
            draft.check_title(title, sheet.base.id)
            sheet.change(title=title)
        elif name == "index":
            index = integer(properties.get("index", 0), "properties.index")
            # Google counts the target as if the tab were still at its old place.
            old = draft.sheets.index(sheet.base.id)
            draft.sheets.remove(sheet.base.id)
            draft.sheets.insert(min(index - (index > old), len(draft.sheets)), sheet.base.id)
        elif name == "hidden":
            hidden = boolean(properties.get("hidden", False), "properties.hidden")
            if hidden and all(other.hidden or other.id == sheet.base.id for other in draft.metas()):
                raise invalid("You can't hide all the sheets in a document.")
            sheet.change(hidden=hidden)
        elif name in {"tabColor", "tabColorStyle"}:
            holder: dict[str, Any] = {
                key: properties[key] for key in ("tabColor", "tabColorStyle") if key in properties
            }
            formats.both_colours(holder, "tabColor", "properties")
            sheet.change(tab_color=holder.get("tabColor"))
        elif name == "gridProperties":
            given = allow_only(properties.get("gridProperties", {}), _GRID_ALL, "properties.gridProperties")
            _apply_grid(sheet, given, set(mask[name]) or set(given))
        else:
            raise unimplemented(f"updateSheetProperties of {name!r}")


def _apply_grid(sheet: SheetDraft, given: dict[str, Any], names: set[str]) -> None:
    if names - _GRID:
        raise unimplemented(f"gridProperties {', '.join(sorted(names - _GRID))}")
    numbers = {
        name: integer(given.get(name, 0), f"properties.gridProperties.{name}") for name in names - {"hideGridlines"}
    }
    for name, now in (("rowCount", len(sheet.rows)), ("columnCount", len(sheet.columns))):
        if name not in numbers:
            continue
        wanted = numbers[name]
        if wanted < 1:
            raise invalid(f"Invalid value at 'properties.gridProperties.{name}': a sheet has at least one")
        grow, shrink = (
            (sheet.insert_rows, sheet.delete_rows)
            if name == "rowCount"
            else (sheet.insert_columns, sheet.delete_columns)
        )
        if wanted > now:
            grow(now, wanted - now)
        elif wanted < now:
            shrink(wanted, now - wanted)
    frozen_rows = numbers.get("frozenRowCount", sheet.meta.frozen_rows)
    frozen_columns = numbers.get("frozenColumnCount", sheet.meta.frozen_columns)
    if frozen_rows >= len(sheet.rows) or frozen_columns >= len(sheet.columns):
        raise invalid("You can't freeze all visible rows or columns on the sheet.")
    hide = boolean(given.get("hideGridlines", False), "hideGridlines") if "hideGridlines" in names else None
    sheet.change(
        frozen_rows=frozen_rows,
        frozen_columns=frozen_columns,
        hide_gridlines=sheet.meta.hide_gridlines if hide is None else hide,
    )


def add_sheet(draft: Draft, payload: Any) -> dict[str, Any]:
    given = allow_only(payload, frozenset({"properties"}), "addSheet")
    properties = allow_only(given.get("properties", {}), _PROPERTIES, "properties")
    if properties.get("sheetType", "GRID") != "GRID":
        raise unimplemented(f"sheets of type {properties['sheetType']!r}")
    grid = allow_only(properties.get("gridProperties", {}), _GRID_ALL, "properties.gridProperties")
    rows = integer(grid.get("rowCount", 1000), "properties.gridProperties.rowCount", least=1)
    columns = integer(grid.get("columnCount", 26), "properties.gridProperties.columnCount", least=1)
    wanted = properties.get("sheetId")
    index = properties.get("index")
    sheet_id = draft.add(
        text(properties.get("title") or _free_title(draft), "properties.title"),
        rows,
        columns,
        sheet_id=None if wanted is None else integer(wanted, "properties.sheetId"),
        index=None if index is None else integer(index, "properties.index"),
    )
    rest: Mask = {name: {} for name in properties if name not in {"sheetId", "title", "index", "sheetType"}}
    if "gridProperties" in rest:
        kept = {name: value for name, value in grid.items() if name not in {"rowCount", "columnCount"}}
        properties = {**properties, "gridProperties": kept}
        if not kept:
            del rest["gridProperties"]
    _apply_properties(draft, draft.sheet(sheet_id), properties, rest)
    return {"addSheet": {"properties": _properties(draft, sheet_id)}}


def _free_title(draft: Draft) -> str:
    taken = {sheet.title for sheet in draft.metas()}
    return next(title for number in range(1, len(taken) + 2) if (title := f"Sheet{number}") not in taken)


def _properties(draft: Draft, sheet_id: int) -> dict[str, Any]:
    return sheet_properties(draft.sheet(sheet_id).preview(), draft.sheets.index(sheet_id))


def delete_sheet(draft: Draft, payload: Any) -> dict[str, Any]:
    given = allow_only(payload, frozenset({"sheetId"}), "deleteSheet")
    draft.remove(integer(given.get("sheetId", 0), "sheetId"))
    return {}


def duplicate_sheet(draft: Draft, payload: Any) -> dict[str, Any]:
    names = frozenset({"sourceSheetId", "insertSheetIndex", "newSheetId", "newSheetName"})
    given = allow_only(payload, names, "duplicateSheet")
    source = draft.sheet(integer(given.get("sourceSheetId", 0), "sourceSheetId"))
    title = text(given.get("newSheetName") or f"Copy of {source.meta.title}", "newSheetName")
    index = integer(given.get("insertSheetIndex", 0), "insertSheetIndex")
    wanted = given.get("newSheetId")
    fresh = draft.add(title, 1, 1, sheet_id=None if wanted is None else integer(wanted, "newSheetId"), index=index)
    seen = source.finish()

    def moved(item: dict[str, Any]) -> dict[str, Any]:
        return {**item, "sheetId": fresh}

    rules = tuple({**rule, "ranges": [moved(part) for part in rule["ranges"]]} for rule in seen.rules)
    protected = tuple(
        {**item, "protectedRangeId": draft.object_id(), "range": moved(item["range"])} for item in seen.protected
    )

    # Google's documents do not say that a duplicate takes its metadata along; a copy of a whole file was seen to. Ids
    # are unique within a spreadsheet, so these are new ones.
    def renewed(entries: tuple[Metadata, ...]) -> tuple[Metadata, ...]:
        return tuple(entry._replace(id=draft.metadata_id()) for entry in entries)

    draft.swap(
        replace(
            seen,
            id=fresh,
            title=title,
            rules=rules,
            protected=protected,
            merges=tuple(map(moved, seen.merges)),
            metadata=renewed(seen.metadata),
            columns=tuple(column._replace(metadata=renewed(column.metadata)) for column in seen.columns),
            layout=new_layout(),
        )
    )
    return {"duplicateSheet": {"properties": _properties(draft, fresh)}}


def update_spreadsheet_properties(draft: Draft, payload: Any) -> dict[str, Any]:
    """The title; locale and time zone can only be set to what they are."""
    given = allow_only(payload, frozenset({"properties", "fields"}), "updateSpreadsheetProperties")
    mask = parse_mask(text(given.get("fields", ""), "fields") or None, dict.fromkeys(SPREADSHEET_PROPERTIES, ANYTHING))
    properties = allow_only(given.get("properties"), SPREADSHEET_PROPERTIES, "properties")
    fixed = {"locale": "en_US", "timeZone": "Etc/GMT", "autoRecalc": "ON_CHANGE"}
    for name in set(properties) if mask is None or "*" in mask else set(mask):
        if name == "title":
            draft.change(title=text(properties.get("title", ""), "properties.title"))
        elif properties.get(name) != fixed.get(name):
            raise unimplemented(f"updateSpreadsheetProperties of {name!r}")
    return {}


KINDS = {
    "updateSheetProperties": update_sheet_properties,
    "addSheet": add_sheet,
    "deleteSheet": delete_sheet,
    "duplicateSheet": duplicate_sheet,
    "updateSpreadsheetProperties": update_spreadsheet_properties,
}
