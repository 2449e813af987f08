"""The check against Google's documents itself: it must be able to say no."""

from __future__ import annotations

import pytest

from sheetd.sheets.builtin import batch
from tests.builtin import discovery
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
