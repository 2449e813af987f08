"""Release: whether an attempt whose processes are gone still holds its accelerators.

A dead process may keep a card for a while, because its driver is still clearing up; the slot must not be handed out
before. Two witnesses: who has device files open, and, where the vendor's tool is quick, the tool. A tool that does not
answer hinders nothing here: what it would have to say before the accelerator is used again is the probe's business.
"""

import contextlib
import os
from typing import Any, Callable, Dict, List, Optional, Set

from . import stopping, tpu
from .accelerators import unpacked
from .attempt import Attempt
from .owners import Owners
from .probedesk import start_probe
from .prober import load
from .system import System

FILES = {"nvidia": ("/dev/nvidia", "/dev/dxg"), "amd": ("/dev/kfd", "/dev/dri/"), "tpu": ("/dev/accel", "/dev/vfio/")}
QUICK_S = 5.0  # a sample that took no longer is worth waiting for
PATIENCE_S = 10.0
ANEW_S = (
    0.5  # a probe that has died is no reason to fork the next one at once: what killed it may be our own many forks
)

Json = Dict[str, Any]


class Release:
    """Asked again and again until nothing hinders it."""

    def __init__(self, system: System, attempt: Attempt, spec: Json) -> None:
        self.system = system
        self.attempt = attempt
        self.wanted: List[Json] = spec.get("accelerators") or []
        self.kinds = {one["kind"] for one in self.wanted}
        self.begun = system.boottime()
        self.since = self.begun
        self.probe: Optional[int] = None
        self.next_probe = self.begun
        self.said: Optional[str] = None

    def age_s(self) -> float:
        return self.system.boottime() - self.begun

    def settle(self, seen: Set[int], complain: Callable[[str, str], None], wait: Callable[..., None]) -> None:
        """Wait until nothing hinders it, and complain of what does so for long."""
        reason = self.hindrance(seen)
        while reason is not None:
            if self.age_s() > stopping.UNKILLABLE_S:
                complain("releasing", reason)
            wait([], 0.2 if self.age_s() < 5.0 else 1.0)
            reason = self.hindrance(seen)

    def hindrance(self, seen: Set[int]) -> Optional[str]:
        """A sentence while something of ours still holds one. `seen` are all processes that were ever ours."""
        if not self.wanted:
            return None
        prefixes = tuple(self.system.tools.at(path) for kind in sorted(self.kinds) for path in FILES.get(kind, ()))
        owners = Owners(self.system, self.attempt.root)
        for path, pid in self.system.open_files(prefixes):
            if owners.attempt_of(pid) == self.attempt.name:
                return "process {} still holds {}".format(pid, path)
        listed = self.listed(seen)
        if listed is None and self.kinds == {"tpu"}:
            self.remove_lockfile()
        return listed

    def listed(self, seen: Set[int]) -> Optional[str]:
        """What the vendor's tool says, if it says it soon."""
        samples = load(self.attempt.root, "samples.json").get("samples") or []
        if self.kinds <= {"tpu"} or not samples or samples[-1]["at"] - samples[-1]["began"] > QUICK_S:
            return None
        if samples[-1]["began"] >= self.since:
            held = [unpacked(one) for one in samples[-1]["devices"]]
            mine = {one["id"] for one in self.wanted}
            for device in held:
                for holder in device.holders if device.id in mine else ():
                    is_gone = holder.pid in seen and self.system.process(holder.pid) is None
                    if holder.attempt == self.attempt.name or is_gone:
                        self.since = self.system.boottime()  # and ask again
                        self.said = "its driver still lists process {} on {}".format(holder.pid, device.id)
                        return self.said
            return None
        if self.system.boottime() - self.since > PATIENCE_S:
            return None
        if self.probe is not None and self.is_over(self.probe):
            self.probe = None
        if self.probe is None and self.system.boottime() >= self.next_probe:
            self.next_probe = self.system.boottime() + ANEW_S
            try:
                self.probe = start_probe(self.system, self.attempt.root, 0)
            except OSError:  # no process or no disk space left for a second witness
                return None
        return self.said or "its accelerators are being looked at"

    def is_over(self, probe: int) -> bool:
        os.set_blocking(probe, False)
        try:
            over = os.read(probe, 1) == b""
        except BlockingIOError:
            return False
        if over:
            os.close(probe)
        return over

    def remove_lockfile(self) -> None:
        """What an aborted libtpu left behind locks out the next user; only ours, and only when nobody has a chip."""
        path = self.system.tools.at(tpu.LOCKFILE)
        with contextlib.suppress(OSError):
            chips = self.system.tools.tpu_chips()
            holders, saw_all = tpu.table(self.system.tools.scan([chip.path for chip in chips], 10.0, None)[0])
            if os.lstat(path).st_uid == os.geteuid() and saw_all and not holders:
                os.unlink(path)
