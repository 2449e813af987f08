"""When hosts are asked for their accelerators, and what their words are worth.

A host answers at once with its last samples, however old, and looks again by itself; so asking costs little, and a word
is worth what its age says. That a host does not answer changes nothing of what was known: it only grows old.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sheetd.core import effect as fx
from sheetd.core.model import Accelerator, Attempt, HostName
from sheetd.core.observation import AcceleratorsReported, AcceleratorsSeen, Use
from sheetd.core.plan import Now
from sheetd.core.why import Block, Why
from sheetd.core.world import HostView, World

#: While a host is looking, and somebody waits for what it finds, it is asked again after so long.
ASK_AGAIN_S = 1.0
#: What has just become unclear may be free in one sample: a second one, so much later, tells.
SAMPLES_GAP_S = 2.0
#: A host that has shown no accelerators is asked so many times less often whether it has any.
NONE_FACTOR = 10.0
#: Ages are as exact as the way here is short: a word that seems so much older than the last one was overtaken by it.
OVERTAKEN_S = 2.0


def learn(world: World, host: HostView, seen: AcceleratorsSeen | AcceleratorsReported, now_s: float) -> None:
    """Take in what a host said of its accelerators."""
    host.notes, host.is_probing = seen.notes, seen.is_probing
    if seen.age_s is None:
        return  # it has not looked yet: whatever was known before it was started anew has grown old, not wrong
    at_s = now_s - seen.age_s
    if host.accelerators_at_s is not None and at_s < host.accelerators_at_s - OVERTAKEN_S:
        return
    if host.accelerators_at_s is None or at_s > host.accelerators_at_s + SAMPLES_GAP_S / 2:  # told of a new sample
        before = {one.id: one.state for one in host.accelerators}
        host.needs_second_sample = any(
            one.state is Use.UNKNOWN and before.get(one.id) is not Use.UNKNOWN for one in seen.accelerators
        )
    ours = {id_ for held in world.others.holdings if held.host in host.names for id_ in held.accelerators}
    for one in seen.accelerators:
        if one.state is Use.FOREIGN and one.id not in ours and at_s >= host.given_back_s.get(one.id, at_s):
            host.foreign_s[one.id] = now_s
    host.accelerators, host.accelerators_at_s = seen.accelerators, at_s


def give_back(world: World, attempt: Attempt, now_s: float) -> None:
    """The attempt has ended: what was said of its accelerators before says nothing any more."""
    host = world.hosts.get(attempt.host)
    if host is not None and host.looks:
        host.given_back_s.update({one.id: now_s for one in attempt.accelerators})


def someone_came_first(world: World, name: HostName, accelerators: Iterable[Accelerator], now_s: float) -> None:
    """A launch found an accelerator in the hands of somebody else. We cannot tell which, so it is all of them."""
    world.hosts[name].foreign_s.update({one.id: now_s for one in accelerators})


def plan_probes(world: World, now: Now) -> Iterator[fx.Effect]:
    """Whom to ask now."""
    for host in world.hosts.values():
        if not host.looks or not host.is_up or due_s(world, host) > now.s:
            continue
        probe = fx.Probe(host=host.name, max_age_s=_max_age_s(world, host, now), idle_memory_mb=host.idle_memory_mb)
        if probe.key not in world.in_flight and world.hold_until_s.get(probe.key, 0.0) <= now.s:
            yield probe


def due_s(world: World, host: HostView) -> float:
    """When the host is to be asked next (monotonic)."""
    if host.must_probe:
        return float("-inf")
    again_s = host.asked_at_s + ASK_AGAIN_S
    if host.accelerators_at_s is None or _was_given_back(host):
        return again_s
    if host.needs_second_sample:
        return max(again_s, host.accelerators_at_s + SAMPLES_GAP_S)
    if _is_wanted(world, host):
        return max(again_s, host.accelerators_at_s + world.limits.probe_fresh_s)
    return host.asked_at_s + _every_s(world, host)


def _every_s(world: World, host: HostView) -> float:
    """What has no accelerators gets none without being booted anew, which is looked at at once."""
    return world.limits.probe_every_s * (1.0 if host.accelerators else NONE_FACTOR)


def probe_moments(world: World) -> Iterator[float]:
    """When hosts are to be asked next, and when somebody who left an accelerator has been gone for long enough."""
    for host in world.hosts.values():
        if host.looks and host.is_up:
            yield due_s(world, host)
            if host.name in world.wanted:
                yield from (seen_s + host.cooldown_s for seen_s in host.foreign_s.values())


def _max_age_s(world: World, host: HostView, now: Now) -> float:
    if host.needs_second_sample:
        return SAMPLES_GAP_S / 2
    if not _is_wanted(world, host) and not _was_given_back(host):
        return _every_s(world, host)
    latest_s = max(host.given_back_s.values(), default=float("-inf"))
    return max(0.0, min(world.limits.probe_fresh_s, now.s - latest_s))


def _was_given_back(host: HostView) -> bool:
    at_s = host.accelerators_at_s
    return at_s is not None and any(given_s > at_s for given_s in host.given_back_s.values())


def wanted_hosts(whys: Iterable[Why]) -> frozenset[HostName]:
    """The hosts that somebody who waits could use, if only their accelerators were free."""
    return frozenset(
        one.host
        for why in {id(why): why for why in whys}.values()
        for one in why.hosts
        if one.block is Block.UNSEEN or (one.block is Block.NONE and not one.is_plain)
    )


def _is_wanted(world: World, host: HostView) -> bool:
    """Whether somebody who waits could use it: nothing but what its accelerators are doing is in the way."""
    return host.name in world.wanted and not world.state.health_of(host.name).is_closed
