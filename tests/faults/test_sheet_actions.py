"""Words that people choose, edits of what runs, a sheet that goes back in time or is protected (S12 to S14, S25, S26).

An action is the person's cell: it is obeyed once, recorded, and never cleared by us. Status is ours, derived from the
journal, and never read back.
"""

from __future__ import annotations

import pytest

from sheetd.core import effect as fx
from sheetd.core.model import Phase
from sheetd.core.views import sheet_view
from tests.faults.conftest import OpenLab
from tests.faults.laboratory import Lab


def test_S12_a_running_row_keeps_the_values_that_it_was_accepted_with(lab: Lab):
    """The spec is frozen; an edit changes nothing that runs but what its template calls live; `rerun` takes it all."""
    (first,) = lab.running("first")
    lab.person.type("first", lr="0.7")
    lab.wait(30)
    assert lab.person.status("first") == ["running"]
    assert lab.person.see("first")["message"] == (
        "edited after it was accepted: it runs the old values, choose rerun for the new ones"
    )
    assert (lab.story.experiment_by(first).spec.params["lr"], len(lab.attempts)) == (0.1, 1)
    lab.person.type("first", action="rerun")
    lab.wait()
    assert lab.attempts == [f"{first}.1", f"{first}.2"]
    assert (lab.story.experiment_by(first).spec.params["lr"], lab.person.see("first")["message"]) == (0.7, "")


def test_S12_an_edit_while_the_host_is_asked_to_start_it_comes_too_late(lab: Lab):
    """What is launched is what was recorded, whatever the row says by then."""
    lab.person.type("first", template="train", lr="0.1")
    lab.before_the_next(fx.Launch, lambda: lab.person.type("first", lr="0.9"))
    lab.wait()
    (launch,) = lab.story.asked(fx.Launch)
    assert launch.spec.argv == ("python", "train.py", "--lr=0.1", "--seed=0")  # type: ignore[union-attr]
    assert lab.person.see("first")["message"].startswith("edited after it was accepted")


@pytest.mark.parametrize(
    "typed", [{"status": "succeeded"}, {"message": "=1+1"}, {"host": "beta", "attempt": "9"}, {"progress": "99%"}]
)
def test_S13_what_a_person_types_into_a_column_of_ours_is_put_right(lab: Lab, typed: dict[str, str]):
    """What is typed into a column of ours is overwritten with the truth, and nothing of it is believed."""
    (first,) = lab.running("first")
    before = lab.person.see("first")
    lab.person.type("first", **typed)
    lab.wait(6)
    after = lab.person.see("first")
    assert {header: after[header] for header in typed} == {header: before[header] for header in typed}
    assert (lab.phase(first), lab.stops, len(lab.attempts)) == (Phase.RUNNING, [], 1)


def test_S13_clearing_all_our_columns_but_the_id_is_undone(lab: Lab):
    """Columns of ours that were cleared are written anew: everything in them follows from the id."""
    lab.running("first", "second")
    before = lab.person.rows()
    for header in ("status", "host", "attempt", "started"):
        lab.person.clear_column(header)
    lab.wait(6)
    after = lab.person.rows()
    assert [after[name]["started"] for name in after] == [before[name]["started"] for name in before]
    assert lab.person.status("first", "second") == ["running", "running"]


def test_S14_a_status_that_is_typed_while_it_is_written_does_nothing(lab: Lab):
    """What people want is typed into `action`; a word in `status` is only ever overwritten."""
    (first,) = lab.running("first")
    lab.before_the_write_of("status", lambda: lab.person.type("first", status="stop"))
    lab.story.exits(f"{first}.1", rc=1)
    lab.wait()
    assert lab.person.status("first") == ["failed"]
    lab.person.type("first", status="restart")
    lab.wait()
    assert (lab.person.status("first"), len(lab.attempts)) == (["failed"], 1)


def test_S14_an_action_that_is_chosen_while_we_write_is_obeyed_once_and_left_standing(lab: Lab):
    """An action is recorded before it is obeyed, is obeyed once, and is left standing: the cell is the person's."""
    (first,) = lab.running("first")
    lab.person.type("second", template="train", lr="0.2")
    lab.before_the_write_of("id", lambda: lab.person.type("first", action="restart"))
    lab.wait(60, step_s=5)
    assert [attempt for attempt in lab.attempts if attempt.startswith(first)] == [f"{first}.1", f"{first}.2"]
    assert lab.person.see("first")["action"] == "restart"
    names = lab.story.names()
    assert names.index("ActionConsumed") < names.index("StopIntended")


@pytest.mark.parametrize("kind", [fx.ReadSheet, fx.WriteSheet, fx.Stop, fx.Launch])
def test_S14_an_action_survives_the_death_of_the_daemon_without_being_done_again(lab: Lab, kind: type[fx.Effect]):
    """Wherever the daemon dies while it obeys a word, the word is obeyed exactly once."""
    (first,) = lab.running("first")
    lab.person.type("first", action="restart")
    lab.before_the_next(kind, lambda: setattr(lab.story, "dies", True))
    lab.wait(30)
    assert lab.attempts == [f"{first}.1", f"{first}.2"]
    assert lab.person.status("first") == ["running"]


