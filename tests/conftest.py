"""What holds for every test: no process is left behind, examples are the same each time, missing needs are named,
and what passes between anybody and a built-in sheet is what Google's documents allow.

Warnings are errors by `pyproject.toml`. Here is what pytest cannot be told there. A process that outlives its test is a
bug in sheetd or in the test: it is named at the end with the test that started it, killed, and the run fails.
A detached process is no child of ours any more, so three marks count: descent, an environment variable that every child
inherits, and this run's temporary folder in the command line or the working directory. Weak where all three are
missing (a daemon with a scrubbed environment that works elsewhere), and only Linux is looked at, for its `/proc`.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

from tests import needs
from tests.builtin import witness

PROC = Path("/proc")
MARK = "SHEETD_TEST_WORKER"
#: What was just told to end, or follows its parent, is given this long before it counts as left behind.
PATIENCE_S = 5.0

witness.install()

settings.register_profile("ci", derandomize=True, deadline=None, database=None, print_blob=True)
settings.load_profile("ci")


@dataclass(frozen=True)
class Process:
    pid: int
    parent: int
    state: str
    command: str
    folder: str
    environment: frozenset[str]

    def describe(self) -> str:
        test = next(
            (line.partition("=")[2] for line in self.environment if line.startswith("PYTEST_CURRENT_TEST=")), ""
        )
        return f"process {self.pid}: {self.command[:200]}" + (f"\n    started by {test}" if test else "")


def read_process(folder: Path) -> Process | None:
    """What /proc says of one process, or None if it has ended meanwhile or may not be looked at."""
    try:
        state, parent = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
        command = (folder / "cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
        environment = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
        where = str((folder / "cwd").readlink())
    except OSError:
        return None
    return Process(int(folder.name), int(parent), state, shlex.join(command), where, frozenset(environment))


def processes() -> dict[int, Process]:
    """All that can be seen and still runs. A zombie has ended; whether it is waited for is its parent's matter."""
    seen = (read_process(folder) for folder in PROC.iterdir() if folder.name.isdigit())
    return {process.pid: process for process in seen if process is not None and process.state not in "ZX"}


def descendants(of: int, table: dict[int, Process]) -> set[int]:
    found = {of}
    while True:
        more = {pid for pid, process in table.items() if process.parent in found} - found
        if not more:
            return found - {of}
        found |= more


def ancestors(of: int, table: dict[int, Process]) -> set[int]:
    """Who started this run: a shell may well name our folder in its command line."""
    found = {of}
    while of in table and table[of].parent not in found:
        of = table[of].parent
        found.add(of)
    return found


def left_behind(mark: str, temporary: str) -> list[Process]:
    """Processes that this run started and that still live, however well they hid."""
    if not PROC.is_dir():
        return []
    table = processes()
    ours = descendants(os.getpid(), table)
    ours |= {pid for pid, process in table.items() if f"{MARK}={mark}" in process.environment}
    ours |= {pid for pid, process in table.items() if temporary in f"{process.command} {process.folder}/"}
    return [table[pid] for pid in sorted(ours - ancestors(os.getpid(), table)) if not is_pytests_own(table[pid])]


def is_pytests_own(process: Process) -> bool:
    """multiprocessing's tracker ends with the interpreter that it serves, not with a test."""
    return "multiprocessing.resource_tracker" in process.command


def await_none(mark: str, temporary: str) -> list[Process]:
    deadline = time.monotonic() + PATIENCE_S
    while (remaining := left_behind(mark, temporary)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return remaining


def end(remaining: Iterable[Process]) -> None:
    for process in remaining:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


class Orderliness:
    """Marks every child of a run, and fails the run for what is left of it.

    Under xdist each worker looks after its own and reports to the controller, whose exit status is the one that counts.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.mark = uuid.uuid4().hex
        self.found: list[str] = []

    @property
    def is_worker(self) -> bool:
        return hasattr(self.config, "workeroutput")

    @property
    def is_controller(self) -> bool:
        return not self.is_worker and bool(getattr(self.config.option, "dist", "no") != "no")

    def pytest_sessionstart(self) -> None:
        if not self.is_controller:
            os.environ[MARK] = self.mark

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if not self.is_controller:
            remaining = await_none(self.mark, f"{self.config._tmp_path_factory.getbasetemp()}/")  # type: ignore[attr-defined]
            self.found += [process.describe() for process in remaining]
            end(remaining)
        if self.is_worker:
            self.config.workeroutput["left_behind"] = self.found  # type: ignore[attr-defined]
        elif self.found:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object) -> None:
        self.found += getattr(node, "workeroutput", {}).get("left_behind", [])

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.found:
            return
        terminalreporter.section("processes left behind", red=True, bold=True)
        for line in self.found:
            terminalreporter.write_line(line)
        terminalreporter.write_line("They were killed. A test must wait until what it started has ended.")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Orderliness(config), "orderliness")


@pytest.fixture(autouse=True)
def _google_would_do_the_same() -> Iterator[None]:
    """The test whose traffic did not conform fails, also where it passed in a fixture or a thread of it."""
    yield
    if found := witness.WITNESS.findings():
        pytest.fail("Google's documents do not allow this:\n" + "\n".join(found), pytrace=False)


def pytest_report_header() -> str:
    """One line that says what this machine can try, so that a green run is not read for more than it is."""
    missing = {
        "sshd": needs._missing(("sshd", "ssh-keygen")),
        "rig of whole hosts": needs._rig_missing(),
        "systemd": needs._systemd_missing(),
        "browser": needs._missing(("chromium",)),
    }
    said = "; ".join(f"{name}: {why or 'present'}" for name, why in missing.items())
    what = "fails" if needs.require_all() else "is skipped"
    return f"needs: {said} (a test whose need is missing {what})"
