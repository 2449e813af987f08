"""Which colour a row has, and everything else that is put on a tab once: dropdowns, header, protections.

Colour is a conditional format on the status word, never a written background: it cannot be on a wrong row, follows
every sort, and costs no request when a status changes.
The palette stays apart in grey and for the common kinds of colour blindness: the words differ in lightness too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Rgb: TypeAlias = tuple[float, float, float]


def _rgb(text: str) -> Rgb:
    return (int(text[0:2], 16) / 255, int(text[2:4], 16) / 255, int(text[4:6], 16) / 255)


#: Background of the whole row by status word. Words that are not here have no colour.
ROW_COLOURS: dict[str, Rgb] = {
    "waiting": _rgb("f3f4f6"),
    "launching": _rgb("dbeafe"),
    "running": _rgb("bbf7d0"),
    "restarting": _rgb("fef08a"),
    "unreachable": _rgb("fed7aa"),
    "stopping": _rgb("e5e7eb"),
    "stopped": _rgb("d1d5db"),
    "paused": _rgb("c7d2fe"),
    "succeeded": _rgb("86efac"),
    "failed": _rgb("fca5a5"),
    "invalid": _rgb("e9d5ff"),
}

#: The same for the tab of hosts.
HOST_COLOURS: dict[str, Rgb] = {
    "up": _rgb("bbf7d0"),
    "on trial": _rgb("fef08a"),
    "drained": _rgb("d1d5db"),
    "quarantined": _rgb("fed7aa"),
    "closed": _rgb("fed7aa"),
    "down": _rgb("fca5a5"),
    "unknown": _rgb("e9d5ff"),
}

ACTIONS = ("run", "stop", "restart", "rerun", "pause", "resume")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dress:
    """What the tab should wear, by column position in the header as read. An adapter installs what is missing."""

    tab_id: int
    status_column: int
    action_column: int | None
    template_column: int | None
    owned_columns: tuple[int, ...]
    column_count: int
    templates: tuple[str, ...]
    colours: tuple[tuple[str, Rgb], ...] = tuple(ROW_COLOURS.items())
    actions: tuple[str, ...] = ACTIONS
