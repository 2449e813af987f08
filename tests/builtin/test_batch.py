"""batchUpdate: atomic, typed, answered with the state after it, and honest about what it cannot do."""

from __future__ import annotations

import json
from typing import Any

import gspread
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sheetd.sheets.builtin import batch, live_view, render
from sheetd.sheets.builtin.model import new_sheet
from sheetd.sheets.builtin.problems import ApiError
from sheetd.sheets.builtin.store import Store
from tests.builtin import discovery
from tests.builtin.conftest import Raw
from tests.builtin.test_typed_read import cells

A1 = {"sheetId": 0, "startRowIndex": 0, "endRowIndex": 1, "startColumnIndex": 0, "endColumnIndex": 1}


def text(value: str) -> dict[str, Any]:
    return {"userEnteredValue": {"stringValue": value}}


def update(*rows: list[dict[str, Any]], fields: str = "userEnteredValue", **place: Any) -> dict[str, Any]:
    return {"updateCells": {"rows": [{"values": list(row)} for row in rows], "fields": fields, **place}}


def test_the_whole_batch_is_applied_or_nothing(raw: Raw, tab: gspread.Worksheet):
    tab.update([["kept"]])
    wrong = {"deleteConditionalFormatRule": {"sheetId": 0, "index": 7}}
    answer = raw.batch(
        update([text("lost")], start={"sheetId": 0}), {"addSheet": {"properties": {"title": "x"}}}, wrong
    )
    assert answer.status_code == 400
    assert "requests[2].deleteConditionalFormatRule" in answer.json()["error"]["message"]
    assert tab.get_all_values() == [["kept"]]
    assert len(tab.spreadsheet.worksheets()) == 1


def test_the_answer_holds_the_state_after_the_batch_cut_to_the_mask(raw: Raw):
    fields = "replies,updatedSpreadsheet(sheets(data(startRow,rowData(values(formattedValue)))))"
    answer = raw.batch(
        update([text("id1"), text("running")], start={"sheetId": 0, "rowIndex": 4}),
        fields=fields,
        includeSpreadsheetInResponse=True,
        responseRanges=["Sheet1!A5:C6", "Sheet1!A1"],
        responseIncludeGridData=True,
    ).json()
    data = [{"startRow": 4, "rowData": [{"values": [{"formattedValue": "id1"}, {"formattedValue": "running"}]}]}, {}]
    assert answer == {"replies": [{}], "updatedSpreadsheet": {"sheets": [{"data": data}]}}


def test_the_answer_holds_no_spreadsheet_unless_asked_for(raw: Raw):
    answer = raw.batch(update([text("x")], start={"sheetId": 0})).json()
    assert answer == {"spreadsheetId": raw.key, "replies": [{}]}


def test_a_range_is_cleared_of_the_listed_fields_where_the_rows_are_short(raw: Raw, tab: gspread.Worksheet):
    tab.update([["a", "b"], ["c", "d"]])
    tab.format("A1:B2", {"textFormat": {"bold": True}})
    square = {"sheetId": 0, "endRowIndex": 2, "endColumnIndex": 2}
    raw.batch(update([text("new")], range=square))
    assert tab.get_all_values() == [["new"]]
    assert (
        cells(raw, "A1:B2", "userEnteredFormat.textFormat")
        == [[{"userEnteredFormat": {"textFormat": {"bold": True}}}] * 2] * 2
    )


def test_a_listed_field_that_is_not_given_is_cleared_and_an_unlisted_one_is_kept(raw: Raw, tab: gspread.Worksheet):
    tab.update([["a"]])
    tab.update_note("A1", "n")
    raw.batch(
        update(
            [{"userEnteredFormat": {"backgroundColorStyle": {"rgbColor": {"red": 1, "green": 0}}}}],
            start={},
            fields="note,userEnteredFormat.backgroundColorStyle",
        )
    )
    ((cell,),) = cells(raw, "A1", "userEnteredValue,note,userEnteredFormat")
    colour = {"red": 1}
    assert cell == {
        "userEnteredValue": {"stringValue": "a"},
        "userEnteredFormat": {"backgroundColor": colour, "backgroundColorStyle": {"rgbColor": colour}},
    }


