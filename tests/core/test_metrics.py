"""What a job reports becomes a few bounded numbers, whatever it reports."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheetd.core.metrics import NAMES_MAX, MetricSummary, add_points, progress
from sheetd.core.observation import MetricPoint

NUMBERS = st.floats(allow_nan=True, allow_infinity=True)


def point(step: float | None = None, **values: float) -> MetricPoint:
    return MetricPoint(values=values, step=step)


def summary(*values: float, name: str = "loss") -> MetricSummary:
    return add_points({}, [point(step, **{name: value}) for step, value in enumerate(values)])[name]


@pytest.mark.parametrize(("view", "number"), [("last", 1.0), ("min", 1.0), ("max", 4.0), ("mean", 2.5)])
def test_a_column_shows_its_view_of_a_metric(view: str, number: float):
    assert summary(3.0, 4.0, 2.0, 1.0).view(view) == number


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_does_not_count(value: float):
    assert summary(1.0, value).last == 1.0
    assert add_points({}, [point(loss=value)]) == {}


def test_a_job_may_report_any_names_but_not_any_number_of_them():
    folded = add_points({}, [point(**{f"m{n}": 1.0}) for n in range(10 * NAMES_MAX)])
    assert len(folded) == NAMES_MAX
    assert add_points(folded, [point(m0=7.0)])["m0"].last == 7.0


@given(st.lists(NUMBERS, max_size=200))
def test_every_shown_number_is_finite_and_in_order(values: list[float]):
    folded = add_points({}, [point(loss=value) for value in values])
    finite = [value for value in values if math.isfinite(value)]
    assert bool(folded) is bool(finite)
    for kept in folded.values():
        assert math.isfinite(kept.mean)
        assert kept.minimum == min(finite)
        assert kept.maximum == max(finite)
        assert kept.last == finite[-1]
        slack = 1e-9 * max(map(abs, finite))
        assert kept.minimum - slack <= kept.mean <= kept.maximum + slack


def test_folding_in_pieces_is_folding_at_once():
    points = [point(float(n), loss=float(n % 7)) for n in range(50)]
    assert add_points(add_points({}, points[:20]), points[20:]) == add_points({}, points)


@pytest.mark.parametrize(
    ("points", "part"),
    [
        ([], None),
        ([point(progress=0.25)], 0.25),
        ([point(progress=7.0)], 1.0),
        ([point(progress=-7.0)], 0.0),
        ([point(5.0, loss=1.0, total_steps=20.0)], 0.25),
        ([point(50.0, loss=1.0, total_steps=20.0)], 1.0),
        ([point(5.0, loss=1.0, total_steps=0.0)], None),
        ([point(5.0, loss=1.0)], None),
        ([point(total_steps=20.0)], None),
        ([point(math.nan, loss=1.0, total_steps=20.0)], None),
        ([point(math.inf, loss=1.0, total_steps=20.0)], None),
    ],
)
def test_progress_is_the_jobs_own_word_or_its_steps(points: list[MetricPoint], part: float | None):
    assert progress(add_points({}, points)) == part
