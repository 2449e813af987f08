"""A stop ends everything of an attempt and nothing else, and comes true even before the start."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.onhost.link import Link, living, until

A = "abcd1.1"

STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1], 'w').write(str(os.getpid()))
time.sleep(60)
"""
# A child in a session of its own, with its environment cleared, its parent gone, deaf to TERM.
RUNAWAY = """
import os, signal, sys, time
if os.fork():
    os.wait()
    time.sleep(60)
os.setsid()
if os.fork():
    os._exit(0)
os.execve(sys.executable, [sys.executable, "-c", sys.argv[2], sys.argv[1]], {})
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def keeper_of(root: Path, attempt: str = A) -> int:
    pid: int = json.loads((root / "a" / attempt / "supervisor.json").read_text())["keeper"][0]
    return pid


def test_a_stop_before_the_launch_revokes_it_for_good(link: Link):
    assert link.stop(A)["state"] == "revoked"
    assert link.launch(A, ["true"])["code"] == "revoked"
    state = link.state(A)
    assert (state["state"], state["executed"]) == ("revoked", False)


def test_a_stop_ends_the_job_with_term_and_says_so(link: Link):
    link.launch(A, ["sleep", "30"], restarts={"max": 3, "backoff_s": 0})
    assert link.stop(A)["state"] in ("stopping", "exited")
    end = link.until_ended(A)
    assert (end["exit"]["signal"], end["exit"]["stopped"], end["exit"]["gave_up"]) == (signal.SIGTERM, True, None)
    assert end["restarts"] == 0


def test_a_job_that_saves_itself_on_term_has_its_grace(link: Link, tmp_path: Path):
    ready, saved = tmp_path / "ready", tmp_path / "saved"
    script = f"trap 'sleep 0.3; touch {saved}; exit 0' TERM; touch {ready}; while :; do sleep 0.02; done"
    link.launch(A, ["sh", "-c", script])
    until("the trap is set", ready.exists)
    link.stop(A, grace_s=10)
    end = link.until_ended(A)
    assert (end["exit"]["rc"], end["exit"]["stopped"]) == (0, True)
    assert saved.exists()


def test_a_job_deaf_to_term_is_killed_after_its_grace(link: Link, tmp_path: Path):
    link.launch(A, [sys.executable, "-c", STUBBORN, str(tmp_path / "up")])
    until("the job is up", (tmp_path / "up").exists)
    assert link.stop(A, grace_s=0.3)["state"] == "stopping"
    end = link.until_ended(A)
    assert (end["exit"]["signal"], end["exit"]["stopped"]) == (signal.SIGABRT, True)
    assert end["exit"]["oom"] is False


def test_a_job_that_has_to_be_killed_says_first_where_it_hangs(link: Link, root: Path, tmp_path: Path):
    link.launch(A, [sys.executable, "-c", STUBBORN, str(tmp_path / "up")])
    until("the job is up", (tmp_path / "up").exists)
    link.stop(A, grace_s=0.1)
    link.until_ended(A)
    log = (root / "a" / A / "log").read_text()
    assert "Fatal Python error: Aborted" in log
    assert 'File "<string>", line 5 in <module>' in log


def test_a_job_deaf_to_abort_too_is_killed_at_once_after_it(link: Link, tmp_path: Path):
    deaf = "signal.signal(signal.SIGABRT, signal.SIG_IGN)\n"
    script = STUBBORN.replace("open(", deaf + "open(", 1)
    link.launch(A, [sys.executable, "-c", script, str(tmp_path / "up")])
    until("the job is up", (tmp_path / "up").exists)
    link.stop(A, grace_s=0.1)
    end = link.until_ended(A)
    assert (end["exit"]["signal"], end["exit"]["stopped"]) == (signal.SIGKILL, True)


def test_a_stop_without_grace_kills_and_asks_nothing(link: Link, root: Path, tmp_path: Path):
    link.launch(A, [sys.executable, "-c", STUBBORN, str(tmp_path / "up")])
    until("the job is up", (tmp_path / "up").exists)
    link.stop(A, grace_s=0)
    assert link.until_ended(A)["exit"]["signal"] == signal.SIGKILL
    assert (root / "a" / A / "log").read_text() == ""


def test_a_second_stop_can_shorten_the_grace_but_not_lengthen_it(link: Link, root: Path, tmp_path: Path):
    link.launch(A, [sys.executable, "-c", STUBBORN, str(tmp_path / "up")])
    until("the job is up", (tmp_path / "up").exists)
    link.stop(A, grace_s=50)
    link.stop(A, grace_s=5000)
    assert json.loads((root / "a" / A / "stop.json").read_text())["grace_s"] <= 50
    link.stop(A, grace_s=0)
    assert link.until_ended(A)["exit"]["signal"] == signal.SIGKILL


def test_a_runaway_child_without_session_parent_or_environment_dies_too(link: Link, tmp_path: Path):
    link.launch(A, [sys.executable, "-c", RUNAWAY, str(tmp_path / "pid"), STUBBORN])
    pid = int(until("the runaway is up", lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
    link.stop(A, grace_s=0.2)
    link.until_ended(A)
    assert not alive(pid)


def test_an_end_is_not_said_before_what_the_job_left_behind_is_gone(link: Link, tmp_path: Path):
    script = f"(sleep 60 & echo $! > {tmp_path}/pid); exit 0"
    link.launch(A, ["sh", "-c", script])
    end = link.until_ended(A)
    assert (end["exit"]["rc"], end["exit"]["stopped"]) == (0, False)
    assert not alive(int((tmp_path / "pid").read_text()))


def test_others_processes_are_left_alone(link: Link):
    decoy = subprocess.Popen(["sleep", "60"])
    link.launch(A, ["sleep", "60"])
    link.launch("abcd1.2", ["sleep", "60"])
    link.stop(A, grace_s=0)
    link.until_ended(A)
    assert decoy.poll() is None
    assert link.state("abcd1.2")["state"] == "running"
    decoy.kill()
    decoy.wait()


def test_a_stop_during_the_backoff_ends_the_attempt_at_once(link: Link):
    link.launch(A, ["false"], restarts={"max": 3, "backoff_s": 60})
    waiting = link.until_state(A, "restarting")
    assert waiting["next_restart_s"] > 30
    assert waiting["exit"]["rc"] == 1
    link.stop(A)
    end = link.until_ended(A)
    assert (end["exit"]["rc"], end["exit"]["stopped"], end["restarts"]) == (1, True, 0)


def test_a_stop_of_an_ended_attempt_changes_nothing(link: Link):
    link.launch(A, ["sh", "-c", "exit 3"])
    before = link.until_ended(A)
    after = link.stop(A)
    assert after["exit"] == before["exit"]


def test_a_stop_works_when_the_supervisor_is_dead(link: Link, root: Path):
    pid = link.launch(A, ["sleep", "60"])["pid"]
    os.kill(keeper_of(root), signal.SIGKILL)
    link.stop(A, grace_s=5)
    end = link.until_ended(A)
    assert (end["state"], end["exit"]["signal"], end["exit"]["stopped"]) == ("exited", signal.SIGTERM, True)
    assert end["exit"]["witness"] == "shim"
    assert not alive(pid)


def test_a_supervisor_killed_while_stopping_is_replaced_and_the_stop_goes_on(link: Link, root: Path, tmp_path: Path):
    link.launch(A, [sys.executable, "-c", STUBBORN, str(tmp_path / "up")])
    until("the job is up", (tmp_path / "up").exists)
    link.stop(A, grace_s=1)
    os.kill(keeper_of(root), signal.SIGKILL)
    end = link.until_ended(A)
    assert (end["exit"]["signal"], end["exit"]["stopped"]) == (signal.SIGABRT, True)


def test_sigterm_to_the_supervisor_ends_the_job_without_a_restart_and_says_why(link: Link, root: Path):
    link.launch(A, ["sleep", "60"], restarts={"max": 3, "backoff_s": 0})
    os.kill(keeper_of(root), signal.SIGTERM)
    end = link.until_ended(A)
    assert (end["exit"]["signal"], end["exit"]["stopped"], end["restarts"]) == (signal.SIGTERM, False, 0)
    assert "SIGTERM to its supervisor" in end["reason"]


@pytest.mark.parametrize("ticks", [1, 10**9])
def test_a_reused_process_number_is_never_signalled(link: Link, root: Path, ticks: int):
    """The record names a living process by its number, but with another start: it is somebody else's."""
    decoy = subprocess.Popen(["sleep", "60"], env={}, start_new_session=True)
    pid = link.launch(A, ["sleep", "60"])["pid"]
    proc = root / "a" / A / "proc.0.json"
    record = json.loads(proc.read_text())
    for name in (keeper_of(root), record["shim"][0], pid):
        os.kill(name, signal.SIGKILL)
    until("the job is gone", lambda: not alive(pid))
    (root / "a" / A / "exit.json").unlink(missing_ok=True)
    record.update(shim=[decoy.pid, ticks], job=[decoy.pid, ticks])
    proc.write_text(json.dumps(record))
    link.stop(A, grace_s=0)
    link.until_ended(A)
    assert decoy.poll() is None
    decoy.kill()
    decoy.wait()


def test_the_agent_works_on_after_a_stop(connect: Callable[..., Link], root: Path):
    link = connect()
    for number in range(5):
        link.launch(f"abcd1.{number}", ["sleep", "60"])
        link.stop(f"abcd1.{number}", grace_s=1)
        assert link.until_ended(f"abcd1.{number}")["exit"]["stopped"]
    assert link.close() == 0
    assert list(living(str(root))) == []
