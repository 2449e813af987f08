"""Keeps one host connected, and turns what happens on the connection into observations.

After each connect the agent is greeted, asked for every attempt it keeps, and told which ones to watch; only then is
the host seen. From there on everything arrives by push. A lost push costs nothing, because every greeting asks for
the whole state and for metrics from the byte where the last report ended. When the channel dies that is reported at
once, and it says nothing about what runs on the host.

A thread connects and greets, and ends with that: an open connection is looked after by one thread for all of them
(`attendant`). Its end begins another thread.

Passing errors are tried again soon and with jitter, those that a person must mend seldom: repeated refused logins get
the daemon's address banned on many hosts. Weak where a name server hangs: looking up a name cannot be interrupted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import tenacity

from sheetd.core.model import AttemptId, HostName
from sheetd.core.observation import (
    AttemptReported,
    HostFacts,
    HostSeen,
    HostUnseen,
    MetricsReported,
    Observation,
)
from sheetd.errors import HostError, HostRefused, HostUnreachable
from sheetd.hosts import answers
from sheetd.hosts.attendant import Attendant
from sheetd.hosts.bootstrap import Place, bundle
from sheetd.hosts.client import REQUEST_DEADLINE_S, AgentClient, Channel

log = logging.getLogger(__name__)

PROTOCOL = 1
#: sshd starts to refuse at ten connections that have not logged in (MaxStartups), which is what a jump host sees of us.
CONNECTS_AT_ONCE = 8
#: A launch that arrives later than this, by the host's own clock, is refused there.
TICKET_LIFE_S = 120.0
#: Refusals that pass by themselves.
_PASSING = frozenset({"busy", "internal", "disk_full"})
_CLOSE_PATIENCE_S = 15.0

_connecting = threading.BoundedSemaphore(CONNECTS_AT_ONCE)
_attendant = Attendant("sheetd-attendant")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How patient a session is. Seconds."""

    quiet_s: float = 18.0
    ping_deadline_s: float = 10.0
    #: A connection that lasted so long is no sign of trouble when it breaks: the next try follows at once.
    healthy_s: float = 60.0
    retry_max_s: float = 30.0
    auth_retry_max_s: float = 600.0

    @property
    def found_within_s(self) -> float:
        """So soon a silent connection is dropped. One over which an answer is awaited: at that answer's deadline."""
        return self.quiet_s * 1.1 + self.ping_deadline_s


def is_lasting(error: BaseException | None) -> bool:
    """Whether a person has to do something before the next try can succeed."""
    return isinstance(error, HostRefused) and error.code not in _PASSING


class Connection:
    """A greeted agent: its client, what it said of the host, and the host's boot clock as of the last word from it."""

    def __init__(self, client: AgentClient, epoch: int) -> None:
        self.client = client
        self.epoch = epoch
        self._boot: object = None
        self._clock = 0.0, 0.0
        self.facts = self.hello()

    def hello(self) -> HostFacts:
        """What the host says of itself now. Raises HostRefused `stale_daemon` when a newer daemon was here."""
        return self.client.request("hello", self._read_hello, protocol=PROTOCOL, epoch=self.epoch)

    def _read_hello(self, answer: Mapping[str, Any]) -> HostFacts:
        facts = answers.host_facts(answer)
        self._boot = answer["boot"]
        self._set_clock(answer)
        return facts

    def ping(self, deadline_s: float = REQUEST_DEADLINE_S) -> None:
        self.client.request("ping", self._set_clock, deadline_s=deadline_s)

    def ticket(self) -> dict[str, Any]:
        """Until when, and in which life of the host, a launch may be obeyed. No clocks of two machines are compared."""
        boottime_s, heard_s = self._clock
        now_s = boottime_s + time.monotonic() - heard_s
        return {"boot": self._boot, "deadline_boottime_s": now_s + TICKET_LIFE_S}

    def _set_clock(self, answer: Mapping[str, Any]) -> None:
        self._clock = answers.seconds(answer, "boottime_s"), time.monotonic()


@dataclass(slots=True)
class _Watched:
    """Up to which byte an attempt's metrics file and log have been reported."""

    metrics_offset: int
    scan_offset: int = 0


@dataclass(slots=True)
class _Wanted:
    lock: threading.Lock = field(default_factory=threading.Lock)
    attempts: dict[AttemptId, _Watched] = field(default_factory=dict)


