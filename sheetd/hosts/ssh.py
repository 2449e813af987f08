"""Hosts over SSH, reached as the operator's own `ssh` reaches them. The only module that knows paramiko.

`~/.ssh/config` says where a host is and how to get there (HostName, Port, User, IdentityFile, UserKnownHostsFile,
HostKeyAlias, ProxyJump, ProxyCommand). Host keys are verified, and an unknown one is never accepted: the error names
the fingerprint and the next step. Only key files are used, neither an ssh-agent (a daemon outlives the login that fed
it) nor passwords, and no agent is ever forwarded.

Everything that waits has a deadline. paramiko's `exec_command` has none (measured: still blocked 45 s into a cut, and
the command ran when the cut healed), so all of `open` stands under one that closes the transport.

Weak: paramiko reads neither `@revoked` nor `@cert-authority` lines of known_hosts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import getpass
import logging
import shlex
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import paramiko

from sheetd.errors import HostError, HostRefused, HostUnreachable
from sheetd.hosts.bootstrap import REMOTE_COMMAND
from sheetd.hosts.sockets import through_command, through_tcp, wake
from sheetd.hosts.ssh_config import expanded

SSH_PORT = 22
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
IDLE_WAKE_S = 5.0
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


@dataclass(frozen=True, slots=True)
class Target:
    """Where an alias leads, according to the SSH configuration."""

    alias: str
    host: str
    port: int
    user: str
    keys: tuple[str, ...]
    known_hosts: tuple[Path, ...]
    host_key_alias: str | None
    jumps: tuple[str, ...]
    proxy_command: str | None

    @property
    def address(self) -> str:
        return f"{self.user}@{self.host}:{self.port}"


def look_up(alias: str, ssh_config: Path | None) -> Target:
    """Raises HostRefused when the configuration cannot be read or names no key."""
    path = ssh_config or Path("~/.ssh/config").expanduser()
    try:
        text = expanded(path) if ssh_config or path.exists() else ""
        options: dict[str, Any] = dict(paramiko.SSHConfig.from_text(text).lookup(alias))
        port = int(options.get("port", SSH_PORT))
    except (OSError, ValueError, ImportError, paramiko.SSHException) as error:  # ImportError: `Match exec`
        raise HostRefused("bad_ssh_config", f"{alias}: cannot use {path}: {error}") from error
    named = options.get("identityfile") or [f"~/.ssh/{name}" for name in _USUAL_KEYS]
    keys = tuple(str(key) for key in (Path(name).expanduser() for name in named) if key.is_file())
    if not keys:
        tried = ", ".join(named)
        raise HostRefused("no_key", f"{alias}: no key file: {tried}. Name one as IdentityFile in {path}")
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
    )


def jump_target(jump: str, ssh_config: Path | None) -> Target:
    """One `[user@]host[:port]` of a ProxyJump; the host may be an alias itself."""
    user, _, place = jump.removeprefix("ssh://").rpartition("@")
    host, colon, port = place.rpartition(":")
    target = look_up((host if colon else place).strip("[]"), ssh_config)
    if colon and not port.isdigit():
        raise HostRefused("bad_ssh_config", f"ProxyJump {jump}: {port!r} is no port")
    return dataclasses.replace(target, user=user or target.user, port=int(port) if colon else target.port)


class _UnknownHostKey(paramiko.SSHException):
    def __init__(self, key: paramiko.PKey) -> None:
        super().__init__("unknown host key")
        self.key = key


class _Refuse(paramiko.RejectPolicy):
    """Rejects, and remembers what was rejected so that a person can compare it."""

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> NoReturn:
        del client, hostname
        raise _UnknownHostKey(key)


def _named(key: paramiko.PKey) -> str:
    return f"{key.get_name()} {key.fingerprint}"


def explained(error: Exception, target: Target) -> HostError:
    """What happened, to which host, and what to do next. HostRefused when only a person can change it."""
    name, at = target.alias, target.address
    match error:
        case _UnknownHostKey():
            return HostRefused("host_key_unknown", _unknown_key_advice(target, error.key))
        case paramiko.BadHostKeyException():
            return HostRefused("host_key_changed", _changed_key_advice(target, error.key, error.expected_key))
        case paramiko.PasswordRequiredException():
            why = (
                f"{name}: the key {', '.join(target.keys)} has a passphrase, which sheetd cannot type. Make a key of "
                "its own without one (`ssh-keygen -t ed25519`) and name it as IdentityFile"
            )
            return HostRefused("auth_failed", why)
        case paramiko.AuthenticationException() if not _is_interruption(error):
            why = (
                f"{name}: {at} accepts none of the keys {', '.join(target.keys)} ({error}). Try "
                f"`ssh -o IdentityAgent=none {name}`; the public key belongs into ~/.ssh/authorized_keys there"
            )
            return HostRefused("auth_failed", why)
        case socket.gaierror():
            why = f"{name}: the name {target.host} cannot be looked up: {error.strerror}"
        case ConnectionRefusedError():
            why = f"{name}: {at} refuses connections. Does sshd run there, on this port?"
        case TimeoutError():
            why = f"{name}: no answer from {at}. Is the machine on, and the network up?"
        case paramiko.ChannelException():
            why = f"{name}: {at} opens no channel: {error.text}. See MaxSessions and AllowTcpForwarding there"
        case _:
            cause = str(error) or type(error).__name__
            why = f"{name}: no SSH connection to {at}: {cause}. `ssh -v {name}` shows more"
    return HostUnreachable(why)


def _unknown_key_advice(target: Target, key: paramiko.PKey) -> str:
    return (
        f"{target.alias}: the host key of {target.address} is not known here: {_named(key)}. Compare this fingerprint "
        "with the host's own (there: `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`), then accept it with "
        f"`ssh {target.alias}` once, or add what `ssh-keyscan -p {target.port} {target.host}` prints to "
        f"{target.known_hosts[0]}. sheetd accepts no key by itself"
    )


def _changed_key_advice(target: Target, key: paramiko.PKey, expected: paramiko.PKey) -> str:
    place = target.host_key_alias or (target.host if target.port == SSH_PORT else f"[{target.host}]:{target.port}")
    return (
        f"{target.alias}: the host key of {target.address} has CHANGED: it is {_named(key)} and was "
        f"{_named(expected)}. Either the machine was set up anew, or somebody is in between. If you are sure "
        f"of the first: `ssh-keygen -f {target.known_hosts[0]} -R '{place}'`, then `ssh {target.alias}` once"
    )


def _is_interruption(error: paramiko.AuthenticationException) -> bool:
    """Of paramiko, which says "authentication failed" as well when the connection broke or stalled during login."""
    return any(word in str(error).lower() for word in ("timeout", "eof", "shut down"))


class SshChannel:
    """One SSH connection with one channel, in which the agent runs. Used once."""

    def __init__(self, name: str, alias: str, ssh_config: Path | None) -> None:
        self._name = name
        self._alias = alias
        self._ssh_config = ssh_config
        self._lock = threading.Lock()
        self._closers: list[Callable[[], object]] = []
        self._is_closed = False
        self._transports: list[paramiko.Transport] = []
        self._channel: paramiko.Channel | None = None
        self._said = b""

    def open(self) -> None:
        target = look_up(self._alias, self._ssh_config)
        with self._deadline(target):
            client = self._log_in(target, hops=0)
            channel = _transport(client).open_session(timeout=CHANNEL_S)
            channel.settimeout(SEND_S)
            channel.exec_command(REMOTE_COMMAND)
            self._channel = channel
            self._let_sleep()

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

    def _own(self, closer: Callable[[], object]) -> None:
        """Have `close` call this, at once if it has been called already."""
        with self._lock:
            if not self._is_closed:
                self._closers.append(closer)
                return
        closer()
        raise HostUnreachable(f"{self._name}: the connection was closed while it was being opened")

    def _log_in(self, target: Target, hops: int) -> paramiko.SSHClient:
        sock = self._path_to(target, hops)
        client = paramiko.SSHClient()
        client.set_log_channel(_LOG)
        client.set_missing_host_key_policy(_Refuse())
        for file in target.known_hosts:
            if file.is_file():
                client.load_system_host_keys(str(file))
        self._own(client.close)
        client.connect(
            # The name under which the host key is looked up; the connection itself is `sock`.
            hostname=target.host_key_alias or target.host,
            port=SSH_PORT if target.host_key_alias else target.port,
            username=target.user,
            key_filename=list(target.keys),  # type: ignore[arg-type] # the stubs know of one, paramiko takes several
            sock=sock,
            timeout=BANNER_S,
            banner_timeout=BANNER_S,
            auth_timeout=AUTH_S,
            channel_timeout=CHANNEL_S,
            allow_agent=False,
            look_for_keys=False,
            disabled_algorithms=_DISABLED,
            transport_factory=self._new_transport,
        )
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
        jump = jump_target(last, self._ssh_config)
        jump = dataclasses.replace(jump, jumps=tuple(before)) if before else jump
        try:
            transport = _transport(self._log_in(jump, hops + 1))
            return transport.open_channel(
                "direct-tcpip", (target.host, target.port), ("127.0.0.1", 0), timeout=CHANNEL_S
            )
        except HostError:
            raise
        except Exception as error:
            raise explained(error, jump) from error


def _transport(client: paramiko.SSHClient) -> paramiko.Transport:
    transport = client.get_transport()
    if transport is None:
        raise ConnectionError("the SSH connection ended")
    return transport
