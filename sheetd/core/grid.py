"""One tab of a spreadsheet, as typed cells.

A position in a grid means something only together with that grid: people sort, so no row number outlives the read it
came from. Text is verbatim, numbers are the IEEE value of the cell; nothing is guessed from how it looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from sheetd.core.curve import Curve

CellValue: TypeAlias = str | float | bool | None
#: What the daemon may put into a cell of its own: a value, or the one formula that it ever writes.
Shown: TypeAlias = CellValue | Curve


class Cell(NamedTuple):
    """What a cell holds. `shown` is what a person sees; `formula` and `error` are set where Google reports them."""

    value: CellValue = None
    shown: str = ""
    formula: str | None = None
    error: str | None = None

    @property
    def is_blank(self) -> bool:
        """A formula that yields an empty text is blank to a person, and so to us; one without a value is unfinished."""
        return self.error is None and (self.value == "" or (self.value is None and self.formula is None))


BLANK = Cell()


class Claim(NamedTuple):
    """Who serves the tab: kept with the tab where no person types, and changed by comparison only.

    `owner` names a state folder on a machine, and `epoch` the daemon that runs over it. `stamp` grows with every write
    of that daemon, so an answer that is older than our last write is known for one. `where` is for people. `hosts` are
    digests of the host names that the owner may start something on. `events` is how long the owner's journal was: a
    journal over the same folder that is shorter has lost something.
    """

    epoch: int
    owner: str
    stamp: int
    where: str = ""
    hosts: tuple[str, ...] = ()
    events: int = 0


class Merge(NamedTuple):
    """Cells that are shown as one, by position; `bottom` and `right` are the first outside.

    The upper left one holds what is shown. The others are blank, or hold what nobody sees.
    """

    top: int
    left: int
    bottom: int
    right: int

    @property
    def a1(self) -> str:
        """As a person finds it, such as `C2:C3`."""
        return f"{column_letters(self.left)}{self.top + 1}:{column_letters(self.right - 1)}{self.bottom}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A whole tab at one moment. Rows may be ragged: what is not there is blank. `rows[0]` is the header."""

    tab_id: int
    title: str
    rows: tuple[tuple[Cell, ...], ...]
    row_count: int
    column_count: int
    claim: Claim | None = None
    merges: tuple[Merge, ...] = ()

    def cell(self, row: int, column: int) -> Cell:
        if row < len(self.rows) and column < len(self.rows[row]):
            return self.rows[row][column]
        return BLANK


@dataclass(frozen=True, slots=True, kw_only=True)
class CellUpdate:
    """One daemon-owned cell to be set, by position in the grid that the decision was made from."""

    row: int
    column: int
    value: Shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """Replace one unique id by another text wherever it is now: addressed by content, so it cannot miss."""

    column: int
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimChange:
    """Put `new` in the place of `old`, and only of `old`: None where nobody has claimed the tab yet.

    Whether it went through is seen in the answer. Of any number of daemons that try from the same `old`, one succeeds.
    """

    old: Claim | None
    new: Claim


class ColumnTag(NamedTuple):
    """What a column is called where no person types: it moves with the column, whatever its header says."""

    column: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetWrite:
    """Everything one cycle changes, sent as one atomic request. Replacements are carried out first.

    Where the claim is another's by now, either nothing of the write is applied (SheetRefused), or all but the claim.
    Where a column of `guards` is not the one of that name any more, nothing is (SheetRefused).
    """

    tab_id: int
    updates: tuple[CellUpdate, ...] = ()
    replacements: tuple[Replacement, ...] = ()
    claim: ClaimChange | None = None
    guards: tuple[ColumnTag, ...] = ()

    @property
    def has_cells(self) -> bool:
        """Whether it is more than a say of who writes."""
        return bool(self.updates or self.replacements)


def column_letters(column: int) -> str:
    """`C` for 2, `AA` for 26: columns have no zero digit."""
    letters = ""
    column += 1
    while column:
        column, digit = divmod(column - 1, 26)
        letters = chr(ord("A") + digit) + letters
    return letters
