"""The benchmark of the daemon runs, and what it reports of requests and turns is what was promised."""

from __future__ import annotations

from tests.benchmarks.daemon_cycle import KINDS, cycles_table, measure
from tests.benchmarks.daemon_life import life_table
from tests.benchmarks.sheet_cycle import server_process


def test_a_cycle_is_one_read_and_when_something_changed_one_write():
    with server_process() as address:
        cost, life = measure(address, 30, rounds=2, cycles=len(KINDS), seconds=1.0)
    assert cost.requests == {"idle": (1, 0), "edit": (1, 1), "status": (1, 1), "metrics": (1, 1)}
    assert life.idle_turns_per_s < 5
    assert cycles_table([cost]).row_count == life_table([life]).row_count == 1
