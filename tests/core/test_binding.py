"""Ids and rows that moved under our writes: each of these once left a row with another row's id, or ran it twice.

`tests/core/test_people.py` finds such stories; here are those that are worth telling one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from sheetd.core import effect as fx
from sheetd.core import events as ev
from sheetd.core.model import Phase
from tests.core.story import TRAIN, Line, Story


def at_the_next_write(story: Story, act: Callable[[], object], *, writes_id: str | None = None) -> None:
    """Once, after the write was planned and before it is carried out. With `writes_id`, the first that writes it."""

    def meddle(effect: fx.Effect) -> None:
        if isinstance(effect, fx.WriteSheet):
            values = {update.value for update in effect.write.updates}
            if writes_id is None or writes_id in values:
                story.meddle = lambda _effect: None
                act()

    story.meddle = meddle


def sheet_of(*rates: float, hosts: int = 20) -> tuple[Story, list[Line]]:
    """Rows that run already, some of them perhaps alike."""
    story = Story(hosts={"alpha": hosts}, templates=[replace(TRAIN, allow_repeats=True)])
    lines = [story.table.type(template="train", lr=lr) for lr in rates]
    story.wait(10)
    assert [line["status"] for line in lines] == ["running"] * len(rates)
    return story, lines


def ids(lines: list[Line]) -> list[object]:
    return [line["id"] for line in lines]


def test_a_new_id_that_hits_a_neighbour_is_taken_back_and_the_neighbour_keeps_its_own():
    story, (first, second) = sheet_of(0.1, 0.2)
    before = ids([first, second])
    new = story.table.type(template="train", lr=0.3)
    story.table.insert(0)
    at_the_next_write(story, lambda: story.table.sort(lambda line: line is not new))
    story.wait(12)
    assert ids([first, second]) == before
    assert new["status"] == "running"
    assert len(story.attempts_started()) == 3


def test_that_is_mended_at_once_and_not_after_the_gap_between_writes():
    story, (first,) = sheet_of(0.1)
    before = first["id"]
    story.wait(0.5)
    new = story.table.type(template="train", lr=0.3)
    at_the_next_write(story, lambda: story.table.sort(lambda line: line is not new))
    moved_at = None
    while not moved_at:
        story.now_s += 0.25
        story.turn()
        while story.queue:
            effect = story.queue.pop(0)
            story.meddle(effect)
            story.turn(story.carry_out(effect))
            if isinstance(effect, fx.WriteSheet) and new in story.table.lines[:1]:
                moved_at = story.now_s
    assert story.now_s == moved_at
    assert first["id"] == before


def test_a_new_id_that_hits_a_blank_row_is_taken_back():
    story = Story()
    line = story.table.type(template="train", lr=0.1)
    at_the_next_write(story, lambda: story.table.insert(0))
    story.wait(12)
    blank = story.table.lines[0]
    assert {value.value for value in blank.cells.values()} <= {None}
    assert line["status"] == "running"


def test_an_id_that_a_row_gets_back_may_hit_a_neighbour_too():
    """The id is old, its row runs: nothing may run twice, and the neighbour's job is not orphaned."""
    story, (first, second) = sheet_of(0.1, 0.2)
    before = ids([first, second])
    story.table.type(second, id=None)
    at_the_next_write(story, lambda: story.table.lines.reverse() or story.table.changed(), writes_id=str(before[1]))
    story.wait(700, step_s=5)
    assert ids([first, second]) == before
    assert len(story.attempts_started()) == 2
    assert story.asked(fx.Stop) == []


def test_that_is_found_out_even_when_the_answer_to_the_write_was_lost():
    story, (first, second) = sheet_of(0.1, 0.2)
    before = ids([first, second])
    story.table.type(second, id=None)

    def swap_and_lose() -> None:
        story.table.lines.reverse()
        story.table.changed()
        story.loses_answers = True
        story.meddle = lambda _effect: setattr(story, "loses_answers", False)

    at_the_next_write(story, swap_and_lose, writes_id=str(before[1]))
    story.wait(30)
    assert ids([first, second]) == before
    assert len(story.attempts_started()) == 2


def test_two_ids_that_land_crosswise_are_put_right():
    story, (first, second) = sheet_of(0.1, 0.2)
    before = ids([first, second])
    story.table.type(first, id=None)
    story.table.type(second, id=None)
    at_the_next_write(story, lambda: story.table.lines.reverse() or story.table.changed(), writes_id=str(before[1]))
    story.wait(10)
    assert ids([first, second]) == before
    assert [line["message"] for line in (first, second)] == [None, None]
    assert len(story.attempts_started()) == 2


