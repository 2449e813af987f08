"""One at a time: the projects of one daemon decide in turns, each knowing what the others hold and wait for.

Each project has a loop, a world and a journal of its own. The lock is held from what a loop computes until it is
recorded, so that nothing is ever promised twice; what to make of it is the core's affair (`sheetd.core.sharing`). It
must never wait for anything but the present decision, and never asks another loop: it only wakes it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sheetd.core.model import ExperimentId
from sheetd.core.others import Bid, Holding, Others
from sheetd.core.plan import Chance
from sheetd.core.sharing import holdings, take_note
from sheetd.core.world import World


@dataclass(slots=True, eq=False)
class _Told:
    """What a project has told of itself. Read and changed under the lock only."""

    project: str
    #: Called by other loops, from their threads, when something may have become free. None until the journal is read.
    wake: Callable[[], None] | None = None
    holdings: tuple[Holding, ...] = ()
    bids: tuple[Bid, ...] = ()
    #: Whether it leaves something free because it is another project's turn.
    leaves: bool = False
    #: Which of all gifts was its latest.
    latest: int = 0
    ids: set[ExperimentId] = field(default_factory=set)


class Arbiter:
    """All the projects over the same hosts. Every seat is taken before the first loop starts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: dict[str, _Told] = {}

    def seat(self, project: str) -> Seat:
        """For the loop of this project. Raises ValueError for a name that is none, or that another has."""
        if not project or project in self._told:
            raise ValueError(f"a project needs a name of its own, and {project!r} is none or taken")
        self._told[project] = _Told(project)
        return Seat(project, self._lock, self._told)


class Seat:
    """One project's place among the others, for the thread of its loop."""

    def __init__(self, project: str, lock: threading.Lock, told: dict[str, _Told]) -> None:
        self._lock = lock
        self._own = told[project]
        self._told = told

    def join(self, world: World, wake: Callable[[], None]) -> None:
        """The journal has been added up: from now on it is known what this project holds.

        `wake` is called by other loops, from their threads, when something may have become free.
        """
        world.project = self._own.project
        with self._lock:
            self._own.wake = wake
            self._own.ids.update(world.state.experiments, world.state.drafts)
            self._own.holdings = holdings(world)
            self._wake(self._others())

    @contextmanager
    def deciding(self, world: World, now_s: float) -> Iterator[None]:
        """Nobody else decides meanwhile. What is decided has to be recorded before the end."""
        with self._lock:
            others = self._others()
            told = Others(
                holdings=tuple(held for other in others for held in other.holdings),
                bids=tuple(bid for other in others for bid in other.bids),
                latest={"": self._own.latest} | {other.project: other.latest for other in others},
                unread=tuple(other.project for other in others if other.wake is None),
            )
            take_note(world, told, now_s)
            try:
                yield
            finally:
                self._tell(world)

    def chance(self, chance: Chance) -> Chance:
        """The same, but that no two projects get the same id."""
        return _Distinct(chance, self)

    def claims(self, id_: ExperimentId) -> bool:
        """Whether the id was nobody's, and is this project's from now on. Called while deciding."""
        if any(id_ in told.ids for told in self._told.values()):
            return False
        self._own.ids.add(id_)
        return True

    def _others(self) -> list[_Told]:
        return [told for told in self._told.values() if told is not self._own]

    def _tell(self, world: World) -> None:
        """Wakes those for whom it makes a difference: who waits for room, and who has left us some."""
        kept, bids = holdings(world), world.bids
        if kept != self._own.holdings:
            self._wake(other for other in self._others() if other.bids)
        if not set(kept) <= set(self._own.holdings):
            self._own.latest = 1 + max(told.latest for told in self._told.values())
        if bids != self._own.bids:
            self._wake(other for other in self._others() if other.leaves)
        self._own.holdings, self._own.bids, self._own.leaves = kept, bids, bool(world.left_for_others_s)

    @staticmethod
    def _wake(projects: Iterable[_Told]) -> None:
        for told in projects:
            if told.wake is not None:
                told.wake()


class _Distinct:
    """A source of chance whose ids are nobody's yet."""

    def __init__(self, chance: Chance, seat: Seat) -> None:
        self._chance = chance
        self._seat = seat

    def experiment_id(self) -> str:
        while not self._seat.claims(ExperimentId(id_ := self._chance.experiment_id())):
            pass
        return id_

    def nonce(self) -> str:
        return self._chance.nonce()
