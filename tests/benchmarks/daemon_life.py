"""What the daemon costs while time passes: its start, and what the loop takes of a core.

`idle` is with every job running and nothing said; `metrics` is with each of them reporting one line a second, one after
another. The loop's thread is told apart from the process, whose rest is the reads and writes of the sheet. Measured by
`daemon_cycle`, over the journal and the sheet that it has left behind.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from rich.table import Table

from sheetd.clock import SystemClock
from sheetd.daemon import Daemon
from tests.benchmarks.laboratory import Lab, greeting, reports


@dataclass(frozen=True)
class Life:
    """What the loop does in real time. Turns per second, and its thread's and the whole process's share of a core."""

    rows: int
    recover_s: float
    idle_turns_per_s: float
    idle_loop_share: float
    idle_share: float
    busy_turns_per_s: float
    busy_loop_share: float
    busy_share: float


def measure_life(lab: Lab, seconds: float) -> Life:
    crowd, daemon = lab.crowd, lab.daemon(SystemClock())
    started_s = time.perf_counter()
    daemon.recover()
    recover_s = time.perf_counter() - started_s
    daemon.turn([greeting(crowd)])
    _live(daemon, 2 * daemon.world.limits.poll_s)
    idle = _live(daemon, seconds)
    done = threading.Event()

    def report() -> None:
        round_ = 1_000_000
        while not done.is_set():
            # One after another within the second, as jobs do.
            for news in reports(crowd, round_):
                daemon.post(news)
                if done.wait(1.0 / crowd.running):
                    return
            round_ += 1

    jobs = threading.Thread(target=report)
    jobs.start()
    try:
        busy = _live(daemon, seconds)
    finally:
        done.set()
        jobs.join()
    lab.close(daemon)
    return Life(crowd.rows, recover_s, *idle, *busy)


def _live(daemon: Daemon, seconds: float) -> tuple[float, float, float]:
    """Turns per second, and the shares of a core that the loop's thread and the process took."""
    turns, wake_s = 0, 0.0
    started_s, loop_s, process_s = time.perf_counter(), time.thread_time(), time.process_time()
    while (passed_s := time.perf_counter() - started_s) < seconds:
        ends_s = daemon._clock.monotonic_s() + seconds - passed_s
        wake_s = daemon.turn(daemon._wait(min(wake_s, ends_s)))
        turns += 1
    return turns / passed_s, (time.thread_time() - loop_s) / passed_s, (time.process_time() - process_s) / passed_s


def life_table(lives: list[Life]) -> Table:
    shown = Table(
        title="In real time: the start, and what the loop takes of a core (in brackets with the sheet's reads)"
    )
    for name in ("rows", "start s", "idle turns/s", "idle", "metrics turns/s", "metrics"):
        shown.add_column(name, justify="right")
    for life in lives:
        shown.add_row(
            str(life.rows),
            f"{life.recover_s:.2f}",
            f"{life.idle_turns_per_s:.1f}",
            f"{life.idle_loop_share:.2%} ({life.idle_share:.2%})",
            f"{life.busy_turns_per_s:.1f}",
            f"{life.busy_loop_share:.1%} ({life.busy_share:.1%})",
        )
    return shown
