"""The simulated tab, the API in front of it, and what is remembered of every cell that a person owns.

A line stays the same object wherever it is moved, so that who wrote what into which row is known without an id. The
shadow (`Line.mine`) is what people typed; `Tab.blame` collects every cell of theirs that came to differ from it.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress

from sheetd.core.colours import Dress
from sheetd.core.grid import BLANK, Cell, CellValue, Claim, Grid, Merge, SheetWrite, Shown
from sheetd.errors import SheetError, SheetRefused, SheetUnavailable
from tests.core.story import cell
from tests.sim.engine import Engine, Killed

OWNED_HEADERS = (
    "status",
    "message",
    "host",
    "attempt",
    "started",
    "runtime",
    "progress",
    "eta",
    "code",
    "loss",
    "loss:curve",
    "id",
)
USER_HEADERS = ("template", "lr", "seed", "tag", "where", "action", "after", "repeat", "my notes")


class Column:
    """A column, wherever it is moved. `header` is what its first cell says."""

    def __init__(self, header: str, owned: Collection[str] = OWNED_HEADERS) -> None:
        self.header = header
        self.owned = owned
        self.tag = ""

    @property
    def is_owned(self) -> bool:
        return self.header in self.owned


class Line:
    """A row, wherever it is moved. What people know of it is kept beside it (`people.py`)."""

    def __init__(self) -> None:
        self.cells: dict[Column, Cell] = {}
        self.mine: dict[Column, Cell] = {}

    def get(self, column: Column) -> Cell:
        return self.cells.get(column, BLANK)


class Tab:
    """The live table. Its first row is the header."""

    def __init__(
        self, headers: Sequence[str] = (), row_count: int = 1000, owned: Collection[str] = OWNED_HEADERS
    ) -> None:
        self.owned = owned
        self.columns = [Column(header, owned) for header in headers]
        self.lines: list[Line] = []
        self.title = "Experiments"
        self.tab_id = 7
        self.row_count = row_count
        self.column_count = max(26, len(headers))
        self.is_deleted = False
        #: What a line said before the daemon put something into it.
        self.put = lambda _line, _column, _value: None
        self.claim: Claim | None = None
        #: Neighbouring lines and columns whose cells are shown as one.
        self.merges: list[tuple[list[Line], list[Column]]] = []
        #: What becomes of a write whose claim is another's by now: refused, or applied without its claim.
        self.refuses_lost_claims = True
        self.dressed: Dress | None = None
        self.blame: list[str] = []
        self.written: list[tuple[Line, Column, Shown]] = []
        self.version = 0
        self._grid: tuple[int, Grid] | None = None
        self._rows: dict[Line, tuple[Cell, ...]] = {}

    # --- as people see it ----------------------------------------------------------------------------------------

    def changed(self) -> None:
        self.version += 1

    def column(self, header: str) -> Column | None:
        return next((column for column in self.columns if column.header == header), None)

    def enter(self, line: Line, column: Column, value: CellValue | Cell) -> None:
        """A person types."""
        held = cell(value)
        line.cells[column] = held
        if not column.is_owned:
            line.mine[column] = held
        self.changed()

    def merge(self, lines: list[Line], columns: list[Column]) -> None:
        """A person merges cells: all but the upper left one lose what they hold."""
        for line in lines:
            for column in columns:
                if (line, column) != (lines[0], columns[0]):
                    line.cells.pop(column, None)
                    line.mine.pop(column, None)
        self.merges.append((lines, columns))
        self.changed()

    def unmerge(self, lines: list[Line]) -> None:
        """A person undoes the merge of these lines, if it is still there. What it swallowed is lost."""
        self.merges = [merge for merge in self.merges if merge[0] is not lines]
        self.changed()

    def _merged(self, lines: list[Line], columns: list[Column]) -> Merge:
        top, left = self.lines.index(lines[0]) + 1, self.columns.index(columns[0])
        return Merge(top, left, top + len(lines), left + len(columns))

    def grid(self) -> Grid:
        if self._grid is None or self._grid[0] != self.version:
            header = tuple(cell(column.header) for column in self.columns)
            rows = [trimmed(header), *(self._row(line) for line in self.lines)]
            while rows and not rows[-1]:
                rows.pop()
            grid = Grid(
                tab_id=self.tab_id,
                title=self.title,
                rows=tuple(rows),
                row_count=self.row_count,
                column_count=self.column_count,
                claim=self.claim,
                merges=tuple(self._merged(*merge) for merge in self.merges if set(merge[1]) <= set(self.columns)),
            )
            if self._grid is not None and self._grid[1] == grid:
                grid = self._grid[1]
            self._grid = (self.version, grid)
        return self._grid[1]

    def _row(self, line: Line) -> tuple[Cell, ...]:
        """The very same object while the row says the same: adapters promise it, and the core counts on it."""
        fresh = trimmed(line.get(column) for column in self.columns)
        if self._rows.get(line) != fresh:
            self._rows[line] = fresh
        return self._rows[line]

    # --- as the API sees it --------------------------------------------------------------------------------------

    def apply(self, write: SheetWrite) -> None:  # noqa: C901, PLR0912 - one rule after another
        """All or nothing, by position on the tab as it is now."""
        if self.is_deleted or write.tab_id != self.tab_id:
            raise SheetRefused("the tab was deleted: restore it")
        for guard in write.guards:
            if guard.column >= len(self.columns) or self.columns[guard.column].tag != guard.name:
                raise SheetRefused(f"column {guard.column} is not {guard.name!r} any more")
        beyond = [u for u in write.updates if u.row >= self.row_count or u.column >= self.column_count]
        if beyond:
            raise SheetRefused(f"cell {beyond[0].row},{beyond[0].column} is outside the grid")
        if write.claim is not None:
            if self.claim == write.claim.old:
                self.claim = write.claim.new
            elif write.claim.old is None or self.refuses_lost_claims:
                raise SheetRefused("the tab's claim is another by now")
        for replacement in write.replacements:
            column = self.columns[replacement.column]
            for line in self.lines:
                if line.get(column).value == replacement.old:
                    self._put(line, column, replacement.new)
        for update in write.updates:
            while update.column >= len(self.columns):
                self.columns.append(Column("", self.owned))
            column = self.columns[update.column]
            if update.row == 0:
                column.header = str(update.value or "")
                continue
            while update.row > len(self.lines):
                self.lines.append(Line())
            self._put(self.lines[update.row - 1], column, update.value)
        if write.updates or write.replacements or write.claim:
            self.changed()

    def _put(self, line: Line, column: Column, value: Shown) -> None:
        if not column.is_owned and column.header:
            self.blame.append(f"the daemon wrote {value!r} into {column.header!r}, which is not its column")
        self.put(line, column, value)
        line.cells[column] = cell(value)
        self.written.append((line, column, value))


def trimmed(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    """Without the blank cells at the end, as the API leaves them out."""
    kept = list(cells)
    while kept and kept[-1] == BLANK:
        kept.pop()
    return tuple(BLANK if one == BLANK else one for one in kept)


class Person:
    """Somebody who types, for the contract suite: as `tests/contracts` wants it."""

    def __init__(self, tab: Tab) -> None:
        self.tab = tab

    def enter(self, row: int, column: int, text: str) -> None:
        while column >= len(self.tab.columns):
            self.tab.columns.append(Column(""))
        if row == 0:
            self.tab.columns[column].header = text
            self.tab.changed()
            return
        while row > len(self.tab.lines):
            self.tab.lines.append(Line())
        self.tab.enter(self.tab.lines[row - 1], self.tab.columns[column], self._typed(text))

    def _typed(self, text: str) -> Cell:
        if text.startswith("="):
            if "/0" in text:
                return Cell(value=None, shown="#DIV/0!", formula=text, error="DIVIDE_BY_ZERO")
            return Cell(value="formula", shown="formula", formula=text)
        if text.upper() in ("TRUE", "FALSE"):
            return cell(text.upper() == "TRUE")
        if re.fullmatch(r"-?[0-9]+(\.[0-9]*)?", text):
            return Cell(value=float(text), shown=text)
        return cell(text.removeprefix("'"))

    def insert_row(self, row: int) -> None:
        self.tab.lines.insert(row - 1, Line())
        self.tab.changed()

    def insert_column(self, column: int) -> None:
        self.tab.columns.insert(column, Column(""))
        self.tab.changed()

    def sort(self, column: int) -> None:
        by = self.tab.columns[column]
        self.tab.lines.sort(key=lambda line: str(line.get(by).value))
        self.tab.changed()

    def merge(self, rows: tuple[int, int], columns: tuple[int, int]) -> None:
        self.tab.merge(self.tab.lines[rows[0] - 1 : rows[1]], self.tab.columns[columns[0] : columns[1] + 1])

    def unmerge(self) -> None:
        self.tab.merges.clear()
        self.tab.changed()

    def colleague(self) -> SimSheet:
        return SimSheet(self.tab)

    def rename_tab(self, title: str) -> None:
        self.tab.title = title
        self.tab.changed()

    def delete_tab(self) -> None:
        self.tab.is_deleted = True


class SimSheet:
    """`ports.Sheet`. With an engine the API takes time and fails; without one it answers at once."""

    def __init__(self, tab: Tab, engine: Engine | None = None) -> None:
        self.tab = tab
        self.engine = engine
        self.latency = 0.15
        #: Probability of each fault, by its name in `faults.py`.
        self.rates: dict[str, float] = {}
        self.is_out = ""
        self.lasting = False
        self.outage: Callable[[], SheetError | None] = self._outage
        self.old: deque[Grid] = deque(maxlen=4)
        #: As the last answer had them: by others the tab is not dressed.
        self.headers: list[str] = []
        self.calls: dict[str, deque[float]] = {"read": deque(maxlen=70), "write": deque(maxlen=70)}
        self.blame: list[str] = []
        self.is_budgeted = True
        self.fails: Callable[[str], bool] = lambda _where: False
        #: Writes on their way whose daemon is dead.
        self.flying: list[int] = []
        #: What people do between any two things that the API does.
        self.meddle = lambda: None
        self.before_read = lambda: None

    def _outage(self) -> SheetError | None:
        if not self.is_out:
            return None
        return (SheetRefused if self.lasting else SheetUnavailable)(self.is_out)

    def read(self) -> Grid:
        self._call("read")
        self.before_read()
        if self.tab.is_deleted:
            raise SheetRefused("the tab was deleted: restore it")
        if self.fails("a read"):
            raise SheetUnavailable("a read failed")
        grid = self._stale(self.tab.grid())
        self.headers = [column.header for column in self.tab.columns]
        self._answer("read")
        return grid

    def write(self, write: SheetWrite) -> Grid:
        columns = list(self.tab.columns)
        try:
            self._call("write")
        except Killed:
            self._apply_late(write, columns)
            raise
        self.meddle()
        self._refuse("G13 write refused")
        self._refuse("S26 column protected")
        self._lose("G2 write lost before it was applied")
        self.tab.apply(write)
        grid = self.tab.grid()
        self.headers = [column.header for column in self.tab.columns]
        self.meddle()
        self._lose("G5 write applied and its answer lost")
        if self.fails("the answer to a write"):
            raise SheetUnavailable("the answer to a write was lost")
        self._answer("write")
        return grid

    def create_tab_if_missing(self) -> bool:
        self._call("read")
        if not self.tab.is_deleted:
            return False
        self._call("write")
        self._lose("G5 write applied and its answer lost")
        self.tab.is_deleted = False
        return True

    def dress(self, dress: Dress) -> bool:
        self._call("write")
        changed = self.tab.dressed != dress
        self.tab.dressed = dress
        if [column.header for column in self.tab.columns] == self.headers:
            for column in self.tab.columns:
                column.tag = ""
            for tag in dress.tags:
                self.tab.columns[tag.column].tag = tag.name
        return changed

    # --- what goes wrong -----------------------------------------------------------------------------------------

    def _call(self, kind: str) -> None:
        if self.engine is None:
            return
        calls, now = self.calls[kind], self.engine.now
        calls.append(now)
        if self.is_budgeted and len(calls) > 60 and now - calls[-61] < 60.0:
            self.blame.append(f"I16: more than 60 {kind} requests within a minute")
        self.engine.sleep(self.engine.between(0.2, 1.0) * self.latency)
        outage = self.outage()
        if outage is not None:
            self.engine.sleep(1.0)
            raise outage
        for fault in (
            "G1 429 quota",
            "G2 500 or 503",
            "G3 error page instead of JSON",
            "G4 no answer",
            "G11 name not resolved",
        ):
            self._lose(fault)
        for fault in ("G7 token expired", "G8 token endpoint reset"):
            self._lose(fault)

    def _lose(self, fault: str) -> None:
        if self.engine is None or not self.engine.chance(self.rates.get(fault, 0.0), fault):
            return
        self.engine.fault(fault)
        if fault.startswith("G4"):
            self.engine.sleep(60.0)
        raise SheetUnavailable(fault)

    def _refuse(self, fault: str) -> None:
        if self.engine is not None and self.engine.chance(self.rates.get(fault, 0.0), fault):
            self.engine.fault(fault)
            raise SheetRefused(fault)

    def _apply_late(self, write: SheetWrite, columns: list[Column]) -> None:
        """The daemon died while its request was on the way, and it arrives all the same."""
        engine = self.engine
        if engine is None or engine.random.random() < 0.5:
            return
        engine.fault("M1 a write outlives its daemon")
        self.flying.append(1)

        def apply() -> None:
            self.flying.pop()
            if columns == self.tab.columns and not self.tab.is_deleted:
                with suppress(SheetRefused):  # the tab was claimed by the next one meanwhile
                    self.tab.apply(write)

        engine.at(engine.between(0.0, 2.0), apply)

    @property
    def is_late(self) -> bool:
        return bool(self.flying)

    def _answer(self, kind: str) -> None:
        if self.engine is not None:
            slow = self.rates.get("G4 no answer", 0.0) and self.engine.chance(0.05, "G4 slow")
            self.engine.sleep(
                self.engine.between(0.2, 1.0) * self.latency + (self.engine.between(0, 30) if slow else 0.0)
            )

    def _stale(self, grid: Grid) -> Grid:
        engine = self.engine
        if engine is None:
            return grid
        self.old.append(grid)
        if engine.chance(self.rates.get("G12 truncated read", 0.0), "G12 truncated read") and len(grid.rows) > 2:
            engine.fault("G12 truncated read")
            kept = grid.rows[: engine.random.randrange(1, len(grid.rows))]
            return Grid(
                tab_id=grid.tab_id,
                title=grid.title,
                rows=kept,
                row_count=grid.row_count,
                column_count=grid.column_count,
                claim=grid.claim,
                merges=grid.merges,
            )
        if engine.chance(self.rates.get("G12 stale read", 0.0), "G12 stale read"):
            engine.fault("G12 stale read")
            old = self.old[0]
            return old if old.rows[:1] == grid.rows[:1] else grid
        return grid
