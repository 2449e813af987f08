"""A real sshd, a real agent, real jobs, and a network between that stalls, breaks and comes back."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sheetd.core.model import AttemptId
from sheetd.core.observation import AttemptReported, AttemptSeen, HostSeen, HostUnseen, Seen
from sheetd.errors import HostUnreachable
from sheetd.hosts.host import SshHost
from sheetd.hosts.session import Timing
from sheetd.ports import LaunchOrder
from tests.hosts.seen import Reports, end_attempts, order
from tests.needs import needs_sshd
from tests.rig.fault_proxy import FaultProxy
from tests.rig.light_sshd import LightSshd
from tests.rig.waiting import wait_for

# Attempts are found by their id among all processes of the user, so no two tests may share one at the same time.
A = AttemptId(f"{secrets.token_hex(8)}.1")
QUICK = Timing(quiet_s=0.5, ping_deadline_s=1.0, retry_max_s=0.5)


@dataclass
class Scene:
    server: LightSshd
    proxy: FaultProxy
    host: SshHost
    reports: Reports
    folder: Path

    def seen_again(self, since: int) -> HostSeen:
        return self.reports.wait(HostSeen, since=since)

    def unseen(self, since: int) -> HostUnseen:
        return self.reports.wait(HostUnseen, since=since)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    root = tmp_path / "root"
    with LightSshd(tmp_path) as server, FaultProxy(server.port) as proxy:
        server.trust(proxy.port)
        server.write_ssh_config(proxy.port)
        reports = Reports()
        host = SshHost("gpu1", server.alias, server.ssh_config, epoch=1, root=str(root), timing=QUICK)
        host.keep(reports.add)
        reports.wait(HostSeen)
        host.watch({A: 0})
        yield Scene(server, proxy, host, reports, tmp_path)
        host.close()
        end_attempts(root)


def counting(folder: Path) -> LaunchOrder:
    """Each start of the job leaves a line."""
    return order(A, "sh", "-c", f"echo started >> {folder}/starts; exec sleep 600")


def starts(folder: Path) -> list[str]:
    file = folder / "starts"
    return file.read_text().split() if file.exists() else []


@needs_sshd
def test_a_half_open_connection_is_found_and_replaced(scene: Scene) -> None:
    since = len(scene.reports.all)
    scene.proxy.stall()
    assert "no answer to `ping` in time" in scene.unseen(since).why
    scene.proxy.heal()
    scene.seen_again(since)


@needs_sshd
def test_a_broken_connection_is_reported_without_a_ping_and_the_job_goes_on(scene: Scene) -> None:
    scene.host.launch(counting(scene.folder))
    pid = scene.reports.wait(AttemptReported, lambda o: o.seen.pid is not None).seen.pid
    since = len(scene.reports.all)
    scene.proxy.cut()
    assert "ping" not in scene.unseen(since).why
    with pytest.raises(HostUnreachable):
        scene.host.stop(A, 1.0)
    scene.proxy.heal()
    assert scene.seen_again(since).attempts[A].pid == pid


@needs_sshd
def test_a_slow_network_is_no_fault(scene: Scene) -> None:
    scene.proxy.latency_s = 0.2
    scene.host.launch(counting(scene.folder))
    scene.reports.attempt(A, Seen.RUNNING)
    assert scene.reports.unseen() == []


@needs_sshd
def test_a_launch_whose_answer_is_lost_is_repeated_without_a_second_start(scene: Scene) -> None:
    outcome: list[HostUnreachable | AttemptSeen] = []

    def launch() -> None:
        try:
            outcome.append(scene.host.launch(counting(scene.folder)))
        except HostUnreachable as error:
            outcome.append(error)

    since = len(scene.reports.all)
    scene.proxy.stall_answers()
    asking = threading.Thread(target=launch)
    asking.start()
    wait_for(lambda: starts(scene.folder), "the job starts, and nobody hears of it")
    scene.proxy.cut()
    asking.join()
    assert isinstance(outcome[0], HostUnreachable)
    scene.proxy.heal()
    assert scene.seen_again(since).attempts[A].state is Seen.RUNNING
    assert scene.host.launch(counting(scene.folder)).state is Seen.RUNNING
    assert starts(scene.folder) == ["started"]


@needs_sshd
def test_a_launch_that_never_arrived_is_unknown_to_the_host_and_starts_when_repeated(scene: Scene) -> None:
    since = len(scene.reports.all)
    scene.proxy.stall()
    cut = threading.Timer(0.3, scene.proxy.cut)
    cut.start()
    with pytest.raises(HostUnreachable):
        scene.host.launch(counting(scene.folder))
    cut.join()
    scene.proxy.heal()
    assert A not in scene.seen_again(since).attempts
    scene.host.launch(counting(scene.folder))
    wait_for(lambda: starts(scene.folder), "the job starts")
    assert starts(scene.folder) == ["started"]


@needs_sshd
def test_metrics_written_while_sshd_was_away_arrive_once_and_in_order(scene: Scene) -> None:
    script = f"""
import os, sheetd, time
for step in range(40):
    sheetd.log(step=step, x=step)
    if step == 20:
        while not os.path.exists({str(scene.folder / "go")!r}):
            time.sleep(0.01)
"""
    scene.host.launch(order(A, "python3", "-c", script))
    wait_for(lambda: len(scene.reports.points(A)) == 21, "the first metrics")
    since = len(scene.reports.all)
    scene.server.stop()
    scene.unseen(since)
    (scene.folder / "go").touch()
    scene.server.start()
    scene.seen_again(since)
    scene.reports.attempt(A, Seen.EXITED)
    wait_for(lambda: len(scene.reports.points(A)) >= 40, "the rest of the metrics")
    assert [point["x"] for point in scene.reports.points(A)] == list(range(40))
