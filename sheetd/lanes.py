"""Carries out effects beside the loop: one thread per lane, so that a slow host delays nobody but itself.

Within a lane effects are carried out in the order they were planned. What comes out is put into the daemon's inbox; an
exception that is no outcome is a bug, and is handed over to surface in the loop rather than to die in a thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

from sheetd.core.absorb import News
from sheetd.core.effect import Effect, lane


class Lanes:
    """`submit` never waits. `close` lets what is being carried out finish, and drops what has not begun."""

    def __init__(self, carry_out: Callable[[Effect], News], deliver: Callable[[News | BaseException], None]) -> None:
        self._carry_out = carry_out
        self._deliver = deliver
        self._queues: dict[str, SimpleQueue[Effect | None]] = {}
        self._threads: list[threading.Thread] = []
        self._closing = threading.Event()

    def submit(self, effect: Effect) -> None:
        name = lane(effect)
        if name not in self._queues:
            self._queues[name] = SimpleQueue()
            thread = threading.Thread(target=self._work, args=(self._queues[name],), name=f"lane {name}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._queues[name].put(effect)

    def close(self, patience_s: float) -> None:
        """Wait for the threads, at most so long together. What is cut off is planned again: effects are idempotent."""
        self._closing.set()
        for queue in self._queues.values():
            queue.put(None)
        for thread in self._threads:
            thread.join(patience_s / max(1, len(self._threads)))

    def _work(self, queue: SimpleQueue[Effect | None]) -> None:
        while (effect := queue.get()) is not None and not self._closing.is_set():
            self._deliver(self._outcome(effect))

    def _outcome(self, effect: Effect) -> News | BaseException:
        try:
            return self._carry_out(effect)
        except BaseException as bug:  # noqa: BLE001 - raised again in the loop
            return bug
