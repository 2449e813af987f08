"""What the tab of hosts says: which column is what, which row is which host; and what is remembered of the tab.

Columns are found by their header text and rows by the name in their `host` cell, wherever people move them. This module
only reads; `hosts_tab` says what the tab should show, and what a word in its action column means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sheetd.core.colours import Dress
from sheetd.core.grid import BLANK, Cell, Grid
from sheetd.core.model import HostName
from sheetd.core.rows import canonical

HEADERS = ("host", "action", "state", "why", "free", "slots", "used by", "others", "machine", "seen")
#: What only the daemon writes. A name is written once, where a host gets its row.
WRITTEN = ("state", "why", "free", "slots", "used by", "others", "machine", "seen")
REQUIRED = ("host", "state")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLine:
    """One row below the header, as one read saw it."""

    index: int
    cells: tuple[Cell, ...]
    host: HostName
    action: str
    #: What stands in the action cell, as it was typed.
    typed: str

    def cell(self, position: int | None) -> Cell:
        return self.cells[position] if position is not None and position < len(self.cells) else BLANK


@dataclass(slots=True, kw_only=True)
class HostsView:
    """A read tab, understood. With `problem`, a sentence for a person, nothing is written."""

    grid: Grid
    columns: Mapping[str, int]
    problem: str = ""
    lines: tuple[HostLine, ...] = ()
    #: The first row that names a host; a second one is a copy that somebody made.
    by_host: Mapping[HostName, HostLine] = field(default_factory=dict)
    read_at_s: float = 0.0
    #: Whether it was the first to show a write of ours, so that it cannot be older than that write.
    is_proven: bool = False


@dataclass(slots=True, kw_only=True)
class HostsTab:
    """What is known of the tab at the moment. All of it can be looked at again."""

    view: HostsView | None = None
    next_read_s: float = 0.0
    #: A write ended without an answer: nothing may be written before the next read.
    must_read: bool = False
    #: Of the view that last showed what it should: when it was read, and the world's version at that time.
    compared: tuple[float, int] | None = None
    #: The view came with an answer: what is wrong in it is repaired from a read, so that no two writes follow at once.
    is_answer: bool = False
    last_write_s: float = float("-inf")
    dressed: Dress | None = None
    last_dress_s: float = float("-inf")
    failures: int = 0
    #: Why it cannot be used at the moment, in words.
    trouble: str = ""
    #: From whom we took the experiments, and up to which epoch: their claims we may replace, and they have seen what
    #: people typed.
    former_owners: dict[str, int] = field(default_factory=dict)
    #: The newest claim of ours that was seen, as (epoch, stamp), and how many answers in a row were older.
    stamp_seen: tuple[int, int] = (0, 0)
    old_answers: int = 0
    #: Hosts that were given a row which was not seen since.
    placed: set[HostName] = field(default_factory=set)
    #: Words beside these were not chosen for them: they stood there before, or came back with an older version.
    unchosen: set[HostName] = field(default_factory=set)
    #: The same of all words in the next view.
    doubts_all: bool = False
    #: Since when each host is as it is, in words made once: a clock that is set must not cost writes.
    since: dict[HostName, tuple[float, str]] = field(default_factory=dict)

    def doubt(self) -> None:
        """Nobody has chosen the words that stand there now; which are consumed already, the next look tells."""
        self.doubts_all = True


def read_hosts(grid: Grid, now_s: float) -> HostsView:
    """Understand a grid. An empty tab has no problem: it is ours to fill."""
    if not grid.rows:
        return HostsView(grid=grid, columns={}, read_at_s=now_s)
    texts = [canonical(cell.shown) for cell in grid.rows[0]]
    columns = {name: texts.index(name) for name in HEADERS if name in texts}
    twice = [name for name in columns if texts.count(name) > 1]
    missing = [name for name in REQUIRED if name not in columns]
    problem = ""
    if twice:
        problem = f'two columns of the tab "{grid.title}" are called "{twice[0]}": rename one of them'
    elif missing:
        problem = (
            f'row 1 of the tab "{grid.title}" lacks {" and ".join(missing)}: add what is missing,'
            " or name another tab with hosts_tab in sheetd.toml"
        )
    view = HostsView(grid=grid, columns=columns, problem=problem, read_at_s=now_s)
    if not problem:
        view.lines = tuple(_line(index, cells, columns) for index, cells in enumerate(grid.rows[1:], start=1))
        view.by_host = {line.host: line for line in reversed(view.lines) if line.host}
    return view


def _line(index: int, cells: tuple[Cell, ...], columns: Mapping[str, int]) -> HostLine:
    def at(name: str) -> Cell:
        position = columns.get(name)
        return cells[position] if position is not None and position < len(cells) else BLANK

    typed = at("action").shown
    return HostLine(
        index=index,
        cells=cells,
        host=HostName(str(at("host").value or "").strip()),
        action=canonical(typed),
        typed=typed,
    )
