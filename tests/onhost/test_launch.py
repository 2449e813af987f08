"""What a launch does, once, and what it refuses."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.onhost.link import Link, frame, living, until

A = "abcd1.1"
SHOW = [
    sys.executable,
    "-c",
    "import sys,os,json;json.dump([sys.argv[1:], dict(os.environ), os.getcwd()], open(sys.argv[1],'w'))",
]
HOSTILE = [
    "$(touch x); \"'",
    '=IMPORTDATA("http://x")',
    "two\nlines",
    "\t\x01",
    "né\u202e中\U0001f600",
    "",
    "-rf",
    "`id`",
    "%s{0}",
]


def starts(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


def counting(path: Path) -> list[str]:
    return ["sh", "-c", f"echo started >> {path}; exec sleep 30"]


def test_a_job_runs_and_its_end_is_recorded(link: Link):
    state = link.launch(A, ["sh", "-c", "echo hello; exit 7"])
    assert state["state"] in ("running", "exited")
    end = link.until_ended(A)
    assert (end["state"], end["exit"]["rc"], end["exit"]["witness"]) == ("exited", 7, "supervisor")
    assert end["last_lines"] == ["hello"]
    assert end["executed"]
    assert end["started_age_s"] >= end["ended_age_s"] >= 0


def test_death_by_signal_is_told_from_an_exit_code(link: Link):
    link.launch(A, ["sh", "-c", "kill -USR1 $$"])
    end = link.until_ended(A)
    assert (end["exit"]["rc"], end["exit"]["signal"]) == (None, 10)


def test_a_repeated_launch_answers_with_the_state_of_the_first(link: Link, tmp_path: Path):
    first = link.launch(A, counting(tmp_path / "starts"))
    for _ in range(5):
        assert link.launch(A, counting(tmp_path / "starts"))["pid"] == first["pid"]
    until("the start", lambda: starts(tmp_path / "starts"))
    assert starts(tmp_path / "starts") == 1


def test_an_ended_attempt_is_never_started_again(link: Link, tmp_path: Path):
    argv = ["sh", "-c", f"echo started >> {tmp_path}/starts"]
    link.launch(A, argv)
    link.until_ended(A)
    assert link.launch(A, argv)["state"] == "exited"
    assert starts(tmp_path / "starts") == 1


def test_concurrent_launches_through_several_agents_start_once(connect: Callable[..., Link], tmp_path: Path):
    links = [connect() for _ in range(4)]
    for round_ in range(5):
        attempt, count = f"abcd1.{round_ + 1}", tmp_path / f"starts{round_}"
        requests = [link.send("launch", **link.request(attempt, counting(count))) for link in links for _ in range(2)]
        answers = []
        for link, numbers in zip(links, (requests[i : i + 2] for i in range(0, 8, 2)), strict=True):
            answers += [link.answer(number) for number in numbers]
        assert all("ok" in answer for answer in answers)
        until("the start", lambda count=count: starts(count))
        running = {links[0].state(attempt)["pid"]} | {answer["ok"]["state"]["pid"] for answer in answers} - {None}
        assert len(running) == 1
        assert starts(count) == 1


def test_argv_arrives_byte_for_byte(link: Link, tmp_path: Path):
    out = tmp_path / "seen"
    program = "import sys,os;open(sys.argv[1],'wb').write(b'\\0'.join(map(os.fsencode, sys.argv[2:])))"
    link.launch(A, [sys.executable, "-c", program, str(out), *HOSTILE])
    assert link.until_ended(A)["exit"]["rc"] == 0
    assert out.read_bytes() == b"\0".join(word.encode() for word in HOSTILE)
    assert not (tmp_path / "x").exists()


def test_hostile_ids_never_become_paths(link: Link, root: Path):
    before = sorted(
        path
        for path in root.rglob("*")
        if not {"agents", ".blank"} & set(path.parts) and path.name not in ("epoch", "host.lock")
    )
    for name in ("../../etc.1", "abcd1.1/..", "ABCD1.1", "abcd1", "abcd1.1\n", "abcd1.1234567", "", "a\0b.1"):
        assert link.ask("launch", **link.request(name, ["true"]))["code"] == "bad_request"
        assert link.ask("stop", attempt=name, grace_s=0, epoch=1)["code"] == "bad_request"
    after = sorted(
        path
        for path in root.rglob("*")
        if not {"agents", ".blank"} & set(path.parts) and path.name not in ("epoch", "host.lock")
    )
    assert after == before


@pytest.mark.parametrize(
    "spec",
    [
        {"argv": []},
        {"argv": "true"},
        {"argv": ["a\0b"]},
        {"argv": ["true"], "env": {"A=B": "c"}},
        {"argv": ["true"], "env": {"A": 1}},
        {"argv": ["true"], "code": "../x"},
        {"argv": ["true"], "cwd": "../x"},
        {"argv": ["true"], "grace_s": -1},
        {"argv": ["true"], "restarts": {"max": "many"}},
        {"argv": ["true"], "metrics": [{"name": "loss", "regex": "("}]},
    ],
)
def test_a_mistaken_spec_is_refused_before_anything_exists(link: Link, spec: dict[str, Any]):
    request = {**link.request(A, ["true"]), "spec": spec}
    assert link.ask("launch", **request)["code"] == "bad_request"
    assert link.state(A)["state"] == "absent"


def test_another_spec_or_nonce_under_the_same_id_is_a_conflict(link: Link):
    link.launch(A, ["sleep", "30"])
    assert link.launch(A, ["sleep", "31"])["code"] == "spec_conflict"
    assert link.ask("launch", **{**link.request(A, ["sleep", "30"]), "nonce": "other"})["code"] == "spec_conflict"


def test_a_late_launch_is_refused(link: Link):
    request = link.request(A, ["true"])
    request["ticket"]["deadline_boottime_s"] = link.ask("ping")["boottime_s"] - 0.001
    assert link.ask("launch", **request)["code"] == "ticket_expired"
    assert link.state(A)["state"] == "absent"


def test_a_ticket_of_another_boot_is_refused(link: Link):
    request = link.request(A, ["true"])
    request["ticket"]["boot"] = {**link.boot, "boot_id": "another"}
    assert link.ask("launch", **request)["code"] == "wrong_boot"


def test_after_a_reboot_an_unfinished_attempt_is_rebooted_and_a_finished_one_keeps_its_end(link: Link, root: Path):
    link.launch(A, ["sleep", "30"])
    link.launch("abcd1.2", ["true"])
    link.until_ended("abcd1.2")
    for attempt in (A, "abcd1.2"):
        claim = root / "a" / attempt / "claim.json"
        claim.write_text(json.dumps({**json.loads(claim.read_text()), "boot": {"boot_id": "before"}}))
    assert link.state(A)["state"] == "rebooted"
    assert link.launch(A, ["sleep", "30"])["state"] == "rebooted"
    assert link.state("abcd1.2")["state"] == "exited"


def test_a_daemon_of_an_older_epoch_has_no_say(connect: Callable[..., Link]):
    old, new = connect(), connect()
    new.epoch = 7
    assert new.hello()["epoch_max"] == 7
    assert old.launch(A, ["true"])["code"] == "stale_daemon"
    assert old.stop(A)["code"] == "stale_daemon"
    assert old.ask("hello", protocol=1, epoch=6)["code"] == "stale_daemon"
    assert old.state(A)["state"] == "absent"
    assert new.launch(A, ["true"])["state"] in ("running", "exited")


def test_a_command_that_does_not_exist_ends_with_a_plain_word(link: Link):
    link.launch(A, ["/no/such/program"], restarts={"max": 3, "backoff_s": 0})
    end = link.until_ended(A)
    assert (end["state"], end["exit"]["rc"], end["restarts"], end["executed"]) == ("exited", 127, 0, False)
    assert end["exit"]["error"].startswith("cannot execute '/no/such/program' in ")
    assert end["exit"]["error"].endswith("No such file or directory")


def test_the_job_sees_its_place_and_not_ours(link: Link, root: Path, tmp_path: Path):
    argv = [*SHOW, str(tmp_path / "seen"), "word"]
    link.launch(A, argv, env={"MINE": "é"}, params={"lr": 0.1}, secret={"WANDB_API_KEY": "hush"})
    assert link.until_ended(A)["exit"]["rc"] == 0
    _, env, cwd = json.loads((tmp_path / "seen").read_text())
    assert (env["MINE"], env["WANDB_API_KEY"], env["SHEETD_ATTEMPT"]) == ("é", "hush", A)
    assert (env["SHEETD_ID"], env["SHEETD_RESTART"], env["SHEETD_RESUME"]) == ("abcd1", "0", "0")
    assert cwd == env["SHEETD_OUTPUT_DIR"] == str(root / "x" / "abcd1" / "out")
    assert Path(env["CHECKPOINT_DIR"]).is_dir()
    assert json.loads(Path(env["SHEETD_PARAMS_FILE"]).read_text()) == {"lr": 0.1}


def test_secrets_reach_the_job_and_no_file(link: Link, root: Path):
    link.launch(A, ["sleep", "30"], secret={"TOKEN": "s3cr3t-value"})
    for path in root.rglob("*"):
        if path.is_file():
            assert b"s3cr3t-value" not in path.read_bytes(), path
    for pid in living(str(root)):
        assert b"s3cr3t-value" not in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_job_starts_with_default_signals_and_only_its_own_descriptors(link: Link, tmp_path: Path):
    link.launch(
        A,
        [
            "sh",
            "-c",
            f"grep -E '^Sig(Ign|Blk)' /proc/self/status > {tmp_path}/signals; ls /proc/self/fd > {tmp_path}/fds",
        ],
    )
    assert link.until_ended(A)["exit"]["rc"] == 0
    masks = dict(line.split() for line in (tmp_path / "signals").read_text().splitlines())
    assert {int(mask, 16) for mask in masks.values()} == {0}
    assert set((tmp_path / "fds").read_text().split()) <= {"0", "1", "2", "3"}  # 3 is ls reading the folder


def test_a_later_attempt_resumes_from_the_newest_older_one_that_has_a_checkpoint(
    link: Link, root: Path, tmp_path: Path
):
    link.launch("abcd1.1", ["sh", "-c", 'echo 1 > "$CHECKPOINT_DIR/step_1.pt"'])
    link.until_ended("abcd1.1")
    link.launch("abcd1.2", ["sh", "-c", 'echo 2 > "$CHECKPOINT_DIR/.step_2.pt.tmp"'])
    link.until_ended("abcd1.2")
    seen = tmp_path / "seen"
    link.launch("abcd1.3", ["false"], resume_argv=["sh", "-c", f'echo "$SHEETD_RESUME $SHEETD_RESUME_DIR" > {seen}'])
    assert link.until_ended("abcd1.3")["exit"]["rc"] == 0
    assert seen.read_text().split() == ["1", str(root / "x/abcd1/checkpoints/a1")]


def test_a_rerun_resumes_from_nothing(link: Link, tmp_path: Path):
    link.launch("abcd1.1", ["sh", "-c", 'echo 1 > "$CHECKPOINT_DIR/step_1.pt"'])
    link.until_ended("abcd1.1")
    link.launch("abcd1.2", ["sh", "-c", f'echo "$SHEETD_RESUME" > {tmp_path}/seen'], resume=False)
    link.until_ended("abcd1.2")
    assert (tmp_path / "seen").read_text().split() == ["0"]


def test_closing_the_channel_ends_the_agent_and_leaves_the_job(connect: Callable[..., Link]):
    first = connect()
    pid = first.launch(A, ["sleep", "30"])["pid"]
    assert first.close() == 0
    second = connect()
    state = second.state(A)
    assert (state["state"], state["pid"], state["supervised"]) == ("running", pid, True)
    second.stop(A, grace_s=0)
    assert second.until_ended(A)["exit"]["stopped"]


def test_a_killed_agent_leaves_the_job(connect: Callable[..., Link]):
    first = connect()
    first.launch(A, ["sleep", "30"])
    first.kill()
    assert connect().state(A)["supervised"]


def test_a_supervisor_keeps_nothing_of_the_connection(link: Link, root: Path):
    link.launch(A, ["sleep", "30"])
    keeper = json.loads((root / "a" / A / "supervisor.json").read_text())["keeper"][0]
    assert Path(f"/proc/{keeper}/cwd").readlink() == Path("/")
    assert os.getsid(keeper) != os.getsid(link.process.pid)
    targets = [str(path.readlink()) for path in Path(f"/proc/{keeper}/fd").iterdir()]
    assert targets.count("/dev/null") >= 3
    pipes = {str(Path(f"/proc/{link.process.pid}/fd/{number}").readlink()) for number in (0, 1)}
    assert not pipes & set(targets)


def test_forgetting_gives_disk_back_and_keeps_the_end(link: Link, root: Path):
    link.launch(A, ["sh", "-c", "echo long output; exit 3"])
    link.until_ended(A)
    answer = link.ask("forget", attempt=A, epoch=1)
    assert answer["state"]["state"] == "exited"
    assert link.state(A)["exit"]["rc"] == 3
    assert not (root / "a" / A / "log").exists()
    assert link.launch(A, ["sh", "-c", "echo long output; exit 3"])["state"] == "exited"


def test_what_has_not_ended_cannot_be_forgotten(link: Link, root: Path):
    link.launch(A, ["sleep", "30"])
    assert link.ask("forget", attempt=A, epoch=1)["code"] == "not_ended"
    keeper = json.loads((root / "a" / A / "supervisor.json").read_text())["keeper"][0]
    os.kill(keeper, signal.SIGKILL)
    assert link.ask("forget", attempt=A, epoch=1)["code"] == "not_ended"


def test_the_hosts_lock_is_waited_for(link: Link, root: Path):
    with (root / "host.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        number = link.send("launch", **link.request(A, ["true"]))
        assert not select.select([link.out], [], [], 0.3)[0]
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert link.answer(number)["ok"]["state"]["state"] in ("running", "exited")


def test_requests_of_one_write_are_answered_in_order(link: Link):
    link.raw(b"".join(frame(link.nonce, {"id": number, "verb": "ping"}) for number in range(50)))
    assert [link.receive()["id"] for _ in range(50)] == list(range(50))


@pytest.mark.parametrize("gone", [(), ("wake", "sup.lock", "claim.json"), ("",)], ids=["whole", "torn", "none"])
def test_a_launch_takes_what_was_laid_out_and_makes_what_is_missing(link: Link, root: Path, gone: tuple[str, ...]):
    """A power cut may tear it, and a killed agent leaves a part of it."""
    blank = root / "a" / ".blank"
    until("it is laid out", (blank / "wake").exists)
    for name in gone:
        if name:
            (blank / name).unlink()
        else:
            shutil.rmtree(blank)
            shutil.rmtree(root / "x" / ".blank")
    assert link.launch(A, ["true"])["state"] in ("running", "exited")
    assert link.until_ended(A)["exit"]["rc"] == 0
    until("it is laid out again", (blank / "wake").exists)
    assert (root / "a" / A / "reserve").stat().st_size > 0
    assert (root / "x" / A.partition(".")[0] / "out").is_dir()


def test_what_was_laid_out_for_a_restart_is_not_left_behind(link: Link, root: Path):
    link.launch(A, ["true"], restarts={"max": 3, "backoff_s": 0})
    link.until_ended(A)
    until("no blank is left", lambda: not [one for one in (root / "a" / A).iterdir() if one.name.startswith(".")])
