"""A real sshd as any user, on loopback, with keys and a configuration of its own.

No namespaces and no root: everybody can run the tests that use it. Connections get a home folder of their own below
the test's folder, so that a test can write a .bashrc there; the login shell is the user's. It cannot lose power:
`fleet` can.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import final

from tests.needs import program
from tests.rig.waiting import wait_for

ADDRESS = "127.0.0.1"


def free_port() -> int:
    """A port that was free a moment ago. sshd cannot be given a socket, so the gap is accepted and `start` checks."""
    with socket.socket() as sock:
        sock.bind((ADDRESS, 0))
        port: int = sock.getsockname()[1]
        return port


def make_key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


def greets(address: str, port: int) -> bool:
    """Whether an SSH server answers there."""
    try:
        with socket.create_connection((address, port), timeout=2.0) as sock:
            return sock.recv(4) == b"SSH-"
    except OSError:
        return False


@final
class LightSshd:
    """`with LightSshd(tmp_path) as server:` and connect to the alias `server.alias` of `server.ssh_config`."""

    alias = "light"

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder / "sshd"
        self.folder.mkdir()
        self.home = self.folder / "home"
        self.home.mkdir()
        self.key = make_key(self.folder / "id_ed25519")
        self.host_key = make_key(self.folder / "host_key")
        self.known_hosts = self.folder / "known_hosts"
        self.ssh_config = self.folder / "ssh_config"
        self.port = free_port()
        self._options = options
        self._server: subprocess.Popen[bytes] | None = None
        (self.folder / "authorized_keys").write_text(self.key.with_suffix(".pub").read_text())
        self.trust(self.port)
        self.write_ssh_config(self.port)

    def trust(self, *ports: int) -> None:
        """Have the client's known_hosts hold our host key for these ports of loopback."""
        key = self.host_key.with_suffix(".pub").read_text()
        self.known_hosts.write_text("".join(f"[{ADDRESS}]:{port} {key}" for port in ports))

    def write_ssh_config(self, port: int, *lines: str) -> None:
        """How the client reaches us; another port than ours leads through a proxy."""
        self.ssh_config.write_text(
            "\n".join(
                [
                    f"Host {self.alias}",
                    *(f" {line}" for line in lines),
                    f" HostName {ADDRESS}",
                    f" Port {port}",
                    "Host *",
                    f" User {getpass.getuser()}",
                    f" IdentityFile {self.key}",
                    f" UserKnownHostsFile {self.known_hosts}",
                    "",
                ]
            )
        )

    def start(self) -> None:
        Path("/run/sshd").mkdir(exist_ok=True) if os.geteuid() == 0 else None
        config = self.folder / "sshd_config"
        config.write_text(
            "\n".join(
                [
                    *self._options,
                    f"ListenAddress {ADDRESS}",
                    f"Port {self.port}",
                    f"HostKey {self.host_key}",
                    f"AuthorizedKeysFile {self.folder / 'authorized_keys'}",
                    f"SetEnv HOME={self.home}",
                    "PermitRootLogin prohibit-password",
                    "PasswordAuthentication no",
                    "KbdInteractiveAuthentication no",
                    "StrictModes no",
                    "UsePAM no",
                    "UseDNS no",
                    "PidFile none",
                    "",
                ]
            )
        )
        with (self.folder / "sshd.log").open("ab") as log:
            self._server = subprocess.Popen(
                [str(program("sshd")), "-D", "-e", "-f", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        server = self._server
        wait_for(lambda: server.poll() is not None or greets(ADDRESS, self.port), "sshd answers")
        if server.poll() is not None:
            raise AssertionError(f"sshd ended at once: {(self.folder / 'sshd.log').read_text()[-500:]}")

    def stop(self) -> None:
        """Kill the listening sshd and every connection's process. Jobs that left their session live on."""
        server, self._server = self._server, None
        if server is None:
            return
        for pid in self._session_pids(server.pid):
            with contextlib.suppress(ProcessLookupError):  # the connection ended by itself meanwhile
                os.kill(pid, signal.SIGKILL)
        server.kill()
        server.wait()

    def _session_pids(self, server_pid: int) -> list[int]:
        """The sshd processes of open connections, which are in sessions of their own."""
        children = subprocess.run(
            ["ps", "--no-headers", "-o", "pid", "--ppid", str(server_pid)], capture_output=True, text=True, check=False
        )
        return [int(pid) for pid in children.stdout.split()]

    def __enter__(self) -> LightSshd:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
