"""Reconcile looks at what is, plans it once, and costs what is open."""

from __future__ import annotations

import itertools
import time
from copy import deepcopy

import pytest

from sheetd.core import effect as fx
from sheetd.core import events as ev
from sheetd.core import observation as obs
from sheetd.core.model import HostName
from sheetd.core.reconcile import reconcile
from sheetd.core.world import Limits
from tests.core.story import SeededChance, Story


def busy_story() -> Story:
    story = Story(hosts={"alpha": 2, "beta": 1})
    for n in range(6):
        story.table.type(template="train", lr=n / 10)
    story.table.type(template="train", lr="wrong")
    story.table.type(template="train")
    story.wait(10)
    story.cut_off("beta")
    story.table.type(story.table.lines[0], action="stop")
    story.table.copy(story.table.lines[1])
    story.wait(10)
    return story


def test_what_was_recorded_is_not_planned_again():
    story = busy_story()
    before = deepcopy(story.world.state)
    for _ in range(3):
        plan = reconcile(story.world, story.now(), SeededChance(9))
        assert plan.events == ()
    assert story.world.state == before


def test_the_same_world_gives_the_same_plan():
    story = busy_story()
    story.table.type(template="train", lr=0.7)
    story.now_s += 10
    story.turn(obs.SheetSeen(grid=story.table.read()))
    story.now_s += 4
    first, second = (reconcile(deepcopy(story.world), story.now(), SeededChance(5)) for _ in range(2))
    assert first == second


def test_an_effect_in_flight_is_not_planned_twice():
    story = busy_story()
    story.table.type(template="train", lr=0.7)
    story.now_s += 10
    story.turn()
    assert story.queue
    again = story.turn()
    assert set(map(type, again.effects)) & {type(effect) for effect in story.queue} == set()


def test_nothing_is_done_while_something_is_still_to_be_recorded():
    story = Story()
    story.table.type(template="train", lr=0.1)
    story.wait(2.5)
    story.now_s += 2
    story.turn()
    while story.queue:
        from_sheet = story.carry_out(story.queue.pop(0))
        story.world.in_flight.clear()
        plan = reconcile(story.world, story.now(), story.chance)
        assert not (plan.events and plan.effects)
        story.turn(from_sheet)


def test_the_next_wake_is_never_in_the_past():
    story = busy_story()
    for _ in range(50):
        plan = story.turn()
        assert plan.wake_s > story.now_s
        story.settle()
        story.now_s = plan.wake_s


def test_the_loop_finds_its_way_by_waking_alone():
    """No timer but the plan's own: everything that has to happen by time happens at its wakes."""
    story = Story()
    line = story.table.type(template="train", lr=0.1)
    end_s = story.now_s + 60
    while story.now_s < end_s:
        plan = story.turn()
        story.settle()
        story.now_s = plan.wake_s
    assert line["status"] == "running"


# --- the sheet cycle ---------------------------------------------------------------------------------------------


def test_an_idle_cycle_costs_one_read_and_no_write():
    story = Story()
    story.table.type(template="train", lr="wrong")
    story.wait(20)
    writes, reads = story.table.writes, len(story.asked(fx.ReadSheet))
    story.wait(60)
    assert story.table.writes == writes
    assert len(story.asked(fx.ReadSheet)) - reads == 30


def test_however_many_rows_change_it_is_one_write():
    story = Story(hosts={"alpha": 100})
    for n in range(100):
        story.table.type(template="train", lr=n / 100)
    story.wait(4)
    assert story.table.writes <= 2
    story.wait(6)
    assert {line["status"] for line in story.table.lines} == {"running"}
    assert story.table.writes <= 4


def test_a_write_is_made_from_a_fresh_look_only():
    story = Story()
    story.table.type(template="train", lr=0.1)
    ages: list[float] = []

    def look(effect: fx.Effect) -> None:
        if isinstance(effect, fx.WriteSheet):
            assert story.world.sheet is not None
            ages.append(story.now_s - story.world.sheet.read_at_s)

    story.meddle = look
    story.wait(60)
    assert ages
    assert max(ages) <= story.world.limits.fresh_s


