"""`sheetd service ...`: the daemon kept by systemd or launchd, so that no terminal has to stay open."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from sheetd.build import usable_templates
from sheetd.cli.installing import (
    Done,
    name_for,
    place,
    refuse_if_served_otherwise,
    refuse_what_is_not_ours,
    remove,
)
from sheetd.cli.linger import lingers, settle_linger
from sheetd.cli.service_manager import ServiceManager, Systemd, file_of, manager_here, text_of
from sheetd.cli.terminal import ConfigOption, JsonOption, out, settings_of
from sheetd.cli.unit import Unit, environment_for, is_secret, unit_name
from sheetd.config import Settings, default_config_path, load_settings
from sheetd.core.times import duration_text
from sheetd.door import sheet_address
from sheetd.errors import SheetdError

NameOption = Annotated[
    str | None,
    typer.Option("--name", help="The service's name. If not given: sheetd- and the name of the lab's folder."),
]
_IS_DONE: dict[Done, str] = {
    "installed": "{} is installed and runs.",
    "updated": "{} is updated and was restarted; jobs have gone on.",
    "restarted": "{} was restarted; jobs have gone on.",
    "unchanged": "{} is installed and runs already; nothing has changed.",
    "started": "{} was installed, and runs again.",
}


def install(
    config: ConfigOption = None,
    name: NameOption = None,
    restart: Annotated[
        bool,
        typer.Option("--restart", help="Restart the daemon also when the unit is the same: after an update of sheetd."),
    ] = False,
    linger: Annotated[
        bool | None,
        typer.Option("--linger/--no-linger", help="Whether to go on after logout; asks on a terminal if not given."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the unit and change nothing.")] = False,
) -> None:
    """Have systemd (on a Mac, launchd) keep the daemon: it is started now, after a crash, and at boot or login.

    Installing again updates the unit, and restarts the daemon only if that changes something.
    After an update of sheetd's own code: `sheetd service install --restart`. Jobs go on while the daemon is restarted.
    Edits of sheetd.toml and of templates need no restart: they are taken up within seconds.

    [dim]Examples:[/]  sheetd service install   sheetd service install --config ~/lab/sheetd.toml --linger
    """
    settings = settings_of(config)
    templates = usable_templates(settings).templates
    manager = manager_here()
    path = _plain(settings.path)
    unit = _unit(name_for(manager, path, name), path)
    if dry_run:
        sys.stdout.write(manager.render(unit))
        return
    manager.refuse_if_absent(path)
    refuse_what_is_not_ours(manager, unit)
    refuse_if_served_otherwise(settings, manager.state(unit.name))
    with out.status("waiting until the daemon is ready"):
        done = place(manager, unit, settings, restart=restart)
    out.print(Text(_IS_DONE[done].format(unit.name)), soft_wrap=True)
    if address := sheet_address(settings):
        out.print(Text(f"the sheet is at {address}"), soft_wrap=True)
    _tell_missing_variables(manager, unit, settings, [name for one in templates.values() for name in one.secrets])
    if isinstance(manager, Systemd) and (done == "installed" or linger is not None):
        settle_linger(manager.environment(), linger)


def status(config: ConfigOption = None, name: NameOption = None, as_json: JsonOption = False) -> None:
    """Show whether the service runs, since when, and how often it was restarted. Ends with 1 if it does not run.

    [dim]Examples:[/]  sheetd service status   sheetd service status --json
    """
    manager = manager_here()
    told = _told(manager, _existing(manager, config, name))
    if as_json:
        out.print_json(json.dumps(told))
    else:
        _print_state(told)
    if not told["running"]:
        raise typer.Exit(1)


def logs(
    config: ConfigOption = None,
    name: NameOption = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many lines of the end.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
) -> None:
    """Show what the daemon has logged. What a job prints is shown by `sheetd logs ID`.

    [dim]Examples:[/]  sheetd service logs   sheetd service logs -f   sheetd service logs -n 500
    """
    manager = manager_here()
    argv = manager.log_argv(_existing(manager, config, name), lines, follow=follow)
    try:
        ended = subprocess.run(argv, env=manager.environment(), check=False)
    except FileNotFoundError as error:
        raise SheetdError(f"{argv[0]} is not installed, so the log cannot be shown") from error
    if ended.returncode != 0:
        raise typer.Exit(1)


def uninstall(config: ConfigOption = None, name: NameOption = None) -> None:
    """Stop the daemon and remove the service. What it started on the hosts goes on.

    [dim]Example:[/]  sheetd service uninstall
    """
    manager = manager_here()
    service = _existing(manager, config, name)
    remove(manager, service)
    out.print(
        Text(f"{service} is uninstalled and the daemon has ended. Jobs go on: the next daemon takes them over."),
        soft_wrap=True,
    )


# --- which service -----------------------------------------------------------------------------------------------


def _plain(path: Path) -> Path:
    return Path(os.path.abspath(path.expanduser()))  # noqa: PTH100 - a link stays a link, and `..` goes


def _unit(name: str, config: Path) -> Unit:
    own = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return Unit(
        name=name,
        python=sys.executable,
        config=config,
        environment=environment_for({"PATH": os.defpath, **os.environ}),
        environment_file=own / "sheetd" / f"{name}.env",
    )


def _existing(manager: ServiceManager, config: Path | None, name: str | None) -> str:
    """The name of an installed service of ours. The configuration itself may be gone or wrong by now."""
    if name is not None and config is None:
        service = unit_name(Path(), name)
    else:
        service = name_for(manager, _plain(config if config is not None else default_config_path()), name)
    file = file_of(manager, service)
    if not (text := text_of(file)):
        raise SheetdError(f"no service {service} is installed (there is no {file}): `sheetd service install` makes it")
    if manager.config_of(text) is None:
        raise SheetdError(f"{file} was not written by `sheetd service install`, so it is left alone")
    return service


# --- telling -----------------------------------------------------------------------------------------------------


def _tell_missing_variables(manager: ServiceManager, unit: Unit, settings: Settings, secrets: list[str]) -> None:
    """A service has none of a shell's variables, so an experiment that needs one would fail only later."""
    wanted = dict.fromkeys([*secrets, *(name for name, value in os.environ.items() if is_secret(name, value))])
    if any(host.use_ssh_agent for host in settings.hosts):
        wanted["SSH_AUTH_SOCK"] = None
    given = {line.partition("=")[0].strip() for line in _lines(unit.environment_file)}
    if missing := [name for name in wanted if name not in given]:
        text = (
            f"The daemon needs {', '.join(missing)} in its environment, and has no shell's: {manager.how_to_set(unit)}"
        )
        out.print(Text(f"{text}, then `sheetd service install --restart`."), style="yellow", soft_wrap=True)


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _told(manager: ServiceManager, name: str) -> dict[str, Any]:
    """Everything there is to say of an installed service, as plain JSON."""
    config = manager.config_of(text_of(file_of(manager, name)))
    address = ""
    if config is not None:
        with suppress(SheetdError):  # a configuration that is wrong by now does not hide how the service is
            address = sheet_address(load_settings(config, needs_hosts=False))
    told = asdict(manager.state(name))
    is_systemd = isinstance(manager, Systemd)
    return {
        "name": name,
        **told,
        "file": str(told["file"]),
        "linger": lingers(manager.environment()) if is_systemd else None,
        "config": str(config),
        "sheet": address,
    }


def _print_state(told: dict[str, Any]) -> None:
    is_running = told["running"]
    line = Text(f"{told['name']} ")
    line.append("running" if is_running else "not running", style="green" if is_running else "red")
    if is_running:
        since = "" if told["running_s"] is None else f" for {duration_text(told['running_s'])}"
        line.append(f"{since} (process {told['pid']})")
    else:
        line.append(f" ({', '.join(part for part in (told['state'], told['result']) if part)})")
    out.print(line, soft_wrap=True)
    words = {True: "yes", False: "no"}
    rows = {
        "starts at login": words.get(told["enabled"]),
        "restarts": told["restarts"],
        "after logout": {True: "goes on, and starts at boot", False: "ends: loginctl enable-linger"}.get(
            told["linger"]
        ),
        "unit": told["file"],
        "configuration": told["config"],
        "sheet": told["sheet"] if is_running else None,
    }
    for what, value in rows.items():
        if value not in (None, ""):
            out.print(Text(f"  {what:<16}{value}"), soft_wrap=True)


app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Have systemd or launchd keep the daemon running.",
    rich_markup_mode="rich",
)
app.command("install")(install)
app.command("status")(status)
app.command("logs")(logs)
app.command("uninstall")(uninstall)
