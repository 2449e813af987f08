"""`sheetd stop`: what typing `stop` into the row's action cell does, from the terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from sheetd.cli.picture import refuse_if_halted, take_picture
from sheetd.cli.terminal import ConfigOption, out, settings_to_look
from sheetd.core.actions import parts
from sheetd.core.model import Phase
from sheetd.door import knock
from sheetd.journal.requests import RequestStore


def stop(
    ids: Annotated[list[str], typer.Argument(help="Ids of experiments, from the id column.")],
    config: ConfigOption = None,
) -> None:
    """Stop experiments: their processes are asked to end, then killed after the template's grace. Checkpoints stay.

    [dim]Example:[/]  sheetd stop k7f2qm
    """
    settings = settings_to_look(config)
    refuse_if_halted(settings)
    picture = take_picture(settings)
    experiments = [picture.experiment(id_) for id_ in ids]
    requests = RequestStore(settings.daemon.state_dir)
    try:
        for experiment in experiments:
            if experiment.phase is Phase.ENDED and not any(
                one.is_paused for one in parts(picture.world.state, experiment)
            ):
                out.print(f"{experiment.id} has ended already")
            else:
                requests.add("stop", experiment.id)
                out.print(f"{experiment.id} is being stopped")
    finally:
        requests.close()
    if not knock(settings.daemon.state_dir):
        out.print("The daemon is not running; it will stop them as soon as it is: `sheetd run`")
