"""What other processes are told about the hosts and the sheet, as plain JSON, and back again.

With the journal's events and these views a process that only reads shows the same words as the daemon does, through the
same `render`: there is no second way of telling.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sheetd.core.model import AttemptId, HostName, SlotName
from sheetd.core.observation import AttemptSeen, Exit, Seen
from sheetd.core.reachability import why_down
from sheetd.core.render import draft_words
from sheetd.core.world import HostView, World

#: How many rows that cannot run are told of one by one.
DRAFTS_MAX = 200


def hosts_view(world: World) -> dict[str, Any]:
    """Every host, how it is, and the last word about each live attempt on it. Equal as long as nothing happens."""
    return {
        host.name: {
            "slots": list(host.slots),
            "labels": sorted(host.labels),
            "is_up": host.is_up,
            "why": host.closed if host.is_up else why_down(world, host),
            "closed": host.closed,
            "facts": None if host.facts is None else {name: getattr(host.facts, name) for name in _FACTS},
            "attempts": {
                attempt: _seen_view(seen) for attempt, seen in host.attempts.items() if attempt in world.state.live
            },
        }
        for host in world.hosts.values()
    }


_FACTS = ("hostname", "python", "cores", "memory_bytes", "disk_free_bytes", "machine_id")


def _seen_view(seen: AttemptSeen) -> dict[str, Any]:
    return {
        "state": seen.state.value,
        "restarts": seen.restarts,
        "age_s": seen.started_age_s,
        "exit_code": None if seen.exit is None else seen.exit.rc,
    }


def sheet_view(world: World) -> dict[str, Any]:
    """How the sheet is, what waits and why, and whether we still act."""
    view = world.sheet
    return {
        "problem": world.sheet_problem or (" ; ".join(view.layout.problems) if view is not None else "not read yet"),
        "rows": 0 if view is None else len(view.by_id) + len(view.unnamed),
        "waiting": dict(world.waiting),
        "drafts": dict(_drafts(world)),
        "halted": world.halted,
    }


def _drafts(world: World) -> Iterator[tuple[str, dict[str, str]]]:
    """Rows that were not accepted yet, in the words of the sheet."""
    view = world.sheet
    if view is None or view.layout.problems:
        return
    for id_ in list(world.state.drafts)[:DRAFTS_MAX]:
        row = view.by_id.get(id_)
        if row is not None and not row.is_blank:
            status, message = draft_words(world, view, row, id_)
            yield id_, {"status": status, "message": message}


def restore_hosts(view: Mapping[str, Any], *, daemon_alive: bool) -> dict[HostName, HostView]:
    """The hosts as a daemon last saw them. Of a daemon that is gone, nothing counts as reachable."""
    hosts = {}
    for name, told in view.items():
        hosts[HostName(name)] = HostView(
            name=HostName(name),
            slots=tuple(SlotName(slot) for slot in told["slots"]),
            labels=frozenset(told["labels"]),
            is_up=told["is_up"] and daemon_alive,
            closed=told.get("closed", ""),
            why=told["why"] if daemon_alive else "was not asked, because the daemon is not running",
            attempts={AttemptId(attempt): _restore_seen(seen) for attempt, seen in told["attempts"].items()},
        )
    return hosts


def _restore_seen(told: Mapping[str, Any]) -> AttemptSeen:
    return AttemptSeen(
        state=Seen(told["state"]),
        restarts=told["restarts"],
        started_age_s=told["age_s"],
        exit=None if told["exit_code"] is None else Exit(rc=told["exit_code"]),
    )
