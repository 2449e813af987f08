"""Interim: the agent as one file, joined from the modules beside it until the daemon ships the package."""
# ruff: noqa
# mypy: ignore-errors

"""Judgement: facts in, verdict out. Every decision about an attempt on a host, and not one system call.

What state is it in, how did a run end, is it restarted and when, who is signalled, what does a job see: each is a
function of its arguments, so that a simulator can put a thousand odd worlds before it.
"""

import os
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Set

Json = Dict[str, Any]

# What a job gets of the login's environment. Not RANK, SLURM_* and their like: an agent inside an allocation must not
# make every job believe that it is a part of it. Proxies and library paths are how clusters are wired.
INHERITED = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "http_proxy", "https_proxy", "no_proxy", "all_proxy"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
)


class Identity(NamedTuple):
    """A process that cannot be mistaken for a later one with the same number (within one boot)."""

    pid: int
    ticks: int  # start, in clock ticks after boot: field 22 of /proc/PID/stat, proc(5)


class Process(NamedTuple):
    """One line of the process table."""

    identity: Identity
    parent: int
    session: int
    dead: bool  # a zombie has ended, whatever its parent does
    marked: bool  # same user, and its environment names the attempt


class Facts(NamedTuple):
    """What the files of an attempt and /proc say."""

    ending: Optional[Json]  # exit.json
    claimed: bool
    tomb: bool
    same_boot: bool
    supervised: bool
    alive: bool  # shim or job of the last run
    runs: int
    stop: bool
    backoff: bool


def judge(facts: Facts) -> str:
    """The state's name. Endings first: they are final; then what cannot be true any more; then what lives."""
    if facts.ending is not None:
        return "lost" if facts.ending["lost"] else "exited"
    if not facts.claimed:
        return "absent"
    if facts.tomb:
        return "revoked"
    if not facts.same_boot:
        return "rebooted"
    if facts.stop:
        return "stopping"
    if not facts.runs:
        return "claimed"
    if facts.supervised and facts.backoff and not facts.alive:
        return "restarting"
    return "running"  # without a supervisor, too: only exit.json says that it ended


def how_it_ended(testimony: Optional[Json], status: Optional[int], recorded: bool) -> Json:
    """Rc, signal, error and executed of a run, from the best witness.

    The shim's file is exact. A wait status seen by the supervisor is the second best: the shim's, which mirrors the
    job's, or the orphaned job's own. Without either nobody knows, unless the run was never recorded: then the gate
    never opened.
    """
    end: Json = {"rc": None, "signal": None, "error": None, "executed": recorded}
    if testimony is not None and testimony.get("unstarted"):
        end["executed"] = False
    elif testimony is not None:
        end.update({name: testimony.get(name) for name in ("rc", "signal", "error")})
        end["executed"] = end["error"] is None
    elif status is not None and recorded:
        if os.WIFSIGNALED(status):
            end["signal"] = os.WTERMSIG(status)
        else:
            end["rc"] = os.WEXITSTATUS(status)
    return end


class Policy(NamedTuple):
    """When a crashed job is restarted on this host; frozen with the spec."""

    restarts_max: int
    backoff_s: float
    backoff_s_max: float
    healthy_s: float  # a run of this length starts the backoff afresh, but not the budget


class Step(NamedTuple):
    """Restart at a boottime, or end the attempt, perhaps with a word why no further restart is made."""

    restart_at: Optional[float]
    gave_up: Optional[str] = None


def next_step(policy: Policy, ends: List[Json], secrets_lost: bool) -> Step:
    """What follows the last of these ends of runs. Success ends, what nobody saw ends (it may have been a success)."""
    last = ends[-1]
    if last["rc"] == 0 or (last["executed"] and words(last) == "unseen"):
        return Step(None)
    if last["error"]:
        return Step(None, last["error"])
    if len(ends) > policy.restarts_max:
        times = "once" if len(ends) == 1 else "{} times".format(len(ends))
        return Step(None, "crashed {}, last {}; restarts allowed: {}".format(times, words(last), policy.restarts_max))
    if secrets_lost:
        return Step(None, "the supervisor was killed, and the secrets for a restart with it")
    streak = 0
    for end in reversed(ends):
        if end["duration_s"] >= policy.healthy_s:
            break
        streak += 1
    wait = min(policy.backoff_s * 2.0 ** max(0, min(streak, 64) - 1), policy.backoff_s_max)
    return Step(last["ended"] + (wait if last["executed"] else 0.0))


def words(end: Json) -> str:
    if end["signal"] is not None:
        return "signal {}".format(end["signal"])
    return "unseen" if end["rc"] is None else "exit code {}".format(end["rc"])


def who_to_signal(table: Iterable[Process], known: Set[Identity], keeper: int) -> List[Identity]:
    """The living processes of an attempt. Five nets, because real jobs have slipped through each of them alone.

    `known` are the shim and job on record, `keeper` the supervisor asking. Ours is what is known, carries the marker,
    is in the session of a known process that is still in the table (a zombie holds its number too, so the session
    cannot be another's), is a child of the supervisor (a subreaper gets orphans), or descends from any of these. Never
    the supervisor itself or its ancestors.
    """
    by_pid = {process.identity.pid: process for process in table}
    spared = set()
    above = by_pid.get(keeper)
    while above is not None and above.identity.pid not in spared:
        spared.add(above.identity.pid)
        above = by_pid.get(above.parent)
    sessions = {one.pid for one in known if one.pid in by_pid and by_pid[one.pid].identity == one}
    ours: Set[int] = set()
    grown = True
    while grown:
        grown = False
        for process in by_pid.values():
            pid = process.identity.pid
            if pid in ours or pid in spared or pid == 1:
                continue
            born_here = process.parent in ours or process.parent == keeper
            if process.identity in known or process.marked or process.session in sessions or born_here:
                ours.add(pid)
                grown = True
    return sorted(by_pid[pid].identity for pid in ours if not by_pid[pid].dead)


