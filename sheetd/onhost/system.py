"""The world: every effect on it that decides something, and every fact from /proc.

Tests that kill us between any two steps, and the simulator, stand in for `System`. It decides nothing.
"""

import _socket  # without its Python half, which each of our processes would carry for three calls
import contextlib
import ctypes
import errno
import json
import os
import select
import time
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Tuple

from . import holders
from .judgement import Identity, Process
from .tools import Tools

Json = Dict[str, Any]


class System:
    """Every effect on the world and every fact from /proc. Tests and the simulator stand in for it."""

    PIDFD_OPEN, PIDFD_SEND_SIGNAL = 434, 424  # the same numbers on every architecture but Alpha
    PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 15, 36  # prctl(2)

    def __init__(self) -> None:
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.tools = Tools()
        self.ticks_per_s = os.sysconf("SC_CLK_TCK")
        probe = self.pidfd(os.getpid())
        self.has_pidfd = probe is not None
        if probe is not None:
            os.close(probe)

    def boottime(self) -> float:
        """Seconds since boot, suspend included; the only clock that intervals are taken from."""
        return time.clock_gettime(7)  # CLOCK_BOOTTIME, unnamed before Python 3.7

    def boot(self) -> Json:
        """What differs after every reboot, of the machine or of the container we are in."""
        boot_id = slurp("/proc/sys/kernel/random/boot_id").decode("ascii").strip()
        first = self.process(1)
        return {
            "boot_id": boot_id,
            "pidns": os.readlink("/proc/self/ns/pid"),
            "pid1_ticks": first.identity.ticks if first else None,  # hidden by hidepid=2
        }

    def process(self, pid: int, marker: Optional[bytes] = None, since: float = 0.0) -> Optional[Process]:
        """One process; `marked` can only be one that began after the boottime `since`."""
        try:
            handle = os.open("/proc/{}/stat".format(pid), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            said = os.read(handle, 4096)  # whole: procfs answers one read with everything that fits
        except OSError:
            return None
        finally:
            os.close(handle)
        fields = said.rpartition(b")")[2].split()  # the name before may hold anything
        if len(fields) < 20:
            return None
        ticks = int(fields[19])
        is_young = marker is not None and ticks >= int(since * self.ticks_per_s)
        return Process(
            identity=Identity(pid, ticks),
            parent=int(fields[1]),
            session=int(fields[3]),
            # A zombie that leads living threads has not ended: they may be stuck in a driver, and hold an accelerator.
            dead=fields[0] in (b"Z", b"X", b"x") and int(fields[17]) <= 1,
            marked=marker is not None and is_young and self.is_marked(pid, marker),
        )

    def is_marked(self, pid: int, marker: bytes) -> bool:
        try:
            if os.stat("/proc/{}".format(pid)).st_uid != os.geteuid():
                return False
            return marker in slurp("/proc/{}/environ".format(pid)).split(b"\0")
        except OSError:  # gone, or not ours to read
            return False

    def mark(self, pid: int) -> Optional[Tuple[str, str]]:
        """Attempt and marker, as a process of our own user has them in its environment."""
        try:
            if os.stat("/proc/{}".format(pid)).st_uid != os.geteuid():
                return None
            words = slurp("/proc/{}/environ".format(pid)).split(b"\0")
        except OSError:  # gone, or not ours to read
            return None
        said = {name: value for name, _, value in (word.partition(b"=") for word in words)}
        attempt, marker = said.get(b"SHEETD_ATTEMPT", b""), said.get(b"SHEETD_MARKER", b"")
        return (attempt.decode("ascii", "replace"), marker.decode("ascii", "replace")) if marker else None

    def who(self, pid: int) -> Tuple[Optional[int], str]:
        """A process's user and program, as far as they can be seen."""
        return holders.owner(pid), holders.command(pid)

    def open_files(self, prefixes: Tuple[str, ...]) -> Iterator[Tuple[str, int]]:
        return holders.open_files(prefixes)

    def table(self, marker: bytes, since: float) -> List[Process]:
        """Every process. A marker that was made at the boottime `since` is looked for in none that is older.

        To read the environments of a whole host costs more than everything else that the end of a job does.
        """
        found = (self.process(int(name), marker, since) for name in os.listdir("/proc") if name.isdigit())
        return [process for process in found if process is not None]

    def alive(self, identity: Optional[Identity]) -> bool:
        found = self.process(identity.pid) if identity else None
        return found is not None and found.identity == identity and not found.dead

    def children(self) -> Optional[List[int]]:
        """Our direct children, zombies too; None where the kernel does not list them."""
        try:
            return [int(pid) for pid in slurp("/proc/self/task/{}/children".format(os.getpid())).split()]
        except OSError:
            return None

    def cores(self) -> int:
        return len(os.sched_getaffinity(0))

    def oom_kills(self) -> int:
        """How often the kernel killed for memory: in our cgroup if it counts, else on the machine."""
        places = ["/proc/vmstat"]
        with contextlib.suppress(OSError):
            lines = os.fsdecode(slurp("/proc/self/cgroup")).splitlines()
            own = [line.split("::")[1] for line in lines if line.startswith("0::")]
            places[:0] = ["/sys/fs/cgroup{}/memory.events".format(path) for path in own]
        for place in places:
            with contextlib.suppress(OSError):
                for line in slurp(place).splitlines():
                    if line.startswith(b"oom_kill "):
                        return int(line[len(b"oom_kill ") :])
        return 0

    def pidfd(self, pid: int) -> Optional[int]:
        """A descriptor that becomes readable when the process ends, and is never another's.

        None without kernel support.
        """
        handle = self.libc.syscall(self.PIDFD_OPEN, pid, 0)
        return handle if handle >= 0 else None

    def signal(self, identity: Identity, number: int) -> bool:
        """Signal exactly this process. False when it is gone, or its number is another's by now."""
        handle = self.pidfd(identity.pid)
        try:
            if not self.alive(identity):  # after the pidfd was opened: from here on it cannot become another's
                return False
            if handle is not None:
                return bool(self.libc.syscall(self.PIDFD_SEND_SIGNAL, handle, number, None, 0) == 0)
            os.kill(identity.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        finally:
            if handle is not None:
                os.close(handle)
        return True

    def spare_core(self, identity: Identity) -> None:
        """No core file from what we abort: it may be as large as all of the job's memory."""
        with contextlib.suppress(OSError, ValueError):
            import resource

            hard = resource.prlimit(identity.pid, resource.RLIMIT_CORE)[1]
            if hard != 0:
                resource.prlimit(identity.pid, resource.RLIMIT_CORE, (1, hard))  # 1: core handlers stay out of it too

    def bind(self, name: str) -> Optional[int]:
        """Take a name in the machine's abstract socket namespace, unix(7). None when it is taken."""
        one = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)
        try:
            one.bind(b"\0" + name.encode("ascii"))
        except OSError as error:
            one.close()
            if error.errno == errno.EADDRINUSE:
                return None
            raise
        return one.detach()

    def unbind(self, handle: int) -> None:
        os.close(handle)

    def is_bound(self, name: str) -> bool:
        with contextlib.closing(_socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)) as one:
            return one.connect_ex(b"\0" + name.encode("ascii")) == 0

    def is_port_free(self, port: int) -> bool:
        with contextlib.closing(_socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)) as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                return False
        return True

    def fork(self, role: str, life: Callable[[], Any], group: Optional[Callable[[], int]] = None) -> int:
        """A child that lives this life and ends with it. A function, so that a simulator can have processes too.

        `group` forks like `os.fork`, but puts the child into a cgroup.
        """
        pid = os.fork() if group is None else group()
        if pid == 0:
            try:
                if role != "job":
                    self.become(role)
                life()
            finally:
                os._exit(70)
        return pid

    def become(self, role: str) -> None:
        """Take a role's name, which `ps` and `top` show."""
        self.libc.prctl(self.PR_SET_NAME, ("sheetd-" + role)[:15].encode("ascii"), 0, 0, 0)

    def reap_orphans(self) -> bool:
        """Become the parent of every orphaned descendant, so that none is out of sight."""
        return bool(self.libc.prctl(self.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)

    def publish(self, path: str, content: bytes, durable: bool = False) -> bool:
        """Make a file with its content, whole, once.

        False when it was there before: of several writers the first wins.
        """
        fresh = self.beside(path, content, durable)
        try:
            os.link(fresh, path)
        except FileExistsError:
            return False
        finally:
            os.unlink(fresh)
        if durable:
            sync_folder(os.path.dirname(path))
        return True

    def replace(self, path: str, content: bytes, durable: bool = False) -> None:
        os.replace(self.beside(path, content, durable), path)
        if durable:
            sync_folder(os.path.dirname(path))

    def beside(self, path: str, content: bytes, durable: bool) -> str:
        fresh = fresh_name(path)
        self.write(fresh, content, durable)
        return fresh

    def lay_out(self, path: str) -> None:
        """Have the blank that `publish` or `replace` will fill for this path, made while nobody waits.

        A new file may take its file system a millisecond, to fill one that is there a hundredth of that.
        """
        with contextlib.suppress(OSError):  # a full disk: it is made when it is needed, or refused then
            self.write(fresh_name(path), b"", durable=False)

    def clear_away(self, path: str) -> None:
        """Remove a blank that was not needed."""
        with contextlib.suppress(OSError):
            os.unlink(fresh_name(path))

    def write(self, path: str, content: bytes, durable: bool) -> None:
        """Where nobody looks yet: under another name, or in a folder that has not got its own."""
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            write_all(handle, content)
            if durable:
                os.fsync(handle)
        finally:
            os.close(handle)

    def claim(self, fresh: str, folder: str) -> None:
        """The rename that makes an attempt exist. OSError ENOTEMPTY when it does already."""
        os.rename(fresh, folder)
        sync_folder(os.path.dirname(folder))

    def open_gate(self, gate: int) -> None:
        with contextlib.suppress(BrokenPipeError):  # the job process was killed while it waited
            os.write(gate, b"1")


def fresh_name(path: str) -> str:
    """Where this process writes a file until it has its name."""
    folder, name = os.path.split(path)
    return os.path.join(folder, ".{}.{}".format(name, os.getpid()))


def write_all(handle: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(handle, view) :]


def read_all(handle: int) -> bytes:
    parts: List[bytes] = []
    while True:
        part = os.read(handle, 65536)
        if not part:
            return b"".join(parts)
        parts.append(part)


def slurp(path: str) -> bytes:
    """A whole small file, in four system calls where `open` makes ten: a restart reads a dozen of them."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return read_all(handle)
    finally:
        os.close(handle)


def read_range(path: str, offset: int, size: int) -> Tuple[bytes, int]:
    """Bytes from offset, and the file's size; a file that is not there is empty."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return b"", 0
    try:
        return os.pread(handle, size, offset), os.fstat(handle).st_size
    finally:
        os.close(handle)


def read_tail(path: str, size: int) -> Tuple[int, bytes]:
    """The last bytes of a file, and where they begin; a file that is not there is empty."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0, b""
    try:
        begin = max(0, os.fstat(handle).st_size - size)
        return begin, os.pread(handle, size, begin)
    finally:
        os.close(handle)


def wait_readable(handle: int, seconds: float) -> None:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    poll.poll(seconds * 1000)


def sync_folder(path: str) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def dump(value: Any) -> bytes:
    """Canonical JSON: the same value has the same bytes, and so the same hash, everywhere."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def close_all_but(keep: Iterable[int]) -> None:
    kept = set(keep)
    for handle in [int(name) for name in os.listdir("/proc/self/fd")]:
        if handle not in kept:
            with contextlib.suppress(OSError):  # the listing's own descriptor is gone by now
                os.close(handle)


def remove_tree(path: str) -> None:
    if os.path.lexists(path):
        import shutil

        shutil.rmtree(path)


def with_last_words(path: str, life: Callable[[], None]) -> None:
    """Live, and end. What went wrong is written down, for nobody listens to this process."""
    try:
        life()
    except BaseException:  # noqa: BLE001 - nobody is left to raise it to
        import traceback  # large, and each of our processes would carry it

        with open(path, "w") as file:
            file.write(traceback.format_exc())
    finally:
        os._exit(0)
