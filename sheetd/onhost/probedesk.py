"""The agent's desk for probes: answers at once from the last samples, has new ones taken, and tells of their result.

A probe is a detached child (`prober.py`), and at most one is outstanding below a root, whoever asked for it. The desk
waits for nothing: the end of its own prober comes through a pipe, another agent's is looked for once a second.
"""

import fcntl
import os
import select
import signal
from typing import Any, Dict, Iterator, List, Optional, Set, Tuple

from .accelerators import Device, blank, described, hung, judge, unpacked
from .attempt import Refused
from .points import is_number
from .prober import DEADLINE_S, Prober, load
from .system import System, close_all_but, dump, with_last_words
from .tools import KILL_AFTER_S

STUCK_S = DEADLINE_S + KILL_AFTER_S + 5.0  # a tool that was asked longer ago hangs, whatever became of its prober
OTHERS_POLL_S = 1.0
STUCK_POLL_S = 15.0
KIND_OF = {"nvidia-smi": "nvidia", "rocm-smi": "amd"}

Json = Dict[str, Any]


def lock_probe(root: str) -> Optional[int]:
    """The probe's lock, or None while a prober or a tool that hangs has it."""
    os.makedirs(os.path.join(root, "probe"), mode=0o700, exist_ok=True)
    handle = os.open(os.path.join(root, "probe", "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def start_probe(system: System, root: str, idle_memory_mb: int) -> Optional[int]:
    """Fork a prober. Returns what comes to its end when the prober does, or None while another is at work."""
    lock = lock_probe(root)
    if lock is None:
        return None
    try:
        begun = {"at": system.boottime(), "tool": "", "boot": system.boot()}  # whoever finds the lock held reads this
        system.replace(os.path.join(root, "probe", "begun.json"), dump(begun))
    except OSError:
        os.close(lock)
        raise
    done, done_in = os.pipe()

    def probe() -> None:
        close_all_but((lock, done_in))
        null = os.open(os.devnull, os.O_RDWR)
        for handle in {0, 1, 2} - {lock, done_in}:
            os.dup2(null, handle)
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        Prober(system, root, lock, idle_memory_mb).probe()
        os.close(lock)  # before the pipe: whoever hears of our end finds the lock free

    last_words = os.path.join(root, "probe", "prober.err")

    def leave_behind() -> None:
        os.setsid()
        system.fork("prober", lambda: with_last_words(last_words, probe))

    try:
        launcher = system.fork("launcher", lambda: with_last_words(last_words, leave_behind))
    except OSError:
        for handle in (done, done_in, lock):
            os.close(handle)
        raise
    os.close(done_in)
    os.close(lock)
    os.waitpid(launcher, 0)
    return done


class ProbeDesk:
    """What one agent tells of accelerators."""

    def __init__(self, system: System, root: str, poll: Any) -> None:
        self.system = system
        self.root = root
        self.poll = poll
        self.boot = system.boot()
        self.idle_memory_mb = 300
        self.done: Optional[int] = None  # of our own prober
        self.ended_own = False
        self.hindrance: List[str] = []
        self.look_at: Optional[float] = None  # when to look for the end of another's
        self.asked_at: Optional[float] = None  # the daemon waits for samples that are younger
        self.told: Optional[Json] = None

    def answer(self, request: Json) -> Json:
        most, idle = request.get("max_age_s", 10.0), request.get("idle_memory_mb", 300)
        if not (is_number(most) and most >= 0 and is_number(idle) and idle >= 0):
            raise Refused("bad_request", "max_age_s and idle_memory_mb are no numbers of at least 0")
        self.idle_memory_mb = int(idle)
        seen = self.describe()
        if seen["samples"] < 2 or seen["age_s"] > most:
            self.asked_at = self.system.boottime()
            self.begin()
        seen["is_probing"] = self.done is not None or self.look_at is not None
        self.told = essence(seen)
        return seen

    def begin(self) -> None:
        """Have a probe made, unless one is."""
        if self.done is not None:
            return
        self.hindrance = []
        try:
            self.done = start_probe(self.system, self.root, self.idle_memory_mb)
        except OSError as error:  # no process or no disk space left: tried again when we look next
            self.hindrance = ["accelerators cannot be looked at: {}".format(error.strerror)]
        if self.done is None:
            self.look_at = self.system.boottime() + OTHERS_POLL_S
        else:
            self.look_at = None
            self.poll.register(self.done, select.POLLIN)

    def heed(self, ready: Set[int]) -> None:
        """The prober's end, which closes its pipe."""
        if self.done in ready and self.done is not None:
            self.poll.unregister(self.done)
            os.close(self.done)
            self.done, self.ended_own = None, True
            self.look_at = self.system.boottime()

    def timeout(self) -> Optional[float]:
        return None if self.look_at is None else max(0.0, self.look_at - self.system.boottime())

    def pushes(self) -> Iterator[Json]:
        """What a probe that has ended says; and what a tool that hangs means by now."""
        now = self.system.boottime()
        if self.look_at is None or now < self.look_at:
            return
        is_free = self.is_lock_free()
        is_stuck = not is_free and self.stuck_s() > STUCK_S
        self.look_at = None if is_free else now + (STUCK_POLL_S if is_stuck else OTHERS_POLL_S)
        seen = self.describe()
        if is_free and self.is_waiting(seen) and not self.ended_own:  # who was at work died, or only looked at the lock
            self.begin()
            return
        self.ended_own = False
        seen["is_probing"] = not is_free
        if (is_free and self.asked_at is not None) or (is_stuck and essence(seen) != self.told):
            self.asked_at = None if is_free else self.asked_at
            self.told = essence(seen)
            yield {"push": "accelerators", **seen}

    def is_waiting(self, seen: Json) -> bool:
        age_s = seen["age_s"]
        return self.asked_at is not None and (age_s is None or self.system.boottime() - age_s < self.asked_at)

    def is_lock_free(self) -> bool:
        try:
            lock = lock_probe(self.root)
        except OSError:  # a full disk, no descriptors: we cannot tell, and look again
            return False
        if lock is not None:
            os.close(lock)
        return lock is not None

    def stuck_s(self) -> float:
        """How long ago the last tool was asked; only of interest while the lock is held."""
        begun = load(self.root, "begun.json")
        return float(self.system.boottime() - begun["at"]) if begun.get("boot") == self.boot else 0.0

    def describe(self) -> Json:
        """The answer, from the files."""
        kept = load(self.root, "samples.json")
        samples: List[Json] = kept.get("samples") or [] if kept.get("boot") == self.boot else []
        newest = [unpacked(one) for one in samples[-1]["devices"]] if samples else []
        before = {one.id: one for one in map(unpacked, samples[0]["devices"])} if len(samples) > 1 else {}
        newest, extra = self.with_hung(newest, kept)
        verdicts = [(device, judge(device, before.get(device.id), self.idle_memory_mb)) for device in newest]
        return {
            "accelerators": [described(device, verdict) for device, verdict in verdicts],
            "notes": self.hindrance + extra + (samples[-1]["notes"] if samples else []),
            "age_s": self.system.boottime() - samples[-1]["at"] if samples else None,
            "samples": len(samples),
            "is_probing": self.done is not None,
        }

    def with_hung(self, devices: List[Device], kept: Json) -> Tuple[List[Device], List[str]]:
        """A tool that still hangs is news since the last sample."""
        stuck_s = self.stuck_s()
        if stuck_s <= STUCK_S:
            return devices, []
        if self.is_lock_free():
            return devices, []
        tool = load(self.root, "begun.json").get("tool", "")
        if not tool:
            return devices, []
        times = max(int((kept.get("hangs") or {}).get(tool, 0)), int(stuck_s // DEADLINE_S))
        trouble = hung(tool, times, DEADLINE_S)
        kind = KIND_OF.get(tool)
        marked = [blank(one, trouble) if one.kind == kind else one for one in devices]
        return marked, ["{} has not answered for {:.0f} min and cannot be killed".format(tool, stuck_s / 60)]


def essence(seen: Json) -> Json:
    """What of an answer is news: not that time has passed, and not how busy something is at the moment."""
    passing = ("used_mb", "busy_pct")
    devices = [{name: said for name, said in one.items() if name not in passing} for one in seen["accelerators"]]
    return {"accelerators": devices, "notes": seen["notes"] and len(seen["notes"]), "samples": seen["samples"]}
