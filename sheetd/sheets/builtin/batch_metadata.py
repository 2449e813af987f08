"""batchUpdate requests for developer metadata: create, update, delete.

An id that is taken refuses the request, which is how Google describes it and what makes a first claim exclusive. An
update or a deletion that selects nothing is refused too; Google describes only what *reading* an unknown id gives (404)
and what it does here has not been measured. No action of the page comes here, so a person's undo changes nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sheetd.sheets.builtin.draft import Draft
from sheetd.sheets.builtin.fields import METADATA, parse_mask
from sheetd.sheets.builtin.metadata import (
    VISIBILITIES,
    Located,
    Lookup,
    Place,
    check_room,
    filter_of,
    filters_of,
    located,
    location_of,
    resource,
)
from sheetd.sheets.builtin.model import Metadata
from sheetd.sheets.builtin.problems import allow_only, integer, invalid, text, unimplemented, word

NOTHING_MATCHES = "No developer metadata matches"


def create(draft: Draft, payload: Any) -> dict[str, Any]:
    given = allow_only(payload, frozenset({"developerMetadata"}), "createDeveloperMetadata")
    wanted = allow_only(given.get("developerMetadata"), frozenset(METADATA), "developerMetadata")
    wanted_id = wanted.get("metadataId")
    if wanted_id is None:
        number = draft.metadata_id()
    else:
        number = integer(wanted_id, "developerMetadata.metadataId", least=1)
        if any(found.entry.id == number for found in _all(draft)):
            raise invalid(f"A developer metadata with the id {number} already exists.")
    place = location_of(wanted.get("location"), "developerMetadata.location")
    made = Located(
        _changed(Metadata(number, "", "", ""), wanted, {"metadataKey", "metadataValue", "visibility"}), place
    )
    _put(draft, place, [*_at(draft, place), made.entry])
    return {"createDeveloperMetadata": {"developerMetadata": resource(*made)}}


def update(draft: Draft, payload: Any) -> dict[str, Any]:
    names = frozenset({"dataFilters", "developerMetadata", "fields"})
    given = allow_only(payload, names, "updateDeveloperMetadata")
    mask = parse_mask(text(given.get("fields", ""), "fields") or None, METADATA)
    if mask is None:
        raise invalid("At least one field must be listed in 'fields'. (Use '*' to indicate all fields.)")
    wanted = allow_only(given.get("developerMetadata"), frozenset(METADATA), "developerMetadata")
    chosen = set(METADATA) - {"metadataId"} if "*" in mask else set(mask)
    if "metadataId" in chosen:
        raise unimplemented("updateDeveloperMetadata of 'metadataId'")
    answer = []
    for found in _selected(draft, filters_of(given.get("dataFilters"), "dataFilters")):
        place = found.place
        if "location" in chosen:
            place = location_of(wanted.get("location"), "developerMetadata.location")
        made = Located(_changed(found.entry, wanted, chosen), place)
        if place == found.place:
            _put(draft, place, [made.entry if old.id == made.entry.id else old for old in _at(draft, place)])
        else:
            _remove(draft, found)
            _put(draft, place, [*_at(draft, place), made.entry])
        answer.append(resource(*made))
    return {"updateDeveloperMetadata": {"developerMetadata": answer}}


def delete(draft: Draft, payload: Any) -> dict[str, Any]:
    given = allow_only(payload, frozenset({"dataFilter"}), "deleteDeveloperMetadata")
    selected = _selected(draft, [filter_of(given.get("dataFilter"), "dataFilter")])
    for found in selected:
        _remove(draft, found)
    return {"deleteDeveloperMetadata": {"deletedDeveloperMetadata": [resource(*found) for found in selected]}}


def _changed(entry: Metadata, wanted: dict[str, Any], names: set[str]) -> Metadata:
    """The entry with these fields of the request; what the request leaves out becomes empty."""
    if "metadataKey" in names:
        entry = entry._replace(key=text(wanted.get("metadataKey", ""), "developerMetadata.metadataKey"))
    if "metadataValue" in names:
        entry = entry._replace(value=text(wanted.get("metadataValue", ""), "developerMetadata.metadataValue"))
    if "visibility" in names:
        chosen = word(wanted.get("visibility"), "developerMetadata.visibility", VISIBILITIES)
        entry = entry._replace(visibility=chosen)
    if not entry.key:
        raise invalid("Invalid value at 'developerMetadata.metadataKey': developer metadata needs a key")
    return entry


def _all(draft: Draft) -> list[Located]:
    return located(draft.book.metadata, draft.metas())


def _selected(draft: Draft, lookups: list[Lookup]) -> list[Located]:
    found = [one for one in _all(draft) if any(lookup.matches(one) for lookup in lookups)]
    if not found:
        raise invalid(f"{NOTHING_MATCHES} the filter.")
    return found


def _at(draft: Draft, place: Place) -> tuple[Metadata, ...]:
    if place.sheet_id is None:
        return draft.book.metadata
    sheet = draft.sheet(place.sheet_id)
    if place.column is None:
        return sheet.meta.metadata
    if place.column >= len(sheet.columns):
        raise invalid(f"Column {place.column} is not within the {len(sheet.columns)} columns of the grid")
    return sheet.columns[place.column].metadata


def _put(draft: Draft, place: Place, entries: Iterable[Metadata]) -> None:
    kept = tuple(entries)
    check_room(kept)
    if place.sheet_id is None:
        draft.change(metadata=kept)
    elif place.column is None:
        draft.sheet(place.sheet_id).change(metadata=kept)
    else:
        sheet = draft.sheet(place.sheet_id)
        sheet.set_column(place.column, sheet.columns[place.column]._replace(metadata=kept))


def _remove(draft: Draft, found: Located) -> None:
    _put(draft, found.place, [old for old in _at(draft, found.place) if old.id != found.entry.id])


KINDS = {
    "createDeveloperMetadata": create,
    "updateDeveloperMetadata": update,
    "deleteDeveloperMetadata": delete,
}
