"""One daemon: the shipped loop, journal and effects, with tasks for lanes and a death at any boundary.

A boundary is a moment at which a kill would leave a different world: before and after each append to the journal, and
before and after each effect. A new `Service` over the same folder is what a restart is.
"""

from __future__ import annotations

import hashlib
import logging
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tenacity

from sheetd.core.absorb import News
from sheetd.core.effect import Effect, lane
from sheetd.core.events import Event
from sheetd.core.hosts_grid import HostsTab
from sheetd.core.model import HostName
from sheetd.core.runs_grid import RunsTab
from sheetd.core.state import State
from sheetd.core.world import Identity, World
from sheetd.daemon import Daemon, Mail
from sheetd.effects import Ports, carry_out
from sheetd.errors import ConfigError, JournalError
from sheetd.journal import SqliteJournal, lock
from sheetd.ports import Reconfiguration
from tests.sim.engine import Killed, Task
from tests.sim.hosts import SimHost
from tests.sim.jobs import SECRET
from tests.sim.sheet import SimSheet

if TYPE_CHECKING:
    from tests.sim.world import Simulation

COALESCE_S = 0.02


@contextmanager
def apart() -> Iterator[None]:
    """What a simulated daemon shares with real ones in this process, as it needs it, and then as it was.

    It says nothing to the log; and a lock that is held stays held: nobody but daemons looks at it, and real time does
    not pass.
    """
    logger, patience = logging.getLogger("sheetd"), lock.stop_after_delay  # type: ignore[attr-defined]
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    lock.stop_after_delay = lambda _seconds: tenacity.stop_after_attempt(1)  # type: ignore[attr-defined,assignment]
    try:
        yield
    finally:
        logger.setLevel(level)
        lock.stop_after_delay = patience  # type: ignore[attr-defined]


class SimClock:
    """Drifts; its wall steps. Monotonic time never does."""

    def __init__(self, simulation: Simulation, rate: float) -> None:
        self.simulation = simulation
        self.rate = rate

    def monotonic_s(self) -> float:
        return 5000.0 + self.simulation.engine.now * self.rate

    def wall_s(self) -> float:
        return 1.7e9 + self.simulation.engine.now + self.simulation.wall_offset


class SimChance:
    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    def experiment_id(self) -> str:
        return "x" + "".join(self.chance.choices("bcdfghjkmnpqrstvwxz23456789", k=5))

    def nonce(self) -> str:
        return f"{self.chance.getrandbits(128):032x}"


class SimSnapshots:
    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation

    def pin(self, folder: Path) -> str:
        self.simulation.engine.sleep(0.2)
        if self.simulation.engine.chance(self.simulation.rates.get("J19 code cannot be read", 0.0), "J19"):
            self.simulation.engine.fault("J19 code cannot be read")
            raise ConfigError(f"{folder} cannot be read: it is being changed")
        content = f"{folder} {self.simulation.code_versions[folder]}"
        return hashlib.sha256(content.encode()).hexdigest()

    def archive(self, sha: str) -> Path:
        return Path(f"/{sha}.tar.gz")


