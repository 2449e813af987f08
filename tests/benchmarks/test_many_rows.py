"""The benchmark runs: every row of the sheet comes to say that it succeeded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.many_rows import bench, compared, rivals
from tests.benchmarks.side_by_side import take_turns
from tests.needs import needs_rig


@needs_rig
@pytest.mark.timeout(120)
def test_every_row_succeeds_in_the_sheet(tmp_path: Path):
    with bench(tmp_path, rows=20) as contest:
        taken = take_turns(1, {"sheetd": contest.sheetd})
    assert taken["sheetd"]["hosts_cpu_ms"].median > 0
    assert compared(taken, 20, rivals()[1]).table().row_count == 1
