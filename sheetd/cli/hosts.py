"""`sheetd hosts`: each host, its slots and accelerators, who holds them, how it is and why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from sheetd.cli.picture import Picture, take_pictures
from sheetd.cli.status import headline
from sheetd.cli.terminal import ConfigOption, JsonOption, out, settings_to_look
from sheetd.config import HostSettings
from sheetd.core.hostwords import state_of
from sheetd.core.model import HostName
from sheetd.core.text import clean_line
from sheetd.core.views import held_slots, is_slot_of

STYLES = {
    "up": "green",
    "on trial": "yellow",
    "drained": "yellow",
    "quarantined": "red",
    "closed": "red",
    "down": "red",
}
USE_STYLES = {"free": "green", "ours": "blue", "foreign": "yellow", "cooling down": "yellow", "sick": "red"}
MODEL_MAX, WHY_MAX = 32, 120


def hosts(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show the configured hosts as the daemon sees them.

    [dim]Examples:[/]  sheetd hosts   sheetd hosts --json
    """
    settings = settings_to_look(config)
    pictures = take_pictures(settings.projects)
    picture = next(iter(pictures.values()))
    rows = [_row_of_all([host_row(one, host) for one in pictures.values()]) for host in settings.hosts]
    if as_json:
        out.print_json(json.dumps({"daemon": picture.daemon or None, "hosts": rows}))
        return
    out.print(headline(picture), soft_wrap=True)
    out.print(_host_table(rows))
    if any(row["accelerators"] for row in rows):
        out.print()
        out.print(_accelerator_table(rows))


def _host_table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("host", "state", "slots", "held by", "machine", "why"):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(
            row["host"],
            Text(row["state"], style=STYLES[row["state"]]),
            f"{len(row['held'])} of {row['slots']}",
            ", ".join(sorted(set(row["held"].values()))),
            Text(row["machine"]),
            Text(row["why"]),
        )
    return table


def _accelerator_table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("accelerator", "model", "memory", "use", "by", "why"):
        table.add_column(name, overflow="fold")
    for row in rows:
        for one in row["accelerators"]:
            memory = "" if one["memory_mb"] is None else f"{one['memory_mb'] / 1024:.0f} GiB"
            users = [clean_line(user, MODEL_MAX) for user in one["users"]]
            table.add_row(
                f"{row['host']} {one['kind']} {one['index']}",
                Text(clean_line(one["model"], MODEL_MAX)),
                memory,
                Text(one["state"], style=USE_STYLES.get(one["state"], "")),
                Text(", ".join([*one["attempts"], *users])),
                Text(clean_line(one["why"], WHY_MAX)),
            )
    return table


def _row_of_all(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """One host as all projects see it: what any of them has there, and the state that is the least well."""
    worst = max(rows, key=lambda row: list(STYLES).index(row["state"]))
    held = {slot: attempt for row in rows for slot, attempt in row["held"].items()}
    accelerators = {one["id"]: one for row in rows for one in row["accelerators"]}
    for row in rows:
        for one in row["accelerators"]:
            if one["state"] == "ours":
                accelerators[one["id"]] = one
    return {**worst, "held": held, "accelerators": list(accelerators.values())}


def host_row(picture: Picture, configured: HostSettings) -> dict[str, Any]:
    """Everything there is to say of one host, as plain JSON."""
    name = HostName(configured.name)
    told: Mapping[str, Any] = picture.hosts.get(name) or {}
    held = held_slots(picture.world).get(name, {})
    state, why = _state(picture, name, told)
    facts = told.get("facts") or {}
    cores, memory = facts.get("cores"), facts.get("memory_bytes")
    accelerators = [
        # Who of ours has it is in the journal; what the host saw may be of another daemon's time.
        {**one, "attempts": sorted({at for slot, at in held.items() if is_slot_of(slot, name, one["id"])})}
        for one in told.get("accelerators", ())
    ]
    return {
        "host": name,
        "state": state,
        "slots": len(accelerators) or configured.plain_slots,
        "held": held,
        "accelerators": accelerators,
        "machine": f"{cores} cores, {memory / 2**30:.0f} GiB" if cores and memory else "",
        "why": why,
    }


def _state(picture: Picture, name: HostName, told: Mapping[str, Any]) -> tuple[str, str]:
    """In the daemon's own words while it lives; else what the journal knows."""
    view = picture.world.hosts.get(name)
    if view is None:
        return "down", "the daemon has not run with this host yet"
    if picture.daemon and "state" in told:
        return told["state"], told["says"]
    state = state_of(picture.world, view)
    return state.word, state.why
