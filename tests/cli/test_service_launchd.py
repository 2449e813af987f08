"""launchd as far as it can be tried without a Mac: what `launchctl` is asked, and what its answers are taken for."""

from __future__ import annotations

import plistlib
from pathlib import Path

import pytest

from sheetd.cli import service_manager
from sheetd.cli.service_manager import Launchd, file_of, services_of
from sheetd.cli.unit import Unit
from sheetd.errors import SheetdError
from tests.cli.fake_manager import RUNNING_ON_A_MAC, FakeManager

NAME = "sheetd-lab"
CONFIG = Path("/Users/kim/lab/sheetd.toml")


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeManager:
    return FakeManager(tmp_path / "fake", monkeypatch, running=RUNNING_ON_A_MAC)


@pytest.fixture
def launchd(tmp_path: Path) -> Launchd:
    """With the lab's agent in its place, not yet loaded."""
    launchd = Launchd(tmp_path, 501)
    launchd.folder.mkdir(parents=True)
    unit = Unit(name=NAME, python="/usr/bin/python3", config=CONFIG, environment={}, environment_file=tmp_path / "env")
    file_of(launchd, NAME).write_text(launchd.render(unit))
    return launchd


def test_an_agent_is_found_by_what_it_serves(launchd: Launchd, tmp_path: Path) -> None:
    file = tmp_path / "Library" / "LaunchAgents" / f"{NAME}.plist"
    assert plistlib.loads(file.read_bytes())["Label"] == NAME
    assert services_of(launchd, CONFIG) == [NAME]
    assert services_of(launchd, CONFIG.with_name("other.toml")) == []


def test_a_new_agent_is_enabled_and_loaded(launchd: Launchd, fake: FakeManager) -> None:
    launchd.start(NAME, is_new=True, restart=True)
    assert fake.calls() == [
        f"launchctl enable gui/501/{NAME}",
        f"launchctl bootstrap gui/501 {file_of(launchd, NAME)}",
    ]


def test_a_changed_agent_is_loaded_anew(launchd: Launchd, fake: FakeManager) -> None:
    launchd.start(NAME, is_new=True, restart=True)
    fake.calls()
    launchd.start(NAME, is_new=True, restart=True)
    assert [call.split()[1] for call in fake.calls()] == ["bootout", "enable", "bootstrap"]


@pytest.mark.parametrize(("restart", "asked"), [(False, ["enable"]), (True, ["enable", "kickstart"])])
def test_an_agent_that_runs_is_restarted_only_when_asked(
    launchd: Launchd, fake: FakeManager, asked: list[str], *, restart: bool
) -> None:
    launchd.start(NAME, is_new=True, restart=True)
    fake.calls()
    launchd.start(NAME, is_new=False, restart=restart)
    assert [call.split()[1] for call in fake.calls()] == asked


def test_its_state_is_read_from_its_own_lines(launchd: Launchd, fake: FakeManager) -> None:
    assert (launchd.state(NAME).running, launchd.state(NAME).state) == (False, "not loaded")
    launchd.start(NAME, is_new=True, restart=True)
    state = launchd.state(NAME)
    assert (state.installed, state.running, state.pid, state.restarts) == (True, True, fake.pid, 2)
    assert state.result == "last exit code 1"


def test_stopping_what_is_not_loaded_is_done_already(launchd: Launchd, fake: FakeManager) -> None:
    launchd.stop(NAME)
    assert fake.calls() == []


def test_an_agent_that_does_not_end_is_told_of(
    launchd: Launchd, fake: FakeManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    launchd.start(NAME, is_new=True, restart=True)
    monkeypatch.setattr(service_manager, "ASK_S", 1e-6)
    monkeypatch.setattr(service_manager.units, "STOP_PATIENCE_S", 0)
    (fake.folder / "bin" / "launchctl").write_text("#!/bin/sh\nexit 0\n")
    with pytest.raises(SheetdError, match="was asked to end the daemon, and has not"):
        launchd.stop(NAME)


def test_a_mac_without_a_login_session_is_told_what_works_instead(launchd: Launchd, fake: FakeManager) -> None:
    fake.fail("print", "Could not find domain for user")
    with pytest.raises(SheetdError, match=r"(?s)logged in at the Mac itself.*Could not find domain.*tmux new -d"):
        launchd.refuse_if_absent(CONFIG)


def test_what_launchctl_complains_of_is_handed_on(launchd: Launchd, fake: FakeManager) -> None:
    fake.fail("bootstrap", "Bootstrap failed: 5: Input/output error")
    with pytest.raises(SheetdError, match=r"`launchctl bootstrap gui/501 .*` failed: Bootstrap failed: 5"):
        launchd.start(NAME, is_new=True, restart=True)


def test_the_log_is_a_file(launchd: Launchd, tmp_path: Path) -> None:
    log = tmp_path / "Library" / "Logs" / f"{NAME}.log"
    assert launchd.log_argv(NAME, 9, follow=True) == ("tail", "-n", "9", "-F", str(log))
    log.parent.mkdir()
    log.write_text("one\ntwo\nthree\n")
    assert launchd.last_words(NAME, 2, since_wall_s=0.0) == ["two", "three"]
