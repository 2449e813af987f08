"""What every clock, and every source of chance, promises: `ports.Clock` and `core.plan.Chance`."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from sheetd.clock import SystemChance, SystemClock
from sheetd.core.plan import Chance
from sheetd.ports import Clock
from tests.daemon.fakes import FakeChance, FakeClock
from tests.rig.waiting import wait_for
from tests.sim.service import SimChance, SimClock
from tests.sim.world import Setting, Simulation

#: A clock, and what lets a little time pass on it.
Rig = tuple[Clock, Callable[[], object]]
YEAR_2000_S, YEAR_2100_S = 946_684_800.0, 4_102_444_800.0


@contextmanager
def system() -> Iterator[Rig]:
    clock = SystemClock()

    def passes() -> None:
        before = clock.monotonic_s()
        wait_for(lambda: clock.monotonic_s() > before, "that time passes")

    yield clock, passes


@contextmanager
def simulated() -> Iterator[Rig]:
    """One that drifts, and whose wall is stepped each time."""
    simulation = Simulation(Setting(0, kinds={"M7"}, rows=0))

    def passes() -> None:
        simulation.nemesis.step_wall()
        simulation.engine.run(simulation.engine.now + 1.0)

    yield SimClock(simulation, rate=0.98), passes
    simulation.close()


@contextmanager
def fake() -> Iterator[Rig]:
    yield FakeClock(), lambda: None


@pytest.fixture(params=[system, simulated, fake], ids=lambda rig: rig.__name__)
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with request.param() as rig:
        yield rig


def test_intervals_are_never_negative_whatever_happens_to_the_wall(rig: Rig) -> None:
    clock, passes = rig
    read = [clock.monotonic_s()]
    for _ in range(100):
        passes()
        read += [clock.monotonic_s(), clock.monotonic_s()]
    assert read == sorted(read)
    assert all(map(math.isfinite, read))


def test_time_goes_on(rig: Rig) -> None:
    clock, passes = rig
    before = clock.monotonic_s()
    passes()
    assert clock.monotonic_s() > before


def test_the_wall_tells_seconds_since_1970(rig: Rig) -> None:
    assert YEAR_2000_S < rig[0].wall_s() < YEAR_2100_S


CHANCES = {"system": SystemChance, "simulated": lambda: SimChance(random.Random(1)), "fake": FakeChance}


@pytest.fixture(params=CHANCES)
def chance(request: pytest.FixtureRequest) -> Chance:
    made: Chance = CHANCES[request.param]()
    return made


def test_ids_are_short_and_new_each_time(chance: Chance) -> None:
    ids = [chance.experiment_id() for _ in range(100)]
    assert len(set(ids)) == 100
    for one in ids:
        assert re.fullmatch("[a-z][a-z0-9]{1,7}", one), f"{one!r} could be read as a number, or is long"


def test_a_nonce_is_128_bits_and_new_each_time(chance: Chance) -> None:
    nonces = [chance.nonce() for _ in range(100)]
    assert len(set(nonces)) == 100
    for one in nonces:
        assert re.fullmatch("[0-9a-f]{32}", one)
