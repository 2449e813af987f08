"""The benchmark runs, and of many connects at once none is refused."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.connect_at_once import cluster, compared, measure
from tests.needs import needs_sshd


@needs_sshd
def test_more_connects_than_sshd_takes_at_once_are_not_refused(tmp_path: Path):
    with cluster(tmp_path, hosts=20, servers=1) as crowd:
        storm = crowd.by_sheetd()
    assert (storm.failures, storm.refused) == (0, 0)


@needs_sshd
def test_every_way_is_compared(tmp_path: Path):
    assert compared(measure(tmp_path, hosts=2), 2).table().row_count == 6
