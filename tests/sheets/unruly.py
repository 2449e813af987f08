"""A tiny HTTP server on loopback that misbehaves as it is told: each request takes the next move from a list.

With a server behind it, it stands in between: what it is told to pass on is really done there, whatever becomes of the
answer on its way back.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

from tests.builtin.discovery import STATUSES
from tests.builtin.witness import WITNESS

KEY = "key"


@dataclass(frozen=True)
class Reply:
    """Answer so. The JSON kind of body is dumped."""

    status: int = 200
    body: bytes | dict[str, Any] = b""
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


class Hang:
    """Accept the request and say nothing."""


class Reset:
    """Accept the request (a write is applied by now), then reset the connection."""


@dataclass(frozen=True)
class Forward:
    """Have the server behind do what is asked; its answer is `change`d on its way back, or `then` comes instead."""

    change: Callable[[bytes], bytes] | None = None
    then: Reply | Hang | Reset | None = None


Move = Reply | Hang | Reset | Forward


def tab(text: str = "x", *, sheet_id: int = 0, title: str = "T", key: str = KEY) -> dict[str, Any]:
    cell = {"effectiveValue": {"stringValue": text}, "formattedValue": text}
    properties = {"sheetId": sheet_id, "title": title, "gridProperties": {"rowCount": 9, "columnCount": 9}}
    return {"spreadsheetId": key, "sheets": [{"properties": properties, "data": [{"rowData": [{"values": [cell]}]}]}]}


def google_error(status: int, message: str, **headers: str) -> Reply:
    word = min(STATUSES.get(status, {"UNKNOWN"}))
    return Reply(status, {"error": {"code": status, "message": message, "status": word}}, headers)


class UnrulyServer(ThreadingHTTPServer):
    """`moves` are taken in order; `seen` are the requests that arrived, as (method, path, body)."""

    daemon_threads = True

    def __init__(self, moves: list[Move], behind: str = "") -> None:
        """`behind` is the host and port of the server to pass on to."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.moves = moves
        self.behind = behind
        self.seen: list[tuple[str, str, bytes]] = []
        self.released = threading.Event()
        self.arrived = threading.Event()
        #: By how much the server's clock is ahead of ours.
        self.clock_ahead_s = 0.0
        #: Somebody waits for an answer that does not come.
        self.hangs = threading.Event()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def next_move(self, method: str, path: str, body: bytes) -> Move:
        """What to do about a request that has arrived."""
        del method, path, body
        return self.moves.pop(0)


class _Handler(BaseHTTPRequestHandler):
    server: UnrulyServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def _move(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        self.server.seen.append((self.command, self.path, body))
        self.server.arrived.set()
        WITNESS.hear(self.command, self.path, self.headers.get("User-Agent", ""), body)
        move = self.server.next_move(self.command, self.path, body)
        if isinstance(move, Forward):
            answer = self._passed_on(body)
            move = move.then or (answer if move.change is None else replace(answer, body=move.change(_bytes(answer))))
        if isinstance(move, Reply):
            self._reply(move)
            return
        self.close_connection = True
        if isinstance(move, Hang):
            self.server.hangs.set()
            self.server.released.wait(30)
        else:
            # Linger 0 turns the close into a reset.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.connection.close()

    def _passed_on(self, body: bytes) -> Reply:
        """The answer of the server behind, uncompressed."""
        left_out = {"host", "connection", "accept-encoding"}
        headers = {name: value for name, value in self.headers.items() if name.lower() not in left_out}
        connection = http.client.HTTPConnection(self.server.behind, timeout=30)
        try:
            connection.request(self.command, self.path, body or None, {**headers, "Accept-Encoding": "identity"})
            answer = connection.getresponse()
            return Reply(answer.status, answer.read(), content_type=answer.headers["Content-Type"])
        finally:
            connection.close()

    def _reply(self, reply: Reply) -> None:
        body = _bytes(reply)
        self.send_response_only(reply.status)
        for name, value in {
            "Date": self.date_time_string(time.time() + self.server.clock_ahead_s),
            "Content-Type": reply.content_type,
            "Content-Length": str(len(body)),
            **reply.headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    do_GET = do_POST = _move  # noqa: N815 - the names that http.server looks for

    def finish(self) -> None:
        if self.close_connection and self.connection.fileno() == -1:
            return
        super().finish()

    def log_message(self, *_: Any) -> None:
        """Quiet: what arrived is in `seen`."""


def _bytes(reply: Reply) -> bytes:
    return reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()


S = TypeVar("S", bound=UnrulyServer)


@contextmanager
def unruly(*moves: Move) -> Iterator[UnrulyServer]:
    with serving(UnrulyServer(list(moves))) as server:
        yield server


@contextmanager
def serving(server: S) -> Iterator[S]:
    """The server, running until the end of the block."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
