"""The way to a host over a real sshd: what the SSH configuration says is followed, and every failure names the next
step."""

from __future__ import annotations

import getpass
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from sheetd.core.observation import HostSeen, HostUnseen
from sheetd.errors import HostError, HostRefused, HostUnreachable
from sheetd.hosts import ssh
from sheetd.hosts.host import SshHost
from tests.hosts.seen import Reports
from tests.needs import needs_sshd
from tests.rig.fault_proxy import FaultProxy
from tests.rig.light_sshd import ADDRESS, LightSshd, make_key


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LightSshd]:
    with LightSshd(tmp_path) as server:
        yield server


def host_of(server: LightSshd, alias: str = LightSshd.alias) -> SshHost:
    return SshHost("gpu1", alias, server.ssh_config, epoch=1, root=str(server.folder / "root"))


def failure(host: SshHost) -> HostError:
    with pytest.raises(HostError) as raised:
        host.facts()
    host.close()
    return raised.value


def fingerprint(key: Path) -> str:
    told = subprocess.run(["ssh-keygen", "-lf", str(key)], capture_output=True, text=True, check=True).stdout
    return told.split()[1]


@needs_sshd
def test_a_greeted_host_says_who_it_is(server: LightSshd) -> None:
    host = host_of(server)
    assert host.facts().hostname == socket.gethostname()
    host.close()


@needs_sshd
def test_an_unknown_host_key_is_refused_with_its_fingerprint_and_stays_unknown(server: LightSshd) -> None:
    server.known_hosts.write_text("")
    error = failure(host_of(server))
    assert isinstance(error, HostRefused)
    assert error.code == "host_key_unknown"
    assert fingerprint(server.host_key) in str(error)
    assert f"`sheetd host add {server.alias}`" in str(error)
    assert f"`ssh {server.alias}` once" in str(error)
    assert server.known_hosts.read_text() == ""


@needs_sshd
def test_a_changed_host_key_is_refused_with_both_fingerprints(server: LightSshd, tmp_path: Path) -> None:
    other = make_key(tmp_path / "other")
    server.known_hosts.write_text(f"[{ADDRESS}]:{server.port} {other.with_suffix('.pub').read_text()}")
    error = failure(host_of(server))
    assert isinstance(error, HostRefused)
    assert error.code == "host_key_changed"
    assert fingerprint(server.host_key) in str(error)
    assert fingerprint(other) in str(error)
    assert f"-R '[{ADDRESS}]:{server.port}'" in str(error)


@needs_sshd
def test_a_key_that_the_host_does_not_accept_is_a_lasting_failure(server: LightSshd) -> None:
    (server.folder / "authorized_keys").write_text("")
    reports = Reports()
    host = host_of(server)
    host.keep(reports.add)
    unseen = reports.wait(HostUnseen)
    host.close()
    assert unseen.lasting
    assert str(server.key) in unseen.why
    assert "authorized_keys" in unseen.why


@needs_sshd
def test_a_key_with_a_passphrase_is_named(server: LightSshd) -> None:
    subprocess.run(["ssh-keygen", "-q", "-p", "-f", str(server.key), "-P", "", "-N", "secret"], check=True)
    error = failure(host_of(server))
    assert isinstance(error, HostRefused)
    assert "passphrase" in str(error)


@needs_sshd
def test_a_closed_port_is_a_passing_failure(server: LightSshd) -> None:
    server.stop()
    error = failure(host_of(server))
    assert isinstance(error, HostUnreachable)
    assert "refuses connections" in str(error)
    assert f"{ADDRESS}:{server.port}" in str(error)


