"""The simulator in CI: a bounded number of seeds, every single fault, and that it can be trusted.

`python -m tests.sim --seeds 0..999 --jobs 2` runs more.
"""

from __future__ import annotations

import pytest

from tests.sim.catalogue import INJECTED, README, REASONS, ids, with_table
from tests.sim.exhaustive import SCENARIOS, WHO, run_case, setting_of
from tests.sim.faults import PEOPLE
from tests.sim.jobs import Fate
from tests.sim.world import Report, Setting, Simulation, simulate

#: In blocks, so that they are shared out among the workers.
SEEDS, BLOCK = 600, 50


def fine(report: Report) -> None:
    words = "\n".join(["", report.violation, *report.last[-30:], f"python -m tests.sim --seed {report.seed}"])
    assert not report.violation, words


@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_no_promise_is_broken_under_any_faults(first: int) -> None:
    for seed in range(first, first + BLOCK):
        fine(simulate(Setting(seed)))


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("number", range(len(SCENARIOS)), ids=[scenario.__name__ for scenario in SCENARIOS])
def test_no_single_fault_breaks_a_promise(number: int, who: str) -> None:
    counted = simulate(setting_of(number)).boundaries.get(who, 0)
    assert counted > 0
    for at in range(counted):
        setting = setting_of(number)
        setting.crash_who, setting.crash_at = who, at
        report = run_case(setting)
        assert not report.violation, "\n".join([report.violation, *report.last[-30:]])


def test_the_same_seed_is_the_same_run() -> None:
    for seed in range(20):
        one, other = simulate(Setting(seed)), simulate(Setting(seed))
        assert (one.hash, one.steps, one.faults) == (other.hash, other.steps, other.faults)


def test_a_host_that_cannot_be_reached_for_a_day_costs_nothing() -> None:
    """Twenty-five unreachable times in nineteen hours over a healthy job (skypilot #10155)."""
    said: list[str] = []

    def script(simulation: Simulation) -> None:
        people, engine = simulation.people, simulation.engine
        simulation.tab.lines.clear()
        people.type_row()
        people.fates[1] = Fate(seconds=19 * 3600.0)
        network = simulation.networks[next(iter(simulation.networks))]
        networks = list(simulation.networks.values())
        assert network in networks

        def cut(is_cut: bool) -> None:
            for one in networks:
                one.is_cut = is_cut

        def look() -> None:
            (order,) = people.orders.values()
            cells = [order.line.get(column).shown for column in simulation.tab.columns]
            said.append(f"{cells[7]}: {cells[8]}")

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


def test_the_table_in_the_readme_is_up_to_date() -> None:
    text = README.read_text(encoding="utf-8")
    assert text == with_table(text), "python -m tests.sim.catalogue writes it"
