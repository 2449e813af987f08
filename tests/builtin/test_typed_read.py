"""The daemon's read: typed values, formats and colours by field mask, and the same bytes when nothing changed."""

from __future__ import annotations

from typing import Any

import gspread
import pytest

from tests.builtin.conftest import Raw

CELL = "userEnteredValue/formulaValue,effectiveValue,formattedValue"
DAEMON = (
    f"sheets(properties(sheetId,title,gridProperties(rowCount,columnCount)),data(startRow,rowData(values({CELL}))))"
)
RED, GREEN = {"red": 1}, {"green": 1}


def cells(raw: Raw, range_: str, fields: str) -> list[list[dict[str, Any]]]:
    answer = raw.get(ranges=range_, fields=f"sheets(data(rowData(values({fields}))))").json()
    return [row.get("values", []) for row in answer["sheets"][0]["data"][0].get("rowData", [])]


def typed(*values: dict[str, Any]) -> dict[str, Any]:
    row = {"values": [{"userEnteredValue": value} for value in values]}
    return {"updateCells": {"start": {"sheetId": 0}, "rows": [row], "fields": "userEnteredValue"}}


def colour_rule(formula: str, colour: dict[str, float], **range_: int) -> dict[str, Any]:
    condition = {"type": "CUSTOM_FORMULA", "values": [{"userEnteredValue": formula}]}
    look = {"backgroundColorStyle": {"rgbColor": colour}}
    rule = {"ranges": [{"sheetId": 0, **range_}], "booleanRule": {"condition": condition, "format": look}}
    return {"addConditionalFormatRule": {"rule": rule, "index": 0}}


def test_the_daemons_mask_gives_exactly_its_fields(raw: Raw):
    raw.batch(
        typed(
            {"stringValue": "=x"},
            {"numberValue": 0.1},
            {"boolValue": True},
            {"formulaValue": "=A1"},
            {"numberValue": 3},
        )
    )
    (sheet,) = raw.get(ranges="Sheet1", fields=DAEMON).json()["sheets"]
    assert sheet["properties"] == {
        "sheetId": 0,
        "title": "Sheet1",
        "gridProperties": {"rowCount": 1000, "columnCount": 26},
    }
    error = {"type": "NAME", "message": "the built-in sheet does not compute formulas"}
    assert sheet["data"] == [
        {
            "rowData": [
                {
                    "values": [
                        {"effectiveValue": {"stringValue": "=x"}, "formattedValue": "=x"},
                        {"effectiveValue": {"numberValue": 0.1}, "formattedValue": "0.1"},
                        {"effectiveValue": {"boolValue": True}, "formattedValue": "TRUE"},
                        {
                            "userEnteredValue": {"formulaValue": "=A1"},
                            "effectiveValue": {"errorValue": error},
                            "formattedValue": "#NAME?",
                        },
                        {"effectiveValue": {"numberValue": 3}, "formattedValue": "3"},
                    ]
                }
            ]
        }
    ]


def test_a_range_starts_where_it_starts_and_blank_rows_between_are_empty_objects(raw: Raw, tab: gspread.Worksheet):
    tab.update([["a"], [None], ["c"]], "B3")
    (sheet,) = raw.get(
        ranges="Sheet1!B3:C9", fields=f"sheets(data(startRow,startColumn,rowData(values({CELL}))))"
    ).json()["sheets"]
    (data,) = sheet["data"]
    assert (data["startRow"], data["startColumn"]) == (2, 1)
    assert [bool(row) for row in data["rowData"]] == [True, False, True]


def test_an_empty_tab_has_no_row_data(raw: Raw):
    assert raw.get(fields=DAEMON).json()["sheets"][0]["data"] == [{}]


