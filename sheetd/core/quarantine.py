"""When a host gets nothing new by our own decision, when it is tried again, and what people ask of it.

Repeated endings that point to the host, accelerators that are gone or do not answer, a full disk: each closes it for a
while, twice as long each time in a row. Then it gets one attempt at a time (a canary) until one has succeeded or run
well for a while. What runs on it goes on all the time. What people say overrules all of it.
"""

from __future__ import annotations

from collections.abc import Iterator

from sheetd.core import events as ev
from sheetd.core.health import HostHealth, quarantine_s
from sheetd.core.model import HostName
from sheetd.core.observation import HostRequested, Seen, Use
from sheetd.core.plan import Now
from sheetd.core.text import clean_line
from sheetd.core.world import HostView, World

#: A canary that has run for so long has shown that its host is well.
CANARY_S = 120.0
BY_MAX = 40
HOST_ACTIONS = ("drain", "resume", "retest")


def decide_health(world: World, now: Now) -> Iterator[ev.Event]:
    """What the last words of the hosts, and the endings on them, mean for whether they are used."""
    for host in world.hosts.values():
        health = world.state.health_of(host.name)
        if health.quarantine and now.s >= health.until_s:
            yield ev.HostReleased(host=host.name, why="its time is over")
            continue
        if host.looks and host.accelerators_at_s is not None:
            news = _registration(host, health, now)
            if news is not None:
                yield news
                continue
        why = "" if health.quarantine else _fault(world, host, health)
        if why:
            yield _quarantine(host.name, health, why, now)
        elif health.is_on_trial and not health.quarantine and _has_healthy_canary(world, host, health, now):
            yield ev.HostTrusted(host=host.name, why=f"an attempt has run well for {CANARY_S:g} s")


def _quarantine(
    host: HostName, health: HostHealth, why: str, now: Now, lost: tuple[str, ...] = ()
) -> ev.HostQuarantined:
    for_s = quarantine_s(health)
    return ev.HostQuarantined(host=host, why=why, until_wall_s=now.wall_s + for_s, for_s=for_s, lost=lost)


def _registration(host: HostView, health: HostHealth, now: Now) -> ev.Event | None:
    """An accelerator that the host had and does not show any more may have taken the driver with it."""
    shown = frozenset(one.id for one in host.accelerators)
    known = health.accelerators
    gone = (known or frozenset()) - shown
    if gone:
        is_all = gone == known
        why = "all its accelerators are gone" if is_all else f"{len(gone)} of its {len(known or ())} accelerators gone"
        return _quarantine(host.name, health, f"{why}: {', '.join(sorted(gone))[:120]}", now, tuple(sorted(gone)))
    if known is None or shown - known:
        return ev.AcceleratorsRegistered(host=host.name, accelerators=tuple(sorted(shown | (known or frozenset()))))
    return None


def _fault(world: World, host: HostView, health: HostHealth) -> str:
    """Why the host is to be closed now, as a sentence; empty if it is well."""
    if health.is_suspect and health.is_on_trial:
        return f"the attempt by which it was tried ended by its fault: {health.faults[-1][1]}"
    if health.is_suspect:
        return f"{len(health.faults)} attempts ended by its fault, the last: {health.faults[-1][1]}"
    free = None if host.facts is None else host.facts.disk_free_bytes
    if free is not None and free < world.limits.disk_floor_bytes and host.facts_at_s > health.released_s:
        return f"its disk is full: {free / 2**20:.0f} MiB are free where sheetd keeps its files"
    at_s = host.accelerators_at_s
    if at_s is None or at_s <= health.released_s or not host.accelerators:
        return ""
    if all(one.state is Use.SICK for one in host.accelerators):
        return f"none of its accelerators answers: {clean_line(host.accelerators[0].why)}"
    return ""


def _has_healthy_canary(world: World, host: HostView, health: HostHealth, now: Now) -> bool:
    if not host.is_up:
        return False
    for attempt, seen in host.attempts.items():
        runs = attempt in world.state.live and seen.state is Seen.RUNNING
        started_s = world.started_at_s.get(attempt, now.s)
        if runs and now.s - max(started_s, health.released_s) >= CANARY_S:
            return True
    return False


def health_moments(world: World) -> Iterator[float]:
    """When quarantines end, and when a canary may have run for long enough."""
    for host in world.hosts.values():
        health = world.state.health_of(host.name)
        if health.quarantine:
            yield health.until_s
        elif health.is_on_trial:
            starts = [world.started_at_s[attempt] for attempt in host.attempts if attempt in world.started_at_s]
            yield from (max(started_s, health.released_s) + CANARY_S for started_s in starts)


# --- what people ask of hosts ------------------------------------------------------------------------------------


def decide_host_requests(world: World) -> Iterator[ev.Event]:
    """What was asked on the command line. What is so already needs no event; of two wishes the later one counts."""
    wishes: dict[tuple[HostName, bool], HostRequested] = {}
    for request in world.host_requests.values():
        wishes[request.host, request.action == "retest"] = request
    for request in wishes.values():
        yield from obey(world, request.host, request.action, request.by)


def obey(world: World, name: HostName, action: str, by: str) -> Iterator[ev.Event]:
    """The events that make a person's wish come true; none when it is fulfilled already."""
    health = world.state.health_of(name)
    if action == "drain" and not health.drained_by:
        yield ev.HostDrained(host=name, by=by)
    elif action == "resume" and (health.is_closed or health.is_on_trial):
        yield ev.HostResumed(host=name, by=by)
    elif action == "retest":
        if health.lost:
            shown = sorted(one.id for one in world.hosts[name].accelerators)
            yield ev.AcceleratorsRegistered(host=name, accelerators=tuple(shown), forgets_lost=True)
        if health.quarantine:
            yield ev.HostReleased(host=name, why=f"to be tested again, by {by}")


def answer_to(world: World, request: HostRequested) -> str:
    """What became of a request, for the person who asked."""
    health = world.state.health_of(request.host)
    if health.drained_by:
        return f"{request.host} is drained: it gets nothing new, and what runs there goes on"
    if health.is_on_trial:
        return f"{request.host} gets one attempt at a time until one has run well"
    return f"{request.host} is used again" if request.action == "resume" else f"{request.host} is looked at again"