def environment(login: Dict[bytes, bytes], spec: Json, secrets: Json, place: Json) -> Dict[bytes, bytes]:
    """A job's environment: a little of the login's, then the template's, then secrets, then what names the attempt."""
    env = {name: login[name] for name in map(str.encode, INHERITED) if name in login}
    given = dict(spec.get("env") or {})
    given.update(secrets)
    given = {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1", "WANDB_RESUME": "allow", **given}
    given.setdefault("WANDB_RUN_ID", place["id"])
    library = given.get("PYTHONPATH")
    given["PYTHONPATH"] = place["library"] + (":" + library if library else "")
    given.update(
        SHEETD_ID=place["id"],
        SHEETD_ATTEMPT=place["attempt"],
        SHEETD_MARKER=place["marker"],
        SHEETD_RESTART=str(place["k"]),
        SHEETD_RESUME="1" if place["resume"] else "0",
        SHEETD_OUTPUT_DIR=place["out"],
        CHECKPOINT_DIR=place["checkpoints"],
        SHEETD_METRICS_FILE=place["metrics"],
        SHEETD_PARAMS_FILE=place["params"],
    )
    if place["resume"]:
        given["SHEETD_RESUME_DIR"] = place["resume"]
    env.update({as_bytes(name): as_bytes(value) for name, value in given.items()})
    return env


def as_bytes(text: str) -> bytes:
    """UTF-8 whatever the host's locale says, so that a cell reaches argv byte for byte."""
    return text.encode("utf-8", "surrogateescape")

"""Metrics as points: from the lines that a job's library appended, or from its log by a template's regexes.

Both files are hostile input. Only finite numbers leave here as numbers; a line that is no metric is passed over, and no
line can be long enough to keep a regex busy.
"""

import json
import math
from typing import Any, Dict, List, Optional, Tuple

LINE_BYTES_MAX = 4096
VALUES_MAX = 64
NAME_CHARACTERS_MAX = 64

Json = Dict[str, Any]


def point_of(line: bytes) -> Optional[Json]:
    """A metrics line as a point, or None.

    The job's file is hostile input, and only finite numbers leave here as numbers.
    """
    try:
        said = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or not isinstance(said.get("values"), dict):
        return None
    values = {
        name: value for name, value in said["values"].items() if is_number(value) and len(name) <= NAME_CHARACTERS_MAX
    }
    odd = said.get("nonfinite")
    odd = odd if isinstance(odd, dict) else {}
    odd = {
        name: word for name, word in odd.items() if word in ("nan", "inf", "-inf") and len(name) <= NAME_CHARACTERS_MAX
    }
    if not (values or odd) or len(values) + len(odd) > VALUES_MAX:
        return None
    point: Json = {"k": said["k"] if isinstance(said.get("k"), int) else 0, "values": values}
    point.update({name: said[name] if is_number(said.get(name)) else None for name in ("step", "t")})
    if odd:
        point["nonfinite"] = odd
    return point


def is_number(value: Any) -> bool:
    return (
        isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e308 and math.isfinite(value)
    )


def scan_line(line: bytes, patterns: List[Tuple[str, Any]], k: int) -> Optional[Json]:
    """The point that a template's regexes find in a line of the log; a metric named `step` is the step."""
    values, odd = {}, {}
    for name, pattern in patterns:
        found = pattern.search(line)
        if found is None or not found.groups() or found.group(1) is None:
            continue
        try:
            number = float(found.group(1).decode("ascii"))
        except ValueError:
            continue
        if math.isfinite(number):
            values[name] = number
        else:
            odd[name] = str(number)
    step = values.pop("step", None)
    if not values and not odd:
        return None
    point: Json = {"k": k, "step": step, "t": None, "values": values}
    if odd:
        point["nonfinite"] = odd
    return point

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
from typing import Any, Dict, Optional, Tuple


ATTEMPT = re.compile(r"^([a-z0-9]{4,20})\.([0-9]{1,6})\Z")
SHA = re.compile(r"^[0-9a-f]{64}\Z")
UNFINISHED = (".tmp", ".part", ".partial", ".incomplete", "-tmp-")  # checkpoints being written: job.py says the same

Json = Dict[str, Any]


class Refused(Exception):  # noqa: N818 - an answer in the protocol's words, not a failure of ours
    """Answered as `{"error": {"code", "message"}}`; the message says what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


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
        """A JSON file of ours, or None. It is never torn: each is made by link(2) or rename(2)."""
        try:
            with open(self.at(name), "rb") as file:
                loaded: Json = json.loads(file.read().decode("utf-8"))
        except FileNotFoundError:
            return None
        return loaded

    def runs(self) -> int:
        """How many runs were started; their numbers have no gaps. 0 again for an ended attempt that was forgotten."""
        count = 0
        while self.has("started.{}".format(count)):
            count += 1
        return count

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

"""The world: every effect on it that decides something, and every fact from /proc.

Tests that kill us between any two steps, and the simulator, stand in for `System`. It decides nothing.
"""

import contextlib
import ctypes
import json
import os
import time
from typing import Any, Dict, Iterable, List, Optional, Tuple


Json = Dict[str, Any]


class System:
    """Every effect on the world and every fact from /proc. Tests and the simulator stand in for it."""

    PIDFD_OPEN, PIDFD_SEND_SIGNAL = 434, 424  # the same numbers on every architecture but Alpha
    PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 15, 36  # prctl(2)

    def __init__(self) -> None:
        self.libc = ctypes.CDLL(None, use_errno=True)
        probe = self.pidfd(os.getpid())
        self.has_pidfd = probe is not None
        if probe is not None:
            os.close(probe)

    def boottime(self) -> float:
        """Seconds since boot, suspend included; the only clock that intervals are taken from."""
        return time.clock_gettime(7)  # CLOCK_BOOTTIME, unnamed before Python 3.7

    def boot(self) -> Json:
        """What differs after every reboot, of the machine or of the container we are in."""
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot_id = file.read().strip()
        first = self.process(1)
        return {
            "boot_id": boot_id,
            "pidns": os.readlink("/proc/self/ns/pid"),
            "pid1_ticks": first.identity.ticks if first else None,  # hidden by hidepid=2
        }

    def process(self, pid: int, marker: Optional[bytes] = None) -> Optional[Process]:
        try:
            with open("/proc/{}/stat".format(pid), "rb") as file:
                fields = file.read().rpartition(b")")[2].split()  # the name before it may hold anything
        except OSError:
            return None
        if len(fields) < 20:
            return None
        return Process(
            identity=Identity(pid, int(fields[19])),
            parent=int(fields[1]),
            session=int(fields[3]),
            dead=fields[0] in (b"Z", b"X", b"x"),
            marked=marker is not None and self.is_marked(pid, marker),
        )

    def is_marked(self, pid: int, marker: bytes) -> bool:
        try:
            if os.stat("/proc/{}".format(pid)).st_uid != os.geteuid():
                return False
            with open("/proc/{}/environ".format(pid), "rb") as file:
                return marker in file.read().split(b"\0")
        except OSError:  # gone, or not ours to read
            return False

    def table(self, marker: bytes) -> List[Process]:
        found = (self.process(int(name), marker) for name in os.listdir("/proc") if name.isdigit())
        return [process for process in found if process is not None]

    def alive(self, identity: Optional[Identity]) -> bool:
        found = self.process(identity.pid) if identity else None
        return found is not None and found.identity == identity and not found.dead

    def children(self) -> Optional[List[int]]:
        """Our direct children, zombies too; None where the kernel does not list them."""
        try:
            with open("/proc/self/task/{}/children".format(os.getpid())) as file:
                return [int(pid) for pid in file.read().split()]
        except OSError:
            return None

    def oom_kills(self) -> int:
        """How often the kernel killed for memory: in our cgroup if it counts, else on the machine."""
        places = ["/proc/vmstat"]
        with contextlib.suppress(OSError):
            with open("/proc/self/cgroup") as file:
                own = [line.strip().split("::")[1] for line in file if line.startswith("0::")]
            places[:0] = ["/sys/fs/cgroup{}/memory.events".format(path) for path in own]
        for place in places:
            with contextlib.suppress(OSError), open(place) as file:
                for line in file:
                    if line.startswith("oom_kill "):
                        return int(line.split()[1])
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

    def fork(self, role: str) -> int:
        pid = os.fork()
        if pid == 0 and role != "job":
            self.become(role)
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
        folder, name = os.path.split(path)
        fresh = os.path.join(folder, ".{}.{}".format(name, os.getpid()))
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            write_all(handle, content)
            if durable:
                os.fsync(handle)
        finally:
            os.close(handle)
        return fresh

    def claim(self, fresh: str, folder: str) -> None:
        """The rename that makes an attempt exist. OSError ENOTEMPTY when it does already."""
        os.rename(fresh, folder)
        sync_folder(os.path.dirname(folder))

    def open_gate(self, gate: int) -> None:
        with contextlib.suppress(BrokenPipeError):  # the job process was killed while it waited
            os.write(gate, b"1")


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

"""The shim: the job's parent, which waits for it and testifies how it ended, whatever happens to the supervisor.

It is the smallest process of the family on purpose: it holds no lock, decides nothing and writes one file.
"""

import contextlib
import json
import os
import signal
from typing import Any, Dict, List, NamedTuple, NoReturn


Json = Dict[str, Any]


class Command(NamedTuple):
    """What a run executes."""

    argv: List[bytes]
    env: Dict[bytes, bytes]
    folder: str
    umask: int  # the login's, not our 077


def shim(
    system: System,
    attempt: Attempt,
    k: int,
    command: Command,
    gate: int,
    report: int,
) -> NoReturn:
    """The job's parent: leads its session, starts it when the gate opens, and testifies how it ended. Never returns."""
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        close_all_but((0, 1, 2, gate, report))
        os.setsid()
        trouble, trouble_in = os.pipe()
        job = system.fork("job")
        if job == 0:
            os.close(report)
            become_job(attempt, command, gate, trouble_in)
        for handle in (gate, trouble_in):
            os.close(handle)
        os.write(report, str(job).encode("ascii"))
        os.close(report)
        said = read_all(trouble)  # at its end the job was executed, or could not be and says why
        status = os.waitpid(job, 0)[1]
        testimony: Json = {"at": system.boottime(), "rc": None, "signal": None}
        if said:
            testimony.update(json.loads(said.decode("utf-8")))
        elif os.WIFSIGNALED(status):
            testimony["signal"] = os.WTERMSIG(status)
        else:
            testimony["rc"] = os.WEXITSTATUS(status)
        system.replace(attempt.at("rc.{}".format(k)), dump(testimony))
        os._exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))
    finally:
        os._exit(70)


