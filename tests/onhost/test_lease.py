"""One accelerator has one holder on a machine, whoever starts it; a job is told of its own and no others."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sheetd.onhost import visibility
from sheetd.onhost.lease import Lease, is_leased, lease_name
from sheetd.onhost.system import System
from tests.onhost.link import Link, until
from tests.onhost.test_probe import Laboratory, given, probed

A = "abcd1.1"
SHOW = [sys.executable, "-c", "import sys,os,json;json.dump(dict(os.environ), open(sys.argv[1],'w'))"]


@pytest.fixture
def card() -> str:
    """Leases are the whole machine's: each test has a card of its own."""
    return f"GPU-{secrets.token_hex(8)}"


@pytest.fixture
def lab(tmp_path: Path, card: str) -> Iterator[Laboratory]:
    laboratory = Laboratory(tmp_path, card, card + "b")
    yield laboratory
    laboratory.close()


def ready(lab: Laboratory, root: str = "root") -> Link:
    """An agent that knows the accelerators."""
    link = lab.link(root)
    probed(link)
    return link


def keeper_of(root: Path, attempt: str) -> int:
    pid: int = json.loads((root / "a" / attempt / "supervisor.json").read_text())["keeper"][0]
    return pid


# --- the names -------------------------------------------------------------------------------------------------------


def lease(card: str, share: int | None = None) -> Lease:
    return Lease(System(), [{"kind": "nvidia", "id": card, "share": share}])


def test_the_whole_and_its_shares_exclude_each_other_and_shares_do_not(card: str):
    whole, first, second = lease(card), lease(card, 0), lease(card, 1)
    assert whole.take() is None
    assert first.take() == card
    first.give_back()
    whole.give_back()
    assert first.take() is None
    assert second.take() is None
    assert lease(card, 0).take() == card
    again = lease(card)
    assert again.take() == card
    for one in (again, first):
        one.give_back()
    assert is_leased(System(), card)
    second.give_back()
    assert not is_leased(System(), card)


def test_taking_again_what_is_held_changes_nothing(card: str):
    one = lease(card)
    assert one.take() is None
    assert one.take() is None
    one.give_back()


def test_a_lease_ends_with_the_last_process_that_has_it(card: str):
    one = lease(card)
    one.take()
    handle = one.handles[lease_name(card)]
    heir = subprocess.Popen(["sleep", "60"], pass_fds=(handle,))
    one.give_back()
    assert is_leased(System(), card)
    heir.kill()
    heir.wait()
    assert not is_leased(System(), card)


def test_each_attempt_has_a_port_of_its_own_that_nobody_listens_on():
    first, second = lease("x"), lease("x")
    with socket.socket() as listener:
        one = first.take_port(A)
        assert one is not None
        assert second.take_port(A) not in (None, one)
        first.give_back()
        listener.bind(("127.0.0.1", one))
        third = lease("x")
        assert third.take_port(A) not in (None, one)
        third.give_back()
    second.give_back()


# --- attempts --------------------------------------------------------------------------------------------------------


def test_a_second_user_of_the_machine_is_refused_and_nothing_was_started(lab: Laboratory, card: str, tmp_path: Path):
    ours, theirs = ready(lab), ready(lab, "theirs")
    ours.launch(A, ["sleep", "60"], accelerators=given(card))
    argv = ["touch", str(tmp_path / "started")]
    for _ in range(2):  # the repeated launch is answered like the first
        refused = theirs.launch("wxyz1.1", argv, accelerators=given(card))
        assert refused["code"] == "accelerator_busy"
        assert card in refused["message"]
    state = theirs.state("wxyz1.1")
    assert (state["state"], state["executed"]) == ("revoked", False)
    assert "is leased by another attempt" in state["reason"]
    assert theirs.launch("wxyz1.2", ["sleep", "60"], accelerators=given(card + "b"))["state"] == "running"
    ours.stop(A, grace_s=1)
    ours.until_ended(A)
    assert theirs.launch("wxyz1.3", ["sleep", "60"], accelerators=given(card))["state"] == "running"
    assert not (tmp_path / "started").exists()


