"""A real sshd with a warm connection on either side: an agent of ours, and a ControlMaster of OpenSSH's."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
from collections.abc import Iterator
from pathlib import Path

from sheetd.core.model import AttemptId, HostName
from sheetd.core.observation import AttemptSeen, HostSeen
from sheetd.hosts.bootstrap import Place
from sheetd.hosts.host import AgentHost
from sheetd.hosts.session import Session, Timing
from sheetd.hosts.ssh import SshChannel
from tests.benchmarks.counted_channel import CountedChannel, Traffic
from tests.hosts.seen import OVER, Reports, end_attempts
from tests.rig.light_sshd import LightSshd


class WarmHost:
    """`host` is connected and greeted; `traffic` counts what it was asked; `root` is its state folder."""

    def __init__(self, server: LightSshd) -> None:
        self.root = server.folder / "root"
        self.traffic = Traffic()
        self.reports = Reports()
        name = HostName("warm")
        self.session = Session(
            name,
            lambda: CountedChannel(SshChannel(name, server.alias, server.ssh_config), self.traffic),
            place=Place(str(self.root)),
            epoch=1,
            timing=Timing(),
        )
        self.host = AgentHost(name, self.session)
        self.host.keep(self.reports.add)
        self.reports.wait(HostSeen)
        self._numbers = itertools.count(1)

    def new_attempt(self) -> AttemptId:
        return AttemptId(f"bench{next(self._numbers)}.1")

    def await_end(self, attempt: AttemptId) -> AttemptSeen:
        return self.reports.attempt(attempt, *OVER)


@contextlib.contextmanager
def warm_host(server: LightSshd) -> Iterator[WarmHost]:
    """Leaves no job behind."""
    warm = WarmHost(server)
    try:
        yield warm
    finally:
        warm.host.close()
        end_attempts(warm.root)


@contextlib.contextmanager
def control_master(ssh_config: Path, alias: str, socket: Path) -> Iterator[list[str]]:
    """The words before a command that goes over the open connection."""
    ssh = ["ssh", "-F", str(ssh_config), "-o", f"ControlPath={socket}", "-o", "BatchMode=yes"]
    subprocess.run([*ssh, "-M", "-N", "-f", "-o", "ControlPersist=yes", alias], check=True, stdin=subprocess.DEVNULL)
    try:
        yield [*ssh, alias]
    finally:
        subprocess.run([*ssh, "-O", "exit", alias], check=True, capture_output=True)
