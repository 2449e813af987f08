"""Cards of simulated machines: which have any, what jobs do with them, what befalls them, and I4 by their own truth.

What a host says of its cards is the shipped agent's word; what is true of them is kept here and in `machine.Card`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sheetd.core import events as ev
from sheetd.core.template import Template
from tests.sim.machine import Card, Machine, Process

if TYPE_CHECKING:
    from tests.sim.world import Simulation

MODELS = (("NVIDIA A100-SXM4-80GB", 81920), ("NVIDIA RTX A5000", 24564))
#: Somebody who was there for so long when a card was given away must have been seen: two samples, a word of at most
#: fifteen seconds, and its way here.
SEEN_AFTER_S = 40.0
JOB_MB, FOREIGN_MB = 2000, 20000


class Cards:
    """Everything about cards in one run. `is_any` is False in half of the runs: hosts of plain slots are the others."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.engine = simulation.engine
        chance = self.engine.stream("cards")
        self.counts: dict[str, list[tuple[str, int]]] = {}
        wanted = simulation.setting.cards
        is_any = chance.random() < 0.5 if wanted is None else bool(wanted)
        for name in simulation.slots:
            count = chance.randrange(0, 4) if wanted is None else wanted
            self.counts[name] = [chance.choice(MODELS) for _ in range(count)] if is_any else []
        self.asks = self._draw_asks()
        #: Since when somebody else has had a card, and who.
        self.foreign: dict[str, tuple[Process, float]] = {}

    @property
    def is_any(self) -> bool:
        return any(self.counts.values())

    def _draw_asks(self) -> dict[str, Any]:
        """What the template asks for: never more than some host can give."""
        chance = self.engine.stream("cards asked for")
        most = max([len(models) for models in self.counts.values()], default=0)
        asks: dict[str, Any] = {"share": chance.choice([1, 1, 2, 3])} if self.is_any else {}
        if most >= 2 and chance.random() < 0.3:
            asks["slots"] = 2
        elif self.is_any and chance.random() < 0.3:
            asks["memory_gb"] = 20.0
        return asks

    def templates(self, templates: Mapping[str, Template]) -> dict[str, Template]:
        return {name: replace(template, **self.asks) for name, template in templates.items()}

    def put_into(self, machine: Machine) -> None:
        machine.cards = [
            Card(f"GPU-{machine.name}-{number}", model, memory_mb)
            for number, (model, memory_mb) in enumerate(self.counts[machine.name])
        ]

    # --- jobs ----------------------------------------------------------------------------------------------------

    def use(self, process: Process, env: Mapping[str, str]) -> None:
        """A job computes on what it was given, and on nothing else."""
        visible = [one for one in env.get("CUDA_VISIBLE_DEVICES", "").split(",") if one]
        for card in process.machine.cards:
            if card.uuid in visible:
                card.users[process.pid] = JOB_MB

    # --- what befalls them ---------------------------------------------------------------------------------------

    def events(self) -> dict[str, Callable[[], None]]:
        if not self.is_any:
            return {}
        return {"D10": self.lose, "D11": self.need_reset, "D12": self.hang, "D13": self.come_and_go}

    def _card(self) -> tuple[Machine, Card] | None:
        there = [(machine, card) for machine in self.simulation.machines.values() for card in machine.cards]
        return self.simulation.nemesis.chance.choice(there) if there else None

    def lose(self) -> None:
        """A card falls off the bus."""
        if found := self._card():
            found[1].is_lost = True
            self.simulation.nemesis.for_a_while(lambda: vars(found[1]).update(is_lost=False))

    def need_reset(self) -> None:
        if found := self._card():
            found[1].needs_reset = True
            self.simulation.nemesis.for_a_while(lambda: vars(found[1]).update(needs_reset=False))

    def hang(self) -> None:
        """nvidia-smi does not answer, and cannot be killed."""
        if found := self._card():
            machine = found[0]
            machine.smi_hangs = True
            self.simulation.nemesis.for_a_while(lambda: vars(machine).update(smi_hangs=False))

    def come_and_go(self) -> None:
        """Somebody who has never heard of sheetd computes on a card for a while."""
        found = self._card()
        if found is None or not found[0].is_up:
            return
        machine, card = found
        if card.uuid not in self.foreign or self.foreign[card.uuid][0].is_zombie:
            self.take(machine, card)

    def take(self, machine: Machine, card: Card, since: float | None = None, seconds: float | None = None) -> None:
        """Somebody computes on the card from now on; `since` is from when on that should have been seen."""
        person = machine.foreign()
        card.users[person.pid] = FOREIGN_MB
        self.foreign[card.uuid] = (person, self.engine.now if since is None else since)
        self.engine.log(f"somebody takes {card.uuid}")
        self.simulation.nemesis.for_a_while(lambda: machine.end(person, 0), seconds)

    def somebody_is_there(self) -> None:
        """From before the daemon first looks: whoever takes these cards cannot say that it did not know."""
        chance = self.engine.stream("D13 from the beginning")
        for machine in self.simulation.machines.values() if "D13" in self.simulation.kinds else ():
            for card in machine.cards:
                if chance.random() < 0.6:
                    self.engine.fault("D13 somebody is there", card.uuid)
                    self.take(machine, card, since=-1000.0, seconds=chance.choice([20.0, 120.0, 400.0]))

    # --- I4 ------------------------------------------------------------------------------------------------------

    def given(self, event: ev.LaunchIntended, others: Mapping[str, ev.LaunchIntended], ends: Mapping[str, Any]) -> None:
        """Called with each intent, before it is among the others."""
        blame = self.simulation.checker.blame
        for one in event.accelerators:
            rivals = [
                (other.attempt, mine.share)
                for other in others.values()
                if other.attempt != event.attempt and other.host == event.host and other.attempt not in ends
                for mine in other.accelerators
                if mine.id == one.id
            ]
            alone = one.share is None or any(share is None for _, share in rivals)
            if rivals and (alone or len(rivals) >= self.asks["share"]):
                blame("I4", f"{event.attempt} gets {one.id}, which {[name for name, _ in rivals]} have")
            person, since = self.foreign.get(one.id, (None, 0.0))
            there_for = self.engine.now - since
            if person is None or person.is_zombie or there_for < SEEN_AFTER_S:
                continue
            if person.machine is not self.simulation.machines[self.simulation.machine_of(event.host)]:
                continue  # the name leads to another machine, which has a card of that number too (seed 1279)
            if "M10" not in self.simulation.kinds:  # a daemon that was asleep cannot tell how old a word is
                blame("I4", f"{event.attempt} gets {one.id}, which somebody else has had for {there_for:.0f} s")

    def executed(self, attempt: str, intent: ev.LaunchIntended, env: Mapping[str, str]) -> None:
        """A job must see what was meant for it, and nothing that is another's."""
        visible = {one for one in env.get("CUDA_VISIBLE_DEVICES", "").split(",") if one}
        meant = {one.id for one in intent.accelerators}
        if visible != meant:
            self.simulation.checker.blame("I4", f"{attempt} may use {sorted(visible)}, and {sorted(meant)} were meant")

    # --- the operator --------------------------------------------------------------------------------------------

    def operator_comes(self) -> None:
        """Now and then somebody drains a host, resumes or tests it; at the end every host is resumed."""
        chance = self.engine.stream("operator")
        if chance.random() < 0.5:
            self.engine.at(chance.expovariate(1.0 / 100.0), self._operate)

    def _operate(self) -> None:
        chance = self.engine.stream("operator")
        if not self.simulation.is_calm[0]:
            self.ask(chance.choice(["drain", "resume", "resume", "retest"]), chance.choice(list(self.counts)))
            self.engine.at(chance.expovariate(1.0 / 100.0), self._operate)

    def ask(self, action: str, host: str) -> None:
        service = self.simulation.service
        if service.is_dead or service.daemon is None or service.journal is None:
            return
        self.engine.log(f"somebody asks for {action} of {host}")
        service.journal.real.add_request(action, host)
        service.daemon._check_requests = True
        service.post(None)

    def resume_all(self) -> None:
        for name in self.counts:
            self.ask("resume", name)
