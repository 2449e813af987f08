"""Metrics are summed up, bounded, counted once, and worth nothing to a corrupt file."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sheetd.core.model import AttemptId
from sheetd.core.observation import MetricPoint
from sheetd.journal import JournalReader, MetricSummary, SqliteJournal
from sheetd.journal.cache import CACHE_NAME, NAMES, RECENT, Cache, _summary

A1 = AttemptId("abcd.1")
A2 = AttemptId("abcd.2")


def losses(*values: float, first_step: int = 1) -> list[MetricPoint]:
    return [MetricPoint(step=float(step), values={"loss": value}) for step, value in enumerate(values, first_step)]


def test_a_metric_is_summed_up_over_reports(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.add_points(A1, 10, losses(4.0, 1.0))
    cache.add_points(A1, 20, losses(3.0, 2.0, first_step=3))
    assert cache.metrics(A1) == {
        "loss": MetricSummary(
            last=2.0, minimum=1.0, maximum=4.0, mean=2.5, count=4, step=4.0,
            recent=((1.0, 4.0), (2.0, 1.0), (3.0, 3.0), (4.0, 2.0)),
        )
    }  # fmt: skip
    assert cache.metrics(A2) == {}
    assert cache.offsets() == {A1: 20}
    cache.close()


def test_a_report_that_comes_twice_counts_once(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for _ in range(2):
        cache.add_points(A1, 10, losses(4.0, 1.0))
    assert cache.metrics(A1)["loss"].count == 2
    cache.close()


def test_a_report_without_points_still_moves_the_offset(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.add_points(A1, 10, [])
    assert cache.offsets() == {A1: 10}
    cache.close()


def test_a_hostile_job_cannot_fill_the_cache_or_put_nonsense_into_it(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.add_points(A1, 10, losses(1.0, math.nan, math.inf, -math.inf, 2.0))
    cache.add_points(A1, 20, [MetricPoint(step=math.nan, values={"loss": 3.0})])
    cache.add_points(A1, 30, [MetricPoint(values={f"name{n}": 1.0}) for n in range(5 * NAMES)])
    cache.add_points(A1, 40, losses(*[1.0] * 5 * RECENT))
    found = cache.metrics(A1)
    assert len(found) == NAMES
    assert len(found["loss"].recent) == RECENT
    assert found["loss"].count == 3 + 5 * RECENT
    assert found["loss"].recent[-1] == (5.0 * RECENT, 1.0)
    cache.close()


def test_steps_may_be_missing(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.add_points(A1, 10, [MetricPoint(values={"loss": 1.0, "acc": 0.5}), MetricPoint(step=2, values={"loss": 0.5})])
    assert cache.metrics(A1)["acc"].recent == ((None, 0.5),)
    assert cache.metrics(A1)["loss"].step == 2.0
    cache.close()


FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(FINITE, min_size=1, max_size=20), st.lists(FINITE, min_size=1, max_size=20))
@settings(max_examples=200)
def test_a_summary_in_two_parts_is_the_summary_of_the_whole_and_finite(first: list[float], second: list[float]) -> None:
    parts = _summary(_summary(None, [(None, v) for v in first]), [(None, v) for v in second])
    assert (parts.last, parts.minimum, parts.maximum) == (second[-1], min(first + second), max(first + second))
    assert parts.count == len(first) + len(second)
    assert math.isfinite(parts.mean)
    spread = max(abs(v) for v in first + second)
    assert parts.minimum - 1e-9 * spread <= parts.mean <= parts.maximum + 1e-9 * spread


@pytest.mark.parametrize("content", [b"garbage" * 1000, b""], ids=["garbage", "empty"])
def test_a_damaged_cache_is_started_anew_and_costs_no_event(tmp_path: Path, content: bytes) -> None:
    with SqliteJournal(tmp_path) as journal:
        journal.cache_metrics(A1, 10, losses(1.0))
    (tmp_path / CACHE_NAME).write_bytes(content)
    with SqliteJournal(tmp_path) as journal:
        assert journal.metrics_offsets() == {}, "so that the hosts are asked again from the beginning"
        journal.cache_metrics(A1, 10, losses(1.0))
        assert JournalReader(tmp_path).metrics(A1)["loss"].count == 1


def test_a_cache_of_another_version_is_started_anew(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.add_points(A1, 10, losses(1.0))
    cache._connection.execute("PRAGMA user_version=77")
    cache.close()
    cache = Cache(tmp_path)
    assert cache.offsets() == {}
    cache.close()


def test_the_cache_survives_a_restart(tmp_path: Path) -> None:
    with SqliteJournal(tmp_path) as journal:
        journal.cache_metrics(A1, 10, losses(1.0))
        journal.cache_view("rows", {"a": 1})
    with SqliteJournal(tmp_path) as journal:
        assert journal.metrics(A1)["loss"].last == 1.0
        assert journal.metrics_offsets() == {A1: 10}
