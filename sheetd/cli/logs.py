"""`sheetd logs`: what a job prints, straight from its host, over a connection of its own."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from sheetd.build import make_host
from sheetd.cli.picture import take_picture
from sheetd.cli.terminal import ConfigOption, err, settings_to_look
from sheetd.config import Settings
from sheetd.core.model import Attempt, Experiment, Phase
from sheetd.core.text import harmless
from sheetd.errors import SheetdError
from sheetd.hosts.host import AgentHost

CHUNK_BYTES = 1 << 20
FOLLOW_EVERY_S = 0.3


def logs(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The experiment, from the id column.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the experiment ends.")] = False,
    tail_bytes: Annotated[int, typer.Option("--bytes", min=1, help="How much of the end to begin with.")] = 64_000,
    raw: Annotated[bool, typer.Option("--raw", help="Bytes as the job wrote them, with escape sequences.")] = False,
    config: ConfigOption = None,
) -> None:
    """Print the newest attempt's output. Works on any host, with or without a running daemon.

    [dim]Examples:[/]  sheetd logs k7f2qm   sheetd logs -f k7f2qm   sheetd logs k7f2qm-3
    """
    settings = settings_to_look(config)
    picture = take_picture(settings)
    experiment = picture.experiment(id_)
    if (sweep := picture.world.state.sweeps.get(experiment.id)) is not None:
        raise SheetdError(f"{id_} stands for {len(sweep.members)} runs: name one, as in `sheetd logs {id_}-1`")
    if experiment.attempt is None:
        raise SheetdError(f"{id_} was not launched yet: `sheetd status` says why it waits")
    host = _host_of(settings, experiment.attempt)
    try:
        host.facts()
        _say_where_it_begins(host.tail(experiment.attempt.id, "log", -1, 1).size, tail_bytes)
        offset = _print_from(host, experiment.attempt, -tail_bytes, raw=raw)
        while follow:
            ended = _has_ended(settings, experiment, experiment.attempt)
            offset = _print_from(host, experiment.attempt, offset, raw=raw)
            if ended:
                break
            time.sleep(FOLLOW_EVERY_S)
    finally:
        host.close()


def _host_of(settings: Settings, attempt: Attempt) -> AgentHost:
    for host in settings.hosts:
        if host.name == attempt.host:
            return make_host(settings, host, epoch=0)
    raise SheetdError(f"{attempt.id} ran on {attempt.host}, which is not in {settings.path} any more")


def _has_ended(settings: Settings, experiment: Experiment, attempt: Attempt) -> bool:
    now = take_picture(settings).experiment(experiment.id)
    return now.phase is Phase.ENDED or now.attempt is None or now.attempt.id != attempt.id


def _say_where_it_begins(size: int, tail_bytes: int) -> None:
    """Beside the output, so that a pipe gets nothing but what the job printed."""
    if size == 0:
        err.print("nothing printed yet")
    elif size > tail_bytes:
        err.print(f"the last {tail_bytes:,} bytes of {size:,}; --bytes for more")


def _print_from(host: AgentHost, attempt: Attempt, offset: int, *, raw: bool) -> int:
    """Print everything from the offset on; returns where the next call should begin."""
    while True:
        chunk = host.tail(attempt.id, "log", offset, CHUNK_BYTES)
        if raw:
            sys.stdout.buffer.write(chunk.data)
        else:
            sys.stdout.write(harmless(chunk.data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")))
        sys.stdout.flush()
        if chunk.end >= chunk.size or not chunk.data:
            return chunk.end
        offset = chunk.end
