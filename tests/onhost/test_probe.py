"""Real agents ask fake vendors' tools: at once from what is known, one probe at a time, and never a guess."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.onhost.link import Link, clean_up, until
from tests.rig.vendor_tools import FakeNvidia

A = "abcd1.1"
ONE, TWO = (f"GPU-{secrets.token_hex(4)}-{number}" for number in (1, 2))  # leases are the whole machine's
ODD = Path(__file__).with_name("odd_machine.py")
HOLD = "import sys, time; held = open(sys.argv[1]); open(sys.argv[2], 'w').write('up'); time.sleep(60)"


class Laboratory:
    """Agents on one machine, below as many roots as there are users of it."""

    def __init__(self, folder: Path, *cards: str) -> None:
        self.folder = folder
        self.tool = FakeNvidia(folder / "bin", *(cards or (ONE, TWO)))
        self.links: list[Link] = []
        self.roots: list[Path] = []
        self.held: list[subprocess.Popen[bytes]] = []

    def root(self, name: str = "root") -> Path:
        place = self.folder / name
        place.mkdir(mode=0o700, exist_ok=True)
        self.roots.append(place)
        return place

    def link(self, root: str = "root", **odd: Any) -> Link:
        """An agent that has said hello."""
        place = self.root(root)
        for name in ("a", "agents"):
            (place / name).mkdir(mode=0o700, exist_ok=True)
        env = {**os.environ, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}
        link = Link(place, [sys.executable, str(ODD), str(place), json.dumps(odd)], env)
        self.links.append(link)
        link.hello()
        return link

    def stranger(self, path: Path | None = None) -> int:
        """A process that is none of ours, with this file open."""
        ready = self.folder / f"up{len(self.held)}"
        script = [sys.executable, "-c", HOLD, str(path or "/dev/null"), str(ready)]
        self.held.append(subprocess.Popen(script, env={}, start_new_session=True))
        until("the stranger is there", ready.exists)
        return self.held[-1].pid

    def close(self) -> None:
        self.tool.answers_again()
        for link in self.links:
            link.kill()
        for process in self.held:
            process.kill()
            process.wait()
        for root in self.roots:
            clean_up(root)
        clean_up(self.folder / "bin")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Laboratory]:
    laboratory = Laboratory(tmp_path)
    yield laboratory
    laboratory.close()


def ask(link: Link, max_age_s: float = 0.0) -> dict[str, Any]:
    return link.ask("accelerators", max_age_s=max_age_s, idle_memory_mb=300)


def probed(link: Link) -> dict[str, Any]:
    """What is pushed when the probe that is asked for here has ended."""
    link.pushes = [push for push in link.pushes if push["push"] != "accelerators"]
    assert ask(link)["is_probing"]
    return link.next_push("accelerators")


def states(seen: dict[str, Any]) -> dict[str, str]:
    return {one["id"]: one["state"] for one in seen["accelerators"]}


def given(*ids: str, kind: str = "nvidia") -> list[dict[str, Any]]:
    return [{"kind": kind, "id": id_} for id_ in ids]


def test_the_first_answer_is_that_nothing_is_known_and_the_probe_is_pushed(lab: Laboratory):
    link = lab.link()
    first = ask(link)
    assert (first["accelerators"], first["age_s"], first["samples"], first["is_probing"]) == ([], None, 0, True)
    seen = link.next_push("accelerators")
    assert states(seen) == {ONE: "free", TWO: "free"}
    assert (seen["samples"], seen["is_probing"]) == (2, False)
    assert seen["age_s"] < 20
    assert seen["accelerators"][0]["model"] == "NVIDIA A100-SXM4-80GB"


def test_a_young_answer_asks_no_tool(lab: Laboratory):
    link = lab.link()
    probed(link)
    before = lab.tool.calls()
    assert ask(link, max_age_s=1000.0)["is_probing"] is False
    assert lab.tool.calls() == before


def test_a_host_without_tools_and_devices_is_a_cpu_host(lab: Laboratory, tmp_path: Path):
    (lab.folder / "bin" / "nvidia-smi").unlink()
    link = lab.link(hardware=str(tmp_path / "nothing"))
    seen = probed(link)
    assert (seen["accelerators"], seen["notes"], seen["samples"]) == ([], [], 2)


def test_somebody_elses_process_is_named(lab: Laboratory):
    link = lab.link()
    pid = lab.stranger()
    lab.tool.occupy(TWO, pid)
    seen = probed(link)
    assert states(seen) == {ONE: "free", TWO: "foreign"}
    holder = seen["accelerators"][1]["holders"][0]
    assert holder["pid"] == pid
    assert holder["user"]
    assert holder["command"].startswith("python")
    lab.tool.leave(TWO, pid)
    assert states(probed(link)) == {ONE: "free", TWO: "unknown"}  # one sample since; the next agrees
    assert states(probed(link)) == {ONE: "free", TWO: "free"}


def test_our_job_and_its_children_are_ours(lab: Laboratory, tmp_path: Path):
    link = lab.link()
    probed(link)
    script = f"env -i sleep 60 & echo $! > {tmp_path}/child; wait"
    state = link.launch(A, ["sh", "-c", script], accelerators=given(ONE))
    child = until("the child", lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text())
    lab.tool.occupy(ONE, state["pid"])
    lab.tool.occupy(ONE, int(child))
    seen = probed(link)
    assert states(seen) == {ONE: "ours", TWO: "free"}
    assert seen["accelerators"][0]["attempts"] == [A]
    lab.tool.occupy(ONE, lab.stranger())
    assert states(probed(link))[ONE] == "foreign"
    lab.tool.leave(ONE, state["pid"])
    lab.tool.leave(ONE, int(child))
    link.stop(A, grace_s=0)
    link.until_ended(A)


def test_an_accelerator_is_not_given_back_while_its_driver_still_lists_the_job(lab: Laboratory):
    link = lab.link(unkillable_s=0.3)
    probed(link)
    state = link.launch(A, ["sleep", "60"], accelerators=given(ONE))
    lab.tool.occupy(ONE, state["pid"])
    link.stop(A, grace_s=0)
    words = f"its driver still lists process {state['pid']} on {ONE}"
    stuck = until("it says what hinders it", lambda: (said := link.state(A))["reason"] == words and said)
    assert (stuck["state"], stuck["unkillable"]) == ("stopping", True)
    assert link.launch("abcd1.2", ["true"], accelerators=given(ONE))["code"] == "accelerator_busy"
    lab.tool.leave(ONE, state["pid"])
    end = link.until_ended(A)
    assert (end["state"], end["exit"]["stopped"], end["unkillable"]) == ("exited", True, False)
    assert link.launch("abcd1.3", ["sleep", "60"], accelerators=given(ONE))["state"] == "running"


def test_an_accelerator_that_is_leased_and_not_used_yet_is_not_free(lab: Laboratory):
    link = lab.link()
    probed(link)
    link.launch(A, ["sleep", "60"], accelerators=given(ONE))
    assert states(probed(link)) == {ONE: "ours", TWO: "free"}
    other = lab.link("other-user")
    assert states(probed(other)) == {ONE: "foreign", TWO: "free"}


def test_a_card_that_vanishes_is_sick(lab: Laboratory):
    link = lab.link()
    probed(link)
    lab.tool.uuids = (ONE,)
    lab.tool.show()
    seen = probed(link)
    assert states(seen) == {ONE: "free", TWO: "sick"}


def test_a_driver_that_does_not_answer_any_more_makes_every_card_sick(lab: Laboratory):
    link = lab.link()
    probed(link)
    lab.tool.says("--query-gpu=index", "Failed to initialize NVML: Driver/library version mismatch\n", 18)
    assert states(probed(link)) == {ONE: "sick", TWO: "sick"}


def test_a_driver_that_knows_no_mig_is_asked_in_older_words_and_only_once(lab: Laboratory):
    modes = "--query-gpu=uuid,mig.mode.current,compute_mode,ecc"
    lab.tool.answers = [one for one in lab.tool.answers if one[0] != modes]
    lab.tool.says("--query-gpu=uuid,compute_mode", f"{ONE}, Default\n{TWO}, Prohibited\n")
    link = lab.link()
    assert states(probed(link)) == {ONE: "free", TWO: "foreign"}
    asked = [call for call in lab.tool.calls() if call.startswith("--query-gpu=uuid")]
    assert len([call for call in asked if "recovery" in call]) == 1


def test_a_slow_tool_is_noted(lab: Laboratory):
    lab.tool.is_slow(0.3)
    assert probed(lab.link())["notes"] == []
    assert probed(lab.link("hurried", slow_s=0.2))["notes"][0].endswith(" s: enable nvidia-persistenced")


def test_a_tool_that_hangs_makes_unknown_and_after_three_times_sick(lab: Laboratory):
    link = lab.link(deadline_s=0.3)
    probed(link)
    lab.tool.hangs()
    assert states(probed(link)) == {ONE: "unknown", TWO: "unknown"}
    assert states(probed(link)) == {ONE: "unknown", TWO: "unknown"}
    assert states(probed(link)) == {ONE: "sick", TWO: "sick"}
    lab.tool.answers_again()
    until("two samples agree that all is well", lambda: set(states(probed(link)).values()) == {"free"})


def test_a_tool_that_cannot_be_killed_is_never_started_beside_itself(lab: Laboratory):
    link, beside = (lab.link(deadline_s=2.0, tools_survive=True) for _ in range(2))
    probed(link)
    lab.tool.hangs()
    before = len(lab.tool.calls())
    assert set(states(probed(link)).values()) == {"unknown"}
    for _ in range(3):
        assert ask(link)["is_probing"]
        assert ask(beside)["is_probing"]

    def sick() -> dict[str, Any] | None:
        seen = ask(beside)
        return seen if set(states(seen).values()) == {"sick"} else None

    assert "cannot be killed" in until("it is taken for sick", sick)["notes"][0]
    assert len(lab.tool.calls()) == before + 1
    lab.tool.answers_again()
    until("all is well again", lambda: set(states(ask(link)).values()) == {"free"})


def test_agents_of_one_root_share_one_probe(lab: Laboratory):
    lab.tool.is_slow(0.2)
    links = [lab.link() for _ in range(3)]
    for link in links:
        assert ask(link)["is_probing"]
    for link in links:
        assert states(link.next_push("accelerators")) == {ONE: "free", TWO: "free"}
    assert len([call for call in lab.tool.calls() if call.startswith("--query-gpu=index")]) == 2


def test_a_probe_outlives_the_agent_that_asked(lab: Laboratory):
    lab.tool.is_slow(0.2)
    first = lab.link()
    assert ask(first)["is_probing"]
    first.kill()
    second = lab.link()
    until("the samples are there", lambda: ask(second, max_age_s=1000.0)["samples"] == 2)


@pytest.mark.parametrize("wrong", [{"max_age_s": -1}, {"max_age_s": "soon"}, {"idle_memory_mb": None}])
def test_a_mistaken_request_is_refused(lab: Laboratory, wrong: dict[str, Any]):
    asked = {"max_age_s": 1.0, "idle_memory_mb": 300, **wrong}
    assert lab.link().ask("accelerators", **asked)["code"] == "bad_request"


# --- TPU: device files -----------------------------------------------------------------------------------------------


def plug_in(root: Path, *, accel: int = 0, vfio: tuple[int, ...] = (), strangers: tuple[int, ...] = ()) -> None:
    """Device files, and what the kernel says of the cards behind them."""
    (root / "dev" / "vfio").mkdir(parents=True)
    (root / "dev" / "vfio" / "vfio").touch()
    for number in range(accel):
        card = root / "sys/devices" / f"0000:00:0{number + 4}.0"
        card.mkdir(parents=True)
        (card / "vendor").write_text("0x1ae0\n")
        (card / "device").write_text("0x005e\n")
        place = root / "sys/class/accel" / f"accel{number}"
        place.mkdir(parents=True)
        (place / "device").symlink_to(card)
        (root / "dev" / f"accel{number}").touch()
    for group in (*vfio, *strangers):
        place = root / "sys/kernel/iommu_groups" / str(group) / "devices" / f"0000:00:1{group}.0"
        place.mkdir(parents=True)
        (place / "vendor").write_text("0x1ae0\n" if group in vfio else "0x10de\n")
        (place / "device").write_text("0x0063\n")
        (root / "dev" / "vfio" / str(group)).touch()


@pytest.fixture
def tpu_lab(lab: Laboratory) -> Laboratory:
    (lab.folder / "bin" / "nvidia-smi").unlink()
    return lab


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees who holds a chip")
def test_chips_are_free_or_held_by_whoever_has_the_file_open(tpu_lab: Laboratory, tmp_path: Path):
    hardware = tmp_path / "hardware"
    plug_in(hardware, accel=4)
    pid = tpu_lab.stranger(hardware / "dev" / "accel2")
    seen = probed(tpu_lab.link(hardware=str(hardware)))
    assert list(states(seen).values()) == ["free", "free", "foreign", "free"]
    assert seen["accelerators"][2]["holders"][0]["pid"] == pid
    assert seen["accelerators"][0]["id"] == "TPU-0000:00:04.0"
    assert {one["model"] for one in seen["accelerators"]} == {"TPU v4"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees who holds a chip")
def test_a_group_of_another_maker_is_no_chip(tpu_lab: Laboratory, tmp_path: Path):
    hardware = tmp_path / "hardware"
    plug_in(hardware, vfio=(0, 1), strangers=(2,))
    seen = probed(tpu_lab.link(hardware=str(hardware)))
    assert states(seen) == {"TPU-0000:00:10.0": "free", "TPU-0000:00:11.0": "free"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees who holds a chip")
def test_the_end_of_a_job_removes_the_lock_that_it_left_and_nobody_elses(tpu_lab: Laboratory, tmp_path: Path):
    hardware = tmp_path / "hardware"
    plug_in(hardware, accel=1)
    lockfile = hardware / "tmp" / "libtpu_lockfile"
    lockfile.parent.mkdir()
    link = tpu_lab.link(hardware=str(hardware))
    probed(link)
    link.launch(A, ["touch", str(lockfile)], accelerators=given("TPU-0000:00:04.0", kind="tpu"))
    link.until_ended(A)
    assert not lockfile.exists()
    tpu_lab.stranger(hardware / "dev" / "accel0")
    link.launch("abcd1.2", ["touch", str(lockfile)], accelerators=given("TPU-0000:00:04.0", kind="tpu"))
    link.until_ended("abcd1.2")
    assert lockfile.exists()
