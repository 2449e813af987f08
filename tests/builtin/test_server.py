"""Start and stop, durability, and one owner of the file."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from sheetd.sheets.builtin.draft import Draft
from sheetd.sheets.builtin.problems import ApiError, invalid
from sheetd.sheets.builtin.server import SheetServer
from sheetd.sheets.builtin.store import Store, StoreInUseError, StoreUnusableError
from sheetd.sheets.builtin.typed import with_entered
from tests.builtin.conftest import Raw
from tests.builtin.page_client import Page


def type_into(store: Store, key: str, row: int, text: str) -> None:
    def change(draft: Draft) -> None:
        sheet = draft.sheet(0)
        sheet.put(row, 0, with_entered(sheet.cell(row, 0), text))

    store.transact(key, "test", ("cells",), change)


def test_a_full_disk_is_said_once_and_nothing_typed_is_lost(
    server: SheetServer, raw: Raw, caplog: pytest.LogCaptureFixture
):
    database = server.store._database
    long = {"rows": [{"values": [{"userEnteredValue": {"stringValue": "x" * 40_000}}]}], "fields": "userEnteredValue"}
    update = {"updateCells": {**long, "start": {"sheetId": 0, "rowIndex": 1, "columnIndex": 1}}}
    with Page(server, raw.key) as page:
        page.hello()
        op = {"op": "cells", "cells": [[page.rows[0], page.columns[0]["id"], "y" * 40_000]]}
        database.execute("PRAGMA max_page_count = 1")  # none but those that there are
        for _ in range(3):
            answer = raw.batch(update)
            assert (answer.status_code, answer.json()["error"]["status"]) == (503, "UNAVAILABLE")
            assert "database or disk is full" in answer.json()["error"]["message"]
        with pytest.raises(ConnectionClosed) as closed:
            page.edit(op, seq=1)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1013, "the page comes back and tries again"
    assert [(record.levelname, record.exc_info) for record in caplog.records] == [("ERROR", None)]
    assert "cannot be saved (database or disk is full): free some space there" in caplog.text
    database.execute("PRAGMA max_page_count = 1000000")
    with Page(server, raw.key) as page:
        page.hello()
        assert page.edit(op, seq=1)["rejected"] == []
    assert raw.batch(update).status_code == 200
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert "is saved again" in caplog.text


def test_stopping_is_prompt_also_with_an_open_page_which_is_told_to_come_back(tmp_path: Path):
    server = SheetServer(tmp_path / "s").start()
    key = server.store.create_spreadsheet("x")
    with Page(server, key) as page:
        page.hello()
        before = time.monotonic()
        server.stop()
        took = time.monotonic() - before
        with pytest.raises(ConnectionClosed) as caught:
            page.socket.recv(10)
    assert took < 3
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1012
    assert not [thread for thread in threading.enumerate() if thread.name == "builtin-sheet"]


def test_small_answers_are_not_held_back_for_an_acknowledgement(raw: Raw):
    # Nagle's algorithm would add 40 ms to every one; the quickest of many shows it even on a busy machine.
    def once() -> float:
        before = time.perf_counter()
        raw.get(fields="spreadsheetId")
        return time.perf_counter() - before

    assert min(once() for _ in range(20)) < 0.03


def test_stopping_twice_or_before_a_start_does_no_harm(tmp_path: Path):
    server = SheetServer(tmp_path / "s")
    server.stop()
    server.start()
    server.stop()
    server.stop()


def test_a_server_can_be_started_again_on_its_port_and_file(tmp_path: Path):
    server = SheetServer(tmp_path / "s").start()
    port, key = server.port, server.store.create_spreadsheet("x")
    server.stop()
    with SheetServer(tmp_path / "s", port=port, token="t" * 43) as again:
        assert again.store.snapshot(key).title == "x"
        assert again.page_url(key) == f"http://127.0.0.1:{port}/?token={'t' * 43}&s={key}"


def test_a_taken_port_is_said_at_start(tmp_path: Path):
    with SheetServer(tmp_path / "a") as first, pytest.raises(OSError, match="in use"):
        SheetServer(tmp_path / "b", port=first.port).start()


def test_a_file_has_one_owner(tmp_path: Path):
    first = Store(tmp_path / "s")
    with pytest.raises(StoreInUseError, match="stop that one first"):
        Store(tmp_path / "s")
    first.close()
    Store(tmp_path / "s").close()


def test_a_file_of_a_later_version_is_refused_unharmed(tmp_path: Path):
    store = Store(tmp_path / "s")
    store._database.execute("PRAGMA user_version = 99")
    store.close()
    with pytest.raises(StoreUnusableError, match="later version"):
        Store(tmp_path / "s")


def test_a_file_that_is_no_sheet_is_refused_unharmed(tmp_path: Path):
    (tmp_path / "s").write_text("notes of mine" * 1000)
    with pytest.raises(StoreUnusableError, match="not a database"):
        Store(tmp_path / "s")
    assert (tmp_path / "s").read_text() == "notes of mine" * 1000


def test_the_file_is_for_its_owner_only(tmp_path: Path):
    store = Store(tmp_path / "s")
    store.create_spreadsheet("x")
    modes = {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    store.close()
    assert modes == {0o600}


def test_everything_committed_is_there_after_a_reopen(tmp_path: Path):
    store = Store(tmp_path / "s")
    key = store.create_spreadsheet("x")
    for row in range(5):
        type_into(store, key, row * 10, f"0.{row}0")
    before = store.snapshot(key)
    store.close()
    store = Store(tmp_path / "s")
    after = store.snapshot(key)
    store.close()
    assert (after.rev, after.title) == (before.rev, "x")
    assert [(row.id, row.cells) for row in after.sheets[0].rows] == [
        (row.id, row.cells) for row in before.sheets[0].rows
    ]
    assert after.sheets[0].cell(40, 0).typed == "0.40"


def test_a_revision_is_one_committed_transaction_and_no_change_is_none(tmp_path: Path):
    store = Store(tmp_path / "s")
    key = store.create_spreadsheet("x")
    type_into(store, key, 0, "a")
    type_into(store, key, 0, "a")
    type_into(store, key, 1, "b")
    assert [(rev, actor, kinds) for rev, _, actor, kinds in store.operations(key)] == [
        (1, "api", "create"),
        (2, "test", "cells"),
        (3, "test", "cells"),
    ]
    store.close()


def test_a_change_that_raises_leaves_no_trace(tmp_path: Path):
    store = Store(tmp_path / "s")
    key = store.create_spreadsheet("x")
    before = store.snapshot(key)

    def change(draft: Draft) -> None:
        draft.sheet(0).delete_rows(0, 10)
        raise invalid("no")

    with pytest.raises(ApiError):
        store.transact(key, "test", ("x",), change)
    assert store.snapshot(key) is before
    store.close()


def test_writers_in_many_threads_lose_nothing(tmp_path: Path):
    store = Store(tmp_path / "s")
    key = store.create_spreadsheet("x")
    writers = [
        threading.Thread(target=lambda n=n: [type_into(store, key, n * 10 + i, "x") for i in range(10)])
        for n in range(5)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    book = store.snapshot(key)
    assert book.rev == 51
    assert all(book.sheets[0].cell(row, 0).value == "x" for row in range(50))
    store.close()
