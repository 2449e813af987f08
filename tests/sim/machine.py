"""A simulated machine: disk, processes, pipes, locks, signals and a boot clock, as far as `sheetd/onhost` uses them.

The disk keeps what was written apart from what would survive a power cut: a file keeps its last fsync and perhaps more,
a folder a prefix of the changes since its own. Weak: one process at a time runs between two system calls, memory is
never torn, and nothing is buffered by the C library.
"""

from __future__ import annotations

import errno
import os as real_os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.sim.engine import Engine, Killed, Task

TICKS_PER_S = 100


class File:
    """Bytes, and what of them a power cut would leave."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)
        self.durable: bytes | None = None
        self.attempt = ""
        self.listeners: list[tuple[Inotify, int]] = []


class Folder:
    """Entries, and those that are certain to be there after a power cut; `log` are the changes since."""

    def __init__(self) -> None:
        self.entries: dict[str, Any] = {}
        self.durable: dict[str, Any] = {}
        self.log: list[dict[str, Any]] = []
        self.listeners: list[tuple[Inotify, int]] = []

    def put(self, name: str, node: Any) -> None:
        self.change({name: node})

    def change(self, changes: dict[str, Any]) -> None:
        """One step of the folder's history: names and what they stand for now; None removes one."""
        for name, node in changes.items():
            if node is None:
                del self.entries[name]
            else:
                self.entries[name] = node
                tell(self, name)
        self.log.append(changes)

    def sync(self) -> None:
        self.durable, self.log = dict(self.entries), []