def become_job(attempt: Attempt, command: Command, gate: int, trouble: int) -> NoReturn:
    """Wait for the gate, then become the job, with nothing of ours but stdout and stderr. Never returns."""
    argv, env, folder, umask = command
    said: Json = {"unstarted": True}
    try:
        os.setpgid(0, 0)  # a job that signals its own group must not reach the shim
        if os.read(gate, 1) == b"1":
            said = {"error": "an internal error before the job was executed", "rc": 127}
            log = os.open(attempt.at("log"), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            os.dup2(log, 1)
            os.dup2(log, 2)
            for number in range(1, signal.NSIG):
                with contextlib.suppress(OSError, ValueError):  # KILL, STOP and those that the C library keeps
                    signal.signal(number, signal.SIG_DFL)  # Python ignores SIGPIPE, and exec hands that on
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            os.umask(umask)
            os.chdir(folder)
            os.execvpe(argv[0], argv, env)  # noqa: S606 - no shell is wanted
    except (OSError, ValueError) as error:
        what = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        name = argv[0].decode("utf-8", "replace")
        said = {"error": "cannot execute {!r} in {}: {}".format(name, folder, what), "rc": 127}
    finally:
        os.write(trouble, dump(said))
        os._exit(125)

"""The supervisor: keeps one attempt. It starts, waits without polling, restarts, stops, and writes down how it ended.

It outlives every connection and every agent, and may itself be killed at any point: `agent.py` tells why each of its
steps is where it is. It must not signal what it cannot prove to be of its attempt, and must not say that a run ended
before nothing of it is left.

Weak: it wakes for nothing but ends, knocks and deadlines, so a job that fills the disk is not its business.
"""

import contextlib
import errno
import gc
import math
import os
import select
import signal
from typing import Any, Dict, List, NamedTuple, Optional


LEFTOVER_GRACE_S = 5.0  # between TERM and KILL for what a finished job left behind
UNKILLABLE_S = 60.0

Json = Dict[str, Any]


class Run(NamedTuple):
    """One execution of the job, number k of its attempt."""

    k: int
    shim: Optional[Identity]
    job: Optional[Identity]
    mine: bool  # forked by this supervisor, not adopted


class Supervisor:
    """Keeps one attempt: starts it, waits without polling, restarts it, stops it, and writes down how it ended."""

    def __init__(self, system: System, attempt: Attempt, lock: int, secrets: Optional[Json], umask: int) -> None:
        self.system = system
        self.attempt = attempt
        self.lock = lock
        self.secrets = secrets
        self.umask = umask
        self.boot = system.boot()
        self.spec: Json = attempt.load("spec.json") or {}
        self.claim: Json = attempt.load("claim.json") or {}
        self.marker = "SHEETD_MARKER={}".format(self.claim["marker"]).encode("ascii")
        restarts = self.spec.get("restarts") or {}
        self.policy = Policy(
            int(restarts.get("max", 0)),
            float(restarts.get("backoff_s", 1)),
            float(restarts.get("backoff_max_s", 300)),
            float(restarts.get("healthy_s", 600)),
        )
        self.told: Dict[Identity, int] = {}
        self.terminated = False  # SIGTERM came to us: the host is going down, or somebody wants us gone
        self.reaper = False
        self.run: Optional[Run] = None
        self.orphan_status: Optional[int] = None  # the job's, when its shim was killed and we inherited it

    def keep(self, ready: int) -> None:
        """The supervisor's whole life."""
        self.settle_in(ready)
        if self.attempt.has("exit.json"):
            return
        runs = self.attempt.runs()
        if runs:
            run = Run(runs - 1, *self.attempt.who(runs - 1), mine=False)
        else:
            if self.stop_wanted():
                self.system.publish(self.attempt.at("tomb"), b"stopped before its start\n", durable=True)
                return
            run = self.start(0)
        with contextlib.suppress(BrokenPipeError):  # the agent need not wait for us
            os.write(ready, b"1")
        os.close(ready)
        while True:
            end = self.follow(run)
            step = next_step(self.policy, self.ends(), self.secrets_lost())
            if step.restart_at is None or not self.pause(end, step.restart_at):
                self.finish(run, end, step)
                return
            run = self.start(run.k + 1)

    def settle_in(self, ready: int) -> None:
        """Nothing of the connection is kept: no descriptor, no directory, no signal of the terminal."""
        gc.collect()
        getattr(gc, "freeze", gc.collect)()  # Python 3.7: forked pages stay shared
        null = os.open(os.devnull, os.O_RDWR)
        for handle in (0, 1, 2):
            os.dup2(null, handle)
        close_all_but((0, 1, 2, self.lock, ready))
        os.chdir("/")
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        self.wakeup, wakeup_in = os.pipe()
        os.set_blocking(self.wakeup, False)
        os.set_blocking(wakeup_in, False)
        signal.set_wakeup_fd(wakeup_in)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self.on_terminate)
        self.knock = os.open(self.attempt.at("wake"), os.O_RDWR | os.O_NONBLOCK)  # both ends: never at end of file
        self.reaper = self.system.reap_orphans()
        former = self.attempt.load("supervisor.json") or {}  # whom we replace was where we go on
        self.note(former.get("phase", "starting"), former.get("restart_at"), former.get("reason"))

    def on_terminate(self, *_: Any) -> None:
        self.terminated = True

    def note(self, phase: str, restart_at: Optional[float] = None, reason: Optional[str] = None) -> None:
        """Say who keeps the attempt and what it waits for; read by `state`, never needed for a decision."""
        me = self.system.process(os.getpid())
        content = {
            "keeper": me.identity if me else None,
            "phase": phase,
            "restart_at": restart_at,
            "reason": reason,
        }
        self.system.replace(self.attempt.at("supervisor.json"), dump(content))

    def stop_wanted(self) -> Optional[Json]:
        """The order to stop, if there is one by now."""
        if self.terminated and not self.attempt.has("stop.json"):
            reason = "ended by SIGTERM to its supervisor: the host shuts down, or somebody on it wanted this"
            grace = min(float(self.spec.get("grace_s", 60)), 60.0)
            content = {"at": self.system.boottime(), "grace_s": grace, "asked": False, "reason": reason}
            self.system.replace(self.attempt.at("stop.json"), dump(content))
        return self.attempt.load("stop.json")

    def ends(self) -> List[Json]:
        loaded = [self.attempt.load("exit.{}.json".format(k)) for k in range(self.attempt.runs())]
        return [end for end in loaded if end is not None]

    def secrets_lost(self) -> bool:
        return self.secrets is None and bool(self.claim["secret_names"])

    def start(self, k: int) -> Run:
        """Start run k. Dying anywhere before the gate opens leaves a run that was provably never executed."""
        attempt = self.attempt
        started = {"at": self.system.boottime(), "log": os.stat(attempt.at("log")).st_size}
        started["oom_kills"] = self.system.oom_kills()
        if not self.system.publish(attempt.at("started.{}".format(k)), dump(started)):
            raise RuntimeError(
                "run {} of {} was started by somebody else while we held its lock".format(k, attempt.name)
            )
        command = self.command(k)
        gate, gate_in = os.pipe()
        report_out, report = os.pipe()
        pid = self.system.fork("shim")
        if pid == 0:
            shim(self.system, attempt, k, command, gate, report)
        os.close(gate)
        os.close(report)
        said = read_all(report_out)
        os.close(report_out)
        parent, child = self.system.process(pid), self.system.process(int(said)) if said else None
        run = Run(k, parent.identity if parent else None, child.identity if child else None, mine=True)
        if run.shim and run.job:
            proc = {"shim": run.shim, "job": run.job, "boot": self.boot}
            self.system.replace(attempt.at("proc.{}.json".format(k)), dump(proc))
            self.system.open_gate(gate_in)
        os.close(gate_in)
        self.run, self.told, self.orphan_status = run, {}, None
        self.note("running")
        return run

    def command(self, k: int) -> Command:
        attempt, spec = self.attempt, self.spec
        resume = attempt.resume_folder(k, bool(spec.get("resume", True)))
        out = os.path.join(attempt.home, "out")
        home = attempt.working_copy(spec["code"]) if spec.get("code") else out
        place = {
            "id": attempt.experiment,
            "attempt": attempt.name,
            "marker": self.claim["marker"],
            "k": k,
            "resume": resume,
            "out": out,
            "checkpoints": attempt.checkpoints(attempt.number),
            "metrics": attempt.at("metrics.jsonl"),
            "params": attempt.at("params.json"),
            "library": os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"),
        }
        argv = (resume and spec.get("resume_argv")) or spec["argv"]
        env = environment(dict(os.environb), spec, self.secrets or {}, place)
        return Command([as_bytes(word) for word in argv], env, os.path.join(home, spec.get("cwd") or ""), self.umask)

    def follow(self, run: Run) -> Json:
        """Wait for the end of run k, obeying a stop meanwhile, and write it down once nothing of the run is left."""
        done = self.attempt.load("exit.{}.json".format(run.k))
        if done is not None:  # adopted after its end
            return done
        while True:
            alive = [one for one in (run.shim, run.job) if one and self.system.alive(one)]
            if not alive:
                break
            stop = self.stop_wanted()
            self.wait(alive, self.obey(run, stop) if stop is not None else None)
        ended = self.system.boottime()
        self.reap()
        status = self.shim_status(run)
        status = self.orphan_status if status is None else status
        testimony = self.attempt.load("rc.{}".format(run.k))
        started = self.attempt.load("started.{}".format(run.k)) or {}
        end = how_it_ended(testimony, status, recorded=run.job is not None)
        end["witness"] = "supervisor" if run.mine else "shim"
        end["ended"] = (testimony or {}).get("at", ended)
        end["duration_s"] = max(0.0, end["ended"] - started.get("at", ended))
        grown = self.system.oom_kills() > started.get("oom_kills", 0)
        end["oom"] = end["signal"] == signal.SIGKILL and grown and signal.SIGKILL not in self.told.values()
        self.clear(run, thorough=False)
        self.system.replace(self.attempt.at("exit.{}.json".format(run.k)), dump(end))
        return end

    def shim_status(self, run: Run) -> Optional[int]:
        """The shim's wait status, without reaping it.

        It stays a zombie until `clear` is through: as long as it is one, its number, which is also the session's,
        cannot be given to anybody else. None for a shim that was killed: it had nothing to say about the job.
        """
        if not run.mine or run.shim is None:
            return None
        status = os.waitid(os.P_PID, run.shim.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return int(status.si_status) << 8 if status is not None and status.si_code == os.CLD_EXITED else None

    def reap(self) -> List[int]:
        """Reap every ended child but the shim, so that orphans do not pile up; returns the living ones."""
        run = self.run
        children = self.system.children()
        if children is None:
            table = self.system.table(self.marker)
            children = [process.identity.pid for process in table if process.parent == os.getpid()]
        living = []
        for pid in children:
            if run is not None and run.mine and run.shim is not None and pid == run.shim.pid:
                continue
            with contextlib.suppress(ChildProcessError):
                reaped, status = os.waitpid(pid, os.WNOHANG)
                if not reaped:
                    living.append(pid)
                elif run is not None and run.job is not None and pid == run.job.pid:
                    self.orphan_status = status
        return living

    def obey(self, run: Run, stop: Json) -> float:
        """Carry a stop further.

        TERM to everything, KILL after the grace. Returns seconds until it needs another look.
        """
        left = float(stop["at"] + stop["grace_s"] - self.system.boottime())
        targets = self.targets(run)
        others = [one for one in targets if one != run.shim]  # the shim must live to testify; it ends with its job
        stuck = left < -2.0
        self.send(others if others or not stuck else targets, signal.SIGTERM if left > 0 else signal.SIGKILL)
        if -left > UNKILLABLE_S:
            self.note("stopping", reason="{} processes survive SIGKILL (stuck in the kernel?)".format(len(targets)))
        return left if left > 0 else min(max(-left, 0.05), 5.0)

    def targets(self, run: Run) -> List[Identity]:
        known = {one for one in (run.shim, run.job) if one}
        return who_to_signal(self.system.table(self.marker), known, os.getpid())

    def send(self, targets: List[Identity], number: int) -> None:
        for one in targets:
            if self.told.get(one) != number:
                self.told[one] = number
                self.system.signal(one, number)

    def clear(self, run: Run, thorough: bool) -> None:
        """Return only when nothing of the run is left: TERM, a short grace, KILL, for whatever outlived the job.

        Our own children tell it without a look at the whole process table: as a subreaper we inherit every orphan of
        a run that we forked. That makes a restart prompt; the end of the attempt looks thoroughly.
        """
        begun = self.system.boottime()
        patience = begun + min(float(self.spec.get("grace_s", 60)), LEFTOVER_GRACE_S)
        stop = self.stop_wanted()
        if stop is not None:
            patience = min(patience, stop["at"] + stop["grace_s"])
        while True:
            if not self.reap() and self.reaper and run.mine and not thorough:
                break
            left = self.targets(run)
            if not left:
                break
            now = self.system.boottime()
            self.send(left, signal.SIGTERM if now < patience else signal.SIGKILL)
            if now - patience > UNKILLABLE_S:
                self.note("clearing", reason="{} processes survive SIGKILL (stuck in the kernel?)".format(len(left)))
            self.wait(left[:32], 0.05 if now - begun < 1.0 else 0.5)
        if run.mine and run.shim is not None:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(run.shim.pid, os.WNOHANG)

    def pause(self, end: Json, until: float) -> bool:
        """Wait out the backoff. False when a stop came first."""
        if until > self.system.boottime():
            self.note("backoff", restart_at=until, reason="crashed with {}".format(words(end)))
        while not self.stop_wanted():
            left = until - self.system.boottime()
            if left <= 0:
                return True
            self.wait([], left)
        return False

    def wait(self, processes: List[Identity], timeout: Optional[float]) -> None:
        """Sleep until one of these ends, a child ends, somebody knocks, or the time is over."""
        poll = select.poll()
        poll.register(self.wakeup, select.POLLIN)
        poll.register(self.knock, select.POLLIN)
        pidfds = [handle for handle in (self.system.pidfd(one.pid) for one in processes) if handle is not None]
        for handle in pidfds:
            poll.register(handle, select.POLLIN)
        if processes and not self.system.has_pidfd:
            timeout = 1.0 if timeout is None else min(timeout, 1.0)
        if all(self.system.alive(one) for one in processes):  # after the pidfds were opened: none of them is another's
            poll.poll(None if timeout is None else math.ceil(max(0.0, timeout) * 1000))
        for handle in pidfds:
            os.close(handle)
        for handle in (self.wakeup, self.knock):
            with contextlib.suppress(BlockingIOError):
                os.read(handle, 4096)
        self.reap()

    def finish(self, run: Run, end: Json, step: Step) -> None:
        """Write the end of the attempt, which nothing follows."""
        self.clear(run, thorough=True)
        stop = self.stop_wanted()
        if stop is not None and stop["at"] > end["ended"] and step.restart_at is None:
            stop = None  # it came when the end was a fact already
        unseen = stop is None and words(end) == "unseen" and not end["error"]
        reason = stop["reason"] if stop is not None else None
        if unseen:
            reason = "nobody saw how it ended: its supervisor and its shim were killed"
            if not end["executed"]:
                reason = "it was never executed: its supervisor was killed before the start"
        content = dict(end)
        content.update(
            stopped=stop is not None and stop["asked"],
            lost=unseen,
            gave_up=None if stop is not None else step.gave_up,
            restarts=run.k,
            reason=reason,
            boot=self.boot,
        )
        while not self.recorded(content):
            self.wait([], 5.0)

    def recorded(self, content: Json) -> bool:
        """Whether exit.json could be written. On a full disk the reserve gives back the blocks that it needs."""
        try:
            self.system.publish(self.attempt.at("exit.json"), dump(content), durable=True)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.attempt.at("reserve"))
                return self.recorded(content)
            self.note("clearing", reason="cannot record the end: the disk is full")
            return False
        return True

