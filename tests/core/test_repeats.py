"""A new row that asks for what was done already waits, names the other, and begins when somebody says so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sheetd.core import effect as fx
from sheetd.core import events as ev
from sheetd.core.grid import Cell
from sheetd.core.world import Limits
from tests.core.story import HEADER, TRAIN, Line, Story, Table

CODED = replace(TRAIN, code="/lab/code")


def story_of(**options: object) -> tuple[Story, Line]:
    """One row that runs, in row 2."""
    story = Story(hosts={"alpha": 8}, **options)  # type: ignore[arg-type]
    line = story.table.type(template="train", lr=0.1)
    story.wait(12)
    assert line["status"] == "running"
    return story, line


def again(story: Story, **values: object) -> Line:
    line = story.table.type(**{"template": "train", "lr": 0.1, **values})  # type: ignore[arg-type]
    story.wait(12)
    return line


def ends(story: Story, line: Line, rc: int = 0) -> None:
    attempt = story.experiment(line).attempt
    assert attempt is not None
    story.exits(attempt.id, rc)
    story.wait(8)


def test_a_row_that_says_what_has_succeeded_waits_and_names_it():
    story, first = story_of()
    ends(story, first)
    second = again(story)
    assert second["status"] == "draft"
    assert second["message"] == f"already ran in row 2 ({first['id']}); choose rerun to run it again"
    assert len(story.attempts_started()) == 1


def test_a_row_that_says_what_runs_or_waits_now_waits_too():
    story, first = story_of(limits=Limits(dress_every_s=1e9))
    assert again(story)["message"] == f"already runs in row 2 ({first['id']}); choose rerun to run it again"
    queue = [story.table.type(template="train", lr=1.0 + number) for number in range(8)]
    story.wait(12)
    assert queue[-1]["status"] == "waiting"
    late = again(story, lr=8.0)
    row = 2 + story.table.lines.index(queue[-1])
    assert late["message"] == f"already waits in row {row} ({queue[-1]['id']}); choose rerun to run it again"


def test_a_row_that_says_what_is_paused_waits_too():
    story, first = story_of()
    story.table.type(first, action="pause")
    story.wait(12)
    assert first["status"] == "paused"
    assert again(story)["message"] == f"is paused in row 2 ({first['id']}); choose rerun to run it again"


def test_the_row_is_named_as_it_stands_now():
    story, first = story_of()
    second = again(story)
    story.table.insert(0)
    story.wait(8)
    assert second["message"] == f"already runs in row 3 ({first['id']}); choose rerun to run it again"
    ends(story, first)
    story.table.delete(first)
    story.wait(12)
    assert second["message"] == f"already ran as {first['id']}, whose row is gone; choose rerun to run it again"


def test_a_row_that_is_typed_again_after_it_was_deleted_names_the_id():
    story, first = story_of()
    ends(story, first)
    story.table.delete(first)
    story.wait(20)
    second = again(story)
    assert second["id"] != first["id"]
    assert second["message"] == f"already ran as {first['id']}, whose row is gone; choose rerun to run it again"


@pytest.mark.parametrize("word", ["run", "rerun"])
def test_a_word_in_the_new_row_begins_a_new_experiment_of_that_row(word: str):
    story, first = story_of()
    ends(story, first)
    second = again(story)
    story.table.type(second, action=word)
    story.wait(12)
    assert (second["status"], second["attempt"]) == ("running", 1.0)
    assert story.attempts_started() == [f"{first['id']}.1", f"{second['id']}.1"]
    story.wait(30)
    assert len(story.attempts_started()) == 2, "the word that stays there is obeyed once"


@pytest.mark.parametrize("word", ["run", "rerun"])
def test_a_word_that_is_typed_with_the_row_counts_from_the_start(word: str):
    story, first = story_of()
    second = again(story, action=word)
    assert story.attempts_started() == [f"{first['id']}.1", f"{second['id']}.1"]
    assert story.told(ev.RepeatFound) == []


def test_other_words_do_not_begin_it():
    story, _ = story_of()
    second = again(story, action="restart")
    assert second["status"] == "draft"
    assert len(story.attempts_started()) == 1


def test_of_two_rows_that_are_typed_together_the_first_begins():
    story = Story(hosts={"alpha": 8})
    one, other = (story.table.type(template="train", lr=0.1) for _ in range(2))
    story.wait(12)
    assert one["status"] == "running"
    assert other["message"] == f"already runs in row 2 ({one['id']}); choose rerun to run it again"


def test_where_gpus_and_priority_make_it_no_other_work_and_a_default_is_what_it_says():
    header = ("where", "gpus", "priority", *HEADER)
    story, first = story_of(table=Table(header))
    second = again(story, where="alpha", gpus=2.0, priority=7.0, seed=0.0)
    assert second["message"] == f"already runs in row 2 ({first['id']}); choose rerun to run it again"


def test_other_values_are_other_work():
    story, _ = story_of()
    assert again(story, seed=1.0)["status"] == "running"


def test_a_row_that_is_changed_begins():
    story, _ = story_of()
    second = again(story)
    story.table.type(second, seed=1.0)
    story.wait(12)
    assert second["status"] == "running"
    story.table.type(second, seed=0.0)
    story.wait(12)
    assert str(second["message"]).startswith("edited after it was accepted")


def test_what_failed_or_was_stopped_holds_nobody_back():
    story, first = story_of()
    story.table.type(first, action="stop")
    story.wait(2.5)
    second = again(story)
    assert (first["status"], second["status"]) == ("stopped", "running")
    for _ in range(20):
        if second["status"] == "running":
            ends(story, second, rc=1)
            story.wait(60)
    assert second["status"] == "failed"
    assert again(story)["status"] == "running"


def test_a_row_that_waits_begins_when_the_other_is_stopped():
    story, first = story_of()
    second = again(story)
    story.table.type(first, action="stop")
    story.wait(20)
    assert (first["status"], second["status"]) == ("stopped", "running")


def test_a_template_may_allow_it():
    story, first = story_of()
    second = again(story)
    assert second["status"] == "draft"
    story.edit_files(templates=[replace(TRAIN, allow_repeats=True)])
    story.wait(12)
    assert (first["status"], second["status"]) == ("running", "running")


def test_a_template_with_another_command_is_other_work():
    story, _ = story_of()
    story.edit_files(templates=[replace(TRAIN, command=(*TRAIN.command, "--fast"))])
    story.wait(2)
    assert again(story)["status"] == "running"


def test_other_code_is_other_work_and_code_that_changes_later_begins_nothing():
    story, first = story_of(templates=[CODED])
    second = again(story)
    assert second["message"] == f"already runs in row 2 ({first['id']}); choose rerun to run it again"
    story.code_hash = "c0ffee" * 10 + "beef"
    story.restart_daemon()
    story.wait(20)
    assert second["status"] == "draft"
    assert again(story)["status"] == "running", "typed after the code was changed"


def test_the_runs_of_a_row_count_one_by_one_and_all_together():
    story, _ = story_of()
    several = again(story, lr="{0.1 | 0.2}")
    story.wait(8)
    assert len(story.told(ev.SweepExpanded)) == 1, "0.2 is new"
    one = again(story, lr=0.2)
    assert one["message"] == f"already runs in row 3 ({several['id']}-2); choose rerun to run it again"
    same = again(story, lr="{0.2 | 0.1}")
    assert str(same["message"]).startswith("already runs in row 3")
    story.table.type(same, action="rerun")
    story.wait(12)
    assert len(story.told(ev.SweepExpanded)) == 2
    assert len(story.attempts_started()) == 5
    story.wait(30)
    assert len(story.attempts_started()) == 5


def test_repeat_in_one_row_is_not_held_back_by_itself():
    story = Story(hosts={"alpha": 8}, table=Table(("repeat", *HEADER)))
    story.table.type(template="train", lr=0.1, repeat=3.0)
    story.wait(12)
    assert len(story.attempts_started()) == 3


def test_the_same_after_another_parent_is_other_work():
    story = Story(hosts={"alpha": 8}, table=Table(("after", *HEADER)))
    parents = [story.table.type(template="train", lr=lr) for lr in (1.0, 2.0)]
    story.wait(12)
    children = [again(story, lr=3.0, after=str(parent["id"])) for parent in parents]
    assert [child["status"] for child in children] == ["waiting", "waiting"]
    assert str(again(story, lr=3.0, after=str(parents[0]["id"]))["message"]).startswith("already waits in row 4")


def test_a_copy_with_its_id_says_that_it_is_one_and_rerun_begins_it():
    story, first = story_of()
    copied = story.table.copy(first)
    story.wait(12)
    assert copied["message"] == f"a copy of {first['id']}: change a value, or choose run in action to do the same again"
    story.table.type(copied, action="rerun")
    story.wait(12)
    assert (copied["status"], copied["attempt"]) == ("running", 1.0)


def test_a_word_that_was_obeyed_before_asks_to_be_chosen_anew():
    story, first = story_of()
    story.table.type(first, action="run")
    story.wait(8)
    copied = story.table.copy(first)
    story.table.type(copied, id=Cell())
    story.wait(12)
    assert copied["status"] == "running", "without the id nobody can tell that the word came with the copy"


def test_it_is_remembered_and_costs_nothing_while_nothing_happens():
    story, first = story_of(templates=[CODED])
    ends(story, first)
    again(story)
    writes, events, pins = story.table.writes, len(story.events), len(story.asked(fx.PinCode))
    story.restart_daemon()
    story.wait(60)
    assert story.events[events:] == []
    assert story.table.writes <= writes + 1  # the claim of the new life
    assert len(story.asked(fx.PinCode)) == pins
