"""One thread that looks after everything that needs a look now and then, in place of a sleeping thread for each.

An open connection needs only a ping when its host has been quiet. Fifty threads that wait for that cost two megabytes.
A look must not block: whatever takes time gets a thread for as long as it takes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Attendant:
    """The thread exists while there is something to look after. Safe to use from several threads."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._changed = threading.Condition()
        #: By what is looked after: when the next look is due (monotonic), and the look.
        self._due: dict[object, tuple[float, Callable[[], float]]] = {}
        self._thread: threading.Thread | None = None

    def attend(self, charge: object, look: Callable[[], float]) -> None:
        """Have `look` called at once, and then after as many seconds as it returns each time, until `leave`."""
        with self._changed:
            self._due[charge] = time.monotonic(), look
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def leave(self, charge: object) -> None:
        """No more looks, but for one that has begun. With the last charge the thread ends, and is waited for."""
        with self._changed:
            self._due.pop(charge, None)
            self._changed.notify_all()
            thread = self._thread
            if thread is None:
                return
            self._changed.wait_for(lambda: bool(self._due) or self._thread is not thread)
            if self._thread is thread:
                return
        thread.join()

    def _work(self) -> None:
        while (looks := self._next()) is not None:
            for charge, look in looks:
                pause_s = look() if charge in self._due else 0.0
                with self._changed:
                    if charge in self._due:
                        self._due[charge] = time.monotonic() + pause_s, look

    def _next(self) -> list[tuple[object, Callable[[], float]]] | None:
        """The looks that are due, once some are. None, and no thread from then on, when nothing is left."""
        with self._changed:
            while self._due:
                now_s = time.monotonic()
                due = [(charge, look) for charge, (at_s, look) in self._due.items() if at_s <= now_s]
                if due:
                    return due
                self._changed.wait(min(at_s for at_s, _ in self._due.values()) - now_s)
            self._thread = None
            self._changed.notify_all()
            return None
