"""`sheetd service`: what is decided before and after systemd is asked, and what a person reads when it refuses."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sheetd.cli import installing
from sheetd.cli.app import app
from sheetd.cli.linger import user_name
from sheetd.cli.service_manager import call, with_runtime_folder
from sheetd.errors import ConfigError, SheetdError
from sheetd.journal.lock import DaemonLock, holder_of
from tests.cli.fake_manager import FakeManager

Invoke = Callable[..., Result]
NAME = "sheetd-my-lab"


def make_lab(folder: Path, *, template: str = 'command = ["true"]\n', host: str = "local = true") -> Path:
    (folder / "templates").mkdir(parents=True)
    (folder / "templates" / "job.toml").write_text(template)
    (folder / "sheetd.toml").write_text(f'[daemon]\nstate_dir = "state"\n[[hosts]]\nname = "gpu1"\n{host}\n')
    return folder / "sheetd.toml"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return make_lab(tmp_path / "my lab")


@pytest.fixture
def units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the user's units are."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "systemd" / "user"


@pytest.fixture
def fake(tmp_path: Path, units: Path, monkeypatch: pytest.MonkeyPatch) -> FakeManager:
    assert not units.exists()
    monkeypatch.setattr(sys, "platform", "linux")
    made = FakeManager(tmp_path / "fake", monkeypatch)
    monkeypatch.setattr(installing, "holder_of", made.holder)
    return made


@pytest.fixture
def service(config: Path) -> Invoke:
    def service(*words: str, at: Path | None = config, answer: str | None = None) -> Result:
        more = [] if at is None else ["--config", str(at)]
        return CliRunner().invoke(app, ["service", *words, *more], catch_exceptions=False, input=answer)

    return service


def said(result: Result) -> str:
    return " ".join(result.output.split())


# --- install -----------------------------------------------------------------------------------------------------


def test_the_unit_is_written_enabled_and_started(service: Invoke, fake: FakeManager, units: Path, config: Path) -> None:
    told = said(service("install", "--no-linger"))
    assert f"{NAME} is installed and runs." in told
    assert fake.calls() == [
        "systemctl daemon-reload",
        f"systemctl enable {NAME}.service",
        f"systemctl restart {NAME}.service",
    ]
    text = (units / f"{NAME}.service").read_text()
    assert f'ExecStart={sys.executable} -m sheetd run --as-service --config "{config}"\n' in text
    assert f"PATH={os.environ['PATH']}" in text
    assert [file.name for file in units.iterdir()] == [f"{NAME}.service"]


def test_installing_again_disturbs_nobody(service: Invoke, fake: FakeManager) -> None:
    service("install", "--no-linger")
    fake.calls()
    assert f"{NAME} is installed and runs already; nothing has changed." in said(service("install"))
    assert fake.calls() == [f"systemctl enable {NAME}.service", f"systemctl start {NAME}.service"]


def test_after_an_update_of_sheetd_the_daemon_is_restarted(service: Invoke, fake: FakeManager) -> None:
    service("install", "--no-linger")
    fake.calls()
    assert f"{NAME} was restarted; jobs have gone on." in said(service("install", "--restart"))
    assert fake.calls() == [f"systemctl enable {NAME}.service", f"systemctl restart {NAME}.service"]


def test_a_unit_that_changed_is_updated_and_its_daemon_restarted(
    service: Invoke, fake: FakeManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    service("install", "--no-linger")
    fake.calls()
    monkeypatch.setenv("PATH", os.environ["PATH"] + ":/opt/bin")
    assert f"{NAME} is updated and was restarted; jobs have gone on." in said(service("install"))
    assert "systemctl daemon-reload" in fake.calls()


def test_a_dry_run_prints_the_unit_and_asks_nobody(service: Invoke, fake: FakeManager, units: Path) -> None:
    shown = service("install", "--dry-run").output
    assert shown.startswith("# Written by `sheetd service install`")
    assert "\nType=notify\n" in shown
    assert not units.exists()
    assert (fake.folder / "calls").read_text() == ""


def test_a_wrong_configuration_is_refused_before_anything_else(
    service: Invoke, fake: FakeManager, units: Path, config: Path
) -> None:
    config.write_text("[daemon]\nstate_dri = 1\n")
    with pytest.raises(ConfigError, match="state_dri"):
        service("install")
    assert not units.exists()
    assert fake.calls() == []


def test_a_lab_without_templates_is_refused(service: Invoke, fake: FakeManager, config: Path) -> None:
    (config.parent / "templates" / "job.toml").unlink()
    with pytest.raises(ConfigError, match="there is no template"):
        service("install")
    assert fake.calls() == []


@pytest.mark.usefixtures("fake")
def test_a_lab_that_a_terminal_serves_is_left_to_it(
    service: Invoke, config: Path, units: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installing, "holder_of", holder_of)
    state = config.parent / "state"
    state.mkdir()
    lock = DaemonLock(state)
    with pytest.raises(SheetdError, match=rf"process {os.getpid()} on .* serves this lab already: end that daemon"):
        service("install")
    lock.release()
    assert not units.exists()


def test_a_daemon_that_does_not_start_leaves_its_last_words_and_nothing_else(
    service: Invoke, fake: FakeManager, units: Path
) -> None:
    fake.fail("restart", f'Job for {NAME}.service failed because of it.\nSee "systemctl --user status".')
    fake.note("log", "sheetd: port 80 cannot be used\n\x1b[31mMain process exited\n")
    with pytest.raises(SheetdError) as refused:
        service("install")
    first, *log = str(refused.value).splitlines()
    why = f"`systemctl --user restart {NAME}.service` failed: Job for {NAME}.service failed because of it"
    assert first == f"the daemon did not start: {why}. Nothing was installed."
    assert log == ["The end of its log:", "    sheetd: port 80 cannot be used", "    Main process exited"]
    assert list(units.iterdir()) == []
    assert fake.calls()[-3:] == [
        f"systemctl disable --now {NAME}.service",
        "systemctl daemon-reload",
        f"systemctl reset-failed {NAME}.service",
    ]


def test_an_update_that_does_not_start_puts_the_former_unit_back(
    service: Invoke, fake: FakeManager, units: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service("install", "--no-linger")
    before = (units / f"{NAME}.service").read_text()
    monkeypatch.setenv("PATH", os.environ["PATH"] + ":/opt/bin")
    fake.fail("restart", "no")
    with pytest.raises(SheetdError, match="The former unit is back in its place"):
        service("install")
    assert (units / f"{NAME}.service").read_text() == before
    assert fake.calls()[-1] == f"systemctl restart {NAME}.service"


def test_a_daemon_that_does_not_hold_its_lab_has_not_started(
    service: Invoke, fake: FakeManager, units: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installing, "SERVING_PATIENCE_S", 0.0)
    fake.note("running", "ActiveState=active\nMainPID=1\n")
    with pytest.raises(SheetdError, match="the daemon runs, but does not hold"):
        service("install")
    assert list(units.iterdir()) == []


# --- which service -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("fake")
def test_two_labs_in_folders_of_one_name_need_two_names(service: Invoke, tmp_path: Path, config: Path) -> None:
    service("install", "--no-linger")
    other = make_lab(tmp_path / "elsewhere" / "my lab")
    with pytest.raises(
        SheetdError, match=rf"serves another configuration, {re.escape(str(config))}: choose another name"
    ):
        service("install", at=other)


def test_another_name_keeps_both(service: Invoke, fake: FakeManager, units: Path, tmp_path: Path) -> None:
    service("install", "--no-linger")
    fake.note("state")
    other = make_lab(tmp_path / "elsewhere" / "my lab")
    service("install", "--no-linger", "--name", "second", at=other)
    assert sorted(file.name for file in units.iterdir()) == [f"{NAME}.service", "sheetd-second.service"]
    assert "sheetd-second running" in said(service("status", at=other))


@pytest.mark.usefixtures("fake")
def test_one_lab_has_one_service(service: Invoke) -> None:
    service("install", "--no-linger", "--name", "first")
    with pytest.raises(SheetdError, match="is served by sheetd-first already"):
        service("install", "--name", "second")
    assert "sheetd-first is installed and runs already" in said(service("install"))


@pytest.mark.usefixtures("fake")
def test_a_lab_is_one_lab_however_one_gets_there(service: Invoke, config: Path, tmp_path: Path) -> None:
    service("install", "--no-linger")
    (tmp_path / "link").symlink_to(config.parent)
    assert NAME in said(service("status", at=tmp_path / "link" / "sheetd.toml"))
    assert NAME in said(service("status", at=config.parent / ".." / "my lab" / "sheetd.toml"))


@pytest.mark.parametrize("verb", ["install", "uninstall"])
def test_a_unit_that_somebody_wrote_by_hand_is_left_alone(
    service: Invoke, fake: FakeManager, units: Path, verb: str
) -> None:
    units.mkdir(parents=True)
    (units / f"{NAME}.service").write_text("[Service]\nExecStart=/bin/true\n")
    with pytest.raises(SheetdError, match="was not written by `sheetd service install`"):
        service(verb)
    assert (units / f"{NAME}.service").read_text() == "[Service]\nExecStart=/bin/true\n"
    assert fake.calls() == []


# --- no systemd --------------------------------------------------------------------------------------------------


def test_without_a_user_manager_it_says_why_and_what_works_instead(
    service: Invoke, fake: FakeManager, units: Path, config: Path
) -> None:
    fake.note("no-manager")
    with pytest.raises(SheetdError) as refused:
        service("install")
    assert "Failed to connect to bus: No medium found" in str(refused.value)
    assert f"tmux new -d -s sheetd sheetd run --config '{config}'" in str(refused.value)
    assert not units.exists()


def test_without_systemd_it_says_so(
    service: Invoke, fake: FakeManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nothing").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(SheetdError, match=r"this machine has no systemd\. sheetd also runs in tmux"):
        service("install")
    assert fake.calls() == []


def test_a_program_that_hangs_does_not_hang_us() -> None:
    with pytest.raises(SheetdError, match=r"`sleep 100` has not ended within 0 s"):
        call(("sleep", "100"), os.environ, within_s=0.05)


def test_sudo_su_finds_the_manager_of_who_it_is_now(tmp_path: Path) -> None:
    run, uid = tmp_path / "run", os.geteuid()
    own = run / str(uid)
    bare = {"HOME": "/home/kim", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/user/7/bus"}
    assert with_runtime_folder(bare, uid, run=run) == bare
    own.mkdir(parents=True)
    assert with_runtime_folder(bare, uid, run=run) == {"HOME": "/home/kim", "XDG_RUNTIME_DIR": str(own)}
    gone = {"XDG_RUNTIME_DIR": str(tmp_path / "gone")}
    assert with_runtime_folder(gone, uid, run=run) == {"XDG_RUNTIME_DIR": str(own)}
    ours = {"XDG_RUNTIME_DIR": str(tmp_path), **bare}
    assert with_runtime_folder(ours, uid, run=run) == ours


# --- linger ------------------------------------------------------------------------------------------------------


def test_what_lingering_means_is_said_with_the_command_when_nobody_can_be_asked(
    service: Invoke, fake: FakeManager
) -> None:
    told = said(service("install"))
    assert "Without lingering, systemd ends your services" in told
    assert f"To enable it: loginctl enable-linger {user_name()}" in told
    assert not [call for call in fake.calls() if call.startswith("loginctl")]


@pytest.mark.parametrize(("answer", "is_enabled"), [("\n", True), ("y\n", True), ("n\n", False)])
def test_on_a_terminal_it_is_asked_and_yes_is_meant(
    service: Invoke, fake: FakeManager, monkeypatch: pytest.MonkeyPatch, answer: str, *, is_enabled: bool
) -> None:
    monkeypatch.setattr("sheetd.cli.linger.is_terminal", lambda: True)
    told = said(service("install", answer=answer))
    assert "Enable lingering? [Y/n]" in told
    assert ("Lingering is enabled" in told) is is_enabled
    assert (f"loginctl enable-linger {user_name()}" in fake.calls()) is is_enabled


def test_a_script_says_so_beforehand(service: Invoke, fake: FakeManager) -> None:
    assert "Lingering is enabled" in said(service("install", "--linger"))
    assert fake.calls()[-1] == f"loginctl enable-linger {user_name()}"


def test_where_only_root_may_a_script_fails_and_the_service_runs(
    service: Invoke, fake: FakeManager, units: Path
) -> None:
    fake.fail("enable-linger", "Could not enable linger: Access denied")
    with pytest.raises(SheetdError, match=r"the service runs, but .*Access denied.*sudo loginctl enable-linger"):
        service("install", "--linger")
    assert (units / f"{NAME}.service").exists()


def test_a_person_reads_the_command_for_root(
    service: Invoke, fake: FakeManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sheetd.cli.linger.is_terminal", lambda: True)
    fake.fail("enable-linger", "Could not enable linger: Access denied")
    assert f"Type: sudo loginctl enable-linger {user_name()}" in said(service("install", answer="\n"))


def test_who_lingers_already_is_asked_nothing(service: Invoke, fake: FakeManager) -> None:
    fake.note("linger", "yes\n")
    assert "It goes on while you are logged out, and starts at boot" in said(service("install"))


# --- what the daemon lacks ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("fake")
def test_secrets_that_the_service_has_not_are_named_with_the_file_for_them(service: Invoke, tmp_path: Path) -> None:
    lab = make_lab(
        tmp_path / "secret",
        template='command = ["true"]\nsecrets = ["HF_TOKEN", "WANDB_API_KEY"]\n',
        host="use_ssh_agent = true",
    )
    file = tmp_path / "config" / "sheetd" / "sheetd-secret.env"
    told = said(service("install", "--no-linger", at=lab))
    assert "The daemon needs HF_TOKEN, WANDB_API_KEY, SSH_AUTH_SOCK in its environment" in told
    assert f"put NAME=value lines into {file} (chmod 600), then `sheetd service install --restart`" in told
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("HF_TOKEN=a\nWANDB_API_KEY=b\nSSH_AUTH_SOCK=/c\n")
    assert "The daemon needs" not in said(service("install", "--restart", at=lab))


# --- status, logs, uninstall -------------------------------------------------------------------------------------


def test_status_of_a_running_service(service: Invoke, fake: FakeManager, units: Path, config: Path) -> None:
    service("install", "--no-linger")
    shown = service("status")
    assert shown.exit_code == 0
    assert re.search(rf"{NAME} running for .* \(process {os.getpid()}\)", said(shown))
    assert "restarts 2" in said(shown)
    fake.note("linger", "yes\n")
    told = json.loads(service("status", "--json").output)
    assert told.pop("running_s") > 0
    assert told == {
        "name": NAME,
        "installed": True,
        "enabled": True,
        "running": True,
        "state": "running",
        "pid": os.getpid(),
        "restarts": 2,
        "result": "success",
        "linger": True,
        "file": str(units / f"{NAME}.service"),
        "config": str(config),
        "sheet": "",
    }


def test_status_of_a_service_that_does_not_run_is_1_and_says_how_it_ended(service: Invoke, fake: FakeManager) -> None:
    service("install", "--no-linger")
    fake.note("state", "ActiveState=activating\nSubState=auto-restart\nResult=watchdog\nNRestarts=7\nMainPID=0\n")
    shown = service("status")
    assert shown.exit_code == 1
    assert f"{NAME} not running (auto-restart, watchdog)" in said(shown)
    assert "restarts 7" in said(shown)
    assert service("status", "--json").exit_code == 1


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("verb", ["status", "logs", "uninstall"])
def test_what_is_not_installed_is_named_with_what_installs_it(service: Invoke, verb: str) -> None:
    with pytest.raises(SheetdError, match=rf"no service {NAME} is installed .*`sheetd service install` makes it"):
        service(verb)


def test_the_log_is_that_of_the_unit_and_of_this_user_only(
    service: Invoke, fake: FakeManager, capfd: pytest.CaptureFixture[str]
) -> None:
    service("install", "--no-linger")
    fake.calls()
    fake.note("log", "one line\n")
    assert service("logs", "-n", "7", "-f").exit_code == 0
    assert "one line" in capfd.readouterr().out
    ours = f"_UID={os.geteuid()}"
    (asked,) = fake.calls()
    options, _, matches = asked.partition(f" {ours} ")
    assert options == "journalctl --quiet --no-pager --lines=7 --follow"
    assert matches == f"SYSLOG_IDENTIFIER={NAME} + {ours} USER_UNIT={NAME}.service"


def test_uninstalling_stops_removes_and_says_that_jobs_go_on(service: Invoke, fake: FakeManager, units: Path) -> None:
    service("install", "--no-linger")
    fake.calls()
    assert f"{NAME} is uninstalled and the daemon has ended. Jobs go on" in said(service("uninstall"))
    assert fake.calls() == [
        f"systemctl disable --now {NAME}.service",
        "systemctl daemon-reload",
        f"systemctl reset-failed {NAME}.service",
    ]
    assert list(units.iterdir()) == []


def test_a_lab_that_is_gone_can_still_be_uninstalled_by_its_name(
    service: Invoke, fake: FakeManager, config: Path, units: Path
) -> None:
    service("install", "--no-linger")
    fake.calls()
    shutil.rmtree(config.parent)
    assert "is uninstalled" in said(service("uninstall", "--name", "my-lab", at=None))
    assert list(units.iterdir()) == []


def test_a_daemon_that_cannot_be_stopped_stays_installed(service: Invoke, fake: FakeManager, units: Path) -> None:
    service("install", "--no-linger")
    fake.fail("disable", "Access denied")
    with pytest.raises(SheetdError, match=r"`systemctl --user disable --now .* failed: Access denied"):
        service("uninstall")
    assert (units / f"{NAME}.service").exists()


def test_ctrl_c_while_it_waits_installs_nothing(
    service: Invoke, fake: FakeManager, units: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(installing, "_await_daemon", interrupt)
    assert service("install").exit_code == 130
    assert list(units.iterdir()) == []
    assert f"systemctl disable --now {NAME}.service" in fake.calls()
