"""The live protocol: what a page sees and types, over a real WebSocket."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gspread
import pytest
from websockets.exceptions import ConnectionClosed

from sheetd.sheets.builtin.server import SheetServer
from tests.builtin.conftest import Raw
from tests.builtin.page_client import Page
from tests.builtin.test_typed_read import colour_rule


@pytest.fixture
def page(server: SheetServer, book: gspread.Spreadsheet) -> Iterator[Page]:
    with Page(server, book.id) as opened:
        yield opened


def protect(raw: Raw, description: str = "sheetd: written by the daemon") -> None:
    column = {"sheetId": 0, "startRowIndex": 1, "startColumnIndex": 2, "endColumnIndex": 3}
    protected = {"range": column, "description": description, "warningOnly": True}
    assert raw.batch({"addProtectedRange": {"protectedRange": protected}}).status_code == 200


def test_a_page_first_gets_the_whole_tab(page: Page, tab: gspread.Worksheet):
    tab.update([["lr", "'1"], [0.1, "1"]])
    message = page.hello()
    assert (message["t"], message["title"], message["tabs"]) == (
        "snapshot",
        "Experiments",
        [{"sheet": 0, "title": "Sheet1"}],
    )
    assert len(page.rows) == 1000
    assert [column["name"] for column in page.columns][:2] == ["A", "B"]
    assert page.cell(0, 0) == "lr"
    assert page.cell(1, 0) == {"v": "0.1", "k": "n"}
    assert page.cell(1, 1) == {"v": "1", "e": "'1"}, "text that looks like a number is edited as text"
    assert page.cell(2, 0) is None


def test_what_the_api_writes_reaches_the_page_as_one_patch(page: Page, tab: gspread.Worksheet):
    page.hello()
    tab.update([["x", None, "y"]])
    message = page.receive()
    assert message["t"] == "patch"
    assert message["actors"] == ["api"]
    assert (page.cell(0, 0), page.cell(0, 2)) == ("x", "y")


def test_typing_is_parsed_once_on_the_server_and_the_patch_comes_before_the_ack(page: Page, tab: gspread.Worksheet):
    page.hello()
    ack = page.type(0, 0, "1e-3")
    assert [message["t"] for message in page.messages] == ["snapshot", "patch", "ack"]
    assert ack["fixed"] == [[page.rows[0], page.columns[0]["id"], {"v": "0.001", "e": "1e-3", "k": "n"}]]
    assert ack["rejected"] == []
    assert tab.get(value_render_option="UNFORMATTED_VALUE") == [[0.001]]
    assert page.type(0, 1, "plain")["fixed"] == []
    page.type(0, 0, "")
    assert page.cell(0, 0) is None


def test_typed_text_is_kept_beside_the_value(page: Page):
    page.hello()
    page.type(0, 0, "0.10")
    assert page.cell(0, 0) == {"v": "0.1", "e": "0.10", "k": "n"}


def test_a_message_sent_again_is_answered_again_and_done_once(
    server: SheetServer, page: Page, book: gspread.Spreadsheet
):
    page.hello()
    op = {"op": "insert", "after": page.rows[0], "rows": 1}
    first = page.edit(op, seq=7)
    with Page(server, book.id) as returned:
        returned.hello()
        again = returned.edit(op, seq=7)
    assert again == first
    assert book.sheet1.row_count == 1001


def test_a_page_that_returns_is_caught_up_by_a_patch(server: SheetServer, page: Page, book: gspread.Spreadsheet):
    page.hello()
    page.type(0, 0, "before")
    seen = page.rev
    with Page(server, book.id, "another-client") as other:
        other.hello()
        other.type(1, 0, "meanwhile")
    page.socket.close()
    with Page(server, book.id) as returned:
        message = returned_hello(returned, page, seen)
    assert message["t"] == "patch"
    assert page.column(0, 2) == ["before", "meanwhile"]


def returned_hello(connection: Page, model: Page, since: int | None) -> dict[str, Any]:
    """Say hello on a new connection for the model of an old one."""
    connection.send({"t": "hello", "sheet": 0, "since": since, "client": model.client})
    model.socket = connection.socket
    model.rev = since
    model.settle((since or 0) + 1)
    return model.messages[-1]


def test_an_unknown_revision_is_answered_with_a_snapshot(page: Page):
    assert page.hello(sheet=0, since=999_999)["t"] == "snapshot"


def test_rows_keep_their_ids_when_others_come_go_and_are_sorted(page: Page, tab: gspread.Worksheet):
    tab.update([["name"], ["c"], ["a"], ["b"]])
    tab.freeze(rows=1)
    page.hello()
    ids = {page.shown(row, 0): page.rows[row] for row in range(4)}
    page.edit(
        {"op": "insert", "after": ids["name"], "rows": 2, "as": ["p", "q"]},
        {"op": "cells", "cells": [["q", page.columns[0]["id"], "new", None]]},
    )
    assert page.column(0, 6) == ["name", "", "new", "c", "a", "b"]
    page.edit({"op": "sort", "colId": page.columns[0]["id"], "desc": False})
    assert page.column(0, 6) == ["name", "a", "b", "c", "new", ""]
    assert {page.shown(row, 0): page.rows[row] for row in range(4)} == ids
    assert tab.col_values(1) == ["name", "a", "b", "c", "new"]


def test_undo_of_a_sort_puts_rows_back(page: Page, tab: gspread.Worksheet):
    tab.update([["c"], ["a"], ["b"]])
    page.hello()
    before = list(page.rows)
    page.edit({"op": "sort", "colId": page.columns[0]["id"], "desc": True})
    page.edit({"op": "order", "rows": before})
    assert page.rows == before
    assert tab.col_values(1) == ["c", "a", "b"]


def test_deleted_rows_come_back_with_id_content_and_place(page: Page, tab: gspread.Worksheet):
    tab.update([["a"], ["b"], ["c"], ["d"]])
    page.hello()
    before = list(page.rows)
    page.edit({"op": "delete", "ids": before[1:3]})
    assert page.column(0, 2) == ["a", "d"]
    page.edit({"op": "restore", "ids": before[1:3]})
    assert page.rows == before
    assert page.column(0, 4) == ["a", "b", "c", "d"]


def test_restoring_survives_a_restart_and_lost_neighbours(tmp_path: Path):
    path = tmp_path / "other.sqlite"
    with SheetServer(path) as server:
        key = server.store.create_spreadsheet("x")
        with Page(server, key) as page:
            page.hello()
            page.edit({"op": "cells", "cells": [[page.rows[i], 1, name, None] for i, name in enumerate("abcd")]})
            ids = list(page.rows)
            page.edit({"op": "delete", "ids": [ids[2]]})
            page.edit({"op": "delete", "ids": [ids[1]]})
    with SheetServer(path) as server, Page(server, key, "another-client") as page:
        page.hello()
        page.edit({"op": "restore", "ids": [ids[2]]})
        assert page.column(0, 3) == ["a", "c", "d"]
        page.edit({"op": "restore", "ids": [ids[1]]})
        assert page.column(0, 4) == ["a", "b", "c", "d"]


def test_an_insert_after_a_deleted_row_falls_to_the_nearest_earlier_survivor(page: Page, tab: gspread.Worksheet):
    tab.update([["a"], ["b"], ["c"], ["d"]])
    page.hello()
    b, c = page.rows[1:3]
    page.edit({"op": "delete", "ids": [c]})
    page.edit({"op": "delete", "ids": [b]})
    page.edit(
        {"op": "insert", "after": c, "rows": 1, "as": ["n"]},
        {"op": "cells", "cells": [["n", page.columns[0]["id"], "here", None]]},
    )
    assert page.column(0, 3) == ["a", "here", "d"]


def test_an_edit_of_a_deleted_row_is_refused_with_its_text(page: Page):
    page.hello()
    gone = page.rows[3]
    page.edit({"op": "delete", "ids": [gone]})
    ack = page.edit({"op": "cells", "cells": [[gone, page.columns[0]["id"], "precious", None]]})
    (rejected,) = ack["rejected"]
    assert (rejected["code"], rejected["text"], rejected["cell"]) == ("gone", "precious", [gone, page.columns[0]["id"]])


def test_a_column_of_sheetd_is_marked_and_refuses_edits_while_the_rest_is_done(
    page: Page, raw: Raw, tab: gspread.Worksheet
):
    protect(raw)
    page.hello()
    assert page.columns[2] == {"id": 3, "name": "C", "width": None, "owned": True, "ownedFrom": 1}
    assert "owned" not in page.columns[1]
    ack = page.edit({"op": "cells", "cells": [[page.rows[1], 3, "mine", None], [page.rows[1], 2, "ok", None]]})
    assert [(item["code"], item["text"]) for item in ack["rejected"]] == [("owned", "mine")]
    assert tab.row_values(2) == ["", "ok"]
    assert page.edit({"op": "cells", "cells": [[page.rows[0], 3, "header", None]]})["rejected"] == []
    tab.update_acell("C2", "by the daemon")
    page.settle((page.rev or 0) + 1)
    assert page.cell(1, 2) == "by the daemon"


def test_a_protection_of_somebody_else_owns_nothing(page: Page, raw: Raw):
    protect(raw, "please do not touch")
    page.hello()
    assert "owned" not in page.columns[2]


def test_last_writer_wins_and_the_overwritten_text_is_told(page: Page, tab: gspread.Worksheet):
    page.hello()
    page.type(0, 0, "mine")
    tab.update_acell("A1", "theirs")
    ack = page.type(0, 0, "mine again", was="mine")
    assert ack["conflicts"] == [[page.rows[0], page.columns[0]["id"], "theirs"]]
    assert tab.acell("A1").value == "mine again"
    assert page.type(0, 0, "x", was="mine again")["conflicts"] == []


def test_colours_of_conditional_rules_come_with_the_cells(page: Page, raw: Raw, tab: gspread.Worksheet):
    tab.update([["id", "status"], ["a", ""]])
    raw.batch(colour_rule('=$B2="running"', {"green": 1}, startRowIndex=1, endColumnIndex=3))
    page.hello()
    tab.update_acell("B2", "running")
    patch = page.receive()
    assert [cell for _, _, cell in patch["ops"][0]["cells"]] == [
        {"v": "a", "bg": "#00ff00"},
        {"v": "running", "bg": "#00ff00"},
        {"bg": "#00ff00"},
    ]
    raw.batch({"deleteConditionalFormatRule": {"sheetId": 0, "index": 0}})
    page.receive()
    assert [page.cell(1, column) for column in range(3)] == ["a", "running", None]


def test_a_row_inserted_by_a_person_above_coloured_rows_costs_a_small_patch(
    page: Page, raw: Raw, tab: gspread.Worksheet
):
    tab.update([["id", "status"], *[["a", "running"]] * 50])
    raw.batch(colour_rule('=$B2="running"', {"green": 1}, startRowIndex=1, endRowIndex=1000, endColumnIndex=3))
    page.hello()
    page.edit({"op": "insert", "after": page.rows[0], "rows": 1})
    patch = next(message for message in page.messages if message["t"] == "patch")
    assert [op["op"] for op in patch["ops"]] == ["insert"]
    assert page.cell(2, 0) == {"v": "a", "bg": "#00ff00"}


def test_a_dropdown_comes_with_its_words_and_a_strict_one_refuses_others(page: Page, raw: Raw):
    values = [{"userEnteredValue": word} for word in ("run", "stop")]
    rule = {"condition": {"type": "ONE_OF_LIST", "values": values}, "strict": True}
    raw.batch({"setDataValidation": {"range": {"sheetId": 0, "endRowIndex": 5, "endColumnIndex": 1}, "rule": rule}})
    page.hello()
    assert page.rules[page.cell(0, 0)["d"]] == {"type": "list", "values": ["run", "stop"], "strict": True}
    assert page.type(0, 0, "run")["rejected"] == []
    (rejected,) = page.type(0, 0, "rnu")["rejected"]
    assert (rejected["code"], rejected["why"]) == ("invalid", "This cell takes one of: run, stop")
    assert page.shown(0, 0) == "run"


def test_a_sparkline_comes_as_numbers_to_draw(page: Page, raw: Raw):
    formula = '=SPARKLINE({1,2.5,-3},{"charttype","column";"color","#00aa00"})'
    cell = {"userEnteredValue": {"formulaValue": formula}}
    raw.batch({"updateCells": {"start": {}, "rows": [{"values": [cell]}], "fields": "userEnteredValue"}})
    page.hello()
    wire = page.cell(0, 0)
    assert wire["spark"] == {"values": [1, 2.5, -3], "type": "column", "color": "#00aa00"}
    assert "v" not in wire


def test_a_link_that_would_run_script_is_not_a_link(page: Page, raw: Raw):
    cells = [
        {"userEnteredValue": {"formulaValue": '=HYPERLINK("javascript:alert(1)","x")'}},
        {"userEnteredValue": {"formulaValue": '=HYPERLINK("https://ok.test","y")'}},
    ]
    raw.batch({"updateCells": {"start": {}, "rows": [{"values": cells}], "fields": "userEnteredValue"}})
    page.hello()
    assert "link" not in page.cell(0, 0)
    assert page.cell(0, 1)["link"] == "https://ok.test"


def test_notes_widths_columns_and_tabs_are_edited(page: Page, book: gspread.Spreadsheet):
    page.hello()
    row, column = page.rows[0], page.columns[0]["id"]
    page.edit({"op": "note", "cell": [row, column], "text": "remember"})
    assert page.cell(0, 0) == {"note": "remember"}
    page.edit({"op": "width", "colId": column, "width": 222})
    assert page.columns[0]["width"] == 222
    ack = page.edit({"op": "insertColumns", "after": column, "columns": 1, "as": ["k"]})
    assert page.columns[1]["id"] == ack["ids"]["k"]
    page.edit({"op": "deleteColumns", "ids": [ack["ids"]["k"]]})
    assert len(page.columns) == 26
    page.edit({"op": "addTab", "title": "Hosts"})
    page.edit({"op": "renameTab", "sheet": 0, "title": "Runs"})
    assert [item["title"] for item in page.tabs] == ["Runs", "Hosts"] == [item.title for item in book.worksheets()]


def test_a_page_whose_tab_is_deleted_is_shown_another(page: Page, book: gspread.Spreadsheet):
    other = book.add_worksheet("Other", 5, 5)
    page.hello(sheet=other.id)
    assert page.sheet == other.id
    book.del_worksheet(other)
    assert page.receive()["t"] == "snapshot"
    assert page.sheet == 0


def test_a_message_that_cannot_be_done_is_refused_whole(page: Page, tab: gspread.Worksheet):
    page.hello()
    ack = page.edit({"op": "cells", "cells": [[page.rows[0], 1, "lost", None]]}, {"op": "deleteTab", "sheet": 0})
    (rejected,) = ack["rejected"]
    assert (rejected["cell"], rejected["code"]) == (None, "refused")
    assert tab.get_all_values() == [[]]


@pytest.mark.parametrize(
    "message",
    ["not json", "[]", '{"t":"edit"}', '{"t":"hello"}', '{"t":"hello","client":"<script>"}', '{"t":"nonsense"}'],
)
def test_malformed_messages_close_the_connection_with_a_reason(page: Page, message: str):
    page.socket.send(message)
    with pytest.raises(ConnectionClosed) as caught:
        page.socket.recv(10)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 4400
    assert caught.value.rcvd.reason


def test_an_unknown_spreadsheet_closes_with_its_own_code(server: SheetServer):
    with Page(server, "nothing") as page:
        page.send({"t": "hello", "sheet": None, "since": None, "client": "test-client"})
        with pytest.raises(ConnectionClosed) as caught:
            page.socket.recv(10)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 4404


def test_after_any_mix_of_changes_the_page_shows_what_the_store_holds(page: Page, raw: Raw, tab: gspread.Worksheet):
    chance = random.Random(20240229)
    tab.resize(rows=30, cols=6)
    raw.batch(
        colour_rule('=$B2="r"', {"green": 1}, startRowIndex=1, endRowIndex=30, endColumnIndex=4),
        colour_rule('=B3="q"', {"red": 1}, startRowIndex=2, endColumnIndex=3),
    )
    page.hello()
    for _ in range(60):
        step = chance.randrange(6)
        row, column = chance.randrange(len(page.rows)), chance.randrange(6)
        if step < 2:
            page.type(row, column, chance.choice(["r", "q", "1", "", "text"]))
        elif step == 2:
            page.edit({"op": "insert", "after": page.rows[row], "rows": chance.randint(1, 3)})
        elif step == 3 and len(page.rows) > 10:
            page.edit({"op": "delete", "ids": chance.sample(page.rows, 2)})
        elif step == 4:
            page.edit({"op": "sort", "colId": page.columns[column]["id"], "desc": bool(chance.getrandbits(1))})
        else:
            tab.update([[chance.choice(["r", "q", 5]) for _ in range(4)]], f"A{row + 1}")
    page.edit({"op": "cells", "cells": []})
    mirror = (list(page.rows), dict(page.cells))
    assert page.hello(sheet=0)["t"] == "snapshot"
    assert mirror == (page.rows, page.cells)
