"""How a host is, in one word and one sentence: the same for `sheetd hosts`, the tab of hosts and waiting rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone

from sheetd.core.health import HostHealth
from sheetd.core.observation import Use
from sheetd.core.reachability import why_down
from sheetd.core.text import clean_line
from sheetd.core.why import Block
from sheetd.core.world import OVER, HostView, World

NOTE_MAX = 200
#: So much of why a host is quarantined fits into the row of everybody who waits for it; `sheetd hosts` tells it all.
GIST_MAX = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class HostState:
    """`word` for a table, `why` for a person who asks about the host, `waits` for a row that waits for it."""

    word: str
    block: Block = Block.NONE
    why: str = ""
    waits: str = ""
    #: Whether it was ever seen what it has to hand out.
    is_known: bool = True


def state_of(world: World, host: HostView) -> HostState:
    """What keeps the host from taking new attempts, the hardest first."""
    health = world.state.health_of(host.name)
    is_known = not host.looks or host.accelerators_at_s is not None
    said = "; ".join(part for part in (*_records(health), *_remarks(host, health)) if part)
    if not host.is_up:
        why = "; ".join(part for part in (why_down(world, host), *_records(health)) if part)
        return HostState(word="down", block=Block.DOWN, why=why, waits=f"cannot be used: {host.why}", is_known=is_known)
    if host.closed:
        why = "; ".join(part for part in (host.closed, said) if part)
        return HostState(
            word="closed", block=Block.CLOSED, why=why, waits=f"cannot be used: {host.closed}", is_known=True
        )
    if health.drained_by:
        return HostState(
            word="drained",
            block=Block.DRAINED,
            why=said,
            waits=f"is drained (by {health.drained_by})",
            is_known=is_known,
        )
    if health.quarantine:
        waits = f"is quarantined until {clock_text(health.until_wall_s)} ({_gist(health.quarantine)})"
        return HostState(word="quarantined", block=Block.QUARANTINED, why=said, waits=waits, is_known=is_known)
    if not is_known:
        why = "; ".join(part for part in ("its accelerators are being looked at", said) if part)
        return HostState(word="up", block=Block.UNSEEN, why=why, waits="is being looked at", is_known=False)
    if health.is_on_trial:
        waits = "is on trial with one attempt after its quarantine"
        return HostState(word="on trial", block=Block.ON_TRIAL, why=said, waits=waits)
    return HostState(word="up", why=said)


def _records(health: HostHealth) -> tuple[str, ...]:
    """What the journal holds against it."""
    return (
        f"drained by {health.drained_by}: it gets nothing new until `sheetd host resume`" if health.drained_by else "",
        quarantine_text(health) if health.quarantine else "",
        "on trial after its quarantine: one attempt at a time until one has run well" if health.is_on_trial else "",
    )


def quarantine_text(health: HostHealth) -> str:
    """All of it, where there is room."""
    return f"quarantined until {clock_text(health.until_wall_s)}: {health.quarantine}"


def _gist(why: str) -> str:
    """What kind of fault it is; the particulars come behind a colon (`quarantine`)."""
    return clean_line(why.partition(":")[0].removesuffix(", the last"), GIST_MAX)


def _remarks(host: HostView, health: HostHealth) -> tuple[str, ...]:
    """What is odd about it and keeps it from nothing."""
    lost = sorted(health.lost)
    gone = f"{len(lost)} of its accelerators {'is' if len(lost) == 1 else 'are'} missing ({', '.join(lost)[:80]})"
    sick = [one for one in host.accelerators if one.state is Use.SICK]
    return (
        f"{gone}; `sheetd host retest {host.name}` makes do with the others" if lost else "",
        *(
            f"{attempt} cannot be ended, its slots stay taken: {clean_line(seen.reason or 'a process survives')}"
            for attempt, seen in host.attempts.items()
            if seen.unkillable and seen.state not in OVER
        ),
        f"{len(sick)} of {len(host.accelerators)} accelerators sick: {clean_line(sick[0].why, NOTE_MAX)}"
        if sick
        else "",
        *(clean_line(note, NOTE_MAX) for note in host.notes),
    )


def clock_text(wall_s: float) -> str:
    """A time of this day for people, in UTC as everywhere in the sheet."""
    return f"{datetime.fromtimestamp(wall_s, timezone.utc):%H:%M} UTC"
