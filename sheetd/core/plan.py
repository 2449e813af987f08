"""The result of reconcile: what to record, what to do, and when to look again at the latest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sheetd.core.effect import Effect
from sheetd.core.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Events come first: while there are any, `effects` is empty, because effects follow from what is recorded."""

    events: tuple[Event, ...] = ()
    effects: tuple[Effect, ...] = ()
    wake_s: float = float("inf")


class Chance(Protocol):
    """Where ids come from. Seeded in the simulator."""

    def experiment_id(self) -> str:
        """Short, of `[a-z0-9]`, unlikely to repeat."""
        ...

    def nonce(self) -> str:
        """128 bits as hexadecimal."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """A moment: `s` is monotonic and for deciding, `wall_s` is for showing."""

    s: float
    wall_s: float
