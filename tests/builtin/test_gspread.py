"""What real gspread does against the built-in sheet, over HTTP, as it would against Google."""

from __future__ import annotations

import gspread
import pytest
from gspread.urls import SPREADSHEETS_API_V4_BASE_URL
from gspread.utils import ValueRenderOption

TABLE = [["lr", "steps", "note"], [0.1, 100, "a"], [0.01, 200, "b"], [0.5, 50, "c"]]


def test_a_new_spreadsheet_has_one_tab_of_googles_size(book: gspread.Spreadsheet):
    (tab,) = book.worksheets()
    assert (tab.title, tab.id, tab.row_count, tab.col_count) == ("Sheet1", 0, 1000, 26)


def test_a_spreadsheet_is_found_by_key_and_by_title_and_can_be_deleted(
    client: gspread.Client, book: gspread.Spreadsheet
):
    assert client.open_by_key(book.id).title == "Experiments"
    assert client.open("Experiments").id == book.id
    assert [found.id for found in client.openall()] == [book.id]
    client.del_spreadsheet(book.id)
    with pytest.raises(gspread.SpreadsheetNotFound):
        client.open_by_key(book.id)


def test_a_title_with_a_quote_is_found(client: gspread.Client):
    made = client.create("Anna's")
    assert client.open("Anna's").id == made.id


def test_copy_takes_everything_along_and_leaves_the_original_alone(
    client: gspread.Client, book: gspread.Spreadsheet, tab: gspread.Worksheet
):
    tab.update(TABLE)
    copy = client.copy(book.id, "Copy")
    copy.sheet1.update_acell("A2", "changed")
    assert tab.acell("A2").value == "0.1"
    assert copy.sheet1.get_all_values()[1:3] == [["changed", "100", "a"], ["0.01", "200", "b"]]


def test_sharing_is_remembered(book: gspread.Spreadsheet):
    book.share("someone@example.org", perm_type="user", role="writer")
    assert [item["role"] for item in book.list_permissions()] == ["owner", "writer"]
    book.remove_permissions("someone@example.org")
    assert len(book.list_permissions()) == 1


def test_a_spreadsheet_is_created_with_the_tabs_that_are_asked_for(client: gspread.Client):
    tabs = [{"properties": {"sheetId": 0, "title": "Runs"}}, {"properties": {"title": "Hosts", "index": 1}}]
    body = {"properties": {"title": "Made"}, "sheets": tabs}
    made = client.http_client.request("post", SPREADSHEETS_API_V4_BASE_URL, json=body).json()
    book = client.open_by_key(made["spreadsheetId"])
    assert (book.title, [tab.title for tab in book.worksheets()]) == ("Made", ["Runs", "Hosts"])
    assert book.sheet1.id == 0


def test_tabs_are_added_renamed_reordered_and_deleted(book: gspread.Spreadsheet):
    second = book.add_worksheet("Second", 10, 5)
    assert (second.row_count, second.col_count) == (10, 5)
    second.update_title("Zwei")
    second.update_index(0)
    assert [tab.title for tab in book.worksheets()] == ["Zwei", "Sheet1"]
    book.del_worksheet(book.worksheet("Zwei"))
    assert [tab.title for tab in book.worksheets()] == ["Sheet1"]
    with pytest.raises(gspread.exceptions.APIError, match="400"):
        book.del_worksheet(book.sheet1)
    with pytest.raises(gspread.WorksheetNotFound):
        book.worksheet("Zwei")


def test_a_tab_is_duplicated_with_its_content(tab: gspread.Worksheet):
    tab.update(TABLE)
    twin = tab.duplicate(new_sheet_name="Twin")
    assert twin.get_all_values() == tab.get_all_values()


