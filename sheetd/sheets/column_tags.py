"""Columns that are known by a tag and not by their place alone, so that a write meets the column that was meant.

A tag is developer metadata at a column, which moves with it (Google's guide to metadata). It is put there with the
dress. A write that names cells by position is sent together with one guard for each of its columns: an update of the
tag to what it says already, selected by its exact place. Where the column has moved, nothing is selected.

Weak, since it has not been measured against Google: an update that selects nothing may be refused, and with it the
whole write, or be passed over. If it is passed over, a guard changes nothing, and a column that a person inserts in the
moment between a read and a write is written to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from sheetd.core.grid import ColumnTag

KEY = "sheetd.column"

#: By column: the id and the value of each tag of ours.
Tags: TypeAlias = tuple[tuple[tuple[int, str], ...], ...]


def tags_of(columns: Iterable[Mapping[str, Any]]) -> Tags:
    """What stands at each column, of Google's DimensionProperties."""
    return tuple(
        tuple(
            (int(entry["metadataId"]), str(entry.get("metadataValue", "")))
            for entry in column.get("developerMetadata", ())
            if entry.get("metadataKey") == KEY
        )
        for column in columns
    )


def tag_requests(tab_id: int, now: Tags, wanted: Sequence[ColumnTag]) -> list[dict[str, Any]]:
    """Each wanted tag once, at its column, and none elsewhere."""
    names = {tag.column: tag.name for tag in wanted}
    gone: list[dict[str, Any]] = []
    for column, found in enumerate(now):
        for number, value in found:
            if names.get(column) == value:
                del names[column]
            else:
                lookup = {"developerMetadataLookup": {"metadataId": number}}
                gone.append({"deleteDeveloperMetadata": {"dataFilter": lookup}})
    return gone + [_put(tab_id, column, name) for column, name in sorted(names.items())]


def _put(tab_id: int, column: int, name: str) -> dict[str, Any]:
    entry = {"metadataKey": KEY, "metadataValue": name, "location": _at(tab_id, column), "visibility": "DOCUMENT"}
    return {"createDeveloperMetadata": {"developerMetadata": entry}}


def guard_request(tab_id: int, tag: ColumnTag) -> dict[str, Any]:
    """Selects the tag where it is believed to be, and leaves it as it is."""
    lookup = {
        "metadataKey": KEY,
        "metadataValue": tag.name,
        "metadataLocation": _at(tab_id, tag.column),
        "locationMatchingStrategy": "EXACT_LOCATION",
    }
    return {
        "updateDeveloperMetadata": {
            "dataFilters": [{"developerMetadataLookup": lookup}],
            "developerMetadata": {"metadataValue": tag.name},
            "fields": "metadataValue",
        }
    }


def _at(tab_id: int, column: int) -> dict[str, Any]:
    span = {"sheetId": tab_id, "dimension": "COLUMNS", "startIndex": column, "endIndex": column + 1}
    return {"dimensionRange": span}
