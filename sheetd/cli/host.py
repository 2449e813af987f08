"""`sheetd host ...`: what is done to one host. `sheetd hosts` shows them all.

Each verb is a function in a module of its own kind; they are registered in `app` at the end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.markup import escape
from rich.text import Text

from sheetd.cli import host_requests
from sheetd.cli.host_keys import settle_host_keys
from sheetd.cli.picture import take_pictures
from sheetd.cli.preflight import HOSTS_AT_ONCE, Check, ask_all, look_over
from sheetd.cli.survival import CLOSED_S
from sheetd.cli.terminal import ConfigOption, JsonOption, err, out, settings_of
from sheetd.config import HostSettings, Settings, load_settings
from sheetd.core.text import clean_line
from sheetd.errors import ConfigError, JournalError, SheetdError
from sheetd.hosts.pins import PINS_NAME, Pins
from sheetd.hosts.ssh import look_up
from sheetd.journal.lock import holder_of
from sheetd.tomledit import Values, add_host, host_entry, remove_host

QUICK_CLOSED_S = 3.0
DETAIL_MAX = 1000
_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red"}

QuickOption = Annotated[
    bool, typer.Option("--quick", help=f"Test survival for {QUICK_CLOSED_S:.0f} s instead of {CLOSED_S:.0f} s.")
]


def add(
    name: Annotated[str, typer.Argument(help="A name from your SSH configuration: `ssh NAME` leads there.")],
    config: ConfigOption = None,
    slots: Annotated[int | None, typer.Option(min=1, help="How many experiments at once.")] = None,
    labels: Annotated[list[str] | None, typer.Option("--label", help="A word for `where`; may be repeated.")] = None,
    root: Annotated[str | None, typer.Option(help="Folder on the host for everything sheetd keeps there.")] = None,
    fingerprints: Annotated[
        list[str] | None,
        typer.Option("--fingerprint", help="The host key that is right, as SHA256:...; may be repeated."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing; only with --fingerprint.")] = False,
    quick: QuickOption = False,
) -> None:
    """Add a host: compare and keep its host key, try everything that has to work, and write it into sheetd.toml.

    One that is there already is only tried again, and its host key is compared again.

    [dim]Examples:[/]  sheetd host add gpu1 --slots 2 --label a100
    sheetd host add gpu1 --yes --fingerprint SHA256:mVPwvezndPv/ARoIadVY98vAC0g+P/5633yTC4d/wXE
    """
    settings = settings_of(config, needs_hosts=False)  # the first host is added to none
    if yes and not fingerprints:
        raise ConfigError("--yes needs --fingerprint SHA256:...: a host key that nobody compared is never accepted")
    known = next((host for host in settings.hosts if host.name == name), None)
    values = {"name": name, "slots": slots, "labels": tuple(labels or ()), "root": root}
    chosen: Values = {key: value for key, value in values.items() if value is not None and value != ()}
    entry = known or _checked(settings, chosen)
    if known is not None and len(chosen) > 1:
        raise ConfigError(f"{name} is in {settings.path} already: change its entry there")
    if not entry.local:
        settle_host_keys(settings, entry, fingerprints or [])
    others = [host for host in settings.hosts if host.name != name]
    closed_s = QUICK_CLOSED_S if quick else CLOSED_S
    with out.status(f"{name}: asking the other hosts who they are") as status:
        found = []
        for check in look_over(
            settings, entry, ask_all(settings, others), _teller(name, status.update), closed_s=closed_s
        ):
            found.append(check)
            _print(check)
    if any(check.verdict == "failed" for check in found):
        what = "" if known else " It was not added: mend that, and type the same again."
        raise SheetdError(f"{name} cannot be used as it is.{what}")
    if known is None:
        _write(settings, name, chosen)


def _checked(settings: Settings, values: Values) -> HostSettings:
    try:
        return HostSettings.model_validate(values, context=settings.path)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ConfigError(f"--{first['loc'][0]}: {first['msg'].removeprefix('Value error, ')}") from error


def _write(settings: Settings, name: str, values: Values) -> None:
    add_host(settings.path, values)
    load_settings(settings.path)  # it has to be a valid configuration with it too
    out.print(f"\n[bold]Added[/] to {escape(str(settings.path))}:\n", soft_wrap=True)
    out.print(Text(host_entry(values)), soft_wrap=True)
    if _daemon_runs(settings):
        out.print(f"The daemon uses {escape(name)} within seconds: see `sheetd hosts`.")
    else:
        out.print("`sheetd run` will use it.")


def _daemon_runs(settings: Settings) -> bool:
    return holder_of(settings.daemon.state_dir) is not None


# --- check -------------------------------------------------------------------------------------------------------


def check(
    names: Annotated[
        list[str] | None, typer.Argument(help="Hosts of sheetd.toml; all of them if none is named.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    quick: QuickOption = False,
) -> None:
    """Try again everything that `sheetd host add` tries: login, python, disk, clock, accelerators, survival.

    Ends with 1 when something failed. Running experiments are not disturbed.

    [dim]Examples:[/]  sheetd host check   sheetd host check gpu1 gpu2 --quick   sheetd host check --json
    """
    settings = settings_of(config)
    entries = _named(settings, names or [])
    closed_s = QUICK_CLOSED_S if quick else CLOSED_S
    found: dict[str, list[Check]] = {}
    console = err if as_json else out
    with console.status("asking every host who it is") as status, ThreadPoolExecutor(HOSTS_AT_ONCE) as pool:
        known = ask_all(settings, settings.hosts)
        doing: dict[str, str] = {}

        def tell(name: str) -> Callable[[str], None]:
            def say(text: str) -> None:
                doing[name] = text
                status.update(_progress(len(found), len(entries), doing))

            return say

        def look(entry: HostSettings) -> list[Check]:
            return list(look_over(settings, entry, known, tell(entry.name), closed_s=closed_s))

        waited = {pool.submit(look, entry): entry.name for entry in entries}
        for done in as_completed(waited):
            name = waited[done]
            doing.pop(name, None)
            found[name] = done.result()
            if not as_json:
                out.print(f"[bold]{escape(name)}[/]")
                for one in found[name]:
                    _print(one)
    if as_json:
        in_order = [{"host": entry.name, "checks": [asdict(one) for one in found[entry.name]]} for entry in entries]
        out.print_json(json.dumps({"hosts": in_order}))
    if any(one.verdict == "failed" for checks in found.values() for one in checks):
        raise typer.Exit(1)


def _progress(done: int, count: int, doing: dict[str, str]) -> str:
    name, text = next(iter(doing.items()), ("", ""))
    return f"{done} of {count} hosts done; {escape(name)}: {escape(text)}"


def _named(settings: Settings, names: Iterable[str]) -> list[HostSettings]:
    by_name = {host.name: host for host in settings.hosts}
    for name in names:
        if name not in by_name:
            raise ConfigError(f"{settings.path} has no host {name}: it has {', '.join(by_name)}")
    return [by_name[name] for name in dict.fromkeys(names)] or list(settings.hosts)


# --- remove ------------------------------------------------------------------------------------------------------


def remove(
    name: Annotated[str, typer.Argument(help="A host of sheetd.toml.")],
    config: ConfigOption = None,
) -> None:
    """Take a host out of sheetd.toml and forget its host key. Refused while experiments are on it.

    What ran there earlier stays on the host: outputs, checkpoints, logs.

    [dim]Example:[/]  sheetd host remove gpu1
    """
    settings = settings_of(config)
    (entry,) = _named(settings, [name])
    live = _live_on(settings, name)
    if live:
        raise SheetdError(
            f"{name} still has {', '.join(live[:10])}{' and more' if len(live) > 10 else ''}: stop them "
            f"(`sheetd stop {' '.join(live[:10])}`) or let them end, and remove it then"
        )
    key_name = None if entry.local else _key_name(settings, entry)
    remove_host(settings.path, name)
    out.print(f"Removed {escape(name)} from {escape(str(settings.path))}.", soft_wrap=True)
    shared = key_name in {_key_name(settings, host) for host in settings.hosts if not host.local and host.name != name}
    if key_name is not None and not shared and Pins(settings.daemon.state_dir / PINS_NAME).unpin(key_name):
        out.print("Its host key is forgotten.")
    if _daemon_runs(settings):
        out.print("The daemon lets go of it within seconds.")


def _live_on(settings: Settings, name: str) -> list[str]:
    try:
        states = [picture.world.state for picture in take_pictures(settings.projects).values()]
    except JournalError:
        return []  # no daemon has run here: nothing was ever started
    found = (state.experiments[id_] for state in states for id_ in state.live.values())
    return [one.id for one in found if one.attempt is not None and one.attempt.host == name]


def _key_name(settings: Settings, entry: HostSettings) -> str | None:
    """None when the SSH configuration does not say any more where it is."""
    try:
        return look_up(entry.name, settings.daemon.ssh_config, use_agent=entry.use_ssh_agent).key_name
    except SheetdError:
        return None


# --- showing -----------------------------------------------------------------------------------------------------


def _teller(name: str, update: Callable[[str], None]) -> Callable[[str], None]:
    return lambda text: update(f"{escape(name)}: {escape(text)}")


def _print(check: Check) -> None:
    line = Text("  ")
    line.append(f"{check.verdict:<8}", style=_STYLES[check.verdict])
    line.append(f" {check.what:<13}{clean_line(check.detail, DETAIL_MAX)}")
    out.print(line, soft_wrap=True)
    if check.next:
        out.print(Text(f"{'':<24}next: {clean_line(check.next, DETAIL_MAX)}"), soft_wrap=True)


app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Add, check, drain and remove single hosts.",
    rich_markup_mode="rich",
)
app.command("add")(add)
app.command("check")(check)
app.command("remove")(remove)
app.command("drain")(host_requests.drain)
app.command("resume")(host_requests.resume)
app.command("retest")(host_requests.retest)
