"""The spreadsheets resource over HTTP: create, get, batchUpdate.

`batchUpdate` answers with the state right after its own transaction, which lets the daemon compare what it wrote with
what was meant. Methods with data filters are refused by name, except those of `api_metadata`.
"""

from __future__ import annotations

import re
from typing import Any

from sheetd.sheets.builtin import batch, batch_sheets, render
from sheetd.sheets.builtin.calls import Call
from sheetd.sheets.builtin.draft import Draft
from sheetd.sheets.builtin.fields import BATCH_ANSWER, SPREADSHEET, Mask, below, cut, has, parse_mask
from sheetd.sheets.builtin.model import Spreadsheet, new_sheet
from sheetd.sheets.builtin.problems import ApiError, allow_only, invalid, items, text, unimplemented

_CREATE = frozenset(
    {
        *("properties", "sheets", "namedRanges", "spreadsheetId", "spreadsheetUrl", "developerMetadata"),
        *("dataSources", "dataSourceSchedules"),
    }
)


def create(call: Call) -> Any:
    """POST /v4/spreadsheets: a title and tabs by their properties; anything more is refused."""
    call.allow_query()
    mask = parse_mask(call.query.get("fields"), SPREADSHEET)
    given = allow_only(call.body or {}, _CREATE, "body")
    if set(given) - {"properties", "sheets"}:
        raise unimplemented(f"spreadsheets.create with {sorted(set(given) - {'properties', 'sheets'})}")
    properties = allow_only(given.get("properties", {}), batch_sheets.SPREADSHEET_PROPERTIES, "properties")
    title = text(properties.get("title") or "Untitled spreadsheet", "properties.title")
    tabs = [allow_only(item, frozenset({"properties"}), "sheets") for item in items(given.get("sheets"), "sheets")]
    # Stands until the wanted tabs are there, with an id and a title that nobody asks for.
    placeholder = new_sheet(2**31 - 1, "\0", 1, 1)
    key = call.store.create_spreadsheet(title, sheets=[placeholder] if tabs else [])

    def change(draft: Draft) -> None:
        batch_sheets.update_spreadsheet_properties(draft, {"properties": {**properties, "title": title}, "fields": "*"})
        for tab in tabs:
            # Last of all, so that it counts in nobody's index.
            draft.sheets.sort(key=placeholder.id.__eq__)
            batch_sheets.add_sheet(draft, tab)
        if tabs:
            draft.remove(placeholder.id)

    try:
        call.store.transact(key, "api", ("create",), change)
    except ApiError:
        call.store.delete_spreadsheet(key)
        raise
    book = call.store.snapshot(key)
    return render.spreadsheet(book, call.spreadsheet_url(key), ranges=[], mask=mask, grid_data=False)


def get(call: Call) -> Any:
    """GET /v4/spreadsheets/{key}: the resource, and grid data when asked for; repeats come from the cache."""
    call.allow_query("ranges", "includeGridData", "excludeTablesInBandedRanges", "commentsViewMode")
    key = call.path["target"]
    if ":" in key:
        raise ApiError(404, "Requested entity was not found.")
    fields = call.query.get("fields")
    mask = parse_mask(fields, SPREADSHEET)
    ranges, grid_data = call.query.getlist("ranges"), call.flag("includeGridData")
    book = call.store.snapshot(key)

    def make() -> bytes:
        url = call.spreadsheet_url(key)
        return render.encode(render.spreadsheet(book, url, ranges=ranges, mask=mask, grid_data=grid_data)).encode()

    return call.cache.get((key, book.rev, tuple(ranges), fields, grid_data, call.base_url), make)


def post(call: Call) -> Any:
    """POST /v4/spreadsheets/{key}:batchUpdate (and the verbs that are refused by name)."""
    key, _, verb = call.path["target"].rpartition(":")
    if verb == "batchUpdate":
        return _batch_update(call, key)
    if verb == "getByDataFilter":
        raise unimplemented("spreadsheets.getByDataFilter")
    raise ApiError(404, "Requested entity was not found.")


def _batch_update(call: Call, key: str) -> Any:
    call.allow_query()
    call.store.snapshot(key)
    mask = parse_mask(call.query.get("fields"), BATCH_ANSWER)
    body = batch.body_of(call.body)
    requests = body.get("requests")
    kinds = batch.kinds_of(requests)
    ranges = body.get("responseRanges", [])

    def change(draft: Draft) -> list[dict[str, Any]]:
        return batch.apply(draft, requests or [], kinds)

    committed = call.store.transact(key, "api", kinds, change)
    answer: dict[str, Any] = {"spreadsheetId": key, "replies": committed.result}
    answer = {name: cut(value, below(mask, name)) for name, value in answer.items() if has(mask, name)}
    if body.get("includeSpreadsheetInResponse") and has(mask, "updatedSpreadsheet"):
        grid_data = bool(body.get("responseIncludeGridData"))
        inner = below(mask, "updatedSpreadsheet")
        answer["updatedSpreadsheet"] = _updated(call, committed.after, ranges, inner, grid_data=grid_data)
    return answer


def _updated(call: Call, book: Spreadsheet, ranges: list[str], mask: Mask | None, *, grid_data: bool) -> dict[str, Any]:
    url = call.spreadsheet_url(book.key)
    try:
        return render.spreadsheet(book, url, ranges=ranges, mask=mask, grid_data=grid_data)
    except ApiError as error:
        # The transaction stands; only the wish for the answer cannot be met.
        raise invalid(f"The requests were applied, but responseRanges is invalid: {error.message}") from error


_GOOGLE_ONLY = re.compile(r"sheets/.*")


def refused(call: Call) -> Any:
    """Paths below a spreadsheet that Google has and we do not."""
    if _GOOGLE_ONLY.fullmatch(call.path["rest"]):
        raise unimplemented(f"spreadsheets.{call.path['rest'].partition('/')[0]}")
    raise ApiError(404, "Requested entity was not found.")
