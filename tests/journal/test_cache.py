"""Metrics are kept with how far they reach, and a damaged cache costs nothing but asking again."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from sheetd.core.metrics import MetricSummary, add_points
from sheetd.core.model import AttemptId
from sheetd.core.observation import MetricPoint
from sheetd.journal import JournalReader, SqliteJournal
from sheetd.journal.cache import CACHE_NAME, Cache

A1 = AttemptId("abcd.1")
A2 = AttemptId("abcd.2")


def losses(*values: float, first_step: int = 1) -> list[MetricPoint]:
    return [MetricPoint(step=float(step), values={"loss": value}) for step, value in enumerate(values, first_step)]


def summed(*values: float) -> dict[str, MetricSummary]:
    return add_points({}, losses(*values))


def test_what_is_kept_comes_back_with_how_far_it_reaches(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.keep_metrics(A1, 10, summed(4.0, 1.0))
    cache.keep_metrics(A1, 20, summed(4.0, 1.0, 3.0, 2.0))
    assert cache.metrics(A1) == summed(4.0, 1.0, 3.0, 2.0)
    assert cache.metrics(A2) == {}
    assert cache.offsets() == {A1: 20}
    cache.close()


def test_a_report_without_points_still_moves_the_offset(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.keep_metrics(A1, 10, {})
    assert cache.offsets() == {A1: 10}
    cache.close()


@pytest.mark.parametrize("content", [b"garbage" * 1000, b""], ids=["garbage", "empty"])
def test_a_damaged_cache_is_started_anew_and_costs_no_event(tmp_path: Path, content: bytes) -> None:
    with SqliteJournal(tmp_path) as journal:
        journal.cache_metrics(A1, 10, summed(1.0))
    (tmp_path / CACHE_NAME).write_bytes(content)
    with SqliteJournal(tmp_path) as journal:
        assert journal.metrics_offsets() == {}, "so that the hosts are asked again from the beginning"
        journal.cache_metrics(A1, 10, summed(1.0))
        assert JournalReader(tmp_path).metrics(A1)["loss"].count == 1


def test_a_cache_of_another_version_is_started_anew(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.keep_metrics(A1, 10, summed(1.0))
    cache._connection.execute("PRAGMA user_version=77")
    cache.close()
    cache = Cache(tmp_path)
    assert cache.offsets() == {}
    cache.close()


def test_the_cache_survives_a_restart(tmp_path: Path) -> None:
    with SqliteJournal(tmp_path) as journal:
        journal.cache_metrics(A1, 10, summed(1.0))
        journal.cache_view("rows", {"a": 1})
    with SqliteJournal(tmp_path) as journal:
        assert journal.metrics(A1)["loss"].last == 1.0
        assert journal.metrics_offsets() == {A1: 10}


def test_a_cache_that_kept_the_last_points_is_read_on(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.keep_metrics(A1, 10, summed(4.0, 1.0, 3.0))
    cache._connection.execute("ALTER TABLE metrics RENAME COLUMN history TO recent")
    old_points = struct.pack("<6d", 1.0, 4.0, 2.0, 1.0, 3.0, 3.0)
    cache._connection.execute("UPDATE metrics SET recent = ?", (old_points,))
    cache._connection.execute("PRAGMA user_version=2")
    cache.close()
    cache = Cache(tmp_path)
    assert cache.metrics(A1) == summed(4.0, 1.0, 3.0)
    assert cache.offsets() == {A1: 10}
    cache.close()
