"""A real systemd as process 1 of namespaces of its own, on a copy-on-write view of this machine's root.

Units are given as text and started with it. The folder given is the same inside and outside, so that a unit's program
can write to a FIFO there; so are this project and this Python, wherever they are mounted. Everything it starts is in
one cgroup, which is killed at the end. Needs what `needs_systemd` says.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.check import ROOT
from tests.needs import cgroup_root
from tests.rig.waiting import wait_for

#: Arguments: the folder, and others to be seen inside. All mounts go with the namespace. /dev is its own, for journald
#: makes a link there. What a bare target does not need is masked.
BOOT = """\
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1/upper"
mkdir "$1/upper/changes" "$1/upper/work" "$1/upper/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper/changes,workdir=$1/upper/work" "$1/upper/root"
root=$1/upper/root
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 none "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for node in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 "$root/dev/${node%:*}" c 1 "${node#*:}"; done
mknod -m 666 "$root/dev/tty" c 5 0
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
for seen in "$@"; do
    mkdir -p "$root$seen"
    mount --bind "$seen" "$root$seen"
done
rm -rf "$root/etc/systemd/system" "$root/etc/systemd/user"
mkdir -p "$root/etc/systemd/system/rig.target.wants" "$root/etc/systemd/system-generators"
printf '[Unit]\\nDefaultDependencies=no\\nAllowIsolate=yes\\n' > "$root/etc/systemd/system/rig.target"
for unit in "$1"/units/*.service; do
    cp "$unit" "$root/etc/systemd/system/"
    ln -s "../${unit##*/}" "$root/etc/systemd/system/rig.target.wants/"
done
for generator in "$root"/lib/systemd/system-generators/*; do
    ln -s /dev/null "$root/etc/systemd/system-generators/${generator##*/}"
done
mkdir "$root/.old"
cd "$root"
pivot_root . .old
umount -l /.old
export container=rig
exec /lib/systemd/systemd --system --unit=rig.target --log-target=null --show-status=0
"""


@contextlib.contextmanager
def systemd_space(folder: Path, units: Mapping[str, str]) -> Iterator[Path]:
    """Boot with these units (`name.service`: text). Yields the cgroup that holds everything of it."""
    cgroups = cgroup_root()
    assert cgroups is not None, "needs cgroup v2"
    cgroup = cgroups / f"sdsystemd{os.getpid()}"
    for name in ("upper", "units"):
        (folder / name).mkdir()
    for name, text in units.items():
        (folder / "units" / name).write_text(text)
    (folder / "boot.sh").write_text(BOOT)
    cgroup.mkdir()
    space = (
        *("unshare", "--pid", "--fork", "--mount", "--uts", "--ipc", "--net", "--cgroup", "--kill-child"),
        *("sh", str(folder / "boot.sh"), str(folder), *mounted_elsewhere()),
    )
    life = None
    try:
        with (folder / "boot.log").open("ab") as log:
            life = subprocess.Popen(
                ["sh", "-c", 'echo $$ > "$0/cgroup.procs"; exec "$@"', str(cgroup), *space],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        yield cgroup
    finally:
        (cgroup / "cgroup.kill").write_text("1")
        if life is not None:
            life.wait()
        wait_for(lambda: _removed(cgroup), "the cgroup of systemd is empty")


def mounted_elsewhere() -> list[str]:
    """What a test runs from and a view of the root's file system would not show."""
    device = Path("/").stat().st_dev
    needed = dict.fromkeys((ROOT, Path(sys.prefix), Path(sys.base_prefix)))
    return [str(path) for path in needed if path.stat().st_dev != device]


def members(cgroup: Path) -> list[int]:
    """Every process in a cgroup and those below it, by its number outside."""
    files = [cgroup / "cgroup.procs", *cgroup.rglob("*/cgroup.procs")]
    found = []
    for file in files:
        with contextlib.suppress(OSError):  # a unit that ended this moment
            found += [int(pid) for pid in file.read_text().split()]
    return found


def outer_pid(cgroup: Path, inner: int) -> int:
    """The number outside of a process that knows itself by `inner` (proc(5), NSpid)."""
    for pid in members(cgroup):
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{pid}/status").read_text().splitlines()
            numbers = next(line.split()[1:] for line in status if line.startswith("NSpid:"))
            if len(numbers) > 1 and int(numbers[-1]) == inner:
                return pid
    raise AssertionError(f"no process {inner} in {cgroup}")


def _removed(cgroup: Path) -> bool:
    """From the leaves up; a cgroup stays busy for a moment after its last process has gone."""
    try:
        for folder in sorted((path for path in cgroup.rglob("*") if path.is_dir()), reverse=True):
            folder.rmdir()
        cgroup.rmdir()
    except OSError:
        return False
    return True
