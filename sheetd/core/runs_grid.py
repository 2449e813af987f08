"""What the tab of runs says: which column is what, which line is which run; and what is remembered of the tab.

Columns are found by their header text and lines by the id in their `run` cell, wherever people move them. This module
only reads; `runs_tab` says what the tab should show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from sheetd.core.colours import Dress
from sheetd.core.grid import CellValue, Grid
from sheetd.core.model import ExperimentId
from sheetd.core.rows import canonical

#: What every line has. Behind these come the parameters that vary, and metrics.
HEADERS = ("run", "group", "status", "message", "host", "attempt", "started", "runtime")
REQUIRED = ("run", "group", "status")

#: By run, in order; each by header.
Lines: TypeAlias = Mapping[ExperimentId, Mapping[str, CellValue]]


@dataclass(slots=True, kw_only=True)
class RunsView:
    """A read tab, understood. With `problem`, a sentence for a person, nothing is written."""

    grid: Grid
    #: By canonical header, the first of that text.
    columns: Mapping[str, int] = field(default_factory=dict)
    problem: str = ""
    #: The first line that names a run; others are copies, which a person made or an answer that was cut short.
    by_run: Mapping[str, int] = field(default_factory=dict)
    copies: tuple[tuple[str, int], ...] = ()
    read_at_s: float = 0.0
    #: It came with an answer: what is wrong in it is mended from a read, so that no two writes follow at once.
    is_answer: bool = False


@dataclass(slots=True, kw_only=True)
class RunsTab:
    """What is known of the tab at the moment. All of it can be looked at again."""

    view: RunsView | None = None
    next_look_s: float = 0.0
    #: A write ended without an answer: nothing may be written before the next read.
    must_read: bool = False
    #: What it was last seen to show, all of it, and the world's version when it was last compared with that.
    shown: Lines | None = None
    compared: int | None = None
    last_write_s: float = float("-inf")
    dressed: Dress | None = None
    last_dress_s: float = float("-inf")
    failures: int = 0
    #: Why it cannot be used at the moment, in words.
    trouble: str = ""


def read_runs(grid: Grid, now_s: float) -> RunsView:
    """Understand a grid. An empty tab has no problem: it is ours to fill."""
    view = RunsView(grid=grid, read_at_s=now_s)
    if not grid.rows:
        return view
    columns: dict[str, int] = {}
    for position, cell in enumerate(grid.rows[0]):
        columns.setdefault(canonical(cell.shown), position)
    columns.pop("", None)
    view.columns = columns
    if missing := [name for name in REQUIRED if name not in columns]:
        view.problem = (
            f'row 1 of the tab "{grid.title}" lacks {" and ".join(missing)}: delete the tab if it is not yours,'
            " or name another one with runs_tab in sheetd.toml"
        )
        return view
    lines: dict[str, int] = {}
    named = [(str(grid.cell(row, columns["run"]).value or "").strip(), row) for row in range(1, len(grid.rows))]
    for run, row in named:
        if run:
            lines.setdefault(run, row)
    view.by_run = lines
    view.copies = tuple((run, row) for run, row in named if run and lines[run] != row)
    return view
