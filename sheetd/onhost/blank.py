"""What is laid out while nobody waits, for the next attempt and the next run: file systems take milliseconds for it.

Who comes to need it makes what is not there, so nothing of this has to be whole, or durable.
"""

import contextlib
import os
from typing import List

from .attempt import Attempt, Refused
from .fence import Fence
from .system import System

FILES = ("spec.json", "params.json", "reserve", "log", "metrics.jsonl", "sup.lock", "claim.json")


def blank(root: str, kind: str) -> str:
    """Where they lie: kind `a` is an attempt's own folder, `x` its experiment's."""
    return os.path.join(root, kind, ".blank")


class Blank:
    """The folders of the next attempt, which a launch takes by a rename; laid out again once they may be gone."""

    def __init__(self, system: System, root: str, fence: Fence) -> None:
        self.system = system
        self.root = root
        self.fence = fence
        self.is_due = False

    def lay_out(self) -> None:
        if not self.is_due:
            return
        self.is_due = False
        with contextlib.suppress(Refused, OSError):  # busy, or a full disk: the launch makes what it needs
            with self.fence.lock(patience_s=0.0):
                self.make()

    def make(self) -> None:
        """Under the host's lock: a launch that takes them meanwhile would be followed into its claim."""
        claim, home = blank(self.root, "a"), blank(self.root, "x")
        for name in ("out", "checkpoints"):
            os.makedirs(os.path.join(home, name), mode=0o700, exist_ok=True)
        if not os.path.isdir(claim):
            os.mkdir(claim, 0o700)
            for name in FILES:
                self.system.write(os.path.join(claim, name), b"", durable=False)
            os.mkfifo(os.path.join(claim, "wake"), 0o600)


class NextRun:
    """The files that a restart writes."""

    def __init__(self, system: System, attempt: Attempt) -> None:
        self.system = system
        self.attempt = attempt
        self.paths: List[str] = []

    def lay_out(self, k: int) -> None:
        """What is written between the end of run k and the start of the next."""
        names = ("exit.{}.json".format(k), "started.{}".format(k + 1), "proc.{}.json".format(k + 1))
        self.paths = [self.attempt.at(name) for name in names]
        for path in self.paths:
            self.system.lay_out(path)

    def clear_away(self) -> None:
        for path in self.paths:
            self.system.clear_away(path)
