"""Puts the verbs together, and turns every error meant for people into one message and an exit code.

Exit codes: 0 done, 1 it could not be done (the message says what to do), 2 the command line was wrong, 130 Ctrl-C.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from sheetd.cli.terminal import complain
from sheetd.errors import SheetdError
from sheetd.version import __version__

#: Each is a module beside this one, in the order of `--help`.
VERBS = (
    *("demo", "init", "login", "run", "service", "serve"),
    *("add", "ls", "status", "logs", "stop", "restart", "rerun", "hosts", "host", "explain", "export", "doctor"),
)


class Verbs(TyperGroup):
    """Imports a verb when it is named: `sheetd status` does not wait for what only a daemon needs."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = dict.fromkeys(VERBS)  # type: ignore[assignment]  # the names alone, among which typer finds a slip

    def list_commands(self, ctx: Any) -> list[str]:
        del ctx
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        del ctx
        if cmd_name not in VERBS:
            return None
        module = import_module(f"sheetd.cli.{cmd_name}")
        group = getattr(module, "app", None)  # of verbs that have verbs of their own
        if group is None:
            group = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
            group.command(cmd_name)(getattr(module, cmd_name))
        command = typer.main.get_command(group)
        command.name = cmd_name
        return command


app = typer.Typer(
    name="sheetd",
    cls=Verbs,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Type a row into a sheet; sheetd runs it on a free host over plain SSH and keeps it alive.",
    epilog="Try it: [bold]sheetd demo[/]   Your own: [bold]sheetd init[/], then [bold]sheetd run[/]",
)


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
