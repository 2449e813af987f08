"""Rows that people insert, delete, sort or paste by the hundred, also between read and write (S6 to S8, S11, S27).

A write goes by position, and Google has no compare-and-swap: for one round trip it may be on the wrong row. What is
promised is that it is never left there, and that it never meets a cell that a person owns.
"""

from __future__ import annotations

import random

import pytest

from sheetd.core import effect as fx
from sheetd.core import events as ev
from sheetd.core.model import Phase
from sheetd.core.world import Limits
from tests.faults.conftest import OpenLab
from tests.faults.laboratory import Lab, nothing


def test_S6_a_row_inserted_above_between_read_and_write_leaves_no_status_on_its_neighbour(lab: Lab):
    """A status that was written beside the wrong row is put right, and each row shows its own experiment."""
    first, second = lab.running("first", "second")
    lab.before_the_write_of("status", lambda: lab.person.insert_above("first"))
    lab.story.exits(f"{second}.1", rc=1)
    lab.wait(4)
    assert lab.person.status("first", "second") == ["running", "failed"]
    assert lab.ids("first", "second") == [first, second]


def test_S6_a_new_id_that_lands_on_an_inserted_row_is_taken_back(lab: Lab):
    """An id that met another row than it was made for is undone by content, so it cannot miss; the row runs once."""
    lab.running("first")
    lab.person.type("second", template="train", lr="0.2")
    lab.before_the_write_of("id", lambda: lab.person.insert_above("second"))
    lab.wait()
    blank = [line for line in lab.person.grid() if not any(line)]
    assert len(blank) == 1
    assert lab.person.status("first", "second") == ["running", "running"]
    assert (len(lab.story.told(ev.IdAssigned)), len(lab.attempts)) == (2, 2)


def test_S6_a_row_deleted_above_between_read_and_write_costs_no_other_row_its_id(lab: Lab):
    """When rows move up under our write each keeps its own id, and nothing is stopped or started for it."""
    _, second, third = lab.running("first", "second", "third")
    lab.before_the_write_of("status", lambda: lab.person.delete("first"))
    lab.story.exits(f"{second}.1", rc=1)
    lab.wait()
    assert lab.ids("second", "third") == [second, third]
    assert lab.person.status("second", "third") == ["failed", "running"]
    assert (lab.stops, len(lab.attempts)) == ([], 3)


@pytest.mark.parametrize("descending", [False, True])
def test_S7_a_sorted_sheet_is_the_same_experiments_in_another_order(lab: Lab, descending: bool):
    """Identity is the id cell, which a sort takes along: nothing is restarted, stopped or run anew."""
    ids = lab.running("first", "second", "third")
    lab.person.sort_by("lr", descending=descending)
    lab.wait()
    assert list(lab.person.rows()) == ["third", "second", "first"][:: 1 if descending else -1]
    assert lab.ids("first", "second", "third") == ids
    assert lab.person.status("first", "second", "third") == ["running"] * 3
    assert (lab.stops, len(lab.attempts)) == ([], 3)


def test_S7_a_sort_between_read_and_write_is_mended_before_the_cycle_is_over(lab: Lab):
    """A write that met sorted rows is repaired from its own answer, before any time has passed."""
    ids = lab.running("first", "second", "third")
    sorted_s: list[float] = []

    def sort() -> None:
        lab.person.sort_by("lr", descending=True)
        sorted_s.append(lab.story.now_s)

    lab.before_the_write_of("status", sort)
    lab.story.exits(f"{ids[2]}.1", rc=1)
    while not sorted_s:
        lab.wait(1)
    assert sorted_s == [lab.story.now_s], "no time has passed since"
    assert lab.person.status("first", "second", "third") == ["running", "running", "failed"]
    assert lab.ids("first", "second", "third") == ids


