"""Several loops in one process, one for each project: they begin and end together.

One that fails ends the process, as a single one does, so that whoever keeps the daemon starts it again; the others are
closed in peace before. Must not know what a loop does.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Mapping
from typing import Protocol

log = logging.getLogger(__name__)

#: How long the others may take to end after the first.
END_PATIENCE_S = 30.0
THREAD_PREFIX = "sheetd-loop "


class Loop(Protocol):
    """`run` works until `stop`, which any thread may call, also before."""

    def run(self) -> None: ...

    def stop(self) -> None: ...


def run_together(loops: Mapping[str, Loop]) -> None:
    """Work until all were stopped, or one has failed: then the others are stopped, and its error is raised."""
    if len(loops) == 1:
        for loop in loops.values():
            loop.run()
        return
    ends: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
    threads = [
        threading.Thread(target=_work, args=(loop, ends), name=f"{THREAD_PREFIX}{name}", daemon=True)
        for name, loop in loops.items()
    ]
    for thread in threads:
        thread.start()
    first: BaseException | None = None
    try:
        first = ends.get()
    finally:
        for loop in loops.values():
            loop.stop()
        _await(threads)
    for error in (first, *(ends.get() for _ in range(ends.qsize()))):
        if error is not None:
            raise error


def _work(loop: Loop, ends: queue.SimpleQueue[BaseException | None]) -> None:
    try:
        loop.run()
    except BaseException as error:
        log.exception("ends, and every other project with it")
        ends.put(error)
    else:
        ends.put(None)


def _await(threads: list[threading.Thread]) -> None:
    until_s = time.monotonic() + END_PATIENCE_S
    for thread in threads:
        thread.join(max(0.0, until_s - time.monotonic()))
    for thread in threads:
        if thread.is_alive():
            log.error("%s does not end", thread.name)


def project_of_thread() -> str:
    """Whose loop this is; empty for any other thread, and where there is only one project."""
    name = threading.current_thread().name
    return name.removeprefix(THREAD_PREFIX) if name.startswith(THREAD_PREFIX) else ""
