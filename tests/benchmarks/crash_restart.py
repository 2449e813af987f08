"""From a job's kill -9 to its next first line: our supervisor with no backoff, beside runit and systemd RestartSec=0.

    python -m tests.benchmarks.crash_restart [--rounds 25]

All keep the same shell, which writes its number into a FIFO and then sleeps; each kill waits until the shell is more
than a second old, as runit does not restart a younger one at once. Between the two lines ours writes down how the run
ended and who runs next, on disk and in order, so that the count of restarts survives a kill of anybody; neither rival
does.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from sheetd.core.model import AttemptId, Restarts
from sheetd.core.observation import HostSeen
from sheetd.hosts.host import LocalHost
from tests.benchmarks.side_by_side import Comparison, Samples, take_turns, told
from tests.hosts.seen import Reports, end_attempts, order
from tests.needs import _systemd_missing, program
from tests.rig.systemd_space import outer_pid, systemd_space

#: runsv waits for the rest of a second before it starts a younger service again (runsv(8)).
OLD_ENOUGH_S = 1.1
PATIENCE_S = 20.0

UNIT = """\
[Unit]
DefaultDependencies=no
StartLimitIntervalSec=0
[Service]
ExecStart={program}
Restart=always
RestartSec=0
"""


class Kept:
    """A program under somebody's care, which says its number each time it starts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._fifo = folder / "lives"
        os.mkfifo(self._fifo)
        self._door = os.open(self._fifo, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self.program = folder / "program"
        self.program.write_text(f"#!/bin/sh\necho $$ > {self._fifo}\nexec sleep 1000\n")
        self.program.chmod(0o755)
        self.outer: Callable[[int], int] = int
        self._pid = 0
        self._born_s = 0.0

    def await_life(self) -> None:
        if not select.select([self._door], [], [], PATIENCE_S)[0]:
            raise AssertionError(f"no new life within {PATIENCE_S:.0f} s: {self.folder}")
        self._born_s = time.monotonic()
        self._pid = int(os.read(self._door, 100).split()[-1])

    def crash(self) -> Mapping[str, float]:
        pid = self.outer(self._pid)
        time.sleep(max(0.0, self._born_s + OLD_ENOUGH_S - time.monotonic()))
        killed_s = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        self.await_life()
        return {"restart_ms": (self._born_s - killed_s) * 1000}

    def close(self) -> None:
        os.close(self._door)


@contextlib.contextmanager
def kept(folder: Path) -> Iterator[Kept]:
    folder.mkdir()
    with contextlib.closing(Kept(folder)) as one:
        yield one


@contextlib.contextmanager
def by_sheetd(folder: Path) -> Iterator[Kept]:
    root, reports = folder / "root", Reports()
    with kept(folder) as one:
        host = LocalHost("here", root, epoch=1)
        try:
            host.keep(reports.add)
            reports.wait(HostSeen)
            restarts = Restarts(max=10_000, backoff_s=0.0)
            host.launch(order(AttemptId("crash.1"), str(one.program), restarts=restarts))
            one.await_life()
            yield one
        finally:
            host.close()
            end_attempts(root)


@contextlib.contextmanager
def by_runit(folder: Path) -> Iterator[Kept]:
    with kept(folder) as one:
        service = folder / "service"
        service.mkdir()
        (service / "run").symlink_to(one.program)
        runsv = subprocess.Popen([str(program("runsv")), str(service)], start_new_session=True)
        try:
            one.await_life()
            yield one
        finally:
            # TERM: "run the service down, and end" (runsv(8)).
            runsv.terminate()
            runsv.wait()


@contextlib.contextmanager
def by_systemd(folder: Path) -> Iterator[Kept]:
    with kept(folder) as one, systemd_space(folder, {"kept.service": UNIT.format(program=one.program)}) as cgroup:
        one.outer = lambda pid: outer_pid(cgroup, pid)
        one.await_life()
        yield one


def rivals() -> tuple[dict[str, Callable[[Path], contextlib.AbstractContextManager[Kept]]], dict[str, str]]:
    """Those that are here, and for each that is not what it needs."""
    here, missing = {}, {}
    if program("runsv"):
        here["runit"] = by_runit
    else:
        missing["runit"] = "not installed (Debian: runit)"
    if why := _systemd_missing():
        missing["systemd"] = why
    else:
        here["systemd"] = by_systemd
    return here, missing


def measure(folder: Path, rounds: int) -> tuple[dict[str, Samples], dict[str, str]]:
    here, missing = rivals()
    with contextlib.ExitStack() as stack:
        keepers = {"sheetd": stack.enter_context(by_sheetd(folder / "sheetd"))}
        keepers |= {name: stack.enter_context(keeper(folder / name)) for name, keeper in here.items()}
        taken = take_turns(rounds, {name: keeper.crash for name, keeper in keepers.items()})
    return {name: figures["restart_ms"] for name, figures in taken.items()}, missing


def compared(taken: Mapping[str, Samples], missing: Mapping[str, str]) -> Comparison:
    ours = taken["sheetd"].median
    ratios = {name: ours / samples.median for name, samples in taken.items() if name != "sheetd"}
    slowest = max((samples.median for name, samples in taken.items() if name != "sheetd"), default=None)
    return Comparison(
        title="From kill -9 to the next first line, ms",
        columns=("", "median (least..most)", "sheetd / it"),
        rows=[(name, told(samples), f"{ours / samples.median:.2f}") for name, samples in taken.items()],
        figures={
            "benchmark": "crash_restart",
            "restart_ms": {name: samples.median for name, samples in taken.items()},
            "ratios": ratios,
            "ratio_to_slower": None if slowest is None else ours / slowest,
        },
        missing=missing,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compared(*measure(Path(folder), options.rounds)).tell()


if __name__ == "__main__":
    main()