class Pipe:
    """Also what is behind a FIFO, and a wake-up descriptor."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.readers = 0
        self.writers = 0
        self.waiters: set[Task] = set()


class Fifo(Pipe):
    pass


class Inotify(Pipe):
    """What inotify(7) tells a process of the files and folders that it named. Nothing is ever lost here."""

    HEAD = struct.Struct("iIII")

    def __init__(self, wake: Callable[[set[Task]], None]) -> None:
        super().__init__()
        self.readers = self.writers = 1
        self.wake = wake
        self.places: dict[int, File | Folder] = {}
        self.count = 0

    def add(self, node: File | Folder) -> int:
        known = next((number for number, place in self.places.items() if place is node), None)
        if known is not None:
            return known
        self.count += 1
        self.places[self.count] = node
        node.listeners.append((self, self.count))
        return self.count

    def drop(self, number: int) -> None:
        node = self.places.pop(number, None)
        if node is not None:
            node.listeners.remove((self, number))

    def tell(self, number: int, name: str) -> None:
        text = name.encode() + b"\0" if name else b""
        event = self.HEAD.pack(number, 0, 0, len(text)) + text
        if not self.data.endswith(event):  # as the kernel does: the same again, before it was read, is one event
            self.data += event
            self.wake(self.waiters)

    def end(self) -> None:
        for number in list(self.places):
            self.drop(number)


def tell(node: File | Folder, name: str = "") -> None:
    """A name appeared in the folder, or the file was written to."""
    for queue, number in node.listeners:
        queue.tell(number, name)


@dataclass(eq=False)
class Name:
    """A name of the abstract socket namespace, taken as long as somebody has its socket."""

    text: str


@dataclass(eq=False)
class Card:
    """A simulated NVIDIA card: who computes on it, and what ails it."""

    uuid: str
    model: str = "NVIDIA A100-SXM4-80GB"
    memory_mb: int = 81920
    #: Processes that compute on it, with the memory of each; they need not be ours.
    users: dict[int, int] = field(default_factory=dict)
    is_lost: bool = False
    needs_reset: bool = False


@dataclass(eq=False)
class Handle:
    """An open file description: shared by the descriptors that a fork copied."""

    node: Any
    reads: bool = True
    writes: bool = False
    appends: bool = False
    is_blocking: bool = True
    position: int = 0
    users: int = 1
    is_inherited: bool = False


@dataclass(eq=False)
class Process:
    machine: Machine
    pid: int
    ticks: int
    parent: int
    session: int
    role: str
    environ: dict[bytes, bytes] = field(default_factory=dict)
    fds: dict[int, Handle] = field(default_factory=dict)
    task: Task | None = None
    is_zombie: bool = False
    status: int = 0
    is_subreaper: bool = False
    handlers: dict[int, Any] = field(default_factory=dict)
    blocked: set[int] = field(default_factory=set)
    pending: set[int] = field(default_factory=set)
    wakeup: int = -1
    waiters: set[Task] = field(default_factory=set)
    #: The attempt that a process of ours belongs to, and which program a job became.
    attempt: str = ""
    ignores_term: bool = False
    is_foreign: bool = False

    @property
    def identity(self) -> tuple[int, int]:
        return self.pid, self.ticks


def failure(number: int, what: str = "") -> OSError:
    return OSError(number, real_os.strerror(number), what)


class Machine:
    """One host. `rules` decides what goes wrong; `watch` is told of executions and signals."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine = engine
        self.name = name
        self.root = Folder()
        self.boots = 1
        #: Grows when the machine is exchanged for another one of the same name.
        self.life = 1
        self.booted_at = engine.now - 100.0
        self.rate = 1.0
        self.pid1_ticks = 5
        self.pid_next = 300
        self.pid_last = 30_000
        self.processes: dict[int, Process] = {}
        self.locks: dict[int, Handle] = {}
        self.disk_full = False
        self.fork_fails = False
        self.is_up = True
        #: Where it cannot be had, agents look at everything again and again.
        self.has_inotify = True
        #: Seconds that a system call may take on a busy host.
        self.slowness = 0.0
        self.kill_rate = 0.0
        self.boundary: Callable[[Process, str], bool] = lambda _process, _call: False
        self.executed: Callable[[Process, list[str], dict[str, str]], None] = lambda *_: None
        self.signalled: Callable[[Process | None, Process, int], None] = lambda *_: None
        self.process_ended: Callable[[Process, int], None] = lambda *_: None
        self.harmed: Callable[[Process], None] = lambda _process: None
        self.changed: Callable[[], None] = lambda: None
        self.run_job: Callable[[Process, list[str], dict[str, str]], int] = lambda *_: 0
        self.oom_kills = 0
        self.names: dict[str, Handle] = {}
        self.cards: list[Card] = []
        #: nvidia-smi does not answer, and cannot be killed, until it does again.
        self.smi_hangs = False
        self.driver_mismatch = False
        #: What supervisors said when they died of an exception.
        self.complaints: list[str] = []

    # --- clocks --------------------------------------------------------------------------------------------------

    def boottime(self) -> float:
        return (self.engine.now - self.booted_at) * self.rate

    # --- disk ----------------------------------------------------------------------------------------------------

    def find(self, path: str) -> Any:
        node: Any = self.root
        for part in path.split("/"):
            if part:
                if type(node) is not Folder:
                    raise failure(errno.ENOTDIR, path)
                node = node.entries.get(part)
                if node is None:
                    raise failure(errno.ENOENT, path)
        return node

    def place(self, path: str) -> tuple[Folder, str]:
        above, _, name = path.rstrip("/").rpartition("/")
        folder = self.find(above)
        if type(folder) is not Folder:
            raise failure(errno.ENOTDIR, path)
        return folder, name

    def sync(self) -> None:
        for folder in self.folders():
            folder.sync()
            for node in folder.entries.values():
                if isinstance(node, File):
                    node.durable = bytes(node.data)

    def folders(self) -> Iterator[Folder]:
        todo = [self.root]
        while todo:
            folder = todo.pop()
            yield folder
            todo += [node for node in folder.entries.values() if isinstance(node, Folder)]

    def need_space(self) -> None:
        if self.disk_full:
            raise failure(errno.ENOSPC)

    # --- processes -----------------------------------------------------------------------------------------------

    def new_process(self, parent: Process | None, role: str, body: Callable[[], Any]) -> Process:
        pid = self.free_pid()
        ticks = int(self.boottime() * TICKS_PER_S) + 10
        process = Process(self, pid, ticks, parent.pid if parent else 1, parent.session if parent else pid, role)
        if parent is not None:
            process.environ, process.attempt = parent.environ, parent.attempt
            process.handlers, process.blocked = dict(parent.handlers), set(parent.blocked)
            for number, handle in parent.fds.items():
                handle.users += 1
                process.fds[number] = handle
        self.processes[pid] = process
        task = process.task = self.engine.spawn(f"{self.name} {role} {pid}", body)
        task.process = process
        task.on_end = lambda _task: self.end(process, 0)
        return process

    def free_pid(self) -> int:
        for _ in range(self.pid_last - 299):
            pid, self.pid_next = self.pid_next, self.pid_next + 1
            if self.pid_next > self.pid_last:
                self.pid_next = 300
            # The kernel gives no number away that is still a session's.
            if pid not in self.processes and all(one.session != pid for one in self.processes.values()):
                return pid
        raise failure(errno.EAGAIN)

    def foreign(self) -> Process:
        """A process of somebody else."""
        process = self.new_process(None, "foreign", lambda: self.engine.wait(None))
        process.is_foreign = True
        return process

    def end(self, process: Process, status: int) -> None:
        """The process ends with this wait status. It is a zombie until its parent has read it."""
        if process.is_zombie or self.processes.get(process.pid) is not process:
            return
        process.is_zombie, process.status = True, status
        for card in self.cards:
            card.users.pop(process.pid, None)
        self.process_ended(process, status)
        for number in list(process.fds):
            self.close(process, number)
        if process.task is not None:
            process.task.kill()
        for child in [one for one in self.processes.values() if one.parent == process.pid]:
            self.adopt(child, process)
        self.wake(process.waiters)
        parent = self.processes.get(process.parent)
        if parent is None or parent.is_zombie or parent.is_foreign:
            self.processes.pop(process.pid, None)
        else:
            self.knock(parent)
            self.wake(parent.waiters)
        self.changed()

    def adopt(self, child: Process, dead: Process) -> None:
        above = self.processes.get(dead.parent)
        while above is not None and not (above.is_subreaper and not above.is_zombie):
            above = self.processes.get(above.parent)
        child.parent = above.pid if above is not None else 1
        if child.is_zombie:
            if above is None:
                self.processes.pop(child.pid, None)
            else:
                self.knock(above)

    def knock(self, process: Process) -> None:
        """SIGCHLD, for who listens."""
        if callable(process.handlers.get(17)):
            self.ring(process)

    def ring(self, process: Process) -> None:
        handle = process.fds.get(process.wakeup)
        if handle is not None:
            handle.node.data += b"\0"
            self.wake(handle.node.waiters)

    def wake(self, waiters: set[Task]) -> None:
        for task in sorted(waiters, key=lambda task: task.name):
            self.engine.wake(task)

    def close(self, process: Process, number: int) -> None:
        handle = process.fds.pop(number, None)
        if handle is None:
            raise failure(errno.EBADF)
        handle.users -= 1
        if handle.users:
            return
        node = handle.node
        if self.locks.get(id(node)) is handle:
            del self.locks[id(node)]
        if isinstance(node, Name) and self.names.get(node.text) is handle:
            del self.names[node.text]
        if isinstance(node, Inotify):
            node.end()
        elif isinstance(node, Pipe):
            node.readers -= handle.reads
            node.writers -= handle.writes
            self.wake(node.waiters)

    def signal(self, sender: Process | None, target: Process, number: int) -> None:
        """What kill(2) does to a process that is still there."""
        if target.is_zombie:
            return
        self.signalled(sender, target, number)
        self.deliver(target, number)

    def deliver(self, target: Process, number: int) -> None:
        if number == 9:
            self.end(target, 9)
        elif number in target.blocked:
            target.pending.add(number)
        elif callable(target.handlers.get(number)):
            target.handlers[number](number, None)
            self.ring(target)
        elif target.handlers.get(number) != "ignore" and not target.ignores_term:
            self.end(target, number)

    # --- power ---------------------------------------------------------------------------------------------------

    def stop_everything(self) -> None:
        """Nothing runs any more, and nobody was told."""
        for process in list(self.processes.values()):
            process.is_zombie = True
            for card in self.cards:
                card.users.pop(process.pid, None)
            self.process_ended(process, 9)
            for handle in process.fds.values():
                if isinstance(handle.node, Inotify):
                    handle.node.end()
            process.fds.clear()
            if process.task is not None:
                process.task.kill()
        self.processes.clear()
        self.locks.clear()
        self.names.clear()
        self.smi_hangs = self.driver_mismatch = False

    def cut_power(self) -> None:
        """Everything that was not synced is at the mercy of chance."""
        self.stop_everything()
        chance = self.engine.random
        for folder in list(self.folders()):
            kept = folder.log[: chance.randrange(len(folder.log) + 1)]
            folder.entries = dict(folder.durable)
            for name, node in [change for changes in kept for change in changes.items()]:
                if node is None:
                    folder.entries.pop(name, None)
                else:
                    folder.entries[name] = node
            for node in folder.entries.values():
                if isinstance(node, File):
                    self.tear(node)
        self.sync()
        self.boot()

    def tear(self, file: File) -> None:
        """A file after a power cut: as it was synced, as it was written, or only a piece of what was written."""
        written, synced = bytes(file.data), file.durable
        if synced == written:
            return
        start = len(synced) if synced is not None and written.startswith(synced) else 0
        cut = written[: self.engine.random.randrange(start, len(written) + 1)]
        choices = [written, cut, synced if synced is not None else b""]
        file.data = bytearray(self.engine.random.choice(choices))
        file.durable = bytes(file.data)

    def boot(self) -> None:
        self.boots += 1
        self.booted_at = self.engine.now
        self.pid_next = 300

    def restart_container(self) -> None:
        """Same kernel, same boot id: the processes are gone, the files are not."""
        self.stop_everything()
        self.pid1_ticks = int(self.boottime() * TICKS_PER_S)
        self.pid_next = 300


def current(engine: Engine) -> Process:
    """The process that makes the present system call."""
    task = engine.current
    process: Process | None = getattr(task, "process", None)
    if process is None or process.is_zombie or task is None or task.dead:
        raise Killed
    return process
