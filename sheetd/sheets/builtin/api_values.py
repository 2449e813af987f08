"""The spreadsheets.values resource over HTTP: get, update, append, clear, and their batch forms."""

from __future__ import annotations

from typing import Any

from sheetd.sheets.builtin import values
from sheetd.sheets.builtin.calls import Call
from sheetd.sheets.builtin.draft import Draft
from sheetd.sheets.builtin.fields import ANYTHING, cut, parse_mask
from sheetd.sheets.builtin.model import Spreadsheet
from sheetd.sheets.builtin.problems import ApiError, allow_only, invalid, text, unimplemented
from sheetd.sheets.builtin.ranges import Region, parse_a1, to_a1
from sheetd.sheets.builtin.values import INPUT_OPTIONS, MAJORS, RENDER_OPTIONS, Reading, choice

_READ = ("valueRenderOption", "majorDimension", "dateTimeRenderOption")
_WRITE = (
    *("valueInputOption", "includeValuesInResponse", "responseValueRenderOption"),
    *("responseDateTimeRenderOption", "insertDataOption"),
)
_BATCH_UPDATE = frozenset(
    {
        *("valueInputOption", "data", "includeValuesInResponse", "responseValueRenderOption"),
        *("responseDateTimeRenderOption",),
    }
)


def _answer(call: Call, answer: dict[str, Any]) -> dict[str, Any]:
    shortened: dict[str, Any] = cut(answer, parse_mask(call.query.get("fields"), ANYTHING))
    return shortened


def _reading(call: Call) -> Reading:
    render = choice(call.query.get("valueRenderOption"), RENDER_OPTIONS, "FORMATTED_VALUE", "valueRenderOption")
    return Reading(render, choice(call.query.get("majorDimension"), MAJORS, "ROWS", "majorDimension"))


def get(call: Call) -> Any:
    """GET values/{range}."""
    call.allow_query(*_READ)
    book = call.store.snapshot(call.path["key"])
    ((sheet, region),) = values.resolve(book, [call.path["range"]])
    return _answer(call, values.read(sheet, region, _reading(call)))


def batch_get(call: Call) -> Any:
    """GET values:batchGet."""
    call.allow_query(*_READ, "ranges")
    book = call.store.snapshot(call.path["key"])
    how = _reading(call)
    found = [values.read(sheet, region, how) for sheet, region in values.resolve(book, call.query.getlist("ranges"))]
    return _answer(call, {"spreadsheetId": book.key, "valueRanges": found})


def _input(call: Call) -> tuple[bool, Reading | None]:
    option = choice(call.query.get("valueInputOption"), INPUT_OPTIONS, None, "valueInputOption")
    reading = None
    if call.flag("includeValuesInResponse"):
        render = call.query.get("responseValueRenderOption")
        reading = Reading(choice(render, RENDER_OPTIONS, "FORMATTED_VALUE", "responseValueRenderOption"))
    return option == "USER_ENTERED", reading


def update(call: Call) -> Any:
    """PUT values/{range}."""
    call.allow_query(*_WRITE)
    parse, reading = _input(call)
    rows = values.grid_of(call.body)
    key = call.path["key"]
    region = parse_a1(call.store.snapshot(key), call.path["range"])
    _same_range(call, region)
    done = call.store.transact(
        key, "api", ("values.update",), lambda draft: values.update(draft, _again(draft, call), rows, parse=parse)
    )
    if done.result is None:
        raise ApiError(500, "Internal error encountered.")
    return _answer(call, values.update_answer(done.after, done.result, rows, reading))


def _again(draft: Draft, call: Call) -> Region:
    """The range on the state that is being changed: between a look and the transaction a tab may have been renamed."""
    return parse_a1(draft.base, call.path["range"])


def _same_range(call: Call, region: Region) -> None:
    inner = call.body.get("range") if isinstance(call.body, dict) else None
    if inner is not None and parse_a1(call.store.snapshot(call.path["key"]), text(inner, "data.range")) != region:
        raise invalid("Requested range in the path and in the body differ.")


