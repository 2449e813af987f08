"""A row becomes a spec, or a sentence that says what to type instead. Nothing is guessed."""

# ruff: noqa: RUF001 - look-alike characters are what is tested here
from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheetd.core.grid import Cell, CellValue, Grid
from sheetd.core.model import Spec, Value
from sheetd.core.rows import read_layout, view_grid
from sheetd.core.template import Param, ParamType, Template
from sheetd.core.validation import Accepted, Refused, judge
from tests.core.story import cell


def one(param: Param, *, standing_alone: bool = False) -> Template:
    element = f"{{{param.name}}}" if standing_alone else f"--{param.name}={{{param.name}}}"
    return Template(name="t", command=("prog", element), params={param.name: param})


def judged(template: Template, /, **cells: CellValue | Cell) -> Accepted | Refused:
    header = [cell(name) for name in ("id", "status", "message", *cells)]
    row = (cell(None), cell(None), cell(None), *(cell(value) for value in cells.values()))
    layout = read_layout(header, template.params, ())
    grid = Grid(tab_id=0, title="t", rows=(tuple(header), row), row_count=9, column_count=9)
    return judge(view_grid(grid, layout, None, 0.0).rows[0], layout, {template.name: template})


def spec(template: Template, /, **cells: CellValue | Cell) -> Spec:
    verdict = judged(template, **cells)
    assert isinstance(verdict, Accepted), verdict
    return verdict.spec


def problem(template: Template, /, **cells: CellValue | Cell) -> str:
    verdict = judged(template, **cells)
    assert isinstance(verdict, Refused), verdict
    (sentence,) = verdict.problems
    return sentence


NUMBER = one(Param(name="lr", type=ParamType.NUMBER, minimum=0.0, maximum=10.0))
FREE_NUMBER = one(Param(name="lr", type=ParamType.NUMBER))
INTEGER = one(Param(name="n", type=ParamType.INTEGER, minimum=1))
FREE_INTEGER = one(Param(name="n", type=ParamType.INTEGER))
BOOLEAN = one(Param(name="amp", type=ParamType.BOOLEAN))
CHOICE = one(Param(name="opt", type=ParamType.CHOICE, choices=("adam", "SGD")))
TEXT = one(Param(name="tag", type=ParamType.TEXT))
REF = Cell(value=None, shown="#REF!", error="REF", formula="=A1+nothing")

# --- numbers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "value", "argument"),
    [
        (0.001, 0.001, "--lr=0.001"),
        ("1e-3", 0.001, "--lr=0.001"),
        ("1E-3", 0.001, "--lr=0.001"),
        (" 0.5 ", 0.5, "--lr=0.5"),
        (".5", 0.5, "--lr=0.5"),
        ("5.", 5.0, "--lr=5"),
        (0.0, 0.0, "--lr=0"),
        (10.0, 10.0, "--lr=10"),
        (1e-7, 1e-7, "--lr=1e-07"),
        (0.1 + 0.2, 0.1 + 0.2, "--lr=0.30000000000000004"),
        (Cell(value=0.1, shown="0,1"), 0.1, "--lr=0.1"),
        (Cell(value=0.5, shown="50%"), 0.5, "--lr=0.5"),
        (Cell(value=0.5, shown="0.5", formula="=1/2"), 0.5, "--lr=0.5"),
        (Cell(value=5.0, shown="5 epochs"), 5.0, "--lr=5"),
        (Cell(value=1e-5, shown="1.00E-05"), 1e-5, "--lr=1e-05"),
        (Cell(value=2.5, shown="$ 2.50"), 2.5, "--lr=2.5"),
    ],
)
def test_a_number_is_the_number_in_the_cell_however_it_looks(typed: CellValue | Cell, value: float, argument: str):
    accepted = spec(NUMBER, lr=typed)
    assert accepted.params == {"lr": value}
    assert accepted.argv == ("prog", argument)


@pytest.mark.parametrize(
    "shown",
    [
        "2026-01-02",
        "02.01.2026",
        "1/2/2026",
        "2 Jan 2026",
        "2-Jan-2026",
        "2. Jan. 2026",
        "Jan 2, 2026",
        "12:30",
        "24:00:00",
    ],
)
def test_a_number_that_is_shown_as_a_date_or_a_time_is_none(shown: str):
    """Google keeps 2026-01-02 as 46024: whoever typed it meant no such number."""
    told = f'lr shows "{shown}", which looks like a date or a time: type a number from 0 to 10'
    assert problem(NUMBER, lr=Cell(value=1.0, shown=shown)) == told


