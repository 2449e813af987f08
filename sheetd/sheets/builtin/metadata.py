"""Developer metadata: values that programs keep with a tab or a spreadsheet, and the ways to name them.

Kept at single columns, at whole tabs and at the spreadsheet. At rows Google has it too; that is refused by name,
because nobody here needs it. Must not touch a draft: `batch_metadata` does. Weak: Google's documents leave open what a
lookup that names nothing selects; here it is refused, since it may delete.
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


class Place(NamedTuple):
    """Where an entry is kept: the id of a tab, None for the spreadsheet; and the index of a column of it, if any."""

    sheet_id: int | None = None
    column: int | None = None

    @property
    def kind(self) -> str:
        if self.column is not None:
            return "COLUMN"
        return "SPREADSHEET" if self.sheet_id is None else "SHEET"

    def intersects(self, other: Place) -> bool:
        """A tab does with each of its columns; the spreadsheet with nothing but itself, as Google's documents say."""
        return self == other or (self.sheet_id == other.sheet_id and None in (self.column, other.column))


class Located(NamedTuple):
    """An entry and where it is kept."""

    entry: Metadata
    place: Place


def located(of_spreadsheet: Iterable[Metadata], sheets: Iterable[Sheet]) -> list[Located]:
    """All entries of a spreadsheet, its own first, those of each tab before those of its columns."""
    found = [Located(entry, Place()) for entry in of_spreadsheet]
    for sheet in sheets:
        found += [Located(entry, Place(sheet.id)) for entry in sheet.metadata]
        for index, column in enumerate(sheet.columns):
            found += [Located(entry, Place(sheet.id, index)) for entry in column.metadata]
    return found


def resource(entry: Metadata, place: Place) -> Json:
    """Google's DeveloperMetadata. An empty value is left out, as Google leaves out empty texts."""
    location: Json = {"locationType": place.kind}
    if place.column is not None:
        span = {"sheetId": place.sheet_id, "startIndex": place.column, "endIndex": place.column + 1}
        location["dimensionRange"] = {"dimension": "COLUMNS", **span}
    elif place.sheet_id is not None:
        location["sheetId"] = place.sheet_id
    else:
        location["spreadsheet"] = True
    answer: Json = {"metadataId": entry.id, "metadataKey": entry.key}
    if entry.value:
        answer["metadataValue"] = entry.value
    return {**answer, "location": location, "visibility": entry.visibility}


def location_of(value: Any, where: str) -> Place:
    """Where a request locates an entry. `locationType` is read-only."""
    given = allow_only(value, _LOCATION, where)
    places = [name for name in given if name != "locationType"]
    if len(places) != 1:
        raise invalid(f"Invalid value at '{where}': exactly one location is wanted")
    if places == ["dimensionRange"]:
        return _column(given["dimensionRange"], f"{where}.dimensionRange")
    if places == ["sheetId"]:
        return Place(integer(given["sheetId"], f"{where}.sheetId"))
    if not boolean(given["spreadsheet"], f"{where}.spreadsheet"):
        raise invalid(f"Invalid value at '{where}.spreadsheet': only true is a location")
    return Place()


def _column(value: Any, where: str) -> Place:
    """A single one: Google's documents want ranges of one row or column."""
    given = allow_only(value, frozenset({"sheetId", "dimension", "startIndex", "endIndex"}), where)
    if given.get("dimension") != "COLUMNS":
        raise unimplemented(f"developer metadata at rows ({where})")
    start, end = (integer(given.get(name, 0), f"{where}.{name}") for name in ("startIndex", "endIndex"))
    if end != start + 1:
        raise invalid(f"Invalid value at '{where}': a location is one row or one column")
    return Place(integer(given.get("sheetId", 0), f"{where}.sheetId"), start)


def check_room(entries: Iterable[Metadata]) -> None:
    """ApiError 400 when the entries of one place are larger than Google lets them be."""
    if sum(len(entry.key) + len(entry.value) for entry in entries) > MOST_CHARACTERS:
        raise invalid(f"Developer metadata exceeds the limit of {MOST_CHARACTERS} characters at one location.")


@dataclass(frozen=True)
class Lookup:
    """What a filter selects: entries that match every field which it names."""

    fields: dict[str, Any]
    place: Place | None
    is_exact: bool
    location_type: str | None

    def matches(self, found: Located) -> bool:
        entry = found.entry
        values = {
            "metadataId": entry.id,
            "metadataKey": entry.key,
            "metadataValue": entry.value,
            "visibility": entry.visibility,
        }
        return (
            all(values[name] == wanted for name, wanted in self.fields.items())
            and self._is_there(found.place)
            and self.location_type in {None, found.place.kind}
        )

    def _is_there(self, place: Place) -> bool:
        if self.place is None or self.place == place:
            return True
        return not self.is_exact and self.place.intersects(place)


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
    place = location_of(given["metadataLocation"], f"{where}.metadataLocation") if has_place else None
    is_exact = False
    if "locationMatchingStrategy" in given:
        strategy = word(given["locationMatchingStrategy"], f"{where}.locationMatchingStrategy", _STRATEGIES)
        is_exact = strategy == "EXACT_LOCATION"
        if not has_place:
            raise invalid(f"Invalid value at '{where}': a locationMatchingStrategy needs a metadataLocation")
        if location_type and (strategy == "EXACT_LOCATION" or location_type == "SPREADSHEET"):
            raise invalid(f"Invalid value at '{where}.locationType': must be left out with {strategy}")
    if location_type == "SPREADSHEET" and place not in (None, Place()):
        raise invalid(f"Invalid value at '{where}.locationType': SPREADSHEET cannot be at a sheet")
    return Lookup(fields, place, is_exact, location_type)
