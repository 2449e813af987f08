"""The invariants I1 to I20, judged from outside: executions, signals, cells and journal as they are.

The truth here is kept by the simulated machines and by the people, never by the code under test. A violation raises at
once, in the words that a person needs.
"""

from __future__ import annotations

import json
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sheetd.core import effect as fx
from sheetd.core import events as ev
from sheetd.core.dependencies import is_done
from sheetd.core.grid import CellValue
from sheetd.core.model import (
    Afterwards,
    AttemptId,
    ExperimentId,
    HostName,
    Phase,
    Proof,
    Reason,
    Spec,
    Value,
    experiment_of,
    row_of,
)
from sheetd.core.settlement import BEGUN_WORDS, ENDED_WORDS
from tests.sim.hosts import ROOT
from tests.sim.jobs import SECRET
from tests.sim.machine import Process
from tests.sim.people import Order
from tests.sim.repeats import Repeats
from tests.sim.sheet import Line
from tests.sim.sweeps import Sweeps

if TYPE_CHECKING:
    from tests.sim.service import Service
    from tests.sim.world import Simulation


class Violation(AssertionError):  # noqa: N818 - of an invariant
    """A promise was broken."""


#: In place of how often it was intended when it ended: a person said that its machine is gone.
GIVEN_UP = -1
#: A mark of an order (`People.mark`).
OVERWRITTEN = "its id was overwritten by a write that met moved rows"


@dataclass
class Execution:
    """One run of a job that really happened."""

    host: str
    process: Process
    k: int
    began: float
    life: int
    #: The number of its shim.
    shim: int
    #: How many intents of its attempt there had been: another journal may give the number again.
    intents: int
    ended: float | None = None
    status: int = 0


@dataclass
class Books:
    """What one journal has said. There are several when a folder was copied or restored."""

    accepted: set[ExperimentId] = field(default_factory=set)
    intents: dict[str, ev.LaunchIntended | ev.AttemptAdopted] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    stops: dict[str, ev.StopIntended] = field(default_factory=dict)
    #: A person has paused these, and nobody has said since that they go on.
    paused: set[ExperimentId] = field(default_factory=set)
    #: The words that were obeyed and have not left their cells since.
    obeyed: dict[ExperimentId, str] = field(default_factory=dict)
    #: Why those that have ended did, and what was given up before it was launched.
    reasons: dict[str, Reason] = field(default_factory=dict)
    withdrawn: set[ExperimentId] = field(default_factory=set)
    #: What is to be executed of each: one that was brought back may know an older one.
    specs: dict[ExperimentId, Spec] = field(default_factory=dict)
    #: It was brought back from a backup, and the sheet had been told of nothing that the backup lacks.
    is_unwitnessed: bool = False


@dataclass
class Ledger:
    """What is known of one experiment, from its journal and from the machines."""

    specs: list[Spec] = field(default_factory=list)
    reopened: int = 0


