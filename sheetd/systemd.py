"""Tells the service manager that we are ready and still turning (sd_notify(3)), where there is one.

Fed by the loops themselves and by nothing else: a loop that hangs must look like one, also among others that turn.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Mapping

from sheetd.ports import Clock


class Watchdog:
    """Silent unless NOTIFY_SOCKET is set. `interval_s` is how often `alive` has to be called at the least."""

    def __init__(self, clock: Clock, environment: Mapping[str, str] | None = None) -> None:
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

    def alive(self) -> bool:
        """True when it was told: more often than twice in an interval is for nothing."""
        now_s = self._clock.monotonic_s()
        if now_s - self._last_s < self.interval_s / 2:
            return False
        self._last_s = now_s
        self._send("WATCHDOG=1")
        return True

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # An address that begins with @ is in the abstract namespace, whose names begin with a NUL.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.connect(address)
            channel.sendall(message.encode())


class SharedWatchdog:
    """One watchdog for several loops: ready when all are, alive only while every one turns. `part` makes each's own."""

    def __init__(self, watchdog: Watchdog) -> None:
        self._watchdog = watchdog
        self._lock = threading.Lock()
        self._count = 0
        self._ready = 0
        self._turned: set[int] = set()
        self._is_stopping = False

    def part(self) -> WatchdogPart:
        """For one more loop. All parts are made before any loop starts."""
        self._count += 1
        return WatchdogPart(self, self._count, self._watchdog.interval_s)

    def ready(self) -> None:
        with self._lock:
            self._ready += 1
            if self._ready == self._count:
                self._watchdog.ready()

    def alive(self, number: int) -> None:
        with self._lock:
            self._turned.add(number)
            if len(self._turned) == self._count and self._watchdog.alive():
                self._turned.clear()

    def stopping(self) -> None:
        with self._lock:
            if not self._is_stopping:
                self._is_stopping = True
                self._watchdog.stopping()


class WatchdogPart:
    """What one of several loops tells."""

    def __init__(self, shared: SharedWatchdog, number: int, interval_s: float) -> None:
        self.interval_s = interval_s
        self._shared = shared
        self._number = number

    def ready(self) -> None:
        self._shared.ready()

    def alive(self) -> None:
        self._shared.alive(self._number)

    def stopping(self) -> None:
        self._shared.stopping()
