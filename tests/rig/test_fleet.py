"""The rig itself: a test that uses it may believe it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.needs import cgroup_root, needs_rig
from tests.rig.fleet import Fleet, FleetHost
from tests.rig.light_sshd import greets
from tests.rig.waiting import wait_for

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(tmp_path, 2) as fleet:
        yield fleet


def over_ssh(fleet: Fleet, host: FleetHost, command: str) -> str:
    argv = ["ssh", "-F", str(fleet.ssh_config), "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", host.alias, command]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def networks() -> str:
    return subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True, check=True).stdout


@needs_rig
def test_hosts_differ_in_all_that_tells_machines_apart(fleet: Fleet) -> None:
    ask = "hostname; cat /proc/sys/kernel/random/boot_id /etc/machine-id; readlink /proc/self/ns/pid"
    told = [over_ssh(fleet, host, ask) for host in fleet]
    first, second = (set(lines.splitlines()) for lines in told)
    assert not first & second


@needs_rig
def test_a_loss_of_power_ends_every_process_and_keeps_the_disk(fleet: Fleet) -> None:
    host = fleet[0]
    before = over_ssh(fleet, host, "cat /proc/sys/kernel/random/boot_id")
    over_ssh(fleet, host, "echo kept > note; setsid sleep 600 > /dev/null 2>&1 < /dev/null & echo ok")
    host.power_off()
    assert host.pids() == []
    assert not greets(host.address, 22)
    host.boot()
    assert over_ssh(fleet, host, "cat note") == "kept"
    assert over_ssh(fleet, host, "cat /proc/sys/kernel/random/boot_id") != before
    assert "sleep 600" not in over_ssh(fleet, host, "ps -e -o args")
    assert float(over_ssh(fleet, host, "cat /proc/uptime").split()[0]) < 60


@needs_rig
def test_a_cut_host_answers_nobody_until_it_is_healed(fleet: Fleet) -> None:
    fleet[0].cut()
    assert not greets(fleet[0].address, 22)
    assert greets(fleet[1].address, 22)
    fleet[0].heal()
    wait_for(lambda: greets(fleet[0].address, 22), "the healed host answers")


@needs_rig
def test_without_sshd_the_host_refuses_and_its_jobs_live(fleet: Fleet) -> None:
    host = fleet[0]
    over_ssh(fleet, host, "setsid sleep 600 > /dev/null 2>&1 < /dev/null & echo ok")
    host.stop_sshd()
    assert not greets(host.address, 22)
    host.start_sshd()
    assert "sleep 600" in over_ssh(fleet, host, "ps -e -o args")
    assert "sleep 600" in host.run("ps", "-e", "-o", "args")


@needs_rig
def test_a_frozen_host_still_takes_connections_and_answers_when_thawed(fleet: Fleet) -> None:
    fleet[0].freeze()
    assert not greets(fleet[0].address, 22)
    fleet[0].thaw()
    wait_for(lambda: greets(fleet[0].address, 22), "the thawed host answers")


@needs_rig
def test_an_equipped_host_has_its_own_programs_and_devices(tmp_path: Path) -> None:
    with Fleet(tmp_path, 1, prepare=lambda host: host.equip("#!/bin/sh\necho two cards\n", ["accel0"])) as fleet:
        assert over_ssh(fleet, fleet[0], "nvidia-smi; ls /dev/accel*") == "two cards\n/dev/accel0"
        fleet[0].power_off()
        fleet[0].boot()
        assert over_ssh(fleet, fleet[0], "nvidia-smi") == "two cards"
        assert fleet.cpu_s() > 0


@needs_rig
def test_nothing_is_left_even_when_setting_up_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []

    def fail(host: FleetHost) -> None:
        names.append(host._bridge)
        if host.alias == "host1":
            raise RuntimeError("no power")
        original(host)

    original = FleetHost.boot
    monkeypatch.setattr(FleetHost, "boot", fail)
    with pytest.raises(RuntimeError, match="no power"), Fleet(tmp_path, 2):
        raise AssertionError("must not get here")
    root = cgroup_root()
    assert root is not None
    assert names[0] not in networks()
    assert not (root / names[0]).exists()
    assert not Path(f"/run/netns/{names[0]}h0").exists()
