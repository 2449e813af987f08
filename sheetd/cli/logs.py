"""`sheetd logs`: what a job prints, straight from its host, over a connection of its own.

A terminal obeys what it is sent: it is shown the text without control sequences. A pipe or a file gets the very bytes.
"""

from __future__ import annotations

import codecs
import io
import sys
import time
from collections.abc import Callable
from typing import Annotated

import typer

from sheetd.build import make_host
from sheetd.cli.picture import take_picture
from sheetd.cli.terminal import ConfigOption, SheetOption, err, settings_to_look
from sheetd.config import Settings
from sheetd.core.model import Attempt, Experiment, Phase
from sheetd.core.text import escape_begun, harmless
from sheetd.errors import SheetdError
from sheetd.hosts.host import AgentHost
from sheetd.projects import project_with

CHUNK_BYTES = 1 << 20
FOLLOW_EVERY_S = 0.3


def logs(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The experiment, from the id column.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the experiment ends.")] = False,
    tail_bytes: Annotated[int, typer.Option("--bytes", min=1, help="How much of the end to begin with.")] = 64_000,
    raw: Annotated[bool, typer.Option("--raw", help="On a terminal too: the bytes as the job wrote them.")] = False,
    sheet: SheetOption = None,
    config: ConfigOption = None,
) -> None:
    """Print the newest attempt's output. Works on any host, with or without a running daemon.

    A terminal is shown it without control sequences; a pipe or a file gets the bytes as the job wrote them.

    [dim]Examples:[/]  sheetd logs k7f2qm   sheetd logs -f k7f2qm   sheetd logs k7f2qm-3
    """
    settings = project_with(settings_to_look(config), id_, sheet)
    picture = take_picture(settings)
    experiment = picture.experiment(id_)
    if (sweep := picture.world.state.sweeps.get(experiment.id)) is not None:
        raise SheetdError(f"{id_} stands for {len(sweep.members)} runs: name one, as in `sheetd logs {id_}-1`")
    if experiment.attempt is None:
        raise SheetdError(f"{id_} was not launched yet: `sheetd status` says why it waits")
    host = _host_of(settings, experiment.attempt)
    show = _terminal() if sys.stdout.isatty() and not raw else _bytes
    try:
        host.facts()
        _say_where_it_begins(host.tail(experiment.attempt.id, "log", -1, 1).size, tail_bytes)
        offset = _print_from(host, experiment.attempt, -tail_bytes, show)
        while follow:
            ended = _has_ended(settings, experiment, experiment.attempt)
            offset = _print_from(host, experiment.attempt, offset, show)
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


def _print_from(host: AgentHost, attempt: Attempt, offset: int, show: Callable[[bytes], None]) -> int:
    """Print everything from the offset on; returns where the next call should begin."""
    while True:
        chunk = host.tail(attempt.id, "log", offset, CHUNK_BYTES)
        show(chunk.data)
        if chunk.end >= chunk.size or not chunk.data:
            return chunk.end
        offset = chunk.end


def _bytes(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.flush()


def _terminal() -> Callable[[bytes], None]:
    """Shows what follows on what was shown before, with no character that the terminal could not draw."""
    harmless_text = HarmlessText()

    def show(data: bytes) -> None:
        sys.stdout.buffer.write(harmless_text.of(data).encode(sys.stdout.encoding, "replace"))
        sys.stdout.flush()

    return show


class HarmlessText:
    """Bytes of a job as text that a terminal does not obey, piece by piece.

    What a piece cuts in two (a character, an escape, the end of a line) is kept back until the next one is there.
    """

    def __init__(self) -> None:
        utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        # To a terminal "\r" means: write over this line. Here each such line is shown below the last.
        self._decoder = io.IncrementalNewlineDecoder(utf8, translate=True)
        self._begun = ""

    def of(self, data: bytes) -> str:
        text = self._begun + self._decoder.decode(data)
        end = escape_begun(text)
        self._begun = text[end:]
        return harmless(text[:end])
