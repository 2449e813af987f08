"""systemd's user manager and launchd behind one small Protocol: who keeps the daemon once nobody is logged in.

Programs are started with lists of arguments and a time limit, and what they complain of is handed on in their own
words. Nothing here asks a person, and nothing decides when to install.

Weak point: launchd was never met. `Launchd` is written from launchctl(1) and launchd.plist(5) and tried against a
stand-in only, never on a Mac; there the log is a file that nobody rotates, and a daemon that hangs is not noticed.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_delay, wait_fixed

from sheetd.cli import unit as units
from sheetd.cli.unit import PREFIX, Unit
from sheetd.errors import SheetdError

ASK_S = 20.0
#: Longer than a start or a restart may take by the unit's own limits.
START_S = units.START_PATIENCE_S + units.STOP_PATIENCE_S + ASK_S
NOT_LOADED = 113  # of launchctl: "Could not find service"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceState:
    """What the manager says of one service. None is what it does not tell."""

    file: Path
    installed: bool
    enabled: bool | None = None
    running: bool = False
    #: In the manager's own word, such as "auto-restart" of systemd.
    state: str = ""
    pid: int = 0
    running_s: float | None = None
    restarts: int | None = None
    result: str = ""


class ServiceManager(Protocol):
    """Keeps services of one user by name. Each method raises SheetdError in words when it is refused."""

    folder: Path
    suffix: str

    def render(self, unit: Unit) -> str: ...

    def config_of(self, text: str) -> Path | None: ...

    def refuse_if_absent(self, config: Path) -> None:
        """Raise SheetdError, with what to do instead, when nobody is there who could keep a service."""

    def start(self, name: str, *, is_new: bool, restart: bool) -> None:
        """Have the service run, now and from now on. `is_new`: its file has just been written."""

    def state(self, name: str) -> ServiceState: ...

    def log_argv(self, name: str, lines: int, *, follow: bool) -> Sequence[str]: ...

    def last_words(self, name: str, lines: int, *, since_wall_s: float) -> list[str]:
        """The end of its log; of what was said before that time only where the log knows no times."""

    def how_to_set(self, unit: Unit) -> str:
        """How a variable gets into the daemon's environment: "put ... "."""

    def stop(self, name: str) -> None:
        """Have it end, and not start again."""

    def forget(self, name: str) -> None:
        """Its file is gone."""

    def environment(self) -> Mapping[str, str]: ...


def manager_here() -> ServiceManager:
    """The one that this kind of system has."""
    if sys.platform == "darwin":
        return Launchd(Path.home(), os.geteuid())
    return Systemd(units_folder(os.environ), os.geteuid(), os.environ)


def file_of(manager: ServiceManager, name: str) -> Path:
    return manager.folder / f"{name}{manager.suffix}"


def services_of(manager: ServiceManager, config: Path) -> list[str]:
    """The names of the installed services that serve this configuration."""
    found = sorted(manager.folder.glob(f"{PREFIX}*{manager.suffix}"))
    return [
        file.name.removesuffix(manager.suffix) for file in found if is_same(manager.config_of(text_of(file)), config)
    ]


def is_same(one: Path | None, other: Path) -> bool:
    """Whether both name one configuration, be it by way of a link."""
    return one is not None and one.resolve() == other.resolve()


