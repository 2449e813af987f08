"""How a tab's claim is kept in Google's developer metadata, and how it is changed by comparison.

The value is one canonical text, so that comparing texts compares claims: an update selects the entry by its key, its
tab and its exact old value. The first claim is created under an id that follows from the tab, and an id that is taken
is refused (Google's guide to metadata says so), so of two who create, one succeeds. The lookup names the tab, because a
duplicate of a tab may carry the same claim.

Must not overwrite a claim that it cannot read: a later sheetd may serve the tab. Weak, since nothing of this has been
measured against Google: an update that selects nothing may be refused, and with it the whole write, or be passed over;
either way the claim that the answer or the next read shows is the truth.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sheetd.core.grid import Claim, ClaimChange
from sheetd.errors import SheetRefused

KEY = "sheetd.claim"
VERSION = 1

_ID_MASK = 0x53686565
_LARGEST_ID = 2**31 - 1


class ClaimUnreadable(SheetRefused):
    """There is a claim that this sheetd cannot read, and so must not replace."""


def metadata_id(tab_id: int) -> int:
    """The id that a tab's claim is created under: another for every tab, positive, and none that people pick by hand.

    There is one tab id more than there are metadata ids, so two of the 2,147,483,648 share one.
    """
    return tab_id ^ _ID_MASK or _LARGEST_ID


def claim_text(claim: Claim) -> str:
    """The one text of a claim. ASCII, so that no one on the way can normalise it into another."""
    fields = {**claim._asdict(), "v": VERSION}
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def claim_request(tab_id: int, change: ClaimChange) -> dict[str, Any]:
    """Put the new claim in the place of exactly the old one."""
    value = claim_text(change.new)
    if change.old is None:
        entry = {
            "metadataId": metadata_id(tab_id),
            "metadataKey": KEY,
            "metadataValue": value,
            "location": {"sheetId": tab_id},
            "visibility": "DOCUMENT",
        }
        return {"createDeveloperMetadata": {"developerMetadata": entry}}
    lookup = {
        "metadataKey": KEY,
        "metadataValue": claim_text(change.old),
        "metadataLocation": {"sheetId": tab_id},
        "locationMatchingStrategy": "EXACT_LOCATION",
    }
    return {
        "updateDeveloperMetadata": {
            "dataFilters": [{"developerMetadataLookup": lookup}],
            "developerMetadata": {"metadataValue": value},
            "fields": "metadataValue",
        }
    }


def claim_of(entries: Sequence[Mapping[str, Any]], tab_id: int, title: str) -> Claim | None:
    """The claim among the developer metadata of a tab. Raises ClaimUnreadable.

    Of several, which no sheetd makes, the one under the tab's own id counts, else the one with the smallest id.
    """
    ours = [entry for entry in entries if entry.get("metadataKey") == KEY]
    if not ours:
        return None
    chosen = min(ours, key=lambda entry: (entry["metadataId"] != metadata_id(tab_id), entry["metadataId"]))
    text = str(chosen.get("metadataValue", ""))
    claim = _read(text)
    if claim is None:
        raise ClaimUnreadable(_unreadable(title, text))
    return claim


def _read(text: str) -> Claim | None:
    """None where the text is not, byte for byte, what we would write for the claim: no comparison would match it."""
    try:
        fields = json.loads(text)
        if type(fields.pop("v")) is not int:
            return None
        claim = Claim(**{**fields, "hosts": tuple(fields["hosts"])})
        numbers, texts = (claim.epoch, claim.stamp, claim.events), (claim.owner, claim.where, *claim.hosts)
        is_typed = all(type(each) is int for each in numbers) and all(type(each) is str for each in texts)
        return claim if is_typed and claim_text(claim) == text else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _unreadable(title: str, text: str) -> str:
    if _is_later(text):
        return f"the tab {title!r} is claimed by a later version of sheetd: update this one, or stop it"
    entries = f"SpreadsheetApp.getActive().getSheetByName({json.dumps(title)}).createDeveloperMetadataFinder()"
    return (
        f"the tab {title!r} holds a claim that sheetd cannot read ({text[:60]!r}): make sure that no other sheetd "
        f"serves it, then remove its developer metadata {KEY!r}, in Google Sheets with Extensions > Apps Script: "
        f"{entries}.withKey({json.dumps(KEY)}).find().forEach(entry => entry.remove())"
    )


def _is_later(text: str) -> bool:
    try:
        version = json.loads(text)["v"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
    return type(version) is int and version > VERSION
