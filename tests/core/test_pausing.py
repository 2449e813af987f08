"""`pause` and `resume`: what is stopped for the time being, what goes on again, and what a row says that is paused."""

from __future__ import annotations

import pytest

from sheetd.core import effect as fx
from sheetd.core import events as ev
from sheetd.core import observation as obs
from sheetd.core.grid import CellValue
from sheetd.core.model import Afterwards, ExperimentId, Phase
from sheetd.core.observation import AttemptSeen, Exit, Seen
from sheetd.core.world import Limits
from tests.core.story import OWNED_HEADER, Line, Story, Table

HEADER = ("template", "lr", "seed", "action", "after", "repeat", "my notes", *OWNED_HEADER)
NOT_PAUSED = "resume was not done: nothing was paused here (restart goes on from the newest checkpoint)"


def story_of(slots: int = 1) -> Story:
    return Story(hosts={"alpha": slots}, table=Table(HEADER), limits=Limits(dress_every_s=1e9))


def typed(story: Story, /, **values: CellValue) -> Line:
    line = story.table.type(template="train", **values)
    story.wait(12)
    return line


def choose(story: Story, line: Line, word: str | None) -> None:
    story.table.type(line, action=word)
    story.wait(12)


def running(slots: int = 1) -> tuple[Story, Line]:
    story = story_of(slots)
    line = typed(story, lr=0.1)
    assert line["status"] == "running"
    return story, line


def slow_to_stop(story: Story) -> None:
    (host,) = story.hosts.values()
    host.stop = lambda _attempt: AttemptSeen(state=Seen.STOPPING)  # type: ignore[method-assign]


def said(line: Line) -> tuple[CellValue, CellValue]:
    return line["status"], line["message"]


# --- pause -------------------------------------------------------------------------------------------------------


def test_a_running_row_is_stopped_and_says_how_it_goes_on():
    story, line = running()
    choose(story, line, "pause")
    assert len(story.asked(fx.Stop)) == 1
    assert said(line) == ("paused", "paused by its action cell; resume goes on from its newest checkpoint")
    assert line["action"] == "pause", "the cell is the user's"


def test_nothing_of_it_starts_while_it_is_paused_and_its_slot_is_for_others():
    story, line = running()
    choose(story, line, "pause")
    other = typed(story, lr=0.2)
    story.wait(600)
    assert (line["status"], other["status"]) == ("paused", "running")
    assert len(story.attempts_started()) == 2


def test_a_queued_row_is_paused_before_it_begins():
    story, first = running()
    queued = typed(story, lr=0.2)
    choose(story, queued, "pause")
    assert said(queued) == ("paused", "paused by its action cell; resume queues it again")
    story.exits(f"{first['id']}.1")
    story.wait(60)
    assert len(story.attempts_started()) == 1
    choose(story, queued, "resume")
    assert queued["status"] == "running"
    assert not story.asked(fx.Launch)[-1].resume, "it begins as it would have"  # type: ignore[union-attr]


def test_a_new_row_that_says_pause_is_accepted_and_not_begun():
    story = story_of()
    line = typed(story, lr=0.1, action="pause")
    assert (line["status"], story.attempts_started()) == ("paused", [])


def test_a_pause_is_known_after_a_restart_of_the_daemon():
    story, line = running()
    choose(story, line, "pause")
    story.restart_daemon()
    story.wait(60)
    assert (line["status"], len(story.attempts_started())) == ("paused", 1)
    choose(story, line, "resume")
    assert (line["status"], len(story.attempts_started())) == ("running", 2)


def test_a_pause_costs_no_budget():
    """Three times a host is lost may be relaunched (`relaunches`); what a person paused is none of these."""
    story, line = running()
    for _ in range(5):
        choose(story, line, "pause")
        choose(story, line, "resume")
    assert line["status"] == "running"
    story.reboot("alpha")
    story.wait(30)
    assert (line["status"], line["attempt"]) == ("running", 7.0)


def test_a_program_that_succeeds_while_it_is_paused_has_succeeded():
    story, line = running()
    slow_to_stop(story)
    choose(story, line, "pause")
    story.exits(f"{line['id']}.1", rc=0)
    story.wait(8)
    assert line["status"] == "succeeded"


def test_a_program_that_dies_of_the_stop_is_paused_and_has_not_failed():
    story, line = running()
    slow_to_stop(story)
    choose(story, line, "pause")
    assert said(line)[0] == "stopping"
    story.report(f"{line['id']}.1", AttemptSeen(state=Seen.EXITED, exit=Exit(rc=1)))
    story.wait(8)
    assert line["status"] == "paused"


def test_a_stop_overrules_a_pause_that_is_under_way():
    story, line = running()
    slow_to_stop(story)
    choose(story, line, "pause")
    choose(story, line, "stop")
    story.exits(f"{line['id']}.1", rc=143)
    story.wait(8)
    assert said(line) == ("stopped", "stopped by its action cell")


