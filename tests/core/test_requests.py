"""Experiments are begun again from the command line: once, whatever dies meanwhile."""

from __future__ import annotations

import pytest

from sheetd.core import events as ev
from sheetd.core import observation as obs
from sheetd.core.model import ExperimentId, Phase
from sheetd.core.requests import answer_to_begin, heard
from tests.core.story import Line, Story


def running(**values: object) -> tuple[Story, Line]:
    story = Story(hosts={"alpha": 8})
    line = story.table.type(**{"template": "train", "lr": 0.1, **values})  # type: ignore[arg-type]
    story.wait(12)
    assert line["status"] == "running"
    return story, line


def asked(line: Line, word: str, number: int = 1, run: str = "") -> obs.BeginRequested:
    return obs.BeginRequested(
        experiment=ExperimentId(f"{line['id']}{run}"), action=word, request=number, wall_s=1.7e9 + number
    )


def asks(story: Story, request: obs.BeginRequested) -> None:
    story.turn(request)
    story.wait(10)


def answer(story: Story, line: Line) -> str:
    return answer_to_begin(story.world, story.world.begin_requests[ExperimentId(str(line["id"]))])


def ends(story: Story, attempt: str, rc: int = 0) -> None:
    story.exits(attempt, rc)
    story.wait(10)


def resumes(story: Story) -> list[bool]:
    return [event.resume for event in story.told(ev.ExperimentReopened)]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("word", "resume"), [("restart", True), ("rerun", False)])
def test_what_has_ended_begins_again_once(word: str, resume: bool):
    story, line = running()
    ends(story, f"{line['id']}.1")
    asks(story, asked(line, word))
    story.wait(30)
    assert (line["status"], line["attempt"]) == ("running", 2.0)
    assert resumes(story) == [resume]
    assert answer(story, line) == f"{line['id']} running"


@pytest.mark.parametrize("word", ["restart", "rerun"])
def test_what_runs_is_stopped_first_and_its_row_says_who_asked(word: str):
    story, line = running()
    asks(story, asked(line, word))
    (stop,) = story.told(ev.StopIntended)
    assert "the command line" in stop.why  # type: ignore[attr-defined]
    assert (line["status"], line["attempt"]) == ("running", 2.0)


@pytest.mark.parametrize("word", ["restart", "rerun"])
@pytest.mark.parametrize("is_over", [False, True])
def test_a_daemon_that_died_before_it_answered_does_not_begin_it_again(word: str, is_over: bool):
    story, line = running()
    if is_over:
        ends(story, f"{line['id']}.1")
    asks(story, asked(line, word))
    assert line["attempt"] == 2.0
    story.restart_daemon()
    asks(story, asked(line, word))
    assert (line["status"], line["attempt"]) == ("running", 2.0)
    assert len(story.told(ev.RequestObeyed)) == 1
    assert answer(story, line) == f"{line['id']} running"


def test_a_file_of_requests_that_counts_anew_is_obeyed():
    story, line = running()
    ends(story, f"{line['id']}.1")
    asks(story, asked(line, "restart"))
    story.restart_daemon()
    ends(story, f"{line['id']}.2")
    again = obs.BeginRequested(experiment=ExperimentId(str(line["id"])), action="restart", request=1, wall_s=1.8e9)
    asks(story, again)
    assert line["attempt"] == 3.0


def test_rerun_takes_the_values_of_the_row_as_it_is_now_and_restart_those_it_had():
    story, line = running()
    ends(story, f"{line['id']}.1")
    story.table.type(line, lr=0.2)
    story.wait(8)
    asks(story, asked(line, "restart"))
    ends(story, f"{line['id']}.2")
    assert story.experiment(line).spec.params["lr"] == 0.1
    story.world.begin_requests.clear()
    asks(story, asked(line, "rerun", 2))
    assert story.experiment(line).spec.params["lr"] == 0.2
    assert line["attempt"] == 3.0


def test_restart_needs_no_sheet_and_rerun_waits_for_it():
    story, line = running()
    ends(story, f"{line['id']}.1")
    story.sheet_error = ("the sheet is down", False)
    story.wait(20)
    asks(story, asked(line, "rerun"))
    assert (len(story.attempts_started()), answer(story, line)) == (1, "")
    story.world.begin_requests.clear()
    asks(story, asked(line, "restart", 2))
    assert len(story.attempts_started()) == 2
    story.sheet_error = None


