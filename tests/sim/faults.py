"""The faults: which kinds there are, which a run enables, and the nemesis that brings about those that are events."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sheetd.errors import HostRefused
from tests.sim.machine import Folder, Machine

if TYPE_CHECKING:
    from tests.sim.world import Simulation

#: Faults with a probability for each request: name, kind, and the highest rate.
RATES: dict[str, tuple[str, float]] = {
    "G1 429 quota": ("G1", 0.3),
    "G2 500 or 503": ("G2", 0.3),
    "G2 write lost before it was applied": ("G2", 0.3),
    "G3 error page instead of JSON": ("G3", 0.2),
    "G4 no answer": ("G4", 0.05),
    "G5 write applied and its answer lost": ("G5", 0.5),
    "G7 token expired": ("G7", 0.05),
    "G8 token endpoint reset": ("G8", 0.1),
    "G11 name not resolved": ("G11", 0.2),
    "G12 truncated read": ("G12", 0.1),
    "G12 stale read": ("G12", 0.1),
    "G13 write refused": ("G13", 0.1),
    "S26 column protected": ("S26", 0.1),
    "J19 code cannot be read": ("J19", 0.5),
    "M8 daemon's disk is full": ("M8", 0.05),
}
PEOPLE = [f"S{n}" for n in (1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, *range(16, 26), 27)]
JOBS = [f"J{n}" for n in (1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 15, 16, 17, 18, 19)]
NETWORK = ["H1", "H5", "H7", "H10", "H11", "H12", "H14", "H17", "H19"]
DEATHS = ["M1", "D4", "D7", "M7"]


class Nemesis:
    """Brings about, at random moments, the faults that are events; and mends them all when the faults are over."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.engine = simulation.engine
        self.chance = self.engine.stream("nemesis")
        self.mends: list[Callable[[], None]] = []
        #: Those that were drawn and left out of this run too: the others then strike when they would have.
        self.acts = [(kind, act) for kind, act in self.events().items() if kind in simulation.drawn | simulation.kinds]
        self.is_over = False
        self.is_copied = False

    def events(self) -> dict[str, Callable[[], None]]:
        return {
            "D1": self.cut_power,
            "D2": self.restart_container,
            "D3": self.kill_for_memory,
            "D5": self.fill_disk,
            "D8": self.fork_bomb,
            "D17": self.preempt,
            "D21": self.clean_tmp,
            "D22": self.log_out,
            "D23": self.kill_user,
            "D14": self.kill_supervisor,
            "H2": lambda: self.refuse("auth_failed", "the key is not accepted"),
            "H3": lambda: self.refuse("host_key_changed", "the host key has changed"),
            "H4": lambda: self.refuse("host_key_unknown", "the host key is not known"),
            "H6": self.cut_network,
            "H18": lambda: self.refuse("no_python", "there is no python3"),
            "H20": self.replace_or_swap_machine,
            "G9": lambda: self.take_sheet("the sheet is not shared with us any more", lasting=True),
            "G10": lambda: self.take_sheet("the API is disabled", lasting=True),
            "G11": lambda: self.take_sheet("the network is gone", lasting=False),
            "M2": self.daemon_power,
            "M4": self.restore_backup,
            "M6": self.second_daemon,
            "M5": self.start_twice,
            "M7": self.step_wall,
            "M10": self.suspend,
            "M14": self.cut_all_networks,
            "D7": self.reuse_pids,
            "M15": self.simulation.files.edit_files,
            **self.simulation.cards.events(),
        }

    def begin(self, duration: float) -> None:
        schedule = self.engine.stream("nemesis")
        pace = schedule.choice([5.0, 30.0, 120.0])

        def strike() -> None:
            if self.is_over:
                return
            if self.engine.now < duration:
                kind, act = schedule.choice(self.acts)
                if kind in self.simulation.kinds:
                    self.chance = self.engine.stream(f"nemesis {kind}")
                    words = act.__name__.replace("_", " ").replace("<lambda>", "refusal or outage")
                    self.engine.fault(f"{kind} {words}")
                    act()
            self.engine.at(schedule.expovariate(1.0 / pace), strike)

        if self.acts:
            self.engine.at(schedule.expovariate(1.0 / pace), strike)

    def mend(self) -> None:
        self.is_over = True
        for mend in self.mends:
            mend()
        self.mends.clear()

    def for_a_while(self, mend: Callable[[], None], seconds: float | None = None) -> None:
        self.mends.append(mend)

        def over() -> None:
            if mend in self.mends:
                self.mends.remove(mend)
                mend()

        self.engine.at(seconds or self.chance.choice([1.0, 20.0, 120.0, 1000.0]), over)

    def machine(self) -> Machine:
        return self.chance.choice(list(self.simulation.machines.values()))

    def harm(self, machine: Machine) -> None:
        """Note whose end is not their own from here on."""
        checker = self.simulation.checker
        for attempt, intents in checker.intents.items():
            here = (self.simulation.machine_of(intent.host) == machine.name for intent in intents)
            if attempt not in checker.ends and any(here):
                checker.harmed[attempt].add("machine")

    # --- hosts ---------------------------------------------------------------------------------------------------

    def cut_power(self) -> None:
        machine = self.machine()
        if machine.is_up:
            self.harm(machine)
            machine.is_up = False
            self.drop(machine)
            machine.cut_power()
            self.for_a_while(lambda: self.power_on(machine))

    def power_on(self, machine: Machine) -> None:
        machine.boot()
        machine.is_up = True

    def drop(self, machine: Machine) -> None:
        """Connections to a machine that is off: half of them are noticed only by silence."""
        for connection in sorted(machine.watchers, key=lambda one: one.process.pid):
            if self.chance.random() < 0.5:
                self.engine.at(0.01, lambda connection=connection: connection.end("the connection broke"))
            else:
                connection.is_hung = True
        machine.watchers.clear()

    def restart_container(self) -> None:
        machine = self.machine()
        if machine.is_up:
            self.harm(machine)
            self.drop(machine)
            machine.restart_container()

    def replace_or_swap_machine(self) -> None:
        if self.chance.random() < 0.5:
            self.replace_machine()
        else:
            self.swap_machine()

    def swap_machine(self) -> None:
        """For a while the name leads to another machine; the first one runs on, out of reach."""
        first, simulation = self.machine(), self.simulation
        if not first.is_up or simulation.elsewhere:
            return
        other = simulation.new_machine(first.name)
        other.life, other.boots = first.life + 1000, 1000
        self.drop(first)
        simulation.elsewhere.append(first)
        simulation.swap(first.name, other)

        def back() -> None:
            self.harm(other)
            self.drop(other)
            other.stop_everything()
            simulation.elsewhere.remove(first)
            simulation.swap(first.name, first)

        self.for_a_while(back)

    def replace_machine(self) -> None:
        """A new machine under the old name: an empty disk."""
        machine = self.machine()
        if machine.is_up:
            self.harm(machine)
            self.drop(machine)
            machine.stop_everything()
            machine.root = Folder()
            for name in ("state", "home", "tmp"):
                machine.root.put(name, Folder())
            machine.sync()
            machine.life += 1
            machine.boot()
            machine.epoch_seen = 0

    def preempt(self) -> None:
        """Notice: TERM to everybody. Then the power goes."""
        machine = self.machine()
        if not machine.is_up:
            return
        self.harm(machine)
        for process in list(machine.processes.values()):
            machine.signal(None, process, 15)
        self.engine.at(self.chance.uniform(0.1, 40.0), self.cut_power)

    def victims(self, machine: Machine, roles: tuple[str, ...]) -> list:
        return [one for one in machine.processes.values() if one.role in roles and not one.is_zombie]

    def kill_some(self, roles: tuple[str, ...], share: float) -> None:
        machine = self.machine()
        for process in self.victims(machine, roles):
            if self.chance.random() < share:
                self.simulation.checker.harmed[process.attempt].add(process.role)
                machine.signal(None, process, 9)

    def kill_for_memory(self) -> None:
        machine = self.machine()
        machine.oom_kills += 1
        self.kill_some(("job", "job child"), 0.5)

    def kill_supervisor(self) -> None:
        self.kill_some(("supervisor", "shim", "launcher", "agent"), 0.4)

    def kill_user(self) -> None:
        machine = self.machine()
        for process in list(machine.processes.values()):
            if not process.is_foreign:
                self.simulation.checker.harmed[process.attempt].add(process.role)
                machine.signal(None, process, self.chance.choice([15, 9]))

    def log_out(self) -> None:
        self.kill_some(("supervisor", "shim", "launcher", "agent", "job", "job child"), 1.0)

    def fill_disk(self) -> None:
        machine = self.machine()
        machine.disk_full = True
        self.for_a_while(lambda: vars(machine).update(disk_full=False))

    def fork_bomb(self) -> None:
        machine = self.machine()
        machine.fork_fails = True
        self.for_a_while(lambda: vars(machine).update(fork_fails=False))

    def clean_tmp(self) -> None:
        self.machine().find("/tmp").entries.clear()

    def reuse_pids(self) -> None:
        """Numbers of ours that have become free are given to somebody else."""
        machine = self.machine()
        if len([one for one in machine.processes.values() if one.is_foreign]) < 20:
            for _ in range(5):
                machine.foreign()
        else:
            for process in [one for one in machine.processes.values() if one.is_foreign]:
                machine.end(process, 0)

    # --- the way there -------------------------------------------------------------------------------------------

    def refuse(self, code: str, why: str) -> None:
        name = self.machine().name
        network = self.simulation.networks[name]
        network.refusal = HostRefused(code, f"{name}: {why}")
        self.break_connections(name)
        self.for_a_while(lambda: vars(network).update(refusal=None))

    def break_connections(self, name: str) -> None:
        for connection in sorted(self.simulation.machines[name].watchers, key=lambda one: one.process.pid):
            connection.end("the connection broke")

    def cut_network(self) -> None:
        network = self.simulation.networks[self.machine().name]
        network.is_cut = True
        self.for_a_while(lambda: vars(network).update(is_cut=False))

    def cut_all_networks(self, seconds: float | None = None) -> None:
        for network in self.simulation.networks.values():
            network.is_cut = True
            self.for_a_while(lambda network=network: vars(network).update(is_cut=False), seconds)

    # --- sheet and daemon ----------------------------------------------------------------------------------------

    def take_sheet(self, why: str, *, lasting: bool) -> None:
        api = self.simulation.api
        api.is_out, api.lasting = why, lasting
        self.for_a_while(lambda: vars(api).update(is_out=""))

    def daemon_power(self) -> None:
        self.simulation.service.kill()

    def suspend(self) -> None:
        service = self.simulation.service
        service.is_suspended = True
        self.for_a_while(lambda: vars(service).update(is_suspended=False))

    def step_wall(self) -> None:
        self.simulation.wall_offset += self.chance.choice([-3e8, -3600.0, 3600.0, 3e8])

    def start_twice(self) -> None:
        """A second daemon over the same folder: the lock refuses it."""
        if not self.simulation.service.is_dead and self.simulation.service.journal is not None:
            self.simulation.start_daemon(self.simulation.folder)

    def copy_of_the_folder(self) -> Path | None:
        """The state folder as it is now, for somebody who brings it back later. Once in a run."""
        simulation = self.simulation
        if not simulation.folder.exists() or len(simulation.services) != 1 or self.is_copied:
            return None
        self.is_copied = True
        copy = simulation.folder.parent / f"copy-{self.engine.steps}"
        shutil.copytree(simulation.folder, copy)
        return copy

    def dispute(self) -> None:
        """There are two journals from here on. What is demanded of rows is that nothing runs twice and all ends."""
        self.simulation.is_disputed = True
        for order in self.simulation.people.orders.values():
            order.is_disputed = True

    def restore_backup(self) -> None:
        """The daemon dies, and its folder is replaced by what it was a while ago."""
        simulation, copy = self.simulation, self.copy_of_the_folder()

        def restore() -> None:
            if self.is_over or copy is None or len(simulation.services) > 1:
                return
            self.dispute()
            simulation.service.kill()
            simulation.restored[simulation.folder] += 1
            shutil.rmtree(simulation.folder)
            shutil.copytree(copy, simulation.folder)

        if copy is not None:
            self.engine.at(self.chance.uniform(1.0, 300.0), restore)

    def second_daemon(self) -> None:
        """Somebody starts another daemon over the sheet: over a copy of the folder, or with nothing known at all."""
        simulation, copy = self.simulation, self.copy_of_the_folder()
        if copy is None:
            return
        if self.chance.random() < 0.4:
            copy = copy.with_name("fresh")

        def start() -> None:
            if not self.is_over:
                self.dispute()
                other = simulation.start_daemon(copy)
                self.for_a_while(other.kill)

        self.engine.at(self.chance.uniform(1.0, 300.0), start)


EVENTS = [
    "D1",
    "D2",
    "D3",
    "D5",
    "D7",
    "D8",
    *("D10", "D11", "D12", "D13"),
    "D14",
    "D17",
    "D21",
    "D22",
    "D23",
    "H2",
    "H3",
    "H4",
    "H6",
    "H18",
    "H20",
    *("G9", "G10", "G11", "M2", "M4", "M5", "M6", "M7", "M10", "M14"),
]
#: Drawn after the others, so that a seed keeps those of them that it had.
LATER = ["M15", "S15"]
KINDS = [*sorted({kind for kind, _ in RATES.values()} | {*PEOPLE, *JOBS, *NETWORK, *DEATHS, *EVENTS}), *LATER]


def draw_kinds(chance: random.Random) -> set[str]:
    share = chance.choice([0.0, 0.05, 0.1, 0.25, 0.5])
    return {kind for kind in KINDS if chance.random() < share}
