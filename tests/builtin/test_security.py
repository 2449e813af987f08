"""Who is let in: nobody without this start's token, no other site, no other name, and nothing runs inline."""

from __future__ import annotations

import asyncio
import http.client
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from sheetd.sheets.builtin import calls
from sheetd.sheets.builtin.server import SheetServer
from tests.builtin.page_client import cookie


def ask(
    server: SheetServer, path: str, method: str = "GET", body: Any = None, **headers: str
) -> http.client.HTTPResponse:
    """One raw request: nothing is added, nothing follows redirects."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, named)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def bearer(server: SheetServer) -> str:
    return f"Bearer {server.token}"


def test_the_server_listens_on_loopback_only(server: SheetServer):
    assert server.base_url == f"http://127.0.0.1:{server.port}"
    assert server._socket is not None
    assert server._socket.getsockname()[0] == "127.0.0.1"


def test_two_starts_have_two_tokens(tmp_path: Any):
    tokens = {SheetServer(tmp_path / "a").token for _ in range(3)}
    assert len(tokens) == 3
    assert all(len(token) >= 40 for token in tokens)


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer wrong", "Basic {token}", "Bearer {token}x", "{token}"])
@pytest.mark.parametrize("path", ["/v4/spreadsheets/x", "/drive/v3/files", "/v4/nothing", "/upload/x"])
def test_the_api_wants_the_token(server: SheetServer, path: str, given: str):
    answer = ask(server, path, Authorization=given.format(token=server.token))
    assert answer.status == 401


def test_the_cookie_of_the_page_opens_no_api(server: SheetServer):
    assert ask(server, "/drive/v3/files", Cookie=cookie(server)).status == 401
    value = cookie(server).partition("=")[2]
    assert ask(server, "/drive/v3/files", Authorization=f"Bearer {value}").status == 401
    assert ask(server, "/drive/v3/files", Authorization=bearer(server)).status == 200


@pytest.mark.parametrize("path", ["/", "/?token=wrong", "/?token=", "/index.html", "/anything.js"])
def test_the_page_wants_the_token_or_its_cookie(server: SheetServer, path: str):
    assert ask(server, path).status == 403


def test_the_link_sets_a_strict_cookie_and_takes_the_token_out_of_the_address(server: SheetServer):
    answer = ask(server, f"/?token={server.token}&s=abc")
    assert (answer.status, answer.headers["location"]) == (303, "/?s=abc")
    flags = answer.headers["set-cookie"].lower()
    assert "httponly" in flags
    assert "samesite=strict" in flags
    assert server.token not in flags
    assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "10.0.0.1", "[::2]", "localhost:x"]
)
@pytest.mark.parametrize("path", ["/", "/v4/spreadsheets/x"])
def test_another_name_for_this_machine_is_refused(server: SheetServer, host: str, path: str):
    answer = ask(server, path, Host=host, Authorization=bearer(server), Cookie=cookie(server))
    assert answer.status == 403


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1:8000", "[::1]:9"])
def test_the_names_of_this_machine_are_taken_with_any_port(server: SheetServer, host: str):
    assert ask(server, "/drive/v3/files", Host=host, Authorization=bearer(server)).status == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1", "file://"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_requests_from_another_site_are_refused_and_nothing_is_shared(server: SheetServer, origin: str, method: str):
    answer = ask(server, "/drive/v3/files", method, Origin=origin, Authorization=bearer(server))
    assert answer.status == 403
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize("path", ["/", "/nothing.js", "/drive/v3/files"])
def test_every_answer_forbids_inline_script_frames_sniffing_and_caching(server: SheetServer, path: str):
    headers = ask(server, path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'self'")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "path", ["/../server.py", "/%2e%2e/server.py", "/..%2fserver.py", "//etc/passwd", "/__init__.py"]
)
def test_no_file_outside_of_the_pages_folder_is_served(server: SheetServer, path: str):
    assert ask(server, path, Cookie=cookie(server)).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_the_page_changes_nothing_over_plain_http(server: SheetServer, method: str):
    assert ask(server, "/", method, Cookie=cookie(server)).status == 405


def test_a_body_beyond_the_bound_is_refused(server: SheetServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(calls, "LARGEST_BODY", 1000)
    answer = ask(server, "/drive/v3/files", "POST", b"x" * 1001, Authorization=bearer(server))
    assert answer.status == 400


@pytest.mark.parametrize(("method", "path"), [("PUT", "/v4/spreadsheets"), ("PATCH", "/drive/v3/files")])
def test_a_method_that_an_address_does_not_have_is_not_found_as_at_google(server: SheetServer, method: str, path: str):
    assert ask(server, path, method, Authorization=bearer(server)).status == 404


def test_who_is_not_let_in_is_told_how(server: SheetServer):
    assert ask(server, "/v4/spreadsheets/x").headers["www-authenticate"] == 'Bearer realm="sheetd"'


def test_a_client_that_goes_away_in_the_middle_of_a_request_is_no_error_of_ours(caplog: pytest.LogCaptureFixture):
    """A daemon that is killed while it writes left a traceback in the log of the sheet."""

    async def gone() -> dict[str, str]:
        return {"type": "http.disconnect"}

    state = SimpleNamespace(store=None, cache=None)
    scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b"", "path_params": {}}
    request = Request({**scope, "app": SimpleNamespace(state=state)}, gone)
    answer = asyncio.run(calls.endpoint(lambda _: pytest.fail("half a request was served"))(request))
    assert answer.status_code == 400
    assert caplog.records == []


@pytest.mark.parametrize("body", [b"{", b"NaN", b'{"a": Infinity}', b"\xff\xfe", b"[" * 100_000])
def test_a_body_that_is_not_json_is_an_invalid_argument(server: SheetServer, body: bytes):
    assert ask(server, "/v4/spreadsheets", "POST", body, Authorization=bearer(server)).status == 400


@pytest.mark.parametrize("origin", [None, "https://evil.example", "null", "http://localhost:1"])
def test_a_socket_from_another_site_is_refused(server: SheetServer, origin: str | None):
    address = f"ws://127.0.0.1:{server.port}/live/x"
    chosen = None if origin is None else Origin(origin)
    with (
        pytest.raises(InvalidStatus) as caught,
        connect(address, origin=chosen, additional_headers={"Cookie": cookie(server)}, proxy=None),
    ):
        pass
    assert caught.value.response.status_code == 403


def test_a_socket_without_the_cookie_is_closed_with_a_code_the_page_can_read(server: SheetServer):
    address = f"ws://127.0.0.1:{server.port}/live/x"
    with (
        connect(address, origin=Origin(server.base_url), proxy=None) as socket,
        pytest.raises(ConnectionClosed) as caught,
    ):
        socket.recv(10)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 4401
