"""Merged cells, size, numbers, dates and formulas (S15 to S19).

Values are read typed. Nothing is guessed: a row says in its own `message` what to type instead, starts nothing, and
stops nobody else.
"""

from __future__ import annotations

import pytest

from sheetd.core.grid import column_letters
from sheetd.core.model import Phase
from sheetd.core.views import why_unclear
from tests.faults.conftest import OpenLab
from tests.faults.laboratory import Lab
from tests.faults.typed_rows import NOTED, accepted, refused
from tests.sheets.unruly import Forward

# --- merged cells ------------------------------------------------------------------------------------------------


def test_S15_a_merge_in_the_header_stops_all_writing_until_it_is_undone(lab: Lab):
    """A header that a merge swallowed is a missing one: nothing is written, and `sheetd status` names it."""
    (first,) = lab.running("first")
    place = lab.person.column("status")
    lab.person.merge((0, 0), (place, place + 1))
    before = lab.person.grid()
    lab.story.exits(f"{first}.1", rc=1)
    lab.wait(30)
    assert lab.person.grid() == before
    assert "lacks message" in why_unclear(lab.story.world)
    lab.person.unmerge()
    lab.person.enter(0, place + 1, "message")
    lab.wait()
    assert lab.person.status("first") == ["failed"]


def unmerge(what: str, cells: str) -> str:
    who = ", and sheetd fills in each row" if what in ("id", "status", "message") else " and fill in each row"
    return f"{what} is inside the merged cells {cells}: unmerge them (Format, Merge cells, Unmerge){who}"


def test_S15_merged_ids_cost_no_job_and_start_none(lab: Lab):
    """The id that a merge swallowed is like one that was cleared: its row is known by what it says, and says so."""
    ids = lab.running("first", "second")
    place = lab.person.column("id")
    lab.person.merge((1, 2), (place, place))
    lab.wait(60, step_s=5)
    assert [lab.phase(id_) for id_ in ids] == [Phase.RUNNING, Phase.RUNNING]
    assert (lab.stops, len(lab.attempts)) == ([], 2)
    assert lab.person.status("first", "second") == ["running", "running"]
    letter = column_letters(place)
    assert lab.person.see("second")["message"].startswith(unmerge("id", f"{letter}2:{letter}3"))
    assert "merged" not in lab.person.see("first")["message"]


def test_S15_a_value_that_a_merge_swallowed_is_missed_and_not_made_up(lab: Lab):
    """Only the upper left cell of a merge holds a value: the other rows name the merge, and run once it is undone."""
    lab.person.type_all({name: {"template": "train", "lr": "0.1"} for name in ("first", "second")})
    place = lab.person.column("lr")
    lab.person.merge((1, 2), (place, place))
    lab.person.remember()
    lab.wait()
    assert lab.person.status("first", "second") == ["running", "invalid"]
    assert lab.person.see("second")["message"] == unmerge("lr", "B2:B3")
    lab.person.unmerge()
    lab.wait()
    assert lab.person.see("second")["message"] == "lr is empty: type a number from 0 to 10"
    lab.person.enter(lab.person.line("second"), place, "0.2")
    lab.person.remember()
    lab.wait()
    assert lab.person.status("first", "second") == ["running", "running"]


def test_S15_a_row_does_not_run_on_a_default_where_a_merge_shows_a_value(lab: Lab):
    """A row whose cell lies inside a merge says so, and does not run on a default where the person sees a value."""
    lab.person.type_all({name: {"template": "train", "lr": "0.1", "seed": "7"} for name in ("first", "second")})
    place = lab.person.column("seed")
    lab.person.merge((1, 2), (place, place))
    lab.person.remember()
    lab.wait()
    assert lab.person.status("first", "second") == ["running", "invalid"]
    assert lab.person.see("second")["message"] == unmerge("seed", "C2:C3")


def test_S15_a_row_that_runs_goes_on_and_says_that_its_cells_were_merged(lab: Lab):
    """What runs goes on as it was accepted, and is not told of a default for what a merge swallowed."""
    ids = lab.running("first", "second")
    lab.person.merge((1, 2), (1, 2))
    lab.person.remember()
    lab.wait()
    assert [lab.phase(id_) for id_ in ids] == [Phase.RUNNING, Phase.RUNNING]
    assert lab.person.see("first")["message"].startswith(unmerge("seed", "B2:C3"))
    assert lab.person.see("second")["message"].startswith(unmerge("lr", "B2:C3"))


def test_S15_a_merge_of_cells_that_mean_nothing_to_us_is_the_persons_own(lab: Lab):
    """Merged notes, and a merge below all rows, keep nobody from anything."""
    lab.person.type_all({name: {"template": "train", "lr": lr} for name, lr in (("first", "0.1"), ("second", "0.2"))})
    place = lab.person.column("my notes")
    lab.person.merge((1, 1), (place, place + 2))
    lab.person.merge((50, 60), (0, 5))
    lab.wait()
    assert lab.person.status("first", "second") == ["running", "running"]