def test_two_of_which_one_is_taken_are_both_left_alone(lab: Laboratory, card: str):
    link = ready(lab)
    link.launch(A, ["sleep", "60"], accelerators=given(card + "b"))
    assert link.launch("abcd1.2", ["true"], accelerators=given(card, card + "b"))["code"] == "accelerator_busy"
    assert link.launch("abcd1.3", ["sleep", "60"], accelerators=given(card))["state"] == "running"


def test_an_accelerator_that_is_not_there_is_refused(lab: Laboratory, card: str):
    link = ready(lab)
    refused = link.launch(A, ["true"], accelerators=given("GPU-elsewhere"))
    assert (refused["code"], link.state(A)["state"]) == ("accelerator_gone", "revoked")
    assert link.launch("abcd1.2", ["true"], accelerators=given(card, kind="amd"))["code"] == "accelerator_gone"


def test_the_lease_outlives_the_supervisor_and_goes_over_to_the_next(lab: Laboratory, card: str):
    link = ready(lab)
    link.launch(A, ["sleep", "60"], accelerators=given(card))
    keeper = keeper_of(lab.folder / "root", A)
    os.kill(keeper, signal.SIGKILL)
    assert is_leased(System(), card)
    until("it is replaced", lambda: link.state(A)["supervised"] and keeper_of(lab.folder / "root", A) != keeper)
    assert is_leased(System(), card)
    link.stop(A, grace_s=1)
    link.until_ended(A)
    assert not is_leased(System(), card)


def test_a_restart_keeps_the_lease(lab: Laboratory, card: str, tmp_path: Path):
    link = ready(lab)
    script = f"echo x >> {tmp_path}/runs; [ $(wc -l < {tmp_path}/runs) -ge 3 ] && exec sleep 60; exit 1"
    link.launch(A, ["sh", "-c", script], accelerators=given(card), restarts={"max": 5, "backoff_s": 0})
    until("the third run", lambda: link.state(A)["restarts"] == 2)
    assert link.launch("abcd1.2", ["true"], accelerators=given(card))["code"] == "accelerator_busy"


def test_shares_of_one_accelerator_run_side_by_side(lab: Laboratory, card: str):
    link = ready(lab)
    for number in (0, 1):
        shared = [{"kind": "nvidia", "id": card, "share": number}]
        assert link.launch(f"abcd1.{number}", ["sleep", "60"], accelerators=shared)["state"] == "running"
    assert link.launch("abcd1.7", ["true"], accelerators=given(card))["code"] == "accelerator_busy"


@pytest.mark.parametrize(
    "wrong",
    [
        "GPU-1",
        [{"kind": "nvidia"}],
        [{"kind": "floppy", "id": "GPU-1"}],
        [{"kind": "nvidia", "id": "GPU-1\n"}],
        [{"kind": "nvidia", "id": "x" * 200}],
        [{"kind": "nvidia", "id": "GPU-1", "share": 16}],
        [{"kind": "nvidia", "id": "GPU-1", "share": True}],
        [{"kind": "nvidia", "id": "GPU-1"}, {"kind": "nvidia", "id": "GPU-1"}],
    ],
)
def test_a_mistaken_wish_is_refused_before_anything_exists(lab: Laboratory, wrong: Any):
    link = lab.link()
    assert link.launch(A, ["true"], accelerators=wrong)["code"] == "bad_request"
    assert link.state(A)["state"] == "absent"


# --- what a job is told ----------------------------------------------------------------------------------------------


def env_of(link: Link, out: Path, attempt: str = A, **spec: Any) -> dict[str, str]:
    link.launch(attempt, [*SHOW, str(out)], **spec)
    assert link.until_ended(attempt)["exit"]["rc"] == 0
    env: dict[str, str] = json.loads(out.read_text())
    return env


