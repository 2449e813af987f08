"""`sheetd init`: a configuration to begin with, in this folder."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from sheetd.cli.terminal import out
from sheetd.config import CONFIG_NAME, load_settings
from sheetd.errors import ConfigError

if TYPE_CHECKING:
    from sheetd.cli.google_setup import Wanted


def starter() -> Path:
    """The folder with `templates` and `examples`: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    installed = package / "starter"
    return installed if installed.is_dir() else package.parent


def init(
    folder: Annotated[Path, typer.Argument(help="Where to write; made if it is not there.")] = Path(),
    google: Annotated[
        str,
        typer.Option(help='A Google sheet instead of the built-in one: its address, or "new" to make one.'),
    ] = "",
    credentials: Annotated[
        str,
        typer.Option(
            help="Who signs in to Google: a service account's key file, the file that `sheetd login` wrote, or"
            ' "application-default". Asked for if not given.'
        ),
    ] = "",
    tab: Annotated[str, typer.Option(help="Which tab of the Google sheet; the one that its address shows.")] = "",
    title: Annotated[str, typer.Option(help="Of a new Google sheet; the folder's name.")] = "",
    share: Annotated[str, typer.Option(help="The e-mail address of somebody who may edit the new Google sheet.")] = "",
) -> None:
    """Write sheetd.toml and a template that trains a toy model, ready for `sheetd run`. Overwrites nothing.

    Of a Google sheet the headers that are missing are added to the right of what is there; all else stays as it is.

    [dim]Examples:[/]  sheetd init ~/lab && cd ~/lab && sheetd run
    sheetd init ~/lab --google https://docs.google.com/spreadsheets/d/... --credentials ~/.config/sheetd/key.json
    """
    source = starter()
    plan = {
        folder / CONFIG_NAME: source / "templates" / CONFIG_NAME,
        folder / "templates" / "python-script.toml": source / "templates" / "python-script.toml",
        folder / "train.py": source / "examples" / "01-local" / "train.py",
    }
    _refuse_taken(plan)
    if google:
        from sheetd.cli import google_setup  # noqa: PLC0415 - it loads gspread and what a daemon needs

        wanted = google_setup.Wanted(
            google=google,
            credentials=credentials or google_setup.asked_credentials(),
            tab=tab,
            title=title or folder.absolute().name,
            share=share,
        )
        _write_for_google(plan, folder, wanted)
    elif credentials or tab or title or share:
        raise ConfigError("--credentials, --tab, --title and --share go with --google: name the sheet with it")
    else:
        _write(plan)
    where = "" if folder == Path() else f"cd {shlex.quote(str(folder))} && "
    text = f"Next: [bold]{escape(where)}sheetd run[/]. It prints the sheet's address: open it, and type a row."
    out.print(text, soft_wrap=True)


def _write_for_google(plan: Mapping[Path, Path], folder: Path, wanted: Wanted) -> None:
    """Put everything together elsewhere first: what is wrong shows before the folder, or a sheet, is written to."""
    from sheetd.cli import google_setup  # noqa: PLC0415 - as above

    with tempfile.TemporaryDirectory(prefix="sheetd-init-") as scratch:
        staged = {Path(scratch) / path.relative_to(folder): original for path, original in plan.items()}
        for path, original in staged.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(original, path)
        config = Path(scratch) / CONFIG_NAME
        made = google_setup.set_up(wanted, load_settings(config))
        for sentence in made.told:
            out.print(escape(sentence), soft_wrap=True)
        text = google_setup.configured(config.read_text("utf-8"), made)
        google_setup.check_written(config, text, made)
        config.write_text(text, "utf-8")
        _write({folder / path.relative_to(scratch): path for path in staged})


def _refuse_taken(plan: Mapping[Path, Path]) -> None:
    try:
        there = [str(path) for path in plan if path.exists()]
    except OSError as error:
        raise _unwritable(error) from error
    if there:
        raise ConfigError(f"{', '.join(there)} exist already: choose another folder, or move them away")


def _write(plan: Mapping[Path, Path]) -> None:
    """Copy each original to its place. Raises ConfigError."""
    try:
        for path, original in plan.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(original, path)
            out.print(f"wrote {escape(str(path))}", soft_wrap=True)
    except OSError as error:
        raise _unwritable(error) from error


def _unwritable(error: OSError) -> ConfigError:
    where = error.filename2 or error.filename or "the folder"
    return ConfigError(
        f"{where} cannot be written ({error.strerror}): choose another folder, or make this one writable"
    )
