"""Puts the verbs together, and turns every error meant for people into one message and an exit code.

Exit codes: 0 done, 1 it could not be done (the message says what to do), 2 the command line was wrong, 130 Ctrl-C.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from sheetd.cli import demo, doctor, explain, export, host, hosts, init, logs, run, serve, service, status, stop
from sheetd.cli.terminal import complain
from sheetd.errors import SheetdError
from sheetd.version import __version__

app = typer.Typer(
    name="sheetd",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Type a row into a sheet; sheetd runs it on a free host over plain SSH and keeps it alive.",
    epilog="Try it: [bold]sheetd demo[/]   Your own: [bold]sheetd init[/], then [bold]sheetd run[/]",
)
app.command("demo")(demo.demo)
app.command("init")(init.init)
app.command("run")(run.run)
app.add_typer(service.app, name="service")
app.command("serve")(serve.serve)
app.command("status")(status.status)
app.command("logs")(logs.logs)
app.command("stop")(stop.stop)
app.command("hosts")(hosts.hosts)
app.add_typer(host.app, name="host")
app.command("explain")(explain.explain)
app.command("export")(export.export)
app.command("doctor")(doctor.doctor)


def _say_version(wanted: bool) -> None:
    if wanted:
        print(f"sheetd {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """The console script."""
    try:
        app()
    except SheetdError as error:
        complain(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