def test_writes_keep_their_distance():
    story = Story(limits=Limits(write_gap_s=5.0, dress_every_s=1e9))
    for n in range(20):
        story.table.type(template="train", lr=n / 100)
    at: list[float] = []
    story.meddle = lambda effect: at.append(story.now_s) if isinstance(effect, fx.WriteSheet) else None
    story.wait(120, step_s=0.5)
    gaps = [later - earlier for earlier, later in itertools.pairwise(at)]
    assert min(gaps) >= 5.0


def test_nothing_is_written_after_a_failure_before_the_sheet_was_read():
    story = Story()
    story.table.type(template="train", lr=0.1)
    story.wait(20)
    story.sheet_error = ("broken pipe", False)
    story.table.type(story.table.lines[0], status="spoiled")
    story.wait(30)
    del story.started[:]
    story.sheet_error = None
    story.wait(150)
    kinds = [type(effect) for effect in story.started if isinstance(effect, fx.ReadSheet | fx.WriteSheet)]
    assert kinds[0] is fx.ReadSheet
    assert story.table.lines[0]["status"] == "running"


def test_a_sheet_that_fails_is_asked_less_and_less_often():
    story = Story()
    story.wait(5)
    story.sheet_error = ("quota", False)
    del story.started[:]
    story.wait(3600, step_s=2)
    assert 25 <= len(story.asked(fx.ReadSheet)) <= 45
    assert story.world.sheet_problem == "quota"
    story.sheet_error = None
    story.wait(130)
    assert story.world.sheet_problem == ""


def test_work_goes_on_while_the_sheet_is_away():
    story = Story()
    line = story.table.type(template="train", lr=0.1)
    waiting = story.table.type(template="train", lr=0.2)
    story.wait(8)
    story.sheet_error = ("quota", False)
    story.wait(5)
    story.exits(f"{line['id']}.1")
    story.wait(10)
    assert [attempt.split(".")[0] for attempt in story.attempts_started()] == [line["id"], waiting["id"]]


def test_the_sheet_is_dressed_once_and_looked_after():
    story = Story(limits=Limits(dress_every_s=300.0))
    assert story.world.dressed is not None
    assert story.world.dressed.status_column == story.table.header.index("status")
    story.table.type(template="train", lr=0.1)
    story.wait(20)
    assert story.asked(fx.DressSheet) == []
    story.wait(310)
    assert len(story.asked(fx.DressSheet)) == 1


def test_a_moved_column_is_dressed_anew():
    story = Story(limits=Limits(dress_every_s=300.0))
    story.wait(20)
    before = story.table.header.index("status")
    story.table.header.reverse()
    story.table.changed()
    story.wait(20)
    columns = [effect.dress.status_column for effect in story.asked(fx.DressSheet)]  # type: ignore[union-attr]
    assert columns == [len(story.table.header) - 1 - before]


# --- cost --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("identical", [False, True], ids=["distinct", "identical"])
def test_ten_thousand_rows_that_nobody_has_seen_before_cost_bounded_work(identical: bool):
    story = Story(limits=Limits(dress_every_s=1e9))
    for n in range(10_000):
        story.table.type(template="train", lr=0.1, seed=0 if identical else n)
    accepted = 1 if identical else 10_000
    began_s = time.process_time()
    story.wait(8)
    assert len(story.told(ev.RowAccepted)) == accepted
    assert len(story.told(ev.RepeatFound)) == 10_000 - accepted
    assert story.table.writes <= 4
    assert time.process_time() - began_s < 60.0, "the time of 10,000 rows should not grow with their square"


def test_a_turn_does_not_look_at_what_has_ended():
    story = Story(hosts={"alpha": 50})
    for n in range(50):
        story.table.type(template="train", lr=n / 100)
    story.wait(10)
    for attempt in story.attempts_started():
        story.exits(attempt)
    story.wait(20)
    assert not story.world.state.open
    assert not story.world.state.live
    assert reconcile(story.world, story.now(), story.chance).effects == ()
    assert story.world.hosts[HostName("alpha")].attempts == {}
