"""Rows that a program wants to have typed: from plain values to typed cells under the columns of a header.

Judged by `validation` before anything is written, exactly as the daemon will judge them afterwards, so that a mistake
is told to who made it. Nothing is guessed that a cell would not say: a number may be given as its text, as on a command
line, where the template wants a number; any other text stays what it is.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sheetd.core.grid import BLANK, Cell, CellValue, Grid
from sheetd.core.model import Value
from sheetd.core.rows import Layout, canonical, view_grid
from sheetd.core.template import Param, ParamType, Template, as_argument
from sheetd.core.validation import NUMBER, Refused, judge, layout_by

#: What a program may fill in beside parameters. Of the actions only `run`: the others are about a row that is there.
CONTROLS = ("template", "where", "gpus", "priority", "after", "repeat", "action")
_NUMBERS = ("gpus", "priority", "repeat")
#: More rows at once are a mistake, or a sheet that no person reads any more.
ROWS_MAX = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Valid rows, cell by cell from the first column on. `headers` are to be added behind the last column first."""

    rows: tuple[tuple[CellValue, ...], ...]
    #: By these the daemon records the rows that it takes in (`rows.fingerprint`).
    fingerprints: tuple[str, ...]
    headers: tuple[str, ...]


def propose(
    wanted: Sequence[Mapping[str, Value | None]],
    grid: Grid,
    templates: Mapping[str, Template],
    *,
    add_columns: bool = False,
) -> Proposal | Refused:
    """The cells to be typed, or what is wrong with which row. Values of None and empty text leave a cell empty."""
    header = grid.rows[0] if grid.rows else ()
    layout = layout_by(templates, header)
    if layout.problems:
        return Refused(problems=layout.problems)
    if not 0 < len(wanted) <= ROWS_MAX:
        return Refused(problems=(f"{len(wanted)} rows at once: add from 1 to {ROWS_MAX}",))
    problems: list[str] = []
    typed: list[dict[str, Cell]] = []
    for number, values in enumerate(wanted, start=1):
        cells, wrong = _cells(values, templates)
        problems += _numbered(wrong, number, len(wanted))
        if len(templates) == 1 and "template" not in layout.by_name:
            cells.pop("template", None)  # there is nothing to choose, so many sheets have no such column
        typed.append(cells)
    missing = tuple(
        name for name in dict.fromkeys(name for cells in typed for name in cells) if name not in layout.by_name
    )
    if missing and not add_columns:
        problems += [
            layout.lost.get(name)
            or f"the sheet has no column {name}: add the header {name} to row 1, or use --add-columns"
            for name in missing
        ]
    if problems:
        return Refused(problems=tuple(problems))
    if missing:
        # Behind everything that any row holds: a column without a header may be full of a person's notes.
        width = max(map(len, grid.rows))
        header = (*header, *[BLANK] * (width - len(header)), *(Cell(name, name) for name in missing))
        layout = layout_by(templates, header)
    return _judged(typed, header, layout, templates, missing)


def _judged(
    typed: Sequence[Mapping[str, Cell]],
    header: tuple[Cell, ...],
    layout: Layout,
    templates: Mapping[str, Template],
    missing: tuple[str, ...],
) -> Proposal | Refused:
    lines = []
    for cells in typed:
        line = [BLANK] * len(header)
        for name, cell in cells.items():
            line[layout.by_name[name]] = cell
        lines.append(tuple(line))
    grid = Grid(tab_id=0, title="", rows=(header, *lines), row_count=len(lines) + 1, column_count=len(header))
    problems: list[str] = []
    rows = view_grid(grid, layout, None, 0.0).rows
    for number, row in enumerate(rows, start=1):
        verdict = judge(row, layout, templates)
        if isinstance(verdict, Refused):
            problems += _numbered(verdict.problems, number, len(rows))
        elif row.is_blank:
            problems += _numbered(
                ["nothing is to be typed, and an empty row is not run: give its template"], number, len(rows)
            )
    if problems:
        return Refused(problems=tuple(problems))
    return Proposal(
        rows=tuple(tuple(cell.value for cell in line) for line in lines),
        fingerprints=tuple(row.fingerprint for row in rows),
        headers=missing,
    )


def _numbered(problems: Iterable[str], number: int, rows: int) -> list[str]:
    return [problem if rows == 1 else f"row {number}: {problem}" for problem in problems]


def _cells(values: Mapping[str, Value | None], templates: Mapping[str, Template]) -> tuple[dict[str, Cell], list[str]]:
    """The filled cells of one row by canonical column, and what is wrong with the names."""
    wanted = canonical(str(values.get("template") or ""))
    chosen = [
        one for name, one in templates.items() if canonical(name) == wanted or (not wanted and len(templates) == 1)
    ]
    params = {canonical(name): param for template in chosen for name, param in template.params.items()}
    known = [*(param.name for param in params.values()), *CONTROLS]
    cells: dict[str, Cell] = {}
    problems: list[str] = []
    for given, value in values.items():
        name = canonical(given)
        param = params.get(name)
        column = param.name if param is not None else name
        if column in cells:
            problems.append(f"{column} is given twice")
        elif param is None and name not in CONTROLS:
            # Without a template nothing can be said of its parameters: `judge` says that there is none.
            if chosen:
                problems.append(_unknown(given, known, chosen[0]))
        elif name == "action" and value not in (None, "", "run"):
            problems.append(f"action is {str(value)[:40]}: only run may be typed into a new row")
        elif value is not None and value != "":
            cells[column] = cell = _cell(column, param, value)
            if isinstance(cell.value, float) and not math.isfinite(cell.value):
                problems.append(f"{column} is {str(value)[:40]}: give a number that a cell can hold")
    if not chosen:
        problems.append(
            f"template is {wanted or 'not given'}: give one of {', '.join(sorted(templates)) or 'none is configured'}"
        )
    return cells, problems


def _unknown(given: str, known: Sequence[str], template: Template) -> str:
    near = difflib.get_close_matches(canonical(given), known, n=1, cutoff=0.6)
    if near:
        return f"template {template.name} has no parameter {given[:60]}: did you mean {near[0]}?"
    return f"template {template.name} has no parameter {given[:60]}: it knows {', '.join(known)}"


def _cell(column: str, param: Param | None, value: Value) -> Cell:
    kind = param.type if param is not None else None
    if kind in (ParamType.NUMBER, ParamType.INTEGER) or column in _NUMBERS:
        if isinstance(value, str) and NUMBER.fullmatch(value.strip(" ")):
            value = float(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            value = float(value) if abs(value) < 1e308 else math.inf
    elif kind is ParamType.BOOLEAN and isinstance(value, str) and canonical(value) in ("true", "false"):
        value = canonical(value) == "true"
    elif not isinstance(value, str) and kind is not ParamType.BOOLEAN:
        value = as_argument(value)  # a text column's 007 and 1e3 are text, and so is what a program gives as a number
    return Cell(value, as_argument(value).upper() if isinstance(value, bool) else as_argument(value))
