"""Ids that are copied, cleared, changed or swapped by people (S9, S10).

The id in a row is an observation like any other: it is weighed against what is typed beside it, and what the journal
knows decides. Nothing runs twice and nothing is stopped, whatever is done to the column.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from sheetd.core import events as ev
from sheetd.core.model import Phase
from tests.core.story import TRAIN
from tests.faults.conftest import OpenLab
from tests.faults.laboratory import Lab


def copied(lab: Lab, name: str, as_name: str, *, below: int) -> None:
    """Copy a row, insert one so far below it, and paste: the id and the status come with it."""
    lab.person.paste(lab.person.copied(name), lab.person.line(name) + below, as_name)


def test_S9_a_copied_row_is_a_new_one_that_waits_to_be_changed(lab: Lab):
    """The copy gets an id of its own and says what to do; it never runs by itself, and the original keeps its job."""
    (first,) = lab.running("first")
    copied(lab, "first", "second", below=1)
    lab.wait(30)
    second = lab.person.see("second")
    assert lab.ids("first") == [first]
    assert second["id"] not in ("", first)
    assert (second["status"], second["host"]) == ("draft", "")
    assert second["message"] == f"a copy of {first}: change a value, or choose run in action to do the same again"
    assert len(lab.attempts) == 1
    lab.person.type("second", lr="0.2")
    lab.wait()
    assert lab.person.status("first", "second") == ["running", "running"]
    assert len(lab.attempts) == 2


def test_S9_of_two_rows_that_say_the_same_one_keeps_the_job_wherever_the_copy_was_pasted(lab: Lab):
    """A copy above its original cannot be told from one below: the upper row goes on, the lower one waits.

    Both say the same, so nothing is lost by it; what must not happen is that both run, or neither.
    """
    (first,) = lab.running("first")
    copied(lab, "first", "second", below=0)
    lab.wait(30)
    assert list(lab.person.rows()) == ["second", "first"]
    assert lab.person.status("second", "first") == ["running", "draft"]
    assert (lab.ids("second"), lab.attempts, lab.stops) == ([first], [f"{first}.1"], [])


def test_S9_a_copy_that_is_changed_before_it_is_read_leaves_the_original_its_id(lab: Lab):
    """A copy that was changed before it was read is the new row, above or below its original."""
    (first,) = lab.running("first")
    copied(lab, "first", "second", below=0)
    lab.person.type("second", lr="0.2")
    lab.wait()
    assert (lab.ids("first"), lab.person.status("first", "second")) == ([first], ["running", "running"])
    assert len(lab.attempts) == 2


def test_S9_a_copy_does_not_inherit_the_action_of_its_original(lab: Lab):
    """A word that came with the copy was not chosen for it: neither is the copy run for it, nor stopped later."""
    (first,) = lab.running("first")
    lab.person.type("first", action="restart")
    lab.wait()
    assert lab.attempts == [f"{first}.1", f"{first}.2"]
    copied(lab, "first", "second", below=1)
    lab.wait(30)
    assert (lab.person.status("first", "second"), len(lab.attempts)) == (["running", "draft"], 2)
    assert lab.person.see("second")["action"] == "restart", "the cell is the person's"


def test_S9_a_row_that_was_pasted_without_its_id_waits_and_names_the_row_that_it_repeats(lab: Lab):
    """Pasted or typed again without the id, a row names the other and does not run before somebody says rerun in it."""
    (first,) = lab.running("first")
    lab.person.type_all({"second": {"template": "train", "lr": str(lab.person.see("first")["lr"])}})
    lab.wait()
    second = lab.person.see("second")
    row = lab.person.line("first") + 1
    assert second["status"] == "draft"
    assert second["message"] == f"already runs in row {row} ({first}); choose rerun to run it again"
    assert len(lab.attempts) == 1
    lab.person.type("second", action="rerun")
    lab.wait()
    assert lab.person.status("first", "second") == ["running", "running"]
    assert (lab.ids("first"), len(lab.attempts)) == ([first], 2)


@pytest.mark.parametrize("typed", ["", "my own", "12345", "=A1", "TRUE"])
def test_S10_an_id_cell_that_was_cleared_or_pasted_over_gets_its_id_back(lab: Lab, typed: str):
    """An id that was cleared or pasted over is written back, since what is typed in the row tells whose it is."""
    first, second = lab.running("first", "second")
    lab.person.type("first", id=typed)
    lab.wait()
    assert lab.ids("first", "second") == [first, second]
    assert lab.person.status("first", "second") == ["running", "running"]
    assert (lab.stops, len(lab.attempts), lab.story.told(ev.RowVanished)) == ([], 2, [])


def test_S10_a_cleared_id_column_is_filled_in_again(lab: Lab):
    """A whole column of ids that was cleared is filled in again as it was."""
    names = ("first", "second", "third")
    ids = lab.running(*names)
    lab.person.clear_column("id")
    lab.wait()
    assert lab.ids(*names) == ids
    assert (lab.stops, len(lab.attempts)) == ([], 3)


def test_S10_rows_that_say_the_same_share_their_ids_out_among_them(open_lab: OpenLab):
    """Of rows that say the same and lost their ids each gets one of them back: both jobs go on.

    The catalogue would have had the rows say CONFLICT. Rows that say the same are the same to the person too, so asking
    which is which would stop what needs no stopping.
    """
    lab = open_lab(templates=[replace(TRAIN, allow_repeats=True)])
    lab.person.type_all({name: {"template": "train", "lr": "0.1"} for name in ("first", "twin")})
    lab.wait()
    ids = lab.ids("first", "twin")
    lab.person.type("first", id="")
    lab.person.type("twin", id="")
    lab.wait()
    assert sorted(lab.ids("first", "twin")) == sorted(ids)
    assert lab.person.status("first", "twin") == ["running", "running"]
    assert (lab.stops, len(lab.attempts)) == ([], 2)


def test_S10_ids_that_a_person_swapped_stop_and_start_nothing(lab: Lab):
    """Ids that a person swapped stop and start nothing; a row that shows another's job says that its values differ."""
    first, second = lab.running("first", "second")
    lab.person.type("first", id=second)
    lab.person.type("second", id=first)
    lab.wait(60, step_s=5)
    assert sorted(lab.ids("first", "second")) == sorted([first, second])
    rows = lab.person.rows()
    for name in ("first", "second"):
        rate = lab.story.experiment_by(rows[name]["id"]).spec.params["lr"]
        is_own = str(rate) == rows[name]["lr"]
        assert is_own or rows[name]["message"].startswith("edited after it was accepted: it runs the old values")
    assert [lab.phase(first), lab.phase(second)] == [Phase.RUNNING, Phase.RUNNING]
    assert (lab.stops, len(lab.attempts)) == ([], 2)


