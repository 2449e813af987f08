"""`sheetd serve`: the built-in sheet alone, to look at or to type into while no daemon runs."""

from __future__ import annotations

import signal
import threading
import webbrowser
from contextlib import ExitStack
from typing import Annotated

import typer
from rich.markup import escape

from sheetd.build import starter_header
from sheetd.cli.terminal import ConfigOption, out, settings_of
from sheetd.errors import ConfigError
from sheetd.opening import PORT_MAX, Opener
from sheetd.templates import load_templates


def serve(
    config: ConfigOption = None,
    port: Annotated[int, typer.Option(min=0, max=PORT_MAX, help="0 takes that of the last time, or a free one.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
) -> None:
    """Serve the built-in sheet on this machine, without running anything. Ctrl-C ends it.

    [dim]Example:[/]  sheetd serve --port 8800 --no-browser
    """
    settings = settings_of(config)
    projects = [project for project in settings.projects if project.sheet.kind == "builtin"]
    if not projects:
        raise ConfigError(f"{settings.path}: [sheet] url is {settings.sheet.url}, not builtin: open it in a browser")
    templates = load_templates(settings.daemon.templates).templates
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    with ExitStack() as stack:
        opener = Opener(stack, port=port)
        for project in projects:
            sheet = opener.open(project)
            sheet.create_tab_if_missing()
            sheet.write_header(starter_header(project, templates))
        server = opener.server
        if server is None:  # pragma: no cover - kind was checked above
            return
        out.print(f"the sheet is at [bold]{escape(server.url)}[/]  (Ctrl-C ends it)", soft_wrap=True)
        if not no_browser:
            webbrowser.open(server.url)
        over.wait()
