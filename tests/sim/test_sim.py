"""The simulator in CI: a bounded number of seeds, every single fault, and that it can be trusted.

`python -m tests.sim --seeds 0..999 --jobs 2` runs more.
"""

from __future__ import annotations

import re

import pytest

from tests.sim import faults, jobs
from tests.sim.catalogue import INJECTED, README, REASONS, WITH_OTHERS, ids, with_table
from tests.sim.engine import Engine
from tests.sim.exhaustive import SCENARIOS, WHO, run_case, setting_of
from tests.sim.faults import KINDS, PEOPLE, draw_kinds
from tests.sim.hosts import Connection
from tests.sim.jobs import Fate
from tests.sim.summary import tell
from tests.sim.world import Report, Setting, Simulation, simulate

#: In blocks, small enough that the workers have something to do until the end.
SEEDS, BLOCK = 1000, 20


def fine(report: Report) -> None:
    assert not report.violation, "\n" + tell(report, 30)


def parts() -> list[object]:
    """Agents, supervisors and shims die at most places: these are shared out among the workers."""
    return [
        pytest.param(number, who, part, of, id=f"{scenario.__name__}-{who}-{part}")
        for number, scenario in enumerate(SCENARIOS)
        for who in WHO
        for of in [5 if who == "host" else 1]
        for part in range(of)
    ]


@pytest.mark.parametrize(("number", "who", "part", "of"), parts())
def test_no_single_fault_breaks_a_promise(number: int, who: str, part: int, of: int) -> None:
    counted = simulate(setting_of(number)).boundaries.get(who, 0)
    assert counted > 0
    for at in range(part, counted, of):
        setting = setting_of(number)
        setting.crash_who, setting.crash_at = who, at
        fine(run_case(setting))


@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_no_promise_is_broken_under_any_faults(first: int) -> None:
    for seed in range(first, first + BLOCK):
        fine(simulate(Setting(seed)))


def test_the_same_seed_is_the_same_run() -> None:
    for seed in range(10):
        one, other = simulate(Setting(seed)), simulate(Setting(seed))
        assert (one.hash, one.steps, one.faults) == (other.hash, other.steps, other.faults)


def test_a_host_that_cannot_be_reached_for_a_day_costs_nothing() -> None:
    """Twenty-five unreachable times in nineteen hours over a healthy job (skypilot #10155)."""
    said: list[str] = []

    def script(simulation: Simulation) -> None:
        people, engine = simulation.people, simulation.engine
        simulation.tab.lines.clear()
        people.type_row()
        people.put(next(iter(people.orders)), lr=0.1, repeat=None, after=None)  # one run, whatever was drawn
        people.fates[1] = Fate(seconds=19 * 3600.0)
        network = simulation.networks[next(iter(simulation.networks))]
        networks = list(simulation.networks.values())
        assert network in networks

        def cut(is_cut: bool) -> None:
            for one in networks:
                one.is_cut = is_cut

        def look() -> None:
            (order,) = people.orders.values()
            cells = {column.header: order.line.get(column).shown for column in simulation.tab.columns}
            said.append(f"{cells['status']}: {cells['message']}")

        for time in range(25):
            engine.at(600.0 + time * 2700.0, lambda: cut(True))
            engine.at(1100.0 + time * 2700.0, look)
            engine.at(1200.0 + time * 2700.0, lambda: cut(False))

    setting = Setting(seed=1, kinds=set(), duration=19.5 * 3600.0, rows=1, script=script)
    report = simulate(setting)
    fine(report)
    assert report.executions == 1
    assert len(said) == 25
    for words in said:
        assert words.startswith("unreachable: "), words
        assert "presumed running, nothing is started elsewhere" in words


def test_when_every_host_vanishes_at_once_the_rows_put_it_down_to_our_own_network() -> None:
    said: list[str] = []

    def script(simulation: Simulation) -> None:
        people, engine = simulation.people, simulation.engine
        simulation.tab.lines.clear()
        people.type_row()
        people.put(next(iter(people.orders)), lr=0.1, repeat=None, after=None)  # one run, whatever was drawn
        people.fates[1] = Fate(seconds=4000.0)

        def look() -> None:
            (order,) = people.orders.values()
            said.append(order.line.get(simulation.tab.column("message")).shown)

        engine.at(300.0, look)
        engine.at(301.0, lambda: simulation.nemesis.cut_all_networks(seconds=200.0))
        engine.at(400.0, look)
        engine.at(700.0, look)

    report = simulate(Setting(seed=1, kinds=set(), duration=1000.0, rows=1, hosts=3, script=script))
    fine(report)
    assert report.executions == 1
    before, meanwhile, after = said
    assert "3 of 3 hosts vanished within 30 s: probably this machine's own network" in meanwhile
    assert "presumed running, nothing is started elsewhere" in meanwhile
    assert "vanished" not in before + after


def test_one_machine_under_two_names_is_used_under_one() -> None:
    """As many seeds as it takes for both names to be tempting: faults change which of them answers first."""
    for seed in range(40):
        fine(simulate(Setting(seed, kinds={"H19", "H6", "M1"})))


def test_every_fault_of_the_catalogue_is_injected_or_has_a_reason() -> None:
    assert len(ids()) == 120
    assert not set(ids()) - INJECTED.keys() - REASONS.keys()
    assert not INJECTED.keys() & REASONS.keys()
    assert len(INJECTED) >= 80
    assert set(PEOPLE) <= INJECTED.keys()


def test_every_injector_of_the_catalogue_exists() -> None:
    simulation = Simulation(Setting(0))
    rooms: dict[str, object] = {
        "Cards": simulation.cards,
        "Connection": Connection,
        "Files": simulation.files,
        "Machine": simulation.machines["alpha"],
        "Nemesis": simulation.nemesis,
        "Network": simulation.networks["alpha"],
        "People": simulation.people,
        "Service": simulation.service,
        "Simulation": simulation,
        "faults": faults,
        "jobs": jobs,
    }
    for one, words in INJECTED.items():
        for name in re.sub(r"\(.*?\)", "", words).split(","):
            room, *path = name.strip().split(".")
            found = rooms[room]
            for part in path:
                assert hasattr(found, part), f"{one}: there is no {name.strip()}"
                found = getattr(found, part)
            if found is faults.RATES:
                assert one in {kind for kind, _ in faults.RATES.values()}, f"{one} has no rate"
    simulation.close()


def test_every_fault_that_can_be_injected_is_really_injected() -> None:
    """What is missing is enabled beside what a seed enables: with everything enabled some never come to it."""
    missing = {one for one in INJECTED if one not in WITH_OTHERS}
    for seed in range(100):
        kinds = draw_kinds(Engine(seed).stream("kinds")) | missing & set(KINDS)
        missing -= {name.partition(" ")[0] for name in simulate(Setting(seed, kinds=kinds)).faults}
        if not missing:
            return
    pytest.fail(f"never injected: {' '.join(sorted(missing))}")


def test_the_table_in_the_readme_is_up_to_date() -> None:
    text = README.read_text(encoding="utf-8")
    assert text == with_table(text), "python -m tests.sim.catalogue writes it"
