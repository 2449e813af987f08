"""A small world to tell stories in: a sheet that people type into, hosts that do as they are told, and the loop.

The loop is the daemon's, without threads: absorb, decide, record, check, act. Time passes only when a story says so. A
`Table` is live: whatever people do between a read and a write meets the write, as it would on Google.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

from sheetd.arbiter import Seat
from sheetd.core import effect as fx
from sheetd.core import observation as obs
from sheetd.core.absorb import News, absorb, is_void
from sheetd.core.colours import Dress
from sheetd.core.configuration import Configuration, reconfigure
from sheetd.core.curve import Curve
from sheetd.core.events import DaemonStarted, Event
from sheetd.core.grid import BLANK, Cell, CellValue, Claim, Grid, SheetWrite, Shown
from sheetd.core.hosts_grid import HostsTab
from sheetd.core.invariants import violations
from sheetd.core.model import AttemptId, Experiment, ExperimentId, HostName, Restarts, SlotName, Value
from sheetd.core.observation import AttemptKept, AttemptSeen, Exit, HostFacts, Seen
from sheetd.core.plan import Chance, Now, Plan
from sheetd.core.reconcile import reconcile, record
from sheetd.core.rows import Row
from sheetd.core.runs_grid import RunsTab
from sheetd.core.state import State
from sheetd.core.template import Param, ParamType, Template
from sheetd.core.world import OVER, HostView, Identity, Limits, World
from sheetd.effects import carry_out
from sheetd.errors import SheetError, SheetRefused
from sheetd.ports import RunsSheet, Sheet
from tests.core.cards import Cards

USER_HEADER = ("template", "lr", "seed", "action", "my notes")
OWNED_HEADER = ("status", "message", "host", "attempt", "started", "runtime", "progress", "eta", "code", "loss", "id")
HEADER = (*USER_HEADER, *OWNED_HEADER)
OWNED = frozenset(OWNED_HEADER)
ROUNDS_MAX = 20
#: Quiet is expected long before so many effects; a story that needs more goes round in circles.
STEPS_MAX = 20_000

TRAIN = Template(
    name="train",
    command=("python", "train.py", "--lr={lr}", "--seed={seed}"),
    resume_command=("python", "train.py", "--lr={lr}", "--seed={seed}", "--resume"),
    params={
        "lr": Param(name="lr", type=ParamType.NUMBER, minimum=0.0, maximum=10.0),
        "seed": Param(name="seed", type=ParamType.INTEGER, default=0),
    },
    restarts=Restarts(max=3),
    relaunches=3,
)


def cell(value: Shown | Cell) -> Cell:
    """A cell as a typed read reports it."""
    if isinstance(value, Cell):
        return value
    if value is None or value == "":
        return BLANK
    if isinstance(value, Curve):
        return Cell(formula=value.formula)
    if isinstance(value, bool):
        return Cell(value=value, shown="TRUE" if value else "FALSE")
    if isinstance(value, int | float):
        return Cell(value=float(value), shown=f"{value:g}")
    return Cell(value=value, shown=value)


@dataclass(eq=False)
class Line:
    """One row of the live table. It stays the same object wherever it is moved."""

    cells: dict[str, Cell] = field(default_factory=dict)

    def __getitem__(self, name: str) -> CellValue:
        return self.cells.get(name, BLANK).value

    def typed(self) -> dict[str, Cell]:
        """What people own in it."""
        return {name: held for name, held in self.cells.items() if name not in OWNED and not held.is_blank}


class Table:
    """The tab. `read` returns the same grid while nothing changed, and the same row, as `ports.Sheet` promises."""

    tab_id, title, owned = 7, "Experiments", OWNED

    def __init__(self, header: Sequence[str] = HEADER) -> None:
        self.header = list(header)
        self.lines: list[Line] = []
        self.reads = 0
        self.writes = 0
        self.claim: Claim | None = None
        self.dressed: Dress | None = None
        self._grid: Grid | None = None
        self._lines_of: dict[int, tuple[Grid, list[Line]]] = {}
        self._rows: dict[object, tuple[Cell, ...]] = {}

    def changed(self) -> None:
        self._grid = None

    def type(self, line: Line | None = None, /, **values: CellValue | Cell) -> Line:
        """Type into a row; a new one at the end when none is given. `notes` stands for the user's own column."""
        if line is None:
            line = Line()
            self.lines.append(line)
        for name, value in values.items():
            line.cells[name.replace("notes", "my notes")] = cell(value)
        self.changed()
        return line

    def copy(self, line: Line, at: int | None = None) -> Line:
        """What copy and paste of a whole row does: the id and the status come with it."""
        copied = Line(dict(line.cells))
        self.lines.insert(len(self.lines) if at is None else at, copied)
        self.changed()
        return copied

    def delete(self, line: Line) -> None:
        self.lines.remove(line)
        self.changed()

    def insert(self, at: int, line: Line | None = None) -> Line:
        line = Line() if line is None else line
        self.lines.insert(at, line)
        self.changed()
        return line

    def sort(self, key: Callable[[Line], object]) -> None:
        self.lines.sort(key=key)  # type: ignore[arg-type]
        self.changed()

    def read(self) -> Grid:
        self.reads += 1
        if self._grid is None:
            rows = [tuple(cell(name) for name in self.header)]
            rows += [tuple(line.cells.get(name, BLANK) for name in self.header) for line in self.lines]
            # A number and a boolean may be equal, and are not the same.
            named = {(row, tuple(type(held.value) for held in row)): row for row in rows}
            self._rows = {name: self._rows.get(name, row) for name, row in named.items()}
            rows = [self._rows[row, tuple(type(held.value) for held in row)] for row in rows]
            self._grid = Grid(
                tab_id=self.tab_id,
                title=self.title,
                rows=tuple(rows),
                row_count=1000,
                column_count=len(self.header),
                claim=self.claim,
            )
            self._lines_of[id(self._grid)] = (self._grid, list(self.lines))
        return self._grid

    def dress(self, dress: Dress) -> bool:
        self.dressed = dress
        return True

    def lines_of(self, grid: Grid) -> list[Line]:
        """Which lines stood where when the grid was read."""
        return self._lines_of[id(grid)][1]

    def write(self, write: SheetWrite) -> Grid:
        """By position on the table as it is now, whatever it was when the write was planned."""
        self.writes += 1
        for replacement in write.replacements:
            name = self.header[replacement.column]
            assert name == "id"
            for line in self.lines:
                if line[name] == replacement.old:
                    line.cells[name] = cell(replacement.new)
        for update in write.updates:
            name = self.header[update.column]
            assert name in self.owned, f"a cell of the user's column {name} would be overwritten"
            while update.row > len(self.lines):
                self.lines.append(Line())
            self.lines[update.row - 1].cells[name] = cell(update.value)
        if write.claim is not None and write.claim.old == self.claim:
            self.claim = write.claim.new
            self.changed()
        if write.updates or write.replacements:
            self.changed()
        return self.read()


