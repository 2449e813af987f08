"""The rows that an example's README tells people to type, judged as the daemon would."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sheetd.core.grid import Cell, Grid
from sheetd.core.rows import read_layout, view_grid
from sheetd.core.template import Template
from sheetd.core.validation import Accepted, Refused, judge


def table(readme: Path) -> list[dict[str, str]]:
    """The first Markdown table of the file, a mapping from header to text for each row."""
    lines = [line for line in readme.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(header, row, strict=True)) for row in rows]


def typed(text: str) -> Cell:
    """What a spreadsheet makes of typed text: a number where it is one, else the text."""
    try:
        return Cell(value=float(text), shown=text)
    except ValueError:
        return Cell(value=text or None, shown=text)


def judged(row: Mapping[str, str], templates: Mapping[str, Template]) -> Accepted | Refused:
    header = ["id", "status", "message", *row]
    cells = (Cell(), Cell(), Cell(), *(typed(text) for text in row.values()))
    grid = Grid(
        tab_id=0,
        title="Experiments",
        rows=(tuple(Cell(value=name, shown=name) for name in header), cells),
        row_count=2,
        column_count=len(header),
    )
    names = [name for template in templates.values() for name in template.params]
    metrics = [rule.name for template in templates.values() for rule in template.metrics]
    layout = read_layout(grid.rows[0], names, metrics)
    assert layout.problems == ()
    return judge(view_grid(grid, layout, None, 0.0).rows[0], layout, templates)
