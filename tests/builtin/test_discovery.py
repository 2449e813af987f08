"""The check against Google's documents itself: it must be able to say no, and say where."""

from __future__ import annotations

from typing import Any

import pytest

from sheetd.sheets.builtin import batch
from tests.builtin import discovery, masks
from tests.builtin.discovery import STATUSES, check_answer, check_error, check_request
from tests.builtin.mismatch import MismatchError
from tests.builtin.schemas import EXACTLY_ONE, ONE_OF, UPDATE_MASKS

BOOK = "/v4/spreadsheets/key"
FILES = "/drive/v3/files"
CELL = {"userEnteredValue": {"numberValue": 0.5}}


def change(kind: str, **payload: Any) -> dict[str, Any]:
    return {"requests": [{kind: payload}]}


def of_tab(**properties: Any) -> dict[str, Any]:
    return {"sheets": [{"properties": properties}]}


def test_every_kind_of_request_that_google_has_is_either_done_or_refused_by_name():
    assert set(batch.KINDS) | batch.GOOGLE_ONLY == discovery.request_kinds()
    assert not set(batch.KINDS) & batch.GOOGLE_ONLY


def test_what_is_added_to_the_documents_is_about_what_they_have():
    schemas = discovery.sheets_document()["schemas"]
    with_mask = {
        name
        for name, schema in schemas.items()
        for field in schema.get("properties", {}).values()
        if field.get("format") == "google-fieldmask"
    }
    assert set(UPDATE_MASKS) == with_mask
    for name, target in UPDATE_MASKS.items():
        assert target[1:] in schemas if target[0] == "#" else target in schemas[name]["properties"]
    assert EXACTLY_ONE <= ONE_OF <= set(schemas)


@pytest.mark.parametrize(
    ("verb", "url", "said"),
    [
        ("GET", "/v4/nothing/here", "Google has no GET /v4/nothing/here"),
        ("PUT", BOOK, "Google has no PUT"),
        ("POST", f"{BOOK}:batchupdate", "Google has no POST"),
        ("GET", "/v4/spreadsheets/", "Google has no GET"),
        ("GET", f"{BOOK}/developerMetadata/x", "get metadataId: 'x' is not a int32"),
        ("GET", f"{BOOK}/developerMetadata/2147483648", "metadataId: '2147483648' is not a int32"),
        ("GET", f"{BOOK}?unknown=1", "there is no query parameter unknown"),
        ("GET", f"{BOOK}?spreadsheetId=key", "there is no query parameter spreadsheetId"),
        ("GET", f"{BOOK}?includeGridData=perhaps", "includeGridData: 'perhaps' is not a boolean"),
        ("GET", f"{BOOK}?fields=sheets&fields=sheets", "the query parameter fields is there 2 times"),
        ("GET", f"{BOOK}/values/A1?valueRenderOption=NICE", "valueRenderOption: 'NICE' is not one of"),
        ("GET", f"{BOOK}?fields=sheets(title)", "'sheets(title)' names 'title', which Sheet does not have"),
        ("GET", f"{BOOK}?fields=", "'' is not a field mask"),
        ("GET", f"{FILES}/id/export", "the query parameter mimeType is missing"),
        ("GET", f"{FILES}?pageSize=1001", "pageSize: '1001' is not a int32 that is allowed"),
        ("DELETE", f"{FILES}/id?fields=id", "fields cannot choose from an answer of nothing"),
        ("GET", f"{FILES}?includeTheirs=true", "there is no query parameter includeTheirs"),
    ],
)
def test_a_request_to_an_address_that_google_does_not_have_is_a_mismatch(verb: str, url: str, said: str):
    with pytest.raises(MismatchError) as caught:
        check_request(verb, url, None)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([], "request: an object is wanted, not []"),
        ({"request": []}, "unknown name 'request' in BatchUpdateSpreadsheetRequest"),
        ({"requests": {}}, "request.requests: a list is wanted, not {}"),
        ({"requests": [None]}, "request.requests[0]: null where something is wanted"),
        ({"requests": [{}]}, "one field of Request is set, not []"),
        ({"requests": [{"deleteSheet": {}, "addSheet": {}}]}, "not ['addSheet', 'deleteSheet']"),
        ({"requests": [{"updateCell": {}}]}, "request.requests[0]: unknown name 'updateCell' in Request"),
        (change("deleteSheet", sheetId="0"), "deleteSheet.sheetId: '0' is not an int32"),
        (change("deleteSheet", sheetId=0.0), "deleteSheet.sheetId: 0.0 is not an int32"),
        (change("deleteSheet", sheetId=2**31), "deleteSheet.sheetId: 2147483648 is not an int32"),
        (change("deleteSheet", sheetId=True), "deleteSheet.sheetId: True is not an int32"),
        (change("findReplace", matchCase=1), "findReplace.matchCase: 1 is not a boolean"),
        (change("findReplace", find=5), "findReplace.find: 5 is not a string"),
        (change("insertDimension", range={"dimension": "ROW"}), "range.dimension: 'ROW' is not one of"),
        (change("insertDimension", range={"dimension": 1}), "range.dimension: 1 is not one of"),
        (change("appendCells", rows=[{"values": [CELL]}], sheetId=0), "appendCells.fields: an update needs a mask"),
        (change("appendCells", fields="userEntered"), "names 'userEntered', which CellData does not have"),
        (change("repeatCell", fields="note.text"), "'note.text' names 'text', which a scalar does not have"),
        (change("updateCells", fields="textFormatRuns.format"), "reaches into a list"),
        (change("updateCells", fields="note,"), "is not a field mask: a name is missing"),
        (change("updateCells", fields="note)"), "')' is out of place"),
        (change("updateCells", fields="user-entered"), "is not a field mask (at character 4)"),
        (change("updateCells", fields="*.note"), "nothing can follow *"),
        (
            change("updateCells", fields="note", rows=[{"values": [{"userEnteredValue": {"numberValue": "1"}}]}]),
            "rows[0].values[0].userEnteredValue.numberValue: '1' is not a number",
        ),
        (
            change("updateCells", fields="note", rows=[{"values": [{"userEnteredValue": {"a": 1}}]}]),
            "unknown name 'a' in ExtendedValue",
        ),
        (
            change(
                "updateCells",
                fields="note",
                rows=[{"values": [{"userEnteredValue": {"numberValue": 1, "stringValue": "1"}}]}],
            ),
            "one field of ExtendedValue is set",
        ),
    ],
)
def test_a_body_that_google_does_not_know_is_a_mismatch_that_says_where(body: Any, said: str):
    with pytest.raises(MismatchError) as caught:
        check_request("POST", f"{BOOK}:batchUpdate", body)
    assert str(caught.value).startswith("sheets.spreadsheets.batchUpdate request")
    assert said in str(caught.value)