class FakeHost:
    """Keeps the agent's promises: an attempt is started once however often it is asked for, a tombstone is final."""

    def __init__(self, name: str) -> None:
        self.name = HostName(name)
        self.boots = 1
        self.attempts: dict[AttemptId, AttemptSeen] = {}
        self.started: list[AttemptId] = []
        self.asked: list[AttemptId] = []
        #: Loses what is on its way back, not what is on its way there.
        self.loses_replies = False
        self.refusal: tuple[str, str] | None = None
        self.is_reachable = True
        self.epoch = 0
        self.machine = ""
        self.kept: dict[AttemptId, AttemptKept] = {}
        self.cards = Cards()
        self.disk_free_bytes: int | None = None
        #: What `sheetd.params()` gives there.
        self.params: dict[AttemptId, dict[str, Value]] = {}
        self.refuses_params = ""

    def seen(self) -> obs.HostSeen:
        """What it says to the daemon that it obeys."""
        return obs.HostSeen(host=self.name, facts=self.facts(), attempts=dict(self.attempts), epoch=self.epoch)

    def facts(self) -> HostFacts:
        return HostFacts(
            boot=f"boot-{self.boots}",
            hostname=self.name,
            machine_id=self.machine,
            disk_free_bytes=self.disk_free_bytes,
        )

    def launch(self, effect: fx.Launch) -> AttemptSeen:
        attempt = effect.attempt
        self.asked.append(attempt)
        if attempt not in self.attempts:
            self.started.append(attempt)
            self.kept[attempt] = AttemptKept(
                nonce=effect.nonce, spec=effect.spec, slots=effect.slots, fingerprint=effect.fingerprint
            )
            self.params[attempt] = dict(effect.spec.params)
            self.attempts[attempt] = AttemptSeen(state=Seen.RUNNING, pid=4711, started_age_s=0.0)
        return self.attempts[attempt]

    def hand_over(self, effect: fx.HandOver) -> AttemptSeen:
        self.params[effect.attempt] = dict(effect.params)
        return self.attempts[effect.attempt]

    def stop(self, attempt: AttemptId) -> AttemptSeen:
        seen = self.attempts.get(attempt)
        if seen is None or seen.state is Seen.ABSENT:
            self.attempts[attempt] = AttemptSeen(state=Seen.REVOKED)
        elif seen.state in (Seen.RUNNING, Seen.RESTARTING):
            self.attempts[attempt] = replace(seen, state=Seen.EXITED, exit=Exit(signal=15, stopped=True))
        return self.attempts[attempt]


