"""Which host an experiment gets, and why the others wait.

By priority; within one priority projects take turns, the one with the least running first, or of two that have the same
the one that was given nothing for longest; within a project by order of acceptance. One that fits nowhere now does not
hold up smaller ones behind it, until it has waited for long: then what it needs is kept for it on the host that lacks
least, so that a stream of small ones cannot starve it.

Accelerators are packed unless the configuration says otherwise: small requests go where least is left, so that large
ones find whole hosts. Plain numbers are always spread: what they stand for is a share of one machine's cores, memory
and disk, and more of it is left where less is taken.

Where it is weak: nobody knows how long a job will run, so the host that lacks least is taken for the one that is free
soonest; what jobs say of their progress only breaks ties.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from sheetd.core.model import Accelerator, Experiment, ExperimentId, HostName, Reason, SlotName
from sheetd.core.others import Bid
from sheetd.core.room import Room, Unit
from sheetd.core.why import KEPT, OF_HOST, Block, HostWhy, Need, Sentence, Strategy, Why, count_words

#: What is in these states becomes free sooner or later.
COMING = frozenset({Block.TAKEN, Block.UNSEEN, Block.COOLING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """What an experiment gets."""

    host: HostName
    slots: tuple[SlotName, ...]
    accelerators: tuple[Accelerator, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Who goes where; and for each experiment that does not: why, and how many go before it."""

    placed: Mapping[ExperimentId, Placed] = field(default_factory=dict)
    whys: Mapping[ExperimentId, Why] = field(default_factory=dict)
    ahead: Mapping[ExperimentId, int] = field(default_factory=dict)
    #: The hosts on which other projects would be given something.
    left: frozenset[HostName] = frozenset()

    @property
    def waiting(self) -> dict[ExperimentId, str]:
        """The sentence of each experiment that waits."""
        sentences: dict[int, Sentence] = {}  # most of them wait for the same, with one answer for all
        for why in self.whys.values():
            if id(why) not in sentences:
                sentences[id(why)] = why.sentence()
        return {id_: sentences[id(why)].told(self.ahead[id_]) for id_, why in self.whys.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the configuration says of placement. `overdue` are those who have waited long enough to have slots kept."""

    strategy: Strategy = Strategy.PACK
    overdue: frozenset[ExperimentId] = frozenset()
    #: How many slots of each project are in use already.
    running: Mapping[str, int] = field(default_factory=dict)
    #: Where those that run after others find what these wrote.
    places: Mapping[ExperimentId, frozenset[HostName]] = field(default_factory=dict)
    #: Which of all gifts was the latest of each project: it decides where they have the same.
    latest: Mapping[str, int] = field(default_factory=dict)
    #: What other projects wait for beside us.
    bids: tuple[Bid, ...] = ()


def place(waiting: Iterable[Experiment], rooms: Iterable[Room], rules: Rules | None = None) -> Placement:
    """Hand out what is free, and leave to other projects what is theirs. The rooms are used up on the way."""
    return _Placing(list(rooms), rules or Rules()).place(waiting)


class _Placing:
    """One round of handing out."""

    def __init__(self, rooms: list[Room], rules: Rules) -> None:
        self.rooms = rooms
        self.rules = rules
        self.placed: dict[ExperimentId, Placed] = {}
        self.whys: dict[ExperimentId, Why] = {}
        self.ahead: dict[ExperimentId, int] = {}
        #: The slots that are kept, for whom, and how many it needs.
        self.kept: set[SlotName] = set()
        self.kept_for: ExperimentId | None = None
        # Room only becomes less here, so what found none once finds none for the next that asks for the same.
        self.full: dict[Need, Why] = {}

    def place(self, waiting: Iterable[Experiment]) -> Placement:
        theirs = {bid.experiment.id: bid for bid in self.rules.bids}
        queue = [*waiting, *(bid.experiment for bid in self.rules.bids)]
        for experiment in in_turn(queue, self.rules, self.placed):
            if experiment.id in theirs:
                self._leave(theirs[experiment.id])
                continue
            need = Need.of(experiment.spec, self.rules.places.get(experiment.id, frozenset()))
            if need not in self.full:
                chosen = self._choose(experiment, need, self.rooms)
                if chosen is not None:
                    self.placed[experiment.id] = self._hand_out(*chosen, need)
                    continue
                self.full[need] = why_not(need, self.rooms, self.kept, self.kept_for)
                if self.kept_for is None and experiment.id in self.rules.overdue:
                    self._keep_for(experiment, need, self.rooms)
            self.whys[experiment.id] = self.full[need]
            self.ahead[experiment.id] = len(self.ahead)
        left = {placed.host for id_, placed in self.placed.items() if id_ in theirs}
        placed = {id_: placed for id_, placed in self.placed.items() if id_ not in theirs}
        return Placement(placed=placed, whys=self.whys, ahead=self.ahead, left=frozenset(left))

    def _leave(self, bid: Bid) -> None:
        """What another project's turn gives it is not ours to hand out."""
        rooms = [room for room in self.rooms if room.name in bid.hosts]
        chosen = self._choose(bid.experiment, bid.need, rooms)
        if chosen is not None:
            self.placed[bid.experiment.id] = self._hand_out(*chosen, bid.need)
            for unit in chosen[1][: bid.need.slots]:
                unit.words = f"left for sheet {bid.project}"
        elif self.kept_for is None and bid.is_overdue:
            self._keep_for(bid.experiment, bid.need, rooms)

    def _free(self, room: Room, need: Need) -> list[Unit]:
        """What it could get there, best first: what is shared already, then the smallest that will do."""
        free = [unit for unit in room.suiting(need) if unit.slot not in self.kept and unit.is_free_for(need)]
        if not room.is_plain:
            free.sort(key=lambda unit: (-len(unit.sharers), unit.memory_gb or 0.0))
        return free

    def _choose(self, experiment: Experiment, need: Need, rooms: Iterable[Room]) -> tuple[Room, list[Unit]] | None:
        roomy = []
        for room in rooms:
            free = self._free(room, need) if room.is_open else []
            if len(free) >= need.slots:
                roomy.append((room, free))
        if not roomy:
            return None
        return max(roomy, key=lambda one: (*_past(experiment, one[0].name), *self._fit(one[0], one[1], need)))

    def _fit(self, room: Room, free: list[Unit], need: Need) -> tuple[float, ...]:
        """Larger is better. Packed: the least memory that will do, then where least is left over."""
        if room.is_plain or self.rules.strategy is Strategy.SPREAD:
            return 0.0, float(len(free))
        return -max(unit.memory_gb or 0.0 for unit in free[: need.slots]), -float(len(free))

    def _hand_out(self, room: Room, free: list[Unit], need: Need) -> Placed:
        taken = [unit.take(need) for unit in free[: need.slots]]
        if room.takes is not None:
            room.takes -= 1
            room.block = Block.ON_TRIAL
        return Placed(
            host=room.name,
            slots=tuple(slot for slot, _ in taken),
            accelerators=tuple(accelerator for _, accelerator in taken if accelerator is not None),
        )

    def _keep_for(self, experiment: Experiment, need: Need, rooms: Iterable[Room]) -> None:
        """Keep what is free on the host that can give it everything soonest; nothing where that is in nobody's hand."""
        best: tuple[tuple[int, float], list[Unit]] | None = None
        for room in rooms:
            suiting = room.suiting(need) if room.is_open else []
            free = [unit for unit in suiting if unit.is_free_for(need)]
            ours = [unit for unit in suiting if unit.block in COMING or (unit.sharers and unit not in free)]
            lacking = need.slots - len(free)
            if lacking > len(ours):
                continue  # the rest is in the hands of others, or broken: nobody knows for how long
            ends_s = sorted(unit.free_at_s if unit.free_at_s is not None else float("inf") for unit in ours)
            soonest = (lacking, ends_s[lacking - 1] if lacking else 0.0)
            if best is None or soonest < best[0]:
                best = (soonest, free)
        if best is not None:
            self.kept = {unit.slot for unit in best[1]}
            self.kept_for = experiment.id


def in_turn(waiting: Iterable[Experiment], rules: Rules, placed: Mapping[ExperimentId, Placed]) -> Iterator[Experiment]:
    """The order in which they may choose. `placed` is looked at on the way: who got something goes behind others."""
    levels: dict[float, dict[str, deque[Experiment]]] = defaultdict(lambda: defaultdict(deque))
    for experiment in waiting:
        levels[-experiment.spec.priority][experiment.spec.project].append(experiment)
    uses = Counter(rules.running)
    for level in sorted(levels):
        queues = levels[level]
        while queues:
            project = min(queues, key=lambda name: (uses[name], rules.latest.get(name, 0)))
            experiment = queues[project].popleft()
            if not queues[project]:
                del queues[project]
            yield experiment
            if experiment.id in placed:
                uses[project] += experiment.spec.slots


def _past(experiment: Experiment, host: HostName) -> tuple[int, bool]:
    """A host that refused it least often, and rather the one where it ran last: its checkpoint is there."""
    bad = (Reason.LAUNCH_FAILED, Reason.HOST_FAULT, Reason.ACCELERATOR_BUSY)
    refused = sum(attempt.host == host and attempt.reason in bad for attempt in experiment.attempts)
    last = next((attempt for attempt in reversed(experiment.attempts) if attempt.started), None)
    return -refused, last is not None and last.host == host and last.reason not in bad


def why_not(
    need: Need, rooms: Iterable[Room], kept: frozenset[SlotName] | set[SlotName], kept_for: ExperimentId | None
) -> Why:
    """What each host says to a need that found no room."""
    all_rooms = list(rooms)
    # What a host has that was never seen could be any model, but not another host's name.
    is_name = any(room.is_called(need.where) for room in all_rooms)
    hosts = tuple(_host_why(need, room, kept, is_name=is_name) for room in all_rooms)
    is_kept = any(words == KEPT for one in hosts for words, _ in one.taken)
    return Why(need=need, hosts=hosts, kept_for=kept_for if is_kept else None)


def _host_why(need: Need, room: Room, kept: frozenset[SlotName] | set[SlotName], *, is_name: bool) -> HostWhy:
    if not room.is_among(need.places):
        words = "is not where the rows ended that it runs after"
        return HostWhy(host=room.name, block=Block.ELSEWHERE, words=words, is_plain=room.is_plain)
    if not (room.is_called(need.where) if is_name else not room.is_known or room.allows(need.where)):
        words = f'is not what where asks for ("{need.where[:60]}")'
        return HostWhy(host=room.name, block=Block.ELSEWHERE, words=words, is_plain=room.is_plain)
    suiting = room.suiting(need)
    free = [unit for unit in suiting if unit.slot not in kept and unit.is_free_for(need)]
    taken = []
    for unit in suiting:
        if unit not in free:
            is_kept = unit.slot in kept and unit.is_free_for(need)
            taken.append(KEPT if is_kept else unit.words or "shared to the full")
    block = room.block if room.block in OF_HOST else Block.NONE
    if block is Block.NONE and len(suiting) < need.slots:
        block = Block.TOO_SMALL
    return HostWhy(
        host=room.name,
        block=block,
        words=room.words if block in OF_HOST else "",
        is_plain=room.is_plain,
        is_known=room.is_known,
        fitting=len(suiting),
        free=len(free),
        total=len(room.units),
        taken=count_words(taken),
    )
