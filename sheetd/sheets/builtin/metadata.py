"""Developer metadata: values that programs keep with a tab or a spreadsheet, and the ways to name them.

Kept at whole tabs and at the spreadsheet only. At rows and columns Google has it too; that is refused by name, because
nobody here needs it and it would have to move with the lines. Must not touch a draft: `batch_metadata` does. Weak:
Google's documents leave open what a lookup that names nothing selects; here it is refused, since it may delete.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from sheetd.sheets.builtin.model import Json, Metadata, Sheet
from sheetd.sheets.builtin.problems import allow_only, boolean, integer, invalid, items, text, unimplemented, word

MOST_CHARACTERS = 30_000
"""Keys and values together, of each tab and of the spreadsheet itself: Google's own limit."""

_LOCATION = frozenset({"locationType", "spreadsheet", "sheetId", "dimensionRange"})
_LOOKUP = frozenset(
    {
        *("locationType", "metadataLocation", "locationMatchingStrategy"),
        *("metadataId", "metadataKey", "metadataValue", "visibility"),
    }
)
_FILTER = frozenset({"developerMetadataLookup", "a1Range", "gridRange"})
_LOCATION_TYPES = frozenset({"ROW", "COLUMN", "SHEET", "SPREADSHEET"})
_STRATEGIES = frozenset({"EXACT_LOCATION", "INTERSECTING_LOCATION"})
VISIBILITIES = frozenset({"DOCUMENT", "PROJECT"})


class Located(NamedTuple):
    """An entry and where it is kept: the id of a tab, None for the spreadsheet."""

    entry: Metadata
    sheet_id: int | None


def located(of_spreadsheet: Iterable[Metadata], sheets: Iterable[Sheet]) -> list[Located]:
    """All entries of a spreadsheet, its own first."""
    own = [Located(entry, None) for entry in of_spreadsheet]
    return own + [Located(entry, sheet.id) for sheet in sheets for entry in sheet.metadata]


def resource(entry: Metadata, sheet_id: int | None) -> Json:
    """Google's DeveloperMetadata. An empty value is left out, as Google leaves out empty texts."""
    location: Json = {"locationType": "SHEET", "sheetId": sheet_id}
    if sheet_id is None:
        location = {"locationType": "SPREADSHEET", "spreadsheet": True}
    answer: Json = {"metadataId": entry.id, "metadataKey": entry.key}
    if entry.value:
        answer["metadataValue"] = entry.value
    return {**answer, "location": location, "visibility": entry.visibility}


def location_of(value: Any, where: str) -> int | None:
    """Where a request locates an entry: the id of a tab, None for the spreadsheet. `locationType` is read-only."""
    given = allow_only(value, _LOCATION, where)
    places = [name for name in given if name != "locationType"]
    if len(places) != 1:
        raise invalid(f"Invalid value at '{where}': exactly one location is wanted")
    if places == ["dimensionRange"]:
        raise unimplemented(f"developer metadata at rows or columns ({where}.dimensionRange)")
    if places == ["sheetId"]:
        return integer(given["sheetId"], f"{where}.sheetId")
    if not boolean(given["spreadsheet"], f"{where}.spreadsheet"):
        raise invalid(f"Invalid value at '{where}.spreadsheet': only true is a location")
    return None


def check_room(entries: Iterable[Metadata]) -> None:
    """ApiError 400 when the entries of one place are larger than Google lets them be."""
    if sum(len(entry.key) + len(entry.value) for entry in entries) > MOST_CHARACTERS:
        raise invalid(f"Developer metadata exceeds the limit of {MOST_CHARACTERS} characters at one location.")


@dataclass(frozen=True)
class Lookup:
    """What a filter selects: entries that match every field which it names."""

    fields: dict[str, Any]
    has_place: bool
    sheet_id: int | None
    location_type: str | None

    def matches(self, found: Located) -> bool:
        entry = found.entry
        values = {
            "metadataId": entry.id,
            "metadataKey": entry.key,
            "metadataValue": entry.value,
            "visibility": entry.visibility,
        }
        kind = "SPREADSHEET" if found.sheet_id is None else "SHEET"
        return (
            all(values[name] == wanted for name, wanted in self.fields.items())
            and (not self.has_place or self.sheet_id == found.sheet_id)
            and self.location_type in {None, kind}
        )


def filters_of(value: Any, where: str) -> list[Lookup]:
    """The DataFilters of a request; at least one is wanted."""
    given = items(value, where)
    if not given:
        raise invalid(f"Invalid value at '{where}': at least one filter is wanted")
    return [filter_of(item, f"{where}[{index}]") for index, item in enumerate(given)]


def filter_of(value: Any, where: str) -> Lookup:
    """One DataFilter. Those that name cells are refused: they select what intersects, and no cell has metadata here."""
    given = allow_only(value, _FILTER, where)
    if len(given) != 1:
        raise invalid(f"Invalid value at '{where}': exactly one kind of filter is wanted")
    if "developerMetadataLookup" not in given:
        raise unimplemented(f"developer metadata by {next(iter(given))!r} ({where})")
    return _lookup(given["developerMetadataLookup"], f"{where}.developerMetadataLookup")


def _lookup(value: Any, where: str) -> Lookup:
    given = allow_only(value, _LOOKUP, where)
    if not given:
        raise invalid(f"Invalid value at '{where}': at least one criterion is wanted")
    fields: dict[str, Any] = {
        name: text(given[name], name) for name in ("metadataKey", "metadataValue") if name in given
    }
    if "metadataId" in given:
        fields["metadataId"] = integer(given["metadataId"], f"{where}.metadataId")
    if "visibility" in given:
        fields["visibility"] = word(given["visibility"], f"{where}.visibility", VISIBILITIES)
    location_type = None
    if "locationType" in given:
        location_type = word(given["locationType"], f"{where}.locationType", _LOCATION_TYPES)
    has_place = "metadataLocation" in given
    sheet_id = location_of(given["metadataLocation"], f"{where}.metadataLocation") if has_place else None
    if "locationMatchingStrategy" in given:
        strategy = word(given["locationMatchingStrategy"], f"{where}.locationMatchingStrategy", _STRATEGIES)
        if not has_place:
            raise invalid(f"Invalid value at '{where}': a locationMatchingStrategy needs a metadataLocation")
        if location_type and (strategy == "EXACT_LOCATION" or location_type == "SPREADSHEET"):
            raise invalid(f"Invalid value at '{where}.locationType': must be left out with {strategy}")
    if location_type == "SPREADSHEET" and sheet_id is not None:
        raise invalid(f"Invalid value at '{where}.locationType': SPREADSHEET cannot be at a sheet")
    return Lookup(fields, has_place, sheet_id, location_type)
