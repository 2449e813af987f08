"""What the shipped code imports, over a simulated machine; and the shipped code itself, loaded to use it.

`load()` executes the very files of `sheetd/onhost` a second time, with `os`, `fcntl`, `select`, `signal`, `time` and
`shutil` exchanged. Nothing of the agent, the supervisor or the shim is modelled: what runs in the simulator is what is
shipped. Only what /proc says (`SimSystem`) and what a host says of its hardware are made up here.
"""

from __future__ import annotations

import builtins
import errno
import io
import os as real
import signal as real_signal
import types
from pathlib import Path
from typing import Any, ClassVar

import greenlet

from tests.check import ROOT
from tests.sim.engine import Killed
from tests.sim.machine import Fifo, File, Folder, Handle, Inotify, Pipe, Process, failure, tell

ONHOST = ROOT / "sheetd" / "onhost"


def me() -> Process:
    task = getattr(greenlet.getcurrent(), "task", None)
    process: Process | None = getattr(task, "process", None)
    if process is None or process.is_zombie:
        raise Killed
    return process


def enter(call: str = "") -> Process:
    """Every system call begins here. One that changes something (it has a name) is where a process may be killed."""
    process = me()
    machine = process.machine
    if machine.slowness and machine.engine.chance(0.02):
        machine.engine.sleep(machine.engine.random.expovariate(1.0 / machine.slowness))
        process = me()
    if call and not process.is_foreign and process.role != "job" and machine.boundary(process, call):
        machine.end(process, 9)
        raise Killed
    return process


class Path_:  # noqa: N801 - stands in for a module
    join = staticmethod(real.path.join)
    dirname = staticmethod(real.path.dirname)
    basename = staticmethod(real.path.basename)
    split = staticmethod(real.path.split)

    @staticmethod
    def abspath(path: str) -> str:
        return path

    @staticmethod
    def lexists(path: str) -> bool:
        try:
            me().machine.find(path)
        except OSError:
            return False
        return True

    exists = lexists

    @staticmethod
    def isdir(path: str) -> bool:
        return Path_.lexists(path) and isinstance(me().machine.find(path), Folder)


