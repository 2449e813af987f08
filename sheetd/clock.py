"""The only clock, and the only source of chance, outside the tests."""

from __future__ import annotations

import secrets
import time

_LETTERS = "bcdfghjkmnpqrstvwxz"
_SIGNS = _LETTERS + "23456789"
ID_LENGTH = 6


class SystemClock:
    """Monotonic time that goes on while a laptop sleeps, where the system has such a clock."""

    def monotonic_s(self) -> float:
        if hasattr(time, "CLOCK_BOOTTIME"):
            return time.clock_gettime(time.CLOCK_BOOTTIME)
        return time.monotonic()

    def wall_s(self) -> float:
        return time.time()


class SystemChance:
    """Ids of signs that do not look alike; no spreadsheet reads one as a number, a date or a word."""

    def experiment_id(self) -> str:
        return secrets.choice(_LETTERS) + "".join(secrets.choice(_SIGNS) for _ in range(ID_LENGTH - 1))

    def nonce(self) -> str:
        return secrets.token_hex(16)
