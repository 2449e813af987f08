"""The checks are worth something: each of them fails when there is something to find."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import check

ROOT = check.ROOT

LEAVES_A_DETACHED_PROCESS = """
    import subprocess, sys

    def test_that_leaves_something(tmp_path):
        script = "import os, time; os.fork() and os._exit(0); os.setsid(); time.sleep(300)"
        subprocess.run([sys.executable, "-c", script, "{name}"], check=True, {how})
"""


def running(name: str) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if name in (folder / "cmdline").read_bytes().decode(errors="replace").split("\0"):
                found.append(int(folder.name))
    return found


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of its own, whose tests run under this project's conftest, with less patience."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "conftest.py").write_text("import tests.conftest\ntests.conftest.PATIENCE_S = 0.5\n")
    return tmp_path


@pytest.fixture
def left() -> Iterator[str]:
    """A name for the process that is left behind. It is gone after the test, whatever came of it."""
    name = f"left-{uuid.uuid4().hex}"
    yield name
    for pid in running(name):
        os.kill(pid, signal.SIGKILL)


def run_pytest(project: Path, source: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (project / "test_it.py").write_text(textwrap.dedent(source))
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-c", str(project / "pytest.ini"), *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    return subprocess.run(
        [*command, f"--basetemp={project / 'temporary'}", str(project / "test_it.py")],
        cwd=ROOT,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
@pytest.mark.parametrize("workers", ["0", "1"])
@pytest.mark.parametrize("how", ["", "env={}, cwd=tmp_path"], ids=["found by its mark", "found by its folder"])
def test_a_process_left_behind_fails_the_run_is_named_and_is_killed(
    project: Path, left: str, how: str, workers: str
) -> None:
    done = run_pytest(project, LEAVES_A_DETACHED_PROCESS.format(name=left, how=how), "-n", workers)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    assert "1 passed" in done.stdout
    assert left in done.stdout
    if not how:
        assert "started by test_it.py::test_that_leaves_something" in done.stdout
    deadline = time.monotonic() + 5
    while running(left):
        assert time.monotonic() < deadline, "it was named, but still runs"
        time.sleep(0.02)


def test_a_run_that_cleans_up_passes(project: Path) -> None:
    done = run_pytest(
        project, "import subprocess\ndef test_tidy():\n    subprocess.run(['true'], check=True)\n", "-n", "1"
    )
    assert done.returncode == 0, done.stdout
    assert "processes left behind" not in done.stdout


def test_the_header_says_what_this_machine_can_try(project: Path) -> None:
    done = run_pytest(project, "def test_nothing():\n    pass\n")
    assert "needs: sshd: " in done.stdout
    assert "browser: " in done.stdout


def a_check(name: str, source: str) -> check.Check:
    return check.Check(name, (sys.executable, "-c", source))


def test_one_failed_check_fails_the_command_and_shows_its_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good = a_check("good", "print('nobody needs this')")
    monkeypatch.setattr(check, "LINTERS", (good, a_check("bad", "print('the finding'); raise SystemExit(3)")))
    assert check.main(["--fast"]) == 1
    said = capsys.readouterr().out
    assert "the finding" in said
    assert "nobody needs this" not in said
    assert said.splitlines()[-1].startswith("1 of 2 checks failed in ")
    assert said.rstrip().endswith(": bad")


def test_the_command_passes_only_when_everything_passed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check, "LINTERS", (a_check("one", ""), a_check("two", "")))
    assert check.main(["--fast"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("All 2 checks passed")


def test_a_tool_that_is_not_installed_is_a_failure_that_says_what_to_do() -> None:
    verdict = check.run(check.Check("tool", ("no-such-tool-anywhere",)))
    assert not verdict.passed
    assert "pip install -e '.[test]'" in verdict.output


def test_arguments_after_the_dashes_go_to_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, ...]] = []

    def run(chosen: check.Check, *, seen: bool = False) -> check.Verdict:
        ran.append((*chosen.command, "seen" if seen else "kept"))
        return check.Verdict(chosen, passed=True, seconds=0, output="")

    monkeypatch.setattr(check, "run", run)
    check.main(["--", "-k", "journal"])
    assert ran[-1][-3:] == ("-k", "journal", "seen")


def test_every_linter_is_looked_for_beside_this_interpreter() -> None:
    for linter in check.LINTERS:
        assert Path(linter.command[0]).is_absolute(), f"{linter.name} would depend on an activated environment"
