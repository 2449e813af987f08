"""`sheetd status`: what runs, what waits and why."""

from __future__ import annotations

import json
from collections import Counter

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from sheetd.cli.picture import Picture, take_picture
from sheetd.cli.terminal import ConfigOption, JsonOption, out, settings_of, status_style
from sheetd.core.text import clean_line


def status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show every experiment, whether or not the daemon runs.

    [dim]Examples:[/]  sheetd status   sheetd status --json | jq '.experiments[] | select(.status == "failed")'
    """
    picture = take_picture(settings_of(config))
    if as_json:
        out.print_json(json.dumps(as_data(picture)))
        return
    out.print(headline(picture))
    rows = list(picture.rows())
    if rows:
        out.print(_table(rows))
        counts = Counter(row["status"] for row in rows)
        out.print("  ".join(f"{word} {count}" for word, count in counts.items()))
    else:
        out.print("No row was accepted yet: type one into the sheet.")


def as_data(picture: Picture) -> dict[str, object]:
    return {
        "daemon": picture.daemon or None,
        "sheet": dict(picture.sheet),
        "experiments": list(picture.rows()),
    }


def headline(picture: Picture) -> str:
    """One line: does the daemon run, does it see the sheet, does it still act."""
    alive = f"[green]running[/] ({escape(picture.daemon)})" if picture.daemon else "[red]not running[/]"
    line = f"daemon {alive}"
    if picture.daemon and picture.sheet.get("problem"):
        line += f"; [yellow]sheet: {escape(str(picture.sheet['problem']))}[/]"
    if picture.sheet.get("halted"):
        line += f"; [bold red]stopped acting: {escape(str(picture.sheet['halted']))}[/]"
    return line


def _table(rows: list[dict[str, object]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("id", "status", "host", "attempt", "metrics", "message"):
        table.add_column(name, overflow="fold" if name == "message" else "ellipsis", no_wrap=name != "message")
    for row in rows:
        metrics = row["metrics"] if isinstance(row["metrics"], dict) else {}
        shown = " ".join(f"{clean_line(name, 20)}={value:.4g}" for name, value in list(metrics.items())[:3])
        word = str(row["status"])
        table.add_row(
            str(row["id"]),
            Text(f" {word} ", style=status_style(word)),
            str(row["host"] or ""),
            str(row["attempt"] or ""),
            Text(shown),
            Text(str(row["message"])),
        )
    return table
