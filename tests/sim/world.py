"""One run: everything is drawn from the seed, then faults rage, then they stop and everything has to finish.

Which kinds of fault are enabled is drawn first, each alone and at a rate of its own (swarm testing): runs differ in
kind and not only in order, and most runs have few faults, so that what one alone can break is found as well.
"""

from __future__ import annotations

import gc
import shutil
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from sheetd.core.model import MetricRule, Restarts, row_of
from sheetd.core.template import Param, ParamType, Template
from sheetd.core.world import Limits
from tests.sim import kernel, posix
from tests.sim.cards import Cards
from tests.sim.checker import Checker, Violation
from tests.sim.ending import Ending
from tests.sim.engine import Engine
from tests.sim.faults import RATES, Nemesis, draw_kinds
from tests.sim.files import Files
from tests.sim.hosts import REFUSALS, Network, ready_machine
from tests.sim.hosts_tab import HostsTab
from tests.sim.jobs import Fate, run_job
from tests.sim.machine import Machine, Process
from tests.sim.neighbour import Neighbour
from tests.sim.people import People
from tests.sim.runs_tab import RunsTab
from tests.sim.service import Service, apart
from tests.sim.sheet import OWNED_HEADERS, USER_HEADERS, SimSheet, Tab

HOSTS = ("alpha", "beta", "gamma")
MEMORY = Path("/dev/shm")
#: Virtual seconds in which everything must have finished after the last fault.
#: After the last fault something has to end at least so often, and all of it within the larger.
LIVENESS_S, LIVENESS_MAX_S = 6000.0, 40_000.0
LOADER = posix.Loader()
SYSTEM = kernel.make_system(LOADER)

#: A collection costs a fourteenth of a run.
COLLECTS_EVERY = 8


@dataclass
class Setting:
    """What is fixed before a run. The exhaustive runs and the tests of the simulator choose, others draw."""

    seed: int
    kinds: set[str] | None = None
    duration: float | None = None
    rows: int | None = None
    hosts: int | None = None
    #: How many cards each host has; drawn when nobody chooses.
    cards: int | None = None
    #: After the last fault, for at least so long it is watched that what is at rest stays at rest.
    quiet_s: float = 100.0
    #: Kill whoever comes to this boundary, counted from 0, instead of drawing.
    crash_at: int | None = None
    crash_who: str = ""
    script: Callable[[Simulation], None] | None = None

    def options(self) -> str:
        """As `python -m tests.sim` takes them. What was not chosen is drawn from the seed there too."""
        chosen = {
            "--seed": self.seed,
            "--duration": self.duration,
            "--rows": self.rows,
            "--hosts": self.hosts,
            "--cards": self.cards,
        }
        words = [f"{name} {value:.15g}" for name, value in chosen.items() if value is not None]
        kinds = [] if self.kinds is None else [f"--kinds {','.join(sorted(self.kinds)) or 'none'}"]
        return " ".join([words[0], *kinds, *words[1:]])


@dataclass
class Report:
    """What came of it."""

    seed: int
    hash: str = ""
    steps: int = 0
    seconds: float = 0.0
    job_seconds: float = 0.0
    turns: int = 0
    executions: int = 0
    boundaries: dict[str, int] = field(default_factory=dict)
    kinds: tuple[str, ...] = ()
    duration: float = 0.0
    rows: int = 0
    hosts: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    violation: str = ""
    last: tuple[str, ...] = ()
    #: What follows `python -m tests.sim` to see it again.
    replay: str = ""