def test_a_string_value_is_never_parsed(raw: Raw, tab: gspread.Worksheet):
    raw.batch(update([text("=IMPORTXML(1)"), text("1e3"), text("'x"), text("TRUE")], start={"sheetId": 0}))
    assert tab.get(value_render_option="UNFORMATTED_VALUE") == [["=IMPORTXML(1)", "1e3", "'x", "TRUE"]]


def appended(*values: dict[str, Any], rows: int = 1) -> dict[str, Any]:
    return {"appendCells": {"sheetId": 0, "rows": [{"values": list(values)}] * rows, "fields": "userEnteredValue"}}


def test_cells_are_appended_below_the_last_row_that_holds_a_value(raw: Raw, tab: gspread.Worksheet):
    tab.update([["a"], [], ["", "", "note"]])
    tab.format("A7:A9", {"textFormat": {"bold": True}})
    assert raw.batch(appended(text("=1+1"), {}, text("007"))).json()["replies"] == [{}]
    assert tab.get_all_values() == [["a", "", ""], ["", "", ""], ["", "", "note"], ["=1+1", "", "007"]]


def test_appended_cells_get_the_rows_that_the_tab_lacks(raw: Raw, tab: gspread.Worksheet):
    tab.resize(rows=2)
    tab.update([["a"], ["b"]])
    raw.batch(appended(text("c"), rows=3), appended(text("d")))
    assert [row[0] for row in tab.get_all_values()] == ["a", "b", "c", "c", "c", "d"]


def test_cells_are_appended_to_an_empty_tab_in_its_first_row(raw: Raw, tab: gspread.Worksheet):
    raw.batch(appended(text("a")))
    assert tab.get_all_values() == [["a"]]


def test_find_replace_changes_by_content_and_counts(raw: Raw, tab: gspread.Worksheet):
    tab.update([["k7f3", "k7f3x"], ["K7F3", "k7f3"]])
    find = {"find": "k7f3", "replacement": "", "matchEntireCell": True, "matchCase": True, "sheetId": 0}
    (reply,) = raw.batch({"findReplace": find}).json()["replies"]
    assert reply["findReplace"] == {"occurrencesChanged": 2, "valuesChanged": 2, "rowsChanged": 2, "sheetsChanged": 1}
    assert tab.get_all_values() == [["", "k7f3x"], ["K7F3", ""]]
    (reply,) = raw.batch({"findReplace": find}).json()["replies"]
    assert reply == {"findReplace": {}}


def test_find_replace_in_a_range_leaves_other_columns_alone_and_text_stays_text(raw: Raw, tab: gspread.Worksheet):
    tab.update([["a", "a"], ["b", "a"]])
    column = {"sheetId": 0, "startColumnIndex": 1, "endColumnIndex": 2}
    raw.batch({"findReplace": {"find": "a", "replacement": "007", "range": column, "matchEntireCell": True}})
    assert tab.get(value_render_option="UNFORMATTED_VALUE") == [["a", "007"], ["b", "007"]]


def test_sorting_moves_formats_notes_and_validation_inside_the_range_only(raw: Raw, tab: gspread.Worksheet):
    tab.update([["b", 2, "x"], ["a", 1, "y"]])
    tab.update_note("A2", "of a")
    tab.format("B2", {"textFormat": {"italic": True}})
    range_ = {"sheetId": 0, "endRowIndex": 2, "endColumnIndex": 2}
    raw.batch({"sortRange": {"range": range_, "sortSpecs": [{"dimensionIndex": 0, "sortOrder": "ASCENDING"}]}})
    assert tab.get_all_values() == [["a", "1", "x"], ["b", "2", "y"]]
    assert tab.get_note("A1") == "of a"
    assert cells(raw, "B1:B2", "userEnteredFormat.textFormat.italic")[0][0]["userEnteredFormat"]["textFormat"]["italic"]


def test_data_validation_is_kept_and_answered(raw: Raw):
    values = [{"userEnteredValue": word} for word in ("run", "stop")]
    rule = {"condition": {"type": "ONE_OF_LIST", "values": values}, "strict": True, "showCustomUi": True}
    column = {"sheetId": 0, "startRowIndex": 1, "startColumnIndex": 2, "endColumnIndex": 3}
    raw.batch({"setDataValidation": {"range": column, "rule": rule}})
    assert cells(raw, "C2", "dataValidation") == [[{"dataValidation": rule}]]
    raw.batch({"setDataValidation": {"range": column}})
    assert cells(raw, "C2", "dataValidation") == []


