"""Asks one agent over one channel, and listens to what it says unasked.

One reader thread per connection. Requests are numbered and answered in order; each has a deadline of its own, and
when one passes the whole connection is dropped: bytes that are already under way may still be obeyed much later, so
the only honest answer is "unknown", and every request that changes something is made to be repeated. An AgentClient
lives as long as its channel and is never reused. Coming back is the session's business.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from sheetd.errors import HostRefused, HostUnreachable
from sheetd.hosts.answers import text
from sheetd.hosts.bootstrap import Bundle, Place, opening
from sheetd.hosts.wire import Decoder, ProtocolError, encode, new_nonce

REQUEST_DEADLINE_S = 20.0
#: Stage 0 answers after the login shell has started, which on a busy host with a long .bashrc takes its time.
BOOTSTRAP_DEADLINE_S = 30.0
#: How long the reader thread may take to notice that its channel was closed.
_JOIN_S = 10.0
#: Stage 0 and an agent that cannot go on answer without a number; real requests count from 1.
_STAGE0 = 0


class Channel(Protocol):
    """Bytes to and from one agent process. `close` may be called from any thread, at any time, and ends every wait."""

    def open(self) -> None:
        """Raises HostUnreachable, or HostRefused when trying again is of no use."""
        ...

    def send(self, data: bytes) -> None:
        """All of it, or OSError."""
        ...

    def receive(self) -> bytes:
        """At least one byte; none at the end. Waits without limit."""
        ...

    def complaint(self) -> str:
        """The latest that came over the error stream, for people."""
        ...

    def close(self) -> None: ...


Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class _Pending:
    answer: Future[Mapping[str, Any]]
    deadline_s: float


class AgentClient:
    """Speaks to one agent. Safe to use from several threads. `on_end` is called once, by whichever ends it."""

    def __init__(
        self,
        name: str,
        channel: Channel,
        on_push: Callable[[Mapping[str, Any]], None],
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self._name = name
        self._channel = channel
        self._on_push = on_push
        self._on_end = on_end
        self._nonce = new_nonce()
        self._decoder = Decoder(self._nonce)
        self._numbers = itertools.count(1)
        self._pending: dict[int, _Pending] = {}
        self._state = threading.Lock()
        self._sending = threading.Lock()
        self._heard_s = time.monotonic()
        self._reader = threading.Thread(target=self._read, name=f"sheetd-{name}-reader", daemon=True)
        #: Set once the connection is over, for whatever reason; `why` says which.
        self.ended = threading.Event()
        self.why = ""

    # --- life ---------------------------------------------------------------------------------------------------

    def open(self, shipped: Bundle, place: Place) -> None:
        """Connect and bring the agent up. Raises HostUnreachable or HostRefused, and is closed then."""
        try:
            self._channel.open()
            deadline_s = time.monotonic() + BOOTSTRAP_DEADLINE_S
            pending = self._expect(_STAGE0, deadline_s)
            self._reader.start()
            self._send(opening(shipped, self._nonce, place), deadline_s)
            if self._await(pending, "the first request")["need"] is True:
                self._send(shipped.blob, time.monotonic() + BOOTSTRAP_DEADLINE_S)
        except BaseException as error:
            self._end(str(error))
            raise

    def close(self) -> None:
        """Drop the connection. The agent ends when its input does; jobs go on."""
        self._end(f"{self._name}: the connection was closed")
        if self._reader.ident is not None and self._reader is not threading.current_thread():
            self._reader.join(_JOIN_S)

    def drop(self, why: str) -> None:
        """End the connection for this reason, if nothing ended it before."""
        self._end(why)

    # --- asking -------------------------------------------------------------------------------------------------

    def request(
        self,
        verb: str,
        read: Callable[[Mapping[str, Any]], Answer],
        *,
        deadline_s: float = REQUEST_DEADLINE_S,
        **fields: Any,
    ) -> Answer:
        """The agent's answer, as `read` understands it.

        Raises HostRefused with the agent's code, or HostUnreachable when no answer came that can be understood.
        """
        number = next(self._numbers)
        try:
            frame = encode(self._nonce, {"id": number, "verb": verb, **fields})
        except ProtocolError as error:
            raise HostRefused("bad_request", f"{self._name}: {error}") from error
        pending = self._expect(number, time.monotonic() + deadline_s)
        try:
            self._send(frame, pending.deadline_s)
            return read(self._await(pending, f"`{verb}`"))
        except ProtocolError as error:
            self._end(f"{self._name}: the agent sent {error}")
            raise HostUnreachable(self.why) from error
        finally:
            with self._state:
                self._pending.pop(number, None)

    def quiet_s(self) -> float:
        """For how long nothing at all was heard."""
        return time.monotonic() - self._heard_s

    def is_asking(self) -> bool:
        """Whether an answer is awaited. While it is, its own deadline watches over the connection."""
        with self._state:
            return bool(self._pending)

    def drop_if_stuck(self, patience_s: float) -> None:
        """End the connection when a request is this long past its deadline: its sender hangs in a full buffer."""
        now = time.monotonic()
        with self._state:
            is_stuck = any(pending.deadline_s + patience_s < now for pending in self._pending.values())
        if is_stuck:
            self._end(f"{self._name}: a request could not even be sent in time")

    def _expect(self, number: int, deadline_s: float) -> _Pending:
        pending = _Pending(Future(), deadline_s)
        with self._state:
            if self.ended.is_set():
                raise HostUnreachable(self.why)
            self._pending[number] = pending
        return pending

    def _await(self, pending: _Pending, what: str) -> Mapping[str, Any]:
        try:
            return pending.answer.result(timeout=max(0.0, pending.deadline_s - time.monotonic()))
        except FutureTimeout:
            self._end(f"{self._name}: no answer to {what} in time{self._said()}")
            raise HostUnreachable(self.why) from None

    def _send(self, data: bytes, deadline_s: float) -> None:
        if not self._sending.acquire(timeout=max(0.0, deadline_s - time.monotonic())):
            self._end(f"{self._name}: an earlier message could not be sent in time")
            raise HostUnreachable(self.why)
        try:
            self._channel.send(data)
        except OSError as error:
            self._end(f"{self._name}: the connection broke: {str(error) or type(error).__name__}{self._said()}")
            raise HostUnreachable(self.why) from error
        finally:
            self._sending.release()

    # --- listening (the reader thread) --------------------------------------------------------------------------

    def _read(self) -> None:
        try:
            while data := self._channel.receive():
                self._heard_s = time.monotonic()
                for message in self._decoder.feed(data):
                    self._dispatch(message)
            why = f"{self._name}: the host closed the connection{self._said()}"
        except ProtocolError as error:
            why = f"{self._name}: the agent sent {error}"
        except OSError as error:
            why = f"{self._name}: the connection broke: {str(error) or type(error).__name__}{self._said()}"
        except BaseException:
            self._end(f"{self._name}: a bug in sheetd ended the connection; the log says more")
            raise
        self._end(why)

    def _dispatch(self, message: dict[str, Any]) -> None:
        if "push" in message:
            self._on_push(message)
            return
        number = message.get("id", _STAGE0)
        with self._state:
            pending = self._pending.pop(number, None) if isinstance(number, int) else None
        answer = message if number == _STAGE0 and "need" in message else message.get("ok")
        if pending is None and number == _STAGE0:
            raise ProtocolError(f"word of its end: {self._refusal(message.get('error'))}")
        if pending is None:
            return  # the answer to a request whose deadline passed just now
        if isinstance(answer, dict):
            pending.answer.set_result(answer)
        else:
            pending.answer.set_exception(self._refusal(message.get("error")))

    def _refusal(self, error: object) -> HostRefused:
        if not isinstance(error, dict):
            return HostRefused("internal", f"{self._name}: the agent refused without saying why")
        return HostRefused(text(error.get("code")), f"{self._name}: {text(error.get('message'))}")

    # --- the end ------------------------------------------------------------------------------------------------

    def _said(self) -> str:
        said = self._channel.complaint() or self._decoder.noise
        return f"; it said: {said[-300:]!r}" if said else ""

    def _end(self, why: str) -> None:
        with self._state:
            if self.ended.is_set():
                return
            self.why = why
            self.ended.set()
            waiting = [pending.answer for pending in self._pending.values()]
            self._pending.clear()
        self._channel.close()
        for answer in waiting:
            answer.set_exception(HostUnreachable(why))
        self._on_end()