def test_S25_undo_of_our_columns_is_put_right_and_a_word_that_was_obeyed_is_not_obeyed_again(lab: Lab):
    """The journal is the truth, not the sheet: cells that went back are written anew, and the word stays consumed."""
    (first,) = lab.running("first")
    lab.person.type("first", action="restart")
    before = lab.person.copied("first")
    lab.wait()
    now = lab.person.see("first")
    lab.person.delete("first")
    lab.person.paste(before, 1, "first")
    assert lab.person.see("first")["attempt"] == "1"
    lab.wait()
    after = lab.person.see("first")
    assert [after[header] for header in ("id", "status", "attempt")] == [first, "running", "2"]
    assert after["started"] == now["started"]
    assert lab.attempts == [f"{first}.1", f"{first}.2"]


def test_S25_a_restored_version_brings_no_old_word_back_to_life(lab: Lab):
    """A restored version is known by the claim that went back with it, and no word in it is obeyed again.

    The row says how to mean it. (Whether Google's version history restores the claim has not been measured; where it
    does not, a word that comes back cannot be told from one that was chosen again.)
    """
    (first,) = lab.running("first")
    lab.person.type("first", action="restart")
    lab.wait(3)
    version = lab.person.version()
    lab.wait()
    lab.person.type("first", action="")
    lab.wait()
    assert lab.attempts == [f"{first}.1", f"{first}.2"]
    lab.person.restore(version)
    assert lab.person.see("first")["action"] == "restart"
    lab.wait(60, step_s=2)
    assert lab.attempts == [f"{first}.1", f"{first}.2"]
    first_row = lab.person.see("first")
    assert (first_row["status"], first_row["attempt"]) == ("running", "2")
    assert first_row["message"] == (
        "restart was there before and was not done again: empty the action cell before choosing it"
    )


def test_S25_a_restored_version_without_a_row_gives_its_job_the_grace(lab: Lab):
    """A row that was typed after that version is a deleted row: its job goes on while undo may bring it back."""
    lab.running("first")
    version = lab.person.version()
    lab.person.type("second", template="train", lr="0.2")
    lab.wait()
    (second,) = lab.ids("second")
    now = lab.person.version()
    lab.person.restore(version)
    lab.wait(60, step_s=5)
    assert "second" not in lab.person.rows()
    assert (lab.phase(second), lab.stops) == (Phase.RUNNING, [])
    lab.person.restore(now)
    lab.wait(60, step_s=5)
    assert (lab.ids("second"), lab.person.status("second")) == ([second], ["running"])
    assert (lab.stops, len(lab.attempts)) == ([], 2)


def test_S26_a_protected_column_stops_the_showing_and_nothing_else(open_lab_with_faults: OpenLab):
    """A protected column stops the showing only: jobs go on, and rows catch up when the protection is gone.

    The catalogue would write the cells that are still allowed. A cycle is one atomic request on purpose (G6), so it is
    refused as a whole: rows that show half of the truth would be worse than rows that stand still.
    """
    lab = open_lab_with_faults()
    first, second = lab.running("first", "second")
    lab.faults.is_protected = True
    lab.story.exits(f"{first}.1", rc=1)
    lab.person.type("third", template="train", lr="0.3")
    lab.wait(60, step_s=3)
    assert lab.person.status("first", "second", "third") == ["running", "running", ""]
    assert (lab.phase(first), lab.phase(second), lab.stops) == (Phase.ENDED, Phase.RUNNING, [])
    assert len(lab.attempts) == 2, "a row whose id cannot be written is not begun"
    lab.faults.is_protected = False
    lab.wait(30, step_s=2)
    assert lab.person.status("first", "second", "third") == ["failed", "running", "running"]


def test_S26_a_write_that_is_always_refused_stays_within_the_quota(open_lab_with_faults: OpenLab):
    """A write that is always refused is tried again within half of what Google grants, each time after a read."""
    lab = open_lab_with_faults()
    (first,) = lab.running("first")
    lab.faults.is_protected = True
    lab.story.exits(f"{first}.1", rc=1)
    lab.faults.seen.clear()
    lab.wait(120)
    kinds = lab.faults.kinds()
    assert kinds.count("write") <= 30
    assert kinds.count("read") <= 60


def test_S26_why_the_rows_stand_still_is_said_for_as_long_as_they_do(open_lab_with_faults: OpenLab):
    """Why the rows stand still is in `sheetd status`, in Google's own words, until a write goes through."""
    lab = open_lab_with_faults()
    (first,) = lab.running("first")
    lab.faults.is_protected = True
    lab.story.exits(f"{first}.1", rc=1)
    lab.wait(10)
    for _ in range(8):
        lab.wait(1)
        assert "protected cell or object" in sheet_view(lab.story.world)["problem"]
    lab.faults.is_protected = False
    lab.wait(6)
    assert sheet_view(lab.story.world)["problem"] == ""


def test_S26_a_stop_is_obeyed_although_our_columns_are_protected(open_lab_with_faults: OpenLab):
    """Whoever types `stop` is obeyed as long as the sheet can be read."""
    lab = open_lab_with_faults()
    (first,) = lab.running("first")
    lab.faults.is_protected = True
    lab.wait(20)
    lab.person.type("first", action="stop")
    lab.wait(120, step_s=3)
    assert lab.phase(first) is Phase.ENDED
