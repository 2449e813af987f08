"""The benchmark runs, and a launch is one request over the open connection."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.launch_latency import compared, measure
from tests.needs import needs_sshd


@needs_sshd
def test_a_launch_is_one_request(tmp_path: Path):
    taken = measure(tmp_path, rounds=1)
    assert taken["sheetd"]["requests"].values == (1.0,)
    assert compared(taken).table().row_count == 2
