"""Carries out one effect through the ports, and turns whatever happens into news.

Nothing here decides, retries or remembers. An exception that an adapter is allowed to raise becomes an outcome; any
other one is a bug and is left to surface.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sheetd.core import effect as fx
from sheetd.core.absorb import News
from sheetd.core.grid import Grid
from sheetd.core.model import HostName
from sheetd.core.observation import SheetSeen
from sheetd.errors import ConfigError, HostError, HostRefused, SheetError, SheetRefused
from sheetd.ports import Host, HostsSheet, Journal, LaunchOrder, RunsSheet, Sheet, Snapshots


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Everything the daemon acts through. `secret` gives the value behind a name or raises ConfigError."""

    sheet: Sheet
    #: One that is not configured any more stays here, closed: what was still to be asked of it is not answered.
    hosts: MutableMapping[HostName, Host]
    journal: Journal
    snapshots: Snapshots
    secret: Callable[[str], str]
    #: None where no tab of hosts is wanted.
    hosts_tab: HostsSheet | None = None
    #: Likewise of runs.
    runs_tab: RunsSheet | None = None
    #: How much of the sheet's quota was used in the last minute; None where there is no quota.
    usage: Callable[[], Mapping[str, int]] | None = None


def carry_out(effect: fx.Effect, ports: Ports) -> News:
    """Do it, and say how it went. Waits as long as the port waits: each has deadlines of its own."""
    return _CARRY[type(effect)](effect, ports)


def _read_sheet(effect: fx.ReadSheet, ports: Ports) -> News:
    try:
        return SheetSeen(grid=ports.sheet.read())
    except SheetError as error:
        return _sheet_failed(effect, error)


def _write_sheet(effect: fx.WriteSheet, ports: Ports) -> News:
    try:
        return SheetSeen(grid=ports.sheet.write(effect.write))
    except SheetError as error:
        return _sheet_failed(effect, error)


def _dress_sheet(effect: fx.DressSheet, ports: Ports) -> News:
    try:
        ports.sheet.dress(effect.dress)
    except SheetError as error:
        return _sheet_failed(effect, error)
    return fx.Dressed(effect=effect)


def _read_hosts_tab(effect: fx.ReadHostsTab, ports: Ports) -> News:
    def read(tab: HostsSheet) -> Grid:
        if effect.creates:
            tab.create_tab_if_missing()
        return tab.read()

    return _with_hosts_tab(effect, ports, read)


def _write_hosts_tab(effect: fx.WriteHostsTab, ports: Ports) -> News:
    return _with_hosts_tab(effect, ports, lambda tab: tab.write(effect.write))


def _dress_hosts_tab(effect: fx.DressHostsTab, ports: Ports) -> News:
    def dress(tab: HostsSheet) -> None:
        tab.dress(effect.dress)

    return _with_hosts_tab(effect, ports, dress)


def _with_hosts_tab(effect: fx.TabEffect, ports: Ports, ask: Callable[[HostsSheet], Grid | None]) -> News:
    tab = ports.hosts_tab
    assert tab is not None  # noqa: S101 - `build` gives the world a tab only with the port; said for the type checker
    try:
        return fx.HostsTabDone(effect=effect, grid=ask(tab))
    except SheetError as error:
        return fx.HostsTabFailed(effect=effect, why=str(error), lasting=isinstance(error, SheetRefused))


def _read_runs_tab(effect: fx.ReadRunsTab, ports: Ports) -> News:
    def read(tab: RunsSheet) -> Grid:
        if effect.creates:
            tab.create_tab_if_missing()
        if effect.rows or effect.columns:
            tab.make_room(effect.rows, effect.columns)
        return tab.read()

    return _with_runs_tab(effect, ports, read)


def _write_runs_tab(effect: fx.WriteRunsTab, ports: Ports) -> News:
    return _with_runs_tab(effect, ports, lambda tab: tab.write(effect.write))


def _dress_runs_tab(effect: fx.DressRunsTab, ports: Ports) -> News:
    def dress(tab: RunsSheet) -> None:
        tab.dress(effect.dress)

    return _with_runs_tab(effect, ports, dress)


def _with_runs_tab(effect: fx.RunsEffect, ports: Ports, ask: Callable[[RunsSheet], Grid | None]) -> News:
    tab = ports.runs_tab
    assert tab is not None  # noqa: S101 - as for the tab of hosts
    try:
        return fx.RunsTabDone(effect=effect, grid=ask(tab))
    except SheetError as error:
        return fx.RunsTabFailed(effect=effect, why=str(error), lasting=isinstance(error, SheetRefused))


