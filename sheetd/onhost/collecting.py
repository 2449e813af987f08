"""What nobody uses any more: old agents, and cgroups whose supervisors were killed.

Each version of the agent that ever spoke for this root lies in agents/<sha>. The running one stays, and so does one
that any process still has in its command line or environment: a supervisor that was forked from it restarts its job
with its library. The age is by the wall clock, for it spans reboots; where that clock jumps, an agent is removed too
early and sent again at the next connection.
"""

import contextlib
import os
import time

from . import cgroup
from .system import remove_tree, slurp

UNUSED_DAYS = 30.0
EMPTY_DAYS = 1.0


def collect_agents(root: str, own: str, now: "float | None" = None) -> "list[str]":
    """Note that our own is in use, and remove those that were not for long. Returns what was removed."""
    folder = os.path.join(root, "agents")
    removed = []
    now = time.time() if now is None else now
    with contextlib.suppress(OSError):  # a full or read-only disk is no reason to serve nobody
        os.utime(os.path.join(folder, own), (now, now))
    with contextlib.suppress(OSError):
        old = [
            name
            for name in os.listdir(folder)
            if name != own and now - os.lstat(os.path.join(folder, name)).st_mtime > UNUSED_DAYS * 86400
        ]
        used = in_use(folder) if old else b""
        for name in old:
            path = os.path.join(folder, name)
            if os.fsencode(path) not in used:
                remove_tree(path)
                removed.append(name)
    return removed


def collect_cgroups(now: "float | None" = None) -> None:
    """Remove the empty ones below our own. The kernel keeps those with members, and a restart makes its own again."""
    place = cgroup.here()
    now = time.time() if now is None else now
    with contextlib.suppress(OSError):
        for name in os.listdir(place) if place is not None else []:
            path = os.path.join(place or "", name)
            if name.startswith(cgroup.PREFIX) and now - os.lstat(path).st_mtime > EMPTY_DAYS * 86400:
                cgroup.remove(path)


def in_use(folder: str) -> bytes:
    """Command lines and environments of all processes that we may look into, those that name the folder."""
    texts = []
    mark = os.fsencode(folder)
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            with contextlib.suppress(OSError):
                for what in ("cmdline", "environ"):
                    text = slurp("/proc/{}/{}".format(name, what))
                    if mark in text:
                        texts.append(text)
    return b"\0".join(texts)