@pytest.mark.parametrize("word", ["restart", "rerun"])
def test_a_pause_overrules_a_restart_that_is_under_way(word: str):
    story, line = running()
    slow_to_stop(story)
    choose(story, line, word)
    choose(story, line, "pause")
    assert story.experiment(line).afterwards is Afterwards.PAUSE
    story.exits(f"{line['id']}.1", rc=143)
    story.wait(8)
    assert (line["status"], len(story.attempts_started())) == ("paused", 1)


def test_a_paused_row_can_be_stopped_for_good():
    story, line = running()
    choose(story, line, "pause")
    choose(story, line, "stop")
    assert said(line) == ("stopped", "stopped by its action cell; paused by its action cell")
    choose(story, line, "resume")
    assert said(line) == ("stopped", f"{NOT_PAUSED}; stopped by its action cell; paused by its action cell")


def test_a_paused_row_can_be_stopped_from_the_command_line():
    story, line = running()
    choose(story, line, "pause")
    story.turn(obs.StopRequested(experiment=ExperimentId(str(line["id"])), request=1))
    story.wait(8)
    assert line["status"] == "stopped"


@pytest.mark.parametrize("rc", [0, 1])
def test_what_has_ended_cannot_be_paused_and_the_row_says_so(rc: int):
    story, line = running()
    story.exits(f"{line['id']}.1", rc=rc)
    story.wait(8)
    status = line["status"]
    choose(story, line, "pause")
    assert line["status"] == status
    assert str(line["message"]).startswith("pause was not done: it had ended already")


def test_what_is_being_stopped_cannot_be_paused():
    story, line = running()
    slow_to_stop(story)
    choose(story, line, "stop")
    choose(story, line, "pause")
    assert str(line["message"]).startswith("pause was not done: it was being stopped already; stopped by its action")
    story.exits(f"{line['id']}.1", rc=143)
    story.wait(8)
    assert line["status"] == "stopped"


# --- resume ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("word", "resumes"), [("resume", True), ("run", True), ("restart", True), ("rerun", False)])
def test_a_paused_row_goes_on_by_any_word_that_begins(word: str, resumes: bool):
    story, line = running()
    choose(story, line, "pause")
    choose(story, line, word)
    assert (line["status"], line["attempt"]) == ("running", 2.0)
    assert story.asked(fx.Launch)[-1].resume is resumes  # type: ignore[union-attr]


def test_resume_while_it_stops_is_obeyed_when_it_has_stopped():
    story, line = running()
    slow_to_stop(story)
    choose(story, line, "pause")
    choose(story, line, "resume")
    assert len(story.attempts_started()) == 1
    story.exits(f"{line['id']}.1", rc=143)
    story.wait(8)
    assert (line["status"], len(story.attempts_started())) == ("running", 2)


def test_resume_of_what_is_not_paused_changes_nothing_and_is_answered():
    story, line = running()
    choose(story, line, "resume")
    assert said(line) == ("running", NOT_PAUSED)
    story.exits(f"{line['id']}.1", rc=1)
    story.wait(8)
    assert line["status"] == "failed"
    assert len(story.attempts_started()) == 1


def test_an_answer_is_gone_when_the_cell_is_emptied():
    story, line = running()
    choose(story, line, "resume")
    choose(story, line, None)
    assert said(line) == ("running", None)


def test_a_rerun_that_was_paused_before_it_began_still_starts_from_nothing():
    story, line = running()
    choose(story, line, "stop")
    typed(story, lr=0.3)
    choose(story, line, "rerun")
    assert line["status"] == "waiting"
    choose(story, line, "pause")
    story.exits(story.attempts_started()[-1])
    choose(story, line, "resume")
    assert not story.asked(fx.Launch)[-1].resume  # type: ignore[union-attr]


def test_a_row_that_waits_for_a_paused_one_says_what_to_choose():
    story, line = running()
    child = typed(story, lr=0.2, after=line["id"])
    choose(story, line, "pause")
    story.wait(4)
    assert child["message"] == f"waits for {line['id']}, which is paused (choose resume there)"


# --- rows that stand for several runs ----------------------------------------------------------------------------


def test_pause_pauses_every_run_that_has_not_ended():
    story = story_of(2)
    line = typed(story, lr="{0.1 | 0.2 | 0.3}")
    other = typed(story, lr=0.5)
    story.exits(f"{line['id']}-1.1")
    choose(story, other, "stop")
    choose(story, line, "pause")
    assert line["status"] == "paused"
    assert str(line["message"]).startswith("1 of 3 done, 2 paused; ")
    story.wait(100)
    before = len(story.attempts_started())
    choose(story, line, "resume")
    assert len(story.attempts_started()) == before + 2
    assert str(line["message"]).startswith("1 of 3 done, 2 running")


def test_resume_of_a_row_of_runs_goes_on_with_the_paused_ones_only():
    story = story_of(3)
    line = typed(story, lr="{0.1 | 0.2 | 0.3}")
    story.exits(f"{line['id']}-1.1", rc=1)
    story.wait(8)
    choose(story, line, "pause")
    choose(story, line, "resume")
    assert str(line["message"]).startswith("0 of 3 done, 2 running, 1 failed")


