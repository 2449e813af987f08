"""A curve is bounded, made of numbers only, and is shown by one formula that every locale reads alike."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheetd.core.curve import POINTS_MAX, TOP, Curve, curve_of, with_value
from sheetd.core.grid import Cell
from sheetd.core.render import _differs
from sheetd.sheets.wire import cell_data


def history(*values: float) -> bytes:
    folded = b""
    for value in values:
        folded = with_value(folded, value)
    return folded


def points(*values: float) -> tuple[int, ...]:
    drawn = curve_of(history(*values))
    assert drawn is not None
    return drawn.points


def test_a_few_values_are_drawn_from_the_lowest_to_the_highest():
    assert points(2.0, -2.0, 0.0) == (TOP, 0, round(TOP / 2))
    assert points(5.0, 5.0) == (TOP // 2, TOP // 2)


def test_one_value_is_no_line():
    assert curve_of(history(1.0)) is None
    assert curve_of(b"") is None


def test_the_whole_history_stays_in_view_however_long_it_grows():
    falling = points(*(-float(n) for n in range(100 * POINTS_MAX)))
    assert falling[0] == TOP
    assert falling[-1] == 0
    assert list(falling) == sorted(falling, reverse=True)
    assert POINTS_MAX // 2 <= len(falling) <= POINTS_MAX


def test_a_full_curve_is_merged_in_pairs():
    full = history(*(float(n) for n in range(POINTS_MAX)))
    merged = curve_of(with_value(full, 1000.0))
    assert merged is not None
    assert len(merged.points) == POINTS_MAX // 2 + 1
    assert merged.points[-1] == TOP


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=300))
def test_whatever_is_reported_the_formula_is_numbers_between_semicolons(values: list[float]):
    drawn = curve_of(history(*values))
    assert drawn is not None
    assert re.fullmatch(r"=SPARKLINE\(\{\d{1,2}(;\d{1,2})*\}\)", drawn.formula)
    assert len(drawn.formula) < 3 * POINTS_MAX + 20
    assert drawn.is_shown_by(drawn.formula)


@pytest.mark.parametrize("one", ["1", "1});IMPORTDATA(A1", 1.0, True, math.nan, -1, TOP + 1])
def test_nothing_but_small_whole_numbers_makes_a_curve(one: Any):
    with pytest.raises(ValueError, match="whole numbers"):
        Curve((0, one))


@pytest.mark.parametrize("count", [0, 1, POINTS_MAX + 1])
def test_a_curve_is_neither_empty_nor_long(count: int):
    with pytest.raises(ValueError, match="points"):
        Curve((1,) * count)


def test_only_a_curve_becomes_a_formula_even_where_text_says_the_same():
    curve = Curve((0, 99))
    assert cell_data(curve) == {"userEnteredValue": {"formulaValue": "=SPARKLINE({0;99})"}}
    assert cell_data(curve.formula) == {"userEnteredValue": {"stringValue": curve.formula}}


@pytest.mark.parametrize(
    "read",
    [
        Cell(formula="=SPARKLINE({0;99})"),
        Cell(formula="=sparkline( {0 ; 99} )", error="ERROR"),
        Cell(formula="=SPARKLINE({0\\99})", value=""),
    ],
)
def test_an_unchanged_curve_is_not_written_again(read: Cell):
    assert not _differs(read, Curve((0, 99)))


@pytest.mark.parametrize(
    "read", [Cell(), Cell(value=5.0), Cell(value="=SPARKLINE({0;99})"), Cell(formula="=SPARKLINE({0;98})")]
)
def test_what_a_person_put_in_its_place_is_put_right(read: Cell):
    assert _differs(read, Curve((0, 99)))