"""Code on its way to a host: pieces of a tar.gz in, a folder named by its hash out, or nothing.

What arrives was packed by the daemon, but from a working tree that anybody may have prepared: nothing may be written
outside the folder, by no name and through no link.
"""

import base64
import hashlib
import os
from typing import Any, Dict, List, Tuple


CODE_BYTES_MAX = 4 << 30
CODE_MEMBERS_MAX = 200000

Json = Dict[str, Any]


class CodeStore:
    """The folder code/: one folder for each hash, and beside it what has arrived of the next ones."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def has_code(self, request: Json) -> Json:
        part, whole = self.code_paths(request["sha"])
        if os.path.isdir(whole):
            return {"complete": True, "have": 0}
        return {"complete": False, "have": read_range(part, 0, 0)[1]}

    def code_paths(self, sha: Any) -> Tuple[str, str]:
        if not isinstance(sha, str) or not SHA.match(sha):
            raise Refused("bad_request", "{!r} is no sha256".format(sha))
        whole = os.path.join(self.folder, sha)
        return whole + ".part", whole

    def put_code(self, request: Json) -> Json:
        """One more piece of a code archive; the last one makes it the folder code/<sha>."""
        part, whole = self.code_paths(request["sha"])
        data, total = base64.b64decode(request["data_base64"], validate=True), int(request["total"])
        if os.path.isdir(whole):
            return {"have": total}
        handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            have = os.fstat(handle).st_size
            if have != int(request["offset"]) or have + len(data) > total:
                return {"have": have}
            os.lseek(handle, 0, os.SEEK_END)
            write_all(handle, data)
            have += len(data)
        finally:
            os.close(handle)
        if have == total:
            self.unpack(part, whole, request["sha"])
        return {"have": have}

    def unpack(self, part: str, whole: str, sha: str) -> None:
        fresh = whole + ".new"
        remove_tree(fresh)
        try:
            check_hash(part, sha)
            unpack_safely(part, fresh)
        except Refused:
            remove_tree(fresh)
            os.unlink(part)
            raise
        os.sync()  # every file at once: after a power cut the folder must not be there with holes in it
        os.rename(fresh, whole)
        sync_folder(self.folder)
        os.unlink(part)


def check_hash(path: str, sha: str) -> None:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            digest.update(piece)
    if digest.hexdigest() != sha:
        raise Refused("bad_code", "the code arrived damaged: its hash is not {}".format(sha[:12]))


def unpack_safely(archive: str, folder: str) -> None:
    """Unpack files, folders and links that stay inside; refuse an archive with anything else, whole.

    Links are made last, so that nothing is ever written through one, and then each is resolved and must end inside.
    """
    import tarfile

    os.makedirs(folder, mode=0o700)
    links: List[Tuple[str, str]] = []
    size, count = 0, 0
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                size, count = size + member.size, count + 1
                if size > CODE_BYTES_MAX or count > CODE_MEMBERS_MAX:
                    raise Refused("bad_code", "the code archive unpacks to too much")
                target = os.path.join(folder, inside_path(member.name))
                if member.issym():
                    links.append((member.linkname, target))
                elif member.isdir():
                    os.makedirs(target, mode=0o700, exist_ok=True)
                elif member.isreg():
                    write_member(target, tar.extractfile(member), 0o700 if member.mode & 0o100 else 0o600)
                else:
                    raise Refused("bad_code", "the code archive holds a device or hard link: {!r}".format(member.name))
        for name, target in links:
            os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
            os.symlink(name, target)
    except (tarfile.TarError, EOFError, ValueError, FileExistsError, NotADirectoryError) as error:
        raise Refused("bad_code", "the code archive cannot be unpacked: {}".format(error))
    inside = os.path.realpath(folder) + os.sep
    for name, target in links:
        if os.path.isabs(name) or not (os.path.realpath(target) + os.sep).startswith(inside):
            raise Refused("bad_code", "a link in the code archive leaves its folder: {!r}".format(name))


def inside_path(name: str) -> str:
    path = os.path.normpath(name)
    if os.path.isabs(path) or path.split(os.sep)[0] == ".." or "\0" in path:
        raise Refused("bad_code", "the code archive leaves its folder: {!r}".format(name))
    return path


def write_member(path: str, source: Any, mode: int) -> None:
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        for piece in iter(lambda: source.read(1 << 20), b""):
            write_all(handle, piece)
    finally:
        os.close(handle)

"""What a launch may ask for. A mistake must show here, in the answer, and not in a half-made start."""

import re
from typing import Any, Dict


ENV_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*\Z")

Json = Dict[str, Any]


def checked_spec(spec: Any) -> Json:
    """The spec, or a refusal that names what is wrong: a mistake must show at the launch, not in a half-made start."""

    def need(good: bool, what: str) -> None:
        if not good:
            raise Refused("bad_request", "spec: {}".format(what))

    def is_text(value: Any) -> bool:
        return isinstance(value, str) and "\0" not in value

    need(isinstance(spec, dict), "not an object")
    for name in ("argv", "resume_argv"):
        argv = spec.get(name)
        absent = argv is None and name == "resume_argv"
        need(
            absent or (isinstance(argv, list) and bool(argv) and all(map(is_text, argv))), name + " is no list of texts"
        )
    check_environment(spec.get("env") or {})
    code, cwd = spec.get("code"), spec.get("cwd")
    need(code is None or (isinstance(code, str) and SHA.match(code) is not None), "code is no sha256")
    need(cwd is None or (is_text(cwd) and ".." not in cwd.split("/")), "cwd is no path below the code")
    restarts = spec.get("restarts") or {}
    for name, value in {**restarts, "grace_s": spec.get("grace_s", 60)}.items():
        need(is_number(value) and value >= 0, "{} is no number of at least 0".format(name))
    for metric in spec.get("metrics") or []:
        need(is_text(metric.get("name")) and is_text(metric.get("regex")), "a metric needs name and regex")
        try:
            re.compile(metric["regex"].encode("utf-8"))
        except re.error as error:
            raise Refused("bad_request", "spec: the regex of metric {}: {}".format(metric["name"], error))
    checked: Json = spec
    return checked


def check_environment(env: Any) -> None:
    good = isinstance(env, dict) and all(
        ENV_NAME.match(name) and isinstance(value, str) and "\0" not in value for name, value in env.items()
    )
    if not good:
        raise Refused("bad_request", "env and secrets must map names of letters, digits and _ to texts")

"""The AttemptState of the protocol: what the daemon is told of an attempt, from its files and /proc alone."""

import re
from typing import Any, Dict, List, NamedTuple, Optional


LINES_MAX = 5
STATE_LINE_BYTES_MAX = 500
CHUNK_BYTES = 64 << 10

Json = Dict[str, Any]


class Observed(NamedTuple):
    """One look at an attempt."""

    facts: Facts
    verdict: str
    keeper: Optional[Identity]
    job: Optional[Identity]
    note: Json  # the supervisor's own words: phase, restart_at, reason


def observe(system: System, attempt: Attempt, boot: Json) -> Observed:
    claim = attempt.load("claim.json")
    note = attempt.load("supervisor.json") or {}
    runs = attempt.runs() if claim else 0
    shim, job = attempt.who(runs - 1) if runs else (None, None)
    keeper = Identity(*note["keeper"]) if note.get("keeper") else None
    same_boot = claim is not None and claim["boot"] == boot
    facts = Facts(
        claimed=claim is not None,
        tomb=attempt.has("tomb"),
        same_boot=same_boot,
        supervised=same_boot and system.alive(keeper),
        alive=same_boot and (system.alive(job) or system.alive(shim)),
        runs=runs,
        stop=attempt.has("stop.json"),
        backoff=note.get("phase") == "backoff",
        ending=attempt.load("exit.json"),  # read last: an end that came meanwhile wins
    )
    return Observed(facts, judge(facts), keeper, job, note)


def essence(state: Json) -> Json:
    """What of a state is worth a push: not that time has passed."""
    passing = ("started_age_s", "age_s", "ended_age_s", "next_restart_s", "last_lines")
    return {name: value for name, value in state.items() if name not in passing}


def describe(attempt: Attempt, observed: Observed, now: float) -> Json:
    """The AttemptState, as JSON."""
    facts, verdict, note, job = observed.facts, observed.verdict, observed.note, observed.job
    first = attempt.load("started.0") if facts.runs else None
    this = attempt.load("started.{}".format(facts.runs - 1)) if facts.runs else None
    end = facts.ending
    if verdict == "restarting":
        end = attempt.load("exit.{}.json".format(facts.runs - 1))
    reason = (facts.ending or {}).get("reason") or (note.get("reason") if facts.supervised else None)
    if verdict == "running" and not facts.supervised:
        reason = "its supervisor was killed and is being replaced"
    shown = ("rc", "signal", "witness", "stopped", "oom", "duration_s", "gave_up", "error")
    restart_at = note.get("restart_at") if verdict == "restarting" else None
    here = facts.same_boot
    return {
        "state": verdict,
        "restarts": max(0, facts.runs - 1) if facts.ending is None else facts.ending["restarts"],
        "supervised": facts.supervised,
        "executed": facts.ending["executed"] if facts.ending else job is not None,
        "pid": job.pid if job and facts.alive else None,
        "started_age_s": now - first["at"] if first and here else None,
        "age_s": now - this["at"] if this and here else None,
        "ended_age_s": now - end["ended"] if end and here else None,
        "exit": {name: end.get(name) for name in shown} if end else None,
        "last_lines": last_lines(attempt.at("log")),
        # How far there is anything to report: an end is recorded only when the last metrics have arrived.
        "metrics_bytes": whole_lines(attempt.at("metrics.jsonl")) if end else 0,
        "log_bytes": whole_lines(attempt.at("log")) if end else 0,
        "next_restart_s": max(0.0, restart_at - now) if restart_at is not None else None,
        "reason": reason,
    }


def whole_lines(path: str) -> int:
    """Up to where the file consists of finished lines, as pushes count them."""
    size = read_range(path, 0, 0)[1]
    begin = max(0, size - CHUNK_BYTES)
    tail = read_range(path, begin, CHUNK_BYTES)[0]
    cut = max(tail.rfind(b"\n"), tail.rfind(b"\r")) + 1
    return begin + cut if cut or size < CHUNK_BYTES else size


def last_lines(path: str) -> List[str]:
    size = read_range(path, 0, 0)[1]
    tail = read_range(path, max(0, size - 4096), 4096)[0]
    lines = [line.strip() for line in re.split(rb"[\r\n]+", tail)]
    return [line[:STATE_LINE_BYTES_MAX].decode("utf-8", "replace") for line in lines if line][-LINES_MAX:]

"""What a host says of itself in `hello`."""

import os
import pwd
import re
import socket
import sys
import time
from typing import Any, Dict


NETWORK_FILESYSTEMS = re.compile(r"^(nfs|cifs|smb|lustre|gpfs|beegfs|ceph|afs|9p|glusterfs|fuse\.(?!fuse-overlayfs))")

Json = Dict[str, Any]


def host_facts(system: System, root: str) -> Json:
    """Identity, clocks and capacity. Clocks are for comparison within the answer; `wall_s` is only for show."""
    disk, memory = os.statvfs(root), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    machine = read_range("/etc/machine-id", 0, 64)[0].decode("ascii", "replace").strip()
    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "machine_id": machine or None,
        "hostname": socket.gethostname(),
        "boot": system.boot(),
        "boottime_s": system.boottime(),
        "wall_s": time.time(),
        "cores": len(os.sched_getaffinity(0)),
        "load": list(os.getloadavg()),
        "memory_bytes": memory,
        "disk_free_bytes": disk.f_bavail * disk.f_frsize,
        "user": user_name(),
        "root": root,
    }


def user_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a container's bare number
        return str(os.geteuid())


def filesystem_of(path: str) -> str:
    """The type of the filesystem that holds path.

    The longest mount point above it in /proc/self/mountinfo (proc(5)).
    """
    best, kind = "", ""
    with open("/proc/self/mountinfo") as file:
        for line in file:
            fields, _, rest = line.partition(" - ")
            point = fields.split()[4].encode("ascii", "replace").decode("unicode_escape")
            above = path == point or path.startswith(point.rstrip("/") + "/")
            if above and len(point) >= len(best):
                best, kind = point, rest.split()[0]
    return kind

"""Pushes: turns changed files and dead supervisors into what the daemon is told at once.

