"""Rows that stand for several runs: what is begun, what its row says, and what a word in it does to all of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sheetd.core import events as ev
from sheetd.core import observation as obs
from sheetd.core.model import AttemptId, ExperimentId, HostName, MetricRule, Phase
from sheetd.core.observation import AttemptSeen, MetricPoint, Seen
from sheetd.core.world import Limits
from sheetd.errors import IllegalTransition
from tests.core.story import OWNED_HEADER, TRAIN, Line, Story, Table

HEADER = ("template", "lr", "seed", "action", "after", "repeat", "my notes", *OWNED_HEADER, "loss:min", "loss:max")
OWNED = frozenset({*OWNED_HEADER, "loss:min", "loss:max"})


class SweepTable(Table):
    owned = OWNED


def story_of(slots: int = 8, **limits: object) -> Story:
    return Story(
        hosts={"alpha": slots},
        table=SweepTable(HEADER),
        limits=Limits(dress_every_s=1e9, **limits),  # type: ignore[arg-type]
    )


def typed(story: Story, /, **values: object) -> Line:
    line = story.table.type(template="train", **values)  # type: ignore[arg-type]
    story.wait(12)
    return line


def runs_of(story: Story, line: Line) -> list[str]:
    """Each attempt of each run, whatever the order in which they began."""
    return sorted(one.partition("-")[2] for one in story.attempts_started() if one.startswith(f"{line['id']}-"))


def ends(story: Story, line: Line, *numbers: int, rc: int = 0, attempt: int = 1) -> None:
    for number in numbers:
        story.exits(f"{line['id']}-{number}.{attempt}", rc)
    story.wait(8)


def act(story: Story, line: Line, word: str | None) -> None:
    story.table.type(line, action=word)
    story.wait(12)


# --- what is begun -----------------------------------------------------------------------------------------------


def test_each_combination_is_run_once_and_the_row_stays_one_row():
    story = story_of()
    line = typed(story, lr="{0.1 | 0.2}", seed="1..3")
    assert runs_of(story, line) == ["1.1", "2.1", "3.1", "4.1", "5.1", "6.1"]
    assert len(story.table.lines) == 1
    params = [story.experiment_by(f"{line['id']}-{n}").spec.params for n in range(1, 7)]
    assert params == [{"lr": lr, "seed": seed} for lr in (0.1, 0.2) for seed in (1, 2, 3)]
    assert story.experiment(line).spec.argv == ()
    assert (line["status"], line["message"]) == ("running", "0 of 6 done, 6 running")
    story.restart_daemon()
    story.wait(12)
    assert len(runs_of(story, line)) == 6
    assert line["message"] == "0 of 6 done, 6 running"


def test_repeats_are_told_which_they_are():
    story = story_of()
    line = typed(story, lr=0.1, repeat=3)
    envs = [story.experiment_by(f"{line['id']}-{n}").spec.env for n in (1, 2, 3)]
    assert envs == [{"SHEETD_REPEAT": "1"}, {"SHEETD_REPEAT": "2"}, {"SHEETD_REPEAT": "3"}]


def test_a_row_of_one_value_is_an_ordinary_row():
    story = story_of()
    line = typed(story, lr="3..3", repeat=1)
    assert story.attempts_started() == [AttemptId(f"{line['id']}.1")]


def test_a_row_of_more_runs_than_the_limit_waits_for_the_word():
    story = story_of(sweep_max=5)
    line = typed(story, lr="{0.1 | 0.2}", seed="1..3")
    assert (line["status"], line["message"]) == (
        "draft",
        "this row makes 6 runs (2 x lr, 3 x seed), more than sweep_max = 5: choose run in action to start them all",
    )
    assert not story.attempts_started()
    act(story, line, "run")
    assert len(runs_of(story, line)) == 6


def test_where_rows_start_when_told_to_the_preview_is_in_the_row():
    story = story_of(explicit_only=True)
    line = typed(story, lr="{0.1 | 0.2}")
    assert line["message"] == "this row makes 2 runs (2 x lr): choose run in action to start them"


def test_a_bad_value_holds_back_the_whole_row():
    story = story_of()
    line = typed(story, lr="{0.1 | 11}")
    assert (line["status"], line["message"]) == ("invalid", "lr is 11, above 10: type a number from 0 to 10")
    assert not story.attempts_started()


def test_a_copied_row_waits_like_any_other_copy():
    story = story_of()
    line = typed(story, lr="{0.1 | 0.2}")
    copied = story.table.copy(line)
    story.wait(12)
    assert str(copied["message"]).startswith(f"a copy of {line['id']}: change a value")
    assert len(story.attempts_started()) == 2


def test_what_a_person_types_like_the_id_of_a_run_is_no_id():
    story = story_of()
    line = typed(story, lr="{0.1 | 0.2}")
    member = f"{line['id']}-1"
    other = story.table.type(template="train", lr=0.3, id=member, action="stop")
    story.table.type(id=member, notes="mine")
    story.wait(12)
    assert other["id"] not in (member, None)
    assert story.table.lines[2]["id"] is None
    assert story.experiment_by(member).phase is Phase.RUNNING
    assert line["message"] == "0 of 2 done, 2 running"


# --- what the row says -------------------------------------------------------------------------------------------


def test_the_row_counts_and_tells_of_the_first_that_is_not_well():
    story = story_of(slots=3)
    line = typed(story, lr="{0.1 | 0.2 | 0.3 | 0.4 | 0.5}")
    assert (line["status"], line["message"]) == (
        "running",
        f"0 of 5 done, 3 running, 2 waiting; {line['id']}-4: waits for 1 slot: 3 of 3 are taken",
    )
    ends(story, line, 1)
    ends(story, line, 2, rc=1)
    assert (line["status"], line["message"]) == (
        "running",
        f"1 of 5 done, 3 running, 1 failed; {line['id']}-2: exit code 1",
    )
    assert line["progress"] == "40%"
    ends(story, line, 3, 4, 5)
    assert (line["status"], line["message"]) == ("failed", f"4 of 5 done, 1 failed; {line['id']}-2: exit code 1")
    assert line["progress"] == "100%"


def test_a_row_has_succeeded_when_every_run_has():
    story = story_of()
    line = typed(story, lr="{0.1 | 0.2}")
    ends(story, line, 1, 2)
    assert (line["status"], line["message"], line["host"]) == ("succeeded", "2 of 2 done", "alpha")
    assert story.experiment(line).phase is Phase.ENDED


def reported(story: Story, line: Line, number: int, *losses: float) -> None:
    for step, loss in enumerate(losses):
        news = obs.MetricsReported(
            host=HostName("alpha"),
            attempt=AttemptId(f"{line['id']}-{number}.1"),
            start=step * 10,
            points=(MetricPoint(step=step, values={"loss": loss}),),
            end=(step + 1) * 10,
        )
        story.turn(news)
    story.wait(6)


@pytest.fixture
def measuring() -> Story:
    template = replace(TRAIN, metrics=(MetricRule(name="loss"),))
    return Story(hosts={"alpha": 4}, table=SweepTable(HEADER), templates=(template,), limits=Limits(dress_every_s=1e9))


def test_metrics_are_taken_together(measuring: Story):
    line = typed(measuring, lr="{0.1 | 0.2 | 0.3}")
    reported(measuring, line, 1, 9.0, 2.0)
    assert (line["loss"], line["loss:min"]) == (2.0, 2.0)
    reported(measuring, line, 2, 4.0)
    reported(measuring, line, 3, 1.0, 3.0)
    assert (line["loss"], line["loss:min"], line["loss:max"]) == ("3 \u00b1 1", 1.0, 9.0)


def test_numbers_that_come_after_the_end_are_shown(measuring: Story):
    line = typed(measuring, lr="{0.1 | 0.2}")
    ends(measuring, line, 1, 2)
    reported(measuring, line, 1, 5.0)
    assert line["loss"] == 5.0


def test_no_numbers_however_large_break_the_row(measuring: Story):
    line = typed(measuring, lr="{0.1 | 0.2}")
    reported(measuring, line, 1, 1.7e308)
    reported(measuring, line, 2, -1.7e308)
    assert line["loss:min"] == -1.7e308
    assert line["loss"] is not None


# --- words -------------------------------------------------------------------------------------------------------


def test_stop_stops_every_run():
    story = story_of(slots=2)
    line = typed(story, lr="{0.1 | 0.2 | 0.3}")
    act(story, line, "stop")
    assert (line["status"], story.experiment(line).phase) == ("stopped", Phase.ENDED)
    assert str(line["message"]).startswith("0 of 3 done, 3 stopped; ")
    assert len(story.attempts_started()) == 2


def test_stop_from_the_command_line_reaches_the_row_or_one_run():
    story = story_of()
    line = typed(story, lr="{0.1 | 0.2}")
    story.turn(obs.StopRequested(experiment=ExperimentId(f"{line['id']}-2"), request=1))
    story.settle()
    story.wait(8)
    assert str(line["message"]).startswith("0 of 2 done, 1 running, 1 stopped")
    story.turn(obs.StopRequested(experiment=ExperimentId(str(line["id"])), request=2))
    story.settle()
    story.wait(8)
    assert line["status"] == "stopped"


def test_run_begins_only_what_failed_or_is_missing():
    story = story_of()
    line = typed(story, lr="{0.1 | 0.2}")
    ends(story, line, 1)
    ends(story, line, 2, rc=1)
    story.table.type(line, lr="{0.1 | 0.2 | 0.3}")
    story.wait(12)
    assert str(line["message"]).startswith("edited after it was accepted: choose run to add the runs that are missing")
    act(story, line, "run")
    assert runs_of(story, line) == ["1.1", "2.1", "2.2", "3.1"]
    assert line["message"] == "1 of 3 done, 2 running"
    act(story, line, None)
    ends(story, line, 3)
    ends(story, line, 2, attempt=2)
    act(story, line, "run")
    assert len(runs_of(story, line)) == 4
    assert line["status"] == "succeeded"


def test_a_run_that_the_row_no_longer_asks_for_is_stopped_by_run():
    story = story_of()
    line = typed(story, lr="{0.1 | 0.2}")
    story.table.type(line, lr="{0.2 | 0.3}")
    act(story, line, "run")
    assert story.experiment_by(f"{line['id']}-1").phase is Phase.ENDED
    assert runs_of(story, line) == ["1.1", "2.1", "3.1"]
    assert line["message"] == "0 of 2 done, 2 running"
    story.table.type(line, lr="{0.1 | 0.2 | 0.3}")
    act(story, line, None)
    act(story, line, "run")
    assert runs_of(story, line) == ["1.1", "1.2", "2.1", "3.1"]


def test_more_repeats_keep_those_that_there_are():
    story = story_of()
    line = typed(story, lr="{0.1 | 0.2}")
    story.table.type(line, repeat=2)
    act(story, line, "run")
    assert runs_of(story, line) == ["1.1", "2.1", "3.1", "4.1"]
    assert story.experiment_by(f"{line['id']}-3").spec.env == {"SHEETD_REPEAT": "2"}


def test_rerun_does_everything_anew_with_the_values_of_now():
    story = story_of()
    line = typed(story, lr="{0.1 | 0.2}")
    ends(story, line, 1)
    story.table.type(line, lr="{0.2 | 0.3}")
    act(story, line, "rerun")
    assert runs_of(story, line) == ["1.1", "2.1", "2.2", "3.1"]
    assert line["message"] == "0 of 2 done, 2 running"
    assert story.experiment_by(f"{line['id']}-2").resume is False


def test_a_row_that_ran_alone_becomes_several_by_rerun_and_one_again():
    story = story_of()
    line = typed(story, lr=0.1)
    story.exits(f"{line['id']}.1", 0)
    story.wait(8)
    story.table.type(line, lr="{0.1 | 0.2}")
    act(story, line, "rerun")
    assert runs_of(story, line) == ["1.1", "2.1"]
    assert line["message"] == "0 of 2 done, 2 running"
    ends(story, line, 1, 2)
    story.table.type(line, lr=0.1)
    act(story, line, None)
    act(story, line, "rerun")
    assert runs_of(story, line) == ["1.1", "1.2", "2.1"]
    assert line["message"] == "0 of 1 done, 1 running"


def test_restart_resumes_what_runs_or_has_failed():
    story = story_of()
    line = typed(story, lr="{0.1 | 0.2 | 0.3}")
    ends(story, line, 1)
    ends(story, line, 2, rc=1)
    act(story, line, "restart")
    assert runs_of(story, line) == ["1.1", "2.1", "2.2", "3.1", "3.2"]
    assert story.experiment_by(f"{line['id']}-3").resume is True


def test_a_word_that_changes_nothing_is_answered_all_the_same():
    """Seed 82595 of the simulator: nothing was left to restart, and the row did not say that it had been asked."""
    story = story_of()
    line = typed(story, lr="{0.1 | 0.2}")
    ends(story, line, 1, 2)
    story.wait(30)
    act(story, line, "restart")
    assert line["message"] == "restart was obeyed: empty the action cell before choosing it again; 2 of 2 done"
    act(story, line, None)
    assert line["message"] == "2 of 2 done"


def test_a_word_is_obeyed_once_through_a_restart_of_the_daemon():
    story = story_of()
    line = typed(story, lr="{0.1 | 0.2}")
    ends(story, line, 1, 2, rc=1)
    act(story, line, "run")
    ends(story, line, 1, 2, rc=1, attempt=2)
    story.restart_daemon()
    story.wait(12)
    assert len(runs_of(story, line)) == 4
    assert "run was obeyed" in str(line["message"])


# --- rows that move and vanish -----------------------------------------------------------------------------------


def test_runs_are_not_taken_for_rows_that_were_deleted():
    story = story_of(deleted_row_grace_s=5.0)
    line = typed(story, lr="{0.1 | 0.2}")
    story.wait(60)
    assert line["message"] == "0 of 2 done, 2 running"


def test_a_deleted_row_has_its_runs_stopped_after_the_grace_and_none_begun():
    story = story_of(slots=1, deleted_row_grace_s=20.0)
    line = typed(story, lr="{0.1 | 0.2}")
    story.table.delete(line)
    story.wait(12)
    ends(story, line, 1)
    assert len(story.attempts_started()) == 1
    story.wait(40)
    assert story.experiment(line).phase is Phase.ENDED
    assert len(story.attempts_started()) == 1


def test_a_row_whose_id_was_cleared_gets_it_back():
    story = story_of()
    line = typed(story, lr="{0.1 | 0.2}")
    id_ = line["id"]
    story.table.type(line, id=None)
    story.wait(12)
    assert line["id"] == id_
    assert len(story.attempts_started()) == 2


# --- others that run after it ------------------------------------------------------------------------------------


def test_what_runs_after_it_waits_for_every_run_and_is_told_of_each():
    story = story_of()
    line = typed(story, lr="{0.1 | 0.2}")
    child = typed(story, lr=0.3, after=str(line["id"]))
    ends(story, line, 1)
    assert child["message"] == f"waits for {line['id']} (waiting)"
    ends(story, line, 2)
    assert child["status"] == "running"
    kept = story.hosts[HostName("alpha")].kept[AttemptId(f"{child['id']}.1")]
    assert kept.spec is not None
    assert kept.spec.after == (f"{line['id']}-1", f"{line['id']}-2")


def test_a_row_may_run_after_one_run():
    story = story_of()
    line = typed(story, lr="{0.1 | 0.2}")
    child = typed(story, lr=0.3, after=f"{line['id']}-2")
    ends(story, line, 2)
    assert child["status"] == "running"


def test_a_circle_through_a_run_is_found():
    story = story_of()
    line = typed(story, lr="{0.1 | 0.2}")
    child = typed(story, lr=0.3, after=f"{line['id']}-2")
    story.table.type(line, after=str(child["id"]))
    act(story, line, "rerun")
    assert "after makes a circle" in str(line["message"])


# --- other daemons -----------------------------------------------------------------------------------------------


def test_what_a_lost_journal_had_begun_is_found_again_and_only_the_rest_is_missing():
    story = story_of(slots=2)
    line = typed(story, lr="{0.1 | 0.2 | 0.3}")
    story.journal = [entry for entry in story.journal if isinstance(entry[0], ev.DaemonStarted)]
    story.identity = replace(story.identity, owner="another")
    story.restart_daemon()
    story.wait(20)
    assert len(story.attempts_started()) == 2
    assert line["message"] == "0 of 2 done, 2 running"
    ends(story, line, 1, 2)
    act(story, line, "run")
    assert runs_of(story, line) == ["1.1", "2.1", "3.1"]
    assert line["message"] == "2 of 3 done, 1 running"


def test_a_host_may_lose_one_run_without_the_others():
    story = story_of()
    line = typed(story, lr="{0.1 | 0.2}")
    story.report(f"{line['id']}-1.1", AttemptSeen(state=Seen.LOST))
    story.wait(8)
    assert runs_of(story, line) == ["1.1", "1.2", "2.1"]


# --- the books ---------------------------------------------------------------------------------------------------


def test_a_member_is_begun_once():
    story = story_of()
    line = typed(story, lr="{0.1 | 0.2}")
    event = next(event for event in story.events if isinstance(event, ev.SweepExpanded))
    with pytest.raises(IllegalTransition, match=f"{line['id']}-1 cannot be a new member"):
        story.world.state.apply(event, 0.0)


def test_a_running_experiment_does_not_become_several():
    story = story_of()
    line = typed(story, lr=0.1)
    id_ = ExperimentId(str(line["id"]))
    spec = story.experiment(line).spec
    event = ev.SweepExpanded(experiment=id_, spec=spec, members=(), begun=(), fingerprint="f", wall_s=0.0)
    with pytest.raises(IllegalTransition, match="cannot become several"):
        story.world.state.apply(event, 0.0)


def test_a_run_that_is_left_out_is_not_given_up_where_nobody_sees_it():
    """Seed 86: a value that is taken out of a cell says nothing of a machine that went away (H20)."""
    story = story_of()
    story.hosts[HostName("alpha")].machine = "first"
    story.cut_off("alpha")
    story.back("alpha")
    line = typed(story, lr="{0.1 | 0.2}")
    story.hosts[HostName("alpha")].machine = "second"
    story.cut_off("alpha")
    story.back("alpha")
    story.table.type(line, lr="{0.2 | 0.3}")
    act(story, line, "run")
    member = story.experiment_by(f"{line['id']}-1")
    assert member.phase is Phase.STOPPING
    assert f"{member.id} is not asked for any more: another machine answers as alpha" in str(line["message"])
    act(story, line, "restart")
    assert story.experiment_by(member.id).phase is Phase.ENDED
