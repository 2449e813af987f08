"""Carries out effects beside the loop: one thread per lane, so that a slow host delays nobody but itself.

Within a lane effects are carried out in the order they were planned. What comes out is put into the daemon's inbox; an
exception that is no outcome is a bug, and is handed over to surface in the loop rather than to die in a thread.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from sheetd.core.absorb import News
from sheetd.core.effect import Effect, lane


class Lanes:
    """`submit` never waits. `close` lets what is being carried out finish, and drops what has not begun.

    A lane has a thread only while it has something to do: most hosts are at rest most of the time.
    """

    def __init__(self, carry_out: Callable[[Effect], News], deliver: Callable[[News | BaseException], None]) -> None:
        self._carry_out = carry_out
        self._deliver = deliver
        self._lock = threading.Lock()
        #: Of the lanes that have a thread: what has not begun.
        self._waiting: dict[str, deque[Effect]] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._is_closing = False

    def submit(self, effect: Effect) -> None:
        name = lane(effect)
        with self._lock:
            if name in self._waiting:
                self._waiting[name].append(effect)
                return
            self._waiting[name] = deque([effect])
            thread = threading.Thread(target=self._work, args=(name,), name=f"lane {name}", daemon=True)
            self._threads[name] = thread
            thread.start()

    def aside(self, work: Callable[[], None]) -> None:
        """Do what may take its time and has no outcome."""

        def do() -> None:
            try:
                work()
            except BaseException as bug:  # noqa: BLE001 - raised again in the loop
                self._deliver(bug)

        threading.Thread(target=do, name="lane aside", daemon=True).start()

    def close(self, patience_s: float) -> None:
        """Wait for the threads, at most so long together. What is cut off is planned again: effects are idempotent."""
        with self._lock:
            self._is_closing = True
            threads = list(self._threads.values())
        for thread in threads:
            thread.join(patience_s / len(threads))

    def _work(self, name: str) -> None:
        while (effect := self._next(name)) is not None:
            self._deliver(self._outcome(effect))

    def _next(self, name: str) -> Effect | None:
        with self._lock:
            if self._waiting[name] and not self._is_closing:
                return self._waiting[name].popleft()
            del self._waiting[name], self._threads[name]
            return None

    def _outcome(self, effect: Effect) -> News | BaseException:
        try:
            return self._carry_out(effect)
        except BaseException as bug:  # noqa: BLE001 - raised again in the loop
            return bug
