"""Counts what passes between the daemon and the sheet, in a process that is not the daemon's."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler

from tests.acceptance.meddler import Meddler

MINUTE_S = 60.0


class Tollgate(Meddler):
    """`with Tollgate(base_url) as url:` gives the address for the daemon. Google counts reads and writes apart."""

    def __init__(self, base_url: str) -> None:
        super().__init__(base_url, lambda: None)
        self._changed = threading.Condition()
        self.passed: dict[str, list[float]] = {"read": [], "write": []}

    def forward(self, handler: BaseHTTPRequestHandler, method: str, body: bytes | None) -> None:
        sent_s = time.monotonic()
        super().forward(handler, method, body)
        with self._changed:
            self.passed["read" if method == "GET" else "write"].append(sent_s)
            self._changed.notify_all()

    def busiest_minute(self, kind: str) -> int:
        """The most requests of this kind in any sixty seconds."""
        times = sorted(self.passed[kind])
        return max((sum(start <= at < start + MINUTE_S for at in times) for start in times), default=0)

    def count(self) -> int:
        return sum(map(len, self.passed.values()))

    def wait_for(self, more: int, within_s: float) -> None:
        """Until so many more requests have been answered."""
        with self._changed:
            wanted = self.count() + more
            if not self._changed.wait_for(lambda: self.count() >= wanted, within_s):
                raise TimeoutError(f"the daemon sent no {more} requests within {within_s:g} s")
