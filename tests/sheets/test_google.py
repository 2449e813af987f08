"""The adapter against a real built-in sheet: what a cycle costs, what a tab wears, what `init` writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sheetd.core.colours import ROW_COLOURS, Dress
from sheetd.core.grid import CellUpdate, Grid, SheetWrite
from sheetd.errors import SheetRefused, SheetUnavailable
from sheetd.sheets.google import GoogleSheet, open_builtin
from tests.sheets.builtin_rig import Address, BuiltinPerson, builtin_server

HEADER = ["template", "action", "status", "message", "lr", "id"]
TAB = "Experiments"


@pytest.fixture
def address(tmp_path: Path) -> Iterator[Address]:
    with builtin_server(tmp_path) as address:
        yield address


@pytest.fixture
def sheet(address: Address) -> Iterator[GoogleSheet]:
    sheet = address.open(TAB)
    sheet.create_tab_if_missing()
    sheet.write_header(HEADER)
    sheet.client.requests.clear()
    yield sheet
    sheet.close()


@pytest.fixture
def person(sheet: GoogleSheet, address: Address) -> Iterator[BuiltinPerson]:  # noqa: ARG001 - the tab has to exist
    person = BuiltinPerson(address, TAB)
    yield person
    person.http.close()


def dress_for(grid: Grid, **changes: object) -> Dress:
    wanted: dict[str, object] = {
        "tab_id": grid.tab_id,
        "status_column": 2,
        "action_column": 1,
        "template_column": 0,
        "owned_columns": (2, 3, 5),
        "column_count": len(HEADER),
        "templates": ("train", "eval"),
    }
    return Dress(**{**wanted, **changes})  # type: ignore[arg-type]


def status(grid: Grid, row: int, word: str) -> SheetWrite:
    return SheetWrite(tab_id=grid.tab_id, updates=(CellUpdate(row=row, column=2, value=word),))


def background(person: BuiltinPerson, row: int, column: int) -> tuple[float, float, float]:
    """The colour that the person sees."""
    fields = "sheets(data(rowData(values(effectiveFormat(backgroundColorStyle)))))"
    params = {"ranges": person.tab.title, "fields": fields}
    document = person.spreadsheet.fetch_sheet_metadata(params)
    cell = document["sheets"][0]["data"][0]["rowData"][row]["values"][column]
    colour = cell["effectiveFormat"]["backgroundColorStyle"]["rgbColor"]
    return (colour.get("red", 0.0), colour.get("green", 0.0), colour.get("blue", 0.0))


def test_an_idle_cycle_is_one_request_and_a_changed_one_two(sheet: GoogleSheet):
    sheet.read()
    sheet.client.requests.clear()
    sheet.read()
    assert sheet.client.requests == {"read": 1}
    sheet.client.requests.clear()
    sheet.write(status(sheet.read(), 1, "running"))
    assert sheet.client.requests == {"read": 1, "write": 1}


def test_a_renamed_tab_costs_two_more_requests_once(sheet: GoogleSheet, person: BuiltinPerson):
    sheet.read()
    person.rename_tab("Renamed")
    sheet.client.requests.clear()
    sheet.read()
    assert sheet.client.requests == {"read": 3}
    sheet.read()
    assert sheet.client.requests == {"read": 4}


def test_another_tab_that_took_the_old_title_is_never_taken_for_ours(sheet: GoogleSheet, person: BuiltinPerson):
    grid = sheet.read()
    person.rename_tab("Archive")
    person.spreadsheet.add_worksheet(TAB, 10, 10)
    assert (sheet.read().tab_id, sheet.read().title) == (grid.tab_id, "Archive")
    person.rename_tab("Archive 2")
    person.spreadsheet.add_worksheet("Archive", 10, 10)
    answer = sheet.write(status(grid, 1, "running"))
    assert (answer.tab_id, answer.cell(1, 2).value) == (grid.tab_id, "running")


def test_a_missing_tab_is_refused_with_the_names_of_those_there_are(address: Address):
    other = address.open("Other")
    with pytest.raises(SheetRefused, match=r"no tab 'Other', only 'Sheet1'"):
        other.read()
    other.close()


def test_a_wrong_key_and_a_wrong_token_are_refused(address: Address):
    stranger = open_builtin(address.base_url, "wrong", address.key, TAB)
    lost = open_builtin(address.base_url, address.token, "nokey", TAB)
    with pytest.raises(SheetRefused, match="restart sheetd"):
        stranger.read()
    with pytest.raises(SheetRefused, match="no such spreadsheet"):
        lost.read()
    stranger.close()
    lost.close()


def test_a_closed_sheet_sends_nothing(sheet: GoogleSheet):
    sheet.close()
    with pytest.raises(SheetUnavailable, match="closed"):
        sheet.read()


def test_the_header_is_written_to_an_empty_tab_only(sheet: GoogleSheet, person: BuiltinPerson):
    assert [cell.value for cell in sheet.read().rows[0]] == HEADER
    person.enter(0, 0, "mine")
    assert not sheet.write_header(HEADER)
    assert sheet.read().cell(0, 0).value == "mine"


def test_a_header_wider_than_the_tab_makes_the_tab_wider(address: Address):
    sheet = address.open("Sheet1")
    headers = [f"column {number}" for number in range(40)]
    assert sheet.write_header(headers)
    assert [cell.value for cell in sheet.read().rows[0]] == headers
    sheet.close()


def test_a_tab_is_created_once(address: Address):
    sheet = address.open("Hosts")
    assert sheet.create_tab_if_missing(columns=30)
    assert not sheet.create_tab_if_missing()
    assert sheet.read().column_count == 30
    sheet.close()


def test_a_person_sees_the_row_in_the_colour_of_its_status(sheet: GoogleSheet, person: BuiltinPerson):
    grid = sheet.write(status(sheet.read(), 1, "running"))
    sheet.write(status(grid, 2, "failed"))
    assert sheet.dress(dress_for(grid))
    assert background(person, 1, 0) == pytest.approx(ROW_COLOURS["running"], abs=0.005)
    assert background(person, 2, 4) == pytest.approx(ROW_COLOURS["failed"], abs=0.005)


def test_a_dressed_tab_costs_one_read_to_check(sheet: GoogleSheet):
    dress = dress_for(sheet.read())
    sheet.dress(dress)
    sheet.client.requests.clear()
    assert not sheet.dress(dress)
    assert sheet.client.requests == {"read": 1}


def test_what_a_person_adds_or_deletes_is_kept_or_restored(sheet: GoogleSheet, person: BuiltinPerson):
    dress = dress_for(sheet.read())
    sheet.dress(dress)
    own = {
        "ranges": [{"sheetId": dress.tab_id, "startRowIndex": 1}],
        "booleanRule": {
            "condition": {"type": "TEXT_EQ", "values": [{"userEnteredValue": "high"}]},
            "format": {"backgroundColorStyle": {"rgbColor": {"red": 1.0}}},
        },
    }
    person.batch(
        {"deleteConditionalFormatRule": {"sheetId": dress.tab_id, "index": 2}},
        {"addConditionalFormatRule": {"index": 0, "rule": own}},
    )
    assert sheet.dress(dress)
    assert not sheet.dress(dress)
    metadata = person.spreadsheet.fetch_sheet_metadata({"fields": "sheets(properties(title),conditionalFormats)"})
    rules = next(tab for tab in metadata["sheets"] if tab["properties"]["title"] == TAB)["conditionalFormats"]
    assert len(rules) == len(ROW_COLOURS) + 1
    assert rules[0]["booleanRule"]["condition"] == own["booleanRule"]["condition"]


def test_columns_that_moved_since_the_last_read_are_dressed_next_time(sheet: GoogleSheet, person: BuiltinPerson):
    dress = dress_for(sheet.read())
    person.tab.insert_cols([["new"]], 1)
    assert not sheet.dress(dress)
    sheet.read()
    assert sheet.dress(
        dress_for(sheet.read(), status_column=3, action_column=2, template_column=1, owned_columns=(3, 4, 6))
    )


def test_rows_added_below_get_their_dropdown(sheet: GoogleSheet, person: BuiltinPerson):
    grid = sheet.read()
    dress = dress_for(grid)
    sheet.dress(dress)
    person.tab.add_rows(50)
    assert sheet.dress(dress)
    assert not sheet.dress(dress)
