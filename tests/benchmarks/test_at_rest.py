"""The benchmark runs, and finds each process that it weighs."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.at_rest import compared, measure_daemon, measure_jobs
from tests.needs import needs_sshd


@needs_sshd
def test_each_idle_process_is_found_and_weighed(tmp_path: Path):
    for name in ("jobs", "daemon"):
        (tmp_path / name).mkdir()
    jobs = measure_jobs(tmp_path / "jobs", 2, 0.1)
    lone = measure_daemon(tmp_path / "daemon", hosts=2, rows=5, seconds=0.1)
    assert {name: one.count for name, one in jobs.items() if name in ("agent", "supervisor", "shim")} == {
        "agent": 1,
        "supervisor": 2,
        "shim": 2,
    }
    assert all(one.pss_kb > 0 for one in (*jobs.values(), *lone.values()))
    assert "daemon" in compared(jobs, lone).title
