"""The built-in sheet as a server: routes, the page's files, and start and stop in a thread.

It binds 127.0.0.1 and nothing else. Stopping is prompt also while pages are open: they are told to come back, and keep
their unsent edits. The access log stays off, since the first address of a page holds the token.
"""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute

from sheetd.sheets.builtin import api_drive, api_metadata, api_sheets, api_values, calls, live
from sheetd.sheets.builtin.problems import ApiError
from sheetd.sheets.builtin.render import AnswerCache
from sheetd.sheets.builtin.security import Guard
from sheetd.sheets.builtin.store import Store

PAGE = Path(__file__).parent / "page"
START_DEADLINE_S = 10.0
STOP_DEADLINE_S = 5.0

_MIME = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
}


def create_app(store: Store, token: str) -> Starlette:
    """The ASGI application over an open store; whoever creates it closes the store."""
    hub = live.Hub(store)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with hub.running():
            yield

    app = Starlette(
        routes=[*_sheets_routes(), *_drive_routes(), *_page_routes(hub)],
        middleware=[Middleware(Guard, token=token)],
        exception_handlers={HTTPException: _http_error},
        lifespan=lifespan,
    )
    app.state.store = store
    app.state.cache = AnswerCache()
    return app


def _route(path: str, method: str, handler: calls.Handler) -> Route:
    return Route(path, calls.endpoint(handler), methods=[method])


def _sheets_routes() -> list[Route]:
    base = "/v4/spreadsheets"
    return [
        _route(base, "POST", api_sheets.create),
        _route(f"{base}/{{key}}/values:batchGet", "GET", api_values.batch_get),
        _route(f"{base}/{{key}}/values:batchUpdate", "POST", api_values.batch_update),
        _route(f"{base}/{{key}}/values:batchClear", "POST", api_values.batch_clear),
        _route(f"{base}/{{key}}/values:{{verb}}", "POST", api_values.by_data_filter),
        _route(f"{base}/{{key}}/values/{{range:path}}", "GET", api_values.get),
        _route(f"{base}/{{key}}/values/{{range:path}}", "PUT", api_values.update),
        _route(f"{base}/{{key}}/values/{{range:path}}", "POST", api_values.post),
        _route(f"{base}/{{key}}/developerMetadata/{{metadata}}", "GET", api_metadata.get),
        _route(f"{base}/{{key}}/developerMetadata:search", "POST", api_metadata.search),
        _route(f"{base}/{{target}}", "GET", api_sheets.get),
        _route(f"{base}/{{target}}", "POST", api_sheets.post),
        _route(f"{base}/{{key}}/{{rest:path}}", "GET", api_sheets.refused),
        _route(f"{base}/{{key}}/{{rest:path}}", "POST", api_sheets.refused),
    ]


def _drive_routes() -> list[Route]:
    base = "/drive/v3/files"
    return [
        _route(base, "GET", api_drive.list_files),
        _route(base, "POST", api_drive.create_file),
        _route(f"{base}/{{key}}", "GET", api_drive.get_file),
        _route(f"{base}/{{key}}", "PATCH", api_drive.update_file),
        _route(f"{base}/{{key}}", "DELETE", api_drive.delete_file),
        _route(f"{base}/{{key}}/copy", "POST", api_drive.copy_file),
        _route(f"{base}/{{key}}/comments", "GET", api_drive.comments),
        _route(f"{base}/{{key}}/permissions", "GET", api_drive.list_permissions),
        _route(f"{base}/{{key}}/permissions", "POST", api_drive.create_permission),
        _route(f"{base}/{{key}}/permissions/{{permission}}", "DELETE", api_drive.delete_permission),
        _route(f"{base}/{{rest:path}}", "GET", api_drive.refused),
        _route("/upload/{rest:path}", "PUT", api_drive.refused),
    ]


def _page_routes(hub: live.Hub) -> list[Any]:
    return [
        WebSocketRoute("/live/{key}", hub.serve),
        Route("/", _index),
        Route("/{name:path}", _file),
    ]


