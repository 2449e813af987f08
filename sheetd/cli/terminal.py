"""What all verbs share about the terminal: how an error looks, which configuration is meant, how a table is coloured.

Text that came from cells, jobs or hosts is shown through `rich.text.Text` or `escape`, never as markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from sheetd.config import CONFIG_NAME, CONFIG_VARIABLE, Settings, default_config_path, load_settings
from sheetd.core.colours import ROW_COLOURS
from sheetd.last_good import settings_in_use

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help=f"The configuration file, which names the sheet, the hosts and the templates. If not given: {CONFIG_NAME} "
        f"in this folder, or else the file that ${CONFIG_VARIABLE} names, or else ~/.config/sheetd/{CONFIG_NAME}.",
    ),
]
SheetOption = Annotated[
    str | None,
    typer.Option("--sheet", help="Which of several sheets in the configuration, by its name.", metavar="NAME"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table.")]

UNTIL_MENDED = "until that is put right, the daemon goes by what the file said before"


def complain(text: str) -> None:
    """An error for a person: what happened and what to do, without a traceback."""
    err.print(f"[bold red]sheetd:[/] {escape(text)}", soft_wrap=True)


def settings_of(config: Path | None, *, needs_hosts: bool = True) -> Settings:
    """The settings that a verb works with. Raises ConfigError, also for a file without hosts if it `needs_hosts`."""
    return load_settings(config if config is not None else default_config_path(), needs_hosts=needs_hosts)


def settings_to_look(config: Path | None) -> Settings:
    """For a verb that only looks or asks: while the file has a mistake, those by which a running daemon goes."""
    settings, mistake = settings_in_use(config if config is not None else default_config_path())
    if mistake:
        complain(f"{mistake}\n{UNTIL_MENDED}")
    return settings


def table_lines(columns: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str]) -> list[Text]:
    """The header and a line for each row, as wide as the widest cell. A row's style is that of its cell `status`."""
    lines = [columns, *rows]
    widths = [max(cell_len(line[index]) for line in lines) for index in range(len(columns))]
    shown = []
    for line, style in zip(lines, ["bold", *styles], strict=True):
        text = Text()
        for name, cell, width in zip(columns, line, widths, strict=True):
            text.append(cell, style=style if name == "status" or line is columns else "")
            text.append(" " * (width - cell_len(cell) + 2))
        text.rstrip()
        shown.append(text)
    return shown


def status_style(word: str) -> str:
    """The row's colour as a terminal style, with dark text as in the sheet."""
    if word not in ROW_COLOURS:
        return ""
    red, green, blue = (round(part * 255) for part in ROW_COLOURS[word])
    return f"black on rgb({red},{green},{blue})"
