"""A failing run becomes smaller, stays the same failure, and is seen again with the command that is printed."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys

import pytest

from tests.check import ROOT
from tests.sim.__main__ import main
from tests.sim.shrink import promise_of, shrink
from tests.sim.world import LOADER, Report, Setting, simulate

KINDS = {"G1", "H1", "J11", "M1", "S7"}


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Report:
    """A supervisor that leaves the children of its job alive, and a run in which that is noticed."""
    monkeypatch.setattr(LOADER.load("supervisor").Supervisor, "clear", lambda *_, **__: None)
    runs = (simulate(Setting(seed, kinds=KINDS, duration=300.0, rows=6, hosts=2)) for seed in range(100))
    return next(report for report in runs if report.violation)


def test_only_what_the_bug_needs_is_left(planted: Report) -> None:
    *_, (smallest, _) = shrink(planted)
    assert promise_of(smallest) == promise_of(planted) == "I10"
    assert smallest.kinds == ("J11",)
    assert smallest.hosts == 1
    assert smallest.rows <= planted.rows
    assert smallest.duration < planted.duration


def test_the_printed_command_shows_the_very_same_run(planted: Report, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*shlex.split(planted.replay), "--shrink"]) == 1
    *_, last = capsys.readouterr().out.splitlines()
    command = last.strip().removeprefix("replay: python -m tests.sim ")
    assert "--kinds J11 " in command
    first = simulate_as(command, capsys)
    assert first == simulate_as(command, capsys)
    assert "I10" in first


def simulate_as(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(shlex.split(command)) == 1
    return capsys.readouterr().out


def test_what_is_left_out_does_not_move_what_else_is_drawn() -> None:
    whole = simulate(Setting(7, kinds={"S7", "G1", "D1"}, duration=60.0))
    part = simulate(Setting(7, kinds={"S7"}, duration=60.0))
    assert (part.rows, part.hosts) == (whole.rows, whole.hosts)
    assert part.faults["S7 sort"] == whole.faults["S7 sort"] > 0


def test_a_run_that_is_fine_cannot_be_made_smaller(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "0", "--kinds", "none", "--duration", "20", "--rows", "1", "--shrink", "--json"]) == 0
    out = capsys.readouterr().out
    assert "seed 0: fine" in out
    assert json.loads(out.splitlines()[-1])["violations"] == []


def test_what_is_asked_for_wrongly_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in (["--seed", "1", "--kinds", "S77"], ["--shrink"], ["--seeds", "many"], ["--case", "99 daemon 1"]):
        with pytest.raises(SystemExit):
            main(wrong)
    said = capsys.readouterr().err
    for words in ("no such kind of fault: S77. There are: ", "needs the --seed", "not like 0..999", "'2 daemon 17'"):
        assert words in said


def test_an_interruption_ends_with_the_summary_of_what_was_run() -> None:
    # Whoever runs the tests in the background may have it ignore interruptions, and a child inherits that.
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    begin = f"{listen}; import runpy; runpy.run_module('tests.sim', None, '__main__', True)"
    command = [sys.executable, "-c", begin, "--seeds", "0..99999", "--jobs", "2", "--json"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr is not None
        assert "a second" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert json.loads(out.splitlines()[-1])["runs"] > 0
