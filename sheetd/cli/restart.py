"""`sheetd restart`: what typing `restart` into the row's action cell does, from the terminal."""

from __future__ import annotations

from sheetd.cli.asking import Ids, ask
from sheetd.cli.terminal import ConfigOption, JsonOption, SheetOption


def restart(ids: Ids, sheet: SheetOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Start experiments again from their last checkpoint: stopped first if they run, with the values they had.

    Of a row that stands for several runs, those that have not succeeded.

    [dim]Examples:[/]  sheetd restart k7f2qm   sheetd restart k7f2qm-2 m3q9az --json
    """
    ask("restart", ids, config, sheet=sheet, as_json=as_json)
