"""How a vendor's program is found and run, and whose eyes look at device files."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from sheetd.onhost import tools
from sheetd.onhost.tools import Tools
from tests.onhost.link import Link, clean_up
from tests.rig.vendor_tools import FakeTool

CARDS = """\
WARNING: AMD GPU device(s) is/are in a low-power state. Check power control/runtime_status

{"card0": {"GPU use (%)": "0", "VRAM Total Memory (B)": "206158430208", "VRAM Total Used Memory (B)": "297766912"},
 "card1": {"GPU use (%)": "97", "VRAM Total Memory (B)": "206158430208", "VRAM Total Used Memory (B)": "151397597184"}}
"""


def program(folder: Path, name: str, script: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)
    return path


def test_a_program_is_found_on_the_path_or_where_its_maker_puts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert Tools().find("vendor-smi") is None
    aside = program(tmp_path / "opt", "vendor-smi", "exit 0\n")
    assert Tools().find("vendor-smi", (str(tmp_path / "opt"),)) == str(aside)
    first = program(tmp_path / "bin", "vendor-smi", "exit 0\n")
    assert Tools().find("vendor-smi", (str(tmp_path / "opt"),)) == str(first)
    first.chmod(0o644)
    assert Tools().find("vendor-smi") is None


def test_both_streams_and_the_exit_code_are_what_it_said(tmp_path: Path):
    said = Tools().run([str(program(tmp_path, "x", "echo out; echo err >&2; exit 9\n"))], 20.0)
    assert (said.code, sorted(said.text.split()), said.hung) == (9, ["err", "out"], False)


def test_what_cannot_be_executed_says_so(tmp_path: Path):
    assert Tools().run([str(tmp_path / "nothing")], 20.0).code == 127


def test_one_that_does_not_end_is_killed_after_its_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tools, "KILL_AFTER_S", 0.1)
    began = time.monotonic()
    said = Tools().run([str(program(tmp_path, "x", "trap '' TERM; echo half; while :; do sleep 0.01; done\n"))], 0.3)
    assert (said.hung, said.text) == (True, "half\n")
    assert time.monotonic() - began < 20.0


def test_a_flood_is_cut(tmp_path: Path):
    said = Tools().run([str(program(tmp_path, "x", "exec head -c 9000000 /dev/zero\n"))], 20.0)
    assert len(said.text) == tools.OUTPUT_BYTES_MAX


# --- whose eyes ------------------------------------------------------------------------------------------------------


@pytest.fixture
def not_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without rights, and the folder where a `sudo` may be."""
    monkeypatch.setattr(tools.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(tools, "FOLDERS", ())
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "dev").mkdir()
    return tmp_path / "bin"


def seen(tmp_path: Path) -> tuple[str, str]:
    (tmp_path / "dev" / "accel0").touch()
    with (tmp_path / "dev" / "accel0").open():
        return Tools(str(tmp_path)).scan(["/dev/accel0"], 20.0, None)


def test_with_sudo_everybody_is_seen(not_root: Path, tmp_path: Path):
    program(not_root, "sudo", '[ "$1" = -n ] || exit 1\nshift\nexec "$@"\n')
    text, trouble = seen(tmp_path)
    assert text.splitlines()[0].startswith(f"/dev/accel0\t{os.getpid()}\t")
    assert (text.splitlines()[-1], trouble) == ("done", "")


def test_without_sudo_or_with_a_password_only_our_own_are_seen(not_root: Path, tmp_path: Path):
    text, trouble = seen(tmp_path)
    assert (text.splitlines()[-1], trouble) == ("nobody", "there is no sudo")
    program(not_root, "sudo", "echo 'sudo: a password is required' >&2; exit 1\n")
    text, trouble = seen(tmp_path)
    assert text.splitlines()[0].startswith(f"/dev/accel0\t{os.getpid()}\t")
    assert (text.splitlines()[-1], trouble) == ("nobody", "sudo: a password is required")


# --- AMD, by a whole agent -------------------------------------------------------------------------------------------


def test_amd_cards_are_asked_for_by_an_agent_in_the_words_that_the_tool_knows(root: Path, tmp_path: Path):
    tool = FakeTool(tmp_path / "bin", "rocm-smi")
    tool.says("--showuse --showmeminfo vram --json", CARDS)
    tool.says("--showpids", '{"system": {"PID28411": "python3, 1, 2353860608, 11011, 0"}}')
    env = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    link = Link(root, env=env)
    link.boot_up()
    link.hello()
    assert link.ask("accelerators", max_age_s=0, idle_memory_mb=300)["is_probing"]
    told = link.next_push("accelerators")["accelerators"]
    assert [(one["kind"], one["id"], one["state"]) for one in told if one["kind"] == "amd"] == [
        ("amd", "AMD-card0", "free"),
        ("amd", "AMD-card1", "foreign"),
    ]
    assert len([call for call in tool.calls() if "--showuniqueid" in call]) == 1
    link.close()
    clean_up(root)