def test_values_are_written_raw_and_read_as_they_are_shown(tab: gspread.Worksheet):
    tab.update(TABLE)
    assert tab.get_all_values() == [
        ["lr", "steps", "note"],
        ["0.1", "100", "a"],
        ["0.01", "200", "b"],
        ["0.5", "50", "c"],
    ]
    assert tab.get("A2:B2", value_render_option=ValueRenderOption.unformatted) == [[0.1, 100]]
    assert tab.row_values(3) == ["0.01", "200", "b"]
    assert tab.col_values(1) == ["lr", "0.1", "0.01", "0.5"]
    assert tab.acell("C4").value == "c"


def test_raw_text_that_looks_like_a_formula_or_a_number_stays_text(tab: gspread.Worksheet):
    tab.update([["=1+1", "0.1", "TRUE"]])
    assert tab.get(value_render_option=ValueRenderOption.unformatted) == [["=1+1", "0.1", "TRUE"]]


def test_user_entered_text_is_parsed_as_if_typed(tab: gspread.Worksheet):
    tab.update([["0.10", "1e-3", "1,000", "true", "'7", "=1+1", "x", " 5 "]], value_input_option="USER_ENTERED")
    assert tab.get(value_render_option=ValueRenderOption.unformatted) == [
        [0.1, 0.001, 1000, True, "7", "#NAME?", "x", 5]
    ]
    assert tab.get() == [["0.1", "0.001", "1,000", "TRUE", "7", "#NAME?", "x", "5"]]
    assert tab.get(value_render_option=ValueRenderOption.formula)[0][5] == "=1+1"


def test_a_decimal_comma_is_never_taken_for_thousands(tab: gspread.Worksheet):
    """`0,001` once became 1: a learning rate a thousand times as large, in a cell that then says `1`."""
    texts = ["0,001", "00,100", "-0,500", "1,00", "1,2345"]
    tab.update([texts], value_input_option="USER_ENTERED")
    assert tab.get(value_render_option=ValueRenderOption.unformatted) == [texts]


def test_update_cell_parses_as_gspread_asks(tab: gspread.Worksheet):
    tab.update_cell(2, 3, "0.25")
    assert tab.get("C2", value_render_option=ValueRenderOption.unformatted) == [[0.25]]


def test_batches_of_ranges_are_read_and_written(tab: gspread.Worksheet):
    tab.batch_update([{"range": "A1:B1", "values": [["x", "y"]]}, {"range": "A3", "values": [[1]]}])
    assert tab.batch_get(["A1:B1", "A2:B2", "A3"]) == [[["x", "y"]], [], [["1"]]]


def test_none_leaves_a_cell_alone_and_empty_text_clears_it(tab: gspread.Worksheet):
    tab.update([["a", "b", "c"]])
    tab.update([[None, "", "C"]])
    assert tab.get_all_values() == [["a", "", "C"]]


def test_reading_trims_empty_cells_and_rows_at_the_end(tab: gspread.Worksheet):
    tab.update([["a", ""], ["", ""], ["", "b"], ["", ""]])
    assert tab.get() == [["a"], [], ["", "b"]]
    assert tab.get("D5:E9") == [[]]


def test_rows_are_appended_below_the_table(tab: gspread.Worksheet):
    tab.append_row(["h1", "h2"])
    tab.append_rows([[1, 2], [3, 4]])
    answer = tab.append_row(["x"], table_range="A1")
    assert answer["updates"]["updatedRange"] == "Sheet1!A4"
    assert answer["tableRange"] == "Sheet1!A1:B3"
    assert tab.get_all_values() == [["h1", "h2"], ["1", "2"], ["3", "4"], ["x", ""]]


def test_appending_at_the_end_of_the_grid_adds_rows(book: gspread.Spreadsheet):
    small = book.add_worksheet("small", 2, 2)
    small.append_rows([["a", "b"], ["c", "d"], ["e", "f"]])
    assert book.worksheet("small").row_count == 3


def test_clear_removes_values_and_keeps_formats(tab: gspread.Worksheet):
    tab.update(TABLE)
    tab.format("A1", {"textFormat": {"bold": True}})
    tab.clear()
    assert tab.get_all_values() == [[]]
    tab.update(TABLE)
    tab.batch_clear(["A1:B2", "C4"])
    assert tab.get_all_values() == [["", "", "note"], ["", "", "a"], ["0.01", "200", "b"], ["0.5", "50", ""]]


