"""The tab of runs in the simulator: people sort it, spoil and delete lines of it, and delete it.

In half of the runs. At the end every run has one line, which says what it should.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sheetd.core.runs_grid import HEADERS, read_runs
from sheetd.core.runs_tab import lines_of, write_of
from tests.sim.sheet import Column, Line, SimSheet, Tab

if TYPE_CHECKING:
    from tests.sim.world import Simulation

OWNED = frozenset({*HEADERS, "lr", "repeat", "loss"})


class RoomySheet(SimSheet):
    """One that grows."""

    def make_room(self, rows: int, columns: int) -> None:
        self._call("read")
        self._call("write")
        self.tab.row_count = max(self.tab.row_count, rows)
        self.tab.column_count = max(self.tab.column_count, columns)
        self.tab.changed()

    def create_tab_if_missing(self) -> bool:
        if not super().create_tab_if_missing():
            return False
        self.tab.columns, self.tab.lines = [], []
        self.tab.tab_id += 10
        self.tab.dressed, self.tab.row_count = None, 4
        self.tab.changed()
        return True


class RunsTab:
    """The tab, and the people at it."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.engine = simulation.engine
        self.chance = self.engine.stream("runs tab")
        self.is_wanted = self.chance.random() < 0.5
        self.tab = Tab(row_count=4, owned=OWNED)
        self.tab.title, self.tab.tab_id, self.tab.is_deleted = "Runs", 9, True

    def sheet_for(self, sheet: SimSheet) -> RoomySheet | None:
        """The same API with the same troubles and the same budget, for this tab."""
        if not self.is_wanted:
            return None
        beside = RoomySheet(self.tab, self.engine)
        beside.rates, beside.calls, beside.blame, beside.outage = sheet.rates, sheet.calls, sheet.blame, sheet.outage
        beside.is_budgeted, beside.flying = sheet.is_budgeted, sheet.flying
        beside.meddle = self._meddle
        return beside

    # --- people --------------------------------------------------------------------------------------------------

    def people_come(self) -> None:
        if self.is_wanted and self.chance.random() < 0.7:
            self.engine.at(self.chance.expovariate(1.0 / 40.0), self._come)

    def _come(self) -> None:
        if self.simulation.is_calm[0]:
            return
        if self.tab.lines and not self.tab.is_deleted:
            self.chance.choice([self._sort, self._insert, self._delete, self._spoil, self._copy, self._note])()
            if self.chance.random() < 0.1:
                self.engine.log("somebody deletes the tab of runs")
                self.tab.is_deleted = True
        self.engine.at(self.chance.expovariate(1.0 / 40.0), self._come)

    def _sort(self) -> None:
        self.chance.shuffle(self.tab.lines)
        self.tab.changed()

    def _insert(self) -> None:
        if len(self.tab.lines) < 60:
            self.tab.lines.insert(self.chance.randrange(len(self.tab.lines) + 1), Line())
            self.tab.row_count = max(self.tab.row_count, len(self.tab.lines) + 1)
            self.tab.changed()

    def _copy(self) -> None:
        copied = Line()
        copied.cells = dict(self.chance.choice(self.tab.lines).cells)
        self._insert()
        self.tab.lines[self.chance.randrange(len(self.tab.lines))].cells.update(copied.cells)
        self.tab.changed()

    def _delete(self) -> None:
        self.tab.lines.remove(self.chance.choice(self.tab.lines))
        self.tab.changed()

    def _note(self) -> None:
        column = self.tab.column("my notes")
        if column is None:
            column = Column("my notes", OWNED)
            self.tab.columns.append(column)
        self.tab.enter(self.chance.choice(self.tab.lines), column, f"note {self.chance.randrange(100)}")

    def _spoil(self) -> None:
        column = self.tab.column(self.chance.choice(["run", "group", "status", "lr", "loss"]))
        if column is not None:
            self.tab.enter(self.chance.choice(self.tab.lines), column, self.chance.choice(["mine", "", 7.0]))

    def _meddle(self) -> None:
        """Lines move between a read and the write that was planned from it."""
        if self.tab.lines and not self.simulation.is_calm[0] and self.chance.random() < 0.1:
            self.engine.log("lines of runs move under a write")
            self.chance.choice([self._sort, self._insert])()

    # --- what must be true ---------------------------------------------------------------------------------------

    def step(self) -> None:
        if self.tab.blame:
            self.simulation.checker.blame("I7", self.tab.blame[0])

    def pending(self) -> str:
        """What the tab does not show yet, as a sentence."""
        daemon = self.simulation.service.daemon
        if not self.is_wanted or daemon is None or not daemon.world.state.sweeps:
            return ""
        if self.tab.is_deleted:
            return "the tab of runs was not made"
        now = daemon._now()
        write = write_of(read_runs(self.tab.grid(), now.s), lines_of(daemon.world, now))
        if write is not None:
            return f"the tab of runs is to say {write.updates[:3]}"
        column = self.tab.column("run")
        assert column is not None
        shown = [
            line.get(column).value
            for line in self.tab.lines
            if line.get(column).value in daemon.world.state.experiments
        ]
        runs = [member.id for group in daemon.world.state.sweeps for member in daemon.world.state.members(group)]
        return "" if sorted(map(str, shown)) == sorted(runs) else f"the tab of runs shows {shown}, and there are {runs}"