def test_a_job_sees_its_cards_by_uuid_and_no_template_can_show_it_others(lab: Laboratory, card: str, tmp_path: Path):
    hostile = {"CUDA_VISIBLE_DEVICES": "0,1", "CUDA_DEVICE_ORDER": "FASTEST_FIRST"}
    env = env_of(ready(lab), tmp_path / "seen", accelerators=given(card), env=hostile)
    assert (env["CUDA_VISIBLE_DEVICES"], env["CUDA_DEVICE_ORDER"]) == (card, "PCI_BUS_ID")
    assert env["OMP_NUM_THREADS"] == str(max(1, len(os.sched_getaffinity(0)) // 2))
    assert 20000 <= int(env["MASTER_PORT"]) < 30000


def test_a_template_may_choose_threads_and_port(lab: Laboratory, card: str, tmp_path: Path):
    wanted = {"OMP_NUM_THREADS": "7", "MASTER_PORT": "29500"}
    env = env_of(ready(lab), tmp_path / "seen", accelerators=given(card), env=wanted)
    assert {name: env[name] for name in wanted} == wanted


def test_a_job_on_a_plain_slot_is_told_nothing_of_cards(lab: Laboratory, tmp_path: Path):
    env = env_of(lab.link(), tmp_path / "seen", env={"CUDA_VISIBLE_DEVICES": "3"})
    assert env["CUDA_VISIBLE_DEVICES"] == "3"
    assert "OMP_NUM_THREADS" not in env


def test_two_jobs_at_once_have_two_ports(lab: Laboratory, tmp_path: Path):
    link = lab.link()
    for number in (1, 2):
        script = f"echo $MASTER_PORT > {tmp_path}/.{number}; mv {tmp_path}/.{number} {tmp_path}/{number}; sleep 60"
        link.launch(f"abcd1.{number}", ["sh", "-c", script])
    for number in (1, 2):
        until("the port", (tmp_path / str(number)).exists)
    assert (tmp_path / "1").read_text() != (tmp_path / "2").read_text()


def chips(*indices: int, total: int = 4) -> dict[str, str]:
    mine = [{"kind": "tpu", "id": f"TPU-{n}", "index": n, "total": total} for n in indices]
    binding: dict[str, str] = visibility.place(mine, 8, 20000)["binding"]
    return binding


def test_one_tpu_chip_of_four():
    assert chips(2) == {
        "TPU_CHIPS_PER_PROCESS_BOUNDS": "1,1,1",
        "TPU_PROCESS_BOUNDS": "1,1,1",
        "TPU_VISIBLE_DEVICES": "2",
        "TPU_VISIBLE_CHIPS": "2",
        "TPU_MESH_CONTROLLER_ADDRESS": "localhost:8478",
        "TPU_MESH_CONTROLLER_PORT": "8478",
        "TPU_RUNTIME_METRICS_PORTS": "8433",
    }


def test_two_tpu_chips_of_four_and_all_of_them():
    assert chips(3, 2)["TPU_VISIBLE_DEVICES"] == "2,3"
    assert chips(3, 2)["TPU_CHIPS_PER_PROCESS_BOUNDS"] == "1,2,1"
    assert chips(0, 1, 2, 3) == {}
    assert chips(0, 1, 2, 3, total=8)["TPU_CHIPS_PER_PROCESS_BOUNDS"] == "2,2,1"


def test_amd_cards_are_named_to_rocr_and_counted_to_hip():
    mine = [{"kind": "amd", "id": "GPU-9246cdeeb5e0e1b9", "index": 1}, {"kind": "amd", "id": "AMD-card3", "index": 3}]
    assert visibility.binding(mine, 4) == {
        "ROCR_VISIBLE_DEVICES": "GPU-9246cdeeb5e0e1b9,3",
        "HIP_VISIBLE_DEVICES": "0,1",
    }