@dataclass
class Port:
    """The only port that is asked for here."""

    runs_tab: RunsSheet


def effect_epoch(world: World, effect: fx.Launch | fx.Stop | fx.HandOver) -> int:
    """The epoch that goes with a request: the one that the daemon greeted the host with."""
    return world.hosts[effect.host].epoch


class SeededChance:
    """Ids that are the same each time."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)

    def experiment_id(self) -> str:
        return "x" + "".join(self._random.choices("abcdefghjkmnpqrstvwxyz23456789", k=6))

    def nonce(self) -> str:
        return f"{self._random.getrandbits(128):032x}"


class Story:
    """A world, what it acts upon, and the loop between them."""

    def __init__(
        self,
        *,
        hosts: Mapping[str, int] | None = None,
        templates: Iterable[Template] = (TRAIN,),
        limits: Limits | None = None,
        cards: Mapping[str, Cards] | None = None,
        table: Table | None = None,
        hosts_table: Sheet | None = None,
        runs_table: RunsSheet | None = None,
        seed: int = 0,
        seat: Seat | None = None,
    ) -> None:
        slots = {"alpha": 1} if hosts is None and not cards else dict(hosts or {})
        slots.update(dict.fromkeys(cards or {}, 1))
        self.table = Table() if table is None else table
        #: The tab of hosts, if there is to be one.
        self.hosts_table = hosts_table
        self.runs_table = runs_table
        self.hosts = {HostName(name): FakeHost(name) for name in slots}
        for name, held in (cards or {}).items():
            self.hosts[HostName(name)].cards = held
        #: Its place among other stories over the same hosts, and how often another one has called.
        self.seat = seat
        self.woken = 0
        self.chance: Chance = SeededChance(seed) if seat is None else seat.chance(SeededChance(seed))
        self.now_s = 1000.0
        self.journal: list[tuple[Event, float]] = []
        self.started: list[fx.Effect] = []
        self.queue: list[fx.Effect] = []
        #: Called before each effect is carried out: where people get in between.
        self.meddle: Callable[[fx.Effect], None] = lambda _effect: None
        #: Called with each event before it is applied.
        self.hears: Callable[[Event], None] = lambda _event: None
        self.sheet_error: tuple[str, bool] | None = None
        self.dress_error: tuple[str, bool] | None = None
        self.hosts_tab_error: tuple[str, bool] | None = None
        #: Writes are carried out, and the answer is lost on its way back.
        self.loses_answers = False
        #: The daemon dies after the next effect was carried out and before it hears how that went.
        self.dies = False
        self._slots = {
            HostName(name): tuple(SlotName(f"{name}/{index}") for index in range(n)) for name, n in slots.items()
        }
        self._templates = {template.name: template for template in templates}
        #: What a snapshot of any folder gives.
        self.code_hash = "c0de" * 16
        self._limits = limits or Limits(dress_every_s=1e9)
        self.epoch = 0
        self.identity = Identity()
        self.world = self._fresh_world()
        self.turn(*self.greetings())
        self.settle()  # the sheet is ours, and the hosts obey us: most stories begin there
        self.started.clear()
        self.table.writes = 0

    def configuration(self) -> Configuration:
        """What the operator's files say."""
        hosts = tuple(
            HostView(name=name, slots=slots, looks=bool(self.hosts[name].cards.all))
            for name, slots in self._slots.items()
        )
        return Configuration(templates=self._templates, limits=self._limits, hosts=hosts)

    def edit_files(
        self,
        *,
        hosts: Mapping[str, int] | None = None,
        templates: Iterable[Template] | None = None,
        limits: Limits | None = None,
        renewed: Sequence[str] = (),
    ) -> None:
        """The operator saves other files, and the daemon goes by them from now on. `renewed`: reached another way."""
        former = set(self._slots)
        if hosts is not None:
            self._slots = {
                HostName(name): tuple(SlotName(f"{name}/{index}") for index in range(n)) for name, n in hosts.items()
            }
            for name in self._slots:
                self.hosts.setdefault(name, FakeHost(name))
        self._templates = self._templates if templates is None else {one.name: one for one in templates}
        self._limits = limits or self._limits
        names = {HostName(name) for name in renewed}
        reconfigure(self.world, self.configuration(), names, self.now_s)
        met = (self._slots.keys() - former) | names
        self.turn(*[one for one in self.greetings() if isinstance(one, obs.HostSeen) and one.host in met])

    def _fresh_world(self) -> World:
        found = self.configuration()
        world = World(
            state=State(),
            templates=found.templates,
            limits=found.limits,
            hosts={host.name: host for host in found.hosts},
            identity=self.identity,
        )
        world.hosts_tab = None if self.hosts_table is None else HostsTab()
        world.runs_tab = None if self.runs_table is None else RunsTab()
        self.epoch += 1
        self.journal.append((DaemonStarted(epoch=self.epoch, wall_s=1.7e9), self.now_s))
        for event, _ in self.journal:
            record(world, event, self.now())
        if self.seat is not None:
            self.seat.join(world, self._wake)
        return world

    def _wake(self) -> None:
        self.woken += 1

    def greetings(self) -> list[News]:
        """What reachable hosts say when the daemon connects."""
        return [
            obs.HostSeen(host=host.name, facts=host.facts(), attempts=dict(host.attempts))  # we only look at first
            for host in self.hosts.values()
            if host.is_reachable
        ]

    # --- the loop ------------------------------------------------------------------------------------------------

    def now(self) -> Now:
        return Now(s=self.now_s, wall_s=1.7e9 + self.now_s)

    def turn(self, *news: News) -> Plan:
        """One turn of the daemon: effects are queued, not yet carried out."""
        for one in news:
            if not is_void(self.world, one):
                absorb(self.world, one, self.now_s)
        with nullcontext() if self.seat is None else self.seat.deciding(self.world, self.now_s):
            plan = self._decide()
        assert violations(self.world) == []
        for effect in plan.effects:
            assert effect.key not in self.world.in_flight, "planned while in flight"
            self.world.in_flight[effect.key] = effect
            if isinstance(effect, fx.WriteSheet):
                self.world.last_write_s = self.now_s
                self.world.has_claimed = self.world.has_claimed or effect.write.claim is not None
            self.started.append(effect)
            self.queue.append(effect)
        return plan

    def _decide(self) -> Plan:
        for _ in range(ROUNDS_MAX):
            plan = reconcile(self.world, self.now(), self.chance)
            if not plan.events:
                return plan
            for event in plan.events:
                self.journal.append((event, self.now_s))
                self.hears(event)
                record(self.world, event, self.now())
        raise AssertionError(f"deciding came to no end: {plan.events}")

    def settle(self) -> None:
        """Carry out what is asked for until nothing more is, without any time passing."""
        for _ in range(STEPS_MAX):
            if not self.queue:
                return
            effect = self.queue.pop(0)
            self.meddle(effect)
            news = self.carry_out(effect)
            if self.dies:
                self.restart_daemon()
            else:
                self.turn(news)
        raise AssertionError(f"no end of effects: {self.started[-5:]}")

    def wait(self, seconds: float, step_s: float = 1.0) -> None:
        """Let time pass, turning as often as the daemon would at the least."""
        end_s = self.now_s + seconds
        self.turn()
        self.settle()
        while self.now_s < end_s:
            self.now_s = min(self.now_s + step_s, end_s)
            self.turn()
            self.settle()

    def restart_daemon(self) -> None:
        """Everything in memory is gone; the journal, the sheet and the hosts are as they were."""
        self.world = self._fresh_world()
        self.queue.clear()
        self.dies = False
        self.turn(*self.greetings())

    # --- the world outside ---------------------------------------------------------------------------------------

    def carry_out(self, effect: fx.Effect) -> News:  # noqa: C901 - one kind of effect after another
        match effect:
            case fx.ReadSheet() | fx.WriteSheet() | fx.DressSheet():
                return self._sheet(effect)
            case fx.ReadHostsTab() | fx.WriteHostsTab() | fx.DressHostsTab():
                return self._hosts_tab(effect)
            case fx.ReadRunsTab() | fx.WriteRunsTab() | fx.DressRunsTab():
                return self._runs_tab(effect)
            case fx.PinCode():
                return fx.CodePinned(effect=effect, sha=self.code_hash)
            case fx.Watch():
                return fx.Watching(effect=effect) if self._reaches(effect) else self._silence(effect)
            case fx.Probe():
                if not self._reaches(effect):
                    return self._silence(effect)
                return fx.Probed(effect=effect, seen=self.hosts[effect.host].cards.seen())
            case fx.Launch() | fx.Stop() | fx.HandOver():
                return self._ask_host(effect)
            case fx.TakeOver():
                return self._take_over(effect) if self._reaches(effect) else self._silence(effect)
            case fx.Describe():
                kept = self.hosts[effect.host].kept
                told = {attempt: kept.get(attempt, AttemptKept()) for attempt in effect.attempts}
                return fx.Described(effect=effect, kept=told) if self._reaches(effect) else self._silence(effect)

    def _take_over(self, effect: fx.TakeOver) -> News:
        host = self.hosts[effect.host]
        if effect.epoch < host.epoch:
            return fx.HostRefusedEffect(effect=effect, code="stale_daemon", why="a newer daemon was here")
        host.epoch = effect.epoch
        return fx.TookOver(effect=effect, seen=host.seen())

    def _sheet(self, effect: fx.ReadSheet | fx.WriteSheet | fx.DressSheet) -> News:
        if isinstance(effect, fx.DressSheet):
            if self.dress_error is not None:
                return fx.SheetFailed(effect=effect, why=self.dress_error[0], lasting=self.dress_error[1])
            return fx.Dressed(effect=effect)
        if self.sheet_error is not None:
            why, lasting = self.sheet_error
            return fx.SheetFailed(effect=effect, why=why, lasting=lasting)
        if isinstance(effect, fx.ReadSheet):
            return obs.SheetSeen(grid=self.table.read())
        answer = self.table.write(effect.write)
        if self.loses_answers:
            return fx.SheetFailed(effect=effect, why="the answer was lost", lasting=False)
        return obs.SheetSeen(grid=answer)

    def _hosts_tab(self, effect: fx.TabEffect) -> News:
        assert self.hosts_table is not None, "a tab that nobody wants was asked for"
        if self.hosts_tab_error is not None:
            why, lasting = self.hosts_tab_error
            return fx.HostsTabFailed(effect=effect, why=why, lasting=lasting)
        try:
            answer = self._with_hosts_tab(effect, self.hosts_table)
        except SheetError as error:
            return fx.HostsTabFailed(effect=effect, why=str(error), lasting=isinstance(error, SheetRefused))
        if self.loses_answers and isinstance(effect, fx.WriteHostsTab):
            return fx.HostsTabFailed(effect=effect, why="the answer was lost", lasting=False)
        return fx.HostsTabDone(effect=effect, grid=answer)

    @staticmethod
    def _with_hosts_tab(effect: fx.TabEffect, tab: Sheet) -> Grid | None:
        if isinstance(effect, fx.DressHostsTab):
            tab.dress(effect.dress)
            return None
        return tab.read() if isinstance(effect, fx.ReadHostsTab) else tab.write(effect.write)

    def _runs_tab(self, effect: fx.RunsEffect) -> News:
        assert self.runs_table is not None, "a tab that nobody wants was asked for"
        port = Port(runs_tab=self.runs_table)
        done = carry_out(effect, port)  # type: ignore[arg-type]
        if self.loses_answers and isinstance(effect, fx.WriteRunsTab):
            return fx.RunsTabFailed(effect=effect, why="the answer was lost", lasting=False)
        return done

    def _reaches(self, effect: fx.HostEffect) -> bool:
        """The connection to a host that is not configured any more is closed."""
        return self.hosts[effect.host].is_reachable and effect.host in self.world.hosts

    def _silence(self, effect: fx.HostEffect) -> News:
        return fx.HostSilent(effect=effect, why=f"{effect.host} did not answer")

    def _ask_host(self, effect: fx.Launch | fx.Stop | fx.HandOver) -> News:
        host = self.hosts[effect.host]
        if not self._reaches(effect):
            return self._silence(effect)
        if isinstance(effect, fx.Launch) and host.refusal is not None:
            code, why = host.refusal
            return fx.HostRefusedEffect(effect=effect, code=code, why=why)
        if effect_epoch(self.world, effect) < host.epoch:
            return fx.HostRefusedEffect(effect=effect, code="stale_daemon", why="a newer daemon was here")
        if isinstance(effect, fx.Launch):
            seen = host.launch(effect)
            host.cards.started(effect.attempt, {one.id for one in effect.accelerators})
        elif isinstance(effect, fx.HandOver):
            if host.refuses_params:
                return fx.HostRefusedEffect(effect=effect, code="disk_full", why=host.refuses_params)
            seen = host.hand_over(effect)
        else:
            seen = host.stop(effect.attempt)
            host.cards.ended(effect.attempt)
        return self._silence(effect) if host.loses_replies else fx.HostAnswered(effect=effect, seen=seen)

    def report(self, attempt: str, seen: AttemptSeen) -> None:
        """The host pushes the state of an attempt."""
        id_ = AttemptId(attempt)
        host = next(host for host in self.hosts.values() if id_ in host.attempts)
        host.attempts[id_] = seen
        if seen.state in OVER:
            host.cards.ended(id_)
        self.turn(obs.AttemptReported(host=host.name, attempt=id_, seen=seen))
        self.settle()

    def exits(self, attempt: str, rc: int = 0, **told: object) -> None:
        """The program of an attempt ends, and its host says so."""
        exit_ = Exit(rc=rc)
        self.report(attempt, replace(AttemptSeen(state=Seen.EXITED, exit=exit_), **told))  # type: ignore[arg-type]

    def cut_off(self, name: str) -> None:
        host = self.hosts[HostName(name)]
        host.is_reachable = False
        self.turn(obs.HostUnseen(host=host.name, why="cannot be reached: timed out"))
        self.settle()

    def back(self, name: str) -> None:
        host = self.hosts[HostName(name)]
        host.is_reachable = True
        self.turn(host.seen())
        self.settle()

    def reboot(self, name: str) -> None:
        """Power was lost: what ran there does not run, and the host knows it."""
        host = self.hosts[HostName(name)]
        host.boots += 1
        for id_, seen in host.attempts.items():
            if seen.state is Seen.RUNNING:
                host.attempts[id_] = replace(seen, state=Seen.REBOOTED)
        self.cut_off(name)
        self.back(name)

    # --- looking -------------------------------------------------------------------------------------------------

    @property
    def events(self) -> list[Event]:
        """What was decided, without the starts of daemons."""
        return [event for event, _ in self.journal if not isinstance(event, DaemonStarted)]

    def told(self, kind: type) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]

    def names(self) -> list[str]:
        """The journal as a list of words."""
        return [type(event).__name__ for event in self.events]

    def asked(self, kind: type) -> list[fx.Effect]:
        return [effect for effect in self.started if isinstance(effect, kind)]

    def experiment(self, line: Line) -> Experiment:
        return self.experiment_by(str(line["id"]))

    def experiment_by(self, id_: str) -> Experiment:
        return self.world.state.experiments[ExperimentId(id_)]

    def attempts_started(self) -> list[AttemptId]:
        return [attempt for host in self.hosts.values() for attempt in host.started]

    def row(self, line: Line) -> Row:
        assert self.world.sheet is not None
        return self.world.sheet.rows[self.table.lines.index(line)]
