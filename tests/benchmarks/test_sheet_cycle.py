"""The benchmark runs, and the number of requests that it reports is the promised one."""

from __future__ import annotations

from tests.benchmarks.sheet_cycle import measure, server_process, table


def test_a_cycle_is_one_request_idle_and_two_changed():
    with server_process() as address:
        cost = measure(address, rows=10, rounds=1)
    assert (cost.requests_idle, cost.requests_changed) == (1, 2)
    assert table([cost]).row_count == 1
