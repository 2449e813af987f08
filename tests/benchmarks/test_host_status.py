"""The benchmark runs, and however many jobs there are, their status is one request."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.host_status import compared, measure
from tests.needs import needs_sshd


@needs_sshd
def test_the_status_of_all_jobs_is_one_request(tmp_path: Path):
    cost = measure(tmp_path, jobs=3, rounds=1)
    assert (cost.traffic.requests, cost.running) == (1, 3)
    assert compared(cost).table().row_count == 2
