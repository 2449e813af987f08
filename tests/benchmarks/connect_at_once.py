"""A hundred hosts connected to at once: how long until all are seen, and how many connections sshd refused.

    python -m tests.benchmarks.connect_at_once [--hosts 100]

Twice: each host with an sshd of its own, and all of them behind a single sshd, as behind a jump host, where the
default MaxStartups (10:30:100) begins to refuse at ten connections that have not logged in yet. Beside it as many
`ssh` commands at once, as a shell loop with `&` makes them. Each of ours ends with an agent that has said what is on
its host; the first connect also brings the agent there, so a second one is told apart. The hosts are sshd processes on
this machine, so their CPU is in the time: what matters is that nothing is refused.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sheetd.core.observation import HostSeen
from sheetd.hosts.host import SshHost
from tests.benchmarks.side_by_side import Comparison
from tests.hosts.seen import Reports
from tests.rig.light_sshd import LightSshd

#: In sshd's log: the first connection that it did not take, and a summary later on (sshd.c).
REFUSED = ("drop connection", "MaxStartups throttling")
WITHIN_S = 120.0


@dataclass(frozen=True)
class Storm:
    """How one crowd of connects went: `failures` are those that a client noticed, `refused` sshd's lines about it."""

    seconds: float
    failures: int
    refused: int


class Cluster:
    """Some sshds, and which of them leads to each host."""

    def __init__(self, servers: Sequence[LightSshd], hosts: int) -> None:
        self.servers = servers
        self.ways = [(f"host{number}", servers[number % len(servers)]) for number in range(hosts)]

    def _refused(self) -> int:
        logs = [(server.folder / "sshd.log").read_text() for server in self.servers]
        return sum(log.count(words) for log in logs for words in REFUSED)

    def by_sheetd(self) -> Storm:
        before = self._refused()
        made = []
        try:
            began_s = time.monotonic()
            for name, server in self.ways:
                host = SshHost(name, server.alias, server.ssh_config, epoch=1, root=str(server.folder / "root" / name))
                made.append((host, Reports()))
                host.keep(made[-1][1].add)
            for _, reports in made:
                reports.wait(HostSeen, within_s=WITHIN_S)
            seconds = time.monotonic() - began_s
        finally:
            for host, _ in made:
                host.close()
        return Storm(seconds, sum(len(reports.unseen()) for _, reports in made), self._refused() - before)

    def by_ssh(self) -> Storm:
        before = self._refused()
        began_s = time.monotonic()
        children = [
            subprocess.Popen(
                ["ssh", "-F", str(server.ssh_config), "-o", "BatchMode=yes", server.alias, "true"],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for _, server in self.ways
        ]
        failures = sum(child.wait() != 0 for child in children)
        return Storm(time.monotonic() - began_s, failures, self._refused() - before)


@contextlib.contextmanager
def cluster(folder: Path, hosts: int, servers: int) -> Iterator[Cluster]:
    with contextlib.ExitStack() as stack:
        started = []
        for number in range(servers):
            (folder / f"server{number}").mkdir(parents=True)
            started.append(stack.enter_context(LightSshd(folder / f"server{number}")))
        yield Cluster(started, hosts)


def measure(folder: Path, hosts: int) -> dict[str, Storm]:
    storms = {}
    for name, servers in (("sshd each", hosts), ("one sshd", 1)):
        with cluster(folder / name.replace(" ", "-"), hosts, servers) as crowd:
            storms[f"sheetd, first time, {name}"] = crowd.by_sheetd()
            storms[f"ssh, {name}"] = crowd.by_ssh()
            storms[f"sheetd, again, {name}"] = crowd.by_sheetd()
    return storms


def compared(storms: dict[str, Storm], hosts: int) -> Comparison:
    return Comparison(
        title=f"{hosts} hosts connected to at once",
        columns=("", "seconds until all are seen", "failures", "sshd's lines about refusing"),
        rows=[(name, f"{one.seconds:.1f}", str(one.failures), str(one.refused)) for name, one in storms.items()],
        figures={
            "benchmark": "connect_at_once",
            "hosts": hosts,
            "storms": {name: asdict(storm) for name, storm in storms.items()},
            "ratios": {
                name: storms[f"sheetd, again, {name}"].seconds / storms[f"ssh, {name}"].seconds
                for name in ("sshd each", "one sshd")
            },
        },
        missing={},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compared(measure(Path(folder), options.hosts), options.hosts).tell()


if __name__ == "__main__":
    main()
