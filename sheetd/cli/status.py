"""`sheetd status`: what runs, what waits and why."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence

from rich.markup import escape
from rich.padding import Padding
from rich.text import Text

from sheetd.cli.picture import MESSAGE_MAX, Picture, take_pictures
from sheetd.cli.terminal import UNTIL_MENDED, ConfigOption, JsonOption, SheetOption, out, status_style, table_lines
from sheetd.config import Settings, default_config_path
from sheetd.core.text import clean_line
from sheetd.core.times import duration_text
from sheetd.door import sheet_address
from sheetd.last_good import settings_in_use
from sheetd.projects import left_behind, projects_of

COLUMNS = ("id", "status", "host", "attempt", "metrics")
METRICS_SHOWN = 2
#: Numbers that say how far a job is, not how good: the sheet has columns for them.
NOT_SHOWN = frozenset({"total_steps", "progress"})
MESSAGE_INDENT = 4
HOST_MAX = 24


def status(sheet: SheetOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show every experiment, whether or not the daemon runs.

    [dim]Examples:[/]  sheetd status   sheetd status --json | jq '.experiments[] | select(.status == "failed")'
    """
    settings, mistake = settings_in_use(config if config is not None else default_config_path())
    projects = projects_of(settings, sheet)
    pictures = take_pictures(projects, mistake)
    if as_json:
        told = {name: as_data(picture) for name, picture in pictures.items()}
        out.print_json(json.dumps({"sheets": told} if len(settings.sheets) > 1 else told[settings.sheet.name]))
        return
    if len(settings.sheets) > 1:
        _print_several(settings, projects, pictures)
        return
    (picture,) = pictures.values()
    out.print(headline(picture), soft_wrap=True)
    address = sheet_address(settings) if picture.daemon else ""
    if address:
        out.print(Text(f"the sheet is at {address}"), soft_wrap=True)
    if picture.quota:
        out.print(_meter(picture.quota), soft_wrap=True)
    _print_configuration(picture.configuration)
    _print_left_behind(settings)
    _print_experiments(picture)


def _print_several(settings: Settings, projects: Sequence[Settings], pictures: Mapping[str, Picture]) -> None:
    """What they share first, then each under its name."""
    first = next(iter(pictures.values()))
    out.print(daemon_line(first), soft_wrap=True)
    quotas = {one.sheet.credentials: pictures[one.sheet.name].quota for one in projects if one.sheet.name in pictures}
    for quota in quotas.values():
        if quota:
            out.print(_meter(quota), soft_wrap=True)
    keys = dict.fromkeys(key for picture in pictures.values() for key in picture.configuration)
    told = {key: [text for one in pictures.values() for text in one.configuration.get(key, ())] for key in keys}
    _print_configuration({key: list(dict.fromkeys(texts)) for key, texts in told.items()})
    _print_left_behind(settings)
    shown = ""
    for project in projects:
        picture = pictures.get(project.sheet.name)
        out.print(Text(f"\n{project.sheet.name}", style="bold"))
        if picture is None:
            out.print("is not served yet: it is taken when sheetd is started again")
            continue
        for line in sheet_lines(picture):
            out.print(line, soft_wrap=True)
        address = sheet_address(project) if picture.daemon else ""
        if address:
            where = "the same spreadsheet" if address == shown else address
            out.print(Text(f'the sheet is the tab "{project.sheet.tab}" of {where}'), soft_wrap=True)
            shown = address
        _print_experiments(picture)


def _print_left_behind(settings: Settings) -> None:
    for text in left_behind(settings):
        out.print(Text(text, style="yellow"), soft_wrap=True)


def _print_experiments(picture: Picture) -> None:
    rows = [*picture.rows(), *({"id": id_, **draft} for id_, draft in picture.drafts().items())]
    if rows:
        _print_rows(rows)
        groups = {row.get("group") for row in rows}
        counts = Counter(row["status"] for row in rows if row["id"] not in groups)
        out.print("  ".join(f"{word} {count}" for word, count in counts.items()))
    else:
        out.print("No row was accepted yet: type one into the sheet.")


