"""Text from outside becomes one bounded, harmless line."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheetd.core.text import MESSAGE_MAX, begins_formula, cell_text, clean_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain words", "plain words"),
        ("  ends  \n", "ends"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;a title\x07after", "after"),
        ("as tput sgr0 has it\x1b(B\x1b[m", "as tput sgr0 has it"),
        ("\x1b7saved\x1b8 \x1b=\x1bPq;sixels\x1b\\shown", "saved shown"),
        ("10%\r50%\r100%", "100%"),
        ("done\r\n", "done"),
        ("a\tb", "a b"),
        ("bidi \u202egnp.exe", "bidi gnp.exe"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("half \ud800 character", "half  character"),
        ("nul\0", "nul"),
        ("日本語 ünïcödé 🎉", "日本語 ünïcödé 🎉"),
        ("", ""),
    ],
)
def test_a_line_reads_as_a_person_would_have_seen_it(text: str, shown: str):
    assert clean_line(text) == shown


FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "  =LINK()", "\x1b[0m=1", "\u200b=1", "\r=1", "\n\t=1", "\ufeff\uff1d1")


@pytest.mark.parametrize("text", FORMULAS)
def test_what_a_spreadsheet_could_take_for_a_formula_is_recognised_whatever_is_before_it(text: str):
    assert begins_formula(text)


@pytest.mark.parametrize("text", ["", "a=1", "1+1", '"=1', "'=1", "\u2013lr", "\u202e"])
def test_other_text_is_none(text: str):
    assert not begins_formula(text)


@pytest.mark.parametrize("text", FORMULAS)
def test_what_would_begin_a_formula_is_quoted(text: str):
    assert cell_text(text).startswith('"')


def test_the_lines_of_a_message_are_joined_and_none_is_lost():
    assert cell_text("first\r\nsecond\nthird\rfourth") == "first  second third fourth"


@given(st.text(alphabet=st.characters(), max_size=2000))
def test_no_text_whatever_breaks_a_cell(text: str):
    shown = cell_text(text)
    assert len(shown) <= MESSAGE_MAX
    assert not shown.startswith(("=", "+", "-", "@"))
    assert not [char for char in shown if unicodedata.category(char) in {"Cc", "Cf", "Cs"}]
    assert cell_text(shown) == shown


@pytest.mark.parametrize("text", ["\x1b]" * 50_000, "\x1b[" + "0" * 100_000, "a" * 100_000, "\r" * 100_000])
def test_a_hostile_line_costs_little(text: str):
    assert len(clean_line(text)) <= 200
