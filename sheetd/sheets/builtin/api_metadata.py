"""The developerMetadata resource over HTTP: one entry by its id, and search. Changes go through batchUpdate."""

from __future__ import annotations

from typing import Any

from sheetd.sheets.builtin import metadata
from sheetd.sheets.builtin.calls import Call
from sheetd.sheets.builtin.fields import ANYTHING, METADATA, cut, parse_mask
from sheetd.sheets.builtin.problems import ApiError, allow_only, integer, invalid, items

_MATCHED: dict[str, Any] = {"matchedDeveloperMetadata": {"developerMetadata": METADATA, "dataFilters": ANYTHING}}


def get(call: Call) -> Any:
    """GET {key}/developerMetadata/{id}."""
    call.allow_query()
    mask = parse_mask(call.query.get("fields"), METADATA)
    wanted = call.path["metadata"]
    if not wanted.isascii() or not wanted.isdecimal():
        raise invalid(f"Invalid value at 'metadata_id' (TYPE_INT32), {wanted[:40]!r}")
    number = integer(int(wanted[:12]), "metadata_id")
    for found in _entries(call):
        if found.entry.id == number:
            return cut(metadata.resource(*found), mask)
    raise ApiError(404, f"No developer metadata with ID {number}.")


def search(call: Call) -> Any:
    """POST {key}/developerMetadata:search: what any of the filters selects, each with the filters that did."""
    call.allow_query()
    mask = parse_mask(call.query.get("fields"), _MATCHED)
    given = allow_only(call.body, frozenset({"dataFilters"}), "body")
    lookups = metadata.filters_of(given.get("dataFilters"), "dataFilters")
    filters = items(given.get("dataFilters"), "dataFilters")
    matched = []
    for found in _entries(call):
        by = [value for value, lookup in zip(filters, lookups, strict=True) if lookup.matches(found)]
        if by:
            matched.append({"developerMetadata": metadata.resource(*found), "dataFilters": by})
    return cut({"matchedDeveloperMetadata": matched} if matched else {}, mask)


def _entries(call: Call) -> list[metadata.Located]:
    book = call.store.snapshot(call.path["key"])
    return metadata.located(book.metadata, book.sheets)
