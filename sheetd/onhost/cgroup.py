"""The strongest net around a job: a cgroup of its own, which no process can leave by forking, renaming or forgetting.

Used where the agent may make one below its own (root, or a delegated subtree); elsewhere the nets of `judgement` do.
Only the job is put in, never the shim: who is to testify must not be killed along.

Weak: cgroup.kill is Linux 5.14; before, the members are signalled one by one, which a fork bomb can outrun for a while.
"""

import contextlib
import ctypes
import errno
import os
import signal
from typing import List, Optional

from .system import slurp

PREFIX = "sheetd-"
MEMBERS_MAX = 65536
CLONE3, CLONE_INTO_CGROUP = 435, 0x200000000
CloneArgs = ctypes.c_uint64 * 11  # clone(2): flags first, exit_signal the fifth, cgroup the eleventh


def own_place(mountinfo: str, membership: str) -> Optional[str]:
    """The folder of our own cgroup in the version 2 hierarchy, or None. From /proc/self/mountinfo and .../cgroup."""
    below = [line[3:] for line in membership.splitlines() if line.startswith("0::/")]
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(" - ")
        parts = fields.split()
        if below and rest.split()[:1] == ["cgroup2"] and len(parts) > 4:
            root, point = parts[3], parts[4]
            inside = below[0][len(root.rstrip("/")) :] if below[0].startswith(root.rstrip("/")) else None
            return None if inside is None or ".." in below[0] else point.rstrip("/") + inside.rstrip("/")
    return None


def here() -> Optional[str]:
    try:
        texts = [slurp("/proc/self/" + name).decode("utf-8", "surrogateescape") for name in ("mountinfo", "cgroup")]
    except OSError:
        return None
    return own_place(*texts)


def make(name: str) -> Optional[str]:
    """A fresh cgroup below our own; None where we may not, and the other nets have to do."""
    place = here()
    if place is None:
        return None
    folder = os.path.join(place, PREFIX + name)
    try:
        os.mkdir(folder, 0o755)
    except OSError:
        return None
    if not os.access(os.path.join(folder, "cgroup.procs"), os.W_OK):  # a plain folder is no cgroup
        with contextlib.suppress(OSError):
            os.rmdir(folder)
        return None
    return folder


def fork_into(folder: str) -> int:
    """Like `os.fork`, with a child that is inside from its first breath.

    A process that enters later waits for every core of the machine (the kernel's cgroup_threadgroup_rwsem), which takes
    longer than all else at a job's start. Only for a process of one thread, and a child that soon executes another
    program: Python does not hear of this fork.
    """
    pid = -1
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        wish = CloneArgs(CLONE_INTO_CGROUP, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, handle)
        try:  # through `pythonapi`, which does not let go of the interpreter's lock meanwhile
            pid = ctypes.pythonapi.syscall(CLONE3, ctypes.byref(wish), ctypes.c_size_t(ctypes.sizeof(wish)))
        finally:
            os.close(handle)
    if pid < 0:  # before Linux 5.7, or where it is forbidden
        pid = os.fork()
        if pid == 0:
            enter(folder)
    return pid


def enter(folder: str) -> None:
    """Put the calling process in. Where that is refused after all the job is outside, and the other nets have it."""
    with contextlib.suppress(OSError):
        handle = os.open(os.path.join(folder, "cgroup.procs"), os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(handle, b"0")
        finally:
            os.close(handle)


def members(folder: str) -> List[int]:
    """Everybody in it and in what jobs made below it."""
    found: List[int] = []
    for place, _, _ in os.walk(folder):
        with contextlib.suppress(OSError):
            found += [int(pid) for pid in slurp(os.path.join(place, "cgroup.procs")).split()[:MEMBERS_MAX]]
    return [pid for pid in found if pid > 0]  # 0: of another pid namespace


def kill(folder: str) -> None:
    """End all members at once, also those that are being forked."""
    with contextlib.suppress(OSError):
        handle = os.open(os.path.join(folder, "cgroup.kill"), os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(handle, b"1")
        finally:
            os.close(handle)


def remove(folder: Optional[str]) -> bool:
    """Take it away, if there is one. False while somebody is in it."""
    if folder is None:
        return True
    try:
        for place, _, _ in os.walk(folder, topdown=False):
            os.rmdir(place)
    except OSError as error:
        return error.errno == errno.ENOENT  # somebody else took it away
    return True