Nothing here needs to be remembered: everything that is pushed can be asked for again, by status or by offset. Where the
kernel has inotify and pidfd nothing is polled; elsewhere everything watched is looked at once a second.
"""

import base64
import contextlib
import ctypes
import os
import re
import select
import struct
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Set, Tuple


COALESCE_S = 0.12  # at most one push for each growing file in this time
CHUNK_BYTES = 64 << 10

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
        kinds = (
            ("file", "metrics_offset", "metrics.jsonl"),
            ("log", "scan_offset", "log"),
            ("text", "log_offset", "log"),
        )
        self.growths = [
            Growth(kind, attempt.at(file), int(wish[key])) for kind, key, file in kinds if wish.get(key) is not None
        ]


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
        self.poll = select.poll()

    def follow(self, wishes: Json) -> Json:
        """Replace the watch set; returns each attempt's state."""
        self.drop()
        with contextlib.suppress(OSError):
            self.inotify = Inotify(self.system.libc)
            self.poll.register(self.inotify.handle, select.POLLIN)
            self.places[self.inotify.add(os.path.join(self.root, "a"), Inotify.MOVED_TO)] = ("", "")
        for name, wish in wishes.items():
            self.watched[name] = Watched(Attempt(self.root, name), wish)
            self.listen(name)
        return {name: self.look(watched) for name, watched in self.watched.items()}

    def drop(self) -> None:
        if self.inotify is not None:
            self.poll.unregister(self.inotify.handle)
            os.close(self.inotify.handle)
            self.inotify = None
        for handle in list(self.keepers):
            self.forget_keeper(handle)
        self.watched, self.places = {}, {}

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
            wish = {"text": "log_offset", "log": "scan_offset", "file": "metrics_offset"}
            former = self.watched[name]
            again = Watched(former.attempt, {wish[growth.kind]: growth.offset for growth in former.growths})
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
            name, path = self.places.get(number, ("", ""))
            if number < 0:  # more happened than the kernel kept for us: look at everything
                self.heed_without_inotify()
            elif not name:
                self.appeared(file)
            elif path:
                for growth in self.watched[name].growths:
                    if growth.path == path:
                        growth.touched(now)
            elif not file.startswith("."):
                self.watched[name].changed = True

    def heed_without_inotify(self) -> None:
        now = self.system.boottime()
        for watched in self.watched.values():
            watched.changed = True
            for growth in watched.growths:
                growth.touched(now)

    def timeout(self) -> Optional[float]:
        """Seconds until something is due; None, for ever, when only the kernel can bring news."""
        now = self.system.boottime()
        dues = [growth.due for watched in self.watched.values() for growth in watched.growths if growth.due is not None]
        dues += [watched.again_at for watched in self.watched.values() if watched.again_at is not None]
        dues += [now for watched in self.watched.values() if watched.changed]
        dues += [now + 1.0] if self.watched and (self.inotify is None or not self.system.has_pidfd) else []
        return max(0.0, min(dues) - now) if dues else None

    def pushes(self) -> Iterator[Json]:
        """What there is to say now; one bounded frame for each growing file."""
        if self.inotify is None or not self.system.has_pidfd:
            self.heed_without_inotify()
        now = self.system.boottime()
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
        lines = (line[:LINE_BYTES_MAX] for line in re.split(rb"[\r\n]", data) if line)
        if kind == "file":
            found: Iterable[Optional[Json]] = map(point_of, lines)
        else:
            k = self.run_at(watched.attempt, begin)
            found = (scan_line(line, watched.patterns, k) for line in lines)
        return (point for point in found if point is not None)

    def run_at(self, attempt: Attempt, offset: int) -> int:
        """Which run wrote the log at this offset."""
        starts = [attempt.load("started.{}".format(k)) or {"log": 0} for k in range(attempt.runs())]
        return max(0, sum(1 for started in starts if started["log"] <= offset) - 1)

