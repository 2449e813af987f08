"""What this project tells the others of itself, and what it makes of what they tell.

Who gets what is placement's business: the bids of others stand in its queue beside our own experiments, so that
priority and turns count over all projects. What is theirs there is left to them for a while. It must never happen that
something is handed out here that another project holds.

Weak: what a machine with two names has is told apart by name, so two projects that have not learned yet that it is one
machine may begin more on it than it has plain slots. An accelerator that is in use is refused by the host itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice

from sheetd.core.events import LaunchIntended
from sheetd.core.model import Experiment, HostName
from sheetd.core.others import Bid, Holding, Others
from sheetd.core.placement import Placement, Rules
from sheetd.core.plan import Now
from sheetd.core.room import Room
from sheetd.core.strays import holding
from sheetd.core.why import Block, Need
from sheetd.core.world import World

#: For so long something is left to another project whose turn it is: it may have to look at the host first.
LEFT_FOR_S = 15.0
#: More than anybody could be given at once need not be told, and each is placed once more by every other project.
BIDS_MAX = 64
#: What may become free, or was given back a moment ago.
PASSING = frozenset({Block.NONE, Block.TAKEN, Block.UNSEEN})


def holdings(world: World) -> tuple[Holding, ...]:
    """Everything that our attempts keep, strays too."""
    return tuple(
        Holding(
            project=world.project,
            attempt=attempt.id,
            host=host,
            slots=attempt.slots,
            accelerators=frozenset(one.id for one in attempt.accelerators),
        )
        for host, _, attempt in holding(world)
    )


def note_sharing(
    world: World, waiting: Iterable[Experiment], free: Iterable[Room], rules: Rules, placement: Placement, now: Now
) -> None:
    """After something was handed out: what the others are told of those that still wait, and what was left for them."""
    world.bids = tuple(islice(_bids(world, waiting, list(free), rules), BIDS_MAX)) if world.project else ()
    wanted = {name for bid in world.others.bids for name in bid.hosts}
    since_s = world.left_for_others_s
    late = {name: s for name, s in since_s.items() if now.s - s >= LEFT_FOR_S and name in wanted}
    world.left_for_others_s = {**late, **{name: since_s.get(name, now.s) for name in placement.left}}


def _bids(world: World, waiting: Iterable[Experiment], free: list[Room], rules: Rules) -> Iterator[Bid]:
    hosts: dict[Need, frozenset[HostName]] = {}
    for experiment in waiting:
        need = Need.of(experiment.spec, rules.places.get(experiment.id, frozenset()))
        if need not in hosts:
            hosts[need] = frozenset(room.name for room in free if _could_have(room, need))
        if hosts[need]:
            theirs = replace(experiment, spec=replace(experiment.spec, project=world.project))
            yield Bid(theirs, need, hosts[need], experiment.id in rules.overdue)


def _could_have(room: Room, need: Need) -> bool:
    return room.is_open and sum(unit.block in PASSING for unit in room.suiting(need)) >= need.slots


def take_note(world: World, others: Others, now_s: float) -> None:
    """What the others hold from now on. What they have given back has to be looked at again."""
    before, after = set(world.others.holdings), set(others.holdings)
    for held in before - after:
        for host in world.hosts.values():
            if host.looks and held.host in host.names:
                host.given_back_s.update(dict.fromkeys(held.accelerators, now_s))
    for held in after - before:
        world.left_for_others_s.pop(held.host, None)
    world.others = others


def bidding(world: World, now: Now) -> tuple[Bid, ...]:
    """The bids that count at the moment: what a project left unused for a while is not left for it any longer."""
    late = frozenset(name for name, since_s in world.left_for_others_s.items() if now.s - since_s >= LEFT_FOR_S)
    return tuple(bid._replace(hosts=bid.hosts - late) for bid in world.others.bids if not late or not bid.hosts <= late)


def sharing_moments(world: World) -> Iterator[float]:
    """When what was left for others is ours again."""
    return (since_s + LEFT_FOR_S for since_s in world.left_for_others_s.values())


def held_by_others(world: World, intent: LaunchIntended) -> Iterator[str]:
    """Asked when an intent is recorded, as `invariants.misassigned`."""
    given = {one.id for one in intent.accelerators}
    names = world.hosts[intent.host].names if intent.host in world.hosts else (intent.host,)
    for held in world.others.holdings:
        if held.host not in names:
            continue
        both = {*(given & held.accelerators), *({*intent.slots} & {*held.slots})}
        if both:
            yield f"{intent.attempt} was given {', '.join(sorted(both))}, which {held.attempt} of {held.project} holds"
