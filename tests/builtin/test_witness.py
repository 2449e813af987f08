"""The witness around every built-in sheet: what does not conform is found, and said with its place."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sheetd.errors import SheetRefused
from sheetd.sheets.builtin import batch
from sheetd.sheets.google import open_builtin
from tests.acceptance.meddler import Meddler
from tests.builtin import witness
from tests.builtin.children import watched_children
from tests.builtin.conftest import Raw
from tests.builtin.witness import Exchange, judged
from tests.sheets.builtin_rig import builtin_server, builtin_sheet
from tests.sheets.unruly import Reply, tab, unruly

BOOK = "/v4/spreadsheets/key"
JSON = {"content-type": "application/json; charset=utf-8"}


def exchange(agent: str = "sheetd/1", answer: Any = None, **told: Any) -> Exchange:
    content = b'{"spreadsheetId": "key"}' if answer is None else json.dumps(answer).encode()
    default = {"verb": "GET", "url": BOOK, "body": b"", "status": 200, "headers": JSON, "answer": content}
    return Exchange(agent=agent, **{**default, **told})


def test_what_conforms_is_passed_over():
    assert judged(exchange()) == []


def test_what_sheetd_sends_must_conform_also_where_it_is_refused():
    refused = {"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}}
    (found,) = judged(exchange(url=f"{BOOK}?field=x", status=400, answer=refused))
    assert found == "sheetd sent GET /v4/spreadsheets/key: sheets.spreadsheets.get: there is no query parameter field"


def test_what_others_send_must_conform_only_where_it_is_not_refused():
    refused = {"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}}
    assert judged(exchange("gspread", url=f"{BOOK}?field=x", status=400, answer=refused)) == []
    (found,) = judged(exchange("gspread", url=f"{BOOK}?field=x"))
    assert found.startswith("the built-in sheet took GET /v4/spreadsheets/key: ")


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"answer": {"spreadsheetID": "key"}}, "answer: unknown name 'spreadsheetID' in Spreadsheet"),
        ({"answer": {"sheets": []}, "url": f"{BOOK}?fields=spreadsheetId"}, "'sheets' was not asked for"),
        ({"headers": {"content-type": "text/html"}}, "an answer of text/html where JSON is wanted"),
        ({"answer": float("nan")}, "not JSON: b'NaN'"),
        ({"status": 404}, "is not an error of Google's"),
        ({"status": 401}, "401 without WWW-Authenticate: Bearer"),
        ({"status": 204, "verb": "DELETE", "url": "/drive/v3/files/id"}, "204 has no content"),
    ],
)
def test_an_answer_that_does_not_conform_is_found_whoever_asked(told: Any, said: str):
    found = judged(exchange(**told)) + judged(exchange("gspread", **told))
    assert len([one for one in found if one.startswith("the built-in sheet answered ") and said in one]) == 2


def test_a_body_that_was_refused_before_its_end_is_not_judged():
    refused = {"error": {"code": 400, "message": "too large", "status": "INVALID_ARGUMENT"}}
    told: Any = {"verb": "POST", "url": f"{BOOK}:batchUpdate", "body": b"{", "status": 400, "answer": refused}
    assert judged(exchange(**told, is_whole=False)) == []
    assert "not JSON" in judged(exchange(**told))[0]


def test_every_built_in_sheet_of_a_test_is_watched(raw: Raw, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(batch.KINDS, "deleteSheet", lambda *_: {"deleteShet": {}})
    raw.batch({"deleteSheet": {"sheetId": 0}})
    (found,) = witness.WITNESS.findings()
    assert f"the built-in sheet answered POST /v4/spreadsheets/{raw.key}:batchUpdate: " in found
    assert "answer.replies[0]: unknown name 'deleteShet' in Response" in found


def test_the_adapter_is_known_by_its_name_and_watched(tmp_path: Path):
    with builtin_sheet(tmp_path) as (sheet, _):
        with pytest.raises(SheetRefused):
            sheet._get([], "spreadsheetID")
        (found,) = witness.WITNESS.findings()
    assert found.startswith("sheetd sent GET ")
    assert found.endswith("'spreadsheetID' names 'spreadsheetID', which Spreadsheet does not have")


def test_what_is_sent_to_an_unruly_server_is_watched_too():
    with unruly(Reply(body=tab())) as server:
        sheet = open_builtin(server.base_url, "token", "key", "T")
        sheet._get([], "sheets(title)")
        sheet.close()
    (found,) = witness.WITNESS.findings()
    assert found.endswith("'sheets(title)' names 'title', which Sheet does not have")


def test_what_is_seen_again_is_not_judged_again():
    one = witness.Witness()
    for _ in range(3):
        one.see(exchange(answer=[]))
    assert len(one.findings()) == 1
    assert one.findings() == []


def test_the_sheet_of_another_process_is_watched(tmp_path: Path):
    asking = (
        "import requests, sys; from pathlib import Path\n"
        "from sheetd.sheets.builtin.server import SheetServer\n"
        "from sheetd.sheets.transport import loopback_session\n"
        "with SheetServer(Path(sys.argv[1])) as server:\n"
        "    loopback_session(server.base_url, server.token).get(server.base_url + '/v4/spreadsheets/x?field=y')\n"
    )
    with pytest.raises(AssertionError, match="there is no query parameter field"), watched_children(tmp_path):
        subprocess.run([sys.executable, "-c", asking, str(tmp_path / "sheet.sqlite")], check=True, timeout=60)


def test_the_witness_knows_whom_it_has_seen(raw: Raw, tmp_path_factory: pytest.TempPathFactory):
    ours, others = witness.WITNESS.ours, witness.WITNESS.others
    raw.get()
    assert (witness.WITNESS.ours, witness.WITNESS.others) == (ours, others + 1)
    with builtin_sheet(tmp_path_factory.mktemp("another")) as (sheet, _):
        sheet.read()
    assert witness.WITNESS.ours > ours


def test_a_person_in_front_of_the_adapter_does_not_hide_its_name(tmp_path: Path):
    """What stands between passes the name on, or the witness would take sheetd for somebody else."""
    with builtin_server(tmp_path) as address, Meddler(address.base_url, lambda: None) as url:
        sheet = open_builtin(url, address.token, address.key, "Sheet1")
        ours = witness.WITNESS.ours
        sheet.read()
        sheet.close()
    assert witness.WITNESS.ours == ours + 1