@pytest.mark.parametrize("shown", ["1.000.000", "1,000,000", "1 000 000", "1.000.000,00"])
def test_thousands_are_no_date(shown: str):
    whole = one(Param(name="lr", type=ParamType.INTEGER))
    assert spec(whole, lr=Cell(value=1e6, shown=shown)).params == {"lr": 1000000}


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("0,001", 'lr is the text "0,001": type it with a point, 0.001'),
        ("-0,5", 'lr is the text "-0,5": type it with a point, -0.5'),
        ("０.１", 'lr is the text "０.１": type a number from 0 to 10'),
        ("１", 'lr is the text "１": type a number from 0 to 10'),
        ("1.000,5", 'lr is the text "1.000,5": type a number from 0 to 10'),
        ("1_000", 'lr is the text "1_000": type a number from 0 to 10'),
        ("0x10", 'lr is the text "0x10": type a number from 0 to 10'),
        ("nan", 'lr is the text "nan": type a number from 0 to 10'),
        ("inf", 'lr is the text "inf": type a number from 0 to 10'),
        ("1e-3\u200b", 'lr is the text "1e-3<U+200B>": type a number from 0 to 10'),
        ("\u00a01", 'lr is the text "<U+00A0>1": type a number from 0 to 10'),
        ("−1", 'lr is the text "−1": type a number from 0 to 10'),
        ("–1", 'lr is the text "–1": type a number from 0 to 10'),
        ("1\0", 'lr is the text "1<U+0000>": type a number from 0 to 10'),
        ("1\n2", 'lr is the text "1<U+000A>2": type a number from 0 to 10'),
        ("1e999", "lr is too large for a number: type a number from 0 to 10"),
        ("9" * 5000, "lr is too large for a number: type a number from 0 to 10"),
        (11.0, "lr is 11, above 10: type a number from 0 to 10"),
        (-0.1, "lr is -0.1, below 0: type a number from 0 to 10"),
        (True, "lr is TRUE: type a number from 0 to 10"),
        (None, "lr is empty: type a number from 0 to 10"),
        ("", "lr is empty: type a number from 0 to 10"),
        (REF, "lr shows #REF!: type a value, or mend the formula"),
        (Cell(error="DIVIDE_BY_ZERO"), "lr shows DIVIDE_BY_ZERO: type a value, or mend the formula"),
        (Cell(formula="=SLOW()", shown="Loading..."), "lr is Loading...: type a number from 0 to 10"),
        ("x" * 100, f'lr is the text "{"x" * 60}…": type a number from 0 to 10'),
    ],
)
def test_what_is_no_number_is_refused_with_what_to_type(typed: CellValue | Cell, sentence: str):
    assert problem(NUMBER, lr=typed) == sentence


@pytest.mark.parametrize(
    ("minimum", "maximum", "expected"),
    [
        (None, None, "a number"),
        (1.0, None, "a number from 1"),
        (None, 2.5, "a number up to 2.5"),
        (1e-6, 1.0, "a number from 1e-06 to 1"),
    ],
)
def test_the_sentence_names_the_bounds(minimum: float | None, maximum: float | None, expected: str):
    template = one(Param(name="lr", type=ParamType.NUMBER, minimum=minimum, maximum=maximum))
    assert problem(template, lr="x").endswith(f"type {expected}")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_reads_back_from_the_command_line_as_the_same_number(number: float):
    (_, argument) = spec(FREE_NUMBER, lr=number).argv
    assert float(argument.removeprefix("--lr=")) == number


@given(st.text(max_size=20))
def test_no_text_becomes_a_number_that_does_not_look_like_one(text: str):
    verdict = judged(FREE_NUMBER, lr=text)
    if isinstance(verdict, Accepted):
        assert text.isascii()
        assert verdict.spec.params["lr"] == float(text)


@pytest.mark.parametrize(("typed", "value"), [(3.0, 3), ("42", 42), ("1e3", 1000), ("3.0", 3), (2.0**53, 2**53)])
def test_a_whole_number(typed: CellValue, value: int):
    accepted = spec(INTEGER, n=typed)
    assert accepted.params == {"n": value}
    assert type(accepted.params["n"]) is int
    assert accepted.argv == ("prog", f"--n={value}")


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (1.5, "n is 1.5: type a whole number from 1"),
        ("1,5", 'n is the text "1,5": type it with a point, 1.5'),
        (0.0, "n is 0, below 1: type a whole number from 1"),
        (True, "n is TRUE: type a whole number from 1"),
        ("three", 'n is the text "three": type a whole number from 1'),
        (1e300, "n is 1e+300, more digits than a cell keeps: type at most 9007199254740992"),
        (
            "12345678901234567890",
            "n is 1.23457e+19, more digits than a cell keeps: type at most 9007199254740992",
        ),
        (REF, "n shows #REF!: type a value, or mend the formula"),
    ],
)
def test_what_is_no_whole_number_is_refused_with_what_to_type(typed: CellValue | Cell, sentence: str):
    assert problem(INTEGER, n=typed) == sentence


