"""sheetd.toml: where the sheet is, which hosts there are, where the daemon keeps its state.

Settings are frozen and checked whole before anything starts. Every mistake is named with file, line, key and what to
do, all at once. Paths are relative to the file, so a configuration works from any folder. What an experiment may
execute does not belong here: that is a template's business.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, StrictBool, ValidationInfo, field_validator, model_validator

from sheetd.errors import ConfigError
from sheetd.ports import APPLICATION_DEFAULT
from sheetd.tomlfile import Section, TomlFile

CONFIG_NAME = "sheetd.toml"
CONFIG_VARIABLE = "SHEETD_CONFIG"

_GOOGLE = re.compile(r"https://docs\.google\.com/spreadsheets/(?:u/\d+/)?d/([A-Za-z0-9_-]{20,})(?:[/?#]\S*)?\Z")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_HOST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Google allows 60 reads a minute and user, and people use the sheet meanwhile
#: (https://developers.google.com/workspace/sheets/api/limits).
_GOOGLE_POLL_S_MIN = 1.0

_NO_HOST = (
    "names no host: add one with `sheetd host add NAME`, NAME as in `ssh NAME`;"
    ' or [[hosts]] with name = "this-machine" and local = true to use this one'
)

Seconds = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]


def google_key(url: str) -> str | None:
    """The key inside the address of a Google sheet as the browser shows it; None for any other text."""
    found = _GOOGLE.match(url)
    return found[1] if found else None


class SheetSettings(Section):
    """[sheet]: which spreadsheet, and when a row counts as typed to the end."""

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
    def kind(self) -> Literal["builtin", "server", "google"]:
        """Ours to start, already running, or Google's."""
        if self.url == "builtin":
            return "builtin"
        return "google" if _GOOGLE.match(self.url) else "server"

    @property
    def spreadsheet_key(self) -> str | None:
        """The key inside Google's url, or the one given for a running built-in sheet; None for our own."""
        return google_key(self.url) or self.key

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
        return checked_key_file(_beside(info, path))

    @field_validator("poll_s")
    @classmethod
    def _within_quota(cls, poll_s: float, info: ValidationInfo) -> float:
        if _GOOGLE.match(info.data.get("url", "")) and poll_s < _GOOGLE_POLL_S_MIN:
            raise ValueError(f"must be at least {_GOOGLE_POLL_S_MIN:g} for a Google sheet, or its quota runs out")
        return poll_s


class DaemonSettings(Section):
    """[daemon]: files on the daemon's own machine."""

    #: Journal, code snapshots and the built-in sheet. On a local disk. Each configuration has its own.
    #: Default: below ~/.local/state/sheetd, named after the folder of this file.
    state_dir: Path = Path()
    #: Folders with templates, one TOML file each.
    templates: Annotated[tuple[Path, ...], Field(min_length=1)] = (Path("templates"),)
    #: Where the names of [[hosts]] are looked up.
    ssh_config: Path = Path("~/.ssh/config")

    @field_validator("state_dir", mode="before")
    @classmethod
    def _state_dir(cls, path: object, info: ValidationInfo) -> object:
        # Only the default arrives as a Path: what stands in a file is text, or a mistake that pydantic names.
        if isinstance(path, Path):
            return default_state_dir(_file(info))
        return _beside(info, Path(path)) if isinstance(path, str) else path

    @field_validator("templates")
    @classmethod
    def _folders_exist(cls, folders: tuple[Path, ...], info: ValidationInfo) -> tuple[Path, ...]:
        found = tuple(_beside(info, folder) for folder in folders)
        for folder in found:
            if not folder.is_dir():
                raise ValueError(f"there is no folder {folder}: create it, and put templates into it")
        return found

    @field_validator("ssh_config")
    @classmethod
    def _ssh_config(cls, path: Path, info: ValidationInfo) -> Path:
        found = _beside(info, path)
        if path != Path("~/.ssh/config") and not found.is_file():
            raise ValueError(f"there is no file {found}: correct the path, or remove the key to use ~/.ssh/config")
        return found


