"""Who is launched next: the experiments that wait, the room that there is, and the intents that follow.

An intent is recorded before anything is asked of a host (`supervision.plan_hosts` asks). Why each of the others waits
is told in its row. It must never happen that something is launched beside an attempt of which no end is proved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from sheetd.core import events as ev
from sheetd.core.dependencies import places_for, what_it_waits_for
from sheetd.core.model import Experiment, ExperimentId, Phase, attempt_id, row_of
from sheetd.core.ownership import machine_of, may_begin, why_not_yet
from sheetd.core.placement import Placed, Rules, place
from sheetd.core.plan import Chance, Now
from sheetd.core.probing import wanted_hosts
from sheetd.core.room import rooms
from sheetd.core.sharing import bidding, note_sharing
from sheetd.core.strays import in_the_way
from sheetd.core.world import World


def decide_launches(world: World, now: Now, chance: Chance) -> Iterator[ev.Event]:
    """The intent of a launch for every waiting experiment that finds room; a sentence for each other one."""
    world.bids = ()
    if not may_begin(world) or world.others.unread:
        why = _why_none(world)
        world.waiting = dict.fromkeys(_waiting(world), why)
        return
    ready, later = _ready(world, now)
    if not ready:
        world.waiting, world.whys, world.wanted = later, {}, frozenset()
        return
    free, rules = rooms(world, now), _rules(world, ready, now)
    placement = place(ready, free, rules)
    note_sharing(world, [one for one in ready if one.id in placement.whys], free, rules, placement, now)
    told = f"; {world.outage}" if world.outage else ""
    world.waiting = {**later, **{id_: why + told for id_, why in placement.waiting.items()}}
    world.whys = placement.whys
    world.wanted = wanted_hosts(placement.whys.values())
    for id_, placed in placement.placed.items():
        yield launch_intent(world, world.state.experiments[id_], placed, chance.nonce())


def _ready(world: World, now: Now) -> tuple[list[Experiment], dict[ExperimentId, str]]:
    """Those that may be launched if there is room, and why each of the others may not."""
    ready, later, held_back = [], {}, in_the_way(world)
    for id_ in _waiting(world):
        experiment = world.state.experiments[id_]
        if id_ in world.state.sweeps:
            continue
        if world.state.experiments[row_of(id_)].missing_since_s is not None:
            later[id_] = "its row is gone from the sheet; it is not launched"
        elif id_ in held_back:
            later[id_] = held_back[id_]
        elif unmet := what_it_waits_for(world, experiment):
            later[id_] = unmet
        elif experiment.not_before_s > now.s or _is_being_edited(world, experiment):
            later[id_] = ""
        else:
            ready.append(experiment)
    return ready, later


def _is_being_edited(world: World, experiment: Experiment) -> bool:
    """Whether its row says something else than was accepted, and may not be typed to the end: it could still be taken.

    While the sheet cannot be read, what was accepted is all that is known.
    """
    view = world.sheet
    if view is None or view.layout.problems or world.sheet_problem or not experiment.is_to_begin:
        return False
    row = view.by_id.get(experiment.id)
    if row is None or row.is_blank or experiment.id in world.misplaced:
        return False
    return row.fingerprint not in (world.state.fingerprints.get(experiment.id), world.state.edited.get(experiment.id))


def _why_none(world: World) -> str:
    if not may_begin(world):
        return why_not_yet(world)
    return f"waits until it is known what sheet {world.others.unread[0]} holds"


def _waiting(world: World) -> list[ExperimentId]:
    return [id_ for id_ in world.state.open if world.state.experiments[id_].phase is Phase.WAITING]


def _rules(world: World, ready: list[Experiment], now: Now) -> Rules:
    running: Counter[str] = Counter()
    for id_ in world.state.live.values():
        spec = world.state.experiments[id_].spec
        running[spec.project] += spec.slots
    for held in world.others.holdings:
        running[held.project] += len(held.slots)
    return Rules(
        latest=world.others.latest,
        bids=bidding(world, now),
        places={one.id: places_for(world, one) for one in ready if one.spec.after},
        strategy=world.limits.strategy,
        running=running,
        overdue=frozenset(
            experiment.id for experiment in ready if now.s - experiment.waiting_since_s >= world.limits.reserve_after_s
        ),
    )


def launch_intent(world: World, experiment: Experiment, placed: Placed, nonce: str) -> ev.LaunchIntended:
    number = len(experiment.attempts) + 1
    return ev.LaunchIntended(
        attempt=attempt_id(experiment.id, number),
        host=placed.host,
        slots=placed.slots,
        nonce=nonce,
        machine=machine_of(world.hosts[placed.host]),
        accelerators=placed.accelerators,
    )