def as_data(picture: Picture) -> dict[str, object]:
    return {
        "daemon": picture.daemon or None,
        "sheet": dict(picture.sheet),
        "quota": dict(picture.quota) or None,
        "configuration": dict(picture.configuration),
        "experiments": list(picture.rows()),
        "drafts": picture.drafts(),
    }


def headline(picture: Picture) -> str:
    """One line: does the daemon run, see the sheet, still act. And one for why the sheet is left alone, if it is."""
    troubles, lines = _troubles(picture)
    return "\n".join(["; ".join([daemon_line(picture), *troubles]), *lines])


def daemon_line(picture: Picture) -> str:
    alive = f"[green]running[/] ({escape(picture.daemon)})" if picture.daemon else "[red]not running[/]"
    return f"daemon {alive}"


def sheet_lines(picture: Picture) -> list[str]:
    """What of the headline is about one of several sheets; nothing while all is well."""
    troubles, lines = _troubles(picture)
    return [*(["; ".join(troubles)] if troubles else []), *lines]


def _troubles(picture: Picture) -> tuple[list[str], list[str]]:
    """What goes into the headline, and what has a line of its own."""
    troubles, lines = [], []
    problem, unclear = (str(picture.sheet.get(name) or "") for name in ("problem", "unclear"))
    if picture.daemon and problem != unclear:
        since_s = picture.sheet.get("out_since_wall_s")
        lasting = f" (for {duration_text(picture.now.wall_s - since_s)})" if since_s is not None else ""
        troubles.append(f"[yellow]sheet: {escape(problem)}{lasting}[/]")
    if picture.sheet.get("halted"):
        troubles.append(f"[bold red]stopped acting: {escape(str(picture.sheet['halted']))}[/]")
    if picture.daemon and unclear:
        lines.append(
            f"[yellow]the sheet is left alone: {escape(unclear)}; "
            "until then no row is taken in and no cell written, and what runs goes on[/]"
        )
    return troubles, lines


def _meter(quota: Mapping[str, int]) -> str:
    """How near the sheet's quota is."""
    reads, writes = (f"{quota[kind]} {kind if quota[kind] != 1 else kind[:-1]}" for kind in ("reads", "writes"))
    return f"Google: {reads} and {writes} in the last minute; {quota['allowed']} each is half of what Google grants"


def _print_configuration(told: Mapping[str, list[str]]) -> None:
    """What of the operator's files the daemon does not go by."""
    mistakes = told.get("mistakes", [])
    for text in mistakes:
        out.print(Text(text, style="yellow"), soft_wrap=True)
    if mistakes:
        out.print(Text(UNTIL_MENDED, style="yellow"), soft_wrap=True)
    for text in (*told.get("at_restart", ()), *told.get("later", ())):
        out.print(Text(text, style="yellow"), soft_wrap=True)


def _print_rows(rows: list[dict[str, object]]) -> None:
    """One line for each row, and its message below it: beside it no terminal has room for a sentence."""
    styles = [status_style(str(row["status"])) for row in rows]
    header, *lines = table_lines(COLUMNS, [_cells(row) for row in rows], styles)
    out.print(header, no_wrap=True, overflow="ellipsis")
    for row, line in zip(rows, lines, strict=True):
        out.print(line, no_wrap=True, overflow="ellipsis")
        message = clean_line(str(row["message"]), MESSAGE_MAX)
        if message:
            out.print(Padding(Text(message), (0, 0, 0, MESSAGE_INDENT), expand=False))


def _cells(row: dict[str, object]) -> tuple[str, ...]:
    metrics = row.get("metrics")
    told = metrics if isinstance(metrics, dict) else {}
    shown = [f"{clean_line(name, 20)}={value:.4g}" for name, value in told.items() if name not in NOT_SHOWN]
    return (
        str(row["id"]),
        str(row["status"]),
        clean_line(str(row.get("host") or ""), HOST_MAX),
        str(row.get("attempt") or ""),
        " ".join(shown[:METRICS_SHOWN]),
    )
