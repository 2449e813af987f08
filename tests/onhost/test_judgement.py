"""The pure decisions, one promise a test."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from sheetd.onhost.judgement import (
    Facts,
    Identity,
    Process,
    environment,
    how_it_ended,
    judge,
    who_to_signal,
)
from sheetd.onhost.restarting import Policy, next_step

NOTHING = Facts(
    ending=None,
    claimed=True,
    tomb=False,
    same_boot=True,
    supervised=False,
    alive=False,
    runs=0,
    recorded=True,
    stop=False,
    backoff=False,
)
POLICY = Policy(restarts_max=3, backoff_s=1.0, backoff_s_max=5.0, healthy_s=600.0)
PLACE = {
    "id": "abcd1",
    "attempt": "abcd1.2",
    "marker": "m" * 32,
    "k": 0,
    "resume": None,
    "out": "/r/out",
    "checkpoints": "/r/c",
    "metrics": "/r/m",
    "params": "/r/p",
    "library": "/r/lib",
    "binding": {},
    "sensible": {},
}


def end(**changes: Any) -> dict[str, Any]:
    base = {"rc": 1, "signal": None, "error": None, "executed": True, "duration_s": 1.0, "ended": 100.0}
    return {**base, **changes}


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"claimed": False}, "absent"),
        ({}, "claimed"),
        ({"supervised": True}, "claimed"),
        ({"tomb": True}, "revoked"),
        ({"tomb": True, "same_boot": False}, "revoked"),
        ({"same_boot": False, "runs": 1}, "rebooted"),
        ({"same_boot": False, "runs": 1, "ending": {"lost": False}}, "exited"),
        ({"runs": 1, "supervised": True, "alive": True}, "running"),
        ({"runs": 1, "supervised": False, "alive": True}, "running"),
        ({"runs": 1, "supervised": True, "recorded": False}, "claimed"),
        ({"runs": 1, "supervised": False, "recorded": False}, "running"),
        ({"runs": 1, "supervised": True, "backoff": True}, "restarting"),
        ({"runs": 2, "supervised": True, "backoff": True, "alive": True}, "running"),
        ({"runs": 1, "supervised": True, "alive": True, "stop": True}, "stopping"),
        ({"runs": 1, "stop": True, "ending": {"lost": False}}, "exited"),
        ({"runs": 1, "ending": {"lost": True}}, "lost"),
    ],
)
def test_state_follows_from_the_facts(changes: dict[str, Any], state: str):
    assert judge(NOTHING._replace(**changes)) == state


def test_no_end_is_said_without_an_exit_record():
    for supervised in (False, True):
        for alive in (False, True):
            facts = NOTHING._replace(runs=1, supervised=supervised, alive=alive)
            assert judge(facts) not in ("exited", "lost")


def test_the_shims_testimony_beats_a_wait_status():
    ended = how_it_ended({"rc": 3, "signal": None}, status=70 << 8, recorded=True)
    assert (ended["rc"], ended["executed"]) == (3, True)


def test_a_wait_status_serves_where_the_testimony_is_missing():
    assert how_it_ended(None, status=signal.SIGKILL, recorded=True)["signal"] == signal.SIGKILL
    assert how_it_ended(None, status=4 << 8, recorded=True)["rc"] == 4


def test_an_unrecorded_run_was_never_executed_whatever_its_processes_returned():
    ended = how_it_ended(None, status=70 << 8, recorded=False)
    assert ended["executed"] is False
    assert ended["rc"] is None
    assert how_it_ended({"unstarted": True, "rc": None}, status=None, recorded=True)["executed"] is False


def test_success_and_an_unseen_end_are_never_restarted():
    assert next_step(POLICY, [end(rc=0)], secrets_lost=False).restart_at is None
    assert next_step(POLICY, [end(rc=None)], secrets_lost=False).restart_at is None


def test_a_crash_is_restarted_after_a_doubling_backoff_with_a_limit():
    waits = []
    for count in range(1, 8):
        step = next_step(POLICY._replace(restarts_max=99), [end()] * count, secrets_lost=False)
        assert step.restart_at is not None
        waits.append(step.restart_at - 100.0)
    assert waits == [1, 2, 4, 5, 5, 5, 5]


def test_a_healthy_run_starts_the_backoff_afresh_but_not_the_budget():
    ends = [end(), end(), end(duration_s=700.0)]
    assert next_step(POLICY, ends, secrets_lost=False).restart_at == 101.0
    given_up = next_step(POLICY, [*ends, end(duration_s=700.0)], secrets_lost=False)
    assert given_up.restart_at is None
    assert given_up.gave_up == "crashed 4 times, last exit code 1; restarts allowed: 3"


def test_a_command_that_cannot_be_executed_is_not_tried_again():
    step = next_step(POLICY, [end(rc=127, error="cannot execute 'x'", executed=False)], secrets_lost=False)
    assert step == (None, "cannot execute 'x'")


def test_a_run_that_was_never_executed_is_started_without_a_wait():
    assert next_step(POLICY, [end(rc=None, executed=False)], secrets_lost=False).restart_at == 100.0


def test_without_its_secrets_a_job_is_not_restarted():
    step = next_step(POLICY, [end()], secrets_lost=True)
    assert step.restart_at is None
    assert "secrets" in str(step.gave_up)


def process(
    pid: int, parent: int = 1, session: int = 0, *, ticks: int = 7, dead: bool = False, marked: bool = False
) -> Process:
    return Process(Identity(pid, ticks), parent, session or pid, dead, marked)


INIT = process(1, parent=0)
KEEPER = process(50)
SHIM = process(60, parent=50, session=60)
JOB = process(61, parent=60, session=60)
KNOWN = {SHIM.identity, JOB.identity}


def pids(table: list[Process], known: set[Identity] = KNOWN) -> list[int]:
    return [one.pid for one in who_to_signal(table, known, keeper=50)]


def test_every_net_catches_alone():
    family = [INIT, KEEPER, SHIM, JOB]
    assert pids([*family, process(70, marked=True)]) == [60, 61, 70]
    assert pids([*family, process(70, session=60)]) == [60, 61, 70]
    assert pids([*family, process(70, parent=61)]) == [60, 61, 70]
    assert pids([*family, process(70, parent=50)]) == [60, 61, 70]
    assert pids([*family, process(70, parent=71), process(71, parent=61)]) == [60, 61, 70, 71]


def test_foreign_processes_are_never_named():
    foreign = [process(80), process(81, parent=80), process(2, parent=0)]
    assert pids([INIT, KEEPER, SHIM, JOB, *foreign]) == [60, 61]


def test_a_reused_number_is_not_ours():
    stranger = process(61, ticks=9999)
    in_its_session = process(62, session=60)
    assert pids([INIT, KEEPER, process(60, ticks=9999), stranger, in_its_session]) == []


def test_a_zombie_shim_still_vouches_for_its_session_but_is_not_signalled():
    shim = process(60, parent=50, session=60, dead=True)
    assert pids([INIT, KEEPER, shim, process(70, session=60)]) == [70]


def test_the_supervisor_its_ancestors_and_init_are_spared_even_when_marked():
    table = [
        INIT._replace(marked=True),
        process(40, marked=True),
        process(50, parent=40, marked=True),
        process(60, parent=50, session=60),
    ]
    assert pids(table) == [60]


def test_a_loop_of_parents_ends():
    assert pids([process(50, parent=51), process(51, parent=50)]) == []


def test_a_job_inherits_little_and_learns_who_it_is():
    login = {b"PATH": b"/bin", b"HOME": b"/h", b"SLURM_JOB_ID": b"9", b"RANK": b"3", b"SSH_AUTH_SOCK": b"/s"}
    env = environment(login, {"env": {"A": "é", "PYTHONPATH": "/mine"}}, {"KEY": "k"}, PLACE)
    assert env[b"PATH"] == b"/bin"
    assert not {b"SLURM_JOB_ID", b"RANK", b"SSH_AUTH_SOCK"} & set(env)
    assert env[b"A"] == "é".encode()
    assert env[b"KEY"] == b"k"
    assert env[b"PYTHONPATH"] == b"/r/lib:/mine"
    assert env[b"SHEETD_ATTEMPT"] == b"abcd1.2"
    assert env[b"SHEETD_RESUME"] == b"0"
    assert b"SHEETD_RESUME_DIR" not in env
    assert env[b"WANDB_RUN_ID"] == b"abcd1"


def test_a_job_learns_where_the_rows_lie_that_it_runs_after():
    env = environment({}, {"env": {"SHEETD_AFTER": "xone xtwo"}}, {}, {**PLACE, "out": "/r/x/abcd1/out"})
    assert env[b"SHEETD_AFTER"] == b"xone xtwo"
    assert env[b"SHEETD_AFTER_DIRS"] == b"/r/x/xone:/r/x/xtwo"


def test_a_template_cannot_take_an_attempts_name():
    env = environment({}, {"env": {"SHEETD_ATTEMPT": "other.1", "WANDB_RUN_ID": "mine"}}, {}, PLACE)
    assert env[b"SHEETD_ATTEMPT"] == b"abcd1.2"
    assert env[b"WANDB_RUN_ID"] == b"mine"
