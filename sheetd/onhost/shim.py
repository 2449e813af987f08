"""The shim: the job's parent, which waits for it and testifies how it ended, whatever happens to the supervisor.

It is the smallest process of the family on purpose: it holds no lock, decides nothing and writes one file. It has the
leases of its attempt open, so that they outlive the supervisor as long as the job does.
"""

import contextlib
import functools
import json
import os
import signal
from typing import Any, Dict, Iterable, List, NamedTuple, NoReturn, Optional, Tuple

from . import cgroup
from .attempt import Attempt
from .judgement import Identity
from .system import System, close_all_but, dump, read_all

Json = Dict[str, Any]


class Command(NamedTuple):
    """What a run executes."""

    argv: List[bytes]
    env: Dict[bytes, bytes]
    folder: str
    umask: int  # the login's, not our 077
    cgroup: Optional[str] = None


class Run(NamedTuple):
    """One execution of the job, number k of its attempt."""

    k: int
    shim: Optional[Identity]
    job: Optional[Identity]
    mine: bool  # forked by this supervisor, not adopted
    cgroup: Optional[str] = None


def shim(
    system: System,
    attempt: Attempt,
    k: int,
    command: Command,
    gate: int,
    report: int,
    leases: Iterable[int] = (),
) -> NoReturn:
    """The job's parent: leads its session, starts it when the gate opens, and testifies how it ended. Never returns."""
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        close_all_but((0, 1, 2, gate, report, *leases))
        os.setsid()
        trouble, trouble_in = os.pipe()
        # Blocked, not ignored, until the job is itself: a TERM that comes before must be its death and not be lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
        group = command.cgroup
        born = None if group is None else functools.partial(cgroup.fork_into, group)
        job = system.fork("job", lambda: become_job(attempt, command, (gate, report), trouble_in), born)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        for handle in (gate, trouble_in):
            os.close(handle)
        os.write(report, str(job).encode("ascii"))
        os.close(report)
        said = read_all(trouble)  # at its end the job was executed, or could not be and says why
        testimony_path = attempt.at("rc.{}".format(k))
        system.lay_out(testimony_path)
        # Not reaped before its end is written: if we are killed in between, the supervisor inherits it and its status.
        end: Any = os.waitid(os.P_PID, job, os.WEXITED | os.WNOWAIT)
        was_killed = end.si_code != os.CLD_EXITED
        testimony: Json = {"at": system.boottime(), "rc": None, "signal": None}
        if said:
            testimony.update(json.loads(said.decode("utf-8")))
        else:
            testimony["signal" if was_killed else "rc"] = end.si_status
        with contextlib.suppress(OSError):  # a full disk: to a living supervisor the exit code says the same
            system.replace(testimony_path, dump(testimony))
        os.waitpid(job, 0)  # else a container whose first process reaps nobody would keep it
        os._exit(128 + end.si_status if was_killed else end.si_status)
    finally:
        os._exit(70)


def become_job(attempt: Attempt, command: Command, gate_and_report: Tuple[int, int], trouble: int) -> NoReturn:
    """Wait for the gate, then become the job, with nothing of ours but stdout and stderr. Never returns."""
    argv, env, folder, umask, _ = command
    said: Json = {"unstarted": True}
    gate, report = gate_and_report
    os.close(report)
    try:
        os.setpgid(0, 0)  # a job that signals its own group must not reach the shim
        if os.read(gate, 1) == b"1":
            said = {"error": "an internal error before the job was executed", "rc": 127}
            log = os.open(attempt.at("log"), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            os.dup2(log, 1)
            os.dup2(log, 2)
            for number in range(1, signal.NSIG):
                if signal.getsignal(number) == signal.SIG_IGN:  # Python ignores SIGPIPE; exec would hand that on
                    signal.signal(number, signal.SIG_DFL)
            os.umask(umask)
            os.chdir(folder)
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            os.execvpe(argv[0], argv, env)  # noqa: S606 - no shell is wanted
    except (OSError, ValueError) as error:
        what = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        name = argv[0].decode("utf-8", "replace")
        said = {"error": "cannot execute {!r} in {}: {}".format(name, folder, what), "rc": 127}
    finally:
        os.write(trouble, dump(said))
        os._exit(125)
