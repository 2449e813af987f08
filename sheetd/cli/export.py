"""`sheetd export`: everything that is known of the experiments as a table for programs, whether or not the daemon runs.

The journal is read and nothing else: rows that were not accepted, and columns of people's own, are in the sheet.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import typer

from sheetd.cli.picture import Picture, take_pictures
from sheetd.cli.terminal import ConfigOption, SheetOption, err, settings_to_look
from sheetd.core.model import Experiment
from sheetd.core.text import begins_formula, harmless
from sheetd.errors import SheetdError
from sheetd.projects import projects_of

#: What comes before parameters and metrics. No parameter is called like one of these (`templates.checks`).
FIXED = (
    "id",
    "template",
    "status",
    "message",
    "host",
    "attempt",
    "restarts",
    "exit_code",
    "started",
    "runtime_s",
    "code",
)
#: Before them, where there are several.
SHEET = "sheet"
VIEWS = ("last", "min", "max", "mean")

OutputOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Where to write it; the format goes by .csv or .json. If not given: stdout."),
]


def export(
    output: OutputOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of CSV: every value as it is.")] = False,
    is_csv: Annotated[bool, typer.Option("--csv", help="CSV, which it is without any of these too.")] = False,
    status: Annotated[list[str] | None, typer.Option(help="Only these statuses, such as succeeded.")] = None,
    template: Annotated[list[str] | None, typer.Option(help="Only the experiments of these templates.")] = None,
    sheet: SheetOption = None,
    config: ConfigOption = None,
) -> None:
    """Write every experiment with its parameters and metrics as CSV, for pandas or a spreadsheet, or as JSON.

    Of a row that stands for several runs, each of them, such as k7f2qm-1 and k7f2qm-2.

    In CSV a text that a spreadsheet would take for a formula begins with an apostrophe. Metrics are those of the newest
    attempt: `loss` is the last value; `loss:min`, `loss:max` and `loss:mean` are what they say.

    [dim]Examples:[/]  sheetd export -o results.csv   sheetd export --json --status succeeded | jq '.[].params'
    """
    if output is not None and output.suffix not in (".csv", ".json"):
        raise SheetdError(f"cannot tell the format from {output.name}: name it .csv or .json")
    is_json = as_json or (output is not None and output.suffix == ".json")
    if is_csv and is_json:
        raise SheetdError("--csv was given, and --json or a name that ends with .json too: leave one of them out")
    settings = settings_to_look(config)
    several = len(settings.sheets) > 1
    pictures = take_pictures(projects_of(settings, sheet))
    rows = [
        {**({"sheet": name} if several else {}), **row}
        for name, picture in pictures.items()
        for row in _rows_of(picture)
        if (not status or row["status"] in status) and (not template or row["template"] in template)
    ]
    for_people = is_for_people(output)
    if is_json:
        text = json.dumps(rows, indent=1, ensure_ascii=for_people) + "\n"
    else:
        text = harmless(as_csv(rows)) if for_people else as_csv(rows)
    if output is None:
        sys.stdout.write(text)
    else:
        try:
            output.write_text(text, encoding="utf-8", newline="")
        except OSError as error:
            raise SheetdError(f"{output} cannot be written: {error.strerror}") from error
        err.print(f"{len(rows)} experiments are in {output}", soft_wrap=True, markup=False)


def _rows_of(picture: Picture) -> Iterator[dict[str, Any]]:
    sweeps = picture.world.state.sweeps  # their runs have the numbers
    return (as_row(picture, one) for one in picture.experiments() if one.id not in sweeps)


def is_for_people(output: Path | None) -> bool:
    """Whether it is shown on a terminal, which obeys what it is shown."""
    return output is None and sys.stdout.isatty()


def as_row(picture: Picture, experiment: Experiment) -> dict[str, Any]:
    """One experiment as plain JSON."""
    attempts, told = experiment.attempts, picture.row(experiment)
    metrics = {} if not attempts else picture.reader.metrics(attempts[-1].id)
    return {
        "id": experiment.id,
        "template": experiment.spec.template,
        "status": told["status"],
        "message": told["message"],
        "host": told["host"],
        "attempt": told["attempt"],
        "restarts": sum(attempt.restarts for attempt in attempts),
        "exit_code": told["exit_code"],
        "started": _moment(experiment.started_wall_s),
        "runtime_s": round(sum(attempt.runtime_s for attempt in attempts), 3),
        "code": experiment.spec.code,
        "params": dict(experiment.spec.params),
        "metrics": {
            name: {**{view: summary.view(view) for view in VIEWS}, "count": summary.count, "step": summary.step}
            for name, summary in metrics.items()
        },
    }


def _moment(wall_s: float | None) -> str | None:
    return None if wall_s is None else datetime.fromtimestamp(wall_s, timezone.utc).isoformat(timespec="seconds")


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """One line for each row; a column for each parameter and metric that any of them has."""
    flat = [dict(_flat(row)) for row in rows]
    fixed = (*((SHEET,) if any(SHEET in row for row in rows) else ()), *FIXED)
    names = list(dict.fromkeys(name for row in flat for name in row if name not in fixed))
    written = io.StringIO()
    table = csv.writer(written)  # RFC 4180: lines end with CRLF, so that a text with either sign is quoted
    table.writerow([_cell(name) for name in (*fixed, *names)])
    for row in flat:
        table.writerow([_cell(row.get(name)) for name in (*fixed, *names)])
    return written.getvalue()


def _flat(row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    params, metrics = row["params"], row["metrics"]
    if SHEET in row:
        yield SHEET, row[SHEET]
    yield from ((name, row[name]) for name in FIXED)
    yield from ((f"param {name}" if name == SHEET and SHEET in row else name, value) for name, value in params.items())
    for name, views in metrics.items():
        shown = f"metric {name}" if name in params or name in FIXED else name
        yield shown, views["last"]
        yield from ((f"{shown}:{view}", views[view]) for view in VIEWS[1:])


def _cell(value: Any) -> Any:
    """Text from jobs and cells must not become a formula when the file is opened in a spreadsheet."""
    return f"'{value}" if isinstance(value, str) and begins_formula(value) else value