class Simulation:
    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        engine = self.engine = Engine(setting.seed)
        chance = engine.stream("setting")
        posix.OS.entropy = 0
        #: What this seed enables when nobody chooses.
        self.drawn = draw_kinds(engine.stream("kinds"))
        self.kinds = self.drawn if setting.kinds is None else setting.kinds
        self.loader, self.system = LOADER, SYSTEM
        self.is_calm = [False]
        self.repairs: list[Callable[[], None]] = []
        self.cli_stopped: set[str] = set()
        self.wall_offset = 0.0
        #: What the code of a folder says, as a number.
        self.code_versions: Counter[Path] = Counter()
        #: How often a folder was replaced by a backup of itself.
        self.restored: Counter[Path] = Counter()
        #: Since there were two journals of one sheet: what people may expect of rows is less from then on.
        self.is_disputed = False
        self.boundaries: dict[str, int] = {}
        self.daemon_rate = engine.stream("M7").uniform(0.98, 1.02) if "M7" in self.kinds else 1.0
        self.rates = {
            name: engine.stream(f"rate {name}").uniform(0.01, high)
            for name, (kind, high) in RATES.items()
            if kind in self.kinds
        }
        self.kill_rate = engine.stream("M1 rate").choice([0.002, 0.02, 0.1]) if "M1" in self.kinds else 0.0
        self.host_kill_rate = engine.stream("D4 rate").choice([0.001, 0.01, 0.03]) if "D4" in self.kinds else 0.0
        rows, hosts = chance.randrange(1, 14), chance.randrange(1, 4)
        duration = chance.choice([60.0, 200.0, 200.0, 600.0, 600.0, 2400.0])
        self.duration = setting.duration or duration
        self.rows_max = rows if setting.rows is None else setting.rows
        self.limits = Limits(
            poll_s=chance.choice([2.0, 2.0, 10.0]),
            settle_s=3.0,
            write_gap_s=chance.choice([2.0, 5.0]),
            deleted_row_grace_s=chance.choice([20.0, 120.0]),
            fresh_s=0.5,
        )
        names = HOSTS[: hosts if setting.hosts is None else setting.hosts]
        self.slots = {name: engine.stream(f"slots {name}").randrange(1, 4) for name in names}
        self.cards = Cards(self)
        self.hosts_tab, self.runs_tab = HostsTab(self), RunsTab(self)
        self.templates = self.cards.templates(self._templates())
        self.folder = Path(tempfile.mkdtemp(prefix="sheetd-sim-", dir=MEMORY if MEMORY.is_dir() else None)) / "state"
        headers = list(USER_HEADERS + OWNED_HEADERS)
        self.tab = Tab(headers, row_count=400)
        self.api = SimSheet(self.tab, engine)
        self.people = People(self, self.kinds)
        self.api.fails = lambda where: self.at_boundary("sheet", where)
        self.api.meddle, self.api.before_read = self.people.meddle, self._before_read
        self.checker = Checker(self)
        self.networks = {name: self._network(name) for name in names}
        self.machines = {name: self.new_machine(name) for name in names}
        #: Machines that run, and that no name leads to at the moment.
        self.elsewhere: list[Machine] = []
        #: Further names in the configuration, and to which machine each leads.
        self.second_names = self._second_names(names[0])
        self.slots.update({name: self.slots[first] for name, first in self.second_names.items()})
        self.files, self.count = Files(self), 0
        self.neighbour = Neighbour(self)
        self.services: list[Service] = []
        self.service = self.start_daemon(self.folder)
        self.nemesis = Nemesis(self)
        come_in_turn = (self.cards.operator_comes, self.hosts_tab.people_come, self.runs_tab.people_come)
        for come in (*come_in_turn, self.cards.somebody_is_there):
            come()
        engine.check = self.checker.step

    def swap(self, name: str, machine: Machine) -> None:
        """The name leads to another machine from now on."""
        self.machines[name] = machine
        for service in self.services:
            for host_name, host in service.hosts.items():
                if self.machine_of(host_name) == name:
                    host.machine = machine

    def machine_of(self, host: str) -> str:
        """The machine that a configured name leads to."""
        return self.second_names.get(host, host)

    @property
    def may_refuse(self) -> bool:
        return bool(self.kinds & {"D5", "D6", "D8", "D23", "H20", "D1", "D17"}) or self.cards.is_any

    def _templates(self) -> dict[str, Template]:
        chance = self.engine.stream("templates")
        train = {
            "command": ("job", "--lr={lr}", "--seed={seed}", "--tag={tag}"),
            "resume_command": ("job", "--lr={lr}", "--seed={seed}", "--tag={tag}", "--resume"),
            "params": {
                "lr": Param(name="lr", type=ParamType.NUMBER, minimum=0.0, maximum=10.0),
                "seed": Param(name="seed", type=ParamType.INTEGER),
                "tag": Param(name="tag", type=ParamType.TEXT, default="", live=True),
            },
            # With secrets nothing is restarted after its supervisor was killed: half of what may go wrong needs others.
            "secrets": self.engine.stream("secrets").choice([(), ("TOKEN",)]),
            "grace_s": chance.choice([1.0, 10.0]),
            "restarts": Restarts(
                max=chance.choice([0, 1, 3]), backoff_s=chance.choice([1.0, 10.0]), backoff_max_s=60.0
            ),
            "relaunches": 60,
            "metrics": (MetricRule(name="loss", regex=chance.choice([None, r"loss=(\S+)"])),),
        }
        return {"train": Template(name="train", **train), "coded": Template(name="coded", code="/project", **train)}

    def _second_names(self, first: str) -> dict[str, str]:
        if "H19" not in self.kinds:
            return {}
        self.engine.fault("H19 a second name for a machine", f"omega is {first}")
        return {"omega": first}

    def _network(self, name: str) -> Network:
        engine, kinds = self.engine, self.kinds

        def rate(kind: str, high: float) -> float:
            return engine.stream(f"rate {kind} {name}").uniform(0.0, high) if kind in kinds else 0.0

        return Network(
            latency=engine.stream(f"latency {name}").uniform(0.005, 0.2),
            refuses={kind: rate(kind, 0.3) for kind in REFUSALS if kind in kinds},
            drops_request=rate("H11", 0.15),
            drops_answer=rate("H11", 0.15),
            delays=rate("H12", 0.1),
            hangs=rate("H7", 0.02),
            breaks_push=rate("H14", 0.05),
        )

    def new_machine(self, name: str) -> Machine:
        machine = ready_machine(self.engine, name, self.loader, self.system)
        if "H17" in self.kinds:
            machine.rate = self.engine.stream(f"H17 {name}").uniform(0.97, 1.03)
            self.engine.fault("H17 the host's clock drifts", f"{name} {machine.rate:.4f}")
        machine.has_inotify = self.engine.stream(f"inotify {name}").random() < 0.8
        machine.slowness = self.engine.stream(f"H12 {name}").choice([0.05, 1.0, 15.0]) if "H12" in self.kinds else 0.0
        machine.pid_last = 360 if "D7" in self.kinds else 30_000
        machine.boundary = self._host_boundary
        machine.loses = lambda verb: self.at_boundary("answer", verb)
        machine.executed = self.checker.executed
        machine.signalled = self.checker.signalled
        machine.harmed = lambda process: self.checker.harmed[process.attempt].add(process.role)
        machine.process_ended = self.checker.process_ended
        machine.run_job = self._run_job
        self.cards.put_into(machine)
        return machine

    def _run_job(self, process: Process, argv: list[str], env: dict[str, str]) -> int:
        seed = int(next(word for word in argv if word.startswith("--seed=")).partition("=")[2])
        self.cards.use(process, env)
        try:
            reads = partial(self.checker.read_params, env["SHEETD_ATTEMPT"], int(env["SHEETD_RESTART"]))
            return run_job(self.engine, self.people.fates.get(seed, Fate()), self.is_calm, process, env, reads)
        except OSError as error:
            self.engine.log(f"the job {process.pid} on {process.machine.name} fails: {error}")
            return 1

    # --- crashes -------------------------------------------------------------------------------------------------

    def at_boundary(self, who: str, where: str) -> bool:
        """Whether whoever is at this boundary dies there."""
        number = self.boundaries.get(who, 0)
        self.boundaries[who] = number + 1
        if self.is_calm[0]:
            return False
        if self.setting.crash_at is not None:
            return who == self.setting.crash_who and number == self.setting.crash_at
        return self.engine.chance({"daemon": self.kill_rate, "host": self.host_kill_rate}.get(who, 0.0), f"death {who}")

    def _host_boundary(self, process: Process, call: str) -> bool:
        if not self.at_boundary("host", call):
            return False
        self.engine.fault("D4 a process of ours is killed", f"{process.machine.name} {process.role} at {call}")
        self.checker.harmed[process.attempt].add(process.role)
        return True

    # --- daemons -------------------------------------------------------------------------------------------------

    def start_daemon(self, folder: Path) -> Service:
        self.count += 1
        service = Service(self, folder, self.count)
        self.services.append(service)
        return service

    def died(self, service: Service) -> None:
        self.services.remove(service)
        if service is self.service:
            wait = 1.0 if self.is_calm[0] else self.engine.stream("restart").choice([0.1, 5.0, 200.0])
            self.engine.at(wait, self._restart)

    def _kill_daemon(self) -> None:
        self.service.kill()

    def _restart(self) -> None:
        if self.service.is_dead:
            self.service = self.start_daemon(self.folder)

    def _before_read(self) -> None:
        if len(self.services) == 1 and not self.api.is_late:
            self.people.before_read()

    # --- the run -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        engine, duration = self.engine, self.duration
        if self.setting.script is not None:
            self.setting.script(self)
        else:
            self._people_come()
        self.nemesis.begin(duration)
        engine.run(duration)
        self.checker.cells_of_people()
        self._calm_down()
        begun, ending = engine.now, Ending(self.checker)
        ended, moved = len(self.checker.ends), begun
        while engine.now < moved + LIVENESS_S and engine.now < begun + LIVENESS_MAX_S:
            engine.run(engine.now + 20.0)
            if engine.now > begun + self.setting.quiet_s and not ending.pending():
                break
            if len(self.checker.ends) > ended:  # many runs and one slot: it takes as long as it takes
                ended, moved = len(self.checker.ends), engine.now
        else:
            words = ending.pending()
            raise Violation(f"I20: {engine.now - begun:g} s after the last fault, {words}")
        ending.final()

    def _people_come(self) -> None:
        chance = self.engine.stream("when people come")
        delay, pace = chance.uniform(0.0, 5.0), chance.choice([2.0, 10.0, 40.0])

        def come() -> None:
            if not self.is_calm[0]:
                self.people.do_something()
                self.engine.at(chance.expovariate(1.0 / pace), come)

        for _ in range(3):
            self.engine.at(delay, self.people.type_row)
        self.engine.at(delay, come)

    def _calm_down(self) -> None:
        """The last fault is over, and people go home."""
        self.engine.log("--- calm ---")
        self.is_calm[0] = True
        for seconds in (20.0, 200.0, 500.0):
            self.engine.at(seconds, self.cards.resume_all)
        self.nemesis.mend()
        self.rates.clear()
        for repair in list(self.repairs):
            self.people.put_back(repair)
        for service in list(self.services):
            if service is not self.service:
                service.kill()
        self.engine.at(100.0, self._look_after_rows)  # not before the daemon has looked again itself
        if self.is_disputed:  # the operator starts the right daemon again, and it takes over from the other
            self.engine.at(10.0, self._kill_daemon)
        for network in self.networks.values():
            vars(network).update(vars(Network(latency=network.latency)))
        for machine in self.machines.values():
            machine.slowness = 0.0

    def _look_after_rows(self) -> None:
        self.people.let_go()
        service = self.service
        if not service.is_dead and service.daemon is not None and service.journal is not None:
            state, is_on_another = service.daemon.world.state, service.daemon.world.is_on_another
            live = [state.experiments[id_] for id_ in state.live.values()]
            gone = [one for one in live if one.attempt is not None and is_on_another(one.attempt)]
            for experiment in gone:
                if state.experiments[row_of(experiment.id)].missing_since_s is None or experiment.stop_by_person:
                    continue
                # Its row is deleted too: there is only the command line.
                self.cli_stopped.add(experiment.id)
                service.journal.real.add_request("stop", experiment.id)
                service.daemon.wake()
                service.post(None)
        self.engine.at(60.0, self._look_after_rows)

    def close(self) -> None:
        for service in list(self.services):
            if service.journal is not None and not service.is_dead:
                service.journal.real.close()
        shutil.rmtree(self.folder.parent, ignore_errors=True)

    def report(self, violation: str = "") -> Report:
        engine = self.engine
        runs = [run for runs in self.checker.executions.values() for run in runs]
        return Report(
            seed=self.setting.seed,
            hash=engine.hash,
            steps=engine.steps,
            seconds=engine.now,
            job_seconds=sum((engine.now if run.ended is None else run.ended) - run.began for run in runs),
            turns=self.checker.turns,
            executions=len(runs),
            boundaries=dict(self.boundaries),
            kinds=tuple(sorted(self.kinds)),
            replay=self.setting.options(),
            duration=self.duration,
            rows=self.rows_max,
            hosts=len(self.machines),
            faults=dict(engine.faults),
            violation=violation,
            last=tuple(engine.last),
        )


def simulate(setting: Setting) -> Report:
    """Run one seed. What is wrong is in the report; nothing is raised."""
    with apart():
        simulation = Simulation(setting)
        try:
            return _simulate(simulation)
        finally:
            simulation.engine.end()
            gc.unfreeze()  # supervisors have frozen it, each for a process of its own, and nothing would be given back
            if setting.seed % COLLECTS_EVERY == 0:
                gc.collect()


def _simulate(simulation: Simulation) -> Report:
    try:
        simulation.run()
    except Violation as violation:
        return simulation.report(str(violation))
    except Exception as error:  # noqa: BLE001 - an exception of the code under test is a find
        frames = traceback.format_exception(error)
        return simulation.report(f"an exception: {type(error).__name__}: {error}\n" + "".join(frames)[-1800:])
    finally:
        simulation.close()
    return simulation.report()
