"""Pushes: turns changed files and dead supervisors into what the daemon is told at once.

Nothing here needs to be remembered: everything that is pushed can be asked for again, by status or by offset. Where the
kernel has inotify and pidfd nothing is polled; elsewhere everything watched is looked at once a second.
"""

import base64
import bisect
import contextlib
import ctypes
import os
import re
import select
import struct
from typing import Any, Callable, Dict, Iterator, List, Optional, Set, Tuple

from .attempt import Attempt
from .judgement import Identity
from .points import LINE_BYTES_MAX, point_of, scan_line
from .state import essence
from .system import System, read_range

COALESCE_S = 0.12  # at most one push for each growing file in this time
LOOK_S = 1.0  # where the kernel says nothing, everything watched is looked at so often
CHUNK_BYTES = 64 << 10
STATED = re.compile(r"(?!\.|rc\.|started\.|exit\.[0-9])")  # what a state is read from, and nothing else announces
OFFSETS = {"file": "metrics_offset", "log": "scan_offset", "text": "log_offset"}  # kind of growth: how a watch names it

Json = Dict[str, Any]


class Inotify:
    """The kernel's word that files changed (inotify(7)). OSError where it cannot be had: then we look once a second."""

    CREATE, MOVED_TO, MODIFY = 0x100, 0x80, 0x2
    HEAD = struct.Struct("iIII")

    def __init__(self, libc: Any) -> None:
        self.libc = libc
        self.handle = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.handle < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")

    def add(self, path: str, mask: int) -> int:
        number = self.libc.inotify_add_watch(self.handle, os.fsencode(path), mask)
        if number < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch", path)
        return int(number)

    def drop(self, number: int) -> None:
        self.libc.inotify_rm_watch(self.handle, number)  # it fails for a folder that is gone, and so is its watch

    def read(self) -> List[Tuple[int, str]]:
        """What happened, as (watch, file name)."""
        found = []
        try:
            data = os.read(self.handle, 65536)
        except BlockingIOError:
            return []
        while data:
            number, _, _, length = self.HEAD.unpack_from(data)
            found.append((number, os.fsdecode(data[self.HEAD.size : self.HEAD.size + length].rstrip(b"\0"))))
            data = data[self.HEAD.size + length :]
        return found


class Growth:
    """A file that grows, followed from an offset; pushed at most every COALESCE_S."""

    def __init__(self, kind: str, path: str, offset: int) -> None:
        self.kind = kind  # "file" and "log" are sources of points, "text" is the log itself
        self.path = path
        self.offset = offset
        self.due: Optional[float] = 0.0
        self.pushed = -COALESCE_S

    def touched(self, now: float) -> None:
        if self.due is None:
            self.due = max(now, self.pushed + COALESCE_S)


class Watched:
    """One attempt of the watch set."""

    def __init__(self, attempt: Attempt, wish: Json) -> None:
        self.attempt = attempt
        self.shown: Optional[Json] = None
        self.changed = False
        self.again_at: Optional[float] = None  # look once more then: a supervisor is being replaced
        spec = attempt.load("spec.json") or {}
        self.patterns = [(one["name"], re.compile(one["regex"].encode("utf-8"))) for one in spec.get("metrics") or []]
        files = {"file": "metrics.jsonl", "log": "log", "text": "log"}
        self.growths = [
            Growth(kind, attempt.at(files[kind]), int(wish[key]))
            for kind, key in OFFSETS.items()
            if wish.get(key) is not None
        ]

    def grants(self, wish: Json) -> bool:
        """Whether what is pushed already is all that is wished for."""
        wished = {kind for kind, key in OFFSETS.items() if wish.get(key) is not None}
        return wished == {growth.kind for growth in self.growths}


