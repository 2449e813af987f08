"""`sheetd host add`, `check` and `remove`, against real sshds: what a person sees, and what the disk holds then."""

from __future__ import annotations

import functools
import json
import os
import signal
import stat
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sheetd.cli import host, preflight
from sheetd.cli.app import app
from sheetd.cli.survival import survive
from sheetd.errors import SheetdError
from tests.acceptance.conftest import sheet_section
from tests.acceptance.person import Person
from tests.acceptance.project import Project
from tests.needs import needs_rig, needs_sshd
from tests.rig.fleet import Fleet
from tests.rig.light_sshd import ADDRESS, LightSshd, make_key
from tests.rig.waiting import wait_for
from tests.sheets.builtin_rig import Address

OWN = '# my own notes\n[[hosts]]\nname = "here"   # this very machine\nlocal = true\n'


@dataclass
class Lab:
    """A configuration with one local host, and the command line over it."""

    folder: Path
    ssh_config: Path

    @property
    def config(self) -> Path:
        return self.folder / "sheetd.toml"

    @property
    def pins(self) -> Path:
        return self.folder / "state" / "known_hosts"

    def type(self, *words: str, answer: str = "") -> tuple[int, str]:
        """Exit code, and everything that was said."""
        done = CliRunner().invoke(app, ["host", *words, "--config", str(self.config)], input=answer)
        if isinstance(done.exception, SheetdError):
            return 1, f"{done.output}\nsheetd: {done.exception}"
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output


def lab_with(folder: Path, ssh_config: Path) -> Lab:
    (folder / "templates").mkdir(parents=True)
    lab = Lab(folder, ssh_config)
    lab.config.write_text(f'[daemon]\nstate_dir = "state"\nssh_config = "{ssh_config}"\n\n{OWN}')
    return lab


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "QUICK_CLOSED_S", 1.0)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LightSshd]:
    with LightSshd(tmp_path) as server:
        server.known_hosts.write_text("")
        yield server


@pytest.fixture
def lab(tmp_path: Path, server: LightSshd) -> Lab:
    return lab_with(tmp_path / "lab", server.ssh_config)


def fingerprint(key: Path) -> str:
    return subprocess.run(["ssh-keygen", "-lf", str(key)], capture_output=True, text=True, check=True).stdout.split()[1]


def root_of(server: LightSshd) -> str:
    """A folder of its own: without one the machine of these tests is configured already, as `here`."""
    return str(server.folder / "root")


# --- add ---------------------------------------------------------------------------------------------------------


@needs_sshd
def test_a_host_is_added_after_its_key_was_compared_and_everything_was_tried(lab: Lab, server: LightSshd) -> None:
    before = lab.config.read_text()
    words = ("add", "light", "--root", root_of(server), "--slots", "2", "--label", "a100", "--label", "big", "--quick")
    code, said = lab.type(*words, answer="y\n")
    assert code == 0, said
    assert fingerprint(server.host_key) in said
    assert "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub" in said
    for what in ("login", "python", "state folder", "disk", "clock", "survival"):
        assert f"ok       {what}" in said
    assert "the same machine as here, each with a folder and slots of its own" in " ".join(said.split())
    assert "outlived 1 s without any connection, and was stopped completely" in said
    entry = f'[[hosts]]\nname = "light"\nslots = 2\nlabels = ["a100", "big"]\nroot = "{root_of(server)}"\n'
    assert lab.config.read_text() == f"{before}\n{entry}"
    assert entry in said
    blob = server.host_key.with_suffix(".pub").read_text().split()[1]
    assert lab.pins.read_text() == f"[{ADDRESS}]:{server.port} ssh-ed25519 {blob}\n"
    assert stat.S_IMODE(lab.pins.stat().st_mode) == 0o600
    assert server.known_hosts.read_text() == "", "the user's own file is the user's"
    assert lab.type("check", "light", "--quick")[0] == 0, "the kept key is enough"


@needs_sshd
def test_the_very_first_host_is_added_to_a_file_without_any(lab: Lab, server: LightSshd) -> None:
    server.trust(server.port)
    without = lab.config.read_text().removesuffix(OWN)
    lab.config.write_text(without)
    code, said = lab.type("check")
    assert (code, "`sheetd host add NAME`" in said) == (1, True), "all other commands need one"
    code, said = lab.type("add", "light", "--quick")
    assert code == 0, said
    assert lab.config.read_text() == f'{without}\n[[hosts]]\nname = "light"\n'


