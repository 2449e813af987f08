"""Tells the service manager that we are ready and still turning (sd_notify(3)), where there is one.

Fed by the loop itself and by nothing else: a loop that hangs must look like one.
"""

from __future__ import annotations

import os
import socket

from sheetd.ports import Clock


class Watchdog:
    """Silent unless NOTIFY_SOCKET is set. `interval_s` is how often `alive` has to be called at the least."""

    def __init__(self, clock: Clock, environment: dict[str, str] | None = None) -> None:
        env = dict(os.environ) if environment is None else environment
        self._clock = clock
        self._address = env.get("NOTIFY_SOCKET", "")
        period_us = env.get("WATCHDOG_USEC", "")
        self.interval_s = int(period_us) / 1e6 / 3 if period_us.isdigit() and int(period_us) else 60.0
        self._last_s = float("-inf")

    def ready(self) -> None:
        self._send("READY=1")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def alive(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._last_s >= self.interval_s / 2:
            self._last_s = now_s
            self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # An address that begins with @ is in the abstract namespace, whose names begin with a NUL.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.connect(address)
            channel.sendall(message.encode())
