"""How a campaign tells how far it is: a moving line on a terminal, a line now and then elsewhere, or nothing."""

from __future__ import annotations

import sys
import time
from typing import final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

PLAIN_EVERY_S = 15.0


@final
class Telling:
    """`with Telling("kills", quiet=False) as tell:` and `tell(done, of, words)` as often as one likes."""

    def __init__(self, what: str, *, quiet: bool) -> None:
        self._what = what
        self._quiet = quiet
        self._said_s = float("-inf")
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        times = (TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[words]}"))
        is_shown = console.is_terminal and not quiet
        self._bar = Progress(*columns, *times, console=console, transient=True) if is_shown else None
        self._task = self._bar.add_task(what, total=None, words="") if self._bar is not None else None

    def __call__(self, done: int, of: int, words: str) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=of, words=words)
        elif not self._quiet and time.monotonic() - self._said_s >= PLAIN_EVERY_S:
            self._said_s = time.monotonic()
            print(f"{done} of {of} {self._what}; {words}", file=sys.stderr, flush=True)

    def __enter__(self) -> Telling:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
