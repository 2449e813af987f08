"""Every single fault: each scenario is run once for each boundary at which somebody can die or something can be lost.

The boundaries are counted in a run without a fault: kills of the daemon around each append and effect, kills of an
agent, supervisor, launcher or shim before each system call that changes something, each request of the API that gets
no answer, and each answer of an agent that is lost. For single faults this is complete, not a sample.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from tests.sim.jobs import Fate
from tests.sim.people import Order
from tests.sim.world import Report, Setting, Simulation, simulate

WHO = ("daemon", "host", "sheet", "answer")


def rows(simulation: Simulation, *fates: Fate) -> list[Order]:
    """Rows that are typed at the beginning."""
    people = simulation.people
    simulation.tab.lines.clear()
    for fate in fates:
        people.type_row()
        people.fates[people.count] = fate
    return list(people.orders.values())


def later(simulation: Simulation, seconds: float, order: Order, word: str) -> None:
    def act() -> None:
        order.asked[word] += 1
        simulation.people.put(order.line, action=word)

    simulation.engine.at(seconds, act)


def succeeds(simulation: Simulation) -> None:
    rows(simulation, Fate(seconds=4.0))


def crashes_and_is_restarted(simulation: Simulation) -> None:
    rows(simulation, Fate(seconds=2.0, crashes=1), Fate(seconds=1.0, crashes=99))


def is_stopped(simulation: Simulation) -> None:
    (order,) = rows(simulation, Fate(seconds=100.0, ignores_term=True, children=1))
    later(simulation, 20.0, order, "stop")


def is_restarted_by_its_action(simulation: Simulation) -> None:
    (order,) = rows(simulation, Fate(seconds=30.0))
    later(simulation, 20.0, order, "restart")


def is_paused_and_resumed(simulation: Simulation) -> None:
    (order,) = rows(simulation, Fate(seconds=30.0, children=1))
    later(simulation, 15.0, order, "pause")
    later(simulation, 25.0, order, "resume")


def live_parameter_is_edited(simulation: Simulation) -> None:
    """Twice, the second time for what is just handed over, and then once more as what was there at first."""
    (order,) = rows(simulation, Fate(seconds=30.0))
    for seconds, tag in ((12.0, "one"), (18.0, "two"), (24.0, "")):
        simulation.engine.at(seconds, partial(simulation.people.hand, order, tag))


def is_run_again(simulation: Simulation) -> None:
    (order,) = rows(simulation, Fate(seconds=2.0))
    later(simulation, 25.0, order, "rerun")


def row_is_deleted(simulation: Simulation) -> None:
    (order,) = rows(simulation, Fate(seconds=100.0))

    def delete() -> None:
        simulation.tab.lines.remove(order.line)
        order.is_deleted = order.is_doubtful = True
        simulation.tab.changed()

    simulation.engine.at(20.0, delete)


def rows_are_sorted_and_queue(simulation: Simulation) -> None:
    rows(simulation, *[Fate(seconds=3.0) for _ in range(4)])
    for second in (6.0, 8.0, 10.0):
        simulation.engine.at(second, simulation.people.sort)


def several_runs_and_then_one_more(simulation: Simulation) -> None:
    """A row of two runs, of which it is edited to ask for a third one."""
    (order,) = rows(simulation, Fate(seconds=3.0))
    simulation.people.put(order.line, lr="{0.1 | 0.2}", repeat=None, after=None)

    def edit() -> None:
        simulation.people.put(order.line, lr="{0.5|0.2 | 0.1}")

    simulation.engine.at(22.0, edit)
    later(simulation, 26.0, order, "run")


def host_loses_power(simulation: Simulation) -> None:
    rows(simulation, Fate(seconds=40.0), Fate(seconds=2.0))
    simulation.engine.at(20.0, simulation.nemesis.cut_power)


def somebody_uses_the_card(simulation: Simulation) -> None:
    """From before the daemon first looks, and for a while: the row waits, and gets it when they are gone for good."""
    rows(simulation, Fate(seconds=4.0))
    (machine,) = simulation.machines.values()
    simulation.cards.take(machine, machine.cards[0], since=-1000.0, seconds=30.0)


def two_share_a_host_with_somebody(simulation: Simulation) -> None:
    """Three rows on two cards; somebody comes to the second one while the first is at work."""
    rows(simulation, Fate(seconds=10.0), Fate(seconds=4.0), Fate(seconds=4.0))
    (machine,) = simulation.machines.values()
    simulation.engine.at(2.0, lambda: simulation.cards.take(machine, machine.cards[1], seconds=25.0))


SCENARIOS: tuple[Callable[[Simulation], None], ...] = (
    succeeds,
    crashes_and_is_restarted,
    is_stopped,
    is_restarted_by_its_action,
    is_run_again,
    row_is_deleted,
    rows_are_sorted_and_queue,
    host_loses_power,
    somebody_uses_the_card,
    two_share_a_host_with_somebody,
    several_runs_and_then_one_more,
    is_paused_and_resumed,
    live_parameter_is_edited,
)
#: How many cards the one host of a scenario has. The others have plain slots.
CARDS = {somebody_uses_the_card: 1, two_share_a_host_with_somebody: 2}


def setting_of(number: int) -> Setting:
    script = SCENARIOS[number]
    return Setting(
        seed=1000 + number,
        kinds=set(),
        duration=35.0,
        quiet_s=40.0,
        rows=4,
        hosts=1 if script in CARDS else None,
        cards=CARDS.get(script, 0),
        script=script,
        crash_who="nobody",
        crash_at=0,
    )


def cases() -> Iterator[Setting]:
    for number in range(len(SCENARIOS)):
        setting = setting_of(number)
        counted = simulate(setting)
        if counted.violation:
            raise AssertionError(f"{SCENARIOS[number].__name__} without any fault: {counted.violation}")
        for who in WHO:
            yield from (replace(setting, crash_who=who, crash_at=at) for at in range(counted.boundaries.get(who, 0)))


def run_case(setting: Setting) -> Report:
    report = simulate(setting)
    report.replay = f"--case '{setting.seed - 1000} {setting.crash_who} {setting.crash_at}'"
    if report.violation:
        name = setting.script.__name__ if setting.script else ""
        report.violation = f"{name}, {setting.crash_who} at boundary {setting.crash_at}: {report.violation}"
    return report


def run_exhaustive(jobs: int) -> Iterator[Report]:
    if jobs == 1:
        yield from map(run_case, cases())
        return
    with multiprocessing.get_context("fork").Pool(jobs, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        yield from pool.imap_unordered(run_case, cases(), chunksize=8)
