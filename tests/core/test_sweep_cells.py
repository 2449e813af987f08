"""Cells that stand for several values: which do, what they become, and what is refused with what to type."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheetd.core.grid import CellValue
from sheetd.core.sweep_cells import RUNS_MAX, members, preview
from sheetd.core.template import Param, ParamType, Template
from sheetd.core.validation import Accepted
from tests.core.test_validation import BOOLEAN, CHOICE, FREE_INTEGER, FREE_NUMBER, NUMBER, TEXT, judged, problem

TWO = Template(
    name="two",
    command=("prog", "--lr={lr}", "--seed={seed}"),
    params={
        "lr": Param(name="lr", type=ParamType.NUMBER),
        "seed": Param(name="seed", type=ParamType.INTEGER, default=0),
    },
)


def values_of(template: Template, typed: CellValue) -> list[object]:
    (name,) = template.params
    verdict = judged(template, **{name: typed})
    assert isinstance(verdict, Accepted), verdict
    return [one.params[name] for one in members(verdict.spec, verdict.axes, verdict.repeat, template)]


@pytest.mark.parametrize(
    ("template", "typed", "values"),
    [
        (FREE_NUMBER, "{0.1 | 0.01}", [0.1, 0.01]),
        (FREE_NUMBER, " {1e-3|2|-3} ", [0.001, 2.0, -3.0]),
        (CHOICE, "{Adam | sgd}", ["adam", "SGD"]),
        (BOOLEAN, "{TRUE | false}", [True, False]),
        (TEXT, "{a b | $(reboot)}", ["a b", "$(reboot)"]),
        (FREE_INTEGER, "1..5", [1, 2, 3, 4, 5]),
        (FREE_INTEGER, "-1 .. 1", [-1, 0, 1]),
        (FREE_INTEGER, "3..3", [3]),
        (FREE_INTEGER, "0..10 step 5", [0, 5, 10]),
        (FREE_NUMBER, "0..1 step 0.25", [0.0, 0.25, 0.5, 0.75, 1.0]),
        (FREE_NUMBER, "0..0.35 step 0.1", [0.0, 0.1, 0.2, 0.3]),
        (FREE_NUMBER, "1..3", [1.0, 2.0, 3.0]),
        (FREE_NUMBER, "1e-4..1e-1 log 4", [0.0001, 0.001, 0.01, 0.1]),
        (FREE_NUMBER, "1e-4..1e-1 log 7", [0.0001, 0.000316228, 0.001, 0.00316228, 0.01, 0.0316228, 0.1]),
        (FREE_INTEGER, "16..256 log 5", [16, 32, 64, 128, 256]),
    ],
)
def test_a_cell_stands_for_several_values(template: Template, typed: CellValue, values: list[object]):
    assert values_of(template, typed) == values


@pytest.mark.parametrize("typed", ["1..5", "1e-4..1e-1 log 7", "{a}", "a | b", "{x", '{"a": 1}', "..", "x..y"])
def test_a_text_that_lists_nothing_stays_as_it_is(typed: str):
    assert values_of(TEXT, typed) == [typed]


@pytest.mark.parametrize(("typed", "text"), [("\\{a | b}", "{a | b}"), ("\\\\{a|b}", "\\{a|b}"), ("\\x", "\\x")])
def test_a_backslash_takes_the_meaning_from_braces(typed: str, text: str):
    assert values_of(TEXT, typed) == [text]


@pytest.mark.parametrize(
    ("template", "typed", "says"),
    [
        (FREE_NUMBER, "{0,1 | 0.01}", 'lr is the text "0,1": type it with a point, 0.1'),
        (NUMBER, "{0.1 | 11}", "lr is 11, above 10: type a number from 0 to 10"),
        (FREE_NUMBER, "{0.1 | 0.10}", 'lr says "0.10" twice: a column repeat runs the same more than once'),
        (FREE_NUMBER, "{0.1 | }", "lr has an empty place between its bars: "),
        (TEXT, "{{ x | upper }}", "tag has braces within braces: "),
        (FREE_INTEGER, "5..1", "n counts down: type 1..5, the smaller number first"),
        (FREE_NUMBER, "0.1..0.5", "lr needs a step: type 0.1..0.5 step 0.1, "),
        (FREE_NUMBER, "1..2 step 0", "lr has a step that is not above 0: "),
        (FREE_NUMBER, "1..2 step -1", "lr has a step that is not above 0: "),
        (FREE_NUMBER, "0..1 log 3", "lr begins at or below 0, "),
        (FREE_NUMBER, "1..10 log 1", "lr asks for 1 numbers: "),
        (FREE_NUMBER, "1..10 log 2.5", "lr asks for 2.5 numbers: "),
        (FREE_INTEGER, "1..3 log 9", 'n says "'),
        (FREE_INTEGER, "1..3 step 0.5", "n is 1.5: type a whole number"),
        (FREE_NUMBER, "1...3", 'lr is the text "1...3"'),
        (FREE_NUMBER, "1\u20265", 'lr is the text "1\u20265"'),
        (FREE_INTEGER, "0..10000", "n stands for 10,001 values, more than 10,000: "),
        (FREE_INTEGER, f"0..{'9' * 300}", "n stands for "),
        (FREE_NUMBER, "0..1e999 step 1e-999", "lr stands for over 1,000,000,000,000 values, "),
        (FREE_NUMBER, f"0..{'9' * 5000}", "lr stands for over 1,000,000,000,000 values, "),
        (FREE_NUMBER, "1..1e999 log 3", "lr is "),
    ],
)
def test_what_cannot_be_told_is_refused_with_what_to_type(template: Template, typed: str, says: str):
    assert problem(template, **dict.fromkeys(template.params, typed)).startswith(says)


def test_each_value_is_judged_as_if_it_stood_alone():
    alone = Template(name="t", command=("prog", "{lr}"), params={"lr": Param(name="lr", type=ParamType.NUMBER)})
    assert problem(alone, lr="{1 | -1}").startswith("lr begins with - and the program would read it as an option")


@pytest.mark.parametrize("typed", ["0", 0, 1.5, "two", True, "{1 | 2}", RUNS_MAX + 1])
def test_a_repeat_that_is_no_number_of_runs_is_refused(typed: CellValue):
    assert problem(TWO, lr=0.1, repeat=typed).startswith("repeat is ")


def test_a_row_makes_every_combination_and_each_as_often_as_it_says():
    verdict = judged(TWO, lr="{1 | 2}", seed="7..9", repeat=2)
    assert isinstance(verdict, Accepted)
    made = list(members(verdict.spec, verdict.axes, verdict.repeat, TWO))
    assert verdict.runs == len(made) == 12
    assert preview(verdict.axes, verdict.repeat) == "2 x lr, 3 x seed, 2 x repeat"
    assert [one.argv[1:] for one in made[::2]] == [
        (f"--lr={lr}", f"--seed={n}") for lr, n in product((1, 2), (7, 8, 9))
    ]
    assert [one.env["SHEETD_REPEAT"] for one in made] == ["1", "2"] * 6


def test_without_a_repeat_a_job_is_told_of_none():
    verdict = judged(TWO, lr="{1 | 2}", repeat=1)
    assert isinstance(verdict, Accepted)
    assert all(not one.env for one in members(verdict.spec, verdict.axes, verdict.repeat, TWO))


def test_a_row_of_too_many_runs_is_counted_and_not_made():
    says = problem(TWO, lr="0..9999", seed="0..9999", repeat=9_999)
    assert says == "this row makes 999,900,000,000 runs, more than 10,000: shorten a list or a range"


@given(st.text())
def test_no_text_breaks_the_reading_of_a_number(text: str):
    judged(FREE_NUMBER, lr=text)


@given(st.lists(st.integers(-1000, 1000).map(str), min_size=2, max_size=6, unique=True))
def test_a_list_gives_the_same_values_as_its_parts_alone(texts: list[str]):
    listed = values_of(FREE_NUMBER, "{" + " | ".join(texts) + "}")
    assert listed == [values_of(FREE_NUMBER, text)[0] for text in texts]
