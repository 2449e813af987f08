"""Who may decide on a host: one agent at a time, and no daemon older than the newest that was seen here."""

import contextlib
import fcntl
import os
import time
from typing import Any, Dict, Iterator

from .attempt import Refused
from .system import System, read_range

PATIENCE_S = 10.0

Json = Dict[str, Any]


class Fence:
    """The host's lock and the epoch behind it."""

    def __init__(self, system: System, root: str) -> None:
        self.system = system
        self.root = root
        self.path = os.path.join(root, "epoch")

    @contextlib.contextmanager
    def lock(self, patience_s: float = PATIENCE_S) -> Iterator[None]:
        """What two agents on this root may not do at once: judge who starts, stops or replaces."""
        handle = os.open(os.path.join(self.root, "host.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = self.system.boottime() + patience_s
        try:
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if self.system.boottime() > deadline:
                        raise Refused("busy", "another agent on this host holds {}/host.lock: retry".format(self.root))
                    time.sleep(0.005)  # flock has no deadline of its own
            try:
                yield
            finally:
                fcntl.flock(handle, fcntl.LOCK_UN)  # also for the copy that a forked supervisor has not closed yet
        finally:
            os.close(handle)

    def newest(self) -> int:
        """The largest epoch that this host has obeyed; 0 before any."""
        return int(read_range(self.path, 0, 64)[0] or b"0")

    def admit(self, request: Json) -> int:
        """Fence: a daemon older than the newest seen has no say. Under the host's lock. Returns the newest epoch."""
        newest = self.newest()
        epoch = request.get("epoch")
        if not isinstance(epoch, int):
            raise Refused("bad_request", "epoch is missing")
        if epoch == 0:
            raise Refused("only_looks", "this connection only looks: say hello with an epoch first")
        if epoch < newest:
            raise Refused("stale_daemon", "epoch {} is over: a daemon with epoch {} was here".format(epoch, newest))
        if epoch > newest:
            self.system.replace(self.path, str(epoch).encode("ascii"), durable=True)
        return epoch
