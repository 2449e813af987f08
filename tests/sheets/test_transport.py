"""What becomes of a request when the world misbehaves: retried, reported as unknown, or refused with the next step."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import google.auth.exceptions as auth
import pytest
import requests
from tenacity.wait import wait_none

from sheetd.core.grid import CellUpdate, SheetWrite
from sheetd.errors import SheetError, SheetRefused, SheetUnavailable
from sheetd.sheets.google import GoogleSheet, open_builtin, open_google
from sheetd.sheets.quota import TokenBucket
from sheetd.sheets.transport import SheetHTTPClient, loopback_session
from tests.sheets.key_file import key_file
from tests.sheets.unruly import KEY, Hang, Move, Reply, Reset, UnrulyServer, google_error, tab, unruly

OK = Reply(body=tab())
APPLIED = Reply(body={"spreadsheetId": KEY, "updatedSpreadsheet": {"sheets": tab("y")["sheets"]}})
WRITE = SheetWrite(tab_id=0, updates=(CellUpdate(row=0, column=0, value="y"),))
GATEWAY_HTML = Reply(502, b"<html><h1>502 Bad Gateway</h1></html>", content_type="text/html")


def sheet_at(base_url: str, **client_options: Any) -> GoogleSheet:
    options: dict[str, Any] = {"backoff_s": 0.001, "timeouts_s": (2.0, 5.0), **client_options}
    client = SheetHTTPClient(loopback_session(base_url, "token"), base_url=base_url, **options)
    return GoogleSheet(client, KEY, "T")


@contextmanager
def sheet_of(*moves: Move, **client_options: Any) -> Iterator[tuple[GoogleSheet, UnrulyServer]]:
    with unruly(*moves) as server:
        sheet = sheet_at(server.base_url, **client_options)
        try:
            yield sheet, server
        finally:
            sheet.close()


@pytest.mark.parametrize(
    "failure",
    [
        google_error(429, "Quota exceeded"),
        google_error(500, "Internal error"),
        google_error(503, "The service is currently unavailable."),
        GATEWAY_HTML,
        Reply(500, {"error": "text in place of an object"}),
        Reset(),
    ],
)
def test_a_read_is_tried_again_after_what_may_pass(failure: Move):
    with sheet_of(failure, failure, OK) as (sheet, server):
        assert sheet.read().cell(0, 0).value == "x"
        assert sheet.client.requests == {"read": 3}
        assert len(server.seen) == 3


def test_a_read_gives_up_after_four_attempts_and_says_why():
    with sheet_of(*[google_error(503, "Try later")] * 4) as (sheet, server):
        with pytest.raises(SheetUnavailable, match="answered 503: Try later"):
            sheet.read()
        assert len(server.seen) == 4


def test_a_hanging_server_costs_the_timeout_and_no_more():
    with (
        sheet_of(*[Hang()] * 4, timeouts_s=(1.0, 0.1)) as (sheet, _),
        pytest.raises(SheetUnavailable, match="no answer"),
    ):
        sheet.read()


def test_without_settings_nothing_waits_without_a_limit():
    sheet = open_builtin("http://127.0.0.1:1", "token", KEY, "T")
    assert sheet.client.timeout == (10.0, 60.0)


def test_retry_after_is_waited_for():
    with sheet_of(google_error(429, "Quota exceeded", **{"Retry-After": "1"}), OK) as (sheet, _):
        start_s = time.monotonic()
        sheet.read()
        assert time.monotonic() - start_s >= 1.0


def test_a_retry_after_beyond_patience_is_reported_at_once():
    with sheet_of(google_error(429, "Quota exceeded", **{"Retry-After": "3600"})) as (sheet, server):
        with pytest.raises(SheetUnavailable, match="429"):
            sheet.read()
        assert len(server.seen) == 1


@pytest.mark.parametrize("header", ["", "soon", "-5", "1e9", "Wed, 21 Oct 2026 07:28:00 GMT", "٣"])
def test_a_retry_after_that_is_no_number_leaves_it_to_the_backoff(header: str):
    with sheet_of(Reply(503, b"", {"Retry-After": header.encode().decode("latin-1")}), OK) as (sheet, _):
        assert sheet.read().cell(0, 0).value == "x"


def test_closing_ends_a_wait_between_retries_at_once():
    with sheet_of(google_error(429, "Quota exceeded", **{"Retry-After": "60"})) as (sheet, server):
        raised: list[SheetError] = []

        def read() -> None:
            with pytest.raises(SheetUnavailable) as caught:
                sheet.read()
            raised.append(caught.value)

        thread = threading.Thread(target=read)
        thread.start()
        assert server.arrived.wait(5)
        sheet.close()
        thread.join(5)
        assert not thread.is_alive()
        assert len(raised) == 1
        assert len(server.seen) == 1


def test_closing_ends_a_wait_for_quota_and_nothing_is_sent():
    bucket = TokenBucket(1.0, burst=0)
    with sheet_of(quota={"read": bucket}) as (sheet, server):
        threading.Timer(0.05, sheet.close).start()
        with pytest.raises(SheetUnavailable, match="nothing was sent"):
            sheet.read()
        assert server.seen == []


def test_quota_is_spent_by_kind_and_also_by_retries():
    spent: list[float] = []

    class Bucket(TokenBucket):
        def reserve_s(self, now_s: float) -> float:
            spent.append(now_s)
            return 0.0

    with sheet_of(google_error(500, ""), OK, APPLIED, quota={"read": Bucket(1.0)}, now_s=lambda: 7.0) as (sheet, _):
        sheet.read()
        sheet.write(WRITE)
    assert spent == [7.0, 7.0]


@pytest.mark.parametrize("failure", [google_error(500, "Internal error"), GATEWAY_HTML, Reset()])
def test_a_write_whose_outcome_is_unknown_is_never_sent_twice(failure: Move):
    with sheet_of(failure) as (sheet, server):
        with pytest.raises(SheetUnavailable, match="outcome unknown"):
            sheet.write(WRITE)
        assert [method for method, _, _ in server.seen] == ["POST"]


def test_a_write_that_hangs_has_an_unknown_outcome():
    with sheet_of(Hang(), timeouts_s=(1.0, 0.1)) as (sheet, server):
        with pytest.raises(SheetUnavailable, match="outcome unknown"):
            sheet.write(WRITE)
        assert len(server.seen) == 1


def test_a_write_refused_for_quota_was_not_applied_and_is_sent_again():
    with sheet_of(google_error(429, "Quota exceeded"), APPLIED) as (sheet, server):
        assert sheet.write(WRITE).cell(0, 0).value == "y"
        assert sheet.client.requests == {"write": 2}
        assert server.seen[0][2] == server.seen[1][2]


def test_a_write_that_could_not_even_connect_is_tried_again_and_is_not_unknown():
    with socket.socket() as reserved:
        # Bound but not listening: connections are refused for certain, and no other process can take the port.
        reserved.bind(("127.0.0.1", 0))
        sheet = sheet_at(f"http://127.0.0.1:{reserved.getsockname()[1]}")
        with pytest.raises(SheetUnavailable, match="no answer") as caught:
            sheet.write(WRITE)
    assert "outcome unknown" not in str(caught.value)
    assert sheet.client.requests == {"write": 4}


@pytest.mark.parametrize(
    ("status", "message", "advice"),
    [
        (401, "Invalid credentials", "new key"),
        (403, "The caller does not have permission", "Share the spreadsheet with sheetd@lab.iam.example"),
        (
            403,
            "Google Sheets API has not been used in project 1 before or it is disabled.",
            "Enable the Google Sheets API",
        ),
        (404, "Requested entity was not found.", "shared with sheetd@lab.iam.example"),
        (400, "Invalid requests[0].updateCells: too large", "too large"),
        (418, "I'm a teapot", "teapot"),
    ],
)
def test_a_refusal_is_not_retried_and_names_the_next_step(status: int, message: str, advice: str):
    with unruly(google_error(status, message)) as server:
        session = requests.Session()
        session.trust_env = False
        client = SheetHTTPClient(session, base_url=None, identity="sheetd@lab.iam.example")
        client._redirected = lambda _: server.base_url  # type: ignore[method-assign]
        with pytest.raises(SheetRefused, match=advice):
            GoogleSheet(client, KEY, "T").read()
        assert len(server.seen) == 1
        client.close()


def test_a_html_refusal_is_told_by_its_http_code():
    with (
        sheet_of(Reply(403, b"<html>no</html>", content_type="text/html")) as (sheet, _),
        pytest.raises(SheetRefused, match="403"),
    ):
        sheet.read()


def test_a_request_unknown_to_the_built_in_sheet_is_refused():
    with sheet_of(google_error(501, "addBanding is not implemented")) as (sheet, server):
        with pytest.raises(SheetRefused, match="addBanding"):
            sheet.write(WRITE)
        assert len(server.seen) == 1


@pytest.mark.parametrize(
    "portal",
    [
        Reply(200, b"<html>Welcome to Airport WiFi</html>", content_type="text/html"),
        Reply(200, b""),
        Reply(200, b"{}"),
        Reply(200, tab(key="another")),
        Reply(200, b'{"spreadsheetId":"key","sheets":3}'),
        Reply(304, b""),
    ],
)
def test_a_success_that_is_not_our_spreadsheet_is_unavailable_and_changes_nothing(portal: Reply):
    with sheet_of(OK, portal, portal, OK) as (sheet, _):
        before = sheet.read()
        with pytest.raises(SheetUnavailable, match="captive portal"):
            sheet.read()
        with pytest.raises(SheetUnavailable, match="captive portal"):
            sheet.write(WRITE)
        assert sheet.read() is before


def test_the_same_bytes_give_the_same_object():
    with sheet_of(OK, OK) as (sheet, _):
        assert sheet.read() is sheet.read()


def test_the_bytes_of_before_a_write_are_read_afresh_when_they_come_again():
    with sheet_of(OK, APPLIED, OK) as (sheet, _):
        assert [sheet.read().cell(0, 0).value, sheet.write(WRITE).cell(0, 0).value] == ["x", "y"]
        assert sheet.read().cell(0, 0).value == "x"


def test_a_read_that_shows_what_a_write_answered_is_the_same_object():
    with sheet_of(APPLIED, Reply(body=tab("y"))) as (sheet, _):
        assert sheet.write(WRITE) is sheet.read()


def test_an_answer_to_a_write_that_lacks_the_tab_is_replaced_by_a_read():
    with sheet_of(OK, Reply(body={"spreadsheetId": KEY}), Reply(body=tab("y"))) as (sheet, _):
        sheet.read()
        assert sheet.write(WRITE).cell(0, 0).value == "y"


def test_an_empty_write_is_a_read():
    with sheet_of(OK) as (sheet, server):
        sheet.write(SheetWrite(tab_id=0))
        assert [method for method, _, _ in server.seen] == ["GET"]


def test_a_write_for_another_tab_is_a_bug():
    with sheet_of(OK) as (sheet, _):
        sheet.read()
        with pytest.raises(ValueError, match="tab 5"):
            sheet.write(SheetWrite(tab_id=5, updates=WRITE.updates))


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (auth.TransportError("connection reset"), SheetUnavailable, "could not sign in"),
        (auth.RefreshError("<html>502</html>"), SheetUnavailable, "could not sign in"),
        (auth.RefreshError("internal_failure", retryable=True), SheetUnavailable, "could not sign in"),
        (auth.RefreshError("invalid_grant: Invalid JWT Signature."), SheetRefused, "clock"),
        (auth.RefreshError("invalid_client: gone"), SheetRefused, "check the key file"),
    ],
)
def test_signing_in_fails_as_itself_and_never_leaves_a_write_unknown(
    error: Exception, kind: type[SheetError], text: str
):
    class Session(requests.Session):
        def request(self, *_: Any, **__: Any) -> requests.Response:  # type: ignore[override]
            raise error

    sheet = GoogleSheet(SheetHTTPClient(Session(), backoff_s=0.001), KEY, "T")
    with pytest.raises(kind, match=text) as caught:
        sheet.write(WRITE)
    assert "outcome unknown" not in str(caught.value)


def test_the_service_account_asks_for_spreadsheets_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with unruly(Reply(body={"access_token": "minted", "expires_in": 3600}), OK) as server:
        address = f"https://docs.google.com/spreadsheets/d/{KEY}/edit?gid=0#gid=0"
        sheet = open_google(address, "T", key_file(tmp_path / "key.json", f"{server.base_url}/token"))
        monkeypatch.setattr(sheet.client, "_redirected", lambda _: f"{server.base_url}/sheet")
        assert sheet.read().cell(0, 0).value == "x"
        sheet.close()
    assertion = parse_qs(server.seen[0][2].decode())["assertion"][0]
    claims = json.loads(base64.urlsafe_b64decode(assertion.split(".")[1] + "=="))
    assert claims["scope"] == "https://www.googleapis.com/auth/spreadsheets"
    assert sheet.client.identity == "sheetd@lab.iam.example"
    assert sheet.key == KEY
    assert sheet.client.timeout == (10.0, 60.0)


@pytest.mark.parametrize("body", [b"<html>Welcome</html>", b"", b"[1]", b"7", b'{"expires_in": {}}', b"\xff"])
def test_whatever_answers_in_place_of_the_token_endpoint_is_an_outage_and_no_bug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: bytes
):
    """A TypeError of google-auth's once went all the way up, and ended the daemon."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with unruly(*[Reply(200, body)] * 4) as server:
        sheet = open_google(KEY, "T", key_file(tmp_path / "key.json", f"{server.base_url}/token"))
        sheet.client._jitter = wait_none()  # type: ignore[assignment]
        with pytest.raises(SheetUnavailable, match="could not sign in to Google now"):
            sheet.read()
        sheet.close()