class Checker:
    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.engine = simulation.engine
        self.ledgers: dict[ExperimentId, Ledger] = {}
        self.by_seed: dict[int, list[ExperimentId]] = defaultdict(list)
        self.books: dict[str, Books] = {}
        #: By whichever journal: what was meant for which host, and what was proven to be over.
        self.intents: dict[str, list[ev.LaunchIntended | ev.AttemptAdopted]] = defaultdict(list)
        #: How many intents there were of an attempt when its end was recorded.
        self.ends: dict[str, int] = {}
        self.executions: dict[str, list[Execution]] = defaultdict(list)
        self.stops: set[str] = set()
        #: Those of which a shim ended before its job was one: of such a run there is no end to tell.
        self.unexecuted: set[str] = set()
        #: Begun by a journal whose end nobody but an unreachable host knew of, when a backup of it intended them again.
        self.unwitnessed: set[ExperimentId] = set()
        #: The rows, by seed, that have shown at any time that they were begun.
        self.shown_begun: set[int] = set()
        #: What the nemesis killed of an attempt, by role, or "machine" where it switched its host off.
        self.harmed: defaultdict[str, set[str]] = defaultdict(set)
        #: Of each attempt what its job was meant to be given, in order, and which of these it has read last.
        self.params: dict[str, list[Mapping[str, Value]]] = defaultdict(list)
        self.read: dict[tuple[str, int], int] = {}
        #: After whom each attempt was to run, by the journal that intended it last.
        self.after: dict[str, tuple[ExperimentId, ...]] = {}
        self.turns = 0
        self.sweeps = Sweeps(self)
        self.repeats = Repeats(self)

    def blame(self, invariant: str, words: str) -> None:
        violation = Violation(f"{invariant}: {words}")
        self.engine.bug = self.engine.bug or violation  # a task under test may not swallow it
        raise violation

    # --- the journal ---------------------------------------------------------------------------------------------

    def recorded(self, service: Service, events: Sequence[ev.Event]) -> None:  # noqa: C901, PLR0912 - one kind of event after another
        for event in events:
            self.engine.log(f"d{service.number} {type(event).__name__} {self._short(event)}")
            books = self._books_of(service)
            if SECRET in repr(event):
                self.blame("I18", f"a secret is in {event}")
            match event:
                case ev.RowAccepted():
                    self.accepted(books, event.experiment, event.spec)
                    books.specs[event.experiment] = event.spec
                    self.repeats.accepted(books, event)
                case ev.SweepExpanded():
                    self.sweeps.expanded(books, event)
                case ev.ExperimentReopened():
                    books.paused.discard(event.experiment)
                    if event.spec is not None:
                        books.specs[event.experiment] = event.spec
                    self._reopened(event)
                case ev.RowRevised():
                    books.specs[event.experiment] = event.spec
                    self._revised(books, event)
                case ev.ExperimentWithdrawn():
                    books.withdrawn.add(event.experiment)
                    books.paused.discard(event.experiment)
                    if event.pauses:
                        books.paused.add(event.experiment)
                case ev.LaunchIntended():
                    self._intended(service, books, event)
                    self._one_name_only(service, event)
                case ev.AttemptAdopted():
                    self._adopted(books, event)
                case ev.AttemptEnded():
                    self._ended(service, books, event)
                case ev.HostActionConsumed():
                    self.simulation.hosts_tab.consumed(event)
                case ev.RowEdited():
                    self._edited(service, event.experiment)
                case ev.ActionConsumed():
                    self._consumed(books, event)
                case ev.ActionCleared() | ev.IdWithdrawn():
                    books.obeyed.pop(event.experiment, None)
                case ev.StopIntended():
                    self._stop_intended(books, event)
                case _:
                    pass

    @staticmethod
    def _short(event: ev.Event) -> str:
        parts = [
            str(getattr(event, name))
            for name in ("attempt", "experiment", "host", "action", "why", "reason", "detail")
            if getattr(event, name, "")
        ]
        return " ".join(parts)[:160]

    def accepted(self, books: Books, id_: ExperimentId, spec: Spec) -> None:
        if id_ in books.accepted:
            self.blame("I8", f"{id_} was accepted twice")
        books.accepted.add(id_)
        if id_ in self.ledgers:
            self.ledgers[id_].specs.append(spec)
            return
        self.ledgers[id_] = Ledger(specs=[spec])
        self._keeps_its_tag(id_, spec)
        seed = int(spec.params["seed"])
        self.by_seed[seed].append(id_)
        orders = self.orders(id_)
        if not orders:
            self.blame("I8", f"{id_} was accepted for a row that nobody typed (seed {seed})")
        if all(not order.is_complete or not order.is_valid for order in orders):
            self.blame("S24", f"{id_} was accepted from a row that was half typed or wrong (seed {seed})")

    def _keeps_its_tag(self, id_: ExperimentId, spec: Spec) -> None:
        """A default is not taken for what a merge of cells shows to people."""
        lost = [order.seed for order in self.orders(id_) if order.has_lost_tag and not order.is_doubtful]
        if lost and spec.params.get("tag") == "":
            self.blame("S15", f"{id_} is to run without the tag of its row, which is inside a merge (seed {lost[0]})")

    def ledger_of(self, id_: ExperimentId) -> Ledger:
        return self.ledgers.setdefault(id_, Ledger())

    def _edited(self, service: Service, id_: ExperimentId) -> None:
        """An edit that the journal knows is no reason for doubt any more, unless it was edited again meanwhile."""
        daemon, column = service.daemon, self.simulation.tab.column("lr")
        view = None if daemon is None else daemon.world.sheet
        row = None if view is None else view.by_id.get(id_)
        if view is not None and row is not None and column is not None:
            for order in self.orders(id_):
                if order.line.get(column) == row.cell(view.layout.position("lr")):
                    order.marks.discard("it was edited")

    def orders(self, id_: ExperimentId) -> list[Order]:
        seeds = {int(spec.params["seed"]) for spec in self.ledgers[id_].specs}
        return [order for order in self.simulation.people.orders.values() if order.seed in seeds]

    def is_doubtful(self, id_: ExperimentId) -> bool:
        orders = self.orders(id_)
        return not orders or any(order.is_doubtful or order.is_disputed for order in orders)

    def _reopened(self, event: ev.ExperimentReopened) -> None:
        ledger = self.ledgers[event.experiment]
        ledger.reopened += 1
        if event.spec is not None:
            ledger.specs.append(event.spec)
            self._keeps_its_tag(event.experiment, event.spec)
        orders = self.orders(event.experiment)
        asked = sum(order.asked[word] for order in orders for word in ("run", "restart", "rerun", "resume"))
        if ledger.reopened > asked and not self.is_doubtful(event.experiment):
            self.blame("I9", f"{event.experiment} was begun again {ledger.reopened} times and asked for {asked} times")

    def _revised(self, books: Books, event: ev.RowRevised) -> None:
        """What it said before is not to run any more, unless another journal says so too."""
        id_ = event.experiment
        begun = [one for one in books.intents if experiment_of(AttemptId(one)) == id_]
        asked = any(order.asked["rerun"] for order in self.orders(id_))
        ledger = self.ledgers[id_]
        old, new = ({**spec.params, "tag": ""} for spec in (ledger.specs[-1], event.spec))
        if begun and old != new and not asked and not self.is_doubtful(id_):
            self.blame("S12", f"{id_} gets other values, and had begun as {begun[-1]}")
        if begun:
            self.params[begun[-1]].append(event.spec.params)
        if not self.is_doubtful(id_) and not begun:
            ledger.specs.clear()
        ledger.specs.append(event.spec)
        self._keeps_its_tag(id_, event.spec)

    def read_params(self, attempt: str, k: int, params: dict[str, Value]) -> None:
        """What a job is given was meant for it, and recorded before; what is older does not come back."""
        id_ = experiment_of(AttemptId(attempt))
        last, meant = self.read.get((attempt, k), 0), self.params[attempt]
        found = [at for at, one in enumerate(meant) if dict(one) == params and at >= last]
        if found:
            self.read[attempt, k] = found[0]
        elif len(self.books) == 1 and not self.is_doubtful(id_):
            self.blame("live", f"{attempt} reads {params}, after number {last} of {meant}")

    def _handed_over(self, line: Line, message: str) -> None:
        """What a row says that its job was given, or something newer, lies there for it."""
        order = self.simulation.people.orders.get(line)
        ids = () if order is None else self.by_seed.get(order.seed, ())
        attempts = [one for one in self.params if experiment_of(AttemptId(one)) in ids and self.executions[one]]
        if len(ids) != 1 or not attempts or len(self.books) > 1 or self.is_doubtful(ids[0]):
            return
        attempt, (tag, _, _) = attempts[-1], message.partition("tag = ")[2].partition(" was handed over")
        if attempt in self.ends or self.harmed[attempt]:
            return
        file = self.executions[attempt][-1].process.machine.find(f"{ROOT}/a/{attempt}/params.json")
        there = json.loads(bytes(file.data))
        tags = [str(params["tag"]) for params in self.params[attempt]]
        if tag not in tags or there["tag"] not in tags[tags.index(tag) :]:
            self.blame("live", f"a row says {message!r}, and {attempt} has {there}")

    def _consumed(self, books: Books, event: ev.ActionConsumed) -> None:
        if event.obeyed and books.obeyed.get(event.experiment) == event.action:
            self.blame("I9", f"{event.action!r} of {event.experiment} was obeyed twice, and stood there all the time")
        books.obeyed[event.experiment] = event.action if event.obeyed else ""

    def _adopted(self, books: Books, event: ev.AttemptAdopted) -> None:
        """It exists, so those before it are over; whoever recorded that did it in another journal."""
        id_, _, number = event.attempt.rpartition(".")
        books.accepted.add(ExperimentId(id_))
        books.intents[event.attempt] = event
        self.intents[event.attempt].append(event)
        books.paused.discard(ExperimentId(id_))
        books.accepted.add(row_of(ExperimentId(id_)))
        self.ledger_of(ExperimentId(id_)).specs.append(event.spec)
        books.specs[ExperimentId(id_)] = event.spec
        self.params[event.attempt] = [event.spec.params]
        for former in (f"{id_}.{n}" for n in range(1, int(number))):
            books.ended.add(former)
            if self.ends.get(former) != GIVEN_UP:
                self._nothing_lives(former, f"I5: {event.attempt} was adopted")
                self.ends[former] = len(self.intents[former])

    def _intended(self, service: Service, books: Books, event: ev.LaunchIntended) -> None:
        attempt = event.attempt
        if attempt in books.intents:
            self.blame("I5", f"{attempt} was intended twice")
        self._excuse(service, books, experiment_of(attempt))
        self.simulation.cards.given(event, books.intents, books.ended)
        self.simulation.neighbour.given(event)
        books.intents[attempt] = event
        spec = books.specs.get(experiment_of(attempt)) or self.ledgers[experiment_of(attempt)].specs[-1]
        self.params[attempt], self.after[attempt] = [spec.params], spec.after
        self.intents[attempt].append(event)
        id_, number = experiment_of(attempt), int(attempt.rpartition(".")[2])
        if id_ in books.paused:
            self.blame("paused", f"{attempt} is to be begun, and nobody has said that {id_} goes on")
        if number > 1:
            former = f"{id_}.{number - 1}"
            if former not in books.ended:
                self.blame("I5", f"{attempt} follows {former}, which has no proof of its end")
            self._nothing_known_lives(service, former, f"I5: {attempt} was intended")
        for other, intent in books.intents.items():
            if other != attempt and intent.host == event.host and set(intent.slots) & set(event.slots):
                if other not in books.ended:
                    self.blame("I4", f"{attempt} gets a slot of {other}, which has not ended")
                # For another machine under the name: the one that is back now refuses its ticket.
                self._nothing_lives(other, f"I4: its slot was given to {attempt}", event.machine)

    def _excuse(self, service: Service, books: Books, id_: ExperimentId) -> None:
        """What the lost end of a journal began: nothing is left that knows.

        Neither the sheet, of which the claim or the row would show it, nor the host, which is silent or another.
        """
        if not books.is_unwitnessed and any(order.seed in self.shown_begun for order in self.orders(id_)):
            return
        seen = self._machines_seen(service)
        for attempt, runs in self.executions.items():
            is_lost = experiment_of(AttemptId(attempt)) == id_ and attempt not in books.intents
            if is_lost and not {f"{run.host} {run.life}" for run in runs} & seen:
                self.unwitnessed.add(id_)

    def _one_name_only(self, service: Service, event: ev.LaunchIntended) -> None:
        """H19: once both names of a machine have answered in one life of it, only the first gets anything."""
        first = self.simulation.second_names.get(event.host)
        if first is None or service.daemon is None:
            return
        hosts = service.daemon.world.hosts
        facts = [hosts[HostName(name)].facts for name in (first, event.host)]
        if facts[0] is not None and facts[0] == facts[1]:
            self.blame("H19", f"{event.attempt} goes to {event.host}, which is {first} under another name")

    def working(self) -> list[Process]:
        """Every process of a job that lives, its children too, wherever it is."""
        machines = (*self.simulation.machines.values(), *self.simulation.elsewhere)
        found = [one for machine in machines for one in machine.processes.values()]
        return [one for one in found if one.role in ("job", "job child") and one.attempt and not one.is_zombie]

    def living(self, attempt: str) -> list[Process]:
        return [one for one in self.working() if one.attempt == attempt]

    def _nothing_lives(self, attempt: str, when: str, machine_id: str = "") -> None:
        """On any machine, or on that with this id."""
        alive = [
            one
            for one in self.living(attempt)
            if not self.may_escape(one) and machine_id in ("", f"{one.machine.name} {one.machine.life}")
        ]
        if alive:
            one = alive[0]
            invariant, _, what = when.partition(": ")
            self.blame(invariant, f"{what} while {one.role} {one.pid} of {attempt} lives on {one.machine.name}")

    def _nothing_known_lives(self, service: Service, attempt: str, when: str) -> None:
        """As above; what a person gave up may live where this daemon has not seen that its machine is back."""
        if experiment_of(AttemptId(attempt)) in self.unwitnessed:
            return
        if self.ends.get(attempt) != GIVEN_UP:
            self._nothing_lives(attempt, when)
            return
        for machine in self._machines_seen(service):
            self._nothing_lives(attempt, when, machine)

    @staticmethod
    def _machines_seen(service: Service) -> set[str]:
        """The machines that answered last under the names of this daemon's hosts."""
        hosts = () if service.daemon is None else service.daemon.world.hosts.values()
        return {host.facts.machine_id for host in hosts if host.facts is not None} - {""}

    def may_escape(self, process: Process) -> bool:
        """What agent.py calls its weakness: it hid, after its supervisor or its shim was killed."""
        return not process.environ and bool(self.harmed[process.attempt])

    def _ended(self, service: Service, books: Books, event: ev.AttemptEnded) -> None:
        attempt = event.attempt
        if attempt in books.ended:
            self.blame("I10", f"the end of {attempt} was recorded twice")
        books.ended.add(attempt)
        books.reasons[attempt] = event.reason
        # What a person gave up may come back with its machine, to a journal that was restored since. Or it is back now.
        is_forced = event.proof is Proof.FORCED_BY_OPERATOR
        self.ends[attempt] = GIVEN_UP if is_forced else len(self.intents[attempt])
        self._nothing_known_lives(service, attempt, "I10: its end was recorded")
        last_stop = books.stops.get(attempt)
        is_wish = last_stop is not None and last_stop.by_person and last_stop.then in (Afterwards.END, Afterwards.PAUSE)
        if last_stop is not None and last_stop.then is Afterwards.PAUSE and event.reason is not Reason.SUCCEEDED:
            books.paused.add(experiment_of(attempt))
        if is_wish and event.relaunch_delay_s is not None:
            self.blame("I9", f"{attempt} was stopped by a person, and is to be launched again")
        runs = self.executions[attempt]
        last = runs[-1] if runs else None
        if event.reason is Reason.SUCCEEDED and (last is None or last.ended is None or last.status != 0):
            self.blame("I10", f"{attempt} is said to have succeeded, and its last run did not")
        if event.reason is Reason.FAILED and last is not None and last.status == 0 and last.ended is not None:
            self.blame("I10", f"{attempt} is said to have failed, and its last run succeeded")
        if event.proof is Proof.FORCED_BY_OPERATOR:
            self._given_up(event)
        elif event.reason is Reason.HOST_LOST and not self.harmed[attempt] and attempt not in self.unexecuted:
            self.blame("I12", f"{attempt} is said to be lost ({event.detail}), and nothing happened to it")
        elif event.proof is Proof.LOST and not self._may_be_lost(attempt):
            self.blame("I12", f"{attempt} is said to be lost ({event.detail}), and its supervisor lived")

    def _may_be_lost(self, attempt: str) -> bool:
        """Whether nobody is left who saw how it ended."""
        return attempt in self.unexecuted or bool(self.harmed[attempt] & {"supervisor", "machine"})

    def _given_up(self, event: ev.AttemptEnded) -> None:
        id_ = experiment_of(event.attempt)
        asked = sum(order.asked[word] for order in self.orders(id_) for word in ("stop", "restart", "rerun", "pause"))
        if not asked and not self.is_doubtful(id_):
            self.blame("I12", f"{event.attempt} was given up ({event.detail}), and nobody wanted that")

    def _stop_intended(self, books: Books, event: ev.StopIntended) -> None:
        books.stops[event.attempt] = event
        id_ = experiment_of(event.attempt)
        orders = self.orders(id_)
        asked = sum(order.asked[word] for order in orders for word in ("stop", "restart", "rerun", "pause"))
        by_command = {id_, row_of(id_)} & self.simulation.cli_stopped
        left_out = "does not ask for it" in event.why and any(order.asked["run"] for order in orders)
        wished = asked or self.is_doubtful(id_) or by_command or left_out
        refused = "refused" in event.why and self.simulation.may_refuse
        lost = "no record" in event.why and self.harmed[event.attempt]
        if not (wished or refused or lost):
            self.blame("I12", f"{event.attempt} is to be stopped ({event.why}), and nobody wanted that")

    def recovered(self, service: Service) -> None:
        """I8 after a start: everything that was ever accepted is there."""
        if service.daemon is not None:
            books = self._books_of(service)
            lost = books.accepted - service.daemon.world.state.experiments.keys()
            if lost:
                self.blame("I8", f"{sorted(lost)} are not in the journal any more")
            gone = [
                a for a in books.intents if experiment_of(AttemptId(a)) in books.accepted and not self._has(service, a)
            ]
            if gone:
                self.blame("I6", f"the intents of {gone} are not in the journal any more")

    def _books_of(self, service: Service) -> Books:
        """A copy begins with what it is a copy of."""
        books = self.books.get(service.lineage)
        if books is not None:
            return books
        books = self.books[service.lineage] = Books()
        if service.daemon is not None:
            state, claim = service.daemon.world.state, self.simulation.tab.claim
            books.is_unwitnessed = claim is not None and claim.events <= state.folded_until(claim.epoch)
            books.obeyed.update((id_, word) for id_, word in state.consumed.items() if id_ not in state.unobeyed)
        known = {} if service.daemon is None else service.daemon.world.state.experiments
        for id_, experiment in known.items():
            books.accepted.add(id_)
            books.specs[id_] = experiment.spec
            if experiment.is_paused:
                books.paused.add(id_)
            elif experiment.phase is Phase.ENDED and not is_done(experiment):
                books.withdrawn.add(id_)
            for attempt in experiment.attempts:
                books.intents[attempt.id] = ev.LaunchIntended(
                    attempt=attempt.id,
                    host=attempt.host,
                    slots=attempt.slots,
                    nonce=attempt.nonce,
                    accelerators=attempt.accelerators,
                )
                if attempt.proof is not None:
                    books.ended.add(attempt.id)
                if attempt.reason is not None:
                    books.reasons[attempt.id] = attempt.reason
        return books

    @staticmethod
    def _has(service: Service, attempt: str) -> bool:
        assert service.daemon is not None
        experiment = service.daemon.world.state.experiments[experiment_of(AttemptId(attempt))]
        return any(one.id == attempt for one in experiment.attempts)

    def trying(self, service: Service, effect: fx.Effect) -> None:
        if isinstance(effect, fx.Launch | fx.Stop):
            if isinstance(effect, fx.Stop):
                self.stops.add(effect.attempt)
            if effect.attempt not in self.intents:
                self.blame("I6", f"{effect.attempt} is asked for on {effect.host} without a recorded intent")
        if isinstance(effect, fx.Launch):
            id_, _, number = effect.attempt.rpartition(".")
            for former in (f"{id_}.{n}" for n in range(1, int(number))):
                self._nothing_known_lives(service, former, f"I1: {effect.attempt} is asked for")

    def turned(self, service: Service) -> None:
        self.turns += 1
        assert service.daemon is not None
        world = service.daemon.world
        if world.halted and "newer daemon" not in world.halted and "another daemon" not in world.halted:
            self.blame("invariants.py", world.halted)
        if len(world.in_flight) > 200 or len(service.inbox) > 5000:
            self.blame("I16", "a queue grows without a bound")

    # --- machines ------------------------------------------------------------------------------------------------

    def executed(self, process: Process, argv: list[str], env: dict[str, str]) -> None:
        attempt, k, host = env["SHEETD_ATTEMPT"], int(env["SHEETD_RESTART"]), process.machine.name
        self.engine.log(f"{host} executes {attempt} run {k} as {process.pid}")
        id_ = experiment_of(AttemptId(attempt))
        for one in self.working():
            is_of_it = one is not process and experiment_of(AttemptId(one.attempt)) == id_
            # A machine that was given up may come back at any moment; what the daemon may do then, `trying` judges.
            is_given_up = GIVEN_UP in (self.ends.get(attempt), self.ends.get(one.attempt)) or id_ in self.unwitnessed
            if is_of_it and not is_given_up and not self.may_escape(one):
                self.blame(
                    "I1",
                    f"{attempt} run {k} starts on {host} while {one.attempt} ({one.role} {one.pid}) lives on {one.machine.name}",  # noqa: E501 - a text that is matched or sent whole
                )
        life, intents = process.machine.life, self._launches_of(attempt)
        if any((run.k, run.life, run.intents) == (k, life, intents) for run in self.executions[attempt]):
            self.blame("I2", f"run {k} of {attempt} was executed twice")
        intents = self.intents.get(attempt)
        if not intents:
            self.blame("I6", f"{attempt} runs on {host}, and no intent of it was recorded")
            return
        intent = self._newest_for(attempt, host)
        if intent is None:
            self.blame("I6", f"{attempt} runs on {host}, and was meant for {intents[-1].host}")
            return
        if self.ends.get(attempt) == len(intents):  # a restored journal may know of none
            self.blame("I10", f"{attempt} is executed after its end was recorded")
        self._right_place(attempt, k, argv, env)
        self._after_its_parents(attempt, host)
        self.simulation.cards.executed(attempt, intent, env)
        here = (one for one in self.working() if one.machine is process.machine and not self.may_escape(one))
        for other in {one.attempt for one in here} - {attempt}:
            held = self._newest_for(other, host)
            if held is not None and set(held.slots) & set(intent.slots):
                self.blame("I4", f"{attempt} starts on a slot that {other} uses")
        self.executions[attempt].append(Execution(host, process, k, self.engine.now, life, process.parent, intents))

    def _after_its_parents(self, attempt: str, host: str) -> None:
        """Each has done its work, and one of them here."""
        parents = self.after[attempt]
        places = set()
        for parent in parents:
            done: set[str] = set()
            for parts in self.sweeps.parts(parent):
                hosts = [self.sweeps.done_on(part) for part in parts]
                done |= set().union(*hosts) if all(hosts) or self.is_doubtful(parent) else set()
            if not done:
                self.blame("after", f"{attempt} runs after {parent}, which has not succeeded")
            places |= done
        if parents and host not in places:
            self.blame("after", f"{attempt} runs on {host}, and what it runs after is on {sorted(places)}")

    def _newest_for(self, attempt: str, host: str) -> ev.LaunchIntended | ev.AttemptAdopted | None:
        """A journal that takes over may give a number again that another one gave with other slots."""
        machine_of = self.simulation.machine_of
        return next((one for one in reversed(self.intents.get(attempt, ())) if machine_of(one.host) == host), None)

    def _launches_of(self, attempt: str) -> int:
        """How often it was meant to be begun; whoever adopts it does not begin it."""
        return sum(isinstance(one, ev.LaunchIntended) for one in self.intents.get(attempt, ()))

    def process_ended(self, process: Process, status: int) -> None:
        if process.role == "shim" and process.pid not in {run.shim for run in self.executions[process.attempt]}:
            self.unexecuted.add(process.attempt)
        for run in self.executions.get(process.attempt, ()):
            if run.process is process and run.ended is None:
                run.ended, run.status = self.engine.now, status

    def _specs_of_backups(self, id_: ExperimentId) -> list[Spec]:
        """What a restored journal knows of a row that was revised after it was made (seed 900967)."""
        if not self.simulation.is_disputed:
            return []
        return [books.specs[id_] for books in self.books.values() if id_ in books.specs]

    def _right_place(self, attempt: str, k: int, argv: list[str], env: dict[str, str]) -> None:
        id_, _, number = attempt.rpartition(".")
        ledger = self.ledgers[ExperimentId(id_)]
        accepted = [*ledger.specs, *self._specs_of_backups(ExperimentId(id_))]
        if not any(argv in (list(spec.argv), list(spec.resume_argv)) for spec in accepted):
            self.blame("I11", f"{attempt} executes {argv}, which was never accepted")
        if not env["CHECKPOINT_DIR"].endswith(f"/{id_}/checkpoints/a{number}"):
            self.blame("I15", f"{attempt} writes its checkpoints to {env['CHECKPOINT_DIR']}")
        wanted = SECRET if ledger.specs[-1].secrets else None
        if any(SECRET in word for word in argv) or env.get("TOKEN") != wanted:
            self.blame("I18", f"the secret of {attempt} is in its argv, or not in its environment")
        policy = ledger.specs[-1].restarts
        if k > policy.max:
            self.blame("I17", f"{attempt} is restarted {k} times; its budget is {policy.max}")
        runs = self.executions[attempt]
        if k and runs and runs[-1].k == k - 1 and runs[-1].ended is not None:
            gap = self.engine.now - runs[-1].ended
            self._is_patient(attempt, gap, policy.backoff_s)

    def _is_patient(self, attempt: str, gap: float, backoff: float) -> None:
        if gap < backoff * 0.9:
            self.blame("I17", f"{attempt} is restarted {gap:.2f} s after its crash")

    def signalled(self, sender: Process | None, target: Process, number: int) -> None:
        if sender is None:
            return
        if target.is_foreign or not target.attempt:
            self.blame(
                "I13",
                f"{sender.role} {sender.pid} of {sender.attempt} signals {target.role} {target.pid}, which is not ours",
            )
        if target.role in ("job", "job child", "shim") and target.attempt != sender.attempt:
            self.blame("I13", f"the {sender.role} of {sender.attempt} signals {target.role} of {target.attempt}")
        if target.role == "job" and target.attempt not in self.stops and not self.harmed[target.attempt]:
            self.blame("I12", f"the job of {target.attempt} gets signal {number}, and nobody asked for its stop")

    # --- all the time --------------------------------------------------------------------------------------------

    def step(self) -> None:
        simulation = self.simulation
        if simulation.tab.blame:
            self.blame("I7", simulation.tab.blame[0])
        simulation.hosts_tab.step()
        simulation.runs_tab.step()
        if simulation.api.blame:
            self.blame("I16", simulation.api.blame[0])
        for machine in simulation.machines.values():
            if machine.complaints:
                words = machine.complaints[0]
                self.blame("I14" if words.startswith("I14") else "agent", words)
        for line, column, value in simulation.tab.written:
            if column is simulation.tab.column("id"):
                self._id_written(line, value)
            if column is simulation.tab.column("message") and " was handed over to it" in str(value):
                self._handed_over(line, str(value))
            if column is simulation.tab.column("status") and value in BEGUN_WORDS | ENDED_WORDS:
                self.shown_begun |= {order.seed for at, order in simulation.people.orders.items() if at is line}
            if isinstance(value, str) and (
                value[:1] in ("=", "+", "@")
                or SECRET in value
                or any(unicodedata.category(sign) in ("Cc", "Cf", "Cs") for sign in value)
            ):
                self.blame("I18", f"{value!r} was written into {column.header}")
        simulation.tab.written.clear()

    def _id_written(self, line: Line, value: CellValue) -> None:
        """An id that landed in a row that moved: the other row's own is gone until the daemon has seen that."""
        order = self.simulation.people.orders.get(line)
        ids = () if order is None else self.by_seed.get(order.seed, ())
        if order is None or not ids:
            return
        if value in ids:
            order.marks.discard(OVERWRITTEN)
        elif value:
            self.simulation.people.mark(order, OVERWRITTEN)

    def cells_of_people(self) -> None:
        for line, order in self.simulation.people.orders.items():
            for column, held in line.mine.items():
                if column in self.simulation.tab.columns and not column.is_owned and line.get(column) != held:
                    self.blame(
                        "I7",
                        f"{column.header} of row {order.seed} was {held.shown!r} and is {line.get(column).shown!r}",
                    )