# --- booleans, choices, text -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "value"), [(True, True), (False, False), ("TRUE", True), ("false", False), (" True ", True)]
)
def test_a_boolean(typed: CellValue, value: bool):
    assert spec(BOOLEAN, amp=typed).params == {"amp": value}
    assert spec(BOOLEAN, amp=typed).argv == ("prog", f"--amp={str(value).lower()}")


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (1.0, 'amp is "1": type TRUE or FALSE'),
        ("yes", 'amp is "yes": type TRUE or FALSE'),
        ("WAHR", 'amp is "WAHR": type TRUE or FALSE'),
        (None, "amp is empty: type TRUE or FALSE"),
        (REF, "amp shows #REF!: type a value, or mend the formula"),
    ],
)
def test_what_is_no_boolean_is_refused_with_what_to_type(typed: CellValue | Cell, sentence: str):
    assert problem(BOOLEAN, amp=typed) == sentence


@pytest.mark.parametrize(
    ("typed", "value"), [("adam", "adam"), ("ADAM", "adam"), (" sgd ", "SGD"), ("ａｄａｍ", "adam")]
)
def test_a_choice_is_spelled_as_the_template_spells_it(typed: str, value: str):
    assert spec(CHOICE, opt=typed).argv == ("prog", f"--opt={value}")


@pytest.mark.parametrize("typed", ["adаm", "adamw", "adam,SGD", 1.0, True])
def test_what_is_no_choice_is_refused_with_the_choices(typed: CellValue):
    assert problem(CHOICE, opt=typed).endswith("type one of adam, SGD")


HOSTILE = [
    "; rm -rf ~",
    "$(reboot)",
    "`id`",
    "a b  c",
    "a\nb",
    'quo"te',
    "it's",
    "{lr}",
    "{tag}",
    "{{}}",
    "%s %(x)s",
    "\\x41",
    "*?[a]",
    "~root",
    "&& true",
    "=1+1",
    "日本語",
    "\u202egnp",
    " leading and trailing ",
    "--tag=nested",
    "../../etc/passwd",
    "\x1b[31m",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_reaches_the_command_line_byte_for_byte_as_one_argument(text: str):
    accepted = spec(TEXT, tag=text)
    assert accepted.params == {"tag": text}
    assert accepted.argv == ("prog", f"--tag={text}")


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=100))
def test_any_text_fills_one_argument_and_only_that(text: str):
    assert spec(TEXT, tag=text).argv == ("prog", f"--tag={text}")


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        (Cell(value=45292.0, shown="2024-01-01"), "2024-01-01"),
        (Cell(value=7.0, shown="007"), "007"),
        (True, "TRUE"),
    ],
)
def test_a_cell_that_is_no_text_is_passed_as_it_is_shown(typed: CellValue | Cell, text: str):
    assert spec(TEXT, tag=typed).argv == ("prog", f"--tag={text}")


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("a\0b", "tag holds a NUL character, which no program can be given: remove it"),
        ("a\ud800", "tag holds half of a character, which no program can be given: type it again"),
        ("x" * 4097, "tag has 4097 characters, more than 4096: shorten it"),
        (None, "tag is empty: type some text"),
        (REF, "tag shows #REF!: type a value, or mend the formula"),
    ],
)
def test_text_that_no_program_can_be_given_is_refused(typed: CellValue | Cell, sentence: str):
    assert problem(TEXT, tag=typed) == sentence


def test_text_may_have_to_match_a_pattern_from_end_to_end():
    template = one(Param(name="tag", pattern="[a-z]+"))
    assert spec(template, tag="abc").argv == ("prog", "--tag=abc")
    assert problem(template, tag="abc\n") == 'tag is "abc<U+000A>": type something that matches [a-z]+'


# --- the command line --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("typed", ["-rf", "--lr=9", "-", "-1"])
def test_a_value_that_would_be_read_as_an_option_is_refused_where_it_stands_alone(typed: str):
    template = one(Param(name="tag"), standing_alone=True)
    assert problem(template, tag=typed) == (
        "tag begins with - and the program would read it as an option: "
        "change the value, or write --tag={tag} in template t"
    )


def test_nor_may_a_suffix_or_a_neighbour_hide_it():
    tag, end = Param(name="tag"), Param(name="end", default="")
    template = Template(name="t", command=("prog", "{tag}.yaml", "{end}{tag}"), params={"tag": tag, "end": end})
    verdict = judged(template, tag="-c")
    assert isinstance(verdict, Refused)
    assert len(verdict.problems) == 2