def test_sort_moves_rows_inside_the_range_and_freeze_keeps_the_header(tab: gspread.Worksheet):
    tab.update(TABLE)
    tab.freeze(rows=1)
    tab.sort((1, "des"))
    assert [row[0] for row in tab.get_all_values()] == ["lr", "0.5", "0.1", "0.01"]
    tab.sort((2, "asc"), range="A2:C4")
    assert [row[1] for row in tab.get_all_values()] == ["steps", "50", "100", "200"]


def test_rows_are_inserted_and_deleted(tab: gspread.Worksheet):
    tab.update(TABLE)
    tab.insert_row(["new", 1], index=2)
    tab.insert_rows([["p"], ["q"]], row=2)
    assert [row[0] for row in tab.get_all_values()] == ["lr", "p", "q", "new", "0.1", "0.01", "0.5"]
    tab.delete_rows(2, 4)
    assert [row[0] for row in tab.get_all_values()] == ["lr", "0.1", "0.01", "0.5"]


def test_columns_are_inserted_and_deleted(tab: gspread.Worksheet):
    tab.update(TABLE)
    tab.insert_cols([["new", 7]], col=2)
    assert tab.row_values(1) == ["lr", "new", "steps", "note"]
    tab.delete_columns(1, 2)
    assert tab.row_values(1) == ["steps", "note"]


def test_resize_grows_and_shrinks(book: gspread.Spreadsheet, tab: gspread.Worksheet):
    tab.update(TABLE)
    tab.resize(rows=3, cols=2)
    assert tab.get_all_values() == [["lr", "steps"], ["0.1", "100"], ["0.01", "200"]]
    tab.add_rows(2)
    assert book.sheet1.row_count == 5


def test_find_finds_by_content(tab: gspread.Worksheet):
    tab.update(TABLE)
    assert (tab.find("b").row, tab.find("b").col) == (3, 3)
    assert tab.find("nowhere") is None


def test_notes_are_kept(tab: gspread.Worksheet):
    tab.update_note("B2", "why")
    assert tab.get_note("B2") == "why"
    tab.clear_note("B2")
    assert tab.get_note("B2") == ""


def test_merged_cells_protection_and_colours_are_kept(book: gspread.Spreadsheet, tab: gspread.Worksheet):
    tab.merge_cells("A1:B2")
    tab.add_protected_range("C1:C5", description="sheetd: status", warning_only=True)
    tab.update_tab_color("#ff0000")
    meta = book.fetch_sheet_metadata()["sheets"][0]
    assert meta["merges"] == [{"startRowIndex": 0, "endRowIndex": 2, "startColumnIndex": 0, "endColumnIndex": 2}]
    assert meta["protectedRanges"][0]["warningOnly"] is True
    assert meta["properties"]["tabColorStyle"] == {"rgbColor": {"red": 1}}


def test_errors_have_googles_shape(client: gspread.Client, book: gspread.Spreadsheet, tab: gspread.Worksheet):
    with pytest.raises(gspread.exceptions.APIError) as caught:
        tab.get("Nowhere!A1:B2:C3")
    assert (caught.value.code, caught.value.error["status"]) == (400, "INVALID_ARGUMENT")
    with pytest.raises(gspread.exceptions.APIError, match="exceeds grid limits"):
        tab.update([["x"]], "A1001")
    with pytest.raises(gspread.SpreadsheetNotFound):
        client.open_by_key("nothing")
    with pytest.raises(gspread.exceptions.APIError) as caught:
        book.batch_update({"requests": [{"addChart": {"chart": {}}}]})
    assert caught.value.code == 501
    assert "addChart" in str(caught.value)


def test_a_title_with_odd_characters_is_addressable(book: gspread.Spreadsheet):
    odd = book.add_worksheet("a/b 'c'!%:append", 5, 5)
    odd.update([["x"]])
    odd.append_row(["y"])
    assert odd.get_all_values() == [["x"], ["y"]]