@pytest.mark.parametrize("seed", range(6))
def test_S8_whatever_people_do_in_the_moment_before_a_write_no_cell_of_theirs_is_overwritten(lab: Lab, seed: int):
    """Only our columns are ever written, so a write that meets moved rows destroys nothing; the end shows each its own.

    The rig itself compares every cell of the person's with what was typed, here and after every other test.
    """
    chance = random.Random(seed)
    names = [f"row {number}" for number in range(6)]
    rates = dict(zip(names, chance.sample(range(1, 9), 6), strict=True))
    lab.person.type_all({name: {"template": "train", "lr": f"0.{rates[name]}"} for name in names})
    acts = (
        lambda: lab.person.sort_by("lr", descending=chance.random() < 0.5),
        lambda: lab.person.insert_above(chance.choice(names)),
        lambda: lab.person.sort_by("my notes"),
    )

    def meddle(effect: fx.Effect) -> None:
        if isinstance(effect, fx.WriteSheet) and chance.random() < 0.7:
            chance.choice(acts)()
            assert lab.person.untouched()

    lab.story.meddle = meddle
    lab.wait(20)
    lab.story.meddle = nothing
    lab.wait()
    rows = lab.person.rows()
    assert {rows[name]["status"] for name in names} == {"running"}
    assert len(lab.attempts) == len({rows[name]["id"] for name in names}) == 6
    for name in names:
        assert lab.story.experiment_by(rows[name]["id"]).spec.params["lr"] == rates[name] / 10


def test_S11_a_deleted_row_that_undo_brings_back_has_lost_nothing(lab: Lab):
    """For ten minutes the job of a deleted row goes on, and the row that comes back is the same experiment."""
    (first,) = lab.running("first")
    cells = lab.person.cut("first")
    lab.wait(300, step_s=30)
    assert (lab.phase(first), lab.stops) == (Phase.RUNNING, [])
    assert len(lab.story.told(ev.RowVanished)) == 1
    lab.person.paste(cells, 1, "first")
    lab.wait(700, step_s=50)
    assert (lab.ids("first"), lab.person.status("first")) == ([first], ["running"])
    assert (lab.stops, len(lab.attempts)) == ([], 1)


def test_S11_a_row_that_stays_deleted_is_stopped_after_the_grace_and_not_before(open_lab: OpenLab):
    """Deleting a row means that nobody wants it: it is stopped, but only when undo is no longer to be expected.

    The catalogue would have kept it running for ever in a tab of orphans. Decided was the grace: a lab that deletes
    rows to free its hosts is not left with jobs that nobody can see, and `deleted_row_grace_s` sets how long.
    """
    lab = open_lab(limits=Limits(deleted_row_grace_s=60.0, dress_every_s=1e9))
    first, _ = lab.running("first", "second")
    lab.person.delete("first")
    lab.wait(55, step_s=11)
    assert lab.phase(first) is Phase.RUNNING
    lab.wait(60, step_s=10)
    assert (lab.phase(first), lab.story.experiment_by(first).stop_reason) == (Phase.ENDED, "its row was deleted")
    assert lab.person.status("second") == ["running"]


def test_S27_nine_hundred_rows_pasted_at_once_cost_as_many_requests_as_one(open_lab: OpenLab):
    """However many rows there are, a cycle is one read and at most one write; those without a slot wait and say why."""
    alone = open_lab()
    alone.running("first")
    lab = open_lab(hosts={"alpha": 3})
    names = [f"row {number}" for number in range(900)]
    lab.person.type_all({name: {"template": "train", "lr": "0.1", "seed": str(n)} for n, name in enumerate(names)})
    lab.wait()
    assert lab.sheet.client.requests == alone.sheet.client.requests
    rows = lab.person.rows()
    assert [rows[name]["status"] for name in names] == ["running"] * 3 + ["waiting"] * 897
    assert len({rows[name]["id"] for name in names}) == 900
    assert rows["row 899"]["message"].startswith("waits for 1 slot: 3 of 3 are taken")
    assert len(lab.attempts) == 3