def test_a_connection_is_kept_when_google_asks_for_a_new_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """google-auth drops the answer of 401 unread; the connection it came over was left to the garbage collector."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    token = Reply(body={"access_token": "minted", "expires_in": 3600})
    with unruly(token, google_error(401, "expired"), token, OK) as server:
        sheet = open_google(KEY, "T", key_file(tmp_path / "key.json", f"{server.base_url}/token"))
        monkeypatch.setattr(sheet.client, "_redirected", lambda _: f"{server.base_url}/sheet")
        assert sheet.read().cell(0, 0).value == "x"
        (pool,) = sheet.client.session.get_adapter("http://").poolmanager.pools._container.values()
        assert pool.num_connections == 1
        sheet.close()


def test_the_token_goes_to_this_machine_only():
    with pytest.raises(SheetRefused, match="ssh -L"):
        open_builtin("http://sheets.example.org", "token", KEY, "T")


def test_a_proxy_from_the_environment_is_not_asked_for_loopback(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    with sheet_of(OK) as (sheet, server):
        sheet.read()
        assert len(server.seen) == 1


def test_an_address_that_is_no_spreadsheet_is_named(tmp_path: Path):
    with pytest.raises(SheetRefused, match="copy it from the browser"):
        open_google("https://docs.google.com/document/u/0/", "T", tmp_path / "key.json")


@pytest.mark.parametrize("content", [None, "", "{}", '{"type": "service_account"}', "[]"])
def test_a_key_file_that_is_none_is_named(tmp_path: Path, content: str | None):
    path = tmp_path / "key.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SheetRefused, match=r"key\.json"):
        open_google("key", "T", path)
