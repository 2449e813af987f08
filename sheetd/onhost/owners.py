"""Whose a process is: the user, the program, and the attempt of ours that it belongs to.

A mark counts only when an attempt below this root gave exactly this one away: two daemons may use one attempt id, but
never one mark. A process that cleared its environment is still known by its forebears, its session or its cgroup.
"""

import os
import pwd
from typing import Dict, List, Optional, Tuple

from .accelerators import Holder, clean
from .attempt import ATTEMPT, Attempt
from .system import System

FOREBEARS_MAX = 64
COMMAND_MAX = 60
USER_MAX = 32


class Owners:
    """Answers for one probe: what it read once it does not read again."""

    def __init__(self, system: System, root: str) -> None:
        self.system = system
        self.root = root
        self.marks: Dict[str, str] = {}
        self.users: Dict[int, str] = {}
        self.given: Dict[str, List[str]] = {}

    def holder(self, pid: int, called: str, uid: Optional[int] = None) -> Holder:
        """Who holds. `called` is what the tool says that the program is called, for a process that we cannot see."""
        owner, command = self.system.who(pid)
        uid = owner if uid is None else uid
        name = command or ("" if called.startswith("[") else called.rpartition("/")[2])
        attempt = self.attempt_of(pid)
        return Holder(pid, clean(self.user(uid), USER_MAX), clean(name, COMMAND_MAX), attempt)

    def user(self, uid: Optional[int]) -> str:
        if uid is None:
            return ""
        if uid not in self.users:
            try:
                self.users[uid] = pwd.getpwuid(uid).pw_name
            except KeyError:  # a container's bare number
                self.users[uid] = str(uid)
        return self.users[uid]

    def attempt_of(self, pid: int) -> Optional[str]:
        """The attempt whose mark this process carries, or one of its forebears or its session's leader."""
        for _ in range(FOREBEARS_MAX):
            process = self.system.process(pid)
            if process is None or pid <= 1:
                return None
            for one in {pid, process.session}:
                attempt = self.verified(self.system.mark(one))
                if attempt is not None:
                    return attempt
            pid = process.parent
        return None

    def verified(self, mark: Optional[Tuple[str, str]]) -> Optional[str]:
        if mark is None or not ATTEMPT.match(mark[0]):
            return None
        name, marker = mark
        if name not in self.marks:
            claim = Attempt(self.root, name).load("claim.json") or {}
            self.marks[name] = str(claim.get("marker", ""))
        return name if marker and marker == self.marks[name] else None

    def accelerators(self, attempt: Optional[str]) -> List[str]:
        """The ids that an attempt was given."""
        if attempt is None:
            return []
        if attempt not in self.given:
            spec = Attempt(self.root, attempt).load("spec.json") or {}
            self.given[attempt] = [str(one.get("id")) for one in spec.get("accelerators") or []]
        return self.given[attempt]

    def attempts_with(self, accelerator: str) -> List[str]:
        """Those that have not ended and were given this one."""
        names = [name for name in os.listdir(os.path.join(self.root, "a")) if ATTEMPT.match(name)]
        living = [one for one in map(self.folder, sorted(names)) if not (one.has("exit.json") or one.has("tomb"))]
        return [one.name for one in living if accelerator in self.accelerators(one.name)]

    def folder(self, name: str) -> Attempt:
        return Attempt(self.root, name)
