"""`sheetd ls`: the rows that are known, one line each, for people who look for some of them. Reads only."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from sheetd.cli.picture import Picture, take_pictures
from sheetd.cli.terminal import ConfigOption, JsonOption, SheetOption, out, settings_to_look, status_style, table_lines
from sheetd.core.template import as_argument
from sheetd.core.text import clean_line
from sheetd.projects import projects_of

COLUMNS = ("id", "status", "template", "params")
PARAMS_MAX = 200


def ls(
    status: Annotated[list[str] | None, typer.Option(help="Only these statuses, such as failed.")] = None,
    template: Annotated[list[str] | None, typer.Option(help="Only the rows of these templates.")] = None,
    sheet: SheetOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List rows with what they ask for, whether or not the daemon runs. `sheetd status` says more of each.

    [dim]Examples:[/]  sheetd ls --status failed --status invalid   sheetd ls --template train --json | jq '.[].id'
    """
    settings = settings_to_look(config)
    pictures = take_pictures(projects_of(settings, sheet))
    several = len(settings.sheets) > 1
    rows = [
        row
        for name, picture in pictures.items()
        for row in ({**({"sheet": name} if several else {}), **row} for row in rows_of(picture))
        if (not status or row["status"] in status) and (not template or row["template"] in template)
    ]
    if as_json:
        out.print_json(json.dumps(rows))
        return
    if not rows:
        chosen = " of this status or template" if status or template else ""
        out.print(f"No row{chosen} is known: `sheetd status` shows where the sheet is and what is in it.")
        return
    columns = (*(("sheet",) if several else ()), *COLUMNS)
    for line in table_lines(columns, [_cells(row) for row in rows], [status_style(row["status"]) for row in rows]):
        out.print(line, soft_wrap=True)


def rows_of(picture: Picture) -> list[dict[str, Any]]:
    """Experiments, and behind them the rows that were not accepted, of which no template and no values are known."""
    drafts = picture.drafts().items()
    nothing: dict[str, Any] = {
        "group": None,
        "template": None,
        "params": {},
        "host": None,
        "attempt": None,
        "exit_code": None,
        "metrics": {},
    }
    return [*picture.rows(), *({"id": id_, **nothing, **draft} for id_, draft in drafts)]


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    params = " ".join(f"{name}={as_argument(value)}" for name, value in row["params"].items())
    whose = (row["sheet"],) if "sheet" in row else ()
    return *whose, row["id"], row["status"], row["template"] or "", clean_line(params, PARAMS_MAX)
