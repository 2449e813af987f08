"""Runs on a host as a stranger: plants processes under numbers that sheetd's processes have just had.

`decoy_keeper.py LEDGER`, standard library only. Each line `plant PID ROLE` on stdin is answered on stdout by `planted`
or `taken`. A planted process does nothing but wait for signals, and every one that arrives is written to the ledger
with its sender. Should one be killed, its keeper writes that down. When stdin ends, all of them are put away.
"""

import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

DECOYS_MAX = 24
TRIES = 100
WATCHED = sorted(set(range(1, signal.NSIG)) - {signal.SIGKILL, signal.SIGSTOP, 32, 33})  # those two are glibc's own


def note(ledger: str, *words: object) -> None:
    handle = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(handle, (" ".join(map(str, (*words, time.monotonic()))) + "\n").encode())
    os.close(handle)


def be_a_decoy(ledger: str, role: str) -> NoReturn:
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for handle in (0, 1, 2):
        os.dup2(null, handle)
    while True:
        got = signal.sigwaitinfo(WATCHED)
        note(ledger, "signal", os.getpid(), role, got.si_signo, "from", got.si_pid)


def plant(pid: int, role: str, ledger: str) -> bool:
    """The kernel gives out the number after the last one, unless somebody else is quicker or it is still in use."""
    for _ in range(TRIES):
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
        child = os.fork()
        if child == 0:
            if os.getpid() != pid:
                os._exit(0)
            be_a_decoy(ledger, role)
        if child == pid:
            return True
        os.waitpid(child, 0)
        time.sleep(0.001)
    return False


def look_after(decoys: dict[int, str], ledger: str) -> None:
    for pid in list(decoys):
        ended, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
        if ended:
            note(ledger, "died", pid, decoys.pop(pid), status)


def put_away(decoys: dict[int, str], pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    del decoys[pid]


def main() -> None:
    ledger = sys.argv[1]
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)  # inherited by the decoys; this process has no use for any
    decoys: dict[int, str] = {}
    rest = b""
    while True:
        ready = select.select([0], [], [], 0.2)[0]
        look_after(decoys, ledger)
        if not ready:
            continue
        data = os.read(0, 4096)
        if not data:
            break
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            _, pid, role = line.decode().split()
            while len(decoys) >= DECOYS_MAX:
                put_away(decoys, next(iter(decoys)))
            planted = plant(int(pid), role, ledger)
            if planted:
                decoys[int(pid)] = role
            os.write(1, b"planted\n" if planted else b"taken\n")
    for pid in list(decoys):
        put_away(decoys, pid)


if __name__ == "__main__":
    main()
