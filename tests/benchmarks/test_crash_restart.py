"""The benchmark runs: who keeps the program brings it back, and who is not installed is named."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.crash_restart import compared, measure


def test_a_crashed_program_is_back_and_absent_rivals_are_named(tmp_path: Path):
    taken, missing = measure(tmp_path, rounds=1)
    assert set(taken) | set(missing) == {"sheetd", "runit", "systemd"}
    assert not set(taken) & set(missing)
    assert compared(taken, missing).table().row_count == len(taken)
