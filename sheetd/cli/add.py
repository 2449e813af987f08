"""`sheetd add`: type rows into the sheet from the terminal, a file or a pipe."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from sheetd.cli.terminal import ConfigOption, SheetOption, out, settings_of
from sheetd.core.model import Value
from sheetd.errors import SheetdError
from sheetd.journal.lock import holder_of
from sheetd.projects import project_of
from sheetd.rows import WAIT_S, Added, Lab

STDIN = Path("-")
SHOWN_MAX = 20


def add(
    values: Annotated[
        list[str] | None,
        typer.Argument(help="name=value: parameters of the template, and where, gpus, priority, after, action=run."),
    ] = None,
    template: Annotated[str | None, typer.Option(help="May be left out when there is only one.")] = None,
    source: Annotated[
        Path | None, typer.Option("--from", help="A row for each line of a CSV or JSON lines file; - is stdin.")
    ] = None,
    *,
    count: Annotated[int, typer.Option(min=1, max=1000, help="So many rows that say the same; each is run.")] = 1,
    add_columns: Annotated[
        bool, typer.Option("--add-columns", help="Add the headers that the sheet lacks, behind its last column.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the rows and type nothing.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the daemon has accepted them; print their ids.")
    ] = False,
    timeout: Annotated[float, typer.Option(min=0.0, help="How many seconds --wait waits.")] = WAIT_S,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    sheet: SheetOption = None,
    config: ConfigOption = None,
) -> None:
    """Type rows into the sheet, below the last one: all of them, or none when one is wrong.

    Values beside --from fill in what its rows leave empty.

    [dim]Examples:[/]  sheetd add lr=0.1 steps=100   sheetd add --template train --from rows.csv --dry-run
    """
    common: dict[str, Value | None] = {"template": template} if template is not None else {}
    for text in values or []:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise SheetdError(f"{text} is not name=value: type a parameter as in lr=0.1")
        if name in common:
            raise SheetdError(f"{name} is given twice")
        common[name] = value
    if count > 1:
        common.setdefault("action", "run")  # else all but the first would wait, as what was typed twice does
    rows = [common] if source is None else [_filled(row, common) for row in read_rows(source)]
    settings = settings_of(config)
    with Lab(settings, sheet=project_of(settings, sheet).sheet.name) as lab:
        added = lab.add_many([row for row in rows for _ in range(count)], add_columns=add_columns, dry_run=dry_run)
        if not as_json:
            _say(added, dry_run=dry_run)
        ids = lab.wait(added, timeout_s=timeout) if wait and not dry_run else []
    if as_json:
        told = {"rows": list(added.rows), "headers": list(added.headers), "dry_run": dry_run, "ids": ids}
        out.print_json(json.dumps(told))
        return
    for id_ in ids:
        out.print(id_, markup=False)
    if not dry_run and not wait and holder_of(settings.daemon.state_dir) is None:
        out.print("The daemon is not running here; it takes them in as soon as it is: `sheetd run`")


def _filled(row: dict[str, Any], common: dict[str, Value | None]) -> dict[str, Any]:
    return {**common, **{name: value for name, value in row.items() if name not in common or value not in ("", None)}}


def _say(added: Added, *, dry_run: bool) -> None:
    if added.headers:
        out.print(Text(f"{'would add' if dry_run else 'added'} the columns {', '.join(added.headers)}"))
    for row in added.rows[:SHOWN_MAX]:
        filled = " ".join(f"{name}={value}" for name, value in row.items() if value not in ("", None))
        out.print(Text(f"{'would add' if dry_run else 'added'} {filled}"), soft_wrap=True)
    if len(added.rows) > SHOWN_MAX:
        out.print(f"... {len(added.rows)} rows in all")


def read_rows(source: Path) -> list[dict[str, Any]]:
    """The rows of a file: JSON lines where the first line begins with a brace, else CSV with a header."""
    try:
        text = sys.stdin.read() if source == STDIN else source.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SheetdError(f"{source} cannot be read: {error}") from error
    rows = _json_lines(source, text) if text.lstrip().startswith("{") else _csv(source, text)
    if not rows:
        raise SheetdError(f"{source} holds no rows: write a header and a line for each row, or a JSON object a line")
    return rows


def _json_lines(source: Path, text: str) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise SheetdError(f"{source}, line {number}: this is not JSON ({error})") from error
        if not isinstance(row, dict):
            raise SheetdError(f'{source}, line {number}: write an object such as {{"lr": 0.1}}')
        for name, value in row.items():
            if value is not None and not isinstance(value, str | int | float):
                raise SheetdError(f"{source}, line {number}: {name} is a list or an object, which no cell holds")
        rows.append(row)
    return rows


def _csv(source: Path, text: str) -> list[dict[str, Any]]:
    table = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[dict[str, Any]] = []
    header: list[str] | None = None
    try:
        for line in table:
            if not any(cell.strip() for cell in line):
                continue
            if header is None:
                header = [name.strip() for name in line]
                if "" in header or len(set(header)) < len(header):
                    raise SheetdError(f"{source}: every column of the header needs a name of its own")
            elif len(line) != len(header):
                raise SheetdError(
                    f"{source}, line {table.line_num}: {len(line)} values, and the header names {len(header)}"
                )
            else:
                rows.append(dict(zip(header, line, strict=True)))
    except csv.Error as error:
        raise SheetdError(f"{source}, line {table.line_num}: {error}") from error
    return rows