def text_of(file: Path) -> str:
    """The text of a unit, or "" when there is none."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise SheetdError(f"{file} cannot be read: {error.strerror}") from error


def call(
    argv: Sequence[str], environment: Mapping[str, str], *, within_s: float = ASK_S
) -> subprocess.CompletedProcess[str]:
    """Run a program of the system. Raises SheetdError when it is not there or does not end."""
    try:
        return subprocess.run(
            argv,
            env={**environment, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=within_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise SheetdError(f"{argv[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise SheetdError(f"`{' '.join(argv)}` has not ended within {within_s:.0f} s") from error


def otherwise(why: str, config: Path) -> SheetdError:
    """Nobody keeps services here: why, and what works all the same."""
    run = shlex.join(("tmux", "new", "-d", "-s", "sheetd", "sheetd", "run", "--config", str(config)))
    return SheetdError(f"{why}. sheetd also runs in tmux, started by you after each boot: {run}")


def told_by(done: subprocess.CompletedProcess[str]) -> str:
    """What a program that failed says, on one line."""
    said = " ".join((done.stderr or done.stdout).split())
    return said or f"it ended with {done.returncode} and said nothing"


# --- systemd -----------------------------------------------------------------------------------------------------


def units_folder(environment: Mapping[str, str]) -> Path:
    """Where the user manager looks for a person's own units (systemd.unit(5))."""
    return Path(environment.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"


def with_runtime_folder(environment: Mapping[str, str], uid: int, *, run: Path = Path("/run/user")) -> dict[str, str]:
    """Where the user manager is met. `su` and `sudo` leave it out, or leave that of somebody else."""
    found, own = environment.get("XDG_RUNTIME_DIR", ""), run / str(uid)
    try:
        is_ours = bool(found) and Path(found).stat().st_uid == uid
    except OSError:
        is_ours = False
    if is_ours or not own.is_dir():
        return dict(environment)
    # The bus of whoever we were before would be asked otherwise.
    kept = {name: value for name, value in environment.items() if name != "DBUS_SESSION_BUS_ADDRESS"}
    return {**kept, "XDG_RUNTIME_DIR": str(own)}


class Systemd:
    """`systemctl --user`."""

    suffix = ".service"

    def __init__(self, folder: Path, uid: int, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self._uid = uid
        self._environment = with_runtime_folder(environment, uid)

    def render(self, unit: Unit) -> str:
        return units.systemd_unit(unit)

    def config_of(self, text: str) -> Path | None:
        return units.config_of_systemd(text)

    def environment(self) -> Mapping[str, str]:
        return self._environment

    def refuse_if_absent(self, config: Path) -> None:
        if shutil.which("systemctl") is None:
            raise otherwise("this machine has no systemd", config)
        done = self._call("show", "--property=Version")
        if done.returncode != 0:
            why = (
                f"systemd keeps no services of yours here ({told_by(done)}). Where systemd runs the machine,"
                " `sudo loginctl enable-linger $USER` starts what keeps them; a container has none"
            )
            raise otherwise(why, config)

    def start(self, name: str, *, is_new: bool, restart: bool) -> None:
        if is_new:
            self._do("daemon-reload")
        self._do("enable", f"{name}.service")
        # systemd waits for the daemon to say that it is ready (Type=notify).
        self._do("restart" if restart else "start", f"{name}.service", within_s=START_S)

    def state(self, name: str) -> ServiceState:
        wanted = "ActiveState,SubState,UnitFileState,MainPID,NRestarts,Result,ActiveEnterTimestampMonotonic"
        done = self._call("show", f"{name}.service", f"--property={wanted}")
        told = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
        is_running = told.get("ActiveState") == "active"
        since_us = _number(told.get("ActiveEnterTimestampMonotonic", "")) or 0
        return ServiceState(
            file=file_of(self, name),
            installed=file_of(self, name).exists(),
            enabled=told.get("UnitFileState") == "enabled",
            running=is_running,
            state=told.get("SubState", "") or told_by(done),
            pid=_number(told.get("MainPID", "")) or 0,
            running_s=time.monotonic() - since_us / 1e6 if is_running and since_us else None,
            restarts=_number(told.get("NRestarts", "")),
            result=told.get("Result", ""),
        )

    def log_argv(self, name: str, lines: int, *, follow: bool) -> Sequence[str]:
        # Not `--user`: it reads no journal that is kept in memory. By identifier, which systemd sends along, what a
        # program says just before it dies is found too; its unit is looked up later, when it may be gone.
        by_daemon, by_systemd = self._speakers(name)
        options = ("--quiet", "--no-pager", f"--lines={lines}", *(("--follow",) if follow else ()))
        return ("journalctl", *options, *by_daemon, "+", *by_systemd)

    def last_words(self, name: str, lines: int, *, since_wall_s: float) -> list[str]:
        options = ("--quiet", "--no-pager", f"--lines={lines}", "--output=cat", f"--since=@{int(since_wall_s)}")
        # First of all the daemon's: systemd counts every job that goes on, twice.
        said = (call(("journalctl", *options, *who), self._environment).stdout for who in self._speakers(name))
        return next(filter(None, said), "").splitlines()

    def _speakers(self, name: str) -> tuple[tuple[str, str], tuple[str, str]]:
        """Who puts lines into the journal, for its matches: the daemon itself, and systemd about it."""
        ours = f"_UID={self._uid}"
        return (ours, f"SYSLOG_IDENTIFIER={name}"), (ours, f"USER_UNIT={name}.service")

    def how_to_set(self, unit: Unit) -> str:
        return f"put NAME=value lines into {unit.environment_file} (chmod 600)"

    def stop(self, name: str) -> None:
        self._do("disable", "--now", f"{name}.service", within_s=START_S)

    def forget(self, name: str) -> None:
        self._do("daemon-reload")
        self._call("reset-failed", f"{name}.service")  # which complains when it has not failed

    def _call(self, *words: str, within_s: float = ASK_S) -> subprocess.CompletedProcess[str]:
        return call(("systemctl", "--user", "--no-ask-password", *words), self._environment, within_s=within_s)

    def _do(self, *words: str, within_s: float = ASK_S) -> None:
        done = self._call(*words, within_s=within_s)
        if done.returncode != 0:
            why = told_by(done).partition(' See "systemctl')[0].rstrip(".")  # it is shown what it would see there
            raise SheetdError(f"`systemctl --user {' '.join(words)}` failed: {why}")


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


# --- launchd -----------------------------------------------------------------------------------------------------


def _still_there(_: RetryCallState) -> NoReturn:
    raise SheetdError("launchd was asked to end the daemon, and has not: see `launchctl print` of it")


class Launchd:
    """`launchctl` in the login session of one user."""

    suffix = ".plist"

    def __init__(self, home: Path, uid: int) -> None:
        self.folder = home / "Library" / "LaunchAgents"
        self._logs = home / "Library" / "Logs"
        self._domain = f"gui/{uid}"

    def render(self, unit: Unit) -> str:
        return units.launchd_plist(unit, self._log(unit.name))

    def config_of(self, text: str) -> Path | None:
        return units.config_of_launchd(text)

    def environment(self) -> Mapping[str, str]:
        return os.environ

    def refuse_if_absent(self, config: Path) -> None:
        done = call(("launchctl", "print", self._domain), os.environ)
        if done.returncode != 0:
            why = f"launchd keeps services while you are logged in at the Mac itself, and says {told_by(done)}"
            raise otherwise(why, config)

    def start(self, name: str, *, is_new: bool, restart: bool) -> None:
        is_loaded = self._print(name).returncode == 0
        if is_new and is_loaded:
            self.stop(name)
            is_loaded = False
        self._do("enable", f"{self._domain}/{name}")
        if not is_loaded:
            self._do("bootstrap", self._domain, str(file_of(self, name)))
        elif restart:
            self._do("kickstart", "-k", f"{self._domain}/{name}")

    def state(self, name: str) -> ServiceState:
        done = self._print(name)
        told = dict(re.findall(r"^\t(state|pid|last exit code|runs) = (.+)$", done.stdout, re.MULTILINE))
        runs = _number(told.get("runs", ""))
        return ServiceState(
            file=file_of(self, name),
            installed=file_of(self, name).exists(),
            enabled=None,
            running=told.get("state") == "running",
            state=told.get("state", "") or "not loaded",
            pid=_number(told.get("pid", "")) or 0,
            restarts=None if runs is None else max(0, runs - 1),
            result=f"last exit code {told['last exit code']}" if "last exit code" in told else "",
        )

    def log_argv(self, name: str, lines: int, *, follow: bool) -> Sequence[str]:
        return ("tail", "-n", str(lines), *(("-F",) if follow else ()), str(self._log(name)))

    def last_words(self, name: str, lines: int, *, since_wall_s: float) -> list[str]:  # noqa: ARG002 - tail knows none
        return call(self.log_argv(name, lines, follow=False), os.environ).stdout.splitlines()

    def how_to_set(self, unit: Unit) -> str:  # noqa: ARG002
        return "`launchctl setenv NAME VALUE`, after each login"

    def stop(self, name: str) -> None:
        if self._print(name).returncode == NOT_LOADED:
            return
        self._do("bootout", f"{self._domain}/{name}")
        # It returns while the daemon is still ending, and until then the same name cannot be loaded again.
        patience = stop_after_delay(units.STOP_PATIENCE_S + ASK_S)
        is_there = retry_if_result(lambda done: done.returncode != NOT_LOADED)
        Retrying(retry=is_there, stop=patience, wait=wait_fixed(0.2), retry_error_callback=_still_there)(
            self._print, name
        )

    def forget(self, name: str) -> None:
        """Nothing: launchd reads the folder when the user logs in."""

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def _print(self, name: str) -> subprocess.CompletedProcess[str]:
        return call(("launchctl", "print", f"{self._domain}/{name}"), os.environ)

    def _do(self, *words: str) -> None:
        done = call(("launchctl", *words), os.environ, within_s=START_S)
        if done.returncode != 0:
            raise SheetdError(f"`launchctl {' '.join(words)}` failed: {told_by(done)}")