def test_a_body_where_google_takes_none_is_a_mismatch():
    with pytest.raises(MismatchError, match=r"sheets\.spreadsheets\.get: takes no body"):
        check_request("GET", BOOK, {})


@pytest.mark.parametrize(
    ("verb", "url", "answer", "said"),
    [
        ("GET", BOOK, None, "answer: a Spreadsheet is wanted"),
        ("GET", BOOK, [], "an object is wanted"),
        ("GET", BOOK, {"spreadsheetId": 5}, "answer.spreadsheetId: 5 is not a string"),
        ("GET", BOOK, {"spreadsheetID": "x"}, "unknown name 'spreadsheetID' in Spreadsheet"),
        ("GET", BOOK, {"sheets": {}}, "answer.sheets: a list is wanted"),
        ("GET", BOOK, of_tab(sheetType="ROUND"), "answer.sheets[0].properties.sheetType: 'ROUND' is not one of"),
        ("GET", BOOK, of_tab(title=None), "properties.title: null where something is wanted"),
        ("GET", BOOK, of_tab(index=1.0), "properties.index: 1.0 is not an int32"),
        ("GET", BOOK, of_tab(hidden="true"), "properties.hidden: 'true' is not a boolean"),
        ("GET", f"{BOOK}?fields=spreadsheetId", of_tab(title="x"), "'sheets' was not asked for by fields"),
        ("GET", f"{BOOK}?fields=sheets/properties(title)", of_tab(index=1), "'index' was not asked for by fields"),
        ("GET", f"{BOOK}/values/A1", {"values": ["x"]}, "answer.values[0]: a list is wanted"),
        ("POST", f"{BOOK}:batchUpdate", {"replies": [None]}, "answer.replies[0]: null where something is wanted"),
        ("GET", f"{FILES}/id", {"version": 7}, "answer.version: 7 is not a int64 in a string"),
        ("GET", f"{FILES}/id", {"version": "7.0"}, "answer.version: '7.0' is not a int64"),
        ("GET", f"{FILES}/id", {"createdTime": "2024-02-29 12:00"}, "is not a date-time"),
        ("DELETE", f"{FILES}/id", {}, "answer: nothing is wanted"),
        ("POST", "/v4/nothing", {}, "Google has no POST /v4/nothing"),
    ],
)
def test_an_answer_that_google_would_not_give_is_a_mismatch(verb: str, url: str, answer: Any, said: str):
    with pytest.raises(MismatchError) as caught:
        check_answer(verb, url, 200, answer)
    assert said in str(caught.value)