def test_rules_are_added_moved_changed_and_deleted_by_index(raw: Raw):
    def rule(word: str) -> dict[str, Any]:
        condition = {"type": "TEXT_EQ", "values": [{"userEnteredValue": word}]}
        look = {"backgroundColor": {"red": 1}, "backgroundColorStyle": {"rgbColor": {"red": 1}}}
        where = [{"startRowIndex": 1, "endRowIndex": 1000, "startColumnIndex": 0, "endColumnIndex": 2}]
        return {"ranges": where, "booleanRule": {"condition": condition, "format": look}}

    def words() -> list[str]:
        sheet = raw.get(fields="sheets.conditionalFormats").json()["sheets"][0]
        rules = sheet.get("conditionalFormats", [])
        return [item["booleanRule"]["condition"]["values"][0]["userEnteredValue"] for item in rules]

    raw.batch(*({"addConditionalFormatRule": {"rule": rule(word), "index": 0}} for word in "abc"))
    assert words() == ["c", "b", "a"]
    raw.batch({"updateConditionalFormatRule": {"index": 0, "rule": rule("C")}})
    (moved,) = raw.batch({"updateConditionalFormatRule": {"index": 0, "newIndex": 2, "sheetId": 0}}).json()["replies"]
    assert moved["updateConditionalFormatRule"]["newIndex"] == 2
    assert words() == ["b", "a", "C"]
    (reply,) = raw.batch({"deleteConditionalFormatRule": {"index": 1, "sheetId": 0}}).json()["replies"]
    assert reply == {"deleteConditionalFormatRule": {"rule": rule("a")}}
    assert words() == ["b", "C"]


def test_rows_move_with_everything_and_the_range_of_a_protection_follows_inserts(raw: Raw, tab: gspread.Worksheet):
    tab.update([["1"], ["2"], ["3"], ["4"]])
    protect = {
        "range": {"sheetId": 0, "startRowIndex": 1, "endRowIndex": 3},
        "description": "sheetd",
        "warningOnly": True,
    }
    (reply,) = raw.batch({"addProtectedRange": {"protectedRange": protect}}).json()["replies"]
    number = reply["addProtectedRange"]["protectedRange"]["protectedRangeId"]
    source = {"sheetId": 0, "dimension": "ROWS", "startIndex": 0, "endIndex": 1}
    raw.batch({"moveDimension": {"source": source, "destinationIndex": 4}})
    assert tab.col_values(1) == ["2", "3", "4", "1"]
    raw.batch({"insertDimension": {"range": {"sheetId": 0, "dimension": "ROWS", "startIndex": 0, "endIndex": 2}}})
    protected = raw.get(fields="sheets.protectedRanges").json()["sheets"][0]["protectedRanges"]
    assert protected[0]["range"] == {"startRowIndex": 2, "endRowIndex": 4}
    raw.batch({"deleteProtectedRange": {"protectedRangeId": number}})
    assert raw.get(fields="sheets.protectedRanges").json()["sheets"] == [{}]


def test_a_named_range_is_read_by_its_name_and_follows_its_cells(raw: Raw, tab: gspread.Worksheet):
    tab.update([["a"], ["b"]])
    tab.define_named_range("A2:A2", "chosen")
    assert tab.get("chosen") == [["b"]]
    tab.insert_row(["new"], index=1)
    assert tab.get("chosen") == [["b"]]
    tab.delete_rows(3)
    assert "namedRanges" not in raw.get().json()


def test_column_widths_are_kept(raw: Raw):
    range_ = {"sheetId": 0, "dimension": "COLUMNS", "startIndex": 1, "endIndex": 2}
    properties = {"range": range_, "properties": {"pixelSize": 321}, "fields": "pixelSize"}
    raw.batch({"updateDimensionProperties": properties})
    sheet = raw.get(fields="sheets.data.columnMetadata.pixelSize").json()["sheets"][0]
    assert [item["pixelSize"] for item in sheet["data"][0]["columnMetadata"]][:3] == [100, 321, 100]


def test_the_name_of_a_tab_is_unique_without_regard_to_case(raw: Raw):
    answer = raw.batch({"addSheet": {"properties": {"title": "SHEET1"}}})
    assert answer.status_code == 400
    assert "already exists" in answer.json()["error"]["message"]