"""The channel: framed JSON on stdin and stdout.

A frame is `SHEETD <nonce> <length> <first 16 hex digits of the payload's sha256>`, a newline, the payload, a newline.
Bytes outside frames are noise (a login shell's greeting) and skipped; a frame that cannot be trusted ends the
connection.
"""

import contextlib
import hashlib
import json
import os
import re
from typing import Any, Dict, Iterator, Optional

FRAME_BYTES_MAX = 32 << 20
HEADER = re.compile(rb"^SHEETD ([0-9a-f]{32}) ([0-9]{1,9}) ([0-9a-f]{16})\Z")

Json = Dict[str, Any]


class Channel:
    """Frames on stdin and stdout. Bytes outside frames are noise and skipped; a broken frame ends the connection."""

    def __init__(self) -> None:
        self.nonce: Optional[bytes] = None  # that of the first frame
        self.incoming = bytearray()
        self.outgoing = bytearray()
        os.set_blocking(1, False)  # a daemon that does not read must not keep us from hearing that it is gone

    def feed(self, data: bytes) -> Iterator[Json]:
        """The requests that are whole by now. SystemExit for a frame that cannot be trusted."""
        self.incoming += data
        while True:
            begin = self.incoming.find(b"SHEETD ")
            if begin < 0:
                del self.incoming[: max(0, len(self.incoming) - 6)]
                return
            del self.incoming[:begin]
            end = self.incoming.find(b"\n", 0, 128)
            if end < 0 and len(self.incoming) < 128:
                return
            head = HEADER.match(bytes(self.incoming[: max(0, end)]))
            if head is None or (self.nonce is not None and head.group(1) != self.nonce):
                del self.incoming[:7]
                continue
            length = int(head.group(2))
            if length > FRAME_BYTES_MAX:
                raise SystemExit("a frame of {} bytes".format(length))
            if len(self.incoming) < end + 1 + length + 1:
                return
            payload = bytes(self.incoming[end + 1 : end + 1 + length])
            if hashlib.sha256(payload).hexdigest()[:16].encode("ascii") != head.group(3):
                raise SystemExit("a damaged frame")
            self.nonce = head.group(1)
            del self.incoming[: end + 1 + length + 1]
            request = json.loads(payload.decode("utf-8"))
            if not isinstance(request, dict):
                raise SystemExit("a request that is no object")
            yield request

    def send(self, answer: Json) -> None:
        payload = json.dumps(answer, allow_nan=False, separators=(",", ":")).encode("ascii")
        digest = hashlib.sha256(payload).hexdigest()[:16].encode("ascii")
        self.outgoing += b"SHEETD %s %d %s\n%s\n" % (self.nonce or b"0" * 32, len(payload), digest, payload)
        self.flush()

    def flush(self) -> None:
        """Write as much as the pipe takes; the rest waits in `outgoing`."""
        with contextlib.suppress(BlockingIOError):
            while self.outgoing:
                del self.outgoing[: os.write(1, self.outgoing[: 1 << 20])]


