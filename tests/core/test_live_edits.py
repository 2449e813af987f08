"""Parameters that a template calls live: an edit while the job runs reaches it, and everything else stays as it was."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sheetd.core import effect as fx
from sheetd.core import events as ev
from sheetd.core.grid import CellValue
from sheetd.core.model import AttemptId, HostName, Value
from sheetd.core.observation import AttemptSeen, Exit, Seen
from sheetd.core.template import Param, ParamType
from sheetd.core.world import Limits
from tests.core.story import OWNED_HEADER, TRAIN, Line, Story, Table

HEADER = ("template", "lr", "seed", "name", "action", "priority", "my notes", *OWNED_HEADER)
LIVE = replace(
    TRAIN,
    params={
        "lr": replace(TRAIN.params["lr"], live=True),
        "seed": TRAIN.params["seed"],
        "name": Param(name="name", type=ParamType.TEXT, default="", live=True),
    },
)
OLD_VALUES = "edited after it was accepted: it runs the old values, choose rerun for the new ones"


def story_of(slots: int = 1) -> Story:
    return Story(hosts={"alpha": slots}, templates=[LIVE], table=Table(HEADER), limits=Limits(dress_every_s=1e9))


EXITED = AttemptSeen(state=Seen.EXITED, exit=Exit(rc=0))


def typed(story: Story, line: Line | None = None, /, **values: CellValue) -> Line:
    line = story.table.type(line, **values)
    story.wait(12)
    return line


def running() -> tuple[Story, Line]:
    story = story_of()
    line = typed(story, template="train", lr=0.1)
    assert line["status"] == "running"
    return story, line


def given(story: Story, line: Line, attempt: int = 1) -> dict[str, Value]:
    """What the job gets of `sheetd.params()` now."""
    return story.hosts[HostName("alpha")].params[AttemptId(f"{line['id']}.{attempt}")]


def test_a_new_value_is_handed_to_the_job_that_runs():
    story, line = running()
    typed(story, line, lr=0.7)
    assert given(story, line) == {"lr": 0.7, "seed": 0, "name": ""}
    assert (line["status"], line["message"]) == ("running", "lr = 0.7 was handed over to it")
    assert len(story.attempts_started()) == 1
    assert len(story.asked(fx.HandOver)) == 1


def test_it_is_recorded_before_the_host_is_asked_and_said_when_the_host_has_it():
    story, line = running()
    story.hosts[HostName("alpha")].loses_replies = True
    typed(story, line, lr=0.7)
    assert len(story.told(ev.RowRevised)) == 1
    assert line["message"] == "lr = 0.7 is being handed over to it"
    story.hosts[HostName("alpha")].loses_replies = False
    story.wait(60)
    assert line["message"] == "lr = 0.7 was handed over to it"
    assert len(story.told(ev.RowRevised)) == 1


def test_a_host_that_refuses_is_asked_again_and_its_words_are_in_the_row():
    story, line = running()
    story.hosts[HostName("alpha")].refuses_params = "no space left"
    typed(story, line, lr=0.7)
    assert line["message"] == "lr = 0.7 is being handed over to it (alpha refused: no space left)"
    story.hosts[HostName("alpha")].refuses_params = ""
    story.wait(60)
    assert line["message"] == "lr = 0.7 was handed over to it"


def test_a_job_that_had_ended_when_its_host_was_asked_was_given_nothing():
    """Seed 1204 of the simulator: its end was not recorded yet, for its last metrics had not arrived."""
    story, line = running()
    ended = AttemptSeen(state=Seen.EXITED, exit=Exit(rc=0), metrics_bytes=100)
    story.hosts[HostName("alpha")].hand_over = lambda _effect: ended  # type: ignore[method-assign]
    typed(story, line, lr=0.7)
    assert line["message"] == "lr = 0.7 is being handed over to it"
    assert len(story.asked(fx.HandOver)) == 1
    story.wait(60)
    assert (line["status"], line["message"]) == ("succeeded", None)


def test_each_edit_counts_on_and_the_newest_is_what_the_job_gets():
    story, line = running()
    for lr in (0.7, 0.8, 0.1):
        typed(story, line, lr=lr)
    assert [effect.number for effect in story.asked(fx.HandOver)] == [1, 2, 3]  # type: ignore[union-attr]
    assert given(story, line)["lr"] == 0.1


def test_after_a_restart_of_the_daemon_the_host_has_it():
    story, line = running()
    story.cut_off("alpha")
    typed(story, line, lr=0.7)
    assert given(story, line)["lr"] == 0.1
    story.restart_daemon()
    story.back("alpha")
    story.wait(12)
    assert given(story, line)["lr"] == 0.7
    assert line["message"] == "lr = 0.7 was handed over to it"


def test_what_runs_later_runs_the_new_value():
    story, line = running()
    typed(story, line, lr=0.7)
    typed(story, line, action="restart")
    launch = story.asked(fx.Launch)[-1]
    assert "--lr=0.7" in launch.spec.argv  # type: ignore[union-attr]
    assert (line["message"], line["attempt"]) == (None, 2.0)
    assert len(story.asked(fx.HandOver)) == 1, "it was started with it"


def test_a_value_that_is_edited_while_the_row_is_paused_is_what_goes_on():
    story, line = running()
    typed(story, line, action="pause")
    typed(story, line, lr=0.7)
    assert line["message"] == "paused by its action cell; resume goes on from its newest checkpoint"
    typed(story, line, action="resume")
    assert "--lr=0.7" in story.asked(fx.Launch)[-1].spec.argv  # type: ignore[union-attr]


@pytest.mark.parametrize("value", ["0,7", 11.0, True, "much"])
def test_a_value_that_a_new_row_could_not_have_is_told_and_the_old_one_stays(value: CellValue):
    story, line = running()
    typed(story, line, lr=value)
    assert given(story, line)["lr"] == 0.1
    assert str(line["message"]).startswith("edited, and runs the old values until this is mended: lr ")
    assert story.told(ev.RowRevised) == []
    typed(story, line, lr=0.7)
    assert line["message"] == "lr = 0.7 was handed over to it"


def test_other_parameters_stay_as_they_were_and_the_row_says_so():
    story, line = running()
    typed(story, line, seed=5)
    assert (given(story, line)["seed"], line["message"]) == (0, OLD_VALUES)
    typed(story, line, lr=0.7)
    assert given(story, line) == {"lr": 0.7, "seed": 0, "name": ""}
    assert line["message"] == f"{OLD_VALUES}; lr = 0.7 was handed over to it"
    typed(story, line, seed=0)
    assert line["message"] == "lr = 0.7 was handed over to it"


def test_another_priority_is_no_part_of_it():
    story, line = running()
    typed(story, line, lr=0.7, priority=3.0)
    assert line["message"] == f"{OLD_VALUES}; lr = 0.7 was handed over to it"
    assert story.experiment(line).spec.priority == 0.0


def test_while_it_is_being_typed_the_row_says_that_it_is_read_again():
    story, line = running()
    story.table.type(line, lr=0.7)
    story.wait(2)
    assert line["message"] == "edited: read again as soon as it stays unchanged"
    assert given(story, line)["lr"] == 0.1


def test_a_paused_row_says_too_what_is_wrong_with_its_new_value():
    story, line = running()
    typed(story, line, action="pause")
    typed(story, line, lr="0,7")
    assert str(line["message"]).startswith("edited, and runs the old values until this is mended: lr is the text")
    typed(story, line, lr=0.1)
    assert line["message"] == "paused by its action cell; resume goes on from its newest checkpoint"


def test_nothing_is_taken_while_a_launch_is_on_its_way():
    story = story_of()
    story.hosts[HostName("alpha")].launch = lambda _effect: AttemptSeen(state=Seen.CLAIMED)  # type: ignore[method-assign]
    line = typed(story, template="train", lr=0.1)
    assert line["status"] == "launching"
    typed(story, line, lr=0.7)
    assert story.told(ev.RowRevised) == []
    assert len({repr(effect) for effect in story.asked(fx.Launch)}) == 1, "a launch is repeated as it was"
    story.hosts[HostName("alpha")].attempts[AttemptId(f"{line['id']}.1")] = AttemptSeen(state=Seen.CLAIMED)
    story.report(f"{line['id']}.1", AttemptSeen(state=Seen.RUNNING))
    assert given(story, line)["lr"] == 0.7


def test_a_value_that_asks_for_several_runs_is_not_handed_over():
    story, line = running()
    typed(story, line, lr="{0.7 | 0.8}")
    assert (given(story, line)["lr"], line["message"]) == (0.1, OLD_VALUES)


def test_text_is_handed_over_as_it_was_typed_and_shown_without_signs_that_act():
    story, line = running()
    typed(story, line, name="=A1 $(reboot)\x1b[2J\u202e")
    assert given(story, line)["name"] == "=A1 $(reboot)\x1b[2J\u202e"
    assert "\x1b" not in str(line["message"])
    assert "\u202e" not in str(line["message"])


def test_by_an_edited_template_the_arguments_of_what_was_accepted_do_not_change():
    story, line = running()
    story.edit_files(templates=[replace(LIVE, command=("python", "other.py", "--lr={lr}"))])
    typed(story, line, lr=0.7)
    assert given(story, line)["lr"] == 0.7
    assert story.experiment(line).spec.argv == ("python", "train.py", "--lr=0.1", "--seed=0")


def test_a_row_that_waits_is_not_launched_while_somebody_may_still_be_typing_in_it():
    """Seed 900967 of the simulator: the slot became free in that moment, and the old values ran."""
    story = Story()
    first = story.table.type(template="train", lr=0.1)
    story.wait(12)
    waiting = story.table.type(template="train", lr=0.2)
    story.wait(12)
    story.table.type(waiting, lr=0.3)
    story.hosts[HostName("alpha")].attempts[AttemptId(f"{first['id']}.1")] = EXITED
    story.restart_daemon()
    story.wait(20)
    assert waiting["status"] == "running"
    assert story.experiment(waiting).spec.params["lr"] == 0.3


def test_it_is_launched_with_what_was_accepted_where_the_sheet_cannot_be_read_meanwhile():
    story = Story()
    first = story.table.type(template="train", lr=0.1)
    story.wait(12)
    waiting = story.table.type(template="train", lr=0.2)
    story.wait(12)
    story.table.type(waiting, lr=0.3)
    story.wait(2)
    story.sheet_error = ("Google does not answer", False)
    story.exits(f"{first['id']}.1")
    story.wait(20)
    assert story.experiment(waiting).spec.params["lr"] == 0.2
    assert len(story.attempts_started()) == 2


def test_a_parameters_column_that_was_renamed_while_no_daemon_ran_changes_nothing_of_rows_that_wait():
    """Seed 902675 of the simulator: the default of the template was taken for an edit."""
    story = Story()
    story.table.type(template="train", lr=0.1, seed=1)
    story.wait(12)
    waiting = story.table.type(template="train", lr=0.2, seed=7)
    story.wait(12)
    story.table.header = ["number" if name == "seed" else name for name in story.table.header]
    story.table.changed()
    story.restart_daemon()
    story.wait(20)
    assert story.experiment(waiting).spec.params["seed"] == 7
    assert 'the column "seed" is gone: bring it back, or choose rerun to go on without it' in str(waiting["message"])
