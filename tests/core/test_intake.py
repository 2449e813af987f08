"""From typed rows to experiments: nothing half-typed starts, nothing starts twice, nothing accepted is lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sheetd.core import effect as fx
from sheetd.core import events as ev
from sheetd.core import observation as obs
from sheetd.core.grid import Cell, CellValue
from sheetd.core.model import Afterwards, ExperimentId, Phase
from sheetd.core.observation import AttemptSeen, Seen
from sheetd.core.template import Param, Template
from sheetd.core.world import Limits
from tests.core.story import TRAIN, Line, Story

EXPLICIT = Limits(explicit_only=True, dress_every_s=1e9)


def running(*, hosts: int = 1, lr: float = 0.1) -> tuple[Story, Line]:
    story = Story(hosts={"alpha": hosts})
    line = story.table.type(template="train", lr=lr)
    story.wait(8)
    assert line["status"] == "running"
    return story, line


# --- the way of a row --------------------------------------------------------------------------------------------


def test_a_row_is_named_confirmed_accepted_launched_and_turns_green():
    story = Story()
    line = story.table.type(template="train", lr=0.1)

    story.wait(2.5)
    assert story.events == [], "it has not settled"

    story.wait(7)
    assert story.names() == ["IdAssigned", "RowAccepted", "LaunchIntended", "AttemptStarted"]
    (attempt,) = story.attempts_started()
    assert attempt == f"{line['id']}.1"
    assert (line["status"], line["host"], line["attempt"]) == ("running", "alpha", 1.0)

    story.exits(attempt, rc=0)
    story.wait(3)
    assert story.names()[-1] == "AttemptEnded"
    assert line["status"] == "succeeded"
    assert not line["message"]


def test_an_id_is_journalled_before_it_is_written_and_seen_before_the_row_is_accepted():
    story = Story()
    heard: list[tuple[str, CellValue]] = []
    line = story.table.type(template="train", lr=0.1)
    story.hears = lambda event: heard.append((type(event).__name__, line["id"]))
    story.wait(8)
    assert heard[0] == ("IdAssigned", None)
    assert heard[1] == ("RowAccepted", line["id"])


def test_a_row_whose_write_was_lost_is_not_accepted_before_its_id_is_seen():
    story = Story()
    story.table.type(template="train", lr=0.1)
    story.meddle = lambda effect: setattr(
        story, "sheet_error", ("the answer was lost", False) if isinstance(effect, fx.WriteSheet) else None
    )
    story.wait(60)
    assert story.names() == ["IdAssigned"]
    story.meddle = lambda _effect: None
    story.sheet_error = None
    story.wait(200)
    assert story.names()[1] == "RowAccepted"


@pytest.mark.parametrize("typing_s", [1.0, 2.0, 2.9])
def test_a_row_does_not_start_while_somebody_types_in_it(typing_s: float):
    story = Story()
    line = story.table.type(template="train")
    for seed in range(30):
        story.wait(typing_s)
        story.table.type(line, lr=0.1, seed=seed)
    assert ev.RowAccepted not in {type(event) for event in story.events}
    story.wait(8)
    (accepted,) = story.told(ev.RowAccepted)
    assert accepted.spec.params == {"lr": 0.1, "seed": 29}  # type: ignore[attr-defined]


def test_a_row_that_passes_through_what_an_older_row_says_does_not_start_there():
    story, _ = running(hosts=8)
    line = story.table.type(template="train", lr=0.1)
    story.wait(2.5)
    story.table.type(line, seed=7)
    story.wait(8)
    assert [event.spec.params for event in story.told(ev.RowAccepted)] == [  # type: ignore[attr-defined]
        {"lr": 0.1, "seed": 0},
        {"lr": 0.1, "seed": 7},
    ]


def test_the_same_row_typed_twice_runs_twice_where_its_template_allows_it():
    story = Story(hosts={"alpha": 2}, templates=[replace(TRAIN, allow_repeats=True)])
    lines = [story.table.type(template="train", lr=0.1) for _ in range(2)]
    story.wait(8)
    assert [line["status"] for line in lines] == ["running", "running"]
    assert len(set(story.attempts_started())) == 2


def test_a_bad_row_says_so_itself_and_stops_nobody_else():
    story = Story()
    bad = story.table.type(template="train", lr="0,1")
    good = story.table.type(template="train", lr=0.1)
    story.wait(8)
    assert (bad["status"], bad["message"]) == ("invalid", 'lr is the text "0,1": type it with a point, 0.1')
    assert good["status"] == "running"
    story.table.type(bad, lr=0.2)
    story.wait(8)
    assert bad["status"] == "waiting"
    assert bad["message"] == "waits for 1 slot: 1 of 1 are taken"


def test_blank_rows_and_notes_get_no_id():
    story = Story()
    story.table.type(notes="ideas for next week")
    story.table.insert(0)
    story.wait(20)
    assert story.events == []
    assert story.table.writes == 0


def test_a_formula_that_changes_with_every_read_never_starts():
    story = Story()
    line = story.table.type(template="train")
    for n in range(20):
        story.table.type(line, lr=Cell(value=0.1 + n / 100, shown="x", formula="=RAND()"))
        story.wait(1)
    assert story.told(ev.RowAccepted) == []


def test_an_unclear_header_stops_everything_that_comes_from_the_sheet_and_nothing_else():
    story, line = running(hosts=2)
    story.table.header.append("Status")
    story.table.type(line, action="stop")
    story.table.type(template="train", lr=0.2)
    writes = story.table.writes
    story.wait(30)
    assert story.table.writes == writes
    assert story.experiment(line).phase is Phase.RUNNING
    story.table.header.remove("Status")
    story.table.changed()
    story.wait(8)
    assert line["status"] == "stopped"


def test_explicitly_means_that_nothing_starts_without_run():
    story = Story(limits=EXPLICIT)
    line = story.table.type(template="train", lr=0.1)
    story.wait(20)
    assert (line["status"], line["message"]) == ("draft", "choose run in action to start it")
    story.table.type(line, action="Run ")
    story.wait(8)
    assert line["status"] == "running"


# --- code --------------------------------------------------------------------------------------------------------

WITH_CODE = Template(name="train", command=("python", "{x}"), params={"x": Param(name="x")}, code="src")


def test_code_is_pinned_before_a_row_is_accepted_with_it():
    story = Story(templates=[WITH_CODE])
    story.table.header[1] = "x"
    line = story.table.type(template="train", x="a.py")
    story.wait(8)
    (pin,) = story.asked(fx.PinCode)
    assert pin.code == "src"  # type: ignore[union-attr]
    assert story.experiment(line).spec.code == "c0de" * 16
    assert line["code"] == "c0dec0dec0"


def test_a_row_that_is_edited_while_its_code_is_pinned_is_pinned_again():
    story = Story(templates=[WITH_CODE])
    story.table.header[1] = "x"
    line = story.table.type(template="train", x="a.py")

    def edit_once(effect: fx.Effect) -> None:
        if isinstance(effect, fx.PinCode) and line["x"] == "a.py":
            story.table.type(line, x="b.py")
            story.turn(obs.SheetSeen(grid=story.table.read()))

    story.meddle = edit_once
    story.wait(12)
    assert story.experiment(line).spec.argv == ("python", "b.py")


def test_rows_that_wait_for_the_same_code_cost_one_snapshot():
    story = Story(templates=[WITH_CODE])
    story.table.header[1] = "x"
    for number in range(20):
        story.table.type(template="train", x=f"{number}.py")
    story.wait(8)
    (pin,) = story.asked(fx.PinCode)
    assert len(pin.rows) == 20  # type: ignore[union-attr]


def test_code_that_cannot_be_taken_is_said_in_the_row_and_tried_again():
    story = Story(templates=[WITH_CODE])
    story.table.header[1] = "x"
    line = story.table.type(template="train", x="a.py")
    carry_out = story.carry_out
    story.carry_out = lambda effect: (  # type: ignore[method-assign]
        fx.PinFailed(effect=effect, why="src is not there: create it")
        if isinstance(effect, fx.PinCode)
        else carry_out(effect)
    )
    story.wait(10)
    assert (line["status"], line["message"]) == ("invalid", "src is not there: create it")
    story.carry_out = carry_out  # type: ignore[method-assign]
    story.wait(10)
    assert line["status"] == "running"


# --- copies ------------------------------------------------------------------------------------------------------


def test_a_copied_row_gets_an_id_of_its_own_and_waits_to_be_changed():
    story, line = running(hosts=8)
    copied = story.table.copy(line)
    story.wait(8)
    assert copied["id"] not in (None, line["id"])
    assert copied["status"] == "draft"
    assert copied["message"] == f"a copy of {line['id']}: change a value, or choose run in action to do the same again"
    assert (line["status"], len(story.attempts_started())) == ("running", 1)
    story.table.type(copied, lr=0.2)
    story.wait(8)
    assert copied["status"] == "running"
    assert story.experiment(line).attempts != story.experiment(copied).attempts


def test_a_copy_that_is_changed_at_once_is_a_new_row():
    story, line = running(hosts=8)
    before = line["id"]
    copied = story.table.copy(line, at=0)
    story.table.type(copied, lr=0.2)
    story.wait(8)
    assert (line["id"], line["status"], copied["status"]) == (before, "running", "running")
    assert story.experiment(line).spec.params["lr"] == 0.1
    assert len(story.attempts_started()) == 2


def test_the_same_holds_for_a_copy_of_a_row_that_was_edited():
    story, line = running(hosts=8)
    before = line["id"]
    story.table.type(line, lr=0.3)
    story.wait(4)
    copied = story.table.copy(line, at=0)
    story.table.type(copied, lr=0.2)
    story.wait(12)
    assert (line["id"], line["status"], copied["status"]) == (before, "running", "running")
    assert len(story.attempts_started()) == 2


def test_a_copy_can_be_run_as_it_is_by_saying_so():
    story, line = running(hosts=8)
    copied = story.table.copy(line)
    story.wait(8)
    story.table.type(copied, action="run")
    story.wait(8)
    assert copied["status"] == "running"


@pytest.mark.parametrize("place", [0, 1])
def test_a_copy_of_a_row_that_was_edited_is_not_run_either(place: int):
    story, line = running(hosts=8)
    story.table.type(line, lr=0.2)
    story.wait(8)
    story.table.copy(line, at=place)
    story.wait(20)
    assert len(story.attempts_started()) == 1


@pytest.mark.parametrize("limits", [EXPLICIT, Limits(dress_every_s=1e9)], ids=["explicit", "settled"])
def test_an_action_that_came_with_a_copy_was_not_chosen_for_it(limits: Limits):
    story = Story(hosts={"alpha": 8}, limits=limits)
    line = story.table.type(template="train", lr=0.1, action="run")
    story.wait(8)
    copied = story.table.copy(line)
    story.wait(12)
    assert copied["status"] == "draft"
    assert "empty action, then choose run in it" in str(copied["message"])
    story.table.type(copied, action=None)
    story.wait(4)
    story.table.type(copied, action="run")
    story.wait(8)
    assert copied["status"] == "running"


def test_a_stop_that_came_with_a_copy_does_not_stop_it():
    story, line = running(hosts=8)
    story.table.type(line, action="stop")
    story.wait(8)
    copied = story.table.copy(line)
    story.wait(8)
    story.table.type(copied, lr=0.2)
    story.wait(8)
    assert (line["status"], copied["status"]) == ("stopped", "running")


# --- actions -----------------------------------------------------------------------------------------------------


def test_stop_stops_once_and_says_so():
    story, line = running()
    story.table.type(line, action="stop")
    story.wait(8)
    assert (line["status"], line["message"]) == ("stopped", "stopped by its action cell")
    assert len(story.asked(fx.Stop)) == 1
    assert line["action"] == "stop", "the cell is the user's"


def test_an_action_is_consumed_once_however_long_it_stands_there():
    story, line = running()
    story.table.type(line, action="restart")
    story.wait(60)
    assert len(story.told(ev.ActionConsumed)) == 1
    assert story.attempts_started() == [f"{line['id']}.1", f"{line['id']}.2"]


def test_an_action_is_consumed_once_even_over_a_restart_of_the_daemon():
    story, line = running()
    story.table.type(line, action="restart")
    story.wait(10)
    story.restart_daemon()
    story.wait(30)
    assert len(story.attempts_started()) == 2


def test_the_same_word_counts_again_after_the_cell_held_another():
    story, line = running()
    for _ in range(3):
        story.table.type(line, action="restart")
        story.wait(8)
        story.table.type(line, action=None)
        story.wait(8)
    assert len(story.attempts_started()) == 4


def test_sorting_does_not_repeat_an_action():
    story, line = running(hosts=2)
    story.table.type(line, action="restart")
    story.wait(8)
    for _ in range(5):
        story.table.insert(0)
        story.wait(3)
    assert len(story.attempts_started()) == 2


def test_an_unknown_action_is_said_and_not_obeyed():
    story, line = running()
    story.table.type(line, action="explode")
    story.wait(8)
    assert line["status"] == "running"
    assert line["message"] == 'action "explode" is not known: choose run, stop, restart, rerun, pause, resume'


def test_restart_goes_on_from_the_last_checkpoint():
    story, line = running()
    story.table.type(line, action="restart")
    story.wait(8)
    first, second = story.asked(fx.Launch)
    assert (first.resume, second.resume) == (False, True)  # type: ignore[union-attr]
    assert line["status"] == "running"


def test_rerun_starts_from_nothing_with_the_row_as_it_is_now():
    story, line = running()
    story.table.type(line, lr=0.5)
    story.wait(8)
    assert line["message"] == "edited after it was accepted: it runs the old values, choose rerun for the new ones"
    story.table.type(line, action="rerun")
    story.wait(12)
    last = story.asked(fx.Launch)[-1]
    assert (last.resume, last.spec.params["lr"]) == (False, 0.5)  # type: ignore[union-attr]
    assert (line["status"], line["attempt"], line["message"]) == ("running", 2.0, None)


def test_rerun_of_a_row_that_cannot_run_stops_nothing():
    story, line = running()
    story.table.type(line, lr="0,5", action="rerun")
    story.wait(12)
    assert line["status"] == "running"
    assert str(line["message"]).startswith('cannot rerun: lr is the text "0,5"')
    story.table.type(line, lr=0.5)
    story.wait(12)
    assert story.experiment(line).spec.params["lr"] == 0.5


def test_rerun_waits_until_the_row_has_settled():
    story, line = running()
    story.exits(f"{line['id']}.1")
    story.table.type(line, lr=0.5, action="rerun")
    story.wait(2)
    story.table.type(line, seed=4)
    story.wait(12)
    assert story.experiment(line).spec.params == {"lr": 0.5, "seed": 4}
    assert len(story.attempts_started()) == 2


@pytest.mark.parametrize("action", ["run", "restart"])
def test_an_ended_row_can_be_taken_up_again(action: str):
    story, line = running()
    story.exits(f"{line['id']}.1", rc=1)
    story.wait(3)
    assert line["status"] == "failed"
    story.table.type(line, action=action)
    story.wait(8)
    assert (line["status"], line["attempt"]) == ("running", 2.0)
    assert story.asked(fx.Launch)[-1].resume  # type: ignore[union-attr]


def test_a_waiting_row_is_withdrawn_by_stop_and_taken_up_by_run():
    story, _ = running()
    waiting = story.table.type(template="train", lr=0.2)
    story.wait(8)
    story.table.type(waiting, action="stop")
    story.wait(4)
    assert (waiting["status"], waiting["message"]) == ("stopped", "stopped by its action cell")
    story.table.type(waiting, action="run")
    story.wait(4)
    assert waiting["status"] == "waiting"


def slow_to_stop(story: Story) -> None:
    """The processes take their time to end."""
    (host,) = story.hosts.values()
    host.stop = lambda _attempt: AttemptSeen(state=Seen.STOPPING)  # type: ignore[method-assign]


def test_a_stop_overrules_a_restart_that_is_under_way():
    story, line = running()
    slow_to_stop(story)
    story.table.type(line, action="restart")
    story.wait(8)
    assert line["status"] == "stopping"
    story.table.type(line, action="stop")
    story.wait(8)
    story.exits(f"{line['id']}.1", rc=143)
    story.wait(8)
    assert (line["status"], line["message"]) == ("stopped", "stopped by its action cell")
    assert len(story.attempts_started()) == 1


def test_a_restart_while_it_stops_is_obeyed_when_it_has_stopped():
    story, line = running()
    slow_to_stop(story)
    story.table.type(line, action="stop")
    story.wait(8)
    story.table.type(line, action="restart")
    story.wait(8)
    assert len(story.attempts_started()) == 1
    story.exits(f"{line['id']}.1", rc=143)
    story.wait(8)
    assert (line["status"], len(story.attempts_started())) == ("running", 2)


# --- the command line --------------------------------------------------------------------------------------------


def asks_to_stop(line: Line) -> obs.StopRequested:
    return obs.StopRequested(experiment=ExperimentId(str(line["id"])), request=1)


def test_a_stop_from_the_command_line_needs_no_sheet():
    story, line = running()
    story.sheet_error = ("the sheet is down", False)
    story.wait(10)
    story.turn(asks_to_stop(line))
    story.settle()
    assert story.experiment(line).phase is Phase.ENDED


def test_a_stop_from_both_sides_at_once_stops_once():
    story, line = running()
    story.table.type(line, action="stop")
    story.turn(obs.SheetSeen(grid=story.table.read()), asks_to_stop(line))
    story.wait(8)
    assert len(story.told(ev.StopIntended)) == 1
    assert line["status"] == "stopped"


def test_a_stop_from_the_command_line_overrules_a_restart():
    story, line = running()
    slow_to_stop(story)
    story.table.type(line, action="restart")
    story.wait(8)
    story.turn(asks_to_stop(line))
    assert story.experiment(line).afterwards is Afterwards.END


# --- deleted rows ------------------------------------------------------------------------------------------------


def test_a_deleted_row_goes_on_for_a_while_in_which_undo_brings_it_back():
    story, line = running()
    story.table.delete(line)
    story.wait(300)
    assert story.experiment(line).missing_since_s is not None
    assert story.experiment(line).phase is Phase.RUNNING
    story.table.insert(0, line)
    story.wait(700)
    assert line["status"] == "running"
    assert story.asked(fx.Stop) == []


def test_after_that_it_is_stopped():
    story, line = running()
    story.table.delete(line)
    story.wait(620, step_s=5)
    experiment = story.experiment(line)
    assert (experiment.phase, experiment.stop_reason) == (Phase.ENDED, "its row was deleted")


def test_a_row_is_not_called_deleted_before_a_read_that_was_made_when_its_time_was_over():
    """Seed 29442 of the simulator: two reads were cut short, and the answer to the next was on its way for long."""
    story, line = running()
    story.table.delete(line)
    story.wait(10)
    story.table.insert(0, line)
    story.now_s += 700
    story.turn()
    assert story.told(ev.StopIntended) == []
    story.wait(10)
    assert line["status"] == "running"
    assert story.experiment(line).missing_since_s is None


def test_a_deleted_row_that_waits_is_not_launched():
    story, first = running()
    waiting = story.table.type(template="train", lr=0.2)
    story.wait(8)
    story.table.delete(waiting)
    story.wait(10)
    story.exits(f"{first['id']}.1")
    story.wait(30)
    assert len(story.attempts_started()) == 1
    story.table.insert(0, waiting)
    story.wait(8)
    assert waiting["status"] == "running"


def test_a_deleted_draft_is_forgotten():
    story = Story()
    line = story.table.type(template="train", lr="bad")
    story.wait(8)
    story.table.delete(line)
    story.wait(8)
    assert story.names() == ["IdAssigned", "IdWithdrawn"]
    story.table.insert(0, line)
    story.table.type(line, lr=0.1)
    story.wait(8)
    assert line["status"] == "running"


def test_one_read_that_does_not_show_a_row_means_nothing():
    story, line = running()
    story.table.delete(line)
    story.wait(1.5)
    story.table.insert(0, line)
    story.wait(10)
    assert story.told(ev.RowVanished) == []


def test_a_read_that_shrank_suddenly_is_not_believed_at_once():
    story = Story(hosts={"alpha": 100})
    lines = [story.table.type(template="train", lr=n / 100) for n in range(50)]
    story.wait(8)
    story.table.lines = lines[:5]
    story.table.changed()
    story.wait(7)
    assert story.told(ev.RowVanished) == []
    story.table.lines = lines
    story.table.changed()
    story.wait(10)
    assert story.told(ev.RowVanished) == []
    assert {line["status"] for line in lines} == {"running"}


def test_in_the_end_it_is_believed():
    story = Story(hosts={"alpha": 100})
    lines = [story.table.type(template="train", lr=n / 100) for n in range(50)]
    story.wait(8)
    story.table.lines = lines[:5]
    story.table.changed()
    story.wait(15)
    assert len(story.told(ev.RowVanished)) == 45


def test_a_sheet_that_cannot_be_read_takes_nothing_away():
    story, line = running()
    story.sheet_error = ("quota", False)
    story.wait(5000, step_s=20)
    assert story.told(ev.RowVanished) == []
    assert story.experiment(line).phase is Phase.RUNNING
    story.sheet_error = None
    story.wait(130)
    assert line["status"] == "running"


def test_the_grace_does_not_run_out_while_nobody_can_see_whether_the_row_is_back():
    story, line = running()
    story.table.delete(line)
    story.wait(10)
    assert len(story.told(ev.RowVanished)) == 1
    story.sheet_error = ("quota", False)
    story.wait(700, step_s=5)
    story.table.insert(0, line)
    story.sheet_error = None
    story.wait(200, step_s=5)
    assert story.asked(fx.Stop) == []
    assert line["status"] == "running"


def test_an_id_that_cannot_be_written_back_does_not_count_as_a_deleted_row():
    story, line = running()
    story.table.type(line, id=None)
    story.meddle = lambda effect: setattr(
        story, "sheet_error", ("the id column is protected", True) if isinstance(effect, fx.WriteSheet) else None
    )
    story.wait(3000, step_s=5)
    assert story.told(ev.RowVanished) == []
    assert story.told(ev.StopIntended) == []


def test_a_row_never_runs_on_a_default_because_its_column_was_renamed():
    story = Story()
    line = story.table.type(template="train", lr=0.1, seed="not a number")
    story.wait(8)
    assert line["status"] == "invalid"
    story.table.header[story.table.header.index("seed")] = "grain"
    story.table.changed()
    story.wait(20)
    assert line["status"] == "invalid"
    assert 'the column "seed" is gone' in str(line["message"])


def test_a_word_that_nobody_knows_holds_a_new_row_instead_of_running_it():
    """Who mistypes `stop` in a new row must not get a run."""
    story = Story()
    line = story.table.type(template="train", lr=0.1, action="fly")
    story.wait(20)
    assert line["status"] == "draft"
    assert str(line["message"]).startswith('action "fly" is not known: choose run, stop')
    story.table.type(line, action=None)
    story.wait(10)
    assert line["status"] == "running"
