"""A disk that is full, on a filesystem of the test's own."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.needs import needs_rig
from tests.onhost.link import Link, clean_up
from tests.onhost.test_stop import keeper_of

A = "abcd1.1"

FILL = (
    "import os, sys\n"
    "handle = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)\n"
    "for size in (65536, 4096, 1):\n"
    "    try:\n"
    "        while True: os.write(handle, b'x' * size)\n"
    "    except OSError: pass\n"
    "sys.exit(3)\n"
)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A state root on a disk of 1 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(disk)], check=True)
    try:
        yield disk
    finally:
        clean_up(disk)
        subprocess.run(["umount", str(disk)], check=True)


@needs_rig  # root, to mount it
def test_a_job_that_fills_the_disk_still_has_its_end_recorded(small: Path):
    link = Link(small)
    link.boot_up()
    link.hello()
    link.launch(A, [sys.executable, "-c", FILL, str(small / "ballast")])
    end = link.until_ended(A)
    assert (end["state"], end["exit"]["rc"]) == ("exited", 3)
    assert link.launch("abcd1.2", ["true"])["code"] == "disk_full"
    assert link.state("abcd1.2")["state"] == "absent"
    (small / "ballast").unlink()
    assert link.launch("abcd1.2", ["true"])["state"] in ("running", "exited")
    assert link.until_ended("abcd1.2")["exit"]["rc"] == 0
    link.close()


@needs_rig
def test_a_stop_that_finds_the_disk_full_keeps_no_supervisor_out(small: Path):
    """Seed 1355: the agent went on holding the lock of the dead supervisor, and nobody could replace it."""
    link = Link(small)
    link.boot_up()
    link.hello()
    link.launch(A, ["sleep", "60"])
    subprocess.run([sys.executable, "-c", FILL, str(small / "ballast")], check=False)
    supervisor = os.pidfd_open(keeper_of(small))
    signal.pidfd_send_signal(supervisor, signal.SIGKILL)
    assert select.select([supervisor], [], [], 20)[0]  # it is dead
    os.close(supervisor)
    assert link.stop(A)["code"] == "disk_full"
    (small / "ballast").unlink()
    link.stop(A)
    assert link.until_ended(A)["exit"]["stopped"]
    link.close()
