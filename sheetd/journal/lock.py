"""One daemon per state folder, on a disk where that can be promised.

flock dies with its process, whatever kills it, so there is no stale lock to break. It proves nothing across machines:
on a network file system it may be granted twice, and SQLite's log needs shared memory, so such folders are refused.
(A second daemon on another machine is fenced by the epoch that hosts remember.)

Weak point: the kind of file system is known only where /proc/mounts exists, so macOS is trusted.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from sheetd.errors import JournalError

LOCK_NAME = "daemon.lock"
MOUNTS = Path("/proc/mounts")
MACHINE_ID = Path("/etc/machine-id")
_NETWORK = re.compile(
    r"^(nfs\d?|cifs|smb\w*|9p|afs|ceph|glusterfs|lustre|gpfs|beegfs|orangefs|virtiofs|vboxsf|prl_fs"
    r"|fuse\.(sshfs|rclone|gcsfuse|s3fs|glusterfs|ceph-fuse|juicefs|goofys))$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The daemon that holds the folder. Unknown parts are 0 and empty: it had no time to write them yet."""

    pid: int = 0
    host: str = ""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}" if self.pid else "a process that has just started"


class DaemonLock:
    """Held from construction to `release`. Raises JournalError naming the holder when there is one."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK_NAME
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._take()
        except BlockingIOError as error:
            holder = _written(self._descriptor)
            self.release()
            raise JournalError(
                f"{folder} is in use by another sheetd ({holder}). Two would launch everything twice: stop that one"
                f" first, or give this one a state_dir of its own and a sheet of its own"
            ) from error
        except OSError:
            self.release()
            raise

    def _take(self) -> None:
        # A reader that asks whether a daemon lives holds the lock for microseconds: outlast it.
        outlast = Retrying(
            retry=retry_if_exception_type(BlockingIOError),
            stop=stop_after_delay(0.5),
            wait=wait_fixed(0.02),
            reraise=True,
        )
        outlast(fcntl.flock, self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0)

    def place(self) -> str:
        """A digest of where this lock is: the machine, and the file itself rather than its path."""
        file = os.fstat(self._descriptor)
        machine = MACHINE_ID.read_text().strip() if MACHINE_ID.exists() else socket.gethostname()
        return hashlib.blake2b(f"{machine} {file.st_dev} {file.st_ino}".encode(), digest_size=8).hexdigest()

    def release(self) -> None:
        os.close(self._descriptor)


def hold(folder: Path) -> DaemonLock:
    """Make the folder, private to the user, when it is not there, and lock it. Raises JournalError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # So that a state folder inside a project is not part of that project, neither for git nor for snapshots.
        (folder / ".gitignore").write_text("*\n", encoding="ascii")
        refuse_network(folder)
        return DaemonLock(folder)
    except OSError as error:
        raise JournalError(f"the state folder {folder} cannot be used: {error}") from error


def holder_of(folder: Path) -> Holder | None:
    """The daemon that holds this folder now, or None when none does."""
    try:
        descriptor = os.open(folder / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _written(descriptor)
    finally:
        os.close(descriptor)
    return None


def refuse_network(folder: Path) -> None:
    """Raise JournalError when the folder is on a file system that other machines can write to."""
    if not MOUNTS.exists():
        return
    kind = file_system(folder.resolve(), MOUNTS.read_text(encoding="utf-8", errors="surrogateescape"))
    if _NETWORK.match(kind):
        raise JournalError(
            f"{folder} is on a network file system ({kind}), where a lock may be granted twice and the journal could"
            " be damaged. Set state_dir in [daemon] to a folder on a local disk"
        )


def file_system(folder: Path, mounts: str) -> str:
    """The type of the file system that holds the folder, going by the text of /proc/mounts (proc(5))."""
    best, kind = -1, ""
    for line in mounts.splitlines():
        point, found = [*line.split(), "", "", ""][1:3]
        mounted = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), point))
        # `>=`: of several mounts on one point the last one is on top.
        if folder.is_relative_to(mounted) and len(mounted.parts) >= best:
            best, kind = len(mounted.parts), found
    return kind


def _written(descriptor: int) -> Holder:
    text = os.pread(descriptor, 4096, 0)
    try:
        found = json.loads(text)
        return Holder(pid=int(found["pid"]), host=str(found["host"]))
    except (ValueError, KeyError, TypeError):
        return Holder()