class Os:
    """The calls of `os`, made by the process whose turn it is."""

    path = Path_
    environb: ClassVar = {b"PATH": b"/usr/bin:/bin", b"HOME": b"/home/lab", b"USER": b"lab"}
    devnull = "/dev/null"
    for _name in (
        *("O_RDONLY", "O_WRONLY", "O_RDWR", "O_CREAT", "O_EXCL", "O_TRUNC", "O_APPEND", "O_NOFOLLOW", "O_CLOEXEC"),
        *("O_NONBLOCK", "O_DIRECTORY", "P_PID", "WEXITED", "WNOHANG", "WNOWAIT", "CLD_EXITED"),
        *("fsencode", "fsdecode", "strerror", "WIFSIGNALED", "WTERMSIG", "WEXITSTATUS", "WIFEXITED"),
    ):
        locals()[_name] = staticmethod(getattr(real, _name)) if callable(getattr(real, _name)) else getattr(real, _name)

    def __init__(self) -> None:
        self.entropy = 0

    # --- files ---------------------------------------------------------------------------------------------------

    def open(self, path: str, flags: int, mode: int = 0o777) -> int:
        process = enter("open" if flags & real.O_CREAT else "")
        machine = process.machine
        reads, writes = flags & 3 != real.O_WRONLY, flags & 3 != real.O_RDONLY
        if path == "/dev/null":
            return self._give(process, Handle(File(), reads, writes))
        try:
            node = machine.find(path)
        except FileNotFoundError:
            if not flags & real.O_CREAT:
                raise
            folder, name = machine.place(path)
            machine.need_space()
            node = File()
            folder.put(name, node)
        else:
            if flags & real.O_EXCL:
                raise failure(errno.EEXIST, path)
        if flags & real.O_TRUNC and isinstance(node, File):
            node.data = bytearray()
        if isinstance(node, Fifo):
            if not reads and not node.readers:
                raise failure(errno.ENXIO, path)
            node.readers += reads
            node.writers += writes
        if path.endswith("/sup.lock"):
            node.attempt = path.split("/")[-2]
        appends = bool(flags & real.O_APPEND)
        return self._give(process, Handle(node, reads, writes, appends, not flags & real.O_NONBLOCK))

    @staticmethod
    def _give(process: Process, handle: Handle) -> int:
        number = 3
        while number in process.fds:
            number += 1
        process.fds[number] = handle
        return number

    @staticmethod
    def _handle(process: Process, number: int) -> Handle:
        try:
            return process.fds[number]
        except KeyError:
            raise failure(errno.EBADF) from None

    def close(self, number: int) -> None:
        process = me()
        process.machine.close(process, number)

    def read(self, number: int, size: int) -> bytes:
        process = enter()
        handle = self._handle(process, number)
        node = handle.node
        if isinstance(node, Pipe):
            while not node.data and node.writers > 0:
                if not handle.is_blocking:
                    raise BlockingIOError(errno.EAGAIN, "nothing to read")
                self._await(process, [node.waiters], None)
            if not node.data and not handle.is_blocking and node.writers:
                raise BlockingIOError(errno.EAGAIN, "nothing to read")
            data = bytes(node.data[:size])
            del node.data[:size]
            return data
        data = bytes(node.data[handle.position : handle.position + size])
        handle.position += len(data)
        return data

    @staticmethod
    def _await(process: Process, sets: list[set[Any]], seconds: float | None) -> None:
        task = process.task
        for waiters in sets:
            waiters.add(task)
        try:
            process.machine.engine.wait(seconds)
        finally:
            for waiters in sets:
                waiters.discard(task)

    def write(self, number: int, data: bytes) -> int:
        process = enter()
        handle, data = self._handle(process, number), bytes(data)
        node = handle.node
        if isinstance(node, Pipe):
            if not node.readers:
                raise BrokenPipeError(errno.EPIPE, "nobody reads")
            node.data += data
            process.machine.wake(node.waiters)
            return len(data)
        if data:
            process.machine.need_space()
        if handle.appends:
            handle.position = len(node.data)
        node.data[handle.position : handle.position + len(data)] = data
        handle.position += len(data)
        tell(node)
        process.machine.changed()
        return len(data)

    def pread(self, number: int, size: int, offset: int) -> bytes:
        return bytes(self._handle(enter(), number).node.data[offset : offset + size])

    def fsync(self, number: int) -> None:
        process = enter()
        node = self._handle(process, number).node
        if isinstance(node, Folder):
            node.sync()
        else:
            node.durable = bytes(node.data)

    def sync(self) -> None:
        enter().machine.sync()

    def fstat(self, number: int) -> Any:
        return types.SimpleNamespace(st_size=len(self._handle(enter(), number).node.data))

    def stat(self, path: str) -> Any:
        node = enter().machine.find(path)
        return types.SimpleNamespace(st_size=len(node.data) if isinstance(node, File) else 0)

    def link(self, old: str, new: str) -> None:
        machine = enter("link").machine
        node = machine.find(old)
        folder, name = machine.place(new)
        if name in folder.entries:
            raise failure(errno.EEXIST, new)
        folder.put(name, node)
        machine.changed()

    def unlink(self, path: str) -> None:
        machine = enter("unlink").machine
        folder, name = machine.place(path)
        if name not in folder.entries:
            raise failure(errno.ENOENT, path)
        folder.put(name, None)

    def replace(self, old: str, new: str) -> None:
        machine = enter("rename").machine
        node = machine.find(old)
        source, name = machine.place(old)
        target, new_name = machine.place(new)
        there = target.entries.get(new_name)
        if isinstance(there, Folder) and there.entries:
            raise failure(errno.ENOTEMPTY, new)
        if source is target:
            source.change({name: None, new_name: node})
        else:
            source.put(name, None)
            target.put(new_name, node)
        machine.changed()

    rename = replace

    def mkdir(self, path: str, mode: int = 0o777) -> None:
        machine = enter("mkdir").machine
        folder, name = machine.place(path)
        if name in folder.entries:
            raise failure(errno.EEXIST, path)
        machine.need_space()
        folder.put(name, Folder())

    def makedirs(self, path: str, mode: int = 0o777, exist_ok: bool = False) -> None:
        machine = enter("mkdir").machine
        folder = machine.root
        for part in path.split("/"):
            if part and part not in folder.entries:
                machine.need_space()
                folder.put(part, Folder())
            folder = folder.entries[part] if part else folder

    def mkfifo(self, path: str, mode: int = 0o666) -> None:
        folder, name = enter("mkfifo").machine.place(path)
        folder.put(name, Fifo())

    def listdir(self, path: str) -> list[str]:
        process = enter()
        if path == "/proc/self/fd":
            return [str(number) for number in process.fds]
        node = process.machine.find(path)
        if not isinstance(node, Folder):
            raise failure(errno.ENOTDIR, path)
        return sorted(node.entries)

    def urandom(self, size: int) -> bytes:
        return bytes(me().machine.engine.random.getrandbits(8) for _ in range(size))

    # --- descriptors ---------------------------------------------------------------------------------------------

    def pipe(self) -> tuple[int, int]:
        process = enter()
        pipe = Pipe()
        pipe.readers = pipe.writers = 1
        return self._give(process, Handle(pipe)), self._give(process, Handle(pipe, reads=False, writes=True))

    def dup2(self, old: int, new: int) -> None:
        process = enter()
        handle = self._handle(process, old)
        handle.users += 1
        if new in process.fds:
            process.machine.close(process, new)
        process.fds[new] = handle

    def set_blocking(self, number: int, is_blocking: bool) -> None:
        if number in me().fds:
            me().fds[number].is_blocking = is_blocking

    # --- processes -----------------------------------------------------------------------------------------------

    def getpid(self) -> int:
        return me().pid

    def geteuid(self) -> int:
        return 1000

    def umask(self, mask: int) -> int:
        return 0o022

    def chdir(self, path: str) -> None:
        if path != "/":
            enter().machine.find(path)

    def setsid(self) -> None:
        me().session = me().pid

    def setpgid(self, pid: int, group: int) -> None:
        enter()

    def _exit(self, code: int) -> None:
        process = me()
        process.machine.end(process, (code & 255) << 8)
        raise Killed

    def waitpid(self, pid: int, options: int) -> tuple[int, int]:
        process = enter()
        while True:
            child = process.machine.processes.get(pid)
            if child is None or child.parent != process.pid:
                raise ChildProcessError(errno.ECHILD, "no such child")
            if child.is_zombie:
                del process.machine.processes[pid]
                return pid, child.status
            if options & real.WNOHANG:
                return 0, 0
            self._await(process, [child.waiters, process.waiters], None)

    def waitid(self, kind: int, pid: int, options: int) -> Any:
        process = enter()
        child = process.machine.processes.get(pid)
        if child is None or child.parent != process.pid:
            raise ChildProcessError(errno.ECHILD, "no such child")
        while not child.is_zombie:
            if options & real.WNOHANG:
                return None
            self._await(process, [child.waiters], None)
        signalled = real.WIFSIGNALED(child.status)
        code = real.WTERMSIG(child.status) if signalled else real.WEXITSTATUS(child.status)
        return types.SimpleNamespace(si_status=code, si_code=2 if signalled else real.CLD_EXITED)

    def execvpe(self, file: bytes, argv: list[bytes], env: dict[bytes, bytes]) -> None:
        process = enter()
        words = [word.decode("utf-8", "surrogateescape") for word in argv]
        if words[0] == "missing":
            raise failure(errno.ENOENT, "missing")
        for number in [number for number in process.fds if number > 2]:
            process.machine.close(process, number)
        process.role, process.environ = "job", env
        names = {name.decode(): value.decode("utf-8", "surrogateescape") for name, value in env.items()}
        process.attempt = names["SHEETD_ATTEMPT"]
        process.machine.executed(process, words, names)
        self._exit(process.machine.run_job(process, words, names))


