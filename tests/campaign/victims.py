"""Who may be killed on a host: sheetd's processes by their role, the jobs, and sshd. Read from outside, through /proc.

A process is signalled through a pidfd that was opened before its role was read, so that a kill that is counted has hit
what it was meant for.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.rig.fleet import FleetHost

ROLES = {
    "sheetd-agent": "agent",
    "sheetd-launcher": "launcher",
    "sheetd-supervis": "supervisor",  # the kernel keeps fifteen characters
    "sheetd-shim": "shim",
    "sshd": "sshd",
}
#: What a process is that was forked this moment and still has its parent's name.
BECOMES = {"launcher": "supervisor", "supervisor": "shim", "shim": "job"}
#: Whose death decides what can be known of an attempt: they are killed only when it is known which attempt it is.
FAMILY = ("supervisor", "shim", "job")
_ATTEMPT_FOLDER = re.compile(r"/a/\.?([a-z0-9]+\.[0-9]+)/")


@dataclass(frozen=True, slots=True)
class Victim:
    pid: int  # outside
    inner_pid: int  # as the host numbers it
    parent: int
    role: str
    attempt: str = ""
    k: int | None = None


def environment(pid: int) -> dict[str, str]:
    try:
        text = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return dict(line.split("=", 1) for line in text.split("\0") if "=" in line)


def _stat(pid: int) -> tuple[str, str, int] | None:
    """Name, state and parent."""
    try:
        before, _, after = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")
    except OSError:
        return None
    return before.partition("(")[2], after.split()[0], int(after.split()[1])


def _inner(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("NSpid:"):
                return int(line.split()[-1])
    return 0


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _attempt_by_files(pid: int) -> str:
    """A supervisor has its attempt's lock and knocker open."""
    with contextlib.suppress(OSError):
        for handle in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found = _ATTEMPT_FOLDER.search(str(handle.readlink()))
                if found is not None:
                    return found[1]
    return ""


def _whose(pid: int, role: str, parent: int) -> tuple[str, int | None]:
    """Attempt and run, as far as can be told."""
    if role in ("supervisor", "launcher"):
        return _attempt_by_files(pid), None
    for one in [pid] if role == "job" else _children(pid):
        env = environment(one)
        if "SHEETD_MARKER" in env:
            return env["SHEETD_ATTEMPT"], int(env["SHEETD_RESTART"])
    return _attempt_by_files(parent), None  # not executed yet: its supervisor knows


def look(pid: int) -> Victim | None:
    stat = _stat(pid)
    if stat is None or stat[1] in "ZX":
        return None
    name, _, parent = stat
    role = ROLES.get(name, "")
    if (_stat(parent) or ("",))[0] == name:
        role = BECOMES.get(role, role)
    if not role:
        env = environment(pid)
        if "SHEETD_MARKER" not in env or "SHEETD_RESTART" not in env:
            return None
        role = "job"
    attempt, k = _whose(pid, role, parent) if role in (*FAMILY, "launcher") else ("", None)
    return Victim(pid, _inner(pid), parent, role, attempt, k)


def victims(host: FleetHost) -> Iterator[Victim]:
    for pid in host.pids():
        found = look(pid)
        if found is not None:
            yield found


def strike(victim: Victim) -> bool:
    """SIGKILL to exactly this process. False when it ended by itself meanwhile, or is not what it was."""
    try:
        handle = os.pidfd_open(victim.pid)
    except ProcessLookupError:
        return False
    try:
        now = _stat(victim.pid)
        is_same = now is not None and now[1] not in "ZX" and _inner(victim.pid) == victim.inner_pid
        if not is_same:
            return False
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True
