"""`sheetd init`: a configuration to begin with, in this folder."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from sheetd.cli.terminal import out
from sheetd.config import CONFIG_NAME
from sheetd.errors import ConfigError


def starter() -> Path:
    """The folder with `templates` and `examples`: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    installed = package / "starter"
    return installed if installed.is_dir() else package.parent


def init(
    folder: Annotated[Path, typer.Argument(help="Where to write; made if it is not there.")] = Path(),
) -> None:
    """Write sheetd.toml and a template that trains a toy model, ready for `sheetd run`. Overwrites nothing.

    [dim]Examples:[/]  sheetd init   sheetd init ~/lab && cd ~/lab && sheetd run
    """
    source = starter()
    plan = {
        folder / CONFIG_NAME: source / "templates" / CONFIG_NAME,
        folder / "templates" / "python-script.toml": source / "templates" / "python-script.toml",
        folder / "train.py": source / "examples" / "01-local" / "train.py",
    }
    try:
        _write(plan)
    except OSError as error:
        where = error.filename2 or error.filename or folder
        text = f"{where} cannot be written ({error.strerror}): choose another folder, or make this one writable"
        raise ConfigError(text) from error
    where = "" if folder == Path() else f"cd {shlex.quote(str(folder))} && "
    text = f"Next: [bold]{escape(where)}sheetd run[/]. It prints the sheet's address: open it, and type a row."
    out.print(text, soft_wrap=True)


def _write(plan: Mapping[Path, Path]) -> None:
    """Copy each original to its place. Raises ConfigError with nothing written when one is taken, and OSError."""
    there = [str(path) for path in plan if path.exists()]
    if there:
        raise ConfigError(f"{', '.join(there)} exist already: choose another folder, or move them away")
    for path, original in plan.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(original, path)
        out.print(f"wrote {escape(str(path))}", soft_wrap=True)
