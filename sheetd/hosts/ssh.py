"""Hosts over SSH, reached as the operator's own `ssh` reaches them. The `ssh` modules alone know paramiko.

`~/.ssh/config` says where a host is and how to get there (HostName, Port, User, IdentityFile, IdentityAgent,
UserKnownHostsFile, HostKeyAlias, ProxyJump, ProxyCommand). Host keys are verified against sheetd's own known_hosts and
then the user's, and an unknown one is never accepted: the error names the fingerprint and the next step.

Everything that waits has a deadline. paramiko's `exec_command` has none (measured: still blocked 45 s into a cut, and
the command ran when the cut healed), so all of `open` stands under one that closes the transport.

Weak: paramiko reads neither `@revoked` nor `@cert-authority` lines nor wildcards of known_hosts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import getpass
import logging
import os
import shlex
import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import paramiko
from paramiko.auth_strategy import AuthSource, AuthStrategy
from paramiko.hostkeys import HostKeyEntry, InvalidHostKey

from sheetd.errors import HostError, HostRefused, HostUnreachable
from sheetd.hosts.bootstrap import REMOTE_COMMAND
from sheetd.hosts.pins import Pins
from sheetd.hosts.sockets import through_command, through_tcp, wake
from sheetd.hosts.ssh_config import expanded
from sheetd.hosts.ssh_errors import KeyTroubleError, explained
from sheetd.hosts.ssh_login import KeyLogin
from sheetd.hosts.target import SSH_PORT, HostKey, Target

BANNER_S = 30.0
AUTH_S = 30.0
CHANNEL_S = 20.0
#: All of `open`: name, TCP, key exchange, login, channel and the remote command, over every jump.
OPEN_S = 75.0
#: A send that the host makes no room for in this time has failed.
SEND_S = 20.0
JOIN_S = 5.0
RECEIVE_BYTES = 65536
#: How often paramiko's thread wakes on a quiet connection. Its own 0.1 s takes 1.2 % of a core with 50 hosts.
IDLE_WAKE_S = 20.0
_COMPLAINT_KEPT_BYTES = 2000
_JUMPS_MAX = 5
_USUAL_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
_USUAL_KNOWN_HOSTS = "~/.ssh/known_hosts ~/.ssh/known_hosts2"
_SYSTEM_KNOWN_HOSTS = Path("/etc/ssh/ssh_known_hosts")
#: CBC ciphers and truncated or SHA-1 hashes: paramiko still offers them, and no OpenSSH of the last decade needs them.
_DISABLED = {
    "ciphers": ["aes128-cbc", "aes192-cbc", "aes256-cbc", "3des-cbc"],
    "macs": ["hmac-sha1", "hmac-sha1-96", "hmac-md5", "hmac-md5-96"],
}
# paramiko logs a traceback for each broken connection. What matters of it is in the errors raised here.
_LOG = "sheetd.hosts.paramiko"
logging.getLogger(_LOG).setLevel(logging.CRITICAL + 1)


#: sshd drops connections at random from the tenth on that has not logged in (MaxStartups), and labs set less; a jump
#: host sees all of ours. Held per address, from connecting until the login is through.
LOGINS_AT_ONCE = 4
_gates: defaultdict[tuple[str, int], threading.BoundedSemaphore] = defaultdict(
    lambda: threading.BoundedSemaphore(LOGINS_AT_ONCE)
)
_gates_lock = threading.Lock()


def look_up(alias: str, ssh_config: Path | None, *, use_agent: bool = False) -> Target:
    """Raises HostRefused when the configuration cannot be read or names no key."""
    usual = Path("~/.ssh/config").expanduser()
    path = ssh_config or usual
    try:
        text = expanded(path) if path != usual or path.exists() else ""  # ssh(1) does without one too
        options: dict[str, Any] = dict(paramiko.SSHConfig.from_text(text).lookup(alias))
        port = int(options.get("port", SSH_PORT))
    except (OSError, ValueError, ImportError, paramiko.SSHException) as error:  # ImportError: `Match exec`
        raise HostRefused("bad_ssh_config", f"{alias}: cannot use {path}: {error}") from error
    named = options.get("identityfile") or [f"~/.ssh/{name}" for name in _USUAL_KEYS]
    keys = tuple(str(key) for key in (Path(name).expanduser() for name in named) if key.is_file())
    agent = _agent_of(options.get("identityagent"), use_agent=use_agent)
    if not keys and agent is None:
        tried = ", ".join(named)
        stray = f"; it has no HostName for {alias} either: is the name right?" if options["hostname"] == alias else ""
        raise HostRefused("no_key", f"{alias}: no key file: {tried}. Name one as IdentityFile in {path}{stray}")
    known_hosts = shlex.split(options.get("userknownhostsfile", _USUAL_KNOWN_HOSTS))
    jumps = options.get("proxyjump", "none")
    return Target(
        alias=alias,
        host=options["hostname"],
        port=port,
        user=options.get("user") or getpass.getuser(),
        keys=keys,
        known_hosts=(*(Path(name).expanduser() for name in known_hosts), _SYSTEM_KNOWN_HOSTS),
        host_key_alias=options.get("hostkeyalias"),
        jumps=() if jumps.lower() == "none" else tuple(jump.strip() for jump in jumps.split(",")),
        proxy_command=options.get("proxycommand"),
        ssh_config=path,
        agent=agent,
        only_named_keys=str(options.get("identitiesonly", "no")).lower() == "yes",
    )


def _agent_of(wanted: str | None, *, use_agent: bool) -> str | None:
    """The agent's socket as IdentityAgent of ssh_config(5) names it. Without that word only on sheetd's own option."""
    if wanted is None:
        return os.environ.get("SSH_AUTH_SOCK") if use_agent else None
    if wanted.lower() == "none":
        return None
    if wanted == "SSH_AUTH_SOCK":
        return os.environ.get("SSH_AUTH_SOCK")
    return os.environ.get(wanted[1:]) if wanted.startswith("$") else str(Path(wanted).expanduser())


def jump_target(jump: str, ssh_config: Path | None, *, use_agent: bool = False) -> Target:
    """One `[user@]host[:port]` of a ProxyJump; the host may be an alias itself."""
    user, _, place = jump.removeprefix("ssh://").rpartition("@")
    host, colon, port = place.rpartition(":")
    target = look_up((host if colon else place).strip("[]"), ssh_config, use_agent=use_agent)
    if colon and not port.isdigit():
        raise HostRefused("bad_ssh_config", f"ProxyJump {jump}: {port!r} is no port")
    return dataclasses.replace(target, user=user or target.user, port=int(port) if colon else target.port)


class _UnknownKeyError(paramiko.SSHException):
    def __init__(self, key: paramiko.PKey) -> None:
        super().__init__("unknown host key")
        self.key = key


class _Refuse(paramiko.RejectPolicy):
    """Rejects, and remembers what was rejected so that a person can compare it."""

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> NoReturn:
        del client, hostname
        raise _UnknownKeyError(key)


class _VerifiedError(Exception):
    """Not a failure: the host key was right, and that was all we wanted to know."""


class _StopBeforeLogin(AuthStrategy):
    def __init__(self) -> None:
        super().__init__(paramiko.SSHConfig())

    def get_sources(self) -> Iterator[AuthSource]:
        return iter(())

    def authenticate(self, transport: paramiko.Transport) -> NoReturn:
        raise _VerifiedError(transport.get_remote_server_key())


def _shown(target: Target, key: paramiko.PKey, expected: paramiko.PKey | None = None) -> HostKey:
    return HostKey(
        alias=target.alias,
        address=target.address,
        name=target.key_name,
        kind=key.get_name(),
        blob=key.get_base64(),
        fingerprint=key.fingerprint,
        state="unknown" if expected is None else "changed",
        expected="" if expected is None else f"{expected.get_name()} {expected.fingerprint}",
    )


def _known_keys(target: Target, pins: Path | None) -> Iterable[paramiko.PKey]:
    """Of each kind the first key that a file gives for this host.

    paramiko's own reader hashes and compares every line with all before it, and keeps all keys with the connection.
    """
    found: dict[str, paramiko.PKey] = {}
    for file in (pins, *target.known_hosts) if pins is not None else target.known_hosts:
        for kind, blob in Pins(file).keys(target.key_name):
            with contextlib.suppress(InvalidHostKey, paramiko.SSHException, ValueError):  # it vouches for nothing
                entry = HostKeyEntry.from_line(f"{target.key_name} {kind} {blob}")
                if entry is not None:
                    found.setdefault(entry.key.get_name(), entry.key)
    return found.values()


class SshChannel:
    """One SSH connection with one channel, in which the agent runs. Used once."""

    def __init__(
        self, name: str, alias: str, ssh_config: Path | None, pins: Path | None = None, *, use_agent: bool = False
    ) -> None:
        self._name = name
        self._alias = alias
        self._ssh_config = ssh_config
        self._pins = pins
        self._use_agent = use_agent
        self._lock = threading.Lock()
        self._closers: list[Callable[[], object]] = []
        self._is_closed = False
        self._transports: list[paramiko.Transport] = []
        self._channel: paramiko.Channel | None = None
        self._said = b""
        self._turns: set[tuple[str, int]] = set()

    def open(self) -> None:
        target = look_up(self._alias, self._ssh_config, use_agent=self._use_agent)
        with self._deadline(target), self._turn_at(target):
            client = self._log_in(target, hops=0)
            channel = _transport(client).open_session(timeout=CHANNEL_S)
            channel.settimeout(SEND_S)
            channel.exec_command(REMOTE_COMMAND)
            self._channel = channel
            self._let_sleep()

    def host_key(self) -> HostKey:
        """The first host key on the way there that is not known here, or else the host's own. Logs in at jumps only."""
        target = look_up(self._alias, self._ssh_config, use_agent=self._use_agent)
        with self._deadline(target), self._turn_at(target):
            try:
                self._log_in(target, hops=0, login=_StopBeforeLogin())
            except KeyTroubleError as trouble:
                self.close()
                return trouble.key
            except _VerifiedError as verified:
                self.close()
                return dataclasses.replace(_shown(target, verified.args[0]), state="known")
            raise ConnectionError("logged in without being asked who we are")

    def send(self, data: bytes) -> None:
        if self._channel is None:
            raise ConnectionError("not connected")
        try:
            self._channel.sendall(data)
        except (paramiko.SSHException, EOFError) as error:
            raise ConnectionError(str(error) or "the SSH connection ended") from error

    def receive(self) -> bytes:
        channel = self._channel
        if channel is None:
            return b""
        while True:
            with contextlib.suppress(TimeoutError):
                data = channel.recv(RECEIVE_BYTES)
                self._drain_errors(channel)
                cause = None if data else channel.get_transport().get_exception()
                if cause is not None:
                    raise ConnectionError(str(cause) or type(cause).__name__) from cause
                return data

    def complaint(self) -> str:
        if self._channel is not None:
            self._drain_errors(self._channel)
        return self._said.decode("utf-8", "replace").strip()

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            closers, self._closers = self._closers, []
        for closer in reversed(closers):
            with contextlib.suppress(EOFError, OSError):  # what it would end has ended with what carried it
                closer()
        for transport in self._transports:  # paramiko's `close` does not wait for its thread
            if transport.is_alive():
                transport.join(JOIN_S)

    def _drain_errors(self, channel: paramiko.Channel) -> None:
        """The error stream shares the channel's window: unread, it would stop the answers as well."""
        while channel.recv_stderr_ready():
            self._said = (self._said + channel.recv_stderr(RECEIVE_BYTES))[-_COMPLAINT_KEPT_BYTES:]

    # --- opening ---------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _deadline(self, target: Target) -> Iterator[None]:
        """Close everything when opening takes too long, which ends every wait, and explain whatever went wrong."""
        overdue = threading.Event()

        def give_up() -> None:
            overdue.set()
            self.close()

        timer = threading.Timer(OPEN_S, give_up)
        timer.daemon = True
        timer.start()
        try:
            yield
        except HostError:
            self.close()
            raise
        except Exception as error:
            self.close()
            if overdue.is_set():
                why = f"{self._name}: logging in to {target.address} took over {OPEN_S:.0f} s"
                raise HostUnreachable(why) from error
            raise explained(error, target) from error
        finally:
            timer.cancel()
            timer.join()

    @contextlib.contextmanager
    def _turn_at(self, target: Target) -> Iterator[None]:
        """Wait until few enough others log in at this address. Where a ProxyCommand leads is not known."""
        address = target.host, target.port
        if target.proxy_command or address in self._turns:  # once is enough for a way that meets an address twice
            yield
            return
        with _gates_lock:
            gate = _gates[address]
        while not gate.acquire(timeout=0.1):
            if self._is_closed:
                raise ConnectionError("closed while it waited for its turn")
        self._turns.add(address)
        try:
            yield
        finally:
            self._turns.discard(address)
            gate.release()

    def _own(self, closer: Callable[[], object]) -> None:
        """Have `close` call this, at once if it has been called already."""
        with self._lock:
            if not self._is_closed:
                self._closers.append(closer)
                return
        closer()
        raise HostUnreachable(f"{self._name}: the connection was closed while it was being opened")

    def _log_in(self, target: Target, hops: int, login: AuthStrategy | None = None) -> paramiko.SSHClient:
        sock = self._path_to(target, hops)
        client = paramiko.SSHClient()
        client.set_log_channel(_LOG)
        client.set_missing_host_key_policy(_Refuse())
        for key in _known_keys(target, self._pins):
            client.get_host_keys().add(target.key_name, key.get_name(), key)
        self._own(client.close)
        try:
            client.connect(
                # The name under which the host key is looked up; the connection itself is `sock`.
                hostname=target.host_key_alias or target.host,
                port=SSH_PORT if target.host_key_alias else target.port,
                username=target.user,
                sock=sock,
                timeout=BANNER_S,
                banner_timeout=BANNER_S,
                auth_timeout=AUTH_S,
                channel_timeout=CHANNEL_S,
                auth_strategy=login or KeyLogin(target, self._own),
                disabled_algorithms=_DISABLED,
                transport_factory=self._new_transport,
            )
        except _UnknownKeyError as error:
            raise KeyTroubleError(_shown(target, error.key), target.known_hosts[0]) from error
        except paramiko.BadHostKeyException as error:
            raise KeyTroubleError(_shown(target, error.key, error.expected_key), target.known_hosts[0]) from error
        return client

    def _new_transport(self, sock: Any, /, **options: Any) -> paramiko.Transport:
        transport = paramiko.Transport(sock, **options)
        self._transports.append(transport)
        return transport

    def _let_sleep(self) -> None:
        """Wake paramiko's threads less often, and so by hand when they are to end. A tunnel has no socket to wake."""
        for transport in self._transports:
            sock = transport.sock
            if isinstance(sock, socket.socket):
                sock.settimeout(IDLE_WAKE_S)
                self._own(functools.partial(wake, sock))

    def _path_to(self, target: Target, hops: int) -> Any:
        if target.proxy_command:
            return through_command(target.proxy_command, self._own)
        if not target.jumps:
            return through_tcp(target.host, target.port, self._own)
        if hops == _JUMPS_MAX:
            raise HostRefused("bad_ssh_config", f"{self._name}: more than {_JUMPS_MAX} jumps, or jumps in a circle")
        *before, last = target.jumps
        jump = jump_target(last, self._ssh_config, use_agent=self._use_agent)
        jump = dataclasses.replace(jump, jumps=tuple(before)) if before else jump
        try:
            with self._turn_at(jump):
                transport = _transport(self._log_in(jump, hops + 1))
                return transport.open_channel(
                    "direct-tcpip", (target.host, target.port), ("127.0.0.1", 0), timeout=CHANNEL_S
                )
        except (HostError, KeyTroubleError):
            raise
        except Exception as error:
            raise explained(error, jump) from error


def _transport(client: paramiko.SSHClient) -> paramiko.Transport:
    transport = client.get_transport()
    if transport is None:
        raise ConnectionError("the SSH connection ended")
    return transport
