"""What each host could hand out at the moment, and what stands in the way of the rest.

A host whose accelerators are looked at hands out those, by their identity; any other hands out plain numbers. An
accelerator is handed out only while a fresh word of its host says `free`, no live attempt of ours has it, and nobody
else has had it for a while. Whatever cannot be seen stays taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from sheetd.core.hostwords import state_of
from sheetd.core.metrics import progress
from sheetd.core.model import Accelerator, Attempt, Experiment, HostName, SlotName
from sheetd.core.observation import AcceleratorSeen, Use
from sheetd.core.others import Holding
from sheetd.core.plan import Now
from sheetd.core.strays import holding
from sheetd.core.text import clean_line
from sheetd.core.why import OF_HOST, OURS, Block, Need
from sheetd.core.world import HostView, World

#: A word may be so much older than it should be when it is acted upon: a request takes its time.
GRACE_S = 5.0
USER_MAX = 32
_WORD = re.compile(r"[a-z0-9]+")
#: Cards are sold by the decimal gigabyte and report a little less than the binary one: a "24 GB" card has 24564 MiB.
MIB_PER_GB = 1e9 / 2**20


class Sharer(NamedTuple):
    """One of several attempts that use one accelerator: its number there, and what its template allows and needs."""

    number: int
    share: int
    memory_gb: float


@dataclass(slots=True, kw_only=True, eq=False)
class Unit:
    """One accelerator or one plain slot. Changed by placement while it hands out."""

    slot: SlotName
    accelerator: AcceleratorSeen | None = None
    block: Block = Block.NONE
    #: `block` in words that can be counted, such as "used by kim".
    words: str = ""
    sharers: list[Sharer] = field(default_factory=list)
    #: When it is expected to become free (monotonic), as far as its job tells.
    free_at_s: float | None = None

    @property
    def memory_gb(self) -> float | None:
        memory_mb = None if self.accelerator is None else self.accelerator.memory_mb
        return None if memory_mb is None else memory_mb / MIB_PER_GB

    def suits(self, need: Need) -> bool:
        """Whether it would do, whoever has it at the moment."""
        return not need.memory_gb or (self.memory_gb is not None and self.memory_gb >= need.memory_gb)

    def is_free_for(self, need: Need) -> bool:
        """Whether it can be handed out now. One that is shared takes further ones while all of them allow it."""
        if self.block is not Block.NONE or not self.suits(need):
            return False
        if not self.sharers:
            return True
        if need.share <= len(self.sharers) or any(one.share <= len(self.sharers) for one in self.sharers):
            return False
        asked = need.memory_gb + sum(one.memory_gb for one in self.sharers)
        return not asked or (self.memory_gb is not None and self.memory_gb >= asked)

    def take(self, need: Need) -> tuple[SlotName, Accelerator | None]:
        """Hand it out, to this need alone or as one more of those who share it."""
        seen = self.accelerator
        if seen is None or need.share == 1:
            self.block, self.words = Block.TAKEN, OURS
            return self.slot, None if seen is None else Accelerator(kind=seen.kind, id=seen.id)
        number = min(set(range(len(self.sharers) + 1)) - {one.number for one in self.sharers})
        self.sharers.append(Sharer(number, need.share, need.memory_gb))
        return SlotName(f"{self.slot}#{number}"), Accelerator(kind=seen.kind, id=seen.id, share=number)


@dataclass(slots=True, kw_only=True)
class Room:
    """One host as placement sees it: what it has, and whether it takes anything at all."""

    name: HostName
    units: list[Unit]
    labels: frozenset[str] = frozenset()
    second_names: frozenset[HostName] = frozenset()
    #: One of `OF_HOST`, or NONE; and the words for it.
    block: Block = Block.NONE
    words: str = ""
    is_plain: bool = True
    is_known: bool = True
    #: How many more experiments it takes: one on trial takes one.
    takes: int | None = None

    @property
    def is_open(self) -> bool:
        return self.block not in OF_HOST and self.takes != 0

    def suiting(self, need: Need) -> list[Unit]:
        """Everything on it that `where` and the memory that is asked for permit, whoever has it."""
        if not self.is_among(need.places):
            return []
        if not need.where or self.is_called(need.where):
            return [unit for unit in self.units if unit.suits(need)]
        return [unit for unit in self.units if _is_model(unit, need.where) and unit.suits(need)]

    def is_among(self, places: frozenset[HostName]) -> bool:
        """Whether it is one of these hosts, under any of its names. Nobody asks for a place by naming none."""
        return not places or not places.isdisjoint((self.name, *self.second_names))

    def is_called(self, where: str) -> bool:
        """Whether this is a name of the host, or one of its labels."""
        wanted = where.strip().casefold()
        return bool(wanted) and wanted in {one.casefold() for one in (self.name, *self.second_names, *self.labels)}

    def allows(self, where: str) -> bool:
        """Whether `where` (a host name, a label, a word of a model, or nothing) permits anything on it."""
        return not where.strip() or self.is_called(where) or any(_is_model(unit, where) for unit in self.units)


def _is_model(unit: Unit, where: str) -> bool:
    """`a100` is meant by "NVIDIA A100-SXM4-80GB"; so is `a100 80gb`."""
    if unit.accelerator is None:
        return False
    wanted = set(_WORD.findall(where.casefold()))
    return bool(wanted) and wanted <= set(_WORD.findall(unit.accelerator.model.casefold()))


def rooms(world: World, now: Now) -> list[Room]:
    """Every configured host. What an attempt of ours has is taken, whatever we can see of it."""
    held = _held(world)
    found = []
    for host in world.hosts.values():
        room = _room(world, host, held.get(host.name, []), now)
        _take_for_others(room, [one for one in world.others.holdings if one.host in host.names])
        found.append(room)
    return found


def _held(world: World) -> dict[HostName, list[tuple[Experiment, Attempt]]]:
    held: dict[HostName, list[tuple[Experiment, Attempt]]] = {}
    for host, experiment, attempt in holding(world):
        held.setdefault(host, []).append((experiment, attempt))
    return held


def _room(world: World, host: HostView, held: list[tuple[Experiment, Attempt]], now: Now) -> Room:
    state = state_of(world, host)
    on_trial = state.block is Block.ON_TRIAL
    room = Room(
        name=host.name,
        units=[],
        labels=host.labels,
        second_names=host.second_names,
        block=Block.NONE if on_trial and not held else state.block,
        words=state.waits,
        is_known=state.is_known,
        takes=1 if on_trial else None,
    )
    ends_s = {slot: _ends_s(world, attempt, now) for _, attempt in held for slot in attempt.slots}
    if host.looks and (host.accelerators or world.state.health_of(host.name).had_accelerators):
        room.is_plain = False
        room.units = list(_accelerator_units(world, host, held, now))
    elif state.is_known:
        room.units = [
            Unit(slot=slot, block=Block.TAKEN if slot in ends_s else Block.NONE, words=OURS) for slot in host.slots
        ]
        # A host that found no accelerators before and has some now, or was configured otherwise, has odd ones too.
        odd = [slot for slot in ends_s if slot not in host.slots]
        for unit, _ in zip([one for one in room.units if one.block is Block.NONE], odd, strict=False):
            unit.block = Block.TAKEN
    for unit in room.units:
        unit.free_at_s = ends_s.get(unit.slot)
    return room


def _take_for_others(room: Room, others: list[Holding]) -> None:
    """What other projects hold is taken, whatever the host says of it: to it their jobs are strangers."""
    for held in others:
        if room.is_plain:
            same = [unit for unit in room.units if unit.slot in held.slots]
            free = [unit for unit in room.units if unit.block is Block.NONE and unit not in same]
            taken = [*same, *free][: len(held.slots)]  # it may have got odd ones, as one of ours may
        else:
            taken = [unit for unit in room.units if unit.accelerator and unit.accelerator.id in held.accelerators]
        for unit in taken:
            unit.block, unit.words = Block.TAKEN, f"used by sheet {held.project}"


def _ends_s(world: World, attempt: Attempt, now: Now) -> float | None:
    """When an attempt is through, as far as its own progress tells."""
    part, started_s = progress(world.metrics.get(attempt.id, {})), world.started_at_s.get(attempt.id)
    return started_s + (now.s - started_s) / part if part and started_s is not None else None


def _accelerator_units(
    world: World, host: HostView, held: list[tuple[Experiment, Attempt]], now: Now
) -> Iterator[Unit]:
    alone: set[str] = set()
    sharers: dict[str, list[Sharer]] = {}
    for experiment, attempt in held:
        spec = experiment.spec
        for one in attempt.accelerators:
            if one.share is None:
                alone.add(one.id)
            else:
                sharers.setdefault(one.id, []).append(Sharer(one.share, spec.share, spec.memory_gb))
    for seen in host.accelerators:
        unit = Unit(slot=SlotName(f"{host.name}/{seen.id}"), accelerator=seen, sharers=sharers.get(seen.id, []))
        if seen.id in alone:
            unit.block, unit.words = Block.TAKEN, OURS
        else:
            unit.block, unit.words = use_of(host, seen, bool(unit.sharers), now.s, world.limits.probe_fresh_s)
        yield unit


def use_of(host: HostView, seen: AcceleratorSeen, is_shared: bool, now_s: float, fresh_s: float) -> tuple[Block, str]:
    """What stands in the way of handing out an accelerator that no live attempt of ours has for itself."""
    if seen.state is Use.SICK:
        return Block.SICK, "sick"
    at_s, given_back_s = host.accelerators_at_s, host.given_back_s.get(seen.id, float("-inf"))
    if at_s is not None and at_s < given_back_s:
        return Block.UNSEEN, "being looked at"
    if seen.state is Use.FOREIGN:
        users = sorted({clean_line(holder.user, USER_MAX) for holder in seen.holders if holder.user})
        return Block.FOREIGN, f"used by {users[0]}" if users else "used by others"
    left_s = host.foreign_s.get(seen.id)
    if left_s is not None and now_s - left_s < host.cooldown_s:
        return Block.COOLING, "left by others a moment ago"
    if seen.state is Use.UNKNOWN:
        return Block.UNKNOWN, "unknown"
    if at_s is None or now_s - at_s > fresh_s + GRACE_S:
        return Block.UNSEEN, "being looked at"
    if seen.state is Use.OURS and not is_shared:
        return Block.TAKEN, "not released yet"
    return Block.NONE, ""
