"""`sheetd login`: signs a person in to Google, for a sheet that no service account is to read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from sheetd.cli.terminal import out
from sheetd.errors import ConfigError
from sheetd.setting_paths import outside_git
from sheetd.sheets.consent import keep, sign_in

TO = Path("~/.config/sheetd/google-login.json")


def login(
    client: Annotated[
        Path,
        typer.Option(help="Your OAuth client of the type Desktop app, as JSON from the Google Cloud console."),
    ],
    to: Annotated[Path, typer.Option(help="Where to keep the sign-in; only you can read the file.")] = TO,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Where the browser comes back to on this machine; 0 is any.")
    ] = 0,
    browser: Annotated[bool, typer.Option(help="Open a browser; the address to open is printed anyway.")] = True,
) -> None:
    """Sign in to Google in the browser. sheetd may then use your spreadsheets, and no other file but those it makes.

    [dim]Example:[/]  sheetd login --client ~/Downloads/client_secret.json
    """
    path = to.expanduser().absolute()
    try:
        outside_git(path)
    except ValueError as error:
        raise ConfigError(f"--to: {error}") from error
    keep(path, sign_in(client.expanduser(), port=port, browser=browser))
    text = f"wrote {escape(str(path))}: name it as `credentials` in sheetd.toml, or for `sheetd init --google`"
    out.print(text, soft_wrap=True)
