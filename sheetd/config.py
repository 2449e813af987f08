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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, ValidationInfo, field_validator, model_validator

from sheetd.errors import ConfigError
from sheetd.setting_paths import beside, file_of
from sheetd.sheet_settings import FurtherSheetSettings, Seconds, SheetSettings, collisions, with_tabs
from sheetd.tomlfile import Section, TomlFile

CONFIG_NAME = "sheetd.toml"
CONFIG_VARIABLE = "SHEETD_CONFIG"

_HOST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_NO_HOST = (
    "names no host: add one with `sheetd host add NAME`, NAME as in `ssh NAME`;"
    ' or [[hosts]] with name = "this-machine" and local = true to use this one'
)


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
            return default_state_dir(file_of(info))
        return beside(info, Path(path)) if isinstance(path, str) else path

    @field_validator("templates")
    @classmethod
    def _folders_exist(cls, folders: tuple[Path, ...], info: ValidationInfo) -> tuple[Path, ...]:
        found = tuple(beside(info, folder) for folder in folders)
        for folder in found:
            if not folder.is_dir():
                raise ValueError(f"there is no folder {folder}: create it, and put templates into it")
        return found

    @field_validator("ssh_config")
    @classmethod
    def _ssh_config(cls, path: Path, info: ValidationInfo) -> Path:
        found = beside(info, path)
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
            return str(beside(info, Path(root)))
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
    sheet: SheetSettings | None
    sheets: tuple[FurtherSheetSettings, ...] = ()
    daemon: DaemonSettings
    placement: PlacementSettings
    hosts: tuple[HostSettings, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _sections_may_be_left_out(cls, data: Mapping[str, Any]) -> Mapping[str, Any]:
        sheet: Mapping[str, Any] | None = None if data.get("sheets") else {}
        return with_tabs({"sheet": sheet, "daemon": {}, "placement": {}, **data})

    @field_validator("sheet", mode="before")
    @classmethod
    def _only_one(cls, found: object) -> object:
        if not isinstance(found, list):
            return found
        raise ValueError("is there once, in single brackets; further ones are [[sheets]], each with a name")

    @field_validator("sheets", mode="before")
    @classmethod
    def _several(cls, found: object) -> object:
        if not isinstance(found, dict):
            return found
        raise ValueError("is written in double brackets, [[sheets]], once for each sheet; the only one may be [sheet]")

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
    #: The one that these settings are for: the first, or that of one of `projects`.
    sheet: SheetSettings
    #: All of the file, each a project: rows, a journal and a loop of their own.
    sheets: tuple[SheetSettings, ...]
    daemon: DaemonSettings
    placement: PlacementSettings
    hosts: tuple[HostSettings, ...]
    #: As it stands in the file.
    text: str = field(default="", compare=False, repr=False)

    @property
    def projects(self) -> tuple[Settings, ...]:
        """The settings for each sheet of the file, in its order."""
        return tuple(replace(self, sheet=sheet) for sheet in self.sheets)

    @property
    def state_dir(self) -> Path:
        """Where this project keeps its journal; what all projects share is in `daemon.state_dir`."""
        return self.daemon.state_dir / self.sheet.folder


def load_settings(path: Path, *, needs_hosts: bool = True, text: str | None = None) -> Settings:
    """Read and check the file, or a `text` that it held. Raises ConfigError that names every mistake, one on a line."""
    path = path.expanduser().absolute()
    if text is None and not path.exists():
        raise ConfigError(f"there is no {path}: write one with `sheetd init`, or say where it is with --config")
    file = TomlFile(path, text)
    found = file.build(_File)
    if needs_hosts and not found.hosts:
        raise ConfigError(file.complaint(("hosts",), _NO_HOST))
    sheets = (*(() if found.sheet is None else (found.sheet,)), *found.sheets)
    if shared := [file.complaint(key, text) for key, text in collisions(sheets)]:
        raise ConfigError("\n".join(shared))
    return Settings(
        path=path,
        sheet=sheets[0],
        sheets=sheets,
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