def test_a_look_alike_dash_is_a_character_like_any_other():
    template = one(Param(name="tag"), standing_alone=True)
    assert spec(template, tag="–lr").argv == ("prog", "–lr")


def test_a_value_that_names_a_placeholder_is_not_filled_again():
    template = Template(name="t", command=("prog", "{a}{b}"), params={"a": Param(name="a"), "b": Param(name="b")})
    assert spec(template, a="{b}", b="{a}").argv == ("prog", "{b}{a}")


def test_the_command_that_resumes_is_filled_too():
    template = Template(
        name="t",
        command=("prog", "--tag={tag}"),
        resume_command=("prog", "--tag={tag}", "--resume"),
        params={"tag": Param(name="tag")},
    )
    assert spec(template, tag="$HOME").resume_argv == ("prog", "--tag=$HOME", "--resume")


@pytest.mark.parametrize("default", [0.5, 3, True, "some text", ""])
def test_an_empty_cell_takes_the_default_as_it_is(default: Value):
    kinds = {float: ParamType.NUMBER, int: ParamType.INTEGER, bool: ParamType.BOOLEAN, str: ParamType.TEXT}
    template = one(Param(name="p", type=kinds[type(default)], default=default))
    assert spec(template, p=None).params == {"p": default}


def test_a_parameter_whose_column_is_missing_is_an_empty_cell():
    assert problem(NUMBER) == "lr is empty: type a number from 0 to 10"


def test_every_problem_of_a_row_is_said_at_once():
    template = Template(
        name="t",
        command=("prog", "{a}", "{b}"),
        params={"a": Param(name="a", type=ParamType.NUMBER), "b": Param(name="b", type=ParamType.BOOLEAN)},
    )
    verdict = judged(template, a="0,5", b="maybe", gpus="two", priority="high", where=REF)
    assert isinstance(verdict, Refused)
    assert [sentence.split(" ")[0] for sentence in verdict.problems] == ["a", "b", "gpus", "priority", "where"]


# --- controls ----------------------------------------------------------------------------------------------------

PLAIN = Template(name="Plain", command=("true",), slots=2, where="lab")


def test_the_only_template_need_not_be_named():
    assert spec(PLAIN, template=None).template == "Plain"


def test_a_template_is_found_however_it_is_spelled():
    assert spec(PLAIN, template=" pＬain ").template == "Plain"


@pytest.mark.parametrize("typed", ["plan", "../plain", "Plain2", REF])
def test_an_unknown_template_is_refused_with_those_there_are(typed: CellValue | Cell):
    assert problem(PLAIN, template=typed).endswith("type one of Plain (templates are read when sheetd starts)")


def test_memory_and_sharing_are_the_templates():
    found = spec(replace(PLAIN, memory_gb=40.0, share=3))
    assert (found.memory_gb, found.share) == (40.0, 3)


@pytest.mark.parametrize(("typed", "slots"), [(None, 2), (1.0, 1), (8.0, 8)])
def test_gpus_default_to_the_templates(typed: CellValue, slots: int):
    assert spec(PLAIN, gpus=typed).slots == slots


@pytest.mark.parametrize("typed", [0.0, -1.0, 1.5, "2", True, 1e9, REF])
def test_gpus_that_are_no_whole_number_are_refused(typed: CellValue | Cell):
    assert problem(PLAIN, gpus=typed).endswith("type a whole number from 1, or leave it empty for 2")


@pytest.mark.parametrize(("typed", "priority"), [(None, 0.0), (5.0, 5.0), (-1.5, -1.5)])
def test_priority_is_a_number(typed: CellValue, priority: float):
    assert spec(PLAIN, priority=typed).priority == priority


@pytest.mark.parametrize("typed", ["high", True, REF])
def test_a_priority_that_is_no_number_is_refused(typed: CellValue | Cell):
    assert "type a number" in problem(PLAIN, priority=typed)


@pytest.mark.parametrize(("typed", "where"), [(None, "lab"), ("alpha", "alpha"), (" a100 ", "a100")])
def test_where_defaults_to_the_templates(typed: CellValue, where: str):
    assert spec(PLAIN, where=typed).where == where


@pytest.mark.parametrize("typed", ["x" * 201, "\ud800", REF])
def test_a_where_that_names_no_host_is_refused(typed: CellValue | Cell):
    assert problem(PLAIN, where=typed).endswith("type the name or a label of a host, or leave it empty")


@pytest.mark.parametrize("typed", ["x" * 201, ",".join(map(str, range(51))), "\ud800", REF])
def test_an_after_that_can_name_no_rows_is_refused(typed: CellValue | Cell):
    assert problem(PLAIN, after=typed).endswith("or previous")
