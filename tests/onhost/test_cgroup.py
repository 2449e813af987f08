"""A cgroup of its own around a job: made where that is allowed, and gone with the job."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sheetd.onhost import cgroup
from tests.onhost.link import Link, until

A = "abcd1.1"
HYBRID = "39 24 0:33 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw\n"
UNIFIED = "24 1 0:20 / /proc rw - proc proc rw\n30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n"


@pytest.mark.parametrize(
    ("mounts", "membership", "place"),
    [
        (UNIFIED, "0::/user.slice/user-1000.slice/session-3.scope\n", "/user.slice/user-1000.slice/session-3.scope"),
        (UNIFIED, "0::/\n", ""),
        (UNIFIED.replace("0:26 /", "0:26 /lxc/7"), "0::/lxc/7/init\n", "/init"),
        (UNIFIED.replace("0:26 /", "0:26 /lxc/7"), "0::/elsewhere\n", None),
        (UNIFIED, "0::/../../outside\n", None),
        (UNIFIED, "4:memory:/x\n", None),
        ("24 1 0:20 / /proc rw - proc proc rw\n", "0::/x\n", None),
        ("", "", None),
    ],
)
def test_our_own_place_is_found_or_there_is_none(mounts: str, membership: str, place: str | None):
    found = cgroup.own_place(mounts, membership)
    assert found == (None if place is None else "/sys/fs/cgroup" + place)


def test_where_both_versions_are_mounted_the_second_is_taken():
    assert cgroup.own_place(HYBRID, "9:name=systemd:/\n0::/\n") == "/sys/fs/cgroup/unified"


def test_a_plain_folder_is_no_cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cgroup, "here", lambda: str(tmp_path))
    assert cgroup.make("abcd1.1-x") is None
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def group() -> Iterator[str]:
    made = cgroup.make(f"test-{os.getpid()}")
    if made is None:
        pytest.skip("no cgroup may be made here (needs cgroup v2, and root or a delegated subtree)")
    yield made
    cgroup.kill(made)
    until("it is empty", lambda: cgroup.remove(made))


def test_members_are_found_also_further_below_and_killed_at_once(group: str):
    below = Path(group) / "below"
    below.mkdir()
    sleepers = [subprocess.Popen(["sleep", "60"]) for _ in range(2)]
    for place, sleeper in zip((Path(group), below), sleepers, strict=True):
        (place / "cgroup.procs").write_text(str(sleeper.pid))
    assert sorted(cgroup.members(group)) == sorted(one.pid for one in sleepers)
    assert not cgroup.remove(group)
    cgroup.kill(group)
    assert [one.wait(20) for one in sleepers] == [-9, -9]


def test_a_job_is_inside_its_supervisor_is_not_and_afterwards_it_is_gone(link: Link, root: Path, group: str):
    del group  # only to know whether one can be made
    pid = link.launch(A, ["sleep", "60"])["pid"]
    record = json.loads((root / "a" / A / "proc.0.json").read_text())
    until("the job is inside", lambda: cgroup.members(record["cgroup"]) == [pid])
    link.stop(A, grace_s=1)
    link.until_ended(A)
    assert not Path(record["cgroup"]).exists()


def test_each_run_has_a_cgroup_of_its_own_and_that_of_the_run_before_is_gone(link: Link, root: Path, group: str):
    """Linux 6.18 kills what is born into a cgroup that was killed once, as that of a run with leftovers is."""
    del group  # only to know whether one can be made
    link.launch(
        A, ["sh", "-c", 'test "$SHEETD_RESTART" = 1 && exec sleep 60; exit 1'], restarts={"max": 1, "backoff_s": 0}
    )
    second = root / "a" / A / "proc.1.json"
    until("the second run", second.exists)
    places = [json.loads((root / "a" / A / f"proc.{k}.json").read_text())["cgroup"] for k in (0, 1)]
    assert places[0] != places[1]
    until("the first is gone", lambda: not Path(places[0]).exists())
    assert cgroup.members(places[1])


@pytest.mark.parametrize("is_forbidden", [False, True])
def test_a_child_is_born_inside(group: str, monkeypatch: pytest.MonkeyPatch, *, is_forbidden: bool):
    """Also where clone3(2) is not there: some containers forbid it, and Linux before 5.7 cannot do it."""
    if is_forbidden:
        monkeypatch.setattr(cgroup, "CLONE3", 10_000)
    out, into = os.pipe()
    pid = cgroup.fork_into(group)
    if pid == 0:
        os.write(into, Path("/proc/self/cgroup").read_bytes())
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert Path(group).name in os.read(out, 65536).decode()
    for handle in (out, into):
        os.close(handle)
