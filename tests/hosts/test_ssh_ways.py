"""The ways to a host that labs really have, over a real sshd: keys, agents, limits, shells, and keys that change."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from paramiko.hostkeys import HostKeyEntry

from sheetd.core.observation import HostSeen, HostUnseen
from sheetd.errors import HostError, HostRefused
from sheetd.hosts.client import REQUEST_DEADLINE_S
from sheetd.hosts.host import SshHost
from sheetd.hosts.pins import Pins
from sheetd.hosts.session import Timing
from sheetd.hosts.ssh import SshChannel
from tests.hosts.seen import Reports
from tests.needs import needs_rig, needs_shells, needs_sshd
from tests.rig.fleet import Fleet
from tests.rig.light_sshd import ADDRESS, LightSshd, make_key
from tests.rig.waiting import wait_for


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LightSshd]:
    with LightSshd(tmp_path) as server:
        yield server


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Path]:
    """An ssh-agent that holds the key `held`; the path is its socket."""
    socket = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    wait_for(socket.exists, "the ssh-agent listens")
    make_key(tmp_path / "held")
    add_to(socket, tmp_path / "held")
    yield socket
    process.terminate()
    process.wait()


def add_to(socket: Path, key: Path) -> None:
    subprocess.run(
        ["ssh-add", "-q", str(key)], env={**os.environ, "SSH_AUTH_SOCK": str(socket)}, check=True, capture_output=True
    )


def host_of(server: LightSshd, *, use_agent: bool = False, pins: Path | None = None) -> SshHost:
    root = str(server.folder / "root")
    return SshHost("gpu1", server.alias, server.ssh_config, epoch=1, root=root, use_agent=use_agent, pins=pins)


def greet(host: SshHost) -> None:
    try:
        assert host.facts().cores
    finally:
        host.close()


def refusal(host: SshHost) -> HostRefused:
    with pytest.raises(HostRefused) as raised:
        host.facts()
    host.close()
    return raised.value


# --- keys --------------------------------------------------------------------------------------------------------


@needs_sshd
def test_several_identity_files_are_tried_in_turn_whatever_is_wrong_with_the_first(
    server: LightSshd, tmp_path: Path
) -> None:
    stranger, locked, garbage = (make_key(tmp_path / name) for name in ("stranger", "locked", "garbage"))
    subprocess.run(["ssh-keygen", "-q", "-p", "-f", str(locked), "-P", "", "-N", "secret"], check=True)
    garbage.write_text("no key\n")
    files = [f"IdentityFile {key}" for key in (garbage, locked, stranger, tmp_path / "missing")]
    server.write_ssh_config(server.port, *files)
    greet(host_of(server))


@needs_sshd
def test_when_no_key_fits_each_is_named_with_its_reason(server: LightSshd, tmp_path: Path) -> None:
    (server.folder / "authorized_keys").write_text("")
    locked = make_key(tmp_path / "locked")
    subprocess.run(["ssh-keygen", "-q", "-p", "-f", str(locked), "-P", "", "-N", "secret"], check=True)
    server.write_ssh_config(server.port, f"IdentityFile {locked}")
    error = refusal(host_of(server))
    assert error.code == "auth_failed"
    assert f"{locked} has a passphrase; {server.key} is not accepted" in str(error)


@needs_sshd
def test_a_key_with_a_passphrase_alone_says_both_ways_out(server: LightSshd) -> None:
    subprocess.run(["ssh-keygen", "-q", "-p", "-f", str(server.key), "-P", "", "-N", "secret"], check=True)
    error = refusal(host_of(server))
    assert f"{server.key} has a passphrase, which sheetd cannot type" in str(error)
    assert "ssh-keygen -t ed25519" in str(error)
    assert "use_ssh_agent = true" in str(error)


@needs_sshd
def test_an_agent_is_used_only_when_it_is_asked_for(
    server: LightSshd, agent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (server.folder / "authorized_keys").write_text((tmp_path / "held.pub").read_text())
    monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
    assert "is not accepted" in str(refusal(host_of(server)))
    greet(host_of(server, use_agent=True))
    server.write_ssh_config(server.port, f"IdentityAgent {agent}")
    monkeypatch.delenv("SSH_AUTH_SOCK")
    greet(host_of(server))
    server.write_ssh_config(server.port, "IdentityAgent none")
    monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
    assert "is not accepted" in str(refusal(host_of(server, use_agent=True)))


@needs_sshd
def test_an_agent_that_has_the_key_of_a_locked_file_opens_the_door(
    server: LightSshd, agent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_to(agent, server.key)
    subprocess.run(["ssh-keygen", "-q", "-p", "-f", str(server.key), "-P", "", "-N", "secret"], check=True)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
    server.write_ssh_config(server.port, "IdentitiesOnly yes")
    greet(host_of(server, use_agent=True))


@needs_sshd
def test_with_identities_only_no_other_key_of_the_agent_is_shown(
    server: LightSshd, agent: Path, tmp_path: Path
) -> None:
    (server.folder / "authorized_keys").write_text((tmp_path / "held.pub").read_text())
    server.write_ssh_config(server.port, f"IdentityAgent {agent}", "IdentitiesOnly yes")
    refusal(host_of(server))
    server.write_ssh_config(server.port, f"IdentityAgent {agent}")
    greet(host_of(server))


@needs_sshd
def test_an_agent_that_does_not_answer_is_named(server: LightSshd, tmp_path: Path) -> None:
    (server.folder / "authorized_keys").write_text("")
    server.write_ssh_config(server.port, f"IdentityAgent {tmp_path}/nobody")
    assert f"the ssh-agent {tmp_path}/nobody cannot be asked" in str(refusal(host_of(server)))


@needs_sshd
def test_a_host_that_hangs_up_after_too_many_keys_is_not_called_unreachable(tmp_path: Path) -> None:
    """Tried again at once, as what passes by itself is, it gets the address banned."""
    with LightSshd(tmp_path, "MaxAuthTries 3") as server:
        strangers = [make_key(tmp_path / f"stranger{number}") for number in range(5)]
        server.write_ssh_config(server.port, *(f"IdentityFile {key}" for key in strangers))
        error = refusal(host_of(server))
    assert error.code == "auth_failed"
    assert "MaxAuthTries" in str(error)
    assert "IdentitiesOnly yes" in str(error)


@needs_sshd
def test_a_host_that_wants_a_second_factor_says_so(tmp_path: Path) -> None:
    options = ("AuthenticationMethods publickey,keyboard-interactive", "KbdInteractiveAuthentication yes")
    with LightSshd(tmp_path, *options) as server:
        error = refusal(host_of(server))
    assert "wants more (keyboard-interactive), which sheetd cannot type" in str(error)


# --- host keys ---------------------------------------------------------------------------------------------------


def look(server: LightSshd, pins: Path) -> str:
    return SshChannel("gpu1", server.alias, server.ssh_config, pins).host_key().state


@needs_sshd
def test_a_pinned_key_is_trusted_and_needs_no_other_file(server: LightSshd, tmp_path: Path) -> None:
    server.known_hosts.write_text("")
    pins = Pins(tmp_path / "pins")
    shown = SshChannel("gpu1", server.alias, server.ssh_config, pins.path).host_key()
    assert shown.state == "unknown"
    assert shown.name == f"[{ADDRESS}]:{server.port}"
    pins.pin(shown.name, shown.kind, shown.blob)
    assert look(server, pins.path) == "known"
    greet(host_of(server, pins=pins.path))
    assert server.known_hosts.read_text() == ""


@needs_sshd
def test_looking_at_a_host_key_tries_no_login(server: LightSshd, tmp_path: Path) -> None:
    """Else a few looks at a host whose key file is still missing would count as an attack."""
    (server.folder / "authorized_keys").write_text("")
    assert look(server, tmp_path / "pins") == "known"
    assert "Failed publickey" not in (server.folder / "sshd.log").read_text()


@needs_sshd
def test_a_pin_is_above_what_the_user_s_file_says(server: LightSshd, tmp_path: Path) -> None:
    stale = make_key(tmp_path / "stale")
    server.known_hosts.write_text(f"[{ADDRESS}]:{server.port} {stale.with_suffix('.pub').read_text()}")
    pins = Pins(tmp_path / "pins")
    assert look(server, pins.path) == "changed"
    kind, blob = server.host_key.with_suffix(".pub").read_text().split()[:2]
    pins.pin(f"[{ADDRESS}]:{server.port}", kind, blob)
    assert look(server, pins.path) == "known"


@needs_sshd
@pytest.mark.parametrize("alias", [None, "compute.123"])
def test_hashed_lines_of_a_user_s_file_are_understood(server: LightSshd, tmp_path: Path, alias: str | None) -> None:
    name = alias or f"[{ADDRESS}]:{server.port}"
    server.known_hosts.write_text(f"{name} {server.host_key.with_suffix('.pub').read_text()}")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(server.known_hosts)], check=True, capture_output=True)
    assert server.known_hosts.read_text().startswith("|1|")
    server.write_ssh_config(server.port, *([f"HostKeyAlias {alias}"] if alias else []))
    assert look(server, tmp_path / "pins") == "known"


@needs_sshd
def test_other_lines_of_a_user_s_file_cost_and_break_nothing(
    server: LightSshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, right = f"[{ADDRESS}]:{server.port}", server.host_key.with_suffix(".pub").read_text()
    stale = make_key(tmp_path / "stale").with_suffix(".pub").read_text()
    strangers = "".join(f"host{number},192.0.2.{number} {stale}" for number in range(100))
    damaged = f"broken ssh-ed25519 AAAA=A\n{name} ssh-ed25519 AAAA=A\n{name} ssh-quantum AAAA\n"
    server.known_hosts.write_text(f"{strangers}{damaged}{name} {right}{name} {stale}")
    parsed: list[str] = []
    parse = HostKeyEntry.from_line
    monkeypatch.setattr(HostKeyEntry, "from_line", lambda line: parsed.append(line) or parse(line))
    assert look(server, tmp_path / "pins") == "known"
    assert {line.split()[0] for line in parsed} == {name}


@needs_sshd
def test_a_changed_key_is_said_once_in_the_log_lasts_and_is_never_accepted(
    server: LightSshd, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reports = Reports()
    quick = Timing(retry_max_s=0.2)
    root = str(server.folder / "root")
    host = SshHost("gpu1", server.alias, server.ssh_config, epoch=1, root=root, timing=quick)
    other = make_key(tmp_path / "other")
    server.known_hosts.write_text(f"[{ADDRESS}]:{server.port} {other.with_suffix('.pub').read_text()}")
    before = server.known_hosts.read_text()
    host.keep(reports.add)
    wait_for(lambda: len(reports.unseen()) >= 3, "it was tried again and again")
    host.close()
    assert all(unseen.lasting and "has CHANGED" in unseen.why for unseen in reports.unseen())
    assert all("`sheetd host add light`" in unseen.why for unseen in reports.unseen())
    assert server.known_hosts.read_text() == before
    assert sum("has CHANGED" in record.message for record in caplog.records) == 1


# --- limits ------------------------------------------------------------------------------------------------------


@needs_sshd
def test_thirty_hosts_behind_a_strict_sshd_connect_at_once_and_none_is_refused(tmp_path: Path) -> None:
    """MaxStartups 5:100:5 drops every connection beyond five that have not logged in."""
    with LightSshd(tmp_path, "MaxStartups 5:100:5", "MaxSessions 1") as server, ExitStack() as stack:
        reports = Reports()
        for number in range(30):
            root = str(server.folder / f"root{number}")
            host = SshHost(f"gpu{number}", server.alias, server.ssh_config, epoch=1, root=root)
            stack.callback(host.close)
            host.keep(reports.add)
        for number in range(30):
            reports.wait(HostSeen, lambda seen, name=f"gpu{number}": seen.host == name, within_s=100.0)  # type: ignore[misc]
        assert reports.unseen() == []
        assert "MaxStartups" not in (server.folder / "sshd.log").read_text()


@needs_sshd
def test_hosts_behind_one_jump_host_take_turns_at_it(tmp_path: Path) -> None:
    with LightSshd(tmp_path, "MaxStartups 5:100:5", "MaxSessions 1") as server, ExitStack() as stack:
        server.write_ssh_config(server.port, "ProxyJump first,second")
        with server.ssh_config.open("a") as config:
            config.writelines(
                f"Host {name}\n HostName {ADDRESS}\n Port {server.port}\n" for name in ("first", "second")
            )
        reports = Reports()
        for number in range(8):
            root = str(server.folder / f"root{number}")
            host = SshHost(f"gpu{number}", server.alias, server.ssh_config, epoch=1, root=root)
            stack.callback(host.close)
            host.keep(reports.add)
        for number in range(8):
            reports.wait(HostSeen, lambda seen, name=f"gpu{number}": seen.host == name, within_s=100.0)  # type: ignore[misc]
        assert reports.unseen() == []


# --- shells ------------------------------------------------------------------------------------------------------


@needs_sshd
def test_a_slow_login_shell_is_waited_for(server: LightSshd) -> None:
    (server.home / ".bashrc").write_text("sleep 4\n")
    greet(host_of(server))


@needs_sshd
def test_a_banner_and_a_message_of_the_day_do_not_matter(tmp_path: Path) -> None:
    banner = tmp_path / "banner"
    banner.write_text("Authorized use only!\n" * 50)
    with LightSshd(tmp_path, f"Banner {banner}", "PrintMotd yes", "PrintLastLog yes") as server:
        (server.home / ".bashrc").write_text(f"cat {banner}; cat {banner} >&2\n")
        greet(host_of(server))


@needs_shells
@needs_sshd
@pytest.mark.parametrize("shell", ["tcsh", "fish", "zsh", "dash"])
def test_any_login_shell_starts_the_agent(tmp_path: Path, shell: str) -> None:
    """sshd hands the command to the user's shell as `SHELL -c COMMAND`; here that shell does so once more."""
    with LightSshd(tmp_path, f'ForceCommand exec {shell} -c "$SSH_ORIGINAL_COMMAND"') as server:
        for name in (".tcshrc", ".config/fish/config.fish", ".zshenv"):
            (server.home / name).parent.mkdir(parents=True, exist_ok=True)
            (server.home / name).write_text("echo hello from the rc file\n")
        greet(host_of(server))


