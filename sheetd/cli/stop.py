"""`sheetd stop`: what typing `stop` into the row's action cell does, from the terminal."""

from __future__ import annotations

from sheetd.cli.asking import Ids, ask
from sheetd.cli.terminal import ConfigOption, JsonOption, SheetOption


def stop(ids: Ids, sheet: SheetOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Stop experiments: their processes are asked to end, then killed after the template's grace. Checkpoints stay.

    [dim]Examples:[/]  sheetd stop k7f2qm   sheetd stop k7f2qm m3q9az --json
    """
    ask("stop", ids, config, sheet=sheet, as_json=as_json)