@needs_sshd
@pytest.mark.parametrize("answer", ["n\n", "\n", "no idea\n"])
def test_whatever_is_not_yes_is_no(lab: Lab, answer: str) -> None:
    before = lab.config.read_text()
    code, said = lab.type("add", "light", answer=answer)
    assert code == 1
    assert "was not accepted; nothing was changed" in said
    assert lab.config.read_text() == before
    assert not lab.pins.exists()


@needs_sshd
def test_without_anybody_to_ask_the_right_fingerprint_has_to_be_brought_along(lab: Lab, server: LightSshd) -> None:
    code, said = lab.type("add", "light")
    assert (code, "nobody is there to compare: give --yes --fingerprint" in said) == (1, True)
    code, said = lab.type("add", "light", "--yes")
    assert (code, "a host key that nobody compared is never accepted" in said) == (1, True)
    code, said = lab.type("add", "light", "--yes", "--fingerprint", "SHA256:" + "x" * 43)
    assert (code, "somebody is in between" in said) == (1, True)
    assert not lab.pins.exists()
    right = fingerprint(server.host_key)
    code, said = lab.type("add", "light", "--yes", "--fingerprint", right, "--root", root_of(server), "--quick")
    assert code == 0, said


@needs_sshd
def test_a_key_that_ssh_knows_is_kept_without_a_question(lab: Lab, server: LightSshd) -> None:
    server.trust(server.port)
    code, said = lab.type("add", "light", "--root", root_of(server), "--quick")
    assert code == 0, said
    assert "is known to your `ssh` already" in said
    assert lab.pins.exists()


@needs_sshd
def test_a_changed_key_is_loud_and_replaced_only_after_a_yes(lab: Lab, server: LightSshd, tmp_path: Path) -> None:
    other = make_key(tmp_path / "other")
    lab.pins.parent.mkdir()
    lab.pins.write_text(f"# mine\n[{ADDRESS}]:{server.port} {other.with_suffix('.pub').read_text()}")
    code, said = lab.type("add", "light", answer="n\n")
    assert code == 1
    assert "has CHANGED" in said
    assert fingerprint(other) in said
    assert fingerprint(server.host_key) in said
    code, said = lab.type("add", "light", "--root", root_of(server), "--quick", answer="y\n")
    assert code == 0, said
    assert other.with_suffix(".pub").read_text().split()[1] not in lab.pins.read_text()
    assert lab.pins.read_text().startswith("# mine\n")


@needs_sshd
def test_the_keys_of_jump_hosts_are_compared_on_the_way(lab: Lab, server: LightSshd) -> None:
    server.write_ssh_config(server.port, "ProxyJump jump", "HostKeyAlias inner")
    with server.ssh_config.open("a") as config:
        config.write(f"Host jump\n HostName {ADDRESS}\n Port {server.port}\n HostKeyAlias outer\n")
    code, said = lab.type("add", "light", "--root", root_of(server), "--quick", answer="y\ny\n")
    assert code == 0, said
    assert "jump (on the way to light)" in said
    assert [line.split()[0] for line in lab.pins.read_text().splitlines()] == ["outer", "inner"]


@needs_sshd
def test_this_machine_under_a_second_name_is_refused_and_names_the_first(lab: Lab) -> None:
    before = lab.config.read_text()
    code, said = lab.type("add", "light", "--quick", answer="y\n")
    assert code == 1
    assert "failed   machine" in said
    assert "configured as here already" in said
    assert "survival" not in said
    assert "It was not added" in said
    assert lab.config.read_text() == before


@needs_sshd
def test_what_does_not_work_is_named_with_the_next_step(lab: Lab, server: LightSshd) -> None:
    server.trust(server.port)
    (server.folder / "root").mkdir()
    (server.folder / "root").chmod(0o777)
    code, said = lab.type("add", "light", "--root", root_of(server))
    assert (code, "failed   state folder" in said, "--root" in said) == (1, True, True)
    (server.home / ".bashrc").write_text("export PATH=/nowhere\n")
    code, said = lab.type("add", "light")
    assert (code, "failed   python" in said, "install Python 3.6" in said) == (1, True, True)
    (server.folder / "authorized_keys").write_text("")
    code, said = lab.type("add", "light")
    assert (code, "failed   login" in said, "authorized_keys" in said) == (1, True, True)
    server.stop()
    code, said = lab.type("add", "light")
    assert (code, "refuses connections" in said) == (1, True)