class Poll:
    def __init__(self) -> None:
        self.numbers: set[int] = set()

    def register(self, number: int, mask: int = 0) -> None:
        self.numbers.add(number)

    def unregister(self, number: int) -> None:
        self.numbers.discard(number)

    def ready(self, process: Process) -> list[tuple[int, int]]:
        found = []
        for number in sorted(self.numbers):
            handle = process.fds.get(number)
            node = handle.node if handle is not None else None
            if (isinstance(node, Pipe) and (node.data or not node.writers)) or (
                isinstance(node, Process) and (node.is_zombie or node.pid not in node.machine.processes)
            ):
                found.append((number, 1))
        return found

    def poll(self, milliseconds: float | None = None) -> list[tuple[int, int]]:
        process = enter()
        engine = process.machine.engine
        until = None if milliseconds is None else engine.now + milliseconds / 1000
        while True:
            found = self.ready(process)
            if found or (until is not None and engine.now >= until):
                return found
            nodes = [process.fds[number].node for number in self.numbers if number in process.fds]
            sets = [node.waiters for node in nodes if isinstance(node, Pipe | Process)]
            Os._await(process, sets, None if until is None else until - engine.now)


class Fcntl:
    LOCK_EX, LOCK_NB, LOCK_UN, LOCK_SH = 2, 4, 8, 1

    def flock(self, number: int, how: int) -> None:
        process = enter()
        machine, handle = process.machine, Os._handle(process, number)
        holder = machine.locks.get(id(handle.node))
        if how & self.LOCK_UN:
            if holder is handle:
                del machine.locks[id(handle.node)]
        elif holder is None or holder is handle:
            machine.locks[id(handle.node)] = handle
        else:
            raise BlockingIOError(errno.EAGAIN, "locked")


class Time:
    def clock_gettime(self, clock: int) -> float:
        return me().machine.boottime()

    def sleep(self, seconds: float) -> None:
        me().machine.engine.sleep(seconds)

    def time(self) -> float:
        return 1.7e9 + me().machine.engine.now


