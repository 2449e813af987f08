"""A person who edits the sheet at the worst of all moments: between the daemon's read and its write.

Stands between the daemon and the sheet's server as an HTTP proxy. Each time the daemon sends a write, somebody first
sorts, inserts above or deletes; then the write goes on, unchanged, to a sheet that is not what it was made from.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

_DROPPED = {"connection", "transfer-encoding", "content-encoding", "content-length", "date", "server", "keep-alive"}


class Meddler:
    """`with Meddler(base_url, meddle) as url:` gives the address to hand to the daemon."""

    def __init__(self, base_url: str, meddle: Callable[[], None]) -> None:
        self._base_url = base_url
        self._meddle = meddle
        self._one_at_a_time = threading.Lock()
        self.writes = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle(self) -> None:
                try:
                    super().handle()
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True  # the daemon was killed in the middle of a request

            disable_nagle_algorithm = True
            wbufsize = 1 << 16

            def do_GET(self) -> None:
                outer.forward(self, "GET", None)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                if ":batchUpdate" in self.path:
                    with outer._one_at_a_time:
                        outer.writes += 1
                        outer._meddle()
                outer.forward(self, "POST", body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def forward(self, handler: BaseHTTPRequestHandler, method: str, body: bytes | None) -> None:
        passed_on = {name: handler.headers[name] for name in ("Authorization", "User-Agent") if name in handler.headers}
        headers = {**passed_on, "Content-Type": "application/json"}
        answer = requests.request(
            method, self._base_url + handler.path, data=body, headers=headers, timeout=30, proxies={"http": ""}
        )
        try:
            handler.send_response(answer.status_code)
            for name, value in answer.headers.items():
                if name.lower() not in _DROPPED:
                    handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(answer.content)))
            handler.end_headers()
            handler.wfile.write(answer.content)
            handler.wfile.flush()
        except (BrokenPipeError, ConnectionResetError):
            handler.close_connection = True  # the daemon was killed while it waited

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
