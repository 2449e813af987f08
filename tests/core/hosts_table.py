"""The tab of hosts that people type into, as a story has it."""

from __future__ import annotations

from collections.abc import Sequence

from sheetd.core.grid import Grid, SheetWrite
from sheetd.core.hosts_grid import HEADERS
from tests.core.story import Line, Table


class HostsTable(Table):
    """Empty at first, unless it is given a header."""

    tab_id, title, owned = 8, "Hosts", frozenset(HEADERS) - {"action"}

    def __init__(self, header: Sequence[str] = ()) -> None:
        super().__init__(header)

    def read(self) -> Grid:
        grid = super().read()
        if any(grid.rows):
            return grid
        return Grid(tab_id=self.tab_id, title=self.title, rows=(), row_count=1000, column_count=26, claim=self.claim)

    def write(self, write: SheetWrite) -> Grid:
        below = []
        for update in write.updates:
            if update.row:
                below.append(update)
                continue
            assert update.column == len(self.header), "a header was written over"
            self.header.append(str(update.value))
            self.changed()
        return super().write(SheetWrite(tab_id=write.tab_id, updates=tuple(below), claim=write.claim))

    def of(self, host: str) -> Line:
        return next(line for line in self.lines if line["host"] == host)