def _sheet_failed(effect: fx.ReadSheet | fx.WriteSheet | fx.DressSheet, error: SheetError) -> News:
    return fx.SheetFailed(effect=effect, why=str(error), lasting=isinstance(error, SheetRefused))


def _pin_code(effect: fx.PinCode, ports: Ports) -> News:
    try:
        return fx.CodePinned(effect=effect, sha=ports.snapshots.pin(Path(effect.code)))
    except ConfigError as error:
        return fx.PinFailed(effect=effect, why=str(error))


def _launch(effect: fx.Launch, ports: Ports) -> News:
    host = ports.hosts[effect.host]
    try:
        secrets = {name: ports.secret(name) for name in effect.spec.secrets}
        if effect.spec.code is not None:
            host.send_code(effect.spec.code, ports.snapshots.archive(effect.spec.code))
        order = LaunchOrder(
            attempt=effect.attempt,
            nonce=effect.nonce,
            spec=effect.spec,
            resume=effect.resume,
            secrets=secrets,
            slots=effect.slots,
            fingerprint=effect.fingerprint,
            accelerators=effect.accelerators,
        )
        return fx.HostAnswered(effect=effect, seen=host.launch(order))
    except HostError as error:
        return _host_failed(effect, error)
    except ConfigError as error:
        return fx.HostRefusedEffect(effect=effect, code="no_secret", why=str(error))


def _stop(effect: fx.Stop, ports: Ports) -> News:
    try:
        return fx.HostAnswered(effect=effect, seen=ports.hosts[effect.host].stop(effect.attempt, effect.grace_s))
    except HostError as error:
        return _host_failed(effect, error)


def _hand_over(effect: fx.HandOver, ports: Ports) -> News:
    try:
        seen = ports.hosts[effect.host].hand_over(effect.attempt, effect.number, effect.params)
    except HostError as error:
        return _host_failed(effect, error)
    return fx.HostAnswered(effect=effect, seen=seen)


def _watch(effect: fx.Watch, ports: Ports) -> News:
    offsets = ports.journal.metrics_offsets()
    try:
        ports.hosts[effect.host].watch({attempt: offsets.get(attempt, 0) for attempt in effect.attempts})
    except HostError as error:
        return _host_failed(effect, error)
    return fx.Watching(effect=effect)


def _take_over(effect: fx.TakeOver, ports: Ports) -> News:
    try:
        return fx.TookOver(effect=effect, seen=ports.hosts[effect.host].take_over(effect.epoch))
    except HostError as error:
        return _host_failed(effect, error)


def _describe(effect: fx.Describe, ports: Ports) -> News:
    try:
        return fx.Described(effect=effect, kept=ports.hosts[effect.host].describe(effect.attempts))
    except HostError as error:
        return _host_failed(effect, error)


def _probe(effect: fx.Probe, ports: Ports) -> News:
    try:
        seen = ports.hosts[effect.host].accelerators(effect.max_age_s, effect.idle_memory_mb)
    except HostError as error:
        return _host_failed(effect, error)
    return fx.Probed(effect=effect, seen=seen)


def _host_failed(effect: fx.HostEffect, error: HostError) -> News:
    if isinstance(error, HostRefused):
        return fx.HostRefusedEffect(effect=effect, code=error.code, why=str(error))
    return fx.HostSilent(effect=effect, why=str(error))


_CARRY: Mapping[type, Callable[[Any, Ports], News]] = {
    fx.ReadSheet: _read_sheet,
    fx.WriteSheet: _write_sheet,
    fx.DressSheet: _dress_sheet,
    fx.ReadHostsTab: _read_hosts_tab,
    fx.WriteHostsTab: _write_hosts_tab,
    fx.DressHostsTab: _dress_hosts_tab,
    fx.ReadRunsTab: _read_runs_tab,
    fx.WriteRunsTab: _write_runs_tab,
    fx.DressRunsTab: _dress_runs_tab,
    fx.PinCode: _pin_code,
    fx.Launch: _launch,
    fx.Stop: _stop,
    fx.HandOver: _hand_over,
    fx.Watch: _watch,
    fx.TakeOver: _take_over,
    fx.Describe: _describe,
    fx.Probe: _probe,
}