async def _index(request: Request) -> Response:
    if "s" not in request.query_params:
        newest = request.app.state.store.newest_key()
        if newest is not None:
            return RedirectResponse(f"/?s={newest}", 303)
    return _page_file("index.html")


async def _file(request: Request) -> Response:
    return _page_file(request.path_params["name"])


def _page_file(name: str) -> Response:
    """A file of the page's folder, and nothing outside of it or of an unexpected kind."""
    path = (PAGE / name).resolve()
    if not path.is_relative_to(PAGE) or path.suffix not in _MIME or not path.is_file():
        return PlainTextResponse("Not found.\n", 404)
    return FileResponse(path, media_type=_MIME[path.suffix])


async def _http_error(request: Request, error: Exception) -> Response:
    code = error.status_code if isinstance(error, HTTPException) else 500
    path = request.url.path
    if path.startswith(("/v4/", "/drive/", "/upload/")):
        # Google has no word for a method that an address does not have: there is nothing at all.
        missing = ApiError(404, "Requested entity was not found.")
        return calls.error_response(missing if code in {404, 405} else ApiError(code, str(error)), path)
    return PlainTextResponse("Not found.\n" if code == 404 else "Not allowed.\n", code)


class SheetServer:
    """The built-in sheet on a port of this machine; also a context manager."""

    def __init__(self, path: str | Path, port: int = 0, token: str | None = None) -> None:
        """`path` is the SQLite file (made if absent); port 0 takes any free one; a token is made unless given."""
        self.path = Path(path)
        self.token = token or secrets.token_urlsafe(32)
        self._wanted_port = port
        self._store: Store | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None

    @property
    def store(self) -> Store:
        """The open store; RuntimeError before start and after stop."""
        if self._store is None:
            raise RuntimeError("the built-in sheet is not running")
        return self._store

    @property
    def port(self) -> int:
        if self._socket is None:
            raise RuntimeError("the built-in sheet is not running")
        return int(self._socket.getsockname()[1])

    @property
    def base_url(self) -> str:
        """Where the API is, without a slash at the end; it wants `Authorization: Bearer <token>`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The page, with the token: for the person at this machine only."""
        return self.page_url()

    def page_url(self, key: str | None = None) -> str:
        """The page of one spreadsheet, of the last changed one without a key."""
        return f"{self.base_url}/?token={self.token}" + (f"&s={key}" if key else "")

    def start(self) -> SheetServer:
        """Open the file and serve; returns when it accepts. Raises StoreInUseError, or OSError for a taken port."""
        self._socket = _bind(self._wanted_port)
        try:
            self._store = Store(self.path)
        except BaseException:
            self._socket.close()
            self._socket = None
            raise
        config = uvicorn.Config(
            create_app(self._store, self.token),
            log_config=None,
            access_log=False,
            ws="auto",
            ws_max_size=live.LARGEST_MESSAGE,
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=1,
            server_header=False,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="builtin-sheet", daemon=True
        )
        self._thread.start()
        self._await_started()
        return self

    def _await_started(self) -> None:
        # The socket listens already: a request that is answered proves that the server runs.
        with socket.create_connection(("127.0.0.1", self.port), timeout=START_DEADLINE_S) as probe:
            probe.settimeout(START_DEADLINE_S)
            probe.sendall(b"HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            if not probe.recv(1):
                raise RuntimeError("the built-in sheet did not start")

    def stop(self) -> None:
        """Stop serving, tell open pages to come back, close the file. Twice does no harm."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(STOP_DEADLINE_S)
            if self._thread.is_alive():
                raise RuntimeError("the built-in sheet did not stop")
        if self._socket is not None:
            self._socket.close()
        if self._store is not None:
            self._store.close()
        self._server = self._thread = self._socket = self._store = None

    def __enter__(self) -> SheetServer:  # noqa: PYI034 - typing.Self needs Python 3.11
        return self.start()

    def __exit__(self, *_exception: object) -> None:
        self.stop()


def _bind(port: int) -> socket.socket:
    # With the protocol named asyncio turns Nagle's algorithm off; without it every answer waits 40 ms for an ACK.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener
