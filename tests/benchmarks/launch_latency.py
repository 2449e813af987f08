"""A launch over a warm connection until the job's first line, beside `ssh` over an open ControlMaster.

    python -m tests.benchmarks.launch_latency [--rounds 40]

Both sides run `date` on the same sshd: its first line is the moment at which it was written. `written` is until that
moment, `read` until the line has come back to who started it. ssh only runs a command; a launch also claims the attempt
durably, so that it is started once whatever is lost, and leaves a supervisor and a shim behind that keep it.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.benchmarks.side_by_side import Comparison, Samples, take_turns, told
from tests.benchmarks.warm_host import WarmHost, control_master, warm_host
from tests.hosts.seen import order
from tests.rig.light_sshd import LightSshd

#: Seconds of the wall clock, with nanoseconds: client and host are one machine.
COMMAND = ("date", "+%s.%N")


def launched(warm: WarmHost) -> Mapping[str, float]:
    """One launch. The next begins when this one's supervisor has written down its end."""
    attempt = warm.new_attempt()
    before, cpu_s = warm.traffic.copy(), time.process_time()
    began_s = time.time()
    warm.host.launch(order(attempt, *COMMAND))
    answered_s = time.time()
    requests = (warm.traffic - before).requests
    client_s = time.process_time() - cpu_s
    line = b""
    while not line.endswith(b"\n"):
        line = warm.host.tail(attempt, "log", 0, 100).data
    read_s = time.time()
    warm.host.watch({attempt: 0})
    warm.await_end(attempt)
    return {
        "written_ms": (float(line) - began_s) * 1000,
        "answered_ms": (answered_s - began_s) * 1000,
        "read_ms": (read_s - began_s) * 1000,
        "client_cpu_ms": client_s * 1000,
        "requests": requests,
    }


def over_ssh(ssh: Sequence[str], *command: str) -> Mapping[str, float]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began_s = time.time()
    with subprocess.Popen([*ssh, *command], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as child:
        assert child.stdout is not None
        line = child.stdout.readline()
        read_s = time.time()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "written_ms": (float(line) - began_s) * 1000,
        "read_ms": (read_s - began_s) * 1000,
        "client_cpu_ms": (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000,
    }


def measure(folder: Path, rounds: int) -> dict[str, dict[str, Samples]]:
    with (
        LightSshd(folder) as server,
        control_master(server.ssh_config, server.alias, folder / "master") as ssh,
        warm_host(server) as warm,
    ):
        contenders = {
            "sheetd": lambda: launched(warm),
            "ssh": lambda: over_ssh(ssh, *COMMAND),
        }
        take_turns(2, contenders)
        return take_turns(rounds, contenders)


def compared(taken: Mapping[str, Mapping[str, Samples]]) -> Comparison:
    sheetd, ssh = taken["sheetd"], taken["ssh"]
    ratios = {f"{what}_ratio": sheetd[f"{what}_ms"].median / ssh[f"{what}_ms"].median for what in ("written", "read")}
    names = ("written_ms", "read_ms", "client_cpu_ms")
    rows = [
        (
            name,
            *(told(figures[column]) for column in names),
            f"{figures['written_ms'].median / ssh['written_ms'].median:.2f}",
        )
        for name, figures in taken.items()
    ]
    medians = {name: {figure: samples.median for figure, samples in figures.items()} for name, figures in taken.items()}
    return Comparison(
        title="Launch over a warm connection until the job's first line, ms: median (least..most)",
        columns=("", "written", "read", "client CPU", "x ssh"),
        rows=rows,
        figures={"benchmark": "launch_latency", **ratios, "medians": medians},
        missing={},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compared(measure(Path(folder), options.rounds)).tell()


if __name__ == "__main__":
    main()
