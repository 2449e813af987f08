"""Which colour a row has, and everything else that is put on a tab once: dropdowns, header, protections.

Colour is a conditional format on the status word, never a written background: it cannot be on a wrong row, follows
every sort, and costs no request when a status changes.
The palette stays apart in grey and for the three kinds of colour blindness: no two words are equally light, and those
that follow each other least of all. Dark text is readable on each. `tests/core/test_palette.py` measures all of this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from sheetd.core.grid import ColumnTag

Rgb: TypeAlias = tuple[float, float, float]


def _rgb(text: str) -> Rgb:
    return (int(text[0:2], 16) / 255, int(text[2:4], 16) / 255, int(text[4:6], 16) / 255)


#: Background of the whole row by status word. Words that are not here have no colour.
ROW_COLOURS: dict[str, Rgb] = {
    "waiting": _rgb("f8fafa"),
    "launching": _rgb("c7e4fe"),
    "running": _rgb("82deaf"),
    "restarting": _rgb("f5eeb0"),
    "unreachable": _rgb("f29d5a"),
    "stopping": _rgb("d4d9dd"),
    "stopped": _rgb("a7a9ad"),
    "paused": _rgb("8898fc"),
    "succeeded": _rgb("51d785"),
    "failed": _rgb("e27a81"),
    "invalid": _rgb("cdabe4"),
}

#: The same for the tab of hosts, in the colours that mean about the same there. Two words are one thing for who waits.
HOST_COLOURS: dict[str, Rgb] = {
    "up": ROW_COLOURS["running"],
    "on trial": ROW_COLOURS["restarting"],
    "drained": ROW_COLOURS["stopped"],
    "quarantined": ROW_COLOURS["unreachable"],
    "closed": ROW_COLOURS["unreachable"],
    "down": ROW_COLOURS["failed"],
    "unknown": ROW_COLOURS["invalid"],
}

ACTIONS = ("run", "stop", "restart", "rerun", "pause", "resume")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """A header of ours: the note on it, without the mark by which it is known again, and its first width in pixels."""

    column: int
    note: str
    width: int


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
    headings: tuple[Heading, ...] = ()
    #: By these the columns of ours are known in a write.
    tags: tuple[ColumnTag, ...] = ()