def test_the_neighbour_keeps_its_id_even_when_the_row_that_was_meant_changes_in_the_same_moment():
    story, (first, second) = sheet_of(0.1, 0.2)
    before = first["id"]

    def swap_and_edit() -> None:
        story.table.type(second, lr=0.9)
        story.table.lines.reverse()

    story.table.type(second, id=None)
    at_the_next_write(story, swap_and_edit, writes_id=str(second["id"] or story.attempts_started()[1].split(".")[0]))
    story.wait(10)
    assert (first["id"], first["status"], first["message"]) == (before, "running", None)


def test_an_action_beside_a_misplaced_id_is_not_obeyed_for_it():
    story, (first, second) = sheet_of(0.1, 0.2)
    before = ids([first, second])
    story.table.type(first, action="stop")
    story.wait(5)
    story.table.type(second, id=None)
    at_the_next_write(story, lambda: story.table.lines.reverse() or story.table.changed(), writes_id=str(before[1]))
    story.wait(10)
    assert ids([first, second]) == before
    assert (first["status"], second["status"]) == ("stopped", "running")


def test_a_draft_that_lands_beside_what_runs_is_not_accepted_with_it():
    story, (first,) = sheet_of(0.1)
    bad = story.table.type(template="train", lr="wrong")
    story.wait(8)
    before = ids([first, bad])
    story.table.type(bad, id=None)
    at_the_next_write(story, lambda: story.table.lines.reverse() or story.table.changed(), writes_id=str(before[1]))
    story.wait(10)
    assert ids([first, bad]) == before
    assert bad["status"] == "invalid"
    assert len(story.attempts_started()) == 1


def test_a_row_that_lost_its_id_is_not_taken_for_a_finished_twin_that_was_deleted_in_the_same_moment():
    story, (done, alive) = sheet_of(0.1, 0.1)
    story.exits(f"{done['id']}.1")
    story.wait(5)
    before = alive["id"]
    story.table.delete(done)
    story.table.type(alive, id=None)
    story.wait(10)
    assert (alive["id"], alive["status"]) == (before, "running")


def test_the_neighbour_may_have_been_edited_since_it_was_accepted():
    story, (first, second) = sheet_of(0.1, 0.2)
    before = ids([first, second])
    story.table.type(first, lr=0.15)
    story.wait(5)
    new = story.table.type(template="train", lr=0.3)
    story.wait(2)
    at_the_next_write(story, lambda: story.table.sort(lambda line: line is not new))
    story.wait(700, step_s=5)
    assert ids([first, second]) == before
    assert len(story.attempts_started()) == 3
    assert story.told(ev.RowVanished) == []


def test_a_daemon_that_died_between_the_write_and_its_answer_finds_out():
    story, (first, second) = sheet_of(0.1, 0.2)
    before = ids([first, second])
    # What the dead daemon wrote: the second row's id, onto the first row, while the second had lost it.
    story.table.type(first, id=before[1])
    story.table.type(second, id=None)
    story.restart_daemon()
    story.wait(10)
    assert ids([first, second]) == before
    assert len(story.attempts_started()) == 2


def test_a_new_id_that_overwrites_a_row_of_which_a_changed_copy_has_the_id_too_is_taken_back():
    """The copy was once taken for the row, edited; and the row ran again under a new id."""
    story, (row,) = sheet_of(0.1)
    before = row["id"]
    copy = story.table.copy(row)
    story.table.type(copy, lr=0.9)
    story.wait(1)

    def swap(effect: fx.Effect) -> None:
        ids = {update.value for update in getattr(effect, "write", fx.SheetWrite(tab_id=7)).updates}
        if ids & set(story.world.state.drafts):
            story.table.lines.reverse()
            story.table.changed()
            story.meddle = lambda _effect: None

    story.meddle = swap
    story.wait(15)
    assert (row["id"], row["message"]) == (before, None)
    assert copy["status"] == "running"
    assert len(story.attempts_started()) == 2


def test_an_id_cell_that_a_write_of_ours_empties_gets_its_id_back_though_a_changed_copy_has_it():
    story, (row, other) = sheet_of(0.1, 0.2)
    before = row["id"]
    copy = story.table.copy(row)
    story.table.type(copy, lr=0.9)
    while not (story.world.sheet and story.world.sheet.copies):
        story.wait(0.5)
    story.table.type(row, id=None)
    story.wait(15)
    assert (row["id"], row["message"]) == (before, None)
    assert copy["id"] not in (before, other["id"])
    assert len(story.attempts_started()) == 3


