"""`sheetd run`: the daemon, in the foreground. A service manager or a terminal keeps it; it does not fork."""

from __future__ import annotations

import faulthandler
import logging
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Annotated

import typer
from rich.markup import escape

from sheetd.allocator import configure_allocator, give_back_once_started
from sheetd.build import Service, build
from sheetd.cli.terminal import ConfigOption, complain, out, settings_of
from sheetd.core.redaction import Redactor
from sheetd.core.text import harmless
from sheetd.loops import project_of_thread
from sheetd.opening import PORT_MAX


def run(
    config: ConfigOption = None,
    port: Annotated[
        int,
        typer.Option(
            min=0, max=PORT_MAX, help="Port of the built-in sheet; 0 takes that of the last time, or a free one."
        ),
    ] = 0,
    take_over: Annotated[
        bool,
        typer.Option(
            help="Whoever served this sheet before, or any of several, on hosts that are not in this configuration, is"
            " gone for good."
        ),
    ] = False,
    as_service: Annotated[
        bool,
        typer.Option(help="As `sheetd service` starts it: no address with a token in the log, which others may read."),
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every recorded decision.")] = False,
) -> None:
    """Read the sheet, run its rows, keep them alive. Ctrl-C ends the daemon; the jobs go on.

    Edits of sheetd.toml and of templates are taken up within seconds, and at once after a SIGHUP. A file with a mistake
    counts as it was before: `sheetd status` names the mistake.

    [dim]Examples:[/]  sheetd run   sheetd run --config ~/lab/sheetd.toml -v
    """
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    faulthandler.enable()  # whoever aborts a daemon that hangs, such as systemd's watchdog, has every thread's stack
    faulthandler.register(signal.SIGUSR1)
    configure_allocator()
    settings = settings_of(config)
    service = build(settings, port=port, take_over=take_over)
    for handler in logging.getLogger().handlers:
        # All projects have the same templates, and so the same secrets.
        handler.addFilter(Redacting(lambda: service.projects[0].daemon.world.redactor))
    try:
        for problem in service.problems:
            complain(problem)
        greet(service, as_service=as_service)
        heed_signals(service)
        give_back_once_started()
        service.run()
    finally:
        service.close()
    with suppress(OSError):  # the terminal may be gone
        out.print("sheetd has ended; what it started on the hosts goes on.")


class Redacting(logging.Filter):
    """Takes secrets, and what a terminal would obey, out of what is logged: errors quote what hosts answer.

    Of several projects it says whose loop has something to say.
    """

    def __init__(self, redactor: Callable[[], Redactor]) -> None:
        super().__init__()
        self._redactor = redactor

    def filter(self, record: logging.LogRecord) -> bool:
        project = project_of_thread()
        text = f"[{project}] {record.getMessage()}" if project else record.getMessage()
        record.msg, record.args = harmless(self._redactor().text(text)), ()
        return True


def greet(service: Service, *, as_service: bool = False) -> None:
    """One line for each spreadsheet that says where to look."""
    names: dict[str, list[str]] = {}
    for project in service.projects:
        wanted = project.settings.sheet
        where = wanted.url
        if wanted.kind == "builtin" and service.server is not None:
            where = "the built-in sheet: `sheetd status` says where" if as_service else service.server.url
        names.setdefault(where, []).append(wanted.name)
    for where, served in names.items():
        whose = f"{', '.join(served)} at " if len(service.projects) > 1 else ""
        shown = escape(where) if as_service else f"[bold]{escape(where)}[/]  (Ctrl-C ends it; jobs go on)"
        out.print(f"sheetd serves {escape(whose)}{shown}", soft_wrap=True)


def heed_signals(service: Service) -> None:
    """Let the first TERM or INT end the loop in peace; a second INT interrupts. HUP has the files read at once.

    But from a terminal that was closed, which ends the daemon as it ends whatever runs there.
    """
    has_terminal = sys.stdin is not None and sys.stdin.isatty()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        service.stop()

    def on_hangup(_number: int, _frame: FrameType | None) -> None:
        if has_terminal and not sys.stdin.isatty():
            service.stop()
        else:
            service.look_now()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    signal.signal(signal.SIGHUP, on_hangup)
