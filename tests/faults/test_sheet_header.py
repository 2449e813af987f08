"""Tabs, titles, headers and columns that people rename, copy, insert and move (S1 to S5).

The tab is known by its number, columns by their header, and both are looked up anew in every read. Where a header
leaves open which column is meant, nothing is written at all, and what runs goes on.
"""

from __future__ import annotations

import pytest

from sheetd.core.model import Phase
from sheetd.core.views import why_unclear
from tests.faults.laboratory import Lab
from tests.faults.people import TAB


def test_S1_a_renamed_tab_is_the_same_tab(lab: Lab):
    """A row goes on showing its job when its tab has another title."""
    (first,) = lab.running("first")
    lab.person.rename_tab("Archive (May)")
    lab.story.exits(f"{first}.1", rc=0)
    lab.wait()
    assert lab.person.status("first") == ["succeeded"]


def test_S1_a_tab_renamed_between_read_and_write_is_written_once(lab: Lab):
    """A write finds its tab under the new title, and another tab that took the old one is left alone."""
    (first,) = lab.running("first")

    def rename() -> None:
        lab.person.rename_tab("It's mine")
        lab.person.spreadsheet.add_worksheet(TAB, 20, 20)

    lab.before_the_write_of("status", rename)
    lab.story.exits(f"{first}.1", rc=1)
    lab.wait()
    lab.person.type("second", template="train", lr="0.2")
    lab.wait()
    assert lab.person.status("first", "second") == ["failed", "running"]
    assert lab.person.spreadsheet.worksheet(TAB).get_all_values() == [[]]


def test_S2_a_renamed_spreadsheet_is_the_same_spreadsheet(lab: Lab):
    """A spreadsheet is opened by its key; its title is read nowhere, so renaming it costs not even a request."""
    (first,) = lab.running("first")
    lab.wait(6)
    lab.sheet.client.requests.clear()
    lab.person.spreadsheet.update_title("Lab (old)")
    lab.wait(6)
    assert lab.sheet.client.requests == {"read": 3}
    lab.story.exits(f"{first}.1", rc=0)
    lab.wait()
    assert lab.person.status("first") == ["succeeded"]


@pytest.mark.parametrize("header", ["id", "status", "message"])
def test_S3_without_a_column_that_we_need_nothing_is_written_and_jobs_go_on(lab: Lab, header: str):
    """Without a column that we need nothing is written; `sheetd status` names it, jobs go on, and rows catch up."""
    (first,) = lab.running("first")
    lab.person.rename_header(header, "whatever")
    before = lab.person.grid()
    lab.story.exits(f"{first}.1", rc=1)
    lab.person.type("second", template="train", lr="0.2")
    before = lab.person.grid()
    lab.wait(30)
    assert lab.person.grid() == before
    assert why_unclear(lab.story.world) == f"the header row lacks {header}: add these words to row 1, in any column"
    assert lab.phase(first) is Phase.ENDED, "hosts are listened to all the same"
    assert len(lab.attempts) == 1
    lab.person.rename_header("whatever", header)
    lab.wait()
    assert lab.person.status("first", "second") == ["failed", "running"]


def test_S3_a_renamed_parameter_is_not_replaced_by_its_default(lab: Lab):
    """A row whose parameter's column was renamed says so, rather than run on a default that nobody typed."""
    lab.running("first")
    lab.person.rename_header("seed", "grain")
    lab.person.type("second", template="train", lr="0.2", grain="7")
    lab.wait(30)
    second = lab.person.see("second")
    assert second["status"] == "invalid"
    assert second["message"].startswith('the column "seed" is gone: bring it back')
    assert lab.person.status("first") == ["running"]
    lab.person.rename_header("grain", "seed")
    lab.wait()
    assert lab.story.experiment_by(lab.ids("second")[0]).spec.params == {"lr": 0.2, "seed": 7}


def test_S3_a_renamed_action_column_does_not_bring_its_words_back_to_life(lab: Lab):
    """An action that was obeyed counts as obeyed when its column is renamed and comes back."""
    (first,) = lab.running("first")
    lab.person.type("first", action="restart")
    lab.wait()
    lab.person.rename_header("action", "aktion")
    lab.wait()
    lab.person.rename_header("aktion", "action")
    lab.wait()
    assert lab.attempts == [f"{first}.1", f"{first}.2"]


def test_S4_a_header_of_ours_that_is_there_twice_stops_all_writing_until_one_is_renamed(lab: Lab):
    """Which of two columns of ours with one name is meant is not guessed: nothing is written until one is renamed."""
    (first,) = lab.running("first")
    lab.person.rename_header("loss", "Status ")
    before = lab.person.grid()
    lab.story.exits(f"{first}.1", rc=0)
    lab.wait(30)
    assert lab.person.grid() == before
    assert why_unclear(lab.story.world) == 'columns E and N are both called "status": rename one of them'
    lab.person.rename_header("Status ", "loss")
    lab.wait()
    assert lab.person.status("first") == ["succeeded"]


def test_S4_other_headers_may_be_there_as_often_as_people_like(lab: Lab):
    """A person's own columns may share a name: they are not told apart, so they cannot be mistaken."""
    lab.person.enter(0, len(lab.person.grid()[0]), "remark")
    lab.person.enter(0, len(lab.person.grid()[0]), "remark")
    lab.running("first", "second")
    assert why_unclear(lab.story.world) == ""


def test_S5_columns_may_be_inserted_and_moved_between_reads(lab: Lab):
    """Positions are looked up in each read: what is written next goes where the headers are now."""
    (first,) = lab.running("first")
    lab.person.insert_column(before="status")
    lab.person.move_column("id", before="template")
    lab.person.move_column("my notes", before="status")
    lab.story.exits(f"{first}.1", rc=1)
    lab.wait()
    assert (lab.person.status("first"), lab.ids("first")) == (["failed"], [first])
    assert len(lab.attempts) == 1


def test_S5_a_column_inserted_between_read_and_write_costs_no_cell_of_the_persons(lab: Lab):
    """No cell that a person owns is overwritten, also when columns move in the moment before a write."""
    (first,) = lab.running("first")
    lab.before_the_write_of("status", lambda: lab.person.move_column("my notes", before="status"))
    lab.story.exits(f"{first}.1", rc=1)
    lab.wait()
    is_untouched = lab.person.untouched()
    lab.person.mine.clear()
    assert is_untouched