def test_a_name_that_does_not_exist_is_said(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("")
    (tmp_path / "config").write_text(f"Host *\n IdentityFile {tmp_path}/key\n")
    host = SshHost("gpu1", "no-such-host.invalid", tmp_path / "config", epoch=1)
    assert "the name no-such-host.invalid cannot be looked up" in str(failure(host))
    (tmp_path / "config").write_text(f"Host gpu1\n HostName no-such-host.invalid\n IdentityFile {tmp_path}/key\n")
    said = str(failure(SshHost("gpu1", "gpu1", tmp_path / "config", epoch=1)))
    assert f"Correct the HostName of gpu1 in {tmp_path / 'config'}" in said


def test_who_has_no_ssh_config_yet_hears_of_keys_and_of_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    said = str(failure(SshHost("gpu1", "gpu1", tmp_path / ".ssh" / "config", epoch=1)))
    assert "no key file: ~/.ssh/id_ed25519" in said
    assert "it has no HostName for gpu1 either: is the name right?" in said


@pytest.mark.parametrize(
    ("config", "said"),
    [(None, "cannot use"), ("Host *\n Port many\n", "cannot use"), ("Host *\n IdentityFile /nowhere\n", "/nowhere")],
)
def test_a_configuration_that_cannot_be_used_is_a_lasting_failure(
    tmp_path: Path, config: str | None, said: str
) -> None:
    if config is not None:
        (tmp_path / "config").write_text(config)
    error = failure(SshHost("gpu1", "gpu1", tmp_path / "config", epoch=1))
    assert isinstance(error, HostRefused)
    assert said in str(error)


def test_included_files_are_read_where_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".ssh"
    (folder / "labs").mkdir(parents=True)
    make_key(folder / "id_ed25519")
    (folder / "labs" / "one").write_text("Host gpu1\n HostName 192.0.2.1\n")
    (folder / "labs" / "two").write_text("Host gpu2\n HostName 192.0.2.2\n")
    (folder / "config").write_text(
        "Include labs/* missing\nHost gpu*\n Include ~/.ssh/common\n User lab\nHost gpu2\n Port 24\n"
    )
    (folder / "common").write_text("Port 23\nHost other\n User nobody\n")
    assert ssh.look_up("gpu1", None).address == "lab@192.0.2.1:23"
    assert ssh.look_up("gpu2", None).address == "lab@192.0.2.2:23"
    assert ssh.look_up("else", None).port == 22


def test_files_that_include_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(f"Include {tmp_path}/config\n")
    error = failure(SshHost("gpu1", "gpu1", tmp_path / "config", epoch=1))
    assert isinstance(error, HostRefused)
    assert "included more than" in str(error)


@needs_sshd
def test_whatever_the_login_shell_prints_the_agent_is_understood(server: LightSshd) -> None:
    (server.home / ".bashrc").write_text(
        "echo Welcome to the cluster; printf 'SHEETD no newline'; echo conda: broken >&2\n"
        "head -c 300000 /dev/zero | tr '\\0' x; (sleep 0.3; echo late noise >&2) &\n"
    )
    host = host_of(server)
    assert host.facts().cores
    host.close()


@needs_sshd
def test_a_host_without_python_says_what_its_shell_said(server: LightSshd) -> None:
    (server.home / ".bashrc").write_text("export PATH=/nowhere\n")
    error = failure(host_of(server))
    assert isinstance(error, HostUnreachable)
    assert "python3" in str(error)
    assert "not found" in str(error)


@needs_sshd
@pytest.mark.parametrize("jumps", ["jump", "first,jump", f"{getpass.getuser()}@jump"])
def test_a_host_behind_jumps_is_reached(server: LightSshd, jumps: str) -> None:
    with FaultProxy(server.port) as proxy:
        server.trust(server.port, proxy.port)
        server.write_ssh_config(server.port, f"ProxyJump {jumps}")
        with server.ssh_config.open("a") as config:
            config.writelines(f"Host {name}\n HostName {ADDRESS}\n Port {proxy.port}\n" for name in ("jump", "first"))
        host = host_of(server)
        assert host.facts().cores
        assert proxy.connections == len(jumps.split(","))
        host.close()


@needs_sshd
def test_the_host_key_of_a_jump_is_verified_too(server: LightSshd) -> None:
    with FaultProxy(server.port) as proxy:
        server.write_ssh_config(server.port, f"ProxyJump {ADDRESS}:{proxy.port}")
        error = failure(host_of(server))
    assert isinstance(error, HostRefused)
    assert error.code == "host_key_unknown"
    assert f"{ADDRESS}:{proxy.port}" in str(error)


@needs_sshd
def test_jumps_in_a_circle_are_refused(server: LightSshd) -> None:
    server.write_ssh_config(server.port, f"ProxyJump {server.alias}")
    assert "circle" in str(failure(host_of(server)))


@needs_sshd
def test_a_proxy_command_is_used_and_ends_with_the_connection(server: LightSshd) -> None:
    config = server.ssh_config
    server.write_ssh_config(server.port, f"ProxyCommand ssh -F {config} -W %h:%p jump")
    with config.open("a") as file:
        file.write(f"Host jump\n HostName {ADDRESS}\n Port {server.port}\n")
    host = host_of(server)
    assert host.facts().cores
    host.close()
    running = subprocess.run(["ps", "-e", "-o", "args"], capture_output=True, text=True, check=True).stdout
    assert f"ssh -F {config} -W" not in running


@needs_sshd
def test_a_host_key_alias_is_looked_up_instead_of_the_address(server: LightSshd) -> None:
    server.known_hosts.write_text(f"compute.123 {server.host_key.with_suffix('.pub').read_text()}")
    server.write_ssh_config(server.port, "HostKeyAlias compute.123")
    host = host_of(server)
    assert host.facts().cores
    host.close()


@needs_sshd
def test_a_remote_command_that_is_never_confirmed_ends_with_the_deadline(
    server: LightSshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "OPEN_S", 2.0)
    with FaultProxy(server.port) as proxy:

        def stalled(channel: paramiko.Channel, command: str) -> None:
            proxy.stall()
            original(channel, command)

        original = paramiko.Channel.exec_command
        monkeypatch.setattr(paramiko.Channel, "exec_command", stalled)
        server.trust(proxy.port)
        server.write_ssh_config(proxy.port)
        before = threading.enumerate()
        assert "took over 2 s" in str(failure(host_of(server)))
        assert {thread.name for thread in threading.enumerate() if thread not in before} <= {"fault-proxy"}


def test_closing_interrupts_a_connection_that_is_being_opened(tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    with socket.create_server((ADDRESS, 0)) as silent:
        port = silent.getsockname()[1]
        (tmp_path / "config").write_text(f"Host *\n HostName {ADDRESS}\n Port {port}\n IdentityFile {tmp_path}/key\n")
        before = threading.enumerate()
        host = SshHost("gpu1", "gpu1", tmp_path / "config", epoch=1)
        reports = Reports()
        host.keep(reports.add)
        connection, _ = silent.accept()
        host.close()
        connection.close()
        assert threading.enumerate() == before
        assert reports.all == []


@needs_sshd
def test_a_kept_host_needs_one_connection_with_one_channel(tmp_path: Path) -> None:
    with LightSshd(tmp_path, "MaxSessions 1") as server, FaultProxy(server.port) as proxy:
        server.trust(proxy.port)
        server.write_ssh_config(proxy.port)
        reports, host = Reports(), host_of(server)
        host.keep(reports.add)
        reports.wait(HostSeen)
        host.facts()
        host.close()
        assert proxy.connections == 1