def test_an_id_that_comes_home_to_a_row_which_is_gone_is_taken_back_from_the_new_row_it_lands_on():
    """That row once counted as the old one, edited, and was never run."""
    story, (done,) = sheet_of(0.1)
    story.exits(f"{done['id']}.1")
    story.wait(5)
    before = done["id"]
    new = story.table.type(template="train", lr=0.3)
    story.wait(0.5)
    story.table.type(done, id=None)
    at_the_next_write(story, lambda: story.table.delete(done), writes_id=str(before))
    story.wait(15)
    assert new["id"] != before
    assert (new["status"], new["message"]) == ("running", None)
    assert story.attempts_started() == [f"{before}.1", f"{new['id']}.1"]


def test_identical_rows_share_their_ids_out_among_them():
    story, lines = sheet_of(0.1, 0.1, 0.1)
    before = set(ids(lines))
    for line in lines:
        story.table.type(line, id=None)
    story.wait(5)
    assert set(ids(lines)) == before
    assert len(story.attempts_started()) == 3


@pytest.mark.parametrize("typed", [None, "my own", "x", 12345.0, "=A1", "x" * 5000])
def test_an_id_cell_that_was_spoiled_gets_its_id_back(typed: str | float | None):
    story, (line, _) = sheet_of(0.1, 0.2)
    before = line["id"]
    story.table.type(line, id=typed)
    story.wait(5)
    assert line["id"] == before
    assert len(story.attempts_started()) == 2


def test_an_edited_row_is_recognised_by_what_it_says_now():
    story, (line,) = sheet_of(0.1)
    before = line["id"]
    story.table.type(line, lr=0.7)
    story.wait(5)
    story.table.type(line, id=None)
    story.wait(10)
    assert line["id"] == before
    assert len(story.attempts_started()) == 1


def test_a_note_does_not_make_a_row_another_one():
    story, (line,) = sheet_of(0.1)
    before = line["id"]
    story.table.type(line, id=None, notes="the good one")
    story.wait(10)
    assert (line["id"], line["message"]) == (before, None)


def test_editing_a_row_into_what_a_deleted_one_said_does_not_make_it_that_one():
    story, (old, line) = sheet_of(0.1, 0.2)
    story.exits(f"{old['id']}.1")
    story.wait(5)
    story.table.delete(old)
    story.wait(5)
    before = line["id"]
    story.table.type(line, lr=0.1)
    story.wait(700, step_s=5)
    assert line["id"] == before
    assert story.experiment(line).phase is Phase.RUNNING


def test_a_finished_row_that_is_typed_again_after_it_was_deleted_is_another_one():
    story, (old,) = sheet_of(0.1)
    story.exits(f"{old['id']}.1")
    story.wait(5)
    story.table.delete(old)
    story.wait(20)  # before that it may be the same row again: a read was cut short, or a deletion undone
    new = story.table.type(template="train", lr=0.1)
    story.wait(12)
    assert new["id"] != old["id"]
    assert len(story.attempts_started()) == 2


def test_typing_a_running_row_again_after_deleting_it_does_not_run_it_twice():
    story, (old,) = sheet_of(0.1)
    story.table.delete(old)
    story.wait(5)
    new = story.table.type(template="train", lr=0.1)
    story.wait(10)
    assert (new["id"], new["status"]) == (old["id"], "running")
    assert len(story.attempts_started()) == 1


def test_undoing_the_deletion_of_a_finished_row_shows_how_it_ended():
    story, (line,) = sheet_of(0.1)
    story.exits(f"{line['id']}.1")
    story.wait(5)
    story.table.delete(line)
    story.wait(3600, step_s=10)
    story.table.insert(0, line)
    story.wait(10)
    assert line["status"] == "succeeded"
    assert len(story.attempts_started()) == 1


def test_a_status_on_a_blank_row_is_cleared():
    story, (line,) = sheet_of(0.1)
    ghost = story.table.type(id=line["id"], status="running", notes="mine")
    story.wait(5)
    assert (ghost["id"], ghost["status"], ghost["my notes"]) == (None, None, "mine")
    assert line["status"] == "running"


def test_a_status_that_a_person_typed_is_put_right():
    story, (line,) = sheet_of(0.1)
    story.table.type(line, status="succeeded", message="trust me", host=True, attempt=True)
    story.wait(5)
    assert (line["status"], line["message"], line["host"], line["attempt"]) == ("running", None, "alpha", 1.0)
    assert line["attempt"] is not True


def test_columns_may_be_moved_while_rows_run():
    story, lines = sheet_of(0.1, 0.2)
    before = ids(lines)
    story.table.header.reverse()
    story.table.changed()
    story.wait(10)
    assert ids(lines) == before
    assert [line["message"] for line in lines] == [None, None]
    assert len(story.attempts_started()) == 2
