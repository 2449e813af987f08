"""The check against Google's documents itself: it must be able to say no."""

from __future__ import annotations

import re

import pytest

from sheetd.sheets.builtin import batch
from tests.builtin import discovery, witness
from tests.builtin.conftest import Raw
from tests.builtin.discovery import MismatchError, check

ROOT = "http://127.0.0.1:1/v4/spreadsheets/key"


def test_every_kind_of_request_that_google_has_is_either_done_or_refused_by_name():
    assert set(batch.KINDS) | batch.GOOGLE_ONLY == discovery.request_kinds()
    assert not set(batch.KINDS) & batch.GOOGLE_ONLY


@pytest.mark.parametrize(
    ("verb", "path", "body", "answer"),
    [
        ("GET", "/nothing/here", None, {}),
        ("GET", "?unknown=1", None, {}),
        ("GET", "?includeGridData=perhaps", None, {}),
        ("GET", "/values/A1?valueRenderOption=NICE", None, {}),
        ("GET", "", None, {"spreadsheetId": 5}),
        ("GET", "", None, {"spreadsheetID": "x"}),
        ("GET", "", None, {"sheets": [{"properties": {"sheetType": "ROUND"}}]}),
        ("GET", "", None, {"sheets": [{"properties": {"title": None}}]}),
        ("GET", "", None, {"sheets": {"properties": {}}}),
        ("POST", ":batchUpdate", {"requests": [{"updateCell": {}}]}, {}),
        ("POST", ":batchUpdate", {"requests": [{"updateCells": {"rows": [{"values": [{"note": 5}]}]}}]}, {}),
        ("GET", "", {"a": 1}, {}),
    ],
)
def test_what_google_does_not_know_is_a_mismatch(verb: str, path: str, body: object, answer: object):
    with pytest.raises(MismatchError):
        check(verb, ROOT + path, body, 200, answer)


def test_an_error_without_googles_shape_is_a_mismatch():
    with pytest.raises(MismatchError):
        check("GET", ROOT, None, 404, {"detail": "not found"})
    check("GET", ROOT, None, 404, {"error": {"code": 404, "message": "x", "status": "NOT_FOUND"}})


def test_what_google_knows_passes():
    check("GET", f"{ROOT}?ranges=A1&ranges=B1&fields=sheets", None, 200, {"sheets": [{"properties": {"sheetId": 0}}]})
    check(
        "POST", f"{ROOT}/values/A1:append?valueInputOption=RAW", {"values": [["x", None]]}, 200, {"spreadsheetId": "k"}
    )


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("?fields=sheets(properties(title),nothing)", None, "there is no field sheets.nothing"),
        ("?fields=sheets(properties", None, "a bracket is open"),
        ("?fields=sheets,", None, "a name is wanted"),
        ("?fields=sheets.properties..title", None, "a name is wanted"),
        ("?fields=", None, "is no mask of fields"),
        ("?includeGridData=true&includeGridData=true", None, "takes the query parameter includeGridData once"),
        (
            ":batchUpdate",
            {"requests": [{"repeatCell": {"fields": "userEnteredFormat.colour"}}]},
            "no field userEntered",
        ),
        (":batchUpdate", {"requests": [{"updateSheetProperties": {"properties": {"title": "x"}}}]}, "is no mask"),
        (":batchUpdate", {"requests": [{"updateCells": {"fields": "note.text"}}]}, "there is no field note.text"),
        (":batchUpdate", {"requests": [{"deleteSheet": {"sheetId": 2**31}}]}, "is not a int32"),
        (":batchUpdate", {"requests": [{"deleteSheet": {"sheetId": "7"}}]}, "is not a int32"),
        (":batchUpdate", {"requests": [{"deleteSheet": {"sheetId": 1.5}}]}, "is not a int32"),
    ],
)
def test_each_strictness_can_say_no_and_says_where(path: str, body: object, says: str):
    with pytest.raises(MismatchError, match=re.escape(says)):
        check("GET" if body is None else "POST", ROOT + path, body, 200, {})


def test_masks_of_google_pass():
    for mask in ("*", "sheets/properties/title", "sheets(data(rowData(values(note,effectiveValue)))),spreadsheetId"):
        check("GET", f"{ROOT}?fields={mask}", None, 200, {})
    update = {"updateCells": {"fields": "note,userEnteredValue.numberValue"}}
    check("POST", f"{ROOT}:batchUpdate", {"requests": [update]}, 200, {})


@pytest.mark.parametrize("status", ["METHOD_NOT_ALLOWED", "NOT_FOUND", "", None])
def test_an_error_says_the_word_that_google_has_for_its_number(status: str | None):
    with pytest.raises(MismatchError):
        check("GET", ROOT, None, 400, {"error": {"code": 400, "message": "x", "status": status}})


def exchange(headers: dict[str, str], body: bytes, status: int, answer: bytes) -> list[str]:
    scope = {
        "method": "POST",
        "path": "/v4/spreadsheets/key:batchUpdate",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    witness.hold(scope, body, status, answer)
    return witness.take()


REFUSED = b'{"error": {"code": 400, "message": "x", "status": "INVALID_ARGUMENT"}}'


def test_the_witness_holds_sheetds_own_requests_to_more_than_those_of_others():
    wrong = b'{"requests": [{"nothing": {}}]}'
    assert exchange({"user-agent": "python-requests"}, wrong, 400, REFUSED) == []
    (said,) = exchange({"user-agent": "sheetd/1.0"}, wrong, 400, REFUSED)
    assert "unknown name 'nothing'" in said
    assert "of sheetd, answered 400" in said
    (said,) = exchange({}, wrong, 200, b"{}")
    assert "of a client, answered 200" in said


def test_the_witness_sees_what_a_server_answers_that_google_would_not():
    (said,) = exchange({}, b'{"requests": []}', 400, b'{"error": "no"}')
    assert "not Google's error shape" in said
    (said,) = exchange({}, b'{"requests": []}', 200, b'{"spreadsheet": "x"}')
    assert "unknown name 'spreadsheet'" in said


def test_every_sheet_that_a_test_starts_is_witnessed(raw: Raw):
    before = witness.seen()
    raw.get()
    assert witness.seen()["requests"] == before["requests"] + 1
