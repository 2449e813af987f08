"""Restarts on the host: prompt, within the budget, and the budget outlives every process."""

from __future__ import annotations

import json
import os
import signal
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from tests.onhost.link import Link, until
from tests.onhost.test_stop import STUBBORN, keeper_of

A = "abcd1.1"


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def replace_supervisor(link: Link, root: Path) -> dict[str, Any]:
    """Kill the supervisor and wait for another; returns the state then."""
    former = keeper_of(root)
    os.kill(former, signal.SIGKILL)

    def another() -> dict[str, Any] | None:
        state = link.state(A)
        return state if state["supervised"] and keeper_of(root) != former else None

    found: dict[str, Any] = until("another supervisor", another)
    return found


def test_a_crash_is_restarted_until_the_budget_is_spent(link: Link, tmp_path: Path):
    script = f'echo "$SHEETD_RESTART" >> {tmp_path}/starts; echo "out $SHEETD_RESTART"; exit 3'
    link.launch(A, ["sh", "-c", script], restarts={"max": 3, "backoff_s": 0})
    end = link.until_ended(A)
    assert lines(tmp_path / "starts") == ["0", "1", "2", "3"]
    assert (end["restarts"], end["exit"]["rc"]) == (3, 3)
    assert end["exit"]["gave_up"] == "crashed 4 times, last exit code 3; restarts allowed: 3"
    assert end["last_lines"] == ["out 0", "out 1", "out 2", "out 3"]


def test_success_after_a_crash_is_success(link: Link):
    link.launch(A, ["sh", "-c", 'test "$SHEETD_RESTART" = 2'], restarts={"max": 5, "backoff_s": 0})
    end = link.until_ended(A)
    assert (end["exit"]["rc"], end["restarts"], end["exit"]["gave_up"]) == (0, 2, None)


def test_a_restart_resumes_from_the_attempts_own_checkpoint(link: Link, root: Path, tmp_path: Path):
    save = f'echo 1 > "$CHECKPOINT_DIR/step_1"; echo "first $SHEETD_RESUME" >> {tmp_path}/seen; exit 1'
    resume = f'echo "then $SHEETD_RESUME $SHEETD_RESUME_DIR" >> {tmp_path}/seen'
    link.launch(A, ["sh", "-c", save], resume_argv=["sh", "-c", resume], restarts={"max": 1, "backoff_s": 0})
    assert link.until_ended(A)["exit"]["rc"] == 0
    assert lines(tmp_path / "seen") == ["first 0", f"then 1 {root}/x/abcd1/checkpoints/a1"]


def test_the_budget_outlives_the_supervisor(link: Link, root: Path, tmp_path: Path):
    script = f"echo started >> {tmp_path}/starts; exec sleep 60"
    link.launch(A, ["sh", "-c", script], restarts={"max": 2, "backoff_s": 0})
    for count in (1, 2):
        pid = until("a job", lambda count=count: len(lines(tmp_path / "starts")) == count and link.state(A)["pid"])
        replace_supervisor(link, root)
        os.kill(pid, signal.SIGKILL)
    pid = until("the last job", lambda: len(lines(tmp_path / "starts")) == 3 and link.state(A)["pid"])
    os.kill(pid, signal.SIGKILL)
    end = link.until_ended(A)
    assert len(lines(tmp_path / "starts")) == 3
    assert end["exit"]["gave_up"] == "crashed 3 times, last signal 9; restarts allowed: 2"


def test_the_backoff_outlives_the_supervisor(link: Link, root: Path):
    link.launch(A, ["false"], restarts={"max": 3, "backoff_s": 40})
    first = link.until_state(A, "restarting")
    again = replace_supervisor(link, root)
    assert again["state"] == "restarting"
    assert again["next_restart_s"] <= first["next_restart_s"]
    assert again["restarts"] == 0


def test_a_job_with_secrets_is_not_restarted_by_a_supervisor_that_never_had_them(link: Link, root: Path):
    pid = link.launch(A, ["sleep", "60"], secret={"TOKEN": "x"}, restarts={"max": 3, "backoff_s": 0})["pid"]
    replace_supervisor(link, root)
    os.kill(pid, signal.SIGKILL)
    end = link.until_ended(A)
    assert (end["exit"]["signal"], end["restarts"]) == (9, 0)
    assert "secrets" in end["exit"]["gave_up"]


def test_a_restart_waits_until_nothing_of_the_crashed_run_is_left(link: Link, tmp_path: Path):
    """The straggler ignores TERM and has left the session; only then may the next run start."""
    program = (
        "import os,subprocess,sys,time\n"
        "if os.environ['SHEETD_RESTART'] == '0':\n"
        "    subprocess.Popen([sys.executable, '-c', sys.argv[2], sys.argv[1]], start_new_session=True)\n"
        "    while not os.path.exists(sys.argv[1]) or not open(sys.argv[1]).read(): time.sleep(0.01)\n"
        "    sys.exit(1)\n"
        "pid = int(open(sys.argv[1]).read())\n"
        "sys.exit(5 if os.path.exists('/proc/%d' % pid) else 0)\n"
    )
    argv = [sys.executable, "-c", program, str(tmp_path / "pid"), STUBBORN]
    link.launch(A, argv, restarts={"max": 1, "backoff_s": 0}, grace_s=0.2)
    end = link.until_ended(A)
    assert (end["restarts"], end["exit"]["rc"]) == (1, 0)


def test_a_killed_job_is_running_again_within_milliseconds(link: Link, tmp_path: Path):
    """Python's own loop around wait() needs 2 ms on an idle machine; ours also records both events."""
    starts = tmp_path / "starts"
    script = f"echo started >> {starts}; exec sleep 60"
    link.launch(A, ["sh", "-c", script], restarts={"max": 50, "backoff_s": 0})
    waits = []
    for count in range(1, 16):
        pid = until("the job", lambda count=count: len(lines(starts)) == count and link.state(A)["pid"])
        begun = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        while len(lines(starts)) == count:
            assert time.monotonic() < begun + 10
        waits.append(time.monotonic() - begun)
    print(f"crash to first line: median {statistics.median(waits) * 1000:.1f} ms, worst {max(waits) * 1000:.1f} ms")
    assert statistics.median(waits) < 0.1


def test_an_idle_supervisor_uses_no_processor_time(link: Link, root: Path):
    link.launch(A, ["sleep", "60"])
    link.ask("watch", attempts={A: {"metrics_offset": 0, "log_offset": 0}})

    def sleeps_on(pid: int) -> bool:
        def switches() -> list[str]:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            return [line for line in lines if line.startswith("voluntary_ctxt_switches")]

        before = switches()
        time.sleep(1.2)  # the promise is about time that passes
        return switches() == before

    until("the supervisor sleeps", lambda: sleeps_on(keeper_of(root)))
    until("the agent sleeps", lambda: sleeps_on(link.process.pid))


def test_a_reader_of_files_finds_every_run(link: Link, root: Path):
    link.launch(A, ["false"], restarts={"max": 2, "backoff_s": 0})
    link.until_ended(A)
    folder = root / "a" / A
    assert [json.loads((folder / f"exit.{k}.json").read_text())["rc"] for k in range(3)] == [1, 1, 1]