def error(code: int, status: str, **more: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": "x", "status": status, **more}}


@pytest.mark.parametrize(
    ("status", "answer", "said"),
    [
        (404, None, "only an object `error` is wanted"),
        (404, {"detail": "not found"}, "only an object `error` is wanted"),
        (404, {**error(404, "NOT_FOUND"), "more": 1}, "only an object `error` is wanted"),
        (404, error(404, "NOT_FOUND", hint="?"), "unknown names ['hint']"),
        (404, error(400, "NOT_FOUND"), "code is 400"),
        (404, error(404, "INVALID_ARGUMENT"), "status is 'INVALID_ARGUMENT', not one of ['NOT_FOUND']"),
        (404, {"error": {"code": 404, "message": "x"}}, "status is None"),
        (404, {"error": {"code": 404, "message": "", "status": "NOT_FOUND"}}, "it has no message"),
        (404, error(404, "NOT_FOUND", details=[{}]), "a detail has no @type"),
        (405, error(405, "METHOD_NOT_ALLOWED"), "google.rpc.Code has nothing for it"),
        (413, error(413, "INVALID_ARGUMENT"), "google.rpc.Code has nothing for it"),
    ],
)
def test_an_error_without_googles_shape_is_a_mismatch(status: int, answer: Any, said: str):
    with pytest.raises(MismatchError) as caught:
        check_error(answer, status)
    assert said in str(caught.value)


ONE = {"domain": "global", "reason": "notFound", "message": "x"}


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ([], "Drive lists its errors"),
        ([{"domain": "global"}], "is not an error of Drive's"),
        ([{**ONE, "x": "y"}], "is not an error of Drive's"),
        ([{**ONE, "reason": 5}], "holds something else than text"),
    ],
)
def test_an_error_of_drive_lists_its_errors(errors: Any, said: str):
    with pytest.raises(MismatchError) as caught:
        check_error({"error": {"code": 404, "message": "x", "errors": errors}}, 404, is_drive=True)
    assert said in str(caught.value)
    check_error({"error": {"code": 404, "message": "x", "errors": [ONE]}}, 404, is_drive=True)


def test_every_canonical_error_passes():
    for code, words in STATUSES.items():
        for word in words:
            check_error(error(code, word), code)


def test_what_google_knows_passes():
    check_request("GET", f"{BOOK}?ranges=A1&ranges=B1&fields=sheets(data/rowData),*&prettyPrint=false", None)
    check_request("POST", f"{BOOK}/values/A%2F1:append?valueInputOption=RAW", {"values": [["x", None]]})
    check_request(
        "POST", f"{BOOK}:batchUpdate", change("repeatCell", cell=CELL, fields="userEnteredFormat(borders.top)")
    )
    check_answer("GET", f"{BOOK}?fields=sheets.properties", 200, of_tab(sheetId=0, sheetType="GRID"))
    check_answer("GET", f"{FILES}/id", 200, {"version": "7", "createdTime": "2024-02-29T12:00:00.000Z"})
    check_answer("DELETE", f"{FILES}/id", 204, None)


def test_gspread_may_write_as_it_is_known_to_and_sheetd_may_not():
    url = f"{FILES}/id/permissions?emailMessage=x"
    check_request("POST", url, {"withLink": True}, is_lenient=True)
    with pytest.raises(MismatchError, match="unknown name 'withLink' in Permission"):
        check_request("POST", url, {"withLink": True})
    with pytest.raises(MismatchError, match="unknown name 'withlink'"):
        check_request("POST", url, {"withlink": True}, is_lenient=True)


def test_a_mask_is_a_tree_of_what_it_chooses():
    assert masks.parse("a.b,a/c(d, e/f),g") == {"a": {"b": {}, "c": {"d": {}, "e": {"f": {}}}}, "g": {}}
    for text in ("", ",", "a,,b", "a(b", "a(", "a()", "a b", "(a)", "a.", "/a", "a)b"):
        with pytest.raises(MismatchError):
            masks.parse(text)
