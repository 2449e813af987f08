"""Another project of the same daemon: it takes slots and cards of the same machines, and gives them back.

A story of the core's tests beside the simulated world, joined to it by the shipped arbiter. Of its sheet and its hosts
only the kind side is played here, for what is asked is what passes between two projects: nothing is given to both, and
both get through. On a card it is a stranger to the agents of the project under test, as a real one would be.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from sheetd.arbiter import Arbiter, Seat
from sheetd.core import events as ev
from sheetd.core.events import Event
from sheetd.core.model import AttemptId, HostName
from sheetd.core.observation import AcceleratorsSeen, AttemptSeen, Exit, Seen
from sheetd.core.strays import holding
from sheetd.core.world import World
from tests.core.cards import Card, Cards
from tests.core.story import TRAIN, Line, Story
from tests.sim.cards import FOREIGN_MB
from tests.sim.machine import Machine, Process

if TYPE_CHECKING:
    from tests.sim.service import Service
    from tests.sim.world import Simulation

OURS, THEIRS = "ours", "theirs"
LOOKS_EVERY_S = 5.0
#: Each of its reads looks at all of them.
ROWS_MAX = 15
#: Daemons over copies of one folder are not of one process, and no arbiter stands between them.
APART = frozenset({"M4", "M6"})


class Neighbour:
    """The other project of one run, if it has one."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation, self.engine = simulation, simulation.engine
        self.chance = self.engine.stream("neighbour")
        self.is_there = self.chance.random() < 0.15 and not APART & simulation.kinds
        self.story: Story | None = None
        self.lines: list[Line] = []
        self.arbiter = Arbiter()
        self.is_called = False
        #: Attempts of its jobs that run, whether the daemon does or not.
        self.jobs: dict[AttemptId, HostName] = {}

    def seat_for(self, service: Service) -> Seat | None:
        """The place of the project under test in a daemon that starts; the neighbour comes back in the same one."""
        if not self.is_there:
            return None
        self.arbiter = Arbiter()
        seat, theirs = self.arbiter.seat(OURS), self.arbiter.seat(THEIRS)
        if self.story is None:
            self.story = self._move_in(theirs)
            self.engine.at(0.0, self._look)
            self.engine.at(self.chance.expovariate(1.0 / 10.0), self._type)
        else:
            self._at_this_time().seat = theirs
            self.story.restart_daemon()
        return seat

    def _move_in(self, seat: Seat) -> Story:
        simulation = self.simulation
        counts = simulation.cards.counts
        largest = max(len(counts[name]) or simulation.slots[name] for name in simulation.machines)
        story = Story(
            hosts={name: simulation.slots[name] for name in simulation.machines if not counts[name]},
            cards={name: MachineCards(self, name) for name in simulation.machines if counts[name]},
            templates=[replace(TRAIN, slots=min(self.chance.choice([1, 1, 2]), largest))],
            seed=self.engine.seed,
            seat=seat,
        )
        story.hears = self._hears
        return story

    # --- its life ------------------------------------------------------------------------------------------------

    @property
    def is_up(self) -> bool:
        return not self.simulation.service.is_dead

    def _at_this_time(self) -> Story:
        assert self.story is not None
        self.story.now_s = max(self.story.now_s, 1000.0 + self.engine.now)
        return self.story

    def _look(self) -> None:
        """As its loop does when time has passed. With nothing to wait for it is not looked at, which costs a third."""
        if self.is_up and self.pending():
            self._turn()
        self.engine.at(LOOKS_EVERY_S, self._look)

    def _turn(self) -> None:
        story = self._at_this_time()
        story.woken = 0
        story.turn()
        story.settle()

    def called(self) -> None:
        """After a turn of the project under test."""
        if self.story is not None and self.story.woken and not self.is_called:
            self.is_called = True
            self.engine.at(0.01, self._answer)

    def _answer(self) -> None:
        self.is_called = False
        if self.is_up and self.story is not None and self.story.woken:
            self._turn()

    def _type(self) -> None:
        if self.simulation.is_calm[0] or self.story is None or len(self.lines) == ROWS_MAX:
            return
        number = len(self.lines)
        self.lines.append(self.story.table.type(template="train", lr=0.1, seed=number))
        self.engine.at(self.chance.expovariate(1.0 / 30.0), self._type)

    def started(self, attempt: AttemptId, host: HostName) -> None:
        self.engine.log(f"the neighbour starts {attempt} on {host}")
        self.jobs[attempt] = host
        self.engine.at(self.chance.expovariate(1.0 / 30.0), lambda: self._end(attempt))

    def _end(self, attempt: AttemptId) -> None:
        self.engine.log(f"the neighbour ends {attempt}")
        story, host = self._at_this_time(), self._at_this_time().hosts[self.jobs.pop(attempt)]
        host.attempts[attempt] = AttemptSeen(state=Seen.EXITED, exit=Exit(rc=0))
        host.cards.ended(attempt)
        if self.is_up:
            story.report(attempt, host.attempts[attempt])

    # --- what must never happen ----------------------------------------------------------------------------------

    def _hears(self, event: Event) -> None:
        if not isinstance(event, ev.LaunchIntended):
            return
        daemon = self.simulation.service.daemon
        if daemon is not None and self.is_up:
            self._compare(event, daemon.world)
        self.started(event.attempt, event.host)

    def given(self, event: ev.LaunchIntended) -> None:
        """Called with each intent of the project under test."""
        if self.story is not None:
            self._compare(event, self.story.world)

    def _compare(self, event: ev.LaunchIntended, other: World) -> None:
        """Of the other project what it has recorded, and not what it has told of it. A second name is told apart."""
        given = {*event.slots, *(one.id for one in event.accelerators)}
        for host, _, attempt in holding(other):
            if self.simulation.second_names.keys() & {host, event.host}:
                continue
            both = given & {*attempt.slots, *(one.id for one in attempt.accelerators)}
            if both:
                words = f"{event.attempt} gets {sorted(both)}, which {attempt.id} of another project has"
                self.simulation.checker.blame("I4", words)

    def pending(self) -> str:
        """What of it is unfinished, as a sentence."""
        if self.story is None:
            return ""
        for line in self.lines:
            if line["status"] != "succeeded":
                return f"the neighbour's row is {line['status']}: {line['message']}"
        return ""


class MachineCards(Cards):
    """The cards of a simulated machine, as an agent of the neighbour's would see them."""

    def __init__(self, neighbour: Neighbour, name: str) -> None:
        super().__init__()
        self.neighbour, self.name = neighbour, name
        self.all = [Card(card.uuid, card.model) for card in self.machine.cards]
        self.processes: dict[AttemptId, list[Process]] = {}

    @property
    def machine(self) -> Machine:
        return self.neighbour.simulation.machines[self.name]

    def seen(self) -> AcceleratorsSeen:
        own = {process.pid for processes in self.processes.values() for process in processes}
        for ours, card in zip(self.all, self.machine.cards, strict=True):
            ours.user = "somebody" if card.users.keys() - own else ""
            ours.is_unclear = card.is_lost or card.needs_reset or self.machine.smi_hangs
        return super().seen()

    def started(self, attempt: AttemptId, ids: Collection[str]) -> None:
        super().started(attempt, ids)
        for card in self.machine.cards if self.machine.is_up else ():
            if card.uuid in ids:
                process = self.machine.foreign()
                card.users[process.pid] = FOREIGN_MB
                self.processes.setdefault(attempt, []).append(process)

    def ended(self, attempt: AttemptId) -> None:
        super().ended(attempt)
        for process in self.processes.pop(attempt, ()):
            process.machine.end(process, 0)
