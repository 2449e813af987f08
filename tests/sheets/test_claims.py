"""A tab's claim on the wire: what is sent, what is understood, and what is never overwritten."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from sheetd.core.grid import CellUpdate, Claim, ClaimChange, Grid, Replacement, SheetWrite
from sheetd.errors import SheetError, SheetRefused, SheetUnavailable
from sheetd.sheets import claims, wire
from sheetd.sheets.answers import GridParser
from sheetd.sheets.claims import KEY, ClaimUnreadable
from sheetd.sheets.google import GoogleSheet
from sheetd.sheets.transport import RangeRefused
from tests.sheets.builtin_rig import Address, BuiltinPerson, builtin_sheet

Json = dict[str, Any]

MINE = Claim(epoch=1, owner="mine", stamp=1, where="ada@lab", hosts=("00ff",))
THEIRS = Claim(epoch=9, owner="theirs", stamp=1)
MINE_TEXT = '{"epoch":1,"events":0,"hosts":["00ff"],"owner":"mine","stamp":1,"v":1,"where":"ada@lab"}'

TEXT = st.text(alphabet=st.characters())
CLAIMS = st.builds(
    Claim,
    epoch=st.integers(),
    owner=TEXT,
    stamp=st.integers(),
    where=TEXT,
    hosts=st.lists(TEXT, max_size=4).map(tuple),
)

GARBAGE = {
    "nothing": "",
    "no JSON": "mine",
    "no object": "[1]",
    "nesting": "[" * 20_000,
    "no version": MINE_TEXT.replace('"v":1,', ""),
    "a version that is true": MINE_TEXT.replace('"v":1', '"v":true'),
    "an earlier version": MINE_TEXT.replace('"v":1', '"v":0'),
    "a field too many": MINE_TEXT.replace('"v":1', '"u":1,"v":1'),
    "a field too few": MINE_TEXT.replace('"stamp":1,', ""),
    "hosts that are a text": MINE_TEXT.replace('["00ff"]', '"00ff"'),
    "a host that is a number": MINE_TEXT.replace('["00ff"]', "[1]"),
    "an epoch that is a text": MINE_TEXT.replace('"epoch":1', '"epoch":"1"'),
    "an epoch that is true": MINE_TEXT.replace('"epoch":1', '"epoch":true'),
    "a stamp with a point": MINE_TEXT.replace('"stamp":1', '"stamp":1.0'),
    "an owner that is nothing": MINE_TEXT.replace('"mine"', "null"),
    "a space": MINE_TEXT.replace(",", ", "),
    "another order": json.dumps(dict(reversed(json.loads(MINE_TEXT).items())), separators=(",", ":")),
    "no number": MINE_TEXT.replace('"stamp":1', '"stamp":NaN'),
}
LATER = ['{"v":2}', MINE_TEXT.replace('"v":1', '"v":2'), '{"anything":[],"v":10}']


def answer(*entries: Json, sheet_id: int = 3, indent: int | None = None) -> bytes:
    """An answer of the API with these entries of metadata, and cells on both sides of them."""
    sheet = {
        "properties": {"sheetId": sheet_id, "title": "T", "gridProperties": {"rowCount": 9, "columnCount": 9}},
        "data": [{"rowData": [{"values": [{"effectiveValue": {"stringValue": "x"}, "formattedValue": "x"}]}]}],
        "developerMetadata": list(entries),
    }
    return json.dumps({"spreadsheetId": "key", "sheets": [sheet]}, indent=indent, separators=(",", ":")).encode()


def entry(value: str, number: int = 5, key: str = KEY) -> Json:
    return {"metadataId": number, "metadataKey": key, "metadataValue": value}


def grid_of(body: bytes, tab_id: int | None = 3) -> Grid:
    grid = GridParser().parse(body, tab_id).grid
    assert grid is not None
    return grid


# --- what is sent ------------------------------------------------------------------------------------------------


def test_a_first_claim_is_created_under_the_id_of_the_tab_for_everybody_to_see():
    [request] = wire.write_requests(SheetWrite(tab_id=3, claim=ClaimChange(old=None, new=MINE)))
    assert request["createDeveloperMetadata"]["developerMetadata"] == {
        "metadataId": claims.metadata_id(3),
        "metadataKey": "sheetd.claim",
        "metadataValue": MINE_TEXT,
        "location": {"sheetId": 3},
        "visibility": "DOCUMENT",
    }


def test_a_later_claim_replaces_the_exact_text_of_the_old_one_at_this_tab_only():
    [request] = wire.write_requests(SheetWrite(tab_id=3, claim=ClaimChange(old=MINE, new=THEIRS)))
    assert request["updateDeveloperMetadata"] == {
        "dataFilters": [
            {
                "developerMetadataLookup": {
                    "metadataKey": "sheetd.claim",
                    "metadataValue": MINE_TEXT,
                    "metadataLocation": {"sheetId": 3},
                    "locationMatchingStrategy": "EXACT_LOCATION",
                }
            }
        ],
        "developerMetadata": {"metadataValue": claims.claim_text(THEIRS)},
        "fields": "metadataValue",
    }


def test_the_claim_is_compared_before_anything_else_is_written():
    write = SheetWrite(
        tab_id=3,
        updates=(CellUpdate(row=1, column=0, value="x"),),
        replacements=(Replacement(column=4, old="a1b2", new="c3d4"),),
        claim=ClaimChange(old=MINE, new=THEIRS),
    )
    kinds = [next(iter(request)) for request in wire.write_requests(write)]
    assert kinds == ["updateDeveloperMetadata", "findReplace", "updateCells"]


@given(st.sets(st.integers(0, 2**31 - 1), min_size=2, max_size=2))
def test_every_tab_has_a_metadata_id_of_its_own_that_google_takes(tab_ids: set[int]):
    ids = {claims.metadata_id(tab_id) for tab_id in tab_ids}
    assert all(0 < number < 2**31 for number in ids)
    twins = {0x53686565, 0x53686565 ^ (2**31 - 1)}
    assert len(ids) == 2 or tab_ids == twins


@given(CLAIMS)
def test_a_claim_is_read_as_it_was_written_and_its_text_is_plain(meant: Claim):
    text = claims.claim_text(meant)
    assert text.isascii()
    assert text.isprintable()
    assert grid_of(answer(entry(text))).claim == meant


# --- what is understood ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("indent", [None, 2])
def test_the_claim_is_found_beside_the_cells_and_other_programs_metadata(indent: int | None):
    hostile = entry('{"values":[{}]},"rowData":[', 1, key='"rowData":[{"values":[')
    grid = grid_of(answer(hostile, entry(MINE_TEXT), entry("x", 7, key="other"), indent=indent))
    assert grid.claim == MINE
    assert grid.cell(0, 0).value == "x"


def test_without_an_entry_of_ours_nobody_has_claimed_the_tab():
    assert grid_of(answer()).claim is None
    assert grid_of(answer(entry(MINE_TEXT, key="sheetd.claims"), {"metadataId": 1})).claim is None


def test_of_several_the_one_under_the_tabs_own_id_counts_else_the_smallest_id():
    own = claims.metadata_id(3)
    texts = [claims.claim_text(MINE._replace(stamp=stamp)) for stamp in range(4)]
    several = [entry(texts[0], own - 1), entry(texts[1], own), entry(texts[2], 8), entry(texts[3], 9)]
    for order in (several, several[::-1]):
        claim = grid_of(answer(*order)).claim
        assert claim is not None
        assert claim.stamp == 1
        without_own = [one for one in order if one["metadataId"] != own]
        claim = grid_of(answer(*without_own)).claim
        assert claim is not None
        assert claim.stamp == 2


@pytest.mark.parametrize("text", GARBAGE.values(), ids=GARBAGE)
def test_a_claim_that_is_not_ours_byte_for_byte_is_refused_with_the_way_out(text: str):
    with pytest.raises(ClaimUnreadable, match="cannot read") as refusal:
        grid_of(answer(entry(text)))
    assert 'getSheetByName("T").createDeveloperMetadataFinder().withKey("sheetd.claim")' in str(refusal.value)
    assert len(str(refusal.value)) < 600


@pytest.mark.parametrize("text", LATER)
def test_a_claim_of_a_later_version_asks_for_an_update_not_for_its_removal(text: str):
    with pytest.raises(ClaimUnreadable, match="later version of sheetd: update") as refusal:
        grid_of(answer(entry(text)))
    assert "remove" not in str(refusal.value)


def test_a_claim_without_a_value_is_unreadable_too():
    with pytest.raises(ClaimUnreadable):
        grid_of(answer({"metadataId": 5, "metadataKey": KEY}))


@given(st.text())
def test_no_text_is_taken_for_a_claim_whose_text_it_is_not(text: str):
    try:
        claim = grid_of(answer(entry(text))).claim
    except ClaimUnreadable:
        return
    assert claim is not None
    assert claims.claim_text(claim) == text


@pytest.mark.parametrize("wrong", [["x"], [5], [{"metadataKey": KEY}], [None], 5, "x"])
def test_what_is_not_metadata_at_all_is_no_answer_of_the_api(wrong: Any):
    document = json.loads(answer())
    document["sheets"][0]["developerMetadata"] = wrong
    with pytest.raises(ValueError, match="form of a spreadsheet"):
        GridParser().parse(json.dumps(document, separators=(",", ":")).encode(), 3)


def test_another_tabs_claim_is_not_judged():
    assert grid_of(answer(entry("garbage"), sheet_id=4), 3).claim is None


# --- against a built-in sheet ------------------------------------------------------------------------------------


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[tuple[GoogleSheet, Address]]:
    with builtin_sheet(tmp_path) as rig:
        yield rig


@pytest.fixture
def sheet(rig: tuple[GoogleSheet, Address]) -> GoogleSheet:
    return rig[0]


@pytest.fixture
def person(rig: tuple[GoogleSheet, Address]) -> Iterator[BuiltinPerson]:
    person = BuiltinPerson(rig[1], "Experiments")
    yield person
    person.close()


def change(grid: Grid, old: Claim | None, new: Claim, status: str = "") -> SheetWrite:
    updates = (CellUpdate(row=1, column=2, value=status),) if status else ()
    return SheetWrite(tab_id=grid.tab_id, updates=updates, claim=ClaimChange(old=old, new=new))


def put_metadata(person: BuiltinPerson, tab_id: int, value: str) -> None:
    held = {**entry(value), "location": {"sheetId": tab_id}, "visibility": "DOCUMENT"}
    person.batch({"createDeveloperMetadata": {"developerMetadata": held}})


def remove_metadata(person: BuiltinPerson) -> None:
    person.batch({"deleteDeveloperMetadata": {"dataFilter": {"developerMetadataLookup": {"metadataKey": KEY}}}})


def test_a_claim_costs_no_request_of_its_own(sheet: GoogleSheet):
    grid = sheet.read()
    sheet.client.requests.clear()
    grid = sheet.write(change(grid, None, MINE, "running"))
    assert sheet.client.requests == {"write": 1}
    assert sheet.read().claim == MINE
    assert sheet.client.requests == {"write": 1, "read": 1}


def raced(sheets: list[GoogleSheet], old: Claim | None, stamp: int) -> list[int]:
    """All try at the same moment; the numbers of those who succeeded."""
    grids = [sheet.read() for sheet in sheets]
    start = threading.Barrier(len(sheets))
    won: list[int] = []

    def attempt(number: int) -> None:
        start.wait()
        try:
            sheets[number].write(change(grids[number], old, Claim(number, "racer", stamp), f"by {number}"))
        except SheetRefused:
            return
        won.append(number)

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(len(sheets))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return won


def test_of_many_who_claim_at_the_same_moment_exactly_one_succeeds(person: BuiltinPerson):
    sheets = [person.colleague() for _ in range(6)]
    old: Claim | None = None
    for stamp in range(1, 4):
        won = raced(sheets, old, stamp)
        assert len(won) == 1
        grid = sheets[0].read()
        assert grid.claim == Claim(won[0], "racer", stamp)
        assert grid.cell(1, 2).value == f"by {won[0]}"
        old = grid.claim


@pytest.mark.parametrize("text", ["garbage", LATER[0]])
def test_a_tab_with_an_unreadable_claim_is_not_read_until_it_is_gone(
    sheet: GoogleSheet, person: BuiltinPerson, text: str
):
    before = sheet.read()
    put_metadata(person, before.tab_id, text)
    for _ in range(2):
        with pytest.raises(SheetRefused, match="claim"):
            sheet.read()
    remove_metadata(person)
    assert sheet.read() == before


def test_what_was_written_over_an_unreadable_claim_is_not_said_to_be_refused(sheet: GoogleSheet, person: BuiltinPerson):
    grid = sheet.read()
    put_metadata(person, grid.tab_id, "garbage")
    update = CellUpdate(row=1, column=2, value="running")
    with pytest.raises(SheetUnavailable, match=r"was written, but .* cannot read"):
        sheet.write(SheetWrite(tab_id=grid.tab_id, updates=(update,)))
    remove_metadata(person)
    assert sheet.read().cell(1, 2).value == "running"


def test_an_unreadable_claim_is_not_overwritten(sheet: GoogleSheet, person: BuiltinPerson):
    grid = sheet.write(change(sheet.read(), None, MINE))
    lookup = {"developerMetadataLookup": {"metadataKey": KEY}}
    held = {"dataFilters": [lookup], "developerMetadata": {"metadataValue": LATER[0]}, "fields": "metadataValue"}
    person.batch({"updateDeveloperMetadata": held})
    for old in (MINE, None):
        with pytest.raises(SheetRefused):
            sheet.write(change(grid, old, THEIRS))
    shown = person.spreadsheet.fetch_sheet_metadata({"fields": "sheets/developerMetadata/metadataValue"})
    values = [one["metadataValue"] for tab in shown["sheets"] for one in tab.get("developerMetadata", [])]
    assert values == [LATER[0]]


def test_a_duplicate_of_a_tab_keeps_its_own_claim(sheet: GoogleSheet, person: BuiltinPerson, rig: Any):
    grid = sheet.write(change(sheet.read(), None, MINE))
    person.tab.duplicate(new_sheet_name="Twin")
    twin = rig[1].open("Twin")
    assert twin.read().claim == MINE
    assert sheet.write(change(grid, MINE, THEIRS)).claim == THEIRS
    assert twin.read().claim == MINE
    assert twin.write(change(twin.read(), MINE, MINE._replace(stamp=2))).claim == MINE._replace(stamp=2)
    assert sheet.read().claim == THEIRS
    twin.close()


class Renaming:
    """A server that refuses the next write's range. `meanwhile` is what happens just before it answers so."""

    def __init__(self, sheet: GoogleSheet, meanwhile: Any = None) -> None:
        self.send = sheet.client.request
        self.meanwhile = meanwhile
        self.is_due = True

    def request(self, method: str, *args: Any, **kwargs: Any) -> requests.Response:
        if method == "post" and self.is_due:
            self.is_due = False
            if self.meanwhile is not None:
                self.meanwhile()
            raise RangeRefused("Unable to parse range")
        return self.send(method, *args, **kwargs)


def test_a_claim_that_was_refused_with_its_range_is_sent_again(sheet: GoogleSheet, monkeypatch: pytest.MonkeyPatch):
    grid = sheet.read()
    monkeypatch.setattr(sheet.client, "request", Renaming(sheet).request)
    answer = sheet.write(change(grid, None, MINE, "running"))
    assert (answer.claim, answer.cell(1, 2).value) == (MINE, "running")


def test_a_claim_that_another_took_while_the_tab_was_renamed_is_not_said_to_be_ours(
    sheet: GoogleSheet, person: BuiltinPerson, monkeypatch: pytest.MonkeyPatch
):
    grid = sheet.read()
    other = person.colleague()
    other.read()
    renaming = Renaming(sheet, lambda: other.write(change(grid, None, THEIRS)))
    monkeypatch.setattr(sheet.client, "request", renaming.request)
    with pytest.raises(SheetError, match="claimed by another"):
        sheet.write(change(grid, None, MINE, "running"))
    assert sheet.read().claim == THEIRS
    assert sheet.read().cell(1, 2).value is None
