"""Characters that nobody sees, look alike or mean something to a sheet; words for truth; half a row (S20 to S24).

Keywords are compared as people read them, values are passed on as they are or refused.
"""

from __future__ import annotations

import pytest

from sheetd.core.observation import AttemptSeen, Exit, Seen
from sheetd.core.world import Limits
from tests.core.story import TRAIN
from tests.faults.conftest import OpenLab
from tests.faults.laboratory import Lab
from tests.faults.typed_rows import NOTED, accepted, refused

# --- characters --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("typed", [" train ", "TRAIN", "\u00a0train", "\uff54\uff52\uff41\uff49\uff4e"])
def test_S20_a_keyword_may_be_spelled_with_spaces_and_other_cases(lab: Lab, typed: str):
    """Spaces, no-break spaces, case and compatibility forms do not count in a keyword."""
    assert accepted(lab, template=typed) == {"lr": 0.1, "seed": 0}


def test_S20_spaces_around_an_id_do_not_make_it_another(lab: Lab):
    """A space that is left behind in an id cell does not make it another id."""
    (first,) = lab.running("first")
    lab.person.type("first", id=f" {first} ")
    lab.wait(30)
    assert (lab.ids("first"), lab.stops, len(lab.attempts)) == ([first], [], 1)


@pytest.mark.parametrize("typed", ["0.1\u200b", "\ufeff0.1"])
def test_S20_an_invisible_character_is_no_part_of_a_number(lab: Lab, typed: str):
    """A number with an invisible character in it is refused, and nothing is started."""
    assert refused(lab, lr=typed).startswith("lr is the text")


def test_S20_the_message_names_the_character_that_nobody_sees(lab: Lab):
    """A message about an invisible character names its code point, since the text looks right to the person."""
    assert "U+200B" in refused(lab, lr="0.1\u200b")


@pytest.mark.parametrize("typed", ["\uff10.1", "\u0661", "0\u2024" + "1", "\u22121", "\u20131"])
def test_S21_digits_and_dashes_of_other_alphabets_are_no_number(lab: Lab, typed: str):
    """Digits and dashes of other alphabets are no number, although Python would read some of them as one."""
    assert refused(lab, lr=typed) == f'lr is the text "{typed}": type a number from 0 to 10'


def test_S21_a_name_with_a_letter_of_another_alphabet_is_not_taken_for_ours(lab: Lab):
    """A Cyrillic letter in `train` is not folded: the row names the templates there are."""
    assert refused(lab, template="tr\u0430in").startswith('there is no template "tr\u0430in": type one of train')


def test_S21_a_look_alike_dash_is_no_option(open_lab: OpenLab):
    """`\u2013lr` from autocorrect is text like any other; a real dash where an option could be is refused."""
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
    """Text of a job is written as a typed string, and quoted where an export as CSV would make a formula of it."""
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
    """Words and numbers that a language or a spreadsheet takes for true are refused."""
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
    """A row starts when it has been left alone for some seconds, with what it says then."""
    lab.person.type("row", template="train")
    for text in ("0.1", "0.15", "0.2", "0.25", "0.3"):
        lab.wait(2)
        lab.person.type("row", lr=text)
    assert lab.attempts == []
    lab.wait()
    assert len(lab.attempts) == 1
    assert lab.story.experiment_by(lab.ids("row")[0]).spec.params["lr"] == 0.3


def test_S24_with_ready_explicit_nothing_starts_without_run(open_lab: OpenLab):
    """A row may be made to wait for `run`; by default a row that has settled is meant.

    The catalogue wants `run` in every row. That is one cell more for each, so it is the operator's choice.
    """
    lab = open_lab(limits=Limits(explicit_only=True, dress_every_s=1e9))
    lab.person.type("row", template="train", lr="0.1")
    lab.wait(30, step_s=2)
    assert (lab.person.status("row"), lab.attempts) == (["draft"], [])
    assert lab.person.see("row")["message"] == "choose run in action to start it"
    lab.person.type("row", action="run")
    lab.wait()
    assert lab.person.status("row") == ["running"]