class Session:
    """One host's connection, over as many channels as it takes, one at a time."""

    def __init__(
        self, name: HostName, dial: Callable[[], Channel], *, place: Place, epoch: int, timing: Timing
    ) -> None:
        self._name = name
        self._dial = dial
        self._place = place
        self.epoch = epoch
        self._timing = timing
        self._report: Callable[[Observation], None] | None = None
        self._thread: threading.Thread | None = None
        self._opening = threading.Lock()
        self._client: AgentClient | None = None
        self._connection: Connection | None = None
        self._why = f"{name}: not connected yet"
        self._closed = threading.Event()
        self._nudge = threading.Event()
        self._wanted = _Wanted()
        self._warned = ""
        self._handing_over = threading.Lock()
        #: The connection that is looked after by the attendant, since when, and how many before it were short.
        self._attended: Connection | None = None
        self._since_s = 0.0
        self._failures = 0
        self._last_error: HostError | None = None

    # --- for the host's verbs ------------------------------------------------------------------------------------

    def connection(self) -> Connection:
        """The one that is open now. Raises HostUnreachable at once when there is none."""
        connection = self._connection
        if connection is None:
            raise HostUnreachable(self._why)
        if connection.client.ended.is_set():
            raise HostUnreachable(connection.client.why)
        return connection

    def connect(self) -> Connection:
        """The one that is open now, or a new one. Raises HostUnreachable or HostRefused."""
        with self._opening:
            if self._connection is not None and not self._connection.client.ended.is_set():
                return self._connection
            self._wait_for_turn()
            try:
                self._connection = self._open()
            except HostError as error:
                self._why = str(error)
                raise
            finally:
                _connecting.release()
        if threading.current_thread() is not self._thread:
            self._nudge.set()  # the thread may be waiting for its next try, which has just been made
        return self._connection

    def take_over(self, epoch: int) -> HostSeen:
        """Greet with this epoch from now on. Raises as a request does, and as `Connection.hello`."""
        self.epoch = epoch
        connection = self.connection()
        connection.epoch = epoch
        connection.facts = connection.hello()
        return self._seen(connection)

    def watch(self, metrics_offsets: Mapping[AttemptId, int]) -> None:
        """Told the agent now and after every connect. Raises as a request does; what is wanted is remembered anyway."""
        with self._wanted.lock:
            former = self._wanted.attempts
            self._wanted.attempts = {
                attempt: _Watched(offset, former[attempt].scan_offset if attempt in former else 0)
                for attempt, offset in metrics_offsets.items()
            }
        self._tell_wanted(self.connection())

    def keep(self, report: Callable[[Observation], None]) -> None:
        """Connect, and come back whenever the connection ends. Called once."""
        self._report = report
        self._begin(self._keep)

    def close(self) -> None:
        """End the connection and the threads; nothing is reported once this has returned. Jobs go on."""
        self._closed.set()
        self._nudge.set()
        if self._client is not None:
            self._client.close()
        _attendant.leave(self)
        with self._handing_over:  # no thread is begun after this
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_CLOSE_PATIENCE_S)

    # --- opening -------------------------------------------------------------------------------------------------

    def _wait_for_turn(self) -> None:
        while not _connecting.acquire(timeout=0.2):
            self._raise_if_closed()

    def _raise_if_closed(self) -> None:
        if self._closed.is_set():
            raise HostUnreachable(f"{self._name}: sheetd has closed its connection")

    def _open(self) -> Connection:
        self._raise_if_closed()
        client = self._client = AgentClient(self._name, self._dial(), self._on_push, self._on_end)
        try:
            self._raise_if_closed()  # again: now `close` knows the client, and before it did not
            client.open(bundle(), self._place)
            return Connection(client, self.epoch)
        except BaseException:
            client.close()
            raise

    # --- keeping it open -----------------------------------------------------------------------------------------

    def _begin(self, work: Callable[[], None]) -> None:
        self._thread = threading.Thread(target=work, name=f"sheetd-{self._name}", daemon=True)
        self._thread.start()

    def _keep(self) -> None:
        """Try until a connection is handed over to the attendant."""
        while not self._closed.is_set() and not self._try():
            if self._failures:
                self._pause(self._backoff_s())

    def _try(self) -> bool:
        began_s: float | None = None
        try:
            connection = self.connect()
            began_s = time.monotonic()
            self._greet(connection)
            self._hand_over(connection, began_s)
        except HostError as error:
            self._lose(error, began_s)
            return False
        return True

    def _hand_over(self, connection: Connection, began_s: float) -> None:
        """From here on the end of the connection begins a thread. Raises HostUnreachable when it has ended already."""
        with self._handing_over:
            if connection.client.ended.is_set():
                raise HostUnreachable(connection.client.why)
            self._attended, self._since_s = connection, began_s
            if not self._closed.is_set():
                _attendant.attend(self, lambda: self._look_after(connection))

    def _on_end(self) -> None:
        """Runs on whichever thread ended the connection."""
        with self._handing_over:
            connection, self._attended = self._attended, None
            if connection is not None and not self._closed.is_set():
                self._begin(lambda: self._come_back(connection, self._since_s))

    def _come_back(self, connection: Connection, began_s: float) -> None:
        self._lose(HostUnreachable(connection.client.why), began_s)
        if self._failures:
            self._pause(self._backoff_s())
        self._keep()

    def _look_after(self, connection: Connection) -> float:
        """Ping a host that has nothing to say, and only that. Returns in how many seconds to look again."""
        client, timing = connection.client, self._timing
        client.drop_if_stuck(timing.ping_deadline_s)
        if client.ended.is_set():
            return timing.quiet_s
        if client.quiet_s() >= timing.quiet_s and not client.is_asking():
            threading.Thread(
                target=self._ping, args=(connection,), name=f"sheetd-{self._name}-ping", daemon=True
            ).start()
        return max(timing.quiet_s - client.quiet_s(), timing.quiet_s / 10)

    def _ping(self, connection: Connection) -> None:
        try:
            connection.ping(self._timing.ping_deadline_s)
        except HostError as error:
            connection.client.drop(str(error))

    def _lose(self, error: HostError, began_s: float | None) -> None:
        """Say so; only a connection that was healthy is followed by the next at once."""
        if self._client is not None:
            self._client.close()
        self._warn(error)
        self._say(HostUnseen(host=self._name, why=str(error), lasting=is_lasting(error)))
        is_short = began_s is None or time.monotonic() - began_s < self._timing.healthy_s
        self._failures, self._last_error = self._failures + 1 if is_short else 0, error

    def _warn(self, error: HostError) -> None:
        """What only a person can mend, once: rows and `sheetd hosts` say it as long as it lasts."""
        if is_lasting(error) and str(error) != self._warned:
            log.error("%s", error)
        self._warned = str(error) if is_lasting(error) else ""

    def _greet(self, connection: Connection) -> None:
        self._say(self._seen(connection))
        self._tell_wanted(connection)

    def _seen(self, connection: Connection) -> HostSeen:
        attempts = connection.client.request("status", answers.attempts_seen, attempts=None)
        return HostSeen(host=self._name, facts=connection.facts, attempts=attempts, epoch=connection.epoch)

    def _backoff_s(self) -> float:
        """After so many failures in a row, of which the last was this."""
        state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
        state.attempt_number = self._failures
        if isinstance(self._last_error, HostRefused) and self._last_error.code == "auth_failed":
            slow = tenacity.wait_exponential(multiplier=15, max=self._timing.auth_retry_max_s)
            return slow(state) + tenacity.wait_random(0, 15)(state)
        return tenacity.wait_random_exponential(multiplier=1, max=self._timing.retry_max_s)(state)

    def _pause(self, seconds: float) -> None:
        """Sleep, unless somebody connects or closes meanwhile."""
        self._nudge.wait(seconds)
        self._nudge.clear()

    # --- observations --------------------------------------------------------------------------------------------

    def _say(self, observation: Observation) -> None:
        if self._report is not None and not self._closed.is_set():
            self._report(observation)

    def _tell_wanted(self, connection: Connection) -> None:
        with self._wanted.lock:
            wanted = {
                attempt: {"metrics_offset": at.metrics_offset, "scan_offset": at.scan_offset, "log_offset": None}
                for attempt, at in self._wanted.attempts.items()
            }
            seen = connection.client.request("watch", answers.attempts_seen, attempts=wanted)
        for attempt, state in seen.items():
            self._say(AttemptReported(host=self._name, attempt=attempt, seen=state))

    def _on_push(self, push: Mapping[str, Any]) -> None:
        """Runs on the reader thread. Raises ProtocolError, which ends the connection."""
        if push["push"] == "accelerators":
            self._say(answers.accelerators_report(self._name, push))
            return
        attempt = AttemptId(str(push.get("attempt")))
        watched = self._wanted.attempts.get(attempt)
        if watched is None:
            return  # said before the agent heard that we do not watch it any more
        if push["push"] == "attempt":
            seen = answers.attempt_seen(push.get("state"))
            self._say(AttemptReported(host=self._name, attempt=attempt, seen=seen))
        elif push["push"] == "metrics":
            self._on_metrics(attempt, watched, push)

    def _on_metrics(self, attempt: AttemptId, watched: _Watched, push: Mapping[str, Any]) -> None:
        points = answers.metric_points(push.get("points"))
        start, end = answers.count(push, "from"), answers.count(push, "to")
        scanned: int | None = None
        if push.get("source") == "log":
            watched.scan_offset = scanned = end
            start = end = watched.metrics_offset
        else:
            watched.metrics_offset = end
        self._say(
            MetricsReported(host=self._name, attempt=attempt, start=start, end=end, points=points, scanned=scanned)
        )
