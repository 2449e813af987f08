"""Developer metadata: kept with a tab or a spreadsheet, found by what it says, and never on a person's way."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import gspread
import pytest

from sheetd.sheets.builtin import batch, batch_metadata, live_edits
from sheetd.sheets.builtin.model import Metadata, Sheet
from sheetd.sheets.builtin.problems import ApiError
from sheetd.sheets.builtin.store import Store
from tests.builtin.conftest import Raw

Json = dict[str, Any]

AT_SPREADSHEET = {"spreadsheet": True}
FIRST_ROW = {"dimensionRange": {"sheetId": 0, "dimension": "ROWS", "startIndex": 0, "endIndex": 1}}


def create(key: str, value: str | None = None, *, at: Json | None = None, **more: Any) -> Json:
    entry = {"metadataKey": key, "location": at or {"sheetId": 0}, "visibility": "DOCUMENT", **more}
    if value is not None:
        entry["metadataValue"] = value
    return {"createDeveloperMetadata": {"developerMetadata": entry}}


def lookup(**fields: Any) -> Json:
    return {"developerMetadataLookup": fields}


def update(found: Json, entry: Json, fields: str = "metadataValue") -> Json:
    return {"updateDeveloperMetadata": {"dataFilters": [found], "developerMetadata": entry, "fields": fields}}


def delete(found: Json) -> Json:
    return {"deleteDeveloperMetadata": {"dataFilter": found}}


def done(raw: Raw, *requests: Json) -> list[Json]:
    answer = raw.batch(*requests)
    assert answer.status_code == 200, answer.text
    replies: list[Json] = answer.json()["replies"]
    return replies


def refusal(raw: Raw, *requests: Json) -> tuple[int, str]:
    answer = raw.batch(*requests)
    return answer.status_code, answer.json().get("error", {}).get("message", "")


def searched(raw: Raw, *filters: Json) -> list[Json]:
    url = f"{raw.base}/v4/spreadsheets/{raw.key}/developerMetadata:search"
    answer = raw.session.post(url, json={"dataFilters": list(filters)}, timeout=30)
    assert answer.status_code == 200, answer.text
    found: list[Json] = answer.json().get("matchedDeveloperMetadata", [])
    return found


def keys(raw: Raw, *filters: Json) -> list[str]:
    return [match["developerMetadata"]["metadataKey"] for match in searched(raw, *filters)]


def test_metadata_is_answered_with_its_place_and_shown_there(raw: Raw):
    done(raw, {"addSheet": {"properties": {"sheetId": 5, "title": "Other"}}})
    replies = done(
        raw,
        create("a", "1", metadataId=11),
        create("b", at={"sheetId": 5}, metadataId=12, visibility="PROJECT"),
        create("c", "3", at=AT_SPREADSHEET, metadataId=13),
    )
    a = {
        "metadataId": 11,
        "metadataKey": "a",
        "metadataValue": "1",
        "location": {"locationType": "SHEET", "sheetId": 0},
        "visibility": "DOCUMENT",
    }
    b = {
        "metadataId": 12,
        "metadataKey": "b",
        "location": {"locationType": "SHEET", "sheetId": 5},
        "visibility": "PROJECT",
    }
    c = {
        "metadataId": 13,
        "metadataKey": "c",
        "metadataValue": "3",
        "location": {"locationType": "SPREADSHEET", "spreadsheet": True},
        "visibility": "DOCUMENT",
    }
    assert [reply["createDeveloperMetadata"]["developerMetadata"] for reply in replies] == [a, b, c]
    document = raw.get().json()
    assert document["developerMetadata"] == [c]
    assert [sheet["developerMetadata"] for sheet in document["sheets"]] == [[a], [b]]


def test_a_mask_chooses_fields_of_metadata_and_a_wrong_one_is_refused(raw: Raw):
    done(raw, create("a", "1", metadataId=11))
    assert raw.get(fields="sheets(developerMetadata(metadataId,metadataValue))").json() == {
        "sheets": [{"developerMetadata": [{"metadataId": 11, "metadataValue": "1"}]}]
    }
    assert raw.get(fields="sheets/developerMetadata/key").status_code == 400


def test_a_tab_without_metadata_says_nothing_of_it(raw: Raw):
    assert raw.get(fields="sheets(properties(title),developerMetadata)").json() == {
        "sheets": [{"properties": {"title": "Sheet1"}}]
    }


def test_the_answer_of_a_batch_shows_the_metadata_after_it(raw: Raw):
    answer = raw.batch(
        create("a", "1", metadataId=11),
        fields="updatedSpreadsheet(sheets(developerMetadata(metadataValue)))",
        includeSpreadsheetInResponse=True,
        responseRanges=["Sheet1"],
    )
    assert answer.json() == {"updatedSpreadsheet": {"sheets": [{"developerMetadata": [{"metadataValue": "1"}]}]}}


def test_an_id_is_given_where_none_is_wanted_and_a_taken_one_refuses_the_whole_batch(raw: Raw):
    replies = done(raw, create("a"), create("a"))
    ids = {reply["createDeveloperMetadata"]["developerMetadata"]["metadataId"] for reply in replies}
    assert len(ids) == 2
    assert min(ids) > 0
    taken = create("b", at=AT_SPREADSHEET, metadataId=min(ids))
    code, text = refusal(raw, create("c"), taken)
    assert code == 400
    assert "already exists" in text
    assert keys(raw, lookup(metadataKey="c")) == []


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (create("a", at=FIRST_ROW), 501),
        (create("a", at={"sheetId": 99}), 400),
        (create("a", at={"sheetId": 0, "spreadsheet": True}), 400),
        (create("a", at={"spreadsheet": False}), 400),
        (create("a", at={"locationType": "SHEET"}), 400),
        (create(""), 400),
        (create("a", metadataId=0), 400),
        (create("a", visibility=None), 400),
        (create("a", "x" * 30_000), 400),
        (update(lookup(metadataKey="kept"), {"metadataKey": ""}, "metadataKey"), 400),
        (update(lookup(metadataKey="kept"), {"metadataValue": "x"}, ""), 400),
        (update(lookup(metadataKey="kept"), {"metadataId": 5}, "metadataId"), 501),
        (update(lookup(), {"metadataValue": "x"}), 400),
        (update({}, {"metadataValue": "x"}), 400),
        (update({"a1Range": "A1"}, {"metadataValue": "x"}), 501),
        (update({"a1Range": "A1", **lookup(metadataKey="kept")}, {"metadataValue": "x"}), 400),
        (update(lookup(metadataKey="kept", locationMatchingStrategy="EXACT_LOCATION"), {"metadataValue": "x"}), 400),
        (delete(lookup(metadataLocation=FIRST_ROW)), 501),
        (
            delete(
                lookup(metadataLocation={"sheetId": 0}, locationMatchingStrategy="EXACT_LOCATION", locationType="SHEET")
            ),
            400,
        ),
        (delete(lookup(metadataLocation={"sheetId": 0}, locationType="SPREADSHEET")), 400),
        ({"updateDeveloperMetadata": {"developerMetadata": {"metadataValue": "x"}, "fields": "metadataValue"}}, 400),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(raw: Raw, request_: Json, code: int):
    done(raw, create("kept", "1"))
    before = raw.get().json()
    assert refusal(raw, request_)[0] == code
    assert raw.get().json() == before


def test_one_entry_is_read_by_its_id(raw: Raw):
    done(raw, create("a", "1", metadataId=11))
    assert raw.get("/developerMetadata/11").json()["metadataValue"] == "1"
    assert raw.get("/developerMetadata/11", fields="metadataKey").json() == {"metadataKey": "a"}
    unknown = raw.get("/developerMetadata/12")
    assert (unknown.status_code, unknown.json()["error"]["message"]) == (404, "No developer metadata with ID 12.")
    assert raw.get("/developerMetadata/x").status_code == 400
    assert raw.get(f"/developerMetadata/{2**40}").status_code == 400


def test_a_search_finds_what_matches_every_field_of_any_filter(raw: Raw):
    done(
        raw,
        {"addSheet": {"properties": {"sheetId": 5, "title": "Other"}}},
        create("a", "1", metadataId=11),
        create("a", "2", metadataId=12, at={"sheetId": 5}),
        create("b", "1", metadataId=13, at=AT_SPREADSHEET),
        create("c", metadataId=14, visibility="PROJECT"),
    )

    def ids(*filters: Json) -> list[int]:
        return sorted(match["developerMetadata"]["metadataId"] for match in searched(raw, *filters))

    assert ids(lookup(metadataKey="a")) == [11, 12]
    assert ids(lookup(metadataValue="1")) == [11, 13]
    assert ids(lookup(metadataKey="a", metadataValue="2")) == [12]
    assert ids(lookup(metadataKey="a", metadataValue="3")) == []
    assert ids(lookup(metadataId=14)) == [14]
    assert ids(lookup(visibility="PROJECT")) == [14]
    assert ids(lookup(locationType="SHEET")) == [11, 12, 14]
    assert ids(lookup(locationType="ROW")) == []
    assert ids(lookup(metadataLocation={"sheetId": 0})) == [11, 14]
    assert ids(lookup(metadataLocation={"sheetId": 5}, locationMatchingStrategy="EXACT_LOCATION")) == [12]
    assert ids(lookup(metadataLocation=AT_SPREADSHEET)) == [13]
    assert ids(lookup(metadataId=13), lookup(metadataId=11)) == [11, 13]


def test_a_search_says_which_of_the_filters_matched(raw: Raw):
    done(raw, create("a", "1", metadataId=11))
    by_key, by_value, other = lookup(metadataKey="a"), lookup(metadataValue="1"), lookup(metadataKey="b")
    assert [match["dataFilters"] for match in searched(raw, by_key, other, by_value)] == [[by_key, by_value]]


def test_an_update_sets_the_listed_fields_of_all_that_match_and_of_nothing_else(raw: Raw):
    done(raw, create("a", "1", metadataId=11), create("a", "2", metadataId=12), create("b", "1", metadataId=13))
    changed = {"metadataKey": "lost", "metadataValue": "9"}
    [reply] = done(raw, update(lookup(metadataKey="a"), changed))
    assert [entry["metadataId"] for entry in reply["updateDeveloperMetadata"]["developerMetadata"]] == [11, 12]
    found = searched(raw, lookup(locationType="SHEET"))
    shown = [(one["developerMetadata"]["metadataKey"], one["developerMetadata"]["metadataValue"]) for one in found]
    assert shown == [("a", "9"), ("a", "9"), ("b", "1")]


def test_an_update_compares_with_the_exact_old_value(raw: Raw):
    done(raw, create("a", "1", metadataId=11))
    swap = [update(lookup(metadataKey="a", metadataValue=old), {"metadataValue": new}) for old, new in ("12", "13")]
    done(raw, swap[0])
    code, text = refusal(raw, {"updateSheetProperties": {"properties": {"title": "x"}, "fields": "title"}}, swap[1])
    assert code == 400
    assert batch_metadata.NOTHING_MATCHES in text
    assert raw.get("/developerMetadata/11").json()["metadataValue"] == "2"
    assert raw.get(fields="sheets/properties/title").json() == {"sheets": [{"properties": {"title": "Sheet1"}}]}


def test_an_update_may_move_an_entry_and_replace_every_field(raw: Raw):
    done(raw, create("a", "1", metadataId=11))
    entry = {"metadataKey": "b", "location": AT_SPREADSHEET, "visibility": "PROJECT"}
    done(raw, update(lookup(metadataId=11), entry, "*"))
    document = raw.get().json()
    assert "developerMetadata" not in document["sheets"][0]
    moved = {**entry, "metadataId": 11, "location": {"locationType": "SPREADSHEET", "spreadsheet": True}}
    assert document["developerMetadata"] == [moved]


def test_a_deleted_entry_is_answered_and_gone(raw: Raw):
    done(raw, create("a", "1", metadataId=11), create("b", metadataId=12, at=AT_SPREADSHEET))
    [first, second] = done(raw, delete(lookup(metadataId=11)), delete(lookup(metadataKey="b")))
    assert first["deleteDeveloperMetadata"]["deletedDeveloperMetadata"][0]["metadataValue"] == "1"
    assert second["deleteDeveloperMetadata"]["deletedDeveloperMetadata"][0]["metadataId"] == 12
    assert "developerMetadata" not in raw.get().json()
    assert refusal(raw, delete(lookup(metadataId=11)))[0] == 400


def test_a_duplicate_takes_the_metadata_along_under_new_ids(raw: Raw):
    done(raw, create("a", "1", metadataId=11))
    done(raw, {"duplicateSheet": {"sourceSheetId": 0, "newSheetId": 5, "newSheetName": "Twin"}})
    [twin] = searched(raw, lookup(metadataLocation={"sheetId": 5}))
    assert twin["developerMetadata"]["metadataValue"] == "1"
    assert twin["developerMetadata"]["metadataId"] != 11
    done(raw, update(lookup(metadataKey="a", metadataLocation={"sheetId": 5}), {"metadataValue": "2"}))
    assert raw.get("/developerMetadata/11").json()["metadataValue"] == "1"


def test_metadata_goes_with_its_tab(raw: Raw):
    done(raw, {"addSheet": {"properties": {"sheetId": 5, "title": "Other"}}}, create("a", at={"sheetId": 5}))
    done(raw, {"deleteSheet": {"sheetId": 5}})
    assert keys(raw, lookup(metadataKey="a")) == []


def test_a_copied_spreadsheet_has_the_metadata_of_the_original(
    client: gspread.Client, book: gspread.Spreadsheet, raw: Raw
):
    done(raw, create("a", "1", metadataId=11), create("b", metadataId=12, at=AT_SPREADSHEET))
    document = client.copy(book.id).fetch_sheet_metadata()
    assert [entry["metadataId"] for entry in document["developerMetadata"]] == [12]
    assert [entry["metadataId"] for entry in document["sheets"][0]["developerMetadata"]] == [11]


def test_metadata_stays_while_rows_come_go_and_are_sorted_and_the_tab_is_renamed(raw: Raw):
    done(raw, create("a", "1", metadataId=11))
    rows = {"sheetId": 0, "dimension": "ROWS", "startIndex": 0, "endIndex": 3}
    done(
        raw,
        {"insertDimension": {"range": rows}},
        {"sortRange": {"range": {"sheetId": 0}, "sortSpecs": [{"dimensionIndex": 0, "sortOrder": "DESCENDING"}]}},
        {"deleteDimension": {"range": rows}},
        {"updateSheetProperties": {"properties": {"sheetId": 0, "title": "Renamed"}, "fields": "title"}},
    )
    assert raw.get("/developerMetadata/11").json()["metadataValue"] == "1"


def entries(store: Store, key: str) -> tuple[tuple[Metadata, ...], tuple[Metadata, ...]]:
    book = store.snapshot(key)
    return book.metadata, book.sheets[0].metadata


def filled(store: Store) -> str:
    key = store.create_spreadsheet("Lab")
    requests = [create("a", "1", metadataId=11), create("b", "2", metadataId=12, at=AT_SPREADSHEET)]
    store.transact(key, "api", (), lambda draft: batch.apply(draft, requests, batch.kinds_of(requests)))
    return key


def test_metadata_is_there_again_after_a_restart(tmp_path: Path):
    store = Store(tmp_path / "sheet.sqlite")
    key = filled(store)
    before = entries(store, key)
    store.close()
    again = Store(tmp_path / "sheet.sqlite")
    assert entries(again, key) == before
    assert before == ((Metadata(12, "b", "2", "DOCUMENT"),), (Metadata(11, "a", "1", "DOCUMENT"),))
    again.close()


def test_a_file_from_before_there_was_metadata_has_none(tmp_path: Path):
    store = Store(tmp_path / "sheet.sqlite")
    key = filled(store)
    store.close()
    database = sqlite3.connect(tmp_path / "sheet.sqlite")
    for table in ("sheet", "spreadsheet"):
        database.execute(f"UPDATE {table} SET document = json_remove(document, '$.metadata')")  # noqa: S608 - own names
    database.commit()
    database.close()
    again = Store(tmp_path / "sheet.sqlite")
    assert entries(again, key) == ((), ())
    again.close()


def test_what_a_person_does_on_the_page_and_takes_back_leaves_metadata_alone(tmp_path: Path):
    store = Store(tmp_path / "sheet.sqlite")
    key = filled(store)
    before = entries(store, key)
    sheet: Sheet = store.snapshot(key).sheets[0]
    first, column = sheet.rows[0].id, sheet.columns[0].id
    for op in (
        {"op": "cells", "cells": [[first, column, "typed"]]},
        {"op": "delete", "ids": [first]},
        {"op": "restore", "ids": [first]},
        {"op": "cells", "cells": [[first, column, ""]]},
        {"op": "sort", "colId": column},
        {"op": "renameTab", "sheet": sheet.id, "title": "Renamed"},
    ):
        store.transact(key, "page", (), lambda draft, op=op: live_edits.Editor(store, draft, sheet.id).run([op]))
    assert store.snapshot(key).sheets[0].title == "Renamed"
    assert entries(store, key) == before
    store.close()


def test_a_new_id_is_never_one_that_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    store = Store(tmp_path / "sheet.sqlite")
    key = filled(store)
    drawn = iter([10, 11, 12])
    monkeypatch.setattr("sheetd.sheets.builtin.draft.secrets.randbelow", lambda _: next(drawn))
    done_ = store.transact(key, "api", (), lambda draft: draft.metadata_id())
    assert done_.result == 13
    store.close()


def test_the_room_at_one_place_is_bounded_over_all_of_its_entries(tmp_path: Path):
    store = Store(tmp_path / "sheet.sqlite")
    key = filled(store)
    half = [create("x", "y" * 14_000)]
    for _ in range(2):
        store.transact(key, "api", (), lambda draft: batch.apply(draft, half, batch.kinds_of(half)))
    with pytest.raises(ApiError, match="30000 characters"):
        store.transact(key, "api", (), lambda draft: batch.apply(draft, half, batch.kinds_of(half)))
    elsewhere = [create("x", "y" * 14_000, at=AT_SPREADSHEET)]
    store.transact(key, "api", (), lambda draft: batch.apply(draft, elsewhere, batch.kinds_of(elsewhere)))
    store.close()
