"""Programs that a test can run on any host: real argv, and beside it what a simulated machine does for that argv.

A simulated machine knows exactly these, word for word, so an argv that was changed on its way is a failure there too.
Keep it small: a program earns its place by being told apart from the others by something that a host promises.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.sim.machine import Process
from tests.sim.posix import OS

Argv = tuple[str, ...]


class Job:
    """A simulated process that became one of these programs."""

    def __init__(self, process: Process, words: list[str], env: dict[str, str]) -> None:
        self.process = process
        self.words = words
        self.env = env

    def say(self, data: bytes) -> None:
        OS.write(1, data)

    def report(self, **values: float) -> None:
        """As `sheetd.log`, which needs real files."""
        step = values.pop("step", None)
        line = json.dumps({"k": int(self.env["SHEETD_RESTART"]), "step": step, "t": None, "values": values}).encode()
        self.process.machine.find(self.env["SHEETD_METRICS_FILE"]).data += line + b"\n"
        self.process.machine.changed()

    def sleep(self, seconds: float) -> None:
        self.process.machine.engine.sleep(seconds)


_LIVES: dict[Argv, Callable[[Job], int]] = {}


def live(process: Process, words: list[str], env: dict[str, str]) -> int:
    """`Machine.run_job`: what a simulated machine does when it executes these words. Returns the exit code."""
    return _LIVES[tuple(words)](Job(process, words, env))


def told(argv: Argv, life: Callable[[Job], int]) -> Argv:
    _LIVES[argv] = life
    return argv


def succeeds() -> Argv:
    return told(("true",), lambda _: 0)


def exits(rc: int) -> Argv:
    return told(("sh", "-c", f"exit {rc}"), lambda _: rc)


def sleeps() -> Argv:
    """Longer than any test."""

    def life(job: Job) -> int:
        job.sleep(600.0)
        return 0

    return told(("sleep", "600"), life)


def says_that_it_started() -> Argv:
    """Each execution leaves one line in the log."""

    def life(job: Job) -> int:
        job.say(b"started\n")
        job.sleep(0.3)
        return 0

    return told(("sh", "-c", "echo started; sleep 0.3"), life)


def crashes_first() -> Argv:
    """Fails, and succeeds when it is restarted."""
    restarted = 'test "$SHEETD_RESTART" = 1'
    return told(("sh", "-c", restarted), lambda job: 0 if job.env["SHEETD_RESTART"] == "1" else 1)


def prints(text: str) -> Argv:
    def life(job: Job) -> int:
        job.say(text.encode())
        return 0

    return told(("printf", text), life)


def prints_what_it_got(*arguments: str) -> Argv:
    """Its arguments, and ODD and TOKEN of its environment, as JSON."""
    script = 'import os,sys,json; print(json.dumps([sys.argv[1:], os.environ["ODD"], os.environ["TOKEN"]]))'

    def life(job: Job) -> int:
        got: list[Any] = [job.words[3:], job.env["ODD"], job.env["TOKEN"]]
        job.say(json.dumps(got).encode() + b"\n")
        return 0

    return told(("python3", "-c", script, *arguments), life)


def reports_and_prints_metrics() -> Argv:
    """acc by the library, loss in its log; then it goes on."""
    script = "import sheetd, time\nsheetd.log(step=1, acc=0.25)\nprint('loss=0.5', flush=True)\ntime.sleep(600)"

    def life(job: Job) -> int:
        job.report(step=1, acc=0.25)
        job.say(b"loss=0.5\n")
        job.sleep(600.0)
        return 0

    return told(("python3", "-c", script), life)


def prints_its_params_until_stopped() -> Argv:
    """`n=` and the n in what `sheetd.params()` gives, and all of it as JSON, whenever it is another one than before."""
    script = (
        "import sheetd, json, time\nlast = None\nwhile 1:\n    now = sheetd.params()\n    if now != last:\n"
        "        print('n=' + str(now.get('n', 0)), json.dumps(now), flush=True)\n    last = now\n    time.sleep(0.02)"
    )

    def life(job: Job) -> int:
        last = None
        while True:
            now = json.loads(bytes(job.process.machine.find(job.env["SHEETD_PARAMS_FILE"]).data))
            if now != last:
                job.say(f"n={now.get('n', 0)} {json.dumps(now)}\n".encode())
            last = now
            job.sleep(0.02)

    return told(("python3", "-c", script), life)


def reports_twice() -> Argv:
    """x=1, then x=2."""

    def life(job: Job) -> int:
        job.report(x=1)
        job.report(x=2)
        return 0

    return told(("python3", "-c", "import sheetd; sheetd.log(x=1); sheetd.log(x=2)"), life)


def cannot_be_executed() -> Argv:
    """No host has it, so nothing needs to be said of what it does."""
    return ("missing", "program")


def ignores_term() -> Argv:
    """Only KILL ends it. It says `deaf=1` once it is."""
    script = "trap '' TERM; echo deaf=1; while :; do sleep 1; done"

    def life(job: Job) -> int:
        job.process.ignores_term = True
        job.say(b"deaf=1\n")
        job.sleep(600.0)
        return 0

    return told(("sh", "-c", script), life)