def test_rerun_of_a_row_that_cannot_be_run_stops_nothing_and_says_why():
    story, line = running()
    story.table.type(line, lr="0,1")
    story.wait(8)
    asks(story, asked(line, "rerun"))
    assert line["status"] == "running"
    assert answer(story, line) == f'cannot rerun {line["id"]}: lr is the text "0,1": type it with a point, 0.1'


def test_rerun_of_a_row_that_is_gone_says_so():
    story, line = running()
    ends(story, f"{line['id']}.1")
    story.table.delete(line)
    story.wait(12)
    asks(story, asked(line, "rerun"))
    assert "its row is not in the sheet" in answer(story, line)
    assert len(story.attempts_started()) == 1


def test_the_word_in_the_action_cell_is_neither_used_up_nor_obeyed_again():
    story, line = running()
    story.table.type(line, action="stop")
    story.wait(8)
    assert line["status"] == "stopped"
    asks(story, asked(line, "rerun"))
    story.wait(20)
    assert (line["status"], line["attempt"]) == ("running", 2.0)
    story.world.begin_requests.clear()
    asks(story, asked(line, "restart", 2))
    assert (line["status"], line["attempt"]) == ("running", 3.0)


def test_the_later_of_stop_and_restart_counts():
    story, line = running()
    id_ = ExperimentId(str(line["id"]))
    story.turn(asked(line, "restart", 1), obs.StopRequested(experiment=id_, request=2))
    story.settle()
    assert story.experiment(line).afterwards.value == "end"
    assert answer(story, line) == f"cannot restart {id_}: somebody asked later for it to be stopped"


@pytest.mark.parametrize("values", [{"lr": 0.1}, {"lr": "{0.1 | 0.2}"}, {"lr": 0.1, "action": "restart"}])
def test_rerun_begins_a_row_that_waits_because_its_like_ran_before(values: dict[str, object]):
    story, _ = running(lr="{0.1 | 0.2}")
    second = story.table.type(**{"template": "train", **values})  # type: ignore[arg-type]
    story.wait(12)
    assert second["status"] == "draft"
    assert str(second["message"]).startswith("already runs in row 2")
    before = len(story.attempts_started())
    asks(story, asked(second, "rerun"))
    begun = [attempt for attempt in story.attempts_started() if attempt.startswith(str(second["id"]))]
    assert len(begun) == len(story.attempts_started()) - before == (2 if "{" in str(values["lr"]) else 1)
    assert answer(story, second).startswith(f"{second['id']} ")
    count = len(story.events)
    story.restart_daemon()
    asks(story, asked(second, "rerun"))
    assert [type(event) for event in story.events[count:]] == []


def test_rerun_of_a_draft_that_cannot_be_run_says_why():
    story, _ = running()
    wrong = story.table.type(template="train", lr="0,1")
    story.wait(8)
    asks(story, asked(wrong, "rerun"))
    assert answer(story, wrong) == f'cannot rerun {wrong["id"]}: lr is the text "0,1": type it with a point, 0.1'
    assert heard(story.world, "restart", str(wrong["id"]), "", 2) == f"there is no experiment {wrong['id']}"
    story.table.delete(wrong)
    story.wait(30)
    assert "went away" in answer(story, wrong)


def test_all_runs_of_a_row_and_one_of_them():
    story, line = running(lr="{0.1 | 0.2}")
    one, other = f"{line['id']}-1", f"{line['id']}-2"
    ends(story, f"{one}.1")
    ends(story, f"{other}.1")
    asks(story, asked(line, "rerun", 1, "-2"))
    assert [attempt for attempt in story.attempts_started() if attempt.endswith(".2")] == [f"{other}.2"]
    assert resumes(story) == [False]
    ends(story, f"{other}.2")
    asks(story, asked(line, "rerun", 2))
    story.wait(30)
    assert sorted(story.attempts_started()) == [f"{one}.1", f"{one}.2", f"{other}.1", f"{other}.2", f"{other}.3"]


def test_what_waits_is_begun_once():
    story, _ = running()
    queue = [story.table.type(template="train", lr=1.0 + number) for number in range(8)]
    story.wait(12)
    last = queue[-1]
    assert last["status"] == "waiting"
    asks(story, asked(last, "restart"))
    assert (story.experiment(last).phase, answer(story, last)) == (Phase.WAITING, f"{last['id']} waiting")
    story.world.begin_requests.clear()
    asks(story, asked(last, "rerun", 2))
    assert (story.experiment(last).phase, answer(story, last)) == (Phase.WAITING, f"{last['id']} waiting")


def test_an_id_that_nobody_knows_is_answered_at_once():
    story, _ = running()
    assert heard(story.world, "rerun", "nobody", "", 1, 0.0) == "there is no experiment nobody"
