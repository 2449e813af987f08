"""What it costs to know how a hundred jobs on one host are: one request to the agent, beside one `ps` over ssh.

    python -m tests.benchmarks.host_status [--jobs 100] [--rounds 20]

The jobs sleep under real supervisors behind a real sshd. The agent answers from files and /proc: state, exit, restarts,
ages and the log's last lines of each. `ps`, over an open ControlMaster, only says whether a number is somebody's.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sheetd.core.model import AttemptId
from sheetd.core.observation import AttemptSeen, Seen
from sheetd.hosts import answers
from tests.benchmarks.counted_channel import Traffic
from tests.benchmarks.side_by_side import Comparison, Samples, take_turns, told
from tests.benchmarks.warm_host import WarmHost, control_master, warm_host
from tests.hosts.seen import order
from tests.rig.light_sshd import LightSshd


@dataclass(frozen=True)
class Cost:
    jobs: int
    running: int
    traffic: Traffic
    taken: Mapping[str, Mapping[str, Samples]]


def ask(warm: WarmHost, attempts: Sequence[AttemptId]) -> Mapping[AttemptId, AttemptSeen]:
    client = warm.session.connection().client
    return client.request("status", answers.attempts_seen, attempts=list(attempts))


def measure(folder: Path, jobs: int, rounds: int) -> Cost:
    with (
        LightSshd(folder) as server,
        control_master(server.ssh_config, server.alias, folder / "master") as ssh,
        warm_host(server) as warm,
    ):
        attempts = [warm.new_attempt() for _ in range(jobs)]
        for attempt in attempts:
            warm.host.launch(order(attempt, "sleep", "1000"))
        before = warm.traffic.copy()
        seen = ask(warm, attempts)
        traffic = warm.traffic - before
        pids = ",".join(str(one.pid) for one in seen.values())

        def ours() -> Mapping[str, float]:
            began_s = time.perf_counter()
            ask(warm, attempts)
            return {"ms": (time.perf_counter() - began_s) * 1000}

        def theirs() -> Mapping[str, float]:
            began_s = time.perf_counter()
            argv = [*ssh, "ps", "-o", "pid=,stat=", "-p", pids]
            lines = subprocess.run(argv, check=True, capture_output=True, stdin=subprocess.DEVNULL).stdout
            assert len(lines.splitlines()) == jobs
            return {"ms": (time.perf_counter() - began_s) * 1000}

        taken = take_turns(rounds, {"sheetd": ours, "ssh ps": theirs})
        running = sum(one.state is Seen.RUNNING for one in seen.values())
    return Cost(jobs, running, traffic, taken)


def compared(cost: Cost) -> Comparison:
    ours, theirs = cost.taken["sheetd"]["ms"], cost.taken["ssh ps"]["ms"]
    spoken = (str(cost.traffic.requests), str(cost.traffic.sent_bytes), str(cost.traffic.received_bytes))
    return Comparison(
        title=f"Status of {cost.jobs} jobs on one host",
        columns=("", "ms: median (least..most)", "requests", "bytes sent", "bytes received", "sheetd / it"),
        rows=[
            ("sheetd", told(ours), *spoken, "1.00"),
            ("ssh ps", told(theirs), "1", "", "", f"{ours.median / theirs.median:.2f}"),
        ],
        figures={
            "benchmark": "host_status",
            "jobs": cost.jobs,
            "requests": cost.traffic.requests,
            "sent_bytes": cost.traffic.sent_bytes,
            "received_bytes": cost.traffic.received_bytes,
            "ms": {"sheetd": ours.median, "ssh ps": theirs.median},
            "ratio": ours.median / theirs.median,
        },
        missing={},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compared(measure(Path(folder), options.jobs, options.rounds)).tell()


if __name__ == "__main__":
    main()