def test_S10_an_id_that_is_written_back_while_rows_move_does_not_stay_on_a_neighbour(lab: Lab):
    """An id that is written back while rows move does not stay on a neighbour."""
    ids = lab.running("first", "second")
    lab.person.type("second", id="")
    lab.before_the_write_of("id", lambda: lab.person.sort_by("lr", descending=True))
    lab.wait()
    assert lab.ids("first", "second") == ids
    assert (lab.stops, len(lab.attempts)) == ([], 2)


def test_S10_an_id_that_cannot_be_told_any_more_is_a_new_row_and_the_old_job_is_stopped_as_a_deleted_one(
    open_lab: OpenLab,
):
    """A row that lost its id and was changed in the same moment is somebody's new row; the old job gets the grace.

    Nothing in it says which experiment it was, so guessing could give one person's job to another's row.
    """
    lab = open_lab(hosts={"alpha": 2})
    (first,) = lab.running("first")
    lab.person.type("first", id="", lr="0.7")
    lab.wait(30)
    (second,) = lab.ids("first")
    assert second not in ("", first)
    assert lab.story.experiment_by(second).spec.params["lr"] == 0.7
    assert (lab.phase(first), lab.phase(second)) == (Phase.RUNNING, Phase.RUNNING)
    assert lab.story.experiment_by(first).missing_since_s is not None
