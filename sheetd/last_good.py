"""The settings that a running daemon goes by, for those who look at it, while its file has a mistake.

The daemon keeps the text of the last sheetd.toml that was good in its state folder. Whoever only looks or asks goes by
that as long as a daemon runs; whoever starts something or writes the file has to mend it first.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from sheetd.config import Settings, default_state_dir, load_settings
from sheetd.errors import ConfigError
from sheetd.journal.lock import holder_of
from sheetd.tomlfile import TomlFile

NAME = "last-good.toml"


def keep(state_dir: Path, text: str) -> None:
    """For this user's eyes only: there may be a token in it. A copy that cannot be written is done without."""
    fresh = state_dir / f".{NAME}"
    with suppress(OSError):
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        fresh.replace(state_dir / NAME)


def settings_in_use(path: Path) -> tuple[Settings, str]:
    """The settings by which the daemon goes, and what is wrong with the file. Raises ConfigError when none runs."""
    path = path.expanduser().absolute()
    try:
        settings = load_settings(path)
    except ConfigError as error:
        kept = _last_good(path, _state_dir(path))
        if kept is None:
            raise
        return kept, str(error)
    usual = default_state_dir(path)
    if settings.daemon.state_dir != usual and holder_of(settings.daemon.state_dir) is None:
        # The folder was named a moment ago, and is taken when the daemon is started again.
        return _last_good(path, usual) or settings, ""
    kept = _last_good(path, settings.daemon.state_dir)
    if kept is not None and not _folders(kept) <= _folders(settings):
        return kept, ""  # a sheet was taken out of the file, and is served until the daemon is started again
    return settings, ""


def _folders(settings: Settings) -> set[str]:
    return {sheet.folder for sheet in settings.sheets}


def _last_good(path: Path, state_dir: Path) -> Settings | None:
    try:
        text = (state_dir / NAME).read_text(encoding="utf-8")
        settings = load_settings(path, text=text)
    except (OSError, ValueError, ConfigError):
        return None
    is_its = settings.daemon.state_dir == state_dir and holder_of(state_dir) is not None
    return settings if is_its else None


def _state_dir(path: Path) -> Path:
    """As far as a file with a mistake tells."""
    with suppress(ConfigError):
        section = TomlFile(path).data.get("daemon")
        named = section.get("state_dir") if isinstance(section, dict) else None
        if isinstance(named, str):
            return Path(os.path.normpath(path.parent / Path(named).expanduser()))
    return default_state_dir(path)
