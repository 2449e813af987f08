"""What the operator's files say, and what becomes of the world when they are edited while the daemon runs.

As after a restart, but for what is known of hosts that are reached as before, and of rows. Decides nothing and ends
nothing: the attempts of a host that is no longer there are presumed to run on, until it is put back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from sheetd.core.effect import CODE_LANE
from sheetd.core.model import HostName
from sheetd.core.reachability import close_second_names
from sheetd.core.readings import understand_anew
from sheetd.core.redaction import Redactor
from sheetd.core.template import Template
from sheetd.core.world import HostView, Limits, World

#: What an entry says of its host beside the way there.
TERMS = ("slots", "labels", "may_share", "looks", "idle_memory_mb", "cooldown_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What decisions depend on. Each host is as it was before anything was heard of it, in the order of the file."""

    templates: Mapping[str, Template]
    limits: Limits
    hosts: tuple[HostView, ...]
    #: It knows the secrets that the templates name.
    redactor: Redactor = field(default_factory=Redactor, repr=False)


def reconfigure(world: World, found: Configuration, renewed: Collection[HostName], now_s: float) -> None:
    """Have the world go by this from now on. `renewed` are those hosts to which the way is another one.

    What is on its way to a host that is gone, or met anew, is in flight no more: its outcome means nothing.
    """
    known, world.hosts = world.hosts, {}
    for fresh in found.hosts:
        host = known.get(fresh.name)
        if host is None or host.name in renewed:
            host = fresh
        elif _terms(host) != _terms(fresh):
            for term in TERMS:
                setattr(host, term, getattr(fresh, term))
            host.must_probe = True
        world.hosts[host.name] = host
    _forget(world, [host for name, host in known.items() if world.hosts.get(name) is not host])
    close_second_names(world)
    if world.hosts.keys() - known.keys():
        # Before anything begins there, the claim has to name them: whoever takes over has to ask them too.
        world.has_claimed = False
    world.limits = found.limits
    # What runs may still print a secret that no template names any more.
    world.redactor = Redactor.of((*world.redactor.values, *found.redactor.values))
    if found.templates != world.templates:
        _use_templates(world, found.templates, now_s)
    world.version += 1


def _terms(host: HostView) -> tuple[object, ...]:
    return tuple(getattr(host, term) for term in TERMS)


def _forget(world: World, hosts: list[HostView]) -> None:
    names = {host.name for host in hosts}
    world.in_flight = {key: effect for key, effect in world.in_flight.items() if key[0] not in names}
    world.hold_until_s = {key: at_s for key, at_s in world.hold_until_s.items() if key[0] not in names}
    world.host_requests = {number: asked for number, asked in world.host_requests.items() if asked.host not in names}
    for host in hosts:
        for attempt in host.attempts:
            world.ended_at_s.pop(attempt, None)  # when it comes back it is told anew
            if attempt not in world.state.live:
                world.started_at_s.pop(attempt, None)
    world.outage_hosts -= names
    if not world.outage_hosts:
        world.outage = ""


def _use_templates(world: World, templates: Mapping[str, Template], now_s: float) -> None:
    """Which column is what, and what a row says, depends on them. The specs of accepted rows do not."""
    world.templates = templates
    world.pinned.clear()
    live = set(world.state.live.values())
    world.remarks = {id_: why for id_, why in world.remarks.items() if id_ in live}
    # Code on its way may be that of another folder by now.
    world.in_flight = {key: effect for key, effect in world.in_flight.items() if key[0] != CODE_LANE}
    world.hold_until_s = {key: at_s for key, at_s in world.hold_until_s.items() if key[0] != CODE_LANE}
    understand_anew(world)
    world.must_read, world.next_read_s = True, now_s