def test_run_goes_on_with_everything_that_is_not_done():
    story = story_of(3)
    line = typed(story, lr="{0.1 | 0.2 | 0.3}")
    story.exits(f"{line['id']}-1.1", rc=1)
    story.wait(8)
    choose(story, line, "pause")
    choose(story, line, "run")
    assert str(line["message"]).startswith("0 of 3 done, 3 running")


def test_a_paused_run_that_the_row_does_not_ask_for_any_more_does_not_come_back():
    story = story_of(3)
    line = typed(story, lr="{0.1 | 0.2 | 0.3}")
    choose(story, line, "pause")
    story.table.type(line, lr="{0.1 | 0.2}")
    choose(story, line, "run")
    choose(story, line, "pause")
    choose(story, line, "resume")
    assert str(line["message"]).startswith("0 of 2 done, 2 running")
    assert story.world.state.experiments[ExperimentId(f"{line['id']}-3")].phase is Phase.ENDED


def test_a_word_for_runs_of_which_none_is_to_be_paused_or_resumed_is_answered():
    story = story_of(2)
    line = typed(story, lr="{0.1 | 0.2}")
    choose(story, line, "resume")
    assert str(line["message"]).startswith(NOT_PAUSED)
    for number in (1, 2):
        story.exits(f"{line['id']}-{number}.1")
    story.wait(8)
    choose(story, line, "pause")
    assert str(line["message"]).startswith("pause was not done: every run had ended; 2 of 2 done")


# --- edits -------------------------------------------------------------------------------------------------------


def queued(**values: CellValue) -> tuple[Story, Line, Line]:
    story, first = running()
    line = typed(story, lr=0.2, **values)
    assert line["status"] == "waiting"
    return story, first, line


def test_an_edited_row_that_has_not_begun_runs_its_new_values():
    story, first, line = queued()
    story.table.type(line, lr=0.7)
    story.wait(12)
    assert len(story.told(ev.RowRevised)) == 1
    assert str(line["message"]).startswith("waits for 1 slot")
    story.exits(f"{first['id']}.1")
    story.wait(12)
    launch = story.asked(fx.Launch)[-1]
    assert "--lr=0.7" in launch.spec.argv  # type: ignore[union-attr]
    assert said(line) == ("running", None)


def test_so_does_one_that_is_paused_before_it_began():
    story, first, line = queued()
    choose(story, line, "pause")
    story.table.type(line, lr=0.7)
    story.wait(12)
    story.exits(f"{first['id']}.1")
    choose(story, line, "resume")
    assert "--lr=0.7" in story.asked(fx.Launch)[-1].spec.argv  # type: ignore[union-attr]


def test_an_edit_that_is_taken_is_known_after_a_restart_of_the_daemon():
    story, first, line = queued()
    story.table.type(line, lr=0.7)
    story.wait(12)
    story.restart_daemon()
    story.exits(f"{first['id']}.1")
    story.wait(12)
    assert "--lr=0.7" in story.asked(fx.Launch)[-1].spec.argv  # type: ignore[union-attr]
    assert len(story.told(ev.RowRevised)) == 1


def test_an_edit_that_cannot_run_is_said_and_the_old_values_stay():
    story, first, line = queued()
    story.table.type(line, lr="0,7")
    story.wait(12)
    assert str(line["message"]).startswith('edited, and runs the old values until this is mended: lr is the text "0,7"')
    story.exits(f"{first['id']}.1")
    story.wait(12)
    assert "--lr=0.2" in story.asked(fx.Launch)[-1].spec.argv  # type: ignore[union-attr]


def test_an_edit_that_asks_for_several_runs_waits_for_rerun():
    story, _, line = queued()
    story.table.type(line, lr="{0.7 | 0.8}")
    story.wait(12)
    assert str(line["message"]).startswith("edited, and makes 2 runs now: choose rerun to start them")
    choose(story, line, "rerun")
    assert str(line["message"]).startswith("0 of 2 done, 2 waiting")


def test_what_is_still_being_typed_is_not_taken():
    story, _, line = queued()
    story.table.type(line, lr=0.7)
    story.wait(2)
    assert story.told(ev.RowRevised) == []
    assert str(line["message"]).startswith("edited: read again as soon as it stays unchanged")


def test_the_new_priority_of_a_queued_row_counts():
    story = Story(table=Table(("priority", *HEADER)), limits=Limits(dress_every_s=1e9))
    first = typed(story, lr=0.1)
    second, third = typed(story, lr=0.2), typed(story, lr=0.3)
    story.table.type(third, priority=5.0)
    story.wait(12)
    story.exits(f"{first['id']}.1")
    story.wait(12)
    assert (second["status"], third["status"]) == ("waiting", "running")


def test_a_row_that_has_begun_keeps_its_values_and_says_so():
    story, line = running()
    story.table.type(line, lr=0.7)
    story.wait(12)
    assert said(line)[1] == "edited after it was accepted: it runs the old values, choose rerun for the new ones"
    choose(story, line, "pause")
    assert story.told(ev.RowRevised) == []
    choose(story, line, "resume")
    assert "--lr=0.1" in story.asked(fx.Launch)[-1].spec.argv  # type: ignore[union-attr]
