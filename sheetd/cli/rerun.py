"""`sheetd rerun`: what typing `rerun` into the row's action cell does, from the terminal."""

from __future__ import annotations

from sheetd.cli.asking import Ids, ask
from sheetd.cli.terminal import ConfigOption, JsonOption, SheetOption


def rerun(ids: Ids, sheet: SheetOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Run experiments again from nothing, with what their rows say now; stopped first if they run.

    A row that waits because its like ran before is begun by it, too. One run of a row that stands for several keeps the
    values and the code that it had.

    [dim]Examples:[/]  sheetd rerun k7f2qm   sheetd rerun k7f2qm-2 m3q9az --json
    """
    ask("rerun", ids, config, sheet=sheet, as_json=as_json)