@needs_sshd
def test_a_host_that_is_there_already_is_tried_again_and_stays_as_it_is(lab: Lab, server: LightSshd) -> None:
    server.trust(server.port)
    assert lab.type("add", "light", "--root", root_of(server), "--quick")[0] == 0
    before = lab.config.read_text()
    code, said = lab.type("add", "light", "--quick")
    assert code == 0, said
    assert "is the one that is kept" in said
    assert lab.config.read_text() == before
    assert "change its entry there" in lab.type("add", "light", "--slots", "3")[1]


def test_a_name_that_leads_nowhere_says_where_it_belongs(tmp_path: Path) -> None:
    key = make_key(tmp_path / "key")
    (tmp_path / "config").write_text(f"Host *\n IdentityFile {key}\n")
    code, said = lab_with(tmp_path / "lab", tmp_path / "config").type("add", "no-such-host.invalid")
    assert code == 1
    assert "the name no-such-host.invalid cannot be looked up" in said
    assert f"{tmp_path / 'config'} has no HostName for it, and DNS and /etc/hosts were asked" in said
    assert f"add `Host no-such-host.invalid` to {tmp_path / 'config'}, and below it its `HostName`" in said


def test_a_name_that_cannot_be_one_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("")
    code, said = lab_with(tmp_path / "lab", tmp_path / "config").type("add", "root@10.0.0.1")
    assert code == 1
    assert "cannot be a host's name" in said


# --- check -------------------------------------------------------------------------------------------------------


@needs_sshd
def test_check_looks_at_all_hosts_at_once_and_its_exit_code_tells(lab: Lab, server: LightSshd) -> None:
    server.trust(server.port)
    assert lab.type("add", "light", "--root", root_of(server), "--quick")[0] == 0
    code, said = lab.type("check", "--quick", "--json")
    told = json.loads(said)["hosts"]
    assert code == 0, said
    assert [one["host"] for one in told] == ["here", "light"]
    remarks = [(one["host"], check["what"]) for one in told for check in one["checks"] if check["verdict"] != "ok"]
    assert remarks == [("here", "machine"), ("light", "machine")], "two names, a folder each, on one machine"
    server.stop()
    code, said = lab.type("check", "--quick", "--json")
    here, light = json.loads(said)["hosts"]
    assert code == 1
    assert {check["verdict"] for check in here["checks"]} == {"ok"}
    assert [(check["what"], check["verdict"]) for check in light["checks"]] == [("login", "failed")]
    assert lab.type("check", "nobody")[0] == 1


# --- remove ------------------------------------------------------------------------------------------------------


@needs_sshd
def test_a_removed_host_leaves_the_file_as_it_was_and_its_key_is_forgotten(lab: Lab, server: LightSshd) -> None:
    before = lab.config.read_text()
    assert lab.type("add", "light", "--root", root_of(server), "--quick", answer="y\n")[0] == 0
    code, said = lab.type("remove", "light")
    assert code == 0, said
    assert "Its host key is forgotten" in said
    assert lab.config.read_text() == before
    assert lab.pins.read_text() == ""
    code, said = lab.type("remove", "here")
    assert (code, "add another first" in said) == (1, True)


def test_a_host_with_live_experiments_is_not_removed(tmp_path: Path, address: Address, person: Person) -> None:
    home = tmp_path / "home"
    home.mkdir()
    project = Project(
        tmp_path / "lab",
        home=str(home),
        sheet=sheet_section(address.base_url, address),
        hosts="".join(f'[[hosts]]\nname = "{name}"\nlocal = true\nroot = "{name}"\n' for name in ("here", "there")),
    )
    try:
        person.type_rows([{"token": "long", "seconds": 60}])
        project.start()
        wait_for(lambda: person.rows()[0]["status"] == "running", "the row runs", within_s=30)
        row, lab = person.rows()[0], Lab(project.folder, tmp_path)
        code, said = lab.type("remove", row["host"])
        assert code == 1
        assert f"{row['host']} still has {row['id']}" in said
        assert f"`sheetd stop {row['id']}`" in said
        free = "there" if row["host"] == "here" else "here"
        code, said = lab.type("remove", free)
        assert (code, "lets go of it within seconds" in said) == (0, True)
        lab.config.write_text(lab.config.read_text() + f'\n[[hosts]]\nname = "{free}"\nlocal = true\nroot = "{free}"\n')
    finally:
        project.stop_everything()
        project.close()


# --- one machine under two names, in the daemon ------------------------------------------------------------------