class Signal:
    SIG_IGN, SIG_DFL = "ignore", "default"
    SIG_BLOCK, SIG_SETMASK, NSIG = 0, 2, 65
    for _name in (
        "SIGHUP",
        "SIGINT",
        "SIGQUIT",
        "SIGUSR1",
        "SIGUSR2",
        "SIGCHLD",
        "SIGTERM",
        "SIGKILL",
        "SIGPIPE",
        "SIGABRT",
    ):
        locals()[_name] = int(getattr(real_signal, _name))

    def signal(self, number: int, handler: Any) -> None:
        me().handlers[number] = handler

    def getsignal(self, number: int) -> Any:
        return me().handlers.get(number, "default")

    def set_wakeup_fd(self, number: int) -> None:
        me().wakeup = number

    def pthread_sigmask(self, how: int, numbers: Any) -> None:
        process = me()
        if how == self.SIG_BLOCK:
            process.blocked |= set(numbers)
            return
        process.blocked = set(numbers)
        for number in sorted(process.pending - process.blocked):
            process.pending.discard(number)
            process.machine.deliver(process, number)
        me()  # the signal may have been our end


class Shutil:
    def __init__(self, os: Os) -> None:
        self.os = os

    def rmtree(self, path: str) -> None:
        folder, name = enter("rmtree").machine.place(path)
        if name in folder.entries:
            folder.put(name, None)

    def copytree(self, source: str, target: str, symlinks: bool = False) -> None:
        self.os.makedirs(target)


OS = Os()
STAND_INS: dict[str, Any] = {
    "os": OS,
    "fcntl": Fcntl(),
    "select": types.SimpleNamespace(poll=Poll, POLLIN=1, POLLOUT=4),
    "time": Time(),
    "signal": Signal(),
    "shutil": Shutil(OS),
}


class LastWords(io.StringIO):
    """What a dying supervisor writes, unless it was killed."""

    def close(self) -> None:
        line = self.getvalue().strip().rpartition("\n")[2]
        if line and "Killed" not in line and not self.closed:
            process = me()
            process.machine.engine.log(f"{process.machine.name} {process.role} {process.pid} died: {line}")
            if "[Errno 28]" in line or "[Errno 11]" in line:  # no disk, no processes: it is replaced
                process.machine.harmed(process)
            else:
                process.machine.complaints.append(self.getvalue())
        super().close()


class Loader:
    """The modules of `onhost`, each executed once. `sources` may hold other texts for some of them: planted bugs."""

    def __init__(self, folder: Path = ONHOST) -> None:
        self.folder = folder
        self.modules: dict[str, types.ModuleType] = {}
        self.builtins = {**vars(builtins), "__import__": self.importer, "open": self.open}

    def importer(self, name: str, scope: Any = None, local: Any = None, wanted: Any = (), level: int = 0) -> Any:
        if level:
            return self.load(name) if name else types.SimpleNamespace(**{one: self.load(one) for one in wanted})
        return STAND_INS[name] if name in STAND_INS else __import__(name, scope, local, wanted, level)

    def open(self, path: str, mode: str = "r") -> Any:
        return LastWords()

    def load(self, name: str) -> Any:
        if name not in self.modules:
            path = self.folder / f"{name}.py"
            module = self.modules[name] = types.ModuleType(f"simulated.{name}")
            scope = {
                "__builtins__": self.builtins,
                "__package__": "simulated",
                "__file__": f"/agents/sha/onhost/{name}.py",
            }
            vars(module).update(scope)
            exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), vars(module))  # noqa: S102 - our own files
        return self.modules[name]


class Libc:
    """The few calls that the shipped code makes past Python."""

    def syscall(self, number: int, first: int, second: int, *_: Any) -> int:
        process = enter("signal" if number == 424 else "")
        machine = process.machine
        if number == 434:
            target = machine.processes.get(first)
            return OS._give(process, Handle(target)) if target is not None else -1
        machine.signal(process, process.fds[first].node, second)
        me()
        return 0

    def prctl(self, option: int, value: Any, *_: int) -> int:
        if option == 36:
            me().is_subreaper = True
        return 0

    def inotify_init1(self, _flags: int) -> int:
        process = me()
        if not process.machine.has_inotify:
            return -1
        return OS._give(process, Handle(Inotify(process.machine.wake), is_blocking=False))

    def inotify_add_watch(self, handle: int, path: bytes, _mask: int) -> int:
        process = me()
        queue: Inotify = process.fds[handle].node
        return queue.add(process.machine.find(path.decode()))

    def inotify_rm_watch(self, handle: int, number: int) -> int:
        me().fds[handle].node.drop(number)
        return 0
