"""The one command that runs every check, here and in CI, so that neither knows more than the other.

    python -m tests.check                  everything
    python -m tests.check --fast           all but the tests; half a minute at most
    python -m tests.check -- -k journal    what follows `--` goes to pytest

The linters run side by side, one line each, with the output of those that failed. The tests run last, in parallel and
seen as they go. The exit status is 0 only when everything passed. It checks nothing by itself: each rule lives with its
tool in `pyproject.toml`, or in `tests/test_tidy.py`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Beside this interpreter, so that the command works from a virtual environment that nobody activated.
SCRIPTS = Path(sysconfig.get_path("scripts"))
SHIPPED = tuple(sorted(str(path.relative_to(ROOT)) for path in (ROOT / "sheetd" / "onhost").glob("*.py")))


@dataclass(frozen=True)
class Check:
    name: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    check: Check
    passed: bool
    seconds: float
    output: str

    def line(self) -> str:
        return f"{'ok  ' if self.passed else 'FAIL'}  {self.check.name:<14}{self.seconds:6.1f} s"


LINTERS = (
    Check("ruff format", (sys.executable, "-m", "ruff", "format", "--check", ".")),
    Check("ruff check", (sys.executable, "-m", "ruff", "check", "--output-format", "concise", ".")),
    Check("mypy", (sys.executable, "-m", "mypy")),
    Check("import layers", (str(SCRIPTS / "lint-imports"), "--no-logo")),
    Check("Python 3.6", (str(SCRIPTS / "vermin"), "-q", "-p=1", "-t=3.6-", "--violations", "--no-tips", *SHIPPED)),
)


def tests(arguments: Sequence[str]) -> Check:
    # Handed out in small lots: the longest tests stand together, and one worker would be left with them.
    return Check("tests", (sys.executable, "-m", "pytest", "-n", "auto", "--maxschedchunk=2", *arguments))


def run(check: Check, *, seen: bool = False) -> Verdict:
    """Run one check from the project's root. Its output is kept for the verdict, or `seen` as it comes."""
    started = time.monotonic()
    try:
        done = subprocess.run(
            check.command,
            cwd=ROOT,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=None if seen else subprocess.PIPE,
            stderr=None if seen else subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except FileNotFoundError as missing:
        advice = f"{missing}\nInstall the tools: {sys.executable} -m pip install -e '.[test]'"
        return Verdict(check, passed=False, seconds=time.monotonic() - started, output=advice)
    return Verdict(check, done.returncode == 0, time.monotonic() - started, done.stdout or "")


def run_side_by_side(checks: Sequence[Check]) -> list[Verdict]:
    verdicts = []
    with ThreadPoolExecutor(max_workers=len(checks)) as pool:
        for future in as_completed([pool.submit(run, check) for check in checks]):
            verdict = future.result()
            say(verdict)
            verdicts.append(verdict)
    return verdicts


def say(verdict: Verdict) -> None:
    print(verdict.line(), flush=True)
    if not verdict.passed and verdict.output:
        print(verdict.output.rstrip() + "\n", flush=True)


def summary(verdicts: Sequence[Verdict], seconds: float) -> str:
    failed = [verdict.check.name for verdict in verdicts if not verdict.passed]
    if failed:
        return f"{len(failed)} of {len(verdicts)} checks failed in {seconds:.0f} s: {', '.join(failed)}"
    return f"All {len(verdicts)} checks passed in {seconds:.0f} s"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.check", description="Run every check of the project.")
    parser.add_argument("--fast", action="store_true", help="leave the tests out")
    parser.add_argument("pytest", nargs="*", help="after --: arguments for pytest")
    chosen = parser.parse_args(arguments)
    started = time.monotonic()
    verdicts = run_side_by_side(LINTERS)
    if not chosen.fast:
        verdict = run(tests(chosen.pytest), seen=True)
        say(verdict)
        verdicts.append(verdict)
    print(summary(verdicts, time.monotonic() - started), flush=True)
    return 0 if all(verdict.passed for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
