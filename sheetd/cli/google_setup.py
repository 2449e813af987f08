"""What `sheetd init --google` does at Google: sign in, take a sheet as it is or make one, and put headers into row 1.

Everything is checked before anything is written, and nothing that stands in a sheet is touched: headers that are
missing go to the right of whatever is in use, in one request. Typing the same command again does no harm.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import typer

from sheetd.build import starter_header
from sheetd.config import Settings, load_settings
from sheetd.core.grid import BLANK, Cell, Grid
from sheetd.core.rows import canonical
from sheetd.core.template import Template
from sheetd.core.validation import layout_by
from sheetd.errors import ConfigError, SheetError, SheetRefused
from sheetd.ports import APPLICATION_DEFAULT
from sheetd.setting_paths import checked_key_file
from sheetd.sheet_settings import google_key
from sheetd.sheets.drive import create_spreadsheet, share
from sheetd.sheets.google import GoogleSheet, google_client
from sheetd.sheets.signin import OWN_FILES, SHEETS, Account, account_of
from sheetd.templates import load_templates

NEW = "new"
TAB = "Experiments"
_ADDRESS = "https://docs.google.com/spreadsheets/d/{}/edit"
_TAB_ID = re.compile(r"[#?&]gid=(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """As it was asked for. `google` is an address or "new", `tab` and `share` are empty where nobody said."""

    google: str
    credentials: str
    tab: str = ""
    title: str = "sheetd"
    share: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The sheet to write into sheetd.toml, and a sentence for each thing that was done."""

    url: str
    tab: str
    credentials: str
    told: list[str] = field(default_factory=list)


def asked_credentials() -> str:
    """Raises ConfigError where nobody is there to be asked."""
    if not _somebody_is_there():
        raise ConfigError(
            "--google needs --credentials too: a service account's key file, the file that `sheetd login` wrote,"
            f' or "{APPLICATION_DEFAULT}"'
        )
    typer.echo(
        "Who signs in to Google? The key file of a service account, the file that `sheetd login` wrote,"
        f' or "{APPLICATION_DEFAULT}".'
    )
    return str(typer.prompt("Credentials"))


def _somebody_is_there() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def set_up(wanted: Wanted, starter: Settings) -> Made:
    """Have the sheet as `sheetd run` needs it. `starter` is the configuration that will be written beside it.

    Raises ConfigError and SheetError with the next step, mostly before anything was written.
    """
    credentials = _checked_credentials(wanted.credentials)
    account = account_of(credentials)
    templates = load_templates(starter.daemon.templates).templates
    headers = starter_header(starter, templates)
    if wanted.google == NEW:
        return _new(wanted, credentials, account, headers)
    key = google_key(wanted.google)
    if key is None:
        raise ConfigError(
            f'--google {wanted.google}: give "{NEW}", or the address of a Google sheet as the browser shows it'
            " (https://docs.google.com/spreadsheets/d/...)"
        )
    if wanted.share:
        raise ConfigError(f"--share is for a sheet that --google {NEW} makes: share this one in the browser")
    try:
        with closing(google_client(credentials)) as client:
            tab = _chosen_tab(GoogleSheet(client, key, TAB), wanted)
            sheet = GoogleSheet(client, key, tab)
            told = _adopt(sheet, templates, headers)
    except SheetRefused as error:
        raise SheetRefused(f"{error}; nothing was written: do that, and type the same command again") from error
    return Made(url=_ADDRESS.format(key), tab=tab, credentials=str(credentials), told=told)


def configured(text: str, made: Made) -> str:
    """The starter's sheetd.toml with this sheet in it. JSON's way with a string is TOML's too."""
    url, tab, credentials = (json.dumps(value, ensure_ascii=False) for value in (made.url, made.tab, made.credentials))
    text = text.replace('\nurl = "builtin"\n', f"\nurl = {url}\ncredentials = {credentials}\n", 1)
    return text.replace(f'\ntab = "{TAB}"\n', f"\ntab = {tab}\n", 1)