@needs_sshd
def test_a_host_without_sftp_is_a_host_like_any_other(server: LightSshd) -> None:
    argv = ["sftp", "-F", str(server.ssh_config), "-b", "/dev/null", server.alias]
    assert subprocess.run(argv, capture_output=True, check=False, timeout=30).returncode != 0
    greet(host_of(server))


# --- silence -----------------------------------------------------------------------------------------------------


@needs_rig
@pytest.mark.timeout(120)
def test_a_connection_whose_packets_vanish_is_found_by_ping_in_the_time_that_is_promised(tmp_path: Path) -> None:
    timing = Timing(quiet_s=1.0, ping_deadline_s=1.0, retry_max_s=0.5)
    with Fleet(tmp_path, 1) as fleet:
        reports = Reports()
        host = SshHost("gpu1", fleet[0].alias, fleet.ssh_config, epoch=1, timing=timing)
        host.keep(reports.add)
        reports.wait(HostSeen)
        host.watch({})  # answered: nothing is under way
        fleet[0].cut()
        # Quiet, then a ping without an answer; half a second for the looks in between and a busy machine.
        unseen = reports.wait(HostUnseen, within_s=timing.found_within_s + 3.0)
        assert not unseen.lasting
        assert "no answer to `ping` in time" in unseen.why
        since = len(reports.all)
        fleet[0].heal()
        reports.wait(HostSeen, since=since, within_s=60.0)
        host.close()


def test_the_usual_patience_with_silence_is_under_half_a_minute() -> None:
    assert max(Timing().found_within_s, REQUEST_DEADLINE_S) <= 30.0


@needs_sshd
def test_an_error_names_the_host_first(server: LightSshd) -> None:
    server.stop()
    with pytest.raises(HostError, match=rf"^{server.alias}: "):
        host_of(server).facts()