class HostSettings(Section):
    """[[hosts]]: one machine that may run experiments."""

    #: An alias of the SSH configuration; for a local host any name.
    name: str
    #: This very machine, without SSH.
    local: StrictBool = False
    #: How many slots are handed out. Default: one for each accelerator that is found, or one if there is none.
    slots: Annotated[int, Field(strict=True, ge=1, le=1024)] | None = None
    #: "auto": its GPUs and TPU chips are found and handed out, those that nobody uses. "off": only plain slots are.
    #: Default: "auto", or "off" where `slots` is given.
    accelerators: Literal["auto", "off"] | None = None
    #: A GPU that uses no more memory than this, and has no process, counts as idle. A display needs more.
    idle_memory_mb: Annotated[int, Field(strict=True, ge=0, le=1_000_000)] = 300
    #: For how long an accelerator is left alone after somebody else has used it.
    cooldown_s: Seconds = 300.0
    #: Words that a row's `where` can ask for.
    labels: tuple[str, ...] = ()
    #: Environment of every experiment on this host. Not for secrets: those are named in templates.
    env: Mapping[str, str] = Field(default_factory=dict)
    #: Also use the keys of the ssh-agent at $SSH_AUTH_SOCK, which then has to outlive your login.
    use_ssh_agent: StrictBool = False
    #: Where the host keeps what sheetd puts there. Absolute on a remote host. Default: below ~/.local/state there.
    root: str | None = None

    @property
    def looks(self) -> bool:
        """Whether its accelerators are looked at and handed out."""
        return self.accelerators == "auto" or (self.accelerators is None and self.slots is None)

    @property
    def plain_slots(self) -> int:
        """How many slots it has if no accelerator is found or looked for."""
        return self.slots or 1

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if not _HOST_NAME.fullmatch(name):
            raise ValueError(
                f"{name!r} cannot be a host's name: use up to 63 letters, digits, dots, - and _; put user, port and"
                " address under such a name into your SSH configuration"
            )
        return name

    @field_validator("labels")
    @classmethod
    def _one_word_each(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        for label in labels:
            if not _HOST_NAME.fullmatch(label):
                raise ValueError(f"{label!r} cannot be a label: use one word of letters, digits, dots, - and _")
        return labels

    @field_validator("env")
    @classmethod
    def _proper_names(cls, env: Mapping[str, str]) -> Mapping[str, str]:
        for name in env:
            if not _ENV_NAME.fullmatch(name) or name.startswith("SHEETD_"):
                raise ValueError(f"{name!r} cannot be set: use letters, digits and _, and not the prefix SHEETD_")
        return env

    @field_validator("root")
    @classmethod
    def _root(cls, root: str | None, info: ValidationInfo) -> str | None:
        if root is None:
            return None
        if info.data.get("local"):
            return str(_beside(info, Path(root)))
        if not root.startswith("/"):
            raise ValueError(f'must be an absolute path on the host, such as "/scratch/me/sheetd", and is {root!r}')
        return root


class PlacementSettings(Section):
    """[placement]: who gets which accelerators."""

    #: "pack": small requests fill hosts that are in use already, so that large ones find whole hosts.
    #: "spread": they go where most is free. Plain slots are always spread.
    strategy: Literal["pack", "spread"] = "pack"
    #: A request that has waited for so long gets what it needs kept for it, so that smaller ones cannot starve it.
    reserve_after_s: Seconds = 300.0


class _File(Section):
    sheet: SheetSettings
    daemon: DaemonSettings
    placement: PlacementSettings
    hosts: tuple[HostSettings, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _sections_may_be_left_out(cls, data: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"sheet": {}, "daemon": {}, "placement": {}, **data}

    @field_validator("hosts")
    @classmethod
    def _distinct(cls, hosts: tuple[HostSettings, ...]) -> tuple[HostSettings, ...]:
        names = [host.name for host in hosts]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f'two hosts are called "{name}": rename one')
        roots = [host.root for host in hosts if host.local]
        if len(set(roots)) < len(roots):
            raise ValueError("two local hosts would share one folder: give each a root of its own, or keep one")
        return hosts


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that sheetd.toml says, checked, with absolute paths. `path` is the file itself."""

    path: Path
    sheet: SheetSettings
    daemon: DaemonSettings
    placement: PlacementSettings
    hosts: tuple[HostSettings, ...]
    #: As it stands in the file.
    text: str = field(default="", compare=False, repr=False)


def load_settings(path: Path, *, needs_hosts: bool = True, text: str | None = None) -> Settings:
    """Read and check the file, or a `text` that it held. Raises ConfigError that names every mistake, one on a line."""
    path = path.expanduser().absolute()
    if text is None and not path.exists():
        raise ConfigError(f"there is no {path}: write one with `sheetd init`, or say where it is with --config")
    file = TomlFile(path, text)
    found = file.build(_File)
    if needs_hosts and not found.hosts:
        raise ConfigError(file.complaint(("hosts",), _NO_HOST))
    return Settings(
        path=path,
        sheet=found.sheet,
        daemon=found.daemon,
        placement=found.placement,
        hosts=found.hosts,
        text=file.text,
    )


def default_config_path() -> Path:
    """The first there is of ./sheetd.toml, $SHEETD_CONFIG and ~/.config/sheetd/sheetd.toml; ConfigError for none."""
    here = Path(CONFIG_NAME)
    if here.exists():
        return here.absolute()
    named = os.environ.get(CONFIG_VARIABLE)
    if named:
        if not Path(named).expanduser().exists():
            raise ConfigError(f"{CONFIG_VARIABLE} names {named}, and there is no such file: correct or unset it")
        return Path(named).expanduser().absolute()
    own = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "sheetd" / CONFIG_NAME
    if own.exists():
        return own
    raise ConfigError(
        f"there is no {CONFIG_NAME} in this folder, nor {own}: write one with `sheetd init`,"
        f" or say where it is with --config or {CONFIG_VARIABLE}"
    )


def default_state_dir(config: Path) -> Path:
    """One folder for each configuration file, so that two projects never share a journal."""
    config = config.resolve()
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", config.parent.name) or "root"
    short = hashlib.sha256(os.fsencode(config)).hexdigest()[:8]
    state = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser()
    return state / "sheetd" / f"{name}-{short}"


def _file(info: ValidationInfo) -> Path:
    path = info.context
    assert isinstance(path, Path)  # noqa: S101 - TomlFile.build always passes it; said for the type checker
    return path


def _beside(info: ValidationInfo, path: Path) -> Path:
    """The path as the file means it: relative to the folder that the file is in."""
    return Path(os.path.normpath(_file(info).parent / path.expanduser()))


def checked_key_file(path: Path) -> Path:
    """Raise ValueError for a key that others can read or that is about to be published.

    A key is a password that does not expire (https://cloud.google.com/iam/docs/best-practices-for-managing-service-account-keys).
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}: download the service account's key as JSON and put it there")
    if path.stat().st_mode & 0o077:
        raise ValueError(f"{path} can be read by others: run chmod 600 {path}")
    return outside_git(path)


def outside_git(path: Path) -> Path:
    """The path of a secret. Raises ValueError for one that would be about to be published."""
    tree = next((folder for folder in path.resolve().parents if (folder / ".git").exists()), None)
    if tree is not None:
        raise ValueError(
            f"{path} is inside the git work tree {tree}, one `git add` away from being published:"
            " move it, for example to ~/.config/sheetd/"
        )
    return path
