"""How often we may ask: a token bucket, kept under half of what Google grants.

Google allows 60 reads and 60 writes a minute per user and project (developers.google.com/workspace/sheets/api/limits);
the other half is left to people's scripts under the same account. Any one minute holds at most what a full bucket lets
through at once and what trickles in meanwhile: both together are less than that half. Pure: the time is an argument,
so a test needs no clock. All sheets of this process under one account share one quota, as Google counts them together.
Weak: one process knows nothing of another daemon under the same account; then Google's 429 decides.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Mapping

#: Reads and writes each, as Google grants them, and what we allow ourselves of it.
GRANTED_A_MINUTE = 60
ALLOWED_A_MINUTE = GRANTED_A_MINUTE // 2
READS_A_MINUTE = 24.0
WRITES_A_MINUTE = 24.0
BURST = 5


class TokenBucket:
    """Tokens trickle in at a constant rate up to `burst`; each request takes one, also from the future.

    For any number of threads: several sheets may share it.
    """

    def __init__(self, a_minute: float, burst: int = BURST) -> None:
        self._rate_per_s = a_minute / 60.0
        self._burst = float(burst)
        self._tokens = float(burst)
        self._counted_at_s: float | None = None
        self._lock = threading.Lock()

    def reserve_s(self, now_s: float) -> float:
        """Take a token and say how many seconds to wait before using it: 0 while there are any.

        `now_s` is monotonic. Reserving from the future keeps the order of callers and never sends two at the same
        moment.
        """
        with self._lock:
            if self._counted_at_s is not None:
                # Of two threads the one that looked at the clock first may come second.
                now_s = max(now_s, self._counted_at_s)
                self._tokens = min(self._burst, self._tokens + (now_s - self._counted_at_s) * self._rate_per_s)
            self._counted_at_s = now_s
            self._tokens -= 1.0
            return max(0.0, -self._tokens / self._rate_per_s)


class RequestMeter:
    """How many requests were sent in the last minute, by kind. One thread may send while another one asks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent: deque[tuple[float, str]] = deque()

    def note(self, kind: str, now_s: float) -> None:
        with self._lock:
            self._forget(now_s)
            self._sent.append((now_s, kind))

    def last_minute(self, now_s: float) -> Counter[str]:
        with self._lock:
            self._forget(now_s)
            return Counter(kind for _, kind in self._sent)

    def _forget(self, now_s: float) -> None:
        while self._sent and now_s - self._sent[0][0] >= 60.0:
            self._sent.popleft()


class Quota:
    """What one account may send: a bucket for each kind of request, and the meter of them all."""

    def __init__(self) -> None:
        self.buckets: Mapping[str, TokenBucket] = {
            "read": TokenBucket(READS_A_MINUTE),
            "write": TokenBucket(WRITES_A_MINUTE),
        }
        self.meter = RequestMeter()


class Quotas:
    """The quota of each account that this process signs in with. For one thread."""

    def __init__(self) -> None:
        self._quotas: dict[str, Quota] = {}

    def of(self, account: str) -> Quota:
        """The same one for the same account, which is named by its address or by the file it signs in with."""
        return self._quotas.setdefault(account, Quota())