def check_written(path: Path, text: str, made: Made) -> None:
    """Raise ConfigError unless the text says what was meant."""
    sheet = load_settings(path, text=text).sheet
    if (sheet.url, sheet.tab, str(sheet.credentials)) != (made.url, made.tab, made.credentials):
        raise ConfigError(f"{path} would not name this sheet: please report this, with the starter's sheetd.toml")


def _checked_credentials(text: str) -> Path:
    if text == APPLICATION_DEFAULT:
        return Path(text)
    path = Path(text).expanduser().absolute()
    try:
        return checked_key_file(path)
    except ValueError as error:
        raise ConfigError(f"--credentials: {error}") from error


# --- a sheet that is there ---------------------------------------------------------------------------------------


def _chosen_tab(sheet: GoogleSheet, wanted: Wanted) -> str:
    """The one that was named, else the one that the address shows, else ours, else the only one."""
    tabs = sheet.tabs()
    titles = [title for _, title in tabs]
    shown = _TAB_ID.search(wanted.google)
    if wanted.tab:
        found = [title for title in titles if title == wanted.tab]
    elif shown is not None:
        found = [title for id_, title in tabs if id_ == int(shown[1])]
    else:
        found = [TAB] if TAB in titles else titles
    if len(found) != 1:
        which = f"there is no tab {wanted.tab!r}" if wanted.tab else "which tab is meant is not clear"
        raise ConfigError(f"{which}: name one of {', '.join(map(repr, titles))} with --tab")
    return found[0]


def _adopt(sheet: GoogleSheet, templates: Mapping[str, Template], headers: Sequence[str]) -> list[str]:
    """Add the headers that are missing. Raises SheetRefused, with nothing written, for a header that is unclear."""
    grid = sheet.read()
    header = grid.rows[0] if grid.rows else ()
    known = {canonical(cell.shown).removesuffix(":last") for cell in header if cell.shown}
    missing = [text for text in headers if canonical(text) not in known]
    width = _width(grid)
    row = [*header, *[BLANK] * (width - len(header)), *(Cell(value=text, shown=text) for text in missing)]
    problems = layout_by(templates, row).problems
    if problems:
        raise SheetRefused(f'in the tab "{grid.title}", {"; ".join(problems)}')
    if not missing:
        return [f'the tab "{grid.title}" has all headers already']
    sheet.add_headers(grid, width, missing)
    return [f'added to row 1 of the tab "{grid.title}", right of what is there: {", ".join(missing)}']


def _width(grid: Grid) -> int:
    """How many columns are in use, from the left, in any row."""
    last = 0
    for row in grid.rows:
        last = max([last, *(place + 1 for place, cell in enumerate(row) if cell != BLANK)])
    return last


# --- a new one ---------------------------------------------------------------------------------------------------


def _new(wanted: Wanted, credentials: Path, account: Account, headers: Sequence[str]) -> Made:
    if account.kind == "service" and not wanted.share:
        raise ConfigError(
            f"a sheet that {account.email} makes is seen by nobody else: say with --share YOUR-ADDRESS who may edit it"
        )
    tab = wanted.tab or TAB
    with closing(google_client(credentials, (SHEETS, OWN_FILES))) as client:
        try:
            key = create_spreadsheet(client, wanted.title, tab)
        except SheetRefused as error:
            if account.kind != "service":
                raise
            raise SheetRefused(
                f"{error}. Many service accounts may not make files: make an empty sheet in the browser, share it with"
                f" {account.email} as an editor, and give its address to --google"
            ) from error
        url = _ADDRESS.format(key)
        GoogleSheet(client, key, tab).write_header(headers)
        told = [f"made {url}"]
        if wanted.share:
            try:
                share(client, key, wanted.share)
                told.append(f"{wanted.share} may edit it")
            except SheetError as error:  # the sheet is there all the same
                told.append(f"it could not be shared with {wanted.share} ({error}): share it in the browser")
    return Made(url=url, tab=tab, credentials=str(credentials), told=told)
