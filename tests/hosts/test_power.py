"""Whole hosts that lose power, freeze or are cut off: what the session says of them, and what their attempts are
afterwards."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from sheetd.core.model import AttemptId
from sheetd.core.observation import AttemptReported, HostSeen, HostUnseen, Seen
from sheetd.hosts.host import SshHost
from sheetd.hosts.session import Timing
from tests.hosts.seen import Reports, order
from tests.needs import needs_rig
from tests.rig.fleet import Fleet

A = AttemptId(f"{secrets.token_hex(8)}.1")
QUICK = Timing(quiet_s=0.5, ping_deadline_s=1.0, retry_max_s=0.5)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(tmp_path, 1) as fleet:
        yield fleet


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
def host(fleet: Fleet, reports: Reports) -> Iterator[SshHost]:
    """Kept, with one attempt that runs for longer than the test."""
    host = SshHost("gpu1", fleet[0].alias, fleet.ssh_config, epoch=1, timing=QUICK)
    host.keep(reports.add)
    reports.wait(HostSeen)
    host.watch({A: 0})
    host.launch(order(A, "sleep", "600"))
    reports.wait(AttemptReported, lambda o: o.seen.pid is not None)
    yield host
    host.close()


@needs_rig
def test_after_a_loss_of_power_the_host_is_another_boot_and_its_attempts_are_over(
    fleet: Fleet, host: SshHost, reports: Reports
) -> None:
    boot, since = host.facts().boot, len(reports.all)
    fleet[0].power_off()
    assert not reports.wait(HostUnseen, since=since).lasting
    fleet[0].boot()
    seen = reports.wait(HostSeen, since=since)
    assert seen.facts.boot != boot
    assert seen.attempts[A].state is Seen.REBOOTED
    assert host.launch(order(A, "sleep", "600")).state is Seen.REBOOTED


@needs_rig
def test_a_host_that_was_cut_off_comes_back_with_its_attempt_running(
    fleet: Fleet, host: SshHost, reports: Reports
) -> None:
    boot, since = host.facts().boot, len(reports.all)
    fleet[0].cut()
    reports.wait(HostUnseen, since=since)
    fleet[0].heal()
    seen = reports.wait(HostSeen, since=since, within_s=40.0)
    assert seen.facts.boot == boot
    assert seen.attempts[A].state is Seen.RUNNING


@needs_rig
def test_a_frozen_host_is_missed_although_its_kernel_still_answers(
    fleet: Fleet, host: SshHost, reports: Reports
) -> None:
    assert host.facts()
    since = len(reports.all)
    fleet[0].freeze()
    assert "no answer to `ping`" in reports.wait(HostUnseen, since=since).why
    fleet[0].thaw()
    assert reports.wait(HostSeen, since=since, within_s=60.0).attempts[A].state is Seen.RUNNING


@needs_rig
def test_a_host_whose_sshd_was_killed_keeps_its_attempt(fleet: Fleet, host: SshHost, reports: Reports) -> None:
    assert host.facts()
    since = len(reports.all)
    fleet[0].stop_sshd()
    assert not reports.wait(HostUnseen, since=since).lasting
    fleet[0].start_sshd()
    assert reports.wait(HostSeen, since=since).attempts[A].state is Seen.RUNNING