def test_without_a_mask_grid_data_comes_only_when_asked_for(raw: Raw, tab: gspread.Worksheet):
    tab.update([["x"]])
    assert "data" not in raw.get().json()["sheets"][0]
    full = raw.get(includeGridData="true").json()["sheets"][0]["data"][0]["rowData"][0]["values"][0]
    assert full["userEnteredValue"] == {"stringValue": "x"}
    assert full["effectiveFormat"]["backgroundColor"] == {"red": 1, "green": 1, "blue": 1}


def test_only_the_tabs_that_ranges_name_are_answered(raw: Raw, book: gspread.Spreadsheet):
    book.add_worksheet("Other", 5, 5)
    titles = raw.get(ranges="Other!A1", fields="sheets.properties.title").json()
    assert titles == {"sheets": [{"properties": {"title": "Other"}}]}


@pytest.mark.parametrize(
    "mask", ["sheets(", "sheets.nothing", "sheets/data/rowData/values/value", "", "a b", "sheets)"]
)
def test_a_wrong_mask_is_refused(raw: Raw, mask: str):
    answer = raw.session.get(f"{raw.base}/v4/spreadsheets/{raw.key}", params=[("fields", mask)], timeout=30)
    assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


def test_an_unchanged_tab_is_answered_with_the_same_bytes_and_a_change_shows_at_once(raw: Raw, tab: gspread.Worksheet):
    tab.update([["x", 1]])
    first = raw.get(ranges="Sheet1", fields=DAEMON).content
    assert raw.get(ranges="Sheet1", fields=DAEMON).content == first
    tab.update([["x", 1]])
    assert raw.get(ranges="Sheet1", fields=DAEMON).content == first
    tab.update([["x", 2]])
    assert b'"numberValue":2' in raw.get(ranges="Sheet1", fields=DAEMON).content


def test_a_conditional_format_colours_rows_by_their_status(raw: Raw, tab: gspread.Worksheet):
    tab.update([["id", "status"], ["a", "running"], ["b", "failed"], ["c", "RUNNING"], ["d", ""]])
    raw.batch(
        colour_rule('=$B2="running"', GREEN, startRowIndex=1, endColumnIndex=3),
        colour_rule('=$B2="failed"', RED, startRowIndex=1, endColumnIndex=3),
    )
    wanted = "effectiveFormat(backgroundColor,backgroundColorStyle)"
    rows = cells(raw, "A1:C6", wanted)
    backgrounds = [[cell.get("effectiveFormat", {}).get("backgroundColor") for cell in row] for row in rows]
    white = {"red": 1, "green": 1, "blue": 1}
    assert backgrounds == [[white, white], [GREEN] * 3, [RED] * 3, [GREEN] * 3, [white]]
    assert rows[1][0]["effectiveFormat"]["backgroundColorStyle"] == {"rgbColor": GREEN}
    tab.update_acell("B3", "running")
    assert cells(raw, "A3", wanted)[0][0]["effectiveFormat"]["backgroundColor"] == GREEN


def test_colours_stay_with_their_rows_when_rows_and_columns_are_inserted(raw: Raw, tab: gspread.Worksheet):
    tab.update([["id", "status"], ["a", "running"], ["b", "failed"]])
    raw.batch(colour_rule('=$B2="failed"', RED, startRowIndex=1, endRowIndex=3, endColumnIndex=1))
    tab.insert_row(["new"], index=2)
    tab.insert_cols([["more"]], col=2)
    rule = raw.get(fields="sheets.conditionalFormats").json()["sheets"][0]["conditionalFormats"][0]
    assert rule["booleanRule"]["condition"]["values"] == [{"userEnteredValue": '=$C3="failed"'}]
    rows = cells(raw, "A1:A5", "effectiveFormat.backgroundColor")
    assert [row[0]["effectiveFormat"]["backgroundColor"] == RED for row in rows] == [False, False, False, True]


