"""`sheetd host drain`, `resume` and `retest`: a person's wish about a host, left for the daemon as `stop` is."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from sheetd.cli.picture import refuse_if_halted, why_halted
from sheetd.cli.terminal import ConfigOption, out, settings_to_look
from sheetd.config import Settings
from sheetd.door import knock
from sheetd.errors import SheetdError
from sheetd.journal.requests import RequestStore

HostNames = Annotated[list[str], typer.Argument(help="Names of hosts in the configuration.")]
#: What becomes of a host, in words for the person who asked.
_WILL = {
    "drain": "gets nothing new from now on; what runs there goes on",
    "resume": "is used again, whatever was held against it",
    "retest": "is looked at again, and gets one attempt at a time until one has run well",
}


def drain(names: HostNames, config: ConfigOption = None) -> None:
    """Give hosts nothing new, for maintenance say. What runs there goes on.

    [dim]Example:[/]  sheetd host drain gpu1
    """
    _ask("drain", names, config)


def resume(names: HostNames, config: ConfigOption = None) -> None:
    """Use hosts again after a drain, or in spite of a quarantine.

    [dim]Example:[/]  sheetd host resume gpu1
    """
    _ask("resume", names, config)


def retest(names: HostNames, config: ConfigOption = None) -> None:
    """End a quarantine now, carefully, and make do with the accelerators that are there.

    [dim]Example:[/]  sheetd host retest gpu1
    """
    _ask("retest", names, config)


def _ask(action: str, names: list[str], config: ConfigOption) -> None:
    settings = settings_to_look(config)
    known = [host.name for host in settings.hosts]
    for name in names:
        if name not in known:
            raise SheetdError(f"there is no host {name} in {settings.path}: it names {', '.join(known)}")
    if all(map(why_halted, settings.projects)):  # one that still acts hears of it
        refuse_if_halted(settings)
    for project in settings.projects:  # hosts are the same for all
        if project.sheet.folder:  # one that was added a moment ago is told too, before it begins
            project.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        _leave(project, action, names)
    for name in names:
        out.print(f"{name} {_WILL[action]}", markup=False)
    if not knock(settings.daemon.state_dir):
        out.print("The daemon is not running; it hears of this as soon as it is: `sheetd run`")


def _leave(project: Settings, action: str, names: list[str]) -> None:
    requests = RequestStore(project.state_dir)
    try:
        for name in names:
            requests.add(action, name, by=_me())
    finally:
        requests.close()


def _me() -> str:
    """The name of who asks, for the message of those who find the host drained."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without an entry in the password file
        return ""