def batch_update(call: Call) -> Any:
    """POST values:batchUpdate, all ranges in one transaction."""
    call.allow_query()
    given = allow_only(call.body, _BATCH_UPDATE, "body")
    option = choice(given.get("valueInputOption"), INPUT_OPTIONS, None, "valueInputOption")
    data = given.get("data", [])
    if not isinstance(data, list):
        raise invalid("Invalid value at 'data': a list is wanted")
    grids = [values.grid_of(item, f"data[{index}]") for index, item in enumerate(data)]

    def change(draft: Draft) -> list[Region]:
        return [
            values.update(draft, parse_a1(draft.base, item.get("range", "")), rows, parse=option == "USER_ENTERED")
            for item, rows in zip(data, grids, strict=True)
        ]

    done = call.store.transact(call.path["key"], "api", ("values.batchUpdate",), change)
    reading = Reading(given.get("responseValueRenderOption", "FORMATTED_VALUE"))
    include = reading if given.get("includeValuesInResponse") else None
    covered = done.result or []
    responses = [
        values.update_answer(done.after, region, rows, include) for region, rows in zip(covered, grids, strict=True)
    ]
    totals = {
        f"totalUpdated{name}": sum(response.get(f"updated{name}", 0) for response in responses)
        for name in ("Rows", "Columns", "Cells")
    }
    answer = {"spreadsheetId": done.after.key} | {name: total for name, total in totals.items() if total}
    if covered:
        answer["totalUpdatedSheets"] = len({region.sheet_id for region in covered})
        answer["responses"] = responses
    return _answer(call, answer)


def post(call: Call) -> Any:
    """POST values/{range}:append and values/{range}:clear."""
    target, _, verb = call.path["range"].rpartition(":")
    if verb == "append":
        return _append(call, target)
    if verb == "clear":
        call.allow_query()
        return _answer(call, _clear(call, [target], "clearedRange"))
    raise ApiError(404, "Requested entity was not found.")


def _append(call: Call, target: str) -> Any:
    call.allow_query(*_WRITE)
    parse, reading = _input(call)
    rows = values.grid_of(call.body)
    option = choice(
        call.query.get("insertDataOption"), frozenset({"OVERWRITE", "INSERT_ROWS"}), "OVERWRITE", "insertDataOption"
    )

    def change(draft: Draft) -> tuple[Region, Region | None]:
        region = parse_a1(draft.base, target)
        return values.append(draft, region, rows, parse=parse, insert=option == "INSERT_ROWS")

    done = call.store.transact(call.path["key"], "api", ("values.append",), change)
    if done.result is None:
        raise ApiError(500, "Internal error encountered.")
    covered, table = done.result
    answer: dict[str, Any] = {"spreadsheetId": done.after.key}
    if table is not None:
        answer["tableRange"] = _named(done.after, table)
    answer["updates"] = values.update_answer(done.after, covered, rows, reading)
    return _answer(call, answer)


def _named(book: Spreadsheet, region: Region) -> str:
    sheet = book.sheet(region.sheet_id)
    if sheet is None:
        raise invalid(f"No grid with id: {region.sheet_id}")
    return to_a1(sheet, region)


def batch_clear(call: Call) -> Any:
    """POST values:batchClear."""
    call.allow_query()
    given = allow_only(call.body, frozenset({"ranges"}), "body")
    ranges = given.get("ranges", [])
    if not isinstance(ranges, list) or any(not isinstance(item, str) for item in ranges):
        raise invalid("Invalid value at 'ranges': a list of strings is wanted")
    return _answer(call, _clear(call, ranges, "clearedRanges"))


def _clear(call: Call, ranges: list[str], name: str) -> dict[str, Any]:
    def change(draft: Draft) -> list[Region]:
        regions = [parse_a1(draft.base, item) for item in ranges]
        for region in regions:
            values.clear(draft, region)
        return regions

    done = call.store.transact(call.path["key"], "api", ("values.clear",), change)
    cleared = [_named(done.after, region) for region in done.result or []]
    return {"spreadsheetId": done.after.key, name: cleared[0] if name == "clearedRange" else cleared}


def by_data_filter(call: Call) -> Any:
    """The three methods with data filters."""
    raise unimplemented(f"spreadsheets.values:{call.path['verb']}")
