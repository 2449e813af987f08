"""What systemd or launchd is told about the daemon: rendered from a few facts, and read back. Pure: it asks no machine.

A folder may have any name, and each place in a unit has rules of its own: arguments know quotes, `%` and `$`
(systemd.service(5), "Command lines"), an assignment does not know `$`, and the path of the program is taken as it is
but for `%`, and may not hold quotes at all. What cannot be said is refused here, not found out at the next boot.
"""

from __future__ import annotations

import json
import plistlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from xml.parsers.expat import ExpatError

from sheetd.errors import ConfigError

PREFIX = "sheetd-"
#: A turn of the loop takes milliseconds, and a slow disk may hold one up for seconds. This is neither.
WATCHDOG_S = 120
#: A journal of years is added up before the daemon is ready.
START_PATIENCE_S = 120
STOP_PATIENCE_S = 30
RESTART_AFTER_S = 3

#: ssh, git and a ProxyCommand are found by PATH, the lab's state by XDG_STATE_HOME, Google by the others.
_KEPT = (
    *("PATH", "XDG_STATE_HOME", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"),
    *("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"),
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_PLAIN_WORD = re.compile(r"[A-Za-z0-9_@+=:,./-]+")
_ESCAPES: Mapping[str, str] = MappingProxyType({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t"})
_CONFIG_LINE = re.compile(r'^\[X-Sheetd\]\nConfig=(".*")$', re.MULTILINE)

_SYSTEMD = """\
# Written by `sheetd service install`, which replaces it. For settings of your own: systemctl --user edit {name}
[Unit]
Description={description}
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart={command}
# Has sheetd.toml and the templates read at once; else it looks every few seconds.
ExecReload=/bin/kill -HUP $MAINPID
SyslogIdentifier={name}
{environment}
# NAME=value lines, such as the secrets that templates name. Need not be there.
EnvironmentFile=-{environment_file}
Restart=always
RestartSec={restart_s}
TimeoutStartSec={start_s}
TimeoutStopSec={stop_s}
# A daemon whose loop has stopped is aborted, leaves the stack of each thread in the log, and is started again.
WatchdogSec={watchdog_s}
# Jobs on this machine go on when the daemon ends, and one that uses up the memory does not end the daemon.
KillMode=process
OOMPolicy=continue

[Install]
WantedBy=default.target

[X-Sheetd]
Config={config}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One lab's daemon as a service. Paths are absolute; `python` is not resolved, for a venv is known by its link."""

    name: str
    python: str
    config: Path
    #: Variables of the shell that installs it, its PATH first of all.
    environment: Mapping[str, str]
    environment_file: Path

    @property
    def argv(self) -> tuple[str, ...]:
        return (self.python, "-m", "sheetd", "run", "--as-service", "--config", str(self.config))


def environment_for(shell: Mapping[str, str]) -> dict[str, str]:
    """What a daemon has to have of the shell in which it works. No secrets: anybody here may read a unit."""
    found = {name: shell[name] for name in _KEPT if shell.get(name)}
    return {name: value for name, value in found.items() if not is_secret(name, value)}


def is_secret(name: str, value: str) -> bool:
    """Of those that are kept: a proxy's address may have a password in it."""
    return name.lower().endswith("_proxy") and "@" in value


def unit_name(config: Path, wanted: str | None = None) -> str:
    """Named after the lab's folder, or as wanted. Raises ConfigError for what cannot be a name."""
    if wanted is None:
        plain = re.sub(r"[^A-Za-z0-9_.]+", "-", config.parent.name).strip("-._")[:80]
        return PREFIX + (plain or "lab")
    bare = wanted.removesuffix(".service").removeprefix(PREFIX)
    if not _NAME.fullmatch(bare):
        raise ConfigError(f"--name {wanted}: use up to 100 letters, digits, dots, - and _")
    return PREFIX + bare


# --- systemd -----------------------------------------------------------------------------------------------------


def systemd_unit(unit: Unit) -> str:
    """The text of NAME.service. Raises ConfigError for a path that no unit can hold."""
    _refuse_unspeakable(unit)
    return _SYSTEMD.format(
        name=unit.name,
        description=f"sheetd for {_one_line(unit.config.parent.name or '/')}".replace("%", "%%"),
        command=_command(unit.argv),
        environment="\n".join(f"Environment={_quoted(f'{name}={value}')}" for name, value in unit.environment.items()),
        environment_file=str(unit.environment_file).replace("%", "%%"),
        restart_s=RESTART_AFTER_S,
        start_s=START_PATIENCE_S,
        stop_s=STOP_PATIENCE_S,
        watchdog_s=WATCHDOG_S,
        config=json.dumps(str(unit.config)),
    )


def config_of_systemd(text: str) -> Path | None:
    """Which configuration a unit of ours serves; None for a unit that is not ours."""
    found = _CONFIG_LINE.search(text)
    try:
        return Path(json.loads(found[1])) if found else None
    except ValueError:
        return None


def _command(argv: tuple[str, ...]) -> str:
    program, *arguments = argv
    words = [_quoted(argument.replace("$", "$$")) for argument in arguments]
    if "$" in program:
        # The path of the program is not expanded, and its first argument is, by which Python finds its venv.
        return " ".join([_quoted(f"@{program}"), _quoted(program.replace("$", "$$")), *words])
    return " ".join([_quoted(program), *words])


def _quoted(text: str) -> str:
    """One word of a unit, with `%` as itself."""
    text = text.replace("%", "%%")
    if _PLAIN_WORD.fullmatch(text):
        return text
    return (
        '"' + "".join(_ESCAPES.get(sign, f"\\x{ord(sign):02x}" if _is_control(sign) else sign) for sign in text) + '"'
    )


def _is_control(sign: str) -> bool:
    return sign < " " or sign == "\x7f"


def _one_line(text: str) -> str:
    return "".join(sign if sign.isprintable() and sign != "\\" else "?" for sign in text)


def _refuse_unspeakable(unit: Unit) -> None:
    for text in (*unit.argv, *unit.environment.values(), str(unit.environment_file)):
        if any("\ud800" <= sign <= "\udfff" for sign in text):
            raise ConfigError(f"{text!r} is not UTF-8, and a unit of systemd has to be: rename the folder")
    # systemd refuses such an executable, however it is written (string_is_safe).
    if any(_is_control(sign) or sign in "\"'\\" for sign in unit.python):
        raise ConfigError(
            f"systemd starts no program whose path has quotes, a backslash or control signs, and Python is"
            f" {unit.python!r}: make the virtual environment in another folder"
        )
    if any(_is_control(sign) for sign in str(unit.environment_file)):
        raise ConfigError(f"{str(unit.environment_file)!r} has control signs, which a unit cannot hold there")


# --- launchd -----------------------------------------------------------------------------------------------------


def launchd_plist(unit: Unit, log: Path) -> str:
    """The text of NAME.plist. launchd has neither a word for ready nor a watchdog."""
    agent: dict[str, Any] = {
        "Label": unit.name,
        "ProgramArguments": list(unit.argv),
        "EnvironmentVariables": dict(unit.environment),
        "RunAtLoad": True,
        "KeepAlive": True,
        # As KillMode=process of systemd: jobs on this machine outlive the daemon.
        "AbandonProcessGroup": True,
        "ExitTimeOut": STOP_PATIENCE_S,
        "StandardOutPath": str(log),
        "StandardErrorPath": str(log),
    }
    try:
        return plistlib.dumps(agent, sort_keys=False).decode("utf-8")
    except (ValueError, UnicodeEncodeError) as error:
        raise ConfigError(f"launchd cannot be told of {unit.config}: {error}. Rename the folder") from error


def config_of_launchd(text: str) -> Path | None:
    """Which configuration an agent of ours serves; None for one that is not ours."""
    try:
        words = plistlib.loads(text.encode("utf-8"))["ProgramArguments"]
        return Path(words[words.index("--config") + 1]) if "sheetd" in words else None
    except (ValueError, ExpatError, KeyError, IndexError, TypeError, AttributeError):
        return None
