"""`systemd --user` for root in a systemd of its own: `systemctl --user` and the journal as on a machine with a login.

Started as a unit, without PAM, logind or a message bus, which it does not need; so `loginctl` finds nobody there. Its
units are in a home folder of its own.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.needs import SYSTEMD
from tests.rig.systemd_space import outer_pid, systemd_space
from tests.rig.waiting import wait_for

RUNTIME = "/run/user/0"
UNIT = f"""\
[Unit]
DefaultDependencies=no
Wants=systemd-journald.service
After=systemd-journald.service
[Service]
Type=notify
RuntimeDirectory=user/0
RuntimeDirectoryMode=0700
Environment=XDG_RUNTIME_DIR={RUNTIME} HOME={{home}}
ExecStart={SYSTEMD} --user
Delegate=yes
"""


class UserManager:
    """Commands that are typed inside, as the user whose services are kept."""

    def __init__(self, cgroup: Path, first: int, home: Path) -> None:
        self._cgroup = cgroup
        self._first = first
        self.home = home

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """As after `sudo su`: without XDG_RUNTIME_DIR."""
        enter = ("nsenter", "--target", str(self._first), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")
        clean = ("env", "-i", f"HOME={self.home}", "PATH=/usr/bin:/bin", "LANG=C.UTF-8", "COLUMNS=200", "USER=root")
        return subprocess.run(
            ["sh", "-c", 'echo $$ > "$0/cgroup.procs"; exec "$@"', str(self._cgroup), *enter, *clean, *argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def systemctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run("env", f"XDG_RUNTIME_DIR={RUNTIME}", "systemctl", "--user", *words)

    def is_alive(self, pid: int) -> bool:
        return self.run("kill", "-0", str(pid)).returncode == 0


@contextlib.contextmanager
def user_manager(folder: Path) -> Iterator[UserManager]:
    """Boot, and wait until the manager answers."""
    home = folder / "home"
    home.mkdir()
    with systemd_space(folder, {"manager.service": UNIT.format(home=home)}) as cgroup:
        manager = UserManager(cgroup, wait_for(lambda: _first(cgroup), "the first process"), home)
        wait_for(lambda: manager.systemctl("show", "--property=Version").returncode == 0, "the user manager answers")
        yield manager


def _first(cgroup: Path) -> int | None:
    try:
        return outer_pid(cgroup, 1)
    except AssertionError:
        return None
