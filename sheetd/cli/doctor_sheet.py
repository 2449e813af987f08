"""The sheet's part of `sheetd doctor`: signing in, the clock, the sheet and its header, and who else may type there.

Looks, and changes nothing. Only Google's answers say what time it is and who may open a sheet of theirs; what they do
not let us see is said as that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from time import monotonic

from sheetd.clock import SystemClock
from sheetd.config import Settings
from sheetd.core.template import Template
from sheetd.core.validation import layout_by
from sheetd.door import sheet_address
from sheetd.errors import SheetdError
from sheetd.journal import JournalReader
from sheetd.sheets.drive import Permission, permissions
from sheetd.sheets.google import GoogleSheet, google_client, open_builtin, open_google
from sheetd.sheets.signin import SHARING

#: Google refuses a signature from a clock that is off by more than some minutes; times in the sheet are wrong before.
SKEW_MAX_S = 60.0
RESTRICT = 'in the sheet\'s Share dialog, set General access to "Restricted"'


@dataclass(frozen=True, slots=True)
class Finding:
    """One link: what was tried, whether it holds, and in words what was seen or what to do."""

    what: str
    ok: bool
    detail: str


def sheet_findings(settings: Settings, templates: Mapping[str, Template]) -> Iterator[Finding]:
    """What there is to say of the sheet, in the order in which a person would mend it."""
    if settings.sheet.kind == "builtin":
        yield _builtin_sheet(settings)
        return
    try:
        sheet = _open(settings)
    except SheetdError as error:
        yield Finding("sheet", False, str(error))
        return
    with closing(sheet):
        found = _read(sheet, templates)
        if settings.sheet.kind == "google":
            yield from _account_and_clock(sheet)
        yield found
    if settings.sheet.kind == "google" and found.ok and settings.sheet.credentials is not None:
        yield _sharing(settings.sheet.credentials, sheet.key)


def _open(settings: Settings) -> GoogleSheet:
    wanted = settings.sheet
    if wanted.kind == "google":
        assert wanted.credentials is not None  # noqa: S101 - checked by the settings; said for the type checker
        return open_google(wanted.url, wanted.tab, wanted.credentials)
    return open_builtin(wanted.url, wanted.token or "", wanted.key or "", wanted.tab)


def _read(sheet: GoogleSheet, templates: Mapping[str, Template]) -> Finding:
    try:
        grid = sheet.read()
    except SheetdError as error:
        return Finding("sheet", False, str(error))
    layout = layout_by(templates, grid.rows[0] if grid.rows else ())
    if layout.problems:
        return Finding("sheet", False, f'in the tab "{grid.title}", {"; ".join(layout.problems)}')
    return Finding("sheet", True, f'tab "{grid.title}" has its columns and {max(0, len(grid.rows) - 1)} rows')


def _builtin_sheet(settings: Settings) -> Finding:
    """Only who serves it can read it: what the daemon says of it is what there is to know."""
    address = sheet_address(settings)
    try:
        reader = JournalReader(settings.state_dir)
        view = reader.view("sheet") if reader.daemon() is not None else None
    except SheetdError:
        view = None  # the daemon has its own finding
    if view is not None and view.value.get("problem"):
        return Finding("sheet", False, f"{view.value['problem']}; the sheet is at {address}")
    if view is not None and address:
        return Finding("sheet", True, f"the sheet is at {address}")
    return Finding("sheet", True, "built in; `sheetd run` serves it and prints its address")


# --- Google ------------------------------------------------------------------------------------------------------


def _account_and_clock(sheet: GoogleSheet) -> Iterator[Finding]:
    yield Finding("account", True, sheet.client.identity or "whoever signed in; the file does not say who that is")
    behind_s = _behind_s(sheet)
    if behind_s is None:
        return
    if abs(behind_s) <= SKEW_MAX_S:
        yield Finding("clock", True, "agrees with Google's")
        return
    off = f"this machine's clock is {_span(abs(behind_s))} {'behind' if behind_s > 0 else 'ahead of'} Google's"
    yield Finding("clock", False, f"{off}: have it set over the network (`timedatectl set-ntp true`)")


def _behind_s(sheet: GoogleSheet) -> float | None:
    """How far our clock is behind the one that Google's newest answer was dated by; None without such an answer."""
    if sheet.client.date is None:
        return None
    text, heard_s = sheet.client.date
    try:
        told = parsedate_to_datetime(text)
    except ValueError:
        return None
    told = told if told.tzinfo is not None else told.replace(tzinfo=timezone.utc)
    return told.timestamp() + (monotonic() - heard_s) - SystemClock().wall_s()


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _sharing(credentials: Path, key: str) -> Finding:
    """Every editor can start what the templates allow: whether that is everybody."""
    try:
        with closing(google_client(credentials, (SHARING,))) as client:
            found = permissions(client, key)
    except SheetdError:
        # The Drive API is not enabled, or a person's sign-in does not cover it. Neither is needed to work.
        unseen = "who may edit the sheet cannot be seen with this sign-in, and every editor can start what your"
        return Finding("sharing", True, f"{unseen} templates allow: {RESTRICT} unless you mean everybody")
    return _judge(found)


def _judge(found: list[Permission]) -> Finding:
    anyone = [one for one in found if one.whom == "anyone"]
    if any(one.may_edit for one in anyone):
        return Finding(
            "sharing", False, f"anyone who has the link can edit, and so start what your templates allow: {RESTRICT}"
        )
    domains = sorted({one.domain for one in found if one.whom == "domain" and one.may_edit})
    words = [f"everybody at {domain} can edit" for domain in domains]
    words += ["anyone who has the link can look"] if anyone else []
    named = sum(one.may_edit for one in found if one.whom in ("user", "group"))
    words.append(f"{named} {'person or group' if named == 1 else 'people and groups'} by name can edit")
    return Finding("sharing", True, ", ".join(words))