class SimJournal:
    """The shipped journal, and the checker's ear beside it."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.real = SqliteJournal(service.folder, wall_s=service.clock.wall_s)

    @property
    def epoch(self) -> int:
        return self.real.epoch

    def append(self, events: Sequence[Event]) -> None:
        self.service.boundary("before the journal was written")
        rates = self.service.simulation.rates
        if self.service.simulation.engine.chance(rates.get("M8 daemon's disk is full", 0.0), "M8"):
            self.service.simulation.engine.fault("M8 daemon's disk is full")
            raise JournalError("the disk is full")
        self.real.append(events)
        connection = self.real._connection
        if connection.in_transaction or connection.total_changes < 1:
            self.service.simulation.checker.blame("I6", "append returned before it was committed")
        self.service.simulation.checker.recorded(self.service, events)
        self.service.boundary("after the journal was written")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


class SimLanes:
    """As `sheetd/lanes.py`, with tasks."""

    def __init__(self, service: Service, carry_out: Callable[[Effect], News]) -> None:
        self.service = service
        self.carry_out = carry_out
        self.queues: dict[str, deque[Effect]] = {}
        self.tasks: dict[str, Task] = {}

    def submit(self, effect: Effect) -> None:
        name = lane(effect)
        self.queues.setdefault(name, deque()).append(effect)
        if name not in self.tasks or self.tasks[name].dead:
            self.tasks[name] = self.service.task_of(f"lane {name}", lambda: self._work(name))

    def _work(self, name: str) -> None:
        queue, engine = self.queues[name], self.service.simulation.engine
        while queue:
            effect = queue.popleft()
            if engine.chance(0.1):
                engine.sleep(engine.random.expovariate(1.0))
            self.service.boundary(f"before {type(effect).__name__}")
            self.service.simulation.checker.trying(self.service, effect)
            outcome = self.carry_out(effect)
            self.service.boundary(f"after {type(effect).__name__}")
            self.service.post(outcome)

    def aside(self, work: Callable[[], None]) -> None:
        work()

    def close(self, patience_s: float) -> None:
        pass


class Service:
    """A daemon from its start to its death."""

    def __init__(self, simulation: Simulation, folder: Path, number: int) -> None:
        self.simulation = simulation
        self.folder = folder
        self.number = number
        #: Another after the folder was restored: what was recorded since the backup is unknown to it.
        self.lineage = f"{folder.name} {simulation.restored[folder]}"
        self.clock = SimClock(simulation, simulation.daemon_rate)
        self.inbox: deque[Mail | None] = deque()
        self.tasks: list[Task] = []
        self.hosts: dict[HostName, SimHost] = {}
        self.journal: SimJournal | None = None
        self.daemon: Daemon | None = None
        self.is_dead = False
        self.is_suspended = False
        self.sheet = SimSheet(simulation.tab, simulation.engine)
        self.sheet.rates, self.sheet.calls, self.sheet.blame = (
            simulation.rates,
            simulation.api.calls,
            simulation.api.blame,
        )
        self.sheet.is_budgeted = not {"M4", "M6"} & simulation.kinds  # two daemons have two budgets
        self.sheet.fails = simulation.api.fails
        self.sheet.outage, self.sheet.flying = simulation.api.outage, simulation.api.flying
        self.sheet.meddle, self.sheet.before_read = simulation.api.meddle, simulation.api.before_read
        self.hosts_tab = simulation.hosts_tab.sheet_for(self.sheet)
        self.runs_tab = simulation.runs_tab.sheet_for(self.sheet)
        self.task = self.task_of("daemon", self.run)

    def task_of(self, name: str, body: Callable[[], Any]) -> Task:
        task = self.simulation.engine.spawn(f"{name} of daemon {self.number}", lambda: self._guarded(body))
        self.tasks.append(task)
        return task

    def _guarded(self, body: Callable[[], Any]) -> None:
        """A JournalError ends the process, as it ends the shipped one; the service manager starts it again."""
        try:
            body()
        except JournalError as error:
            self.simulation.engine.log(f"daemon {self.number} ends: {str(error)[-60:]}")
            self.kill()
            raise Killed from None

    # --- life ----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        simulation = self.simulation
        self.journal = SimJournal(self)
        simulation.engine.log(f"daemon {self.number} starts with epoch {self.journal.epoch}")
        while simulation.files.is_broken:
            simulation.engine.sleep(3.0)  # it ends with what is wrong, and the service manager starts it again
        found = simulation.files.configuration()
        self.hosts.update((host.name, self.open_host(host.name)) for host in found.hosts)
        world = World(
            state=State(),
            templates=found.templates,
            limits=found.limits,
            hosts={host.name: host for host in found.hosts},
            # By its name: the number of a file, which the shipped one goes by, is not of the seed.
            identity=Identity(owner=self.folder.name, where=f"daemon {self.number} in {self.folder.name}"),
            redactor=found.redactor,
        )
        world.hosts_tab = None if self.hosts_tab is None else HostsTab()
        world.runs_tab = None if self.runs_tab is None else RunsTab()
        ports = Ports(
            sheet=self.sheet,
            hosts=self.hosts,
            journal=self.journal,  # type: ignore[arg-type]
            snapshots=SimSnapshots(simulation),
            secret=lambda _name: SECRET,
            hosts_tab=self.hosts_tab,
            runs_tab=self.runs_tab,
        )
        chance = SimChance(random.Random(simulation.engine.random.getrandbits(64)))
        routes = simulation.files.routes(self.open_host)
        seat = simulation.neighbour.seat_for(self)
        daemon = self.daemon = Daemon(world, ports, self.clock, chance, routes, seat)
        daemon.post = self.post  # type: ignore[method-assign]
        daemon.look_again = lambda: self.post(None)  # type: ignore[method-assign]
        daemon._lanes = SimLanes(self, lambda effect: carry_out(effect, ports))  # type: ignore[assignment]
        daemon.recover()
        for host in self.hosts.values():
            daemon._keep(host)
        simulation.checker.recovered(self)
        wake = daemon.turn(())
        while True:
            wake = daemon.turn(self.wait(wake))
            simulation.checker.turned(self)
            simulation.neighbour.called()

    def open_host(self, name: str) -> SimHost:
        simulation, first = self.simulation, self.simulation.machine_of(name)
        machine, network = simulation.machines[first], simulation.networks[first]
        return SimHost(name, machine, network, simulation.loader, simulation.system, epoch=0)

    def reload(self) -> None:
        """The files are looked at, and have no mistake."""
        if self.daemon is not None:
            files = self.simulation.files
            self.post(Reconfiguration(configuration=files.configuration(), routes=files.routes(self.open_host)))

    def wait(self, wake: float) -> list[Mail]:
        engine = self.simulation.engine
        while self.is_suspended or (not self.inbox and self.clock.monotonic_s() < wake):
            engine.wait(1.0 if self.is_suspended else max(1e-4, (wake - self.clock.monotonic_s()) / self.clock.rate))
        engine.sleep(COALESCE_S)
        arrived = [news for news in self.inbox if news is not None]
        self.inbox.clear()
        return arrived

    def post(self, news: Mail | None) -> None:
        if not self.is_dead:
            self.inbox.append(news)
            self.simulation.engine.wake(self.task)

    # --- death ---------------------------------------------------------------------------------------------------

    def boundary(self, where: str) -> None:
        """A moment at which the daemon may be killed. Raises Killed in the task that was at it."""
        if self.is_dead:
            raise Killed
        if self.simulation.at_boundary("daemon", where):
            self.simulation.engine.fault("M1 daemon killed", where)
            self.kill()
            raise Killed

    def kill(self) -> None:
        """As `kill -9`: whatever it was about to do is not done. What it has sent is on its way."""
        if self.is_dead:
            return
        self.is_dead = True
        if self.journal is not None:
            self.journal.real.close()
        for host in self.hosts.values():
            host.close()
        for task in self.tasks:
            task.kill()
        self.simulation.engine.log(f"daemon {self.number} is dead")
        self.simulation.died(self)
