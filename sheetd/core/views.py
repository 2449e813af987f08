"""What other processes are told about the hosts and the sheet, as plain JSON, and back again.

With the journal's events and these views a process that only reads shows the same words as the daemon does, through the
same `render`: there is no second way of telling.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sheetd.core.hostwords import state_of
from sheetd.core.model import AttemptId, ExperimentId, HostName, SlotName
from sheetd.core.observation import AttemptSeen, Exit, Seen
from sheetd.core.plan import Now
from sheetd.core.reachability import why_down
from sheetd.core.render import draft_words
from sheetd.core.room import use_of
from sheetd.core.strays import holding
from sheetd.core.why import Block, Why, why_from
from sheetd.core.world import HostView, World

#: How many rows that cannot run are told of one by one.
DRAFTS_MAX = 200


def hosts_view(world: World, now: Now) -> dict[str, Any]:
    """Every host, how it is, and the last word about each live attempt on it. Equal as long as nothing happens."""
    held = held_slots(world)
    return {
        host.name: {
            "slots": list(host.slots),
            "labels": sorted(host.labels),
            "is_up": host.is_up,
            "why": host.closed if host.is_up else why_down(world, host),
            "closed": host.closed,
            "looks": host.looks,
            "state": (state := state_of(world, host)).word,
            "says": state.why,
            "accelerators": list(_accelerator_rows(host, held.get(host.name, {}), now)),
            "facts": None if host.facts is None else {name: getattr(host.facts, name) for name in _FACTS},
            "attempts": {
                attempt: _seen_view(seen) for attempt, seen in host.attempts.items() if attempt in world.state.live
            },
            "strays": {attempt: _seen_view(seen) for attempt, seen in host.strays.items()},
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


def held_slots(world: World) -> dict[HostName, dict[SlotName, AttemptId]]:
    """Which slot of which host is held by which attempt, of whatever project."""
    held: dict[HostName, dict[SlotName, AttemptId]] = {}
    for host, _, attempt in holding(world):
        held.setdefault(host, {}).update(dict.fromkeys(attempt.slots, attempt.id))
    for other in world.others.holdings:
        held.setdefault(other.host, {}).update(dict.fromkeys(other.slots, other.attempt))
    return held


def _accelerator_rows(host: HostView, held: Mapping[SlotName, AttemptId], now: Now) -> Iterator[dict[str, Any]]:
    """Each accelerator, who uses it, and why it is or is not free."""
    for seen in host.accelerators:
        block, words = use_of(host, seen, False, now.s, float("inf"))
        cools = block is Block.COOLING
        yield {
            "id": seen.id,
            "index": seen.index,
            "kind": seen.kind,
            "model": seen.model,
            "memory_mb": seen.memory_mb,
            "used_mb": seen.used_mb,
            "busy_pct": seen.busy_pct,
            "state": "cooling down" if cools else seen.state.value,
            "why": f"{words}; it is left alone for {host.cooldown_s:g} s" if cools else seen.why,
            "users": sorted({holder.user for holder in seen.holders if holder.user}),
            "attempts": sorted({attempt for slot, attempt in held.items() if is_slot_of(slot, host.name, seen.id)}),
        }


def is_slot_of(slot: SlotName, host: HostName, accelerator: str) -> bool:
    """Whether the slot is the accelerator, or one of the shares of it."""
    whole = f"{host}/{accelerator}"
    return slot == whole or slot.startswith(f"{whole}#")


def waits_view(world: World) -> dict[str, Any]:
    """Why each experiment waits, as data. Those that wait for the same share one entry."""
    numbers: dict[int, int] = {}
    needs: list[dict[str, Any]] = []
    for why in world.whys.values():
        if id(why) not in numbers:
            numbers[id(why)] = len(needs)
            needs.append(why.as_data())
    return {"whys": needs, "of": {id_: numbers[id(why)] for id_, why in world.whys.items()}}


def restore_whys(view: Mapping[str, Any]) -> dict[ExperimentId, Why]:
    """What `waits_view` told."""
    whys = [why_from(data) for data in view.get("whys", ())]
    return {ExperimentId(id_): whys[number] for id_, number in view.get("of", {}).items()}


def sheet_view(world: World) -> dict[str, Any]:
    """How the sheet is, what waits and why, and whether we still act."""
    view, unclear = world.sheet, why_unclear(world)
    return {
        "problem": world.sheet_problem or (unclear if view is not None else "not read yet"),
        "unclear": unclear,
        "rows": 0 if view is None else len(view.by_id) + len(view.unnamed),
        "waiting": dict(world.waiting),
        "handed_over": dict(world.handed_over),
        "drafts": dict(_drafts(world)),
        "halted": world.halted,
    }


def why_unclear(world: World) -> str:
    """What is wrong with the header, for which the sheet is left alone. There is no cell to say so in."""
    return "" if world.sheet is None else "; ".join(world.sheet.layout.problems)


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
            looks=told.get("looks", False),
            is_up=told["is_up"] and daemon_alive,
            closed=told.get("closed", ""),
            why=told["why"] if daemon_alive else "was not asked, because the daemon is not running",
            attempts={AttemptId(attempt): _restore_seen(seen) for attempt, seen in told["attempts"].items()},
            strays={AttemptId(attempt): _restore_seen(seen) for attempt, seen in told.get("strays", {}).items()},
        )
    return hosts


def _restore_seen(told: Mapping[str, Any]) -> AttemptSeen:
    return AttemptSeen(
        state=Seen(told["state"]),
        restarts=told["restarts"],
        started_age_s=told["age_s"],
        exit=None if told["exit_code"] is None else Exit(rc=told["exit_code"]),
    )