class Watcher:
    """Turns changed files into pushes.

    Everything pushed can be asked for again, so nothing here needs to be remembered.
    """

    def __init__(self, system: System, root: str, state: Callable[[str], Json]) -> None:
        self.system = system
        self.root = root
        self.state = state
        self.watched: Dict[str, Watched] = {}
        self.inotify: Optional[Inotify] = None
        self.places: Dict[int, Tuple[str, str]] = {}  # inotify watch: attempt, file ("" for the folder)
        self.keepers: Dict[int, str] = {}  # pidfd of a supervisor: attempt
        self.look_at = 0.0  # where the kernel says nothing: then
        self.poll = select.poll()

    def follow(self, wishes: Json) -> Json:
        """Make these the watch set; returns the state of each attempt that is new in it.

        One that was watched already goes on behind its last push, whatever offset is named for it: what was pushed
        into this channel is on its way. So a watch costs what changes, however many attempts are watched.
        """
        if self.inotify is None:
            with contextlib.suppress(OSError):
                self.inotify = Inotify(self.system.libc)
                self.poll.register(self.inotify.handle, select.POLLIN)
                self.places[self.inotify.add(os.path.join(self.root, "a"), Inotify.MOVED_TO)] = ("", "")
        kept = {name for name, wish in wishes.items() if name in self.watched and self.watched[name].grants(wish)}
        self.drop(set(self.watched) - kept)
        fresh = [name for name in wishes if name not in kept]
        for name in fresh:
            self.watched[name] = Watched(Attempt(self.root, name), wishes[name])
            self.listen(name)
        return {name: self.look(self.watched[name]) for name in fresh}

    def drop(self, names: Set[str]) -> None:
        for number in [number for number, (name, _) in self.places.items() if name in names]:
            del self.places[number]
            if self.inotify is not None:
                self.inotify.drop(number)
        for handle in [handle for handle, name in self.keepers.items() if name in names]:
            self.forget_keeper(handle)
        for name in names:
            del self.watched[name]

    def forget_keeper(self, handle: int) -> str:
        self.poll.unregister(handle)
        os.close(handle)
        return self.keepers.pop(handle)

    def listen(self, name: str) -> None:
        """Listen to an attempt's files. Only those asked for: a job's chatter must not wake us for nothing."""
        watched = self.watched[name]
        if self.inotify is None or not watched.attempt.has("claim.json"):
            return
        with contextlib.suppress(FileNotFoundError):  # forgotten by another agent at this moment
            folder = self.inotify.add(watched.attempt.folder, Inotify.CREATE | Inotify.MOVED_TO)
            self.places[folder] = (name, "")
            for growth in watched.growths:
                self.places[self.inotify.add(growth.path, Inotify.MODIFY)] = (name, growth.path)

    def appeared(self, name: str) -> None:
        """An attempt of the watch set was made or changed by a verb of ours."""
        if name in self.watched:
            former = self.watched[name]
            again = Watched(former.attempt, {OFFSETS[growth.kind]: growth.offset for growth in former.growths})
            again.shown, again.changed = former.shown, True
            self.watched[name] = again  # its spec is there by now
            self.listen(name)

    def keep_an_eye_on(self, name: str, keeper: Optional[Identity]) -> None:
        """Hear of a supervisor's death through a pidfd: only then is its lock free for certain."""
        if name not in self.watched or keeper is None or name in self.keepers.values():
            return
        handle = self.system.pidfd(keeper.pid)
        if handle is None:
            return
        self.keepers[handle] = name
        self.poll.register(handle, select.POLLIN)
        if not self.system.alive(keeper):
            self.watched[name].changed = True

    def look(self, watched: Watched) -> Json:
        state = self.state(watched.attempt.name)
        watched.shown, watched.changed = essence(state), False
        limbo = state["state"] in ("running", "stopping") and not state["supervised"]
        watched.again_at = self.system.boottime() + 0.5 if limbo else None
        return state

    def heed(self, ready: Set[int]) -> None:
        """Note what the kernel tells: changed files, dead supervisors."""
        now = self.system.boottime()
        for handle in ready & set(self.keepers):
            self.watched[self.forget_keeper(handle)].changed = True
        for number, file in self.inotify.read() if self.inotify is not None else []:
            if number < 0:  # more happened than the kernel kept for us: look at everything
                self.heed_without_inotify()
            elif number in self.places:  # else it was dropped a moment ago
                self.happened(*self.places[number], file, now)

    def happened(self, name: str, path: str, file: str, now: float) -> None:
        if not name:
            self.appeared(file)
        elif path:
            for growth in self.watched[name].growths:
                if growth.path == path:
                    growth.touched(now)
        elif STATED.match(file):
            self.watched[name].changed = True

    def heed_without_inotify(self) -> None:
        now = self.system.boottime()
        for watched in self.watched.values():
            watched.changed = True
            for growth in watched.growths:
                growth.touched(now)

    def is_blind(self) -> bool:
        """Whether something may change without the kernel telling us."""
        return self.inotify is None or not self.system.has_pidfd

    def timeout(self) -> Optional[float]:
        """Seconds until something is due; None, for ever, when only the kernel can bring news."""
        now = self.system.boottime()
        dues = [growth.due for watched in self.watched.values() for growth in watched.growths if growth.due is not None]
        dues += [watched.again_at for watched in self.watched.values() if watched.again_at is not None]
        dues += [now for watched in self.watched.values() if watched.changed]
        dues += [self.look_at] if self.watched and self.is_blind() else []
        return max(0.0, min(dues) - now) if dues else None

    def pushes(self) -> Iterator[Json]:
        """What there is to say now; one bounded frame for each growing file."""
        now = self.system.boottime()
        if self.is_blind() and self.look_at <= now:
            self.heed_without_inotify()
            self.look_at = now + LOOK_S
        for name, watched in self.watched.items():
            if watched.changed or (watched.again_at is not None and watched.again_at <= now):
                former = watched.shown
                state = self.look(watched)
                if essence(state) != former:
                    yield {"push": "attempt", "attempt": name, "state": state}
            for growth in watched.growths:
                if growth.due is not None and growth.due <= now:
                    yield from self.grown(watched, growth, now)

    def grown(self, watched: Watched, growth: Growth, now: float) -> Iterator[Json]:
        """Push the next piece of a file, and come back at once if there is more."""
        data, size = read_range(growth.path, growth.offset, CHUNK_BYTES)
        if size < growth.offset:  # cut by its writer: begin again
            growth.offset = 0
            data, size = read_range(growth.path, 0, CHUNK_BYTES)
        if growth.kind != "text":
            cut = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
            data = (
                data[:cut] if cut or len(data) < CHUNK_BYTES else data
            )  # a line without end is skipped piece by piece
        begin = growth.offset
        growth.offset += len(data)
        growth.pushed = now
        growth.due = now if data and growth.offset < size else None
        push = {"attempt": watched.attempt.name, "from": begin, "to": growth.offset}
        if data and growth.kind == "text":
            yield {"push": "log", "data_base64": base64.b64encode(data).decode("ascii"), **push}
        elif data:
            points = list(self.points(watched, growth.kind, data, begin))
            yield {"push": "metrics", "source": growth.kind, "points": points, **push}

    def points(self, watched: Watched, kind: str, data: bytes, begin: int) -> Iterator[Json]:
        starts = watched.attempt.log_starts() if kind == "log" else []
        for line in re.finditer(rb"[^\r\n]+", data):
            text = line.group()[:LINE_BYTES_MAX]
            if kind == "file":
                point = point_of(text)
            else:
                k = max(0, bisect.bisect_right(starts, begin + line.start()) - 1)
                point = scan_line(text, watched.patterns, k)
            if point is not None:
                yield point