@pytest.mark.parametrize(
    ("formula", "coloured"),
    [
        ('=AND($A1="x",$B1>2)', [True, False, False]),
        ('=OR($A1="y", NOT($B1<>1))', [False, True, True]),
        ("=ISBLANK($C1)", [True, True, False]),
        ('=$A$1="x"', [True, True, True]),
        ("=$B1>=LEN($A1&$A1)", [True, False, False]),
        ('=A1="x"', [True, False, False]),
    ],
)
def test_simple_formulas_are_evaluated(raw: Raw, tab: gspread.Worksheet, formula: str, coloured: list[bool]):
    tab.update([["x", 3], ["y", 1], ["z", 1, "c"]])
    raw.batch(colour_rule(formula, RED, endColumnIndex=1, endRowIndex=3))
    rows = cells(raw, "A1:A3", "effectiveFormat.backgroundColor")
    assert [row[0]["effectiveFormat"]["backgroundColor"] == RED for row in rows] == coloured


def test_a_condition_on_the_cells_own_text(raw: Raw, tab: gspread.Worksheet):
    tab.update([["running"], ["failed"]])
    condition = {"type": "TEXT_EQ", "values": [{"userEnteredValue": "failed"}]}
    look = {"backgroundColor": RED, "textFormat": {"bold": True}}
    rule = {"ranges": [{"sheetId": 0, "endColumnIndex": 1}], "booleanRule": {"condition": condition, "format": look}}
    raw.batch({"addConditionalFormatRule": {"rule": rule, "index": 0}})
    rows = cells(raw, "A1:A2", "effectiveFormat(backgroundColor,textFormat.bold)")
    assert [row[0]["effectiveFormat"]["textFormat"]["bold"] for row in rows] == [False, True]


def test_a_formula_that_cannot_be_evaluated_is_refused_not_ignored(raw: Raw):
    answer = raw.batch(colour_rule("=VLOOKUP(A1,B:C,2)", RED))
    assert answer.status_code == 501
    assert "VLOOKUP" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("formula", "effective", "text"),
    [
        ('=HYPERLINK("https://x.test/1","log")', {"stringValue": "log"}, "log"),
        ('="a ""b"""', {"stringValue": 'a "b"'}, 'a "b"'),
        ("=TRUE", {"boolValue": True}, "TRUE"),
        ("=0.5", {"numberValue": 0.5}, "0.5"),
        ("=SPARKLINE({1,2,3})", None, None),
    ],
)
def test_literal_formulas_have_their_value_and_a_sparkline_none(raw: Raw, formula: str, effective: Any, text: Any):
    raw.batch(typed({"formulaValue": formula}))
    ((cell,),) = cells(raw, "A1", "userEnteredValue,effectiveValue,formattedValue")
    assert cell["userEnteredValue"] == {"formulaValue": formula}
    assert (cell.get("effectiveValue"), cell.get("formattedValue")) == (effective, text)


@pytest.mark.parametrize(
    ("number", "pattern", "text"),
    [
        (0.1, None, "0.1"),
        (1e-5, None, "0.00001"),
        (1.5e-12, None, "1.5E-12"),
        (1e21, None, "1E+21"),
        (123456789, None, "123456789"),
        (-0.0, None, "0"),
        (0.1 + 0.2, None, "0.3"),
        (1234.5, "#,##0.00", "1,234.50"),
        (0.256, "0%", "26%"),
        (0.000123, "0.00E+00", "1.23E-04"),
        (2.5, "0.0##", "2.5"),
        (5, "000", "005"),
    ],
)
def test_numbers_are_shown_as_a_sheet_shows_them(raw: Raw, number: float, pattern: str | None, text: str):
    look = {"numberFormat": {"type": "NUMBER", "pattern": pattern}} if pattern else {}
    cell = {"userEnteredValue": {"numberValue": number}, "userEnteredFormat": look}
    raw.batch({"repeatCell": {"range": {"endRowIndex": 1, "endColumnIndex": 1}, "cell": cell, "fields": "*"}})
    assert cells(raw, "A1", "formattedValue") == [[{"formattedValue": text}]]
