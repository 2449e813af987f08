"""A stop ends everything of an attempt and nothing else, and comes true even before the start."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.onhost.link import Link, living, until
from tests.rig.vendor_tools import FakeNvidia

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


@pytest.fixture
def link_on(root: Path, tmp_path: Path) -> Iterator[Callable[..., Link]]:
    """An agent on a machine that is odd as `odd_machine.py` says, with vendors' tools from the test's own folder."""
    links: list[Link] = []

    def link_on(**odd: Any) -> Link:
        program = str(Path(__file__).with_name("odd_machine.py"))
        env = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
        links.append(Link(root, [sys.executable, program, str(root), json.dumps(odd)], env))
        links[-1].hello()
        return links[-1]

    yield link_on
    for link in links:
        link.kill()


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


FORTY = """
import os, signal, sys, time
for number in range(40):
    if not os.fork():
        os.setsid()
        if os.fork():
            os._exit(0)
        os.execve(sys.executable, [sys.executable, "-c", sys.argv[2], os.path.join(sys.argv[1], str(number))], {})
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
time.sleep(60)
"""


def forty_children(link: Link, folder: Path, **spec: Any) -> list[int]:
    """A job with forty children: each in a session of its own, orphaned, without environment, and deaf to TERM."""
    folder.mkdir()
    assert link.launch(A, [sys.executable, "-c", FORTY, str(folder), STUBBORN], **spec)["state"] == "running"

    def pids() -> list[int]:
        found = [path.read_text() for path in folder.iterdir()]
        return [int(text) for text in found if text] if len(found) == 40 and all(found) else []

    children: list[int] = until("all forty are up", pids, deadline_s=60.0)
    assert all(map(alive, children))
    return children


@pytest.mark.parametrize("has_cgroup", [True, False])
def test_forty_children_that_hide_in_every_way_are_stopped_completely(
    link_on: Callable[..., Link], tmp_path: Path, *, has_cgroup: bool
):
    link = link_on(no_cgroup=not has_cgroup)
    children = forty_children(link, tmp_path / "pids")
    link.stop(A, grace_s=0.2)
    assert link.until_ended(A)["exit"]["stopped"]
    assert [pid for pid in children if alive(pid)] == []
    assert link.state(A)["unkillable"] is False


def test_a_slot_stays_taken_until_the_last_child_is_gone(link_on: Callable[..., Link], tmp_path: Path):
    card = f"GPU-{secrets.token_hex(8)}"
    FakeNvidia(tmp_path / "bin", card)
    undying = tmp_path / "undying"
    link = link_on(undying=str(undying), unkillable_s=0.3)
    assert link.ask("accelerators", max_age_s=0, idle_memory_mb=300)["is_probing"]
    link.next_push("accelerators")
    accelerators = [{"kind": "nvidia", "id": card}]
    children = forty_children(link, tmp_path / "pids", accelerators=accelerators)
    undying.write_text(str(children[7]))
    link.stop(A, grace_s=0.2)

    def stuck() -> dict[str, Any] | None:
        state = link.state(A)
        return state if state["unkillable"] and state["reason"].startswith("1 process") else None

    state = until("only one is left, and that is said", stuck)
    assert (state["state"], state["exit"]) == ("stopping", None)
    assert state["reason"] == "1 process survives SIGKILL (stuck in the kernel?)"
    assert [pid for pid in children if alive(pid)] == [children[7]]
    assert link.launch("abcd1.2", ["true"], accelerators=accelerators)["code"] == "accelerator_busy"
    undying.unlink()
    os.kill(children[7], signal.SIGKILL)  # the kernel lets go of it
    end = link.until_ended(A)
    assert (end["state"], end["exit"]["stopped"], end["unkillable"]) == ("exited", True, False)
    assert not alive(children[7])
    assert link.launch("abcd1.3", ["sleep", "60"], accelerators=accelerators)["state"] == "running"


ZOMBIE_LEADER = """
import ctypes, sys, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
open(sys.argv[1], "w").write("up")
ctypes.CDLL(None).pthread_exit(None)
"""


def test_a_zombie_that_leads_living_threads_has_not_ended(link: Link, tmp_path: Path):
    pid = link.launch(A, [sys.executable, "-c", ZOMBIE_LEADER, str(tmp_path / "up")])["pid"]
    until("its main thread is gone", lambda: (tmp_path / "up").exists() and not alive(pid))
    state = link.state(A)
    assert (state["state"], state["pid"]) == ("running", pid)
    link.stop(A, grace_s=0)
    assert link.until_ended(A)["exit"]["signal"] == signal.SIGKILL


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


def test_an_end_that_nobody_saw_is_no_failure_of_the_job_when_its_supervisor_was_ended_too(link: Link, root: Path):
    """Seed 47666 of the simulator: the job had succeeded, and was called failed."""
    link.launch(A, ["sleep", "60"], restarts={"max": 3, "backoff_s": 0})
    first = keeper_of(root)
    os.kill(first, signal.SIGKILL)
    until("another one keeps it", lambda: link.state(A)["supervised"] and keeper_of(root) != first)
    record = json.loads((root / "a" / A / "proc.0.json").read_text())
    os.kill(record["shim"][0], signal.SIGKILL)
    os.kill(keeper_of(root), signal.SIGTERM)
    end = link.until_ended(A)
    assert end["state"] == "lost"
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
