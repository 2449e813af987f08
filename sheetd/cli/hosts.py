"""`sheetd hosts`: each host, its slots, who holds them, and why one cannot be used."""

from __future__ import annotations

import json
from typing import Any

from rich.table import Table
from rich.text import Text

from sheetd.cli.picture import Picture, take_picture
from sheetd.cli.status import headline
from sheetd.cli.terminal import ConfigOption, JsonOption, out, settings_of
from sheetd.config import Settings


def hosts(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show the configured hosts as the daemon sees them.

    [dim]Examples:[/]  sheetd hosts   sheetd hosts --json
    """
    settings = settings_of(config)
    picture = take_picture(settings)
    rows = [_row(picture, settings, host.name) for host in settings.hosts]
    if as_json:
        out.print_json(json.dumps({"daemon": picture.daemon or None, "hosts": rows}))
        return
    out.print(headline(picture))
    table = Table(box=None, pad_edge=False)
    for name in ("host", "state", "slots", "held by", "machine", "why"):
        table.add_column(name, overflow="fold")
    for row in rows:
        style = "green" if row["state"] == "up" else "red"
        table.add_row(
            row["host"],
            Text(row["state"], style=style),
            f"{len(row['held'])} of {row['slots']}",
            ", ".join(sorted(set(row["held"].values()))),
            Text(row["machine"]),
            Text(row["why"]),
        )
    out.print(table)


def _row(picture: Picture, settings: Settings, name: str) -> dict[str, Any]:
    told = picture.hosts.get(name)
    view = next((view for view in picture.world.hosts.values() if view.name == name), None)
    held = {
        slot: attempt
        for attempt, id_ in picture.world.state.live.items()
        if (newest := picture.world.state.experiments[id_].attempt) is not None and newest.host == name
        for slot in newest.slots
    }
    configured = next(host for host in settings.hosts if host.name == name)
    facts = (told or {}).get("facts") or {}
    cores, memory = facts.get("cores"), facts.get("memory_bytes")
    return {
        "host": name,
        "state": "down" if view is None or not view.is_up else "closed" if view.closed else "up",
        "slots": configured.slots,
        "held": held,
        "machine": f"{cores} cores, {memory / 2**30:.0f} GiB" if cores and memory else "",
        "why": "the daemon has not run with this host yet" if view is None else view.why,
    }