import base64
import contextlib
import errno
import fcntl
import hashlib
import math
import os
import select
import sys
import time
import traceback
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple


PROTOCOL = 1
HOST_LOCK_S = 10.0
DYING_S = 2.0  # how long a launch waits for a supervisor that was killed to let go of its lock
READY_S = 15.0  # how long a launch waits to hear that the job was started; it goes on anyway

Json = Dict[str, Any]


class Agent:
    """The verbs. Each reads the world afresh, so an agent may die at any time and another go on."""

    def __init__(self, system: System, root: str, umask: int) -> None:
        self.system = system
        self.root = root
        self.umask = umask
        self.boot = system.boot()
        self.healed: Dict[str, Tuple[int, float]] = {}  # attempt: how often, when next at the earliest
        self.code = CodeStore(os.path.join(root, "code"))
        self.watcher = Watcher(system, root, self.state)
        for name in ("a", "x", "code"):
            os.makedirs(os.path.join(root, name), mode=0o700, exist_ok=True)
        self.verbs: Dict[str, Callable[[Json], Json]] = {
            "hello": self.hello,
            "ping": self.ping,
            "has_code": self.code.has_code,
            "put_code": self.put_code,
            "launch": self.launch,
            "status": self.status,
            "stop": self.stop,
            "watch": self.watch,
            "tail": self.tail,
            "forget": self.forget,
        }

    def answer(self, request: Json) -> Json:
        """The answer to one request; whatever is wrong with it, the agent goes on."""
        number = request.get("id")
        try:
            verb = self.verbs.get(request.get("verb") or "", no_such_verb)
            return {"id": number, "ok": verb(request)}
        except Refused as refused:
            return {"id": number, "error": {"code": refused.code, "message": refused.message}}
        except OSError as error:
            code = "disk_full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "internal"
            return {"id": number, "error": {"code": code, "message": str(error)}}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            message = "{}: {}".format(type(error).__name__, error)
            return {"id": number, "error": {"code": "bad_request", "message": message}}

    @contextlib.contextmanager
    def host_lock(self) -> Iterator[None]:
        """What two agents on this root may not do at once: judge who starts, stops or replaces."""
        handle = os.open(os.path.join(self.root, "host.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = self.system.boottime() + HOST_LOCK_S
        try:
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if self.system.boottime() > deadline:
                        raise Refused("busy", "another agent on this host holds {}/host.lock: retry".format(self.root))
                    time.sleep(0.005)  # flock has no deadline of its own
            yield
            fcntl.flock(handle, fcntl.LOCK_UN)  # also for the copy that a forked supervisor has not closed yet
        finally:
            os.close(handle)

    def admit(self, request: Json) -> int:
        """Fence: a daemon older than the newest seen has no say. Under the host's lock. Returns the newest epoch."""
        path = os.path.join(self.root, "epoch")
        newest = int(read_range(path, 0, 64)[0] or b"0")
        epoch = request.get("epoch")
        if not isinstance(epoch, int):
            raise Refused("bad_request", "epoch is missing")
        if epoch < newest:
            raise Refused("stale_daemon", "epoch {} is over: a daemon with epoch {} was here".format(epoch, newest))
        if epoch > newest:
            self.system.replace(path, str(epoch).encode("ascii"), durable=True)
        return epoch

    def hello(self, request: Json) -> Json:
        if request.get("protocol") != PROTOCOL:
            raise Refused("bad_request", "this agent speaks protocol {}".format(PROTOCOL))
        kind = filesystem_of(self.root)
        if NETWORK_FILESYSTEMS.match(kind):
            raise Refused("bad_state_dir", "{} is on {}: name a folder on a local disk".format(self.root, kind))
        with self.host_lock():
            newest = self.admit(request)
            for name in os.listdir(os.path.join(self.root, "a")):
                if name.startswith(".") and ATTEMPT.match(name[1:]):  # a claim whose agent was killed; the lock is ours
                    remove_tree(os.path.join(self.root, "a", name))
        attempts = self.attempts()
        for attempt in (Attempt(self.root, name) for name in attempts):
            if not (attempt.has("exit.json") or attempt.has("tomb")):
                self.state(attempt.name)  # replaces a dead supervisor
        known = {"protocol": PROTOCOL, "agent_sha": bundle_sha(), "epoch_max": newest, "attempts": attempts}
        return {**host_facts(self.system, self.root), **known}

    def put_code(self, request: Json) -> Json:
        with self.host_lock():
            return self.code.put_code(request)

    def ping(self, _: Json) -> Json:
        return {"boottime_s": self.system.boottime()}

    def attempts(self) -> List[str]:
        return sorted(name for name in os.listdir(os.path.join(self.root, "a")) if ATTEMPT.match(name))

    def launch(self, request: Json) -> Json:
        """Start an attempt, once. Repeated, it answers with the state of what the first call started."""
        attempt = Attempt(self.root, request["attempt"])
        spec, secrets = checked_spec(request.get("spec")), request.get("secrets") or {}
        check_environment(secrets)
        deadline = self.system.boottime() + DYING_S
        while True:
            with self.host_lock():
                self.admit(request)
                undecided, ready = self.begin(attempt, request, spec, secrets)
            if ready is not None:
                self.await_start(ready)
                break
            if not undecided or self.system.boottime() > deadline:
                break
            time.sleep(0.01)  # its supervisor is about to start it or to die: no descriptor tells which
        self.watcher.appeared(attempt.name)
        return {"state": self.state(attempt.name)}

    def begin(self, attempt: Attempt, request: Json, spec: Json, secrets: Json) -> Tuple[bool, Optional[int]]:
        """Claim, and fork a supervisor if there is none. Under the host's lock.

        Returns whether the start is still open, and what `detach` returns if a supervisor was forked.
        """
        if not attempt.has("claim.json"):
            self.check_ticket(request)
            self.prepare(attempt, spec)
            self.claim(attempt, request["nonce"], spec, secrets)
        claim = attempt.load("claim.json") or {}
        if attempt.has("tomb"):
            raise Refused("revoked", "{} was stopped before it started; it never will".format(attempt.name))
        if (claim["nonce"], claim["spec_sha"]) != (request["nonce"], hashlib.sha256(dump(spec)).hexdigest()):
            raise Refused("spec_conflict", "{} was claimed here with another spec or nonce".format(attempt.name))
        if claim["boot"] != self.boot or attempt.runs() or attempt.has("exit.json"):
            return False, None
        self.check_ticket(request)
        lock = attempt.lock()
        return True, None if lock is None else self.detach(attempt, lock, secrets)

    def await_start(self, ready: int) -> None:
        poll = select.poll()
        poll.register(ready, select.POLLIN)
        poll.poll(READY_S * 1000)
        os.close(ready)

    def check_ticket(self, request: Json) -> None:
        """A launch that was stuck somewhere must not start a job that the daemon has given up meanwhile."""
        ticket = request["ticket"]
        if ticket["boot"] != self.boot:
            raise Refused("wrong_boot", "the host has booted since: say hello again and decide anew")
        if self.system.boottime() > ticket["deadline_boottime_s"]:
            raise Refused("ticket_expired", "the launch came too late: say hello again and decide anew")

    def prepare(self, attempt: Attempt, spec: Json) -> None:
        """The experiment's folders and its own copy of the code; all of it may be done twice."""
        for folder in (os.path.join(attempt.home, "out"), attempt.checkpoints(attempt.number)):
            os.makedirs(folder, mode=0o700, exist_ok=True)
        if not spec.get("code"):
            return
        source, copy = os.path.join(self.root, "code", spec["code"]), attempt.working_copy(spec["code"])
        if not os.path.isdir(source):
            raise Refused("no_code", "code {} is not on this host: put_code first".format(spec["code"][:12]))
        if not os.path.isdir(copy):
            import shutil

            fresh = copy + ".new"
            remove_tree(fresh)
            shutil.copytree(source, fresh, symlinks=True)
            os.rename(fresh, copy)

    def claim(
        self, attempt: Attempt, nonce: Optional[str], spec: Optional[Json], secrets: Json, tomb: bool = False
    ) -> None:
        """Make the attempt exist, whole, by one rename."""
        fresh = os.path.join(self.root, "a", "." + attempt.name)
        remove_tree(fresh)
        os.mkdir(fresh, 0o700)
        claim = {"nonce": nonce, "boot": self.boot, "at": self.system.boottime(), "secret_names": sorted(secrets)}
        claim["marker"] = os.urandom(16).hex()  # in the job's environment: two daemons may use one id, but never this
        claim["spec_sha"] = None if spec is None else hashlib.sha256(dump(spec)).hexdigest()
        content = {"spec.json": dump(spec or {}), "claim.json": dump(claim), "reserve": b"\0" * 4096}
        content.update({"params.json": dump((spec or {}).get("params") or {}), "log": b"", "metrics.jsonl": b""})
        content.update({"sup.lock": b"", **({"tomb": b"stopped before its claim\n"} if tomb else {})})
        for name, data in content.items():
            self.system.replace(os.path.join(fresh, name), data, durable=bool(data))
        os.mkfifo(os.path.join(fresh, "wake"), 0o600)
        sync_folder(fresh)
        self.system.claim(fresh, attempt.folder)

    def detach(self, attempt: Attempt, lock: int, secrets: Optional[Json]) -> int:
        """Fork a supervisor, which inherits the lock. Returns what is readable once it has started the job."""
        ready, ready_in = os.pipe()
        launcher = self.system.fork("launcher")
        if launcher == 0:
            try:
                os.setsid()
                if self.system.fork("supervisor") == 0:
                    Supervisor(self.system, attempt, lock, secrets, self.umask).keep(ready_in)
            except BaseException:  # noqa: BLE001 - the last words of a process that nobody listens to
                with open(attempt.at("supervisor.err"), "w") as file:
                    file.write(traceback.format_exc())
            finally:
                os._exit(0)
        os.close(ready_in)
        os.close(lock)
        os.waitpid(launcher, 0)
        return ready

    def heal(self, attempt: Attempt) -> None:
        """Replace a supervisor that died. Slower each time for one that keeps dying, say on a full disk."""
        now = self.system.boottime()
        times, due = self.healed.get(attempt.name, (0, 0.0))
        if now < due:
            return
        with self.host_lock():
            lock = attempt.lock()
            if lock is None:  # there is one that has not introduced itself yet
                return
            if attempt.has("exit.json") or attempt.has("tomb") or not attempt.runs():
                if attempt.has("stop.json") and not attempt.has("exit.json"):
                    self.bury(attempt)
                os.close(lock)
                return
            os.close(self.detach(attempt, lock, None))
        times = 0 if now > due + 60.0 else min(times + 1, 9)
        self.healed[attempt.name] = (times, now + 0.2 * 2.0**times)

    def status(self, request: Json) -> Json:
        wanted = request.get("attempts")
        return {"attempts": {name: self.state(name) for name in (self.attempts() if wanted is None else wanted)}}

    def state(self, name: str) -> Json:
        """The AttemptState, from files and /proc alone; a dead supervisor that it finds is replaced."""
        attempt = Attempt(self.root, name)
        observed = observe(self.system, attempt, self.boot)
        unkept = not observed.facts.supervised and observed.verdict in ("running", "stopping")
        if unkept:
            self.heal(attempt)
        elif observed.facts.supervised:
            self.watcher.keep_an_eye_on(name, observed.keeper)
        return describe(attempt, observed, self.system.boottime())

    def stop(self, request: Json) -> Json:
        """End an attempt: never started, it is revoked for good; else its supervisor is told, and the end is pushed."""
        attempt = Attempt(self.root, request["attempt"])
        grace = request.get("grace_s", 60)
        if not is_number(grace) or grace < 0:
            raise Refused("bad_request", "grace_s is no number of at least 0")
        with self.host_lock():
            self.admit(request)
            if not attempt.has("claim.json"):
                self.claim(attempt, None, None, {}, tomb=True)
            claim = attempt.load("claim.json") or {}
            over = attempt.has("exit.json") or attempt.has("tomb") or claim["boot"] != self.boot
            lock = None if over else attempt.lock()
            if lock is not None and not attempt.runs():
                self.bury(attempt)
                os.close(lock)
            elif not over:
                self.order_stop(attempt, grace)
                if lock is not None:  # the supervisor is dead, its job may live
                    os.close(self.detach(attempt, lock, None))
        self.watcher.appeared(attempt.name)
        return {"state": self.state(attempt.name)}

    def bury(self, attempt: Attempt) -> None:
        """The tomb of what never started: nothing will, ever. The supervisor's lock is ours."""
        self.system.publish(attempt.at("tomb"), b"stopped before its start\n", durable=True)

    def order_stop(self, attempt: Attempt, grace: float) -> None:
        """Stop.json; a second order may only shorten the grace."""
        now = self.system.boottime()
        order = {"at": now, "grace_s": grace, "asked": True, "reason": None}
        former = attempt.load("stop.json")
        if former is not None:
            left = former["at"] + former["grace_s"] - now
            order.update(at=former["at"], grace_s=now - former["at"] + min(grace, left))
        self.system.replace(attempt.at("stop.json"), dump(order), durable=True)
        attempt.wake()

    def watch(self, request: Json) -> Json:
        return {"attempts": self.watcher.follow(request["attempts"])}

    def tail(self, request: Json) -> Json:
        attempt = Attempt(self.root, request["attempt"])
        path = attempt.at({"log": "log", "metrics": "metrics.jsonl"}[request["stream"]])
        offset, most = int(request["offset"]), max(0, min(int(request["max_bytes"]), 8 << 20))
        size = read_range(path, 0, 0)[1]
        begin = max(0, min(size, size + offset if offset < 0 else offset))
        data, size = read_range(path, begin, most)
        return {
            "from": begin,
            "to": begin + len(data),
            "size": size,
            "data_base64": base64.b64encode(data).decode("ascii"),
        }

    def forget(self, request: Json) -> Json:
        """Give back an ended attempt's disk. That it was, and how it ended, stays: its id is never used again."""
        attempt = Attempt(self.root, request["attempt"])
        with self.host_lock():
            self.admit(request)
            state = self.state(attempt.name)
            if state["state"] not in ("exited", "lost", "revoked", "rebooted", "absent"):
                raise Refused("not_ended", "{} is {}: stop it first".format(attempt.name, state["state"]))
            if state["state"] != "absent":
                for name in set(os.listdir(attempt.folder)) - {"claim.json", "exit.json", "tomb"}:
                    os.unlink(attempt.at(name))
        return {"state": self.state(attempt.name)}


def no_such_verb(request: Json) -> Json:
    raise Refused("bad_request", "no such verb: {!r}".format(request.get("verb")))


def bundle_sha() -> str:
    """The hash that names what was shipped: stage 0 put it into a folder of this name, agents/<sha>/onhost/."""
    return os.path.basename(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def serve(system: System, root: str) -> None:
    """Answer until stdin closes. Pushes are made while the pipe is empty: a slow reader gets fewer, larger ones."""
    agent = Agent(system, root, os.umask(0o077))
    system.become("agent")
    os.chdir("/")
    channel, watcher = Channel(), agent.watcher
    watcher.poll.register(0, select.POLLIN)
    while True:
        if channel.outgoing:
            watcher.poll.register(1, select.POLLOUT)
        timeout = None if channel.outgoing else watcher.timeout()
        ready = {handle for handle, _ in watcher.poll.poll(None if timeout is None else math.ceil(timeout * 1000))}
        if channel.outgoing:
            watcher.poll.unregister(1)
            channel.flush()
        if 0 in ready:
            data = os.read(0, 1 << 20)
            if not data:
                return
            for request in channel.feed(data):
                channel.send(agent.answer(request))
        watcher.heed(ready)
        for push in watcher.pushes() if not channel.outgoing else ():
            channel.send(push)


def main() -> None:
    if len(sys.argv) != 3 or sys.argv[1] != "serve":
        sys.exit("usage: agent.py serve ROOT (it is started by the daemon)")
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        serve(System(), sys.argv[2])
