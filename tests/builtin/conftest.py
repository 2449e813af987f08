"""A built-in sheet of its own for each test, and real gspread pointed at it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gspread
import pytest
import requests

from sheetd.sheets.builtin.server import SheetServer

GOOGLE = ("https://sheets.googleapis.com", "https://www.googleapis.com")


class LocalHTTPClient(gspread.http_client.HTTPClient):
    """gspread's own client with Google's addresses replaced by the server's."""

    base = ""
    token = ""

    def __init__(self, auth: Any = None, session: requests.Session | None = None) -> None:
        super().__init__(auth, session or local_session(self.token))
        self.timeout = (3.05, 30)

    def request(self, method: str, endpoint: str, *args: Any, **kwargs: Any) -> requests.Response:
        for google in GOOGLE:
            if endpoint.startswith(google):
                endpoint = self.base + endpoint[len(google) :]
        assert endpoint.startswith("http://127.0.0.1:")
        return super().request(method, endpoint, *args, **kwargs)


def local_session(token: str) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.headers["Authorization"] = f"Bearer {token}"
    return session


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SheetServer]:
    with SheetServer(tmp_path / "sheet.sqlite") as running:
        yield running


@pytest.fixture
def client(server: SheetServer) -> Iterator[gspread.Client]:
    http = type("Client", (LocalHTTPClient,), {"base": server.base_url, "token": server.token})
    made = gspread.Client(auth=None, http_client=http)
    yield made
    made.http_client.session.close()


@pytest.fixture
def book(client: gspread.Client) -> gspread.Spreadsheet:
    return client.create("Experiments")


@pytest.fixture
def tab(book: gspread.Spreadsheet) -> gspread.Worksheet:
    return book.sheet1


class Raw:
    """The API without gspread, for what gspread cannot say."""

    def __init__(self, server: SheetServer, key: str) -> None:
        self.session = local_session(server.token)
        self.base = server.base_url
        self.key = key

    def get(self, path: str = "", **params: Any) -> requests.Response:
        return self.session.get(f"{self.base}/v4/spreadsheets/{self.key}{path}", params=params, timeout=30)

    def batch(self, *requests_: Any, fields: str | None = None, **body: Any) -> requests.Response:
        params = {"fields": fields} if fields else {}
        url = f"{self.base}/v4/spreadsheets/{self.key}:batchUpdate"
        return self.session.post(url, params=params, json={"requests": list(requests_), **body}, timeout=30)


@pytest.fixture
def raw(server: SheetServer, book: gspread.Spreadsheet) -> Iterator[Raw]:
    made = Raw(server, book.id)
    yield made
    made.session.close()