@pytest.mark.parametrize("kind", sorted(batch.GOOGLE_ONLY))
def test_a_kind_that_is_not_done_is_refused_by_name(raw: Raw, kind: str):
    answer = raw.batch({kind: {}})
    assert (answer.status_code, answer.json()["error"]["status"]) == (501, "UNIMPLEMENTED")
    assert kind in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "request_",
    [
        update([text("x")], start={"sheetId": 0}, fields=""),
        update([text("x")], start={"sheetId": 99}),
        update([text("x")], start={"sheetId": 0, "rowIndex": 1000}),
        update([text("x"), text("y")], range=A1),
        update([{"userEnteredValue": {"stringValue": "x" * 50_001}}], start={}),
        update([{"userEnteredValue": {"formulaValue": "no equals sign"}}], start={}),
        {"updateSheetProperties": {"properties": {"sheetId": 0, "title": ""}, "fields": "title"}},
        {"deleteDimension": {"range": {"sheetId": 0, "dimension": "ROWS", "startIndex": 5, "endIndex": 5}}},
        {"deleteDimension": {"range": {"sheetId": 0, "dimension": "ROWS", "startIndex": 0, "endIndex": 1000}}},
        {"deleteSheet": {"sheetId": 0}},
        {"repeatCell": {"range": A1, "cell": {"userEnteredFormat": {"backgroundColor": {"red": 2}}}, "fields": "*"}},
        {"addSheet": {"properties": {"gridProperties": {"rowCount": 2_000_000, "columnCount": 26}}}},
    ],
)
def test_what_can_never_work_is_an_invalid_argument(raw: Raw, request_: dict[str, Any]):
    answer = raw.batch(request_)
    assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


JUNK = st.sampled_from([None, True, -1, 0, 1.5, 3, 10**12, "", "x", "=A1", "*", [], [[]], {}, [None], {"x": 1}])


@st.composite
def payloads(draw: st.DrawFn, schema: dict[str, Any], depth: int = 0) -> Any:
    """Bodies of a schema's form, with wrong things in wrong places now and then."""
    if depth > 9 or draw(st.integers(0, 24)) == 0:
        return draw(JUNK)
    if "$ref" in schema:
        return draw(payloads(discovery.sheets_schema(schema["$ref"]), depth + 1))
    if "enum" in schema:
        return draw(st.sampled_from(schema["enum"]))
    kind = schema.get("type")
    if kind == "object":
        names = sorted(schema.get("properties", {}))
        chosen = draw(st.lists(st.sampled_from(names), unique=True, max_size=4)) if names else []
        return {name: draw(payloads(schema["properties"][name], depth + 1)) for name in chosen}
    if kind == "array":
        return draw(st.lists(payloads(schema["items"], depth + 1), max_size=2))
    if kind == "boolean":
        return draw(st.booleans())
    if kind in {"integer", "number"}:
        return draw(st.integers(0, 4) | st.floats(0, 1))
    return draw(
        st.sampled_from(["*", "userEnteredValue", "note", "title", "x", "=$A1=1", "userEnteredFormat.textFormat"])
    )


@pytest.mark.parametrize("kind", sorted(batch.KINDS))
def test_no_payload_however_odd_makes_the_server_fail(tmp_path_factory: pytest.TempPathFactory, kind: str):
    store = Store(tmp_path_factory.mktemp("odd") / "s")
    schema = discovery.sheets_schema("Request")["properties"][kind]

    @settings(max_examples=60, deadline=None, database=None)
    @given(payload=payloads(schema))
    def attempt(payload: Any) -> None:
        key = store.create_spreadsheet("x", sheets=[new_sheet(0, "Sheet1", 6, 5), new_sheet(3, "Other", 4, 4)])
        before = store.snapshot(key)
        try:
            kinds = batch.kinds_of([{kind: payload}])
            store.transact(key, "t", kinds, lambda draft: batch.apply(draft, [{kind: payload}], kinds))
        except ApiError as error:
            assert error.code in {400, 501}  # noqa: PT017 - most payloads are refused, some are not
            assert store.snapshot(key) is before
        # Whatever was accepted can also be shown and read back.
        book = store.snapshot(key)
        answer = render.encode(render.spreadsheet(book, "u", ranges=[], mask=None, grid_data=True))
        discovery.check_answer("GET", "/v4/spreadsheets/k", 200, json.loads(answer))
        for sheet in book.sheets:
            json.loads(render.encode(live_view.snapshot(book, sheet)))
        store.delete_spreadsheet(key)

    attempt()
    store.close()