@needs_sshd
def test_the_daemon_closes_the_second_name_of_a_machine(tmp_path: Path, address: Address) -> None:
    with LightSshd(tmp_path) as server:
        with server.ssh_config.open("a") as config:
            config.write(f"Host again\n HostName {ADDRESS}\n Port {server.port}\n")
        project = Project(
            tmp_path / "lab",
            home=str(tmp_path),
            sheet=sheet_section(address.base_url, address),
            daemon=f'ssh_config = "{server.ssh_config}"',
            hosts='[[hosts]]\nname = "light"\n[[hosts]]\nname = "again"\n',
        )

        def states() -> list[str]:
            told = json.loads(project.command("hosts", "--json"))["hosts"]
            return [one["state"] for one in told]

        try:
            project.start()
            wait_for(lambda: project.state.joinpath("journal.sqlite").exists(), "the daemon has started")
            wait_for(lambda: states() == ["up", "closed"], "both names have answered", within_s=40)
            assert "same machine as light" in project.command("hosts", "--json")
        finally:
            project.stop()
            project.close()


# --- survival ----------------------------------------------------------------------------------------------------


def lab_of(fleet: Fleet, tmp_path: Path) -> Lab:
    return lab_with(tmp_path / "lab", fleet.ssh_config)


def while_closed(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None]) -> None:
    """Have this happen once while every connection is closed."""
    todo = [happens]

    def pause(_seconds: float) -> None:
        while todo:
            todo.pop()()

    monkeypatch.setattr(preflight, "survive", functools.partial(survive, pause=pause))


def kill_what_was_left(fleet: Fleet) -> None:
    """As logind does after a logout with KillUserProcesses."""
    for pid in fleet[0].pids():
        if Path(f"/proc/{pid}/comm").read_text().startswith(("python", "sheetd")):
            os.kill(pid, signal.SIGKILL)


@needs_rig
@pytest.mark.timeout(120)
def test_a_host_that_ends_what_a_login_leaves_behind_is_not_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Fleet(tmp_path, 1) as fleet:
        lab = lab_of(fleet, tmp_path)
        while_closed(monkeypatch, lambda: kill_what_was_left(fleet))
        code, said = lab.type("add", "host0", "--quick")
        assert code == 1
        assert "failed   survival" in said
        assert "did not outlive" in said
        assert "`loginctl enable-linger` there as root" in said
        assert "host0" not in lab.config.read_text()


@needs_rig
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("linger", "kills", "remedy"),
    [
        ("no", "yes", "even with `enable-linger`: an administrator writes `KillExcludeUsers=root root`"),
        ("no", "no", "type `loginctl enable-linger` there as root"),
        ("yes", "no", "something other than logind"),
    ],
)
def test_what_logind_says_decides_which_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, linger: str, kills: str, remedy: str
) -> None:
    with Fleet(tmp_path, 1) as fleet:
        tell_as_logind(fleet, linger=linger, kills=kills)
        while_closed(monkeypatch, lambda: kill_what_was_left(fleet))
        code, said = lab_of(fleet, tmp_path).type("add", "host0", "--quick")
        assert code == 1
        assert remedy in said
        assert "KillUserProcesses=no" in said


@needs_rig
@pytest.mark.timeout(120)
def test_a_test_during_which_somebody_was_logged_in_proves_little(tmp_path: Path) -> None:
    with Fleet(tmp_path, 1) as fleet:
        lab = lab_of(fleet, tmp_path)
        tell_as_logind(fleet, linger="no", kills="yes", state="active")
        code, said = lab.type("add", "host0", "--quick")
        assert code == 0, said
        assert "warning  survival" in said
        assert "log out there, stop the daemon, and try again" in said
        tell_as_logind(fleet, linger="no", kills="no", state="closing")
        assert "ok       survival" in lab.type("check", "host0", "--quick")[1]


@needs_rig
@pytest.mark.timeout(120)
def test_a_host_that_restarts_when_nobody_is_connected_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Fleet(tmp_path, 1) as fleet:

        def restart() -> None:
            fleet[0].power_off()
            fleet[0].boot()

        while_closed(monkeypatch, restart)
        code, said = lab_of(fleet, tmp_path).type("add", "host0", "--quick")
        assert code == 1
        assert "was restarted as soon as nobody was connected" in said


def tell_as_logind(fleet: Fleet, *, linger: str, kills: str, state: str = "active") -> None:
    """A `loginctl` in the host's home, before all others on its PATH."""
    programs = fleet[0].home / "programs"
    programs.mkdir(exist_ok=True)
    (programs / "loginctl").write_text(
        f"#!/bin/sh\necho Linger={linger}\necho State={state}\necho KillUserProcesses={kills}\n"
    )
    (programs / "loginctl").chmod(0o755)
    (fleet[0].home / ".bashrc").write_text("export PATH=/root/programs:$PATH\n")
