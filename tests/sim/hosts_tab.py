"""The tab of hosts in the simulator: who types what there, and what the daemon may do about it.

In half of the runs. A word may be obeyed as often as it was typed beside its host, and never more often.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sheetd.core import events as ev
from sheetd.core.grid import CellValue
from sheetd.core.hosts_grid import HEADERS, read_hosts
from sheetd.core.hosts_tab import write_of
from tests.sim.sheet import Column, Line, SimSheet, Tab

if TYPE_CHECKING:
    from tests.sim.world import Simulation

OWNED = frozenset(HEADERS) - {"action"}
WORDS = ("drain", "resume", "resume", "retest", "", "", "drian")


class HostsTab:
    """The tab, the people at it and the checker of it."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.engine = simulation.engine
        self.chance = self.engine.stream("hosts tab")
        self.is_wanted = self.chance.random() < 0.5
        self.tab = Tab(row_count=60, owned=OWNED)
        self.tab.title, self.tab.tab_id, self.tab.is_deleted = "Hosts", 8, True
        self.tab.put = self._put
        #: How often each word was typed beside each host, and how often it was obeyed.
        self.typed: Counter[tuple[str, str]] = Counter()
        self.obeyed: Counter[tuple[str, str]] = Counter()

    def sheet_for(self, sheet: SimSheet) -> SimSheet | None:
        """The same API with the same troubles and the same budget, for this tab."""
        if not self.is_wanted:
            return None
        beside = SimSheet(self.tab, self.engine)
        beside.rates, beside.calls, beside.blame, beside.outage = sheet.rates, sheet.calls, sheet.blame, sheet.outage
        beside.is_budgeted, beside.flying = sheet.is_budgeted, sheet.flying
        beside.meddle, beside.before_read = self._meddle, self._before_read
        return beside

    # --- people --------------------------------------------------------------------------------------------------

    def people_come(self) -> None:
        if self.is_wanted and self.chance.random() < 0.7:
            self.engine.at(self.chance.expovariate(1.0 / 40.0), self._come)

    def _come(self) -> None:
        if self.simulation.is_calm[0]:
            return
        if self.tab.lines and self.tab.columns:
            self.chance.choice([self._choose] * 4 + [self._note, self._sort, self._insert, self._delete, self._spoil])()
        self.engine.at(self.chance.expovariate(1.0 / 40.0), self._come)

    def _choose(self) -> None:
        line, word = self.chance.choice(self.tab.lines), self.chance.choice(WORDS)
        column, host = self.tab.column("action"), self._host_of(line)
        if column is not None and host:
            self.engine.log(f"somebody types {word!r} beside {host}")
            self.typed[host, word] += 1
            self.tab.enter(line, column, word)

    def _note(self) -> None:
        column = self.tab.column("my notes")
        if column is None:
            column = Column("my notes", OWNED)
            self.tab.columns.append(column)
        self.tab.enter(self.chance.choice(self.tab.lines), column, f"note {self.chance.randrange(100)}")

    def _before_read(self) -> None:
        """Columns are moved just before a read: between a read and its write nothing helps."""
        is_alone = len(self.simulation.services) == 1 and not self.simulation.api.is_late
        if is_alone and self.tab.columns and not self.simulation.is_calm[0] and self.chance.random() < 0.05:
            self.chance.shuffle(self.tab.columns)
            self.tab.changed()

    def _sort(self) -> None:
        self.chance.shuffle(self.tab.lines)
        self.tab.changed()

    def _insert(self) -> None:
        if len(self.tab.lines) < 30:
            self.tab.lines.insert(self.chance.randrange(len(self.tab.lines) + 1), Line())
            self.tab.changed()

    def _delete(self) -> None:
        self.tab.lines.remove(self.chance.choice(self.tab.lines))
        self.tab.changed()

    def _spoil(self) -> None:
        column = self.tab.column(self.chance.choice(["state", "why", "free"]))
        if column is not None:
            self.tab.enter(self.chance.choice(self.tab.lines), column, "mine")

    def _meddle(self) -> None:
        """Rows move between a read and the write that was planned from it."""
        if self.tab.lines and not self.simulation.is_calm[0] and self.chance.random() < 0.1:
            self.engine.log("rows of hosts move under a write")
            self.chance.choice([self._sort, self._insert])()

    def _host_of(self, line: Line) -> str:
        column = self.tab.column("host")
        return str(line.get(column).value or "") if column is not None else ""

    # --- the daemon ----------------------------------------------------------------------------------------------

    def _put(self, line: Line, column: Column, value: CellValue) -> None:
        """A host is placed in a line that has moved there with a word in it: that it is told apart cannot be promised
        of a daemon that dies in this moment.
        """
        action = self.tab.column("action")
        if column.header == "host" and value and action is not None and line.get(action).shown:
            self.typed[str(value), line.get(action).shown] += 1

    def consumed(self, event: ev.HostActionConsumed) -> None:
        if not event.obeyed or self.simulation.is_disputed:
            return
        key = (str(event.host), event.action)
        self.obeyed[key] += 1
        if self.obeyed[key] > self.typed[key]:
            words = f"{event.action} of {event.host} was obeyed {self.obeyed[key]} times, typed {self.typed[key]} times"
            self.simulation.checker.blame("S14", words)

    def step(self) -> None:
        blame = self.simulation.checker.blame
        if self.tab.blame:
            blame("I7", self.tab.blame[0])
        for line in self.tab.lines:
            for column, held in line.mine.items():
                if line.get(column) != held:
                    blame("I7", f"{column.header} of a host was {held.shown!r} and is {line.get(column).shown!r}")

    def pending(self) -> str:
        """What the tab does not show yet, as a sentence."""
        daemon = self.simulation.service.daemon
        if not self.is_wanted or daemon is None:
            return ""
        tab = daemon.world.hosts_tab
        if tab is None or tab.view is None or self.tab.is_deleted:
            return "the tab of hosts was not made"
        if self.simulation.is_disputed and "another daemon" in tab.trouble:
            return ""  # a restored version of the tab is that daemon's: a person is told to delete it (seed 3803)
        now = daemon._now()
        write = write_of(daemon.world, tab, read_hosts(self.tab.grid(), now.s), now)
        if write is not None:
            return f"the tab of hosts is to say {write.updates[:3]}"
        return ""
