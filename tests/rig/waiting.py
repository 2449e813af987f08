"""Waiting for other processes: a condition, a deadline, and a message that says what did not come."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

_STEP_S = 0.01


def wait_for(condition: Callable[[], Found], what: str, *, within_s: float = 20.0) -> Found:
    """The first true value of the condition. Raises AssertionError when it does not come in time."""
    deadline_s = time.monotonic() + within_s
    while not (found := condition()):
        if time.monotonic() > deadline_s:
            raise AssertionError(f"did not happen within {within_s:g} s: {what}")
        time.sleep(_STEP_S)
    return found
