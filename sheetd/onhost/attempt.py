"""The folder of one attempt: its names, what is read from it, and its lock.

Every file is made whole by link(2) or rename(2), so what is there can be believed. The experiment's own folders
(output, checkpoints, working copy of the code) lie beside it and outlive it.
"""

import contextlib
import errno
import fcntl
import json
import os
import re
from typing import Any, Dict, Iterator, List, Optional, Tuple

from .judgement import Identity
from .system import slurp

ATTEMPT = re.compile(r"^([a-z0-9]{4,20}(?:-[0-9]{1,6})?)\.([0-9]{1,6})\Z")
SHA = re.compile(r"^[0-9a-f]{64}\Z")
UNFINISHED = (".tmp", ".part", ".partial", ".incomplete", "-tmp-")  # checkpoints being written: job.py says the same

Json = Dict[str, Any]


class Refused(Exception):  # noqa: N818 - an answer in the protocol's words, not a failure of ours
    """Answered as `{"error": {"code", "message"}}`; the message says what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@contextlib.contextmanager
def let_go_on_error(lock: int) -> Iterator[None]:
    """Close a supervisor's lock if what is done under it fails: an agent that kept it would keep all others out."""
    try:
        yield
    except BaseException:
        os.close(lock)
        raise


class Attempt:
    """The folder of one attempt and what is read from it."""

    def __init__(self, root: str, name: str) -> None:
        matched = ATTEMPT.match(str(name))
        if matched is None:
            raise Refused("bad_request", "{!r} is no attempt id".format(name))
        self.name = name
        self.experiment, self.number = matched.group(1), int(matched.group(2))
        self.root = root
        self.folder = os.path.join(root, "a", name)
        self.home = os.path.join(root, "x", self.experiment)

    def at(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def has(self, name: str) -> bool:
        return os.path.lexists(self.at(name))

    def load(self, name: str) -> Optional[Json]:
        """A JSON file of ours, or None.

        No process can tear it: each is made by link(2) or rename(2). A power cut can, where it was not synced; then it
        is of another boot, which is over, and nothing that it said counts any more.
        """
        try:
            loaded: Json = json.loads(slurp(self.at(name)).decode("utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return loaded

    def runs(self) -> int:
        """How many runs were started; their numbers have no gaps. 0 again for an ended attempt that was forgotten."""
        count = 0
        while self.has("started.{}".format(count)):
            count += 1
        return count

    def log_starts(self) -> List[int]:
        """For each run, how long the log was when it started."""
        starts = (self.load("started.{}".format(k)) for k in range(self.runs()))
        return [started["log"] for started in starts if started is not None]

    def who(self, k: int) -> Tuple[Optional[Identity], Optional[Identity]]:
        """Shim and job of run k, as recorded before the gate was opened."""
        proc = self.load("proc.{}.json".format(k))
        return (Identity(*proc["shim"]), Identity(*proc["job"])) if proc else (None, None)

    def lock(self) -> Optional[int]:
        """The supervisor's lock, or None while a supervisor has it.

        Only under the host's lock, so that trying harms nobody.
        """
        handle = os.open(self.at("sup.lock"), os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        return handle

    def wake(self) -> None:
        """Make a supervisor look at stop.json."""
        try:
            handle = os.open(self.at("wake"), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.ENXIO:  # nobody listens: a supervisor that comes later looks by itself
                raise
            return
        with contextlib.suppress(BlockingIOError):  # full of older wake-ups
            os.write(handle, b"1")
        os.close(handle)

    def resume_folder(self, k: int, older: bool) -> Optional[str]:
        """Where something to resume from lies.

        Our own folder on a restart, else the newest older attempt's that has any.
        """
        numbers = [self.number] if k else []
        if older:
            names = os.listdir(os.path.join(self.home, "checkpoints"))
            before = [int(name[1:]) for name in names if re.match(r"^a[0-9]+\Z", name)]
            numbers += sorted((number for number in before if number < self.number), reverse=True)
        for number in numbers:
            folder = self.checkpoints(number)
            if any(not name.startswith(".") and not any(m in name for m in UNFINISHED) for name in os.listdir(folder)):
                return folder
        return None

    def checkpoints(self, number: int) -> str:
        return os.path.join(self.home, "checkpoints", "a{}".format(number))

    def working_copy(self, code: str) -> str:
        return os.path.join(self.home, "work", code[:12])
