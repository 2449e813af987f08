"""A tiny HTTP server on loopback that misbehaves as it is told: each request takes the next move from a list."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

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


Move = Reply | Hang | Reset


def tab(text: str = "x", *, sheet_id: int = 0, title: str = "T", key: str = KEY) -> dict[str, Any]:
    cell = {"effectiveValue": {"stringValue": text}, "formattedValue": text}
    properties = {"sheetId": sheet_id, "title": title, "gridProperties": {"rowCount": 9, "columnCount": 9}}
    return {"spreadsheetId": key, "sheets": [{"properties": properties, "data": [{"rowData": [{"values": [cell]}]}]}]}


def google_error(status: int, message: str, **headers: str) -> Reply:
    return Reply(status, {"error": {"code": status, "message": message, "status": "X"}}, headers)


class UnrulyServer(ThreadingHTTPServer):
    """`moves` are taken in order; `seen` are the requests that arrived, as (method, path, body)."""

    daemon_threads = True

    def __init__(self, moves: list[Move]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.moves = moves
        self.seen: list[tuple[str, str, bytes]] = []
        self.released = threading.Event()
        self.arrived = threading.Event()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: UnrulyServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def _move(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.server.seen.append((self.command, self.path, self.rfile.read(length)))
        self.server.arrived.set()
        move = self.server.moves.pop(0)
        if isinstance(move, Reply):
            self._reply(move)
            return
        self.close_connection = True
        if isinstance(move, Hang):
            self.server.released.wait(30)
        else:
            # Linger 0 turns the close into a reset.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.connection.close()

    def _reply(self, reply: Reply) -> None:
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        self.send_response(reply.status)
        for name, value in {
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


@contextmanager
def unruly(*moves: Move) -> Iterator[UnrulyServer]:
    server = UnrulyServer(list(moves))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
