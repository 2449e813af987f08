"""[sheet] and [[sheets]]: which spreadsheet and tab, and when a row counts as typed to the end.

What the two sections share, and what several of them must not share, is checked here. Whatever else stands in the file
is `config`'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator

from sheetd.ports import APPLICATION_DEFAULT
from sheetd.setting_paths import beside, checked_key_file
from sheetd.tomlfile import Section

_GOOGLE = re.compile(r"https://docs\.google\.com/spreadsheets/(?:u/\d+/)?d/([A-Za-z0-9_-]{20,})(?:[/?#]\S*)?\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
#: Google allows 60 reads a minute and user, and people use the sheet meanwhile
#: (https://developers.google.com/workspace/sheets/api/limits).
_GOOGLE_POLL_S_MIN = 1.0

Seconds = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]


#: The folder in which each further sheet has its own.
PROJECTS = "projects"
#: What names a spreadsheet: Google's key, or the address and the key of a built-in one.
Spreadsheet: TypeAlias = tuple[str, str]


def google_key(url: str) -> str | None:
    """The key inside the address of a Google sheet as the browser shows it; None for any other text."""
    found = _GOOGLE.match(url)
    return found[1] if found else None


class SheetSettings(Section):
    """[sheet]: which spreadsheet, and when a row counts as typed to the end."""

    #: What `--sheet` calls it, where there are several.
    name: str = "main"
    #: "builtin", the address of a Google sheet, or the base address of a built-in sheet that runs already.
    url: str = "builtin"
    #: The tab that holds the experiments.
    tab: Annotated[str, Field(min_length=1, max_length=100)] = "Experiments"
    #: The tab that shows the hosts, created if there is none. "": no such tab.
    hosts_tab: Annotated[str, Field(max_length=100)] = "Hosts"
    #: The tab that lists the runs of rows that stand for several, created when there are some. "": no such tab; nor
    #: is there one while another tab of ours is called "Runs" and this is left as it is.
    runs_tab: Annotated[str, Field(max_length=100)] = "Runs"
    #: Key and token of a built-in sheet that runs already; only with such a url.
    key: str | None = None
    token: str | None = None
    #: The key file of a service account, the file of a sign-in, or "application-default"; needed for Google.
    credentials: Path | None = None
    #: Between two looks at the sheet.
    poll_s: Annotated[float, Field(strict=True, gt=0, le=3600, allow_inf_nan=False)] = 2.0
    #: "settled": a row starts when nobody has changed it for `settle_s`. "explicit": only when its action says run.
    ready: Literal["settled", "explicit"] = "settled"
    settle_s: Seconds = 3.0
    #: For how long the job of a deleted row runs on, so that undo brings it back unharmed.
    deleted_row_grace_s: Seconds = 600.0
    #: A row that stands for more runs than this starts only when its action says run.
    sweep_max: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 100

    @property
    def folder(self) -> str:
        """Where its own is kept, below the state folder here and the root of each host; "" is there itself."""
        return ""

    @property
    def spreadsheet(self) -> Spreadsheet:
        """The same for two tabs of one spreadsheet."""
        return _spreadsheet(self.url, self.key)

    @property
    def kind(self) -> Literal["builtin", "server", "google"]:
        """Ours to start, already running, or Google's."""
        if self.url == "builtin":
            return "builtin"
        return "google" if _GOOGLE.match(self.url) else "server"

    @property
    def spreadsheet_key(self) -> str | None:
        """The key inside Google's url, or the one given for a running built-in sheet; None for our own."""
        return google_key(self.url) or self.key

    @field_validator("name")
    @classmethod
    def _one_word(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"{name!r} cannot be a sheet's name: use one word of up to 40 letters, digits, - and _, for it also"
                " names folders"
            )
        return name

    @field_validator("url")
    @classmethod
    def _known_kind_of_url(cls, url: str) -> str:
        if url == "builtin" or _GOOGLE.match(url):
            return url
        parts = urlsplit(url)
        if parts.scheme == "http" and parts.hostname in _LOOPBACK and parts.port:
            return url.rstrip("/")
        raise ValueError(
            'must be "builtin", the address of a Google sheet as the browser shows it'
            " (https://docs.google.com/spreadsheets/d/...), or http://127.0.0.1:PORT of a running built-in sheet"
        )

    @field_validator("hosts_tab", "runs_tab")
    @classmethod
    def _a_tab_of_its_own(cls, title: str, info: ValidationInfo) -> str:
        whose = {"tab": "experiments", "hosts_tab": "hosts"}
        for name, what in whose.items():
            if name == info.field_name:
                break
            if title and title.strip().casefold() == str(info.data.get(name)).strip().casefold():
                if title == "Runs":
                    return ""  # nobody who calls a tab so has to name another one for something new
                own = str(info.field_name).removesuffix("_tab")
                raise ValueError(f'is the tab of the {what}: name another one, or "" to have no tab of {own}')
        return title

    @field_validator("key", "token")
    @classmethod
    def _only_for_a_running_sheet(cls, value: str | None, info: ValidationInfo) -> str | None:
        if "url" not in info.data:
            return value
        running = info.data["url"].startswith("http://")
        if running and not value:
            raise ValueError("is missing: the running sheet printed key and token when it started")
        if not running and value:
            raise ValueError("belongs to a url of a running built-in sheet (http://127.0.0.1:PORT): remove it")
        return value

    @field_validator("credentials")
    @classmethod
    def _safe_key_file(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if "url" not in info.data:
            return path
        google = _GOOGLE.match(info.data["url"]) is not None
        if google and path is None:
            raise ValueError(
                'is missing: name your service account\'s key file, such as "~/.config/sheetd/key.json",'
                f' or "{APPLICATION_DEFAULT}"'
            )
        if not google and path is not None:
            raise ValueError("is only for Google sheets: remove it")
        if path is None or str(path) == APPLICATION_DEFAULT:
            return path
        return checked_key_file(beside(info, path))

    @field_validator("poll_s")
    @classmethod
    def _within_quota(cls, poll_s: float, info: ValidationInfo) -> float:
        if _GOOGLE.match(info.data.get("url", "")) and poll_s < _GOOGLE_POLL_S_MIN:
            raise ValueError(f"must be at least {_GOOGLE_POLL_S_MIN:g} for a Google sheet, or its quota runs out")
        return poll_s


class FurtherSheetSettings(SheetSettings):
    """[[sheets]]: a project beside others, which keeps what is its own below its name."""

    name: str

    @property
    def folder(self) -> str:
        return f"{PROJECTS}/{self.name.casefold()}"


# --- several of them ---------------------------------------------------------------------------------------------

TABS = ("tab", "hosts_tab", "runs_tab")


def with_tabs(data: Mapping[str, Any]) -> dict[str, Any]:
    """The content of the file, with the tabs that its sheets leave out, so that no two use the same one.

    A further sheet's rows are in the tab of its name, its runs in "Runs NAME". The hosts are the same for all, so the
    first sheet of a spreadsheet shows them and the others do not. The first keeps what it has when others are added.
    """
    first, further = data.get("sheet"), data.get("sheets")
    told = [one for one in (first, *(further if isinstance(further, list) else ())) if isinstance(one, dict)]
    filled = {id(one): _filled(one, told, is_further=one is not first) for one in told}
    return {
        **data,
        "sheet": filled.get(id(first), first),
        "sheets": [filled.get(id(one), one) for one in further] if isinstance(further, list) else (further or ()),
    }


def _filled(one: dict[str, Any], told: Sequence[dict[str, Any]], *, is_further: bool) -> dict[str, Any]:
    beside_it = [other for other in told if _spreadsheet_of(other) == _spreadsheet_of(one)]
    others = [{"tab": other.get("name"), **other} for other in beside_it if other is not one]
    typed = {_folded(other.get(key, "")) for other in others for key in TABS}
    is_first = beside_it[0] is one
    usual: dict[str, Any] = {}
    name = one.get("name")
    if is_further and isinstance(name, str) and _NAME.fullmatch(name):
        usual["tab"] = name
    if not is_first or "hosts" in typed:
        usual["hosts_tab"] = ""
    if not is_first:
        usual["runs_tab"] = f"Runs {name}"
    elif "runs" in typed:
        usual["runs_tab"] = ""
    return {**usual, **one}


def collisions(sheets: Sequence[SheetSettings]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What two of them must not share: where it stands in the file, and what to do."""
    names: dict[str, str] = {}
    tabs: dict[tuple[Spreadsheet, str], str] = {}
    shift = sum(not isinstance(one, FurtherSheetSettings) for one in sheets)
    for number, sheet in enumerate(sheets):
        place: tuple[str | int, ...] = ("sheets", number - shift) if number >= shift else ("sheet",)
        if sheet.name.casefold() in names:
            yield (*place, "name"), f'two sheets are called "{names[sheet.name.casefold()]}": rename one'
            continue
        names[sheet.name.casefold()] = sheet.name
        for key in TABS:
            title = getattr(sheet, key)
            other = tabs.setdefault((sheet.spreadsheet, _folded(title)), sheet.name) if title else sheet.name
            if other != sheet.name:
                yield (*place, key), f'the sheet "{other}" has the tab "{title}" of this spreadsheet: name another tab'


def _spreadsheet(url: str, key: str | None) -> Spreadsheet:
    found = google_key(url)
    return ("google", found) if found else (url.rstrip("/"), key or "")


def _spreadsheet_of(one: Mapping[str, Any]) -> Spreadsheet:
    return _spreadsheet(str(one.get("url", "builtin")), str(one.get("key", "")))


def _folded(title: object) -> str:
    return str(title).strip().casefold()