# --- size --------------------------------------------------------------------------------------------------------


def test_S16_a_huge_cell_is_refused_by_its_length_and_costs_nobody_anything(open_lab: OpenLab):
    """A text has a bound that the template sets; the row says how long it is and how long it may be."""
    lab = open_lab(templates=[NOTED])
    lab.person.type("huge", template="noted", seed="x" * 50_000)
    lab.person.type("good", template="noted", seed="x" * 4000)
    lab.wait()
    assert lab.person.status("huge", "good") == ["invalid", "running"]
    assert lab.person.see("huge")["message"] == "seed has 50000 characters, more than 4000: shorten it"


def test_S16_what_a_job_says_is_cut_to_the_size_of_a_message(lab: Lab):
    """However much a host has to tell, a cell of ours stays short enough to be read."""
    (first,) = lab.running("first")
    lab.story.exits(f"{first}.1", rc=1, last_lines=("E" * 100_000,) * 20)
    lab.wait()
    assert lab.person.see("first")["message"].startswith("exit code 1; last line: EEE")
    assert max(len(text) for text in lab.person.see("first").values()) <= 500


def test_S16_hundreds_of_columns_of_the_persons_own_do_no_harm(lab: Lab):
    """Hundreds of columns of a person's own are neither understood nor written, and make no row another one."""
    lab.person.tab.add_cols(300)
    (first,) = lab.running("first")
    lab.person.tab.update([[f"x{n}" for n in range(300)], ["y" * 100] * 300], "Z1")
    lab.wait()
    assert (lab.ids("first"), lab.person.status("first")) == ([first], ["running"])
    assert len(lab.attempts) == 1


# --- numbers and dates -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("typed", "instead"), [("0,1", "0.1"), ("0,001", "0.001"), ("-1,5", "-1.5")])
def test_S17_a_decimal_comma_is_never_a_thousand_times_as_much(lab: Lab, typed: str, instead: str):
    """Text that looks like a number with a comma is refused with the number to type; it is not converted."""
    assert refused(lab, lr=typed) == f'lr is the text "{typed}": type it with a point, {instead}'
    assert lab.person.see("bad")["lr"] == typed, "the cell is the person's"


@pytest.mark.parametrize(("typed", "value"), [("5.10", 5.1), ("1e-3", 0.001), ("0.30000000000000004", 0.1 + 0.2)])
def test_S17_a_number_is_the_double_in_the_cell_and_not_the_text_that_is_shown(lab: Lab, typed: str, value: float):
    """A number is the double in the cell: every digit arrives, whatever the format leaves of it."""
    assert accepted(lab, lr=typed)["lr"] == value


@pytest.mark.parametrize("typed", ["2026-01-02", "1/2/2026", "1:30", "$5", "5 %"])
def test_S18_a_date_a_duration_or_a_price_is_not_a_number_to_the_row(lab: Lab, typed: str):
    """A date, a duration or a price that the sheet keeps as text is refused with what to type."""
    assert refused(lab, lr=typed) == f'lr is the text "{typed}": type a number from 0 to 10'


def test_S18_a_cell_that_shows_a_date_is_refused_for_a_number(lab_over_faults: Lab):
    """A cell that shows a date is refused for a number, although Google keeps it as one (46024) with a format.

    The built-in sheet knows no dates, so what Google answers is put into its answers on their way.
    """
    lab = lab_over_faults
    lab.faults.otherwise = Forward(change=lambda body: body.replace(b'"46024"', b'"2026-01-02"'))
    lab.person.type("bad", template="train", lr="0.1", seed="46024")
    lab.wait()
    view = lab.story.world.sheet
    assert view is not None
    seed = view.rows[0].cell(view.layout.position("seed"))
    assert (seed.value, seed.shown) == (46024.0, "2026-01-02")
    assert lab.person.status("bad") == ["invalid"]


# --- formulas ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("typed", ["=1/0", "=Z9", "=RAND()", "=lookup(A1)"])
def test_S19_a_formula_without_a_value_is_waited_for(lab: Lab, typed: str):
    """An error or an unfinished value starts nothing; as soon as there is a value, the row goes on by itself."""
    message = refused(lab, lr=typed)
    assert message.startswith("lr shows #")
    assert message.endswith(": type a value, or mend the formula")
    lab.person.type("bad", lr="=0.25")
    lab.wait()
    assert lab.person.status("bad") == ["running"]
    assert lab.story.experiment_by(lab.ids("bad")[0]).spec.params["lr"] == 0.25


def test_S19_a_value_that_changes_with_every_read_never_starts(lab: Lab):
    """A value that changes with every read never starts: only what stayed the same for seconds is meant."""
    lab.person.type("row", template="train")
    for number in range(15):
        lab.person.type("row", lr=f"=0.{number + 10}")
        lab.wait(2)
    assert lab.attempts == []
    lab.wait()
    assert lab.story.experiment_by(lab.ids("row")[0]).spec.params["lr"] == 0.24
