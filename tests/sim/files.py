"""sheetd.toml and the templates in the simulator: an operator edits them while daemons run (M15).

A daemon takes an edit up a few seconds later, as `sheetd/reloading.py` does with files; reading them is tested beside
it. A file with a mistake is not taken up, and keeps a daemon from being started.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from sheetd.core.configuration import Configuration
from sheetd.core.model import HostName, SlotName
from sheetd.core.redaction import Redactor
from sheetd.core.world import HostView
from sheetd.ports import Host, Route
from tests.sim.jobs import SECRET

if TYPE_CHECKING:
    from tests.sim.world import Simulation

#: Until two looks in a row have seen the same.
LOOKS_S = (0.3, 4.0)


class Files:
    """What is saved at the moment."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.engine = simulation.engine
        self.slots = dict(simulation.slots)
        self.templates = dict(simulation.templates)
        #: How often each host was given another way, or another place.
        self.ways = dict.fromkeys(self.slots, 0)
        self.places = dict.fromkeys(self.slots, 0)
        self.gone: set[str] = set()
        self.is_broken = False

    def configuration(self) -> Configuration:
        hosts = tuple(
            HostView(
                name=HostName(name),
                slots=tuple(SlotName(f"{name}/{i}") for i in range(slots)),
                labels=frozenset({"gpu"}),
                looks=bool(self.simulation.machines[self.simulation.machine_of(name)].cards),
                cooldown_s=30.0,
            )
            for name, slots in self.slots.items()
            if name not in self.gone
        )
        return Configuration(
            templates=dict(self.templates),
            limits=self.simulation.limits,
            hosts=hosts,
            redactor=Redactor.of([SECRET]),
        )

    def routes(self, open_host: Callable[[str], Host]) -> dict[HostName, Route]:
        return {
            HostName(name): Route(
                place=str(self.places[name]), way=self.ways[name], adapter=lambda name=name: open_host(name)
            )
            for name in self.slots
            if name not in self.gone
        }

    def saved(self) -> None:
        """Whatever daemon runs finds out."""
        self.engine.at(self.engine.stream("M15 looks").uniform(*LOOKS_S), self._looked)

    def _looked(self) -> None:
        if not self.is_broken:
            for service in self.simulation.services:
                service.reload()

    # --- the operator --------------------------------------------------------------------------------------------

    def edit_files(self) -> None:
        """One edit. What must not stay so is put right by and by, and when the faults are over."""
        acts = [self.take_host_out, self.take_host_out, self.change_slots, self.go_another_way, self.move]
        acts += [self.change_template, self.take_template_out, self.save_a_mistake]
        chance = self.engine.stream("nemesis M15")
        act = chance.choice(acts)
        self.engine.log(f"the operator edits: {act.__name__.replace('_', ' ')}")
        act()
        self.saved()

    def take_host_out(self) -> None:
        """Never one with a second name: whoever stops what runs there would still hear of it by the other."""
        names = self.simulation.second_names
        left = [name for name in self.slots if name not in self.gone and name not in {*names, *names.values()}]
        if len(self.slots) - len(self.gone) > 1 and left:
            name = self.engine.stream("nemesis M15").choice(left)
            self.gone.add(name)
            self._for_a_while(lambda: self.gone.discard(name))

    def change_slots(self) -> None:
        chance = self.engine.stream("nemesis M15")
        self.slots[chance.choice(list(self.slots))] = chance.randrange(1, 4)

    def go_another_way(self) -> None:
        self.ways[self.engine.stream("nemesis M15").choice(list(self.ways))] += 1

    def move(self) -> None:
        """The agent's folder is another one by the file, and nobody may move while something runs in the former."""
        self.places[self.engine.stream("nemesis M15").choice(list(self.places))] += 1

    def change_template(self) -> None:
        chance = self.engine.stream("nemesis M15")
        name = chance.choice(list(self.templates))
        template = self.templates[name]
        tag = replace(template.params["tag"], default=chance.choice(["", "a", "b"]))
        self.templates[name] = replace(
            template, params={**template.params, "tag": tag}, grace_s=chance.choice([1.0, 5.0, 10.0])
        )

    def take_template_out(self) -> None:
        if len(self.templates) > 1:
            name = self.engine.stream("nemesis M15").choice(list(self.templates))
            template = self.templates.pop(name)
            self._for_a_while(lambda: self.templates.setdefault(name, template))

    def save_a_mistake(self) -> None:
        self.is_broken = True
        self._for_a_while(lambda: vars(self).update(is_broken=False))

    def _for_a_while(self, put_right: Callable[[], object]) -> None:
        def mend() -> None:
            put_right()
            self.saved()

        self.simulation.nemesis.for_a_while(mend)
