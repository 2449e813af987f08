"""Logging in with keys: each one that may be used is tried in turn, and what each came to is told.

Key files first, then, only where the operator asked for it (`IdentityAgent`, or `use_ssh_agent = true`), the keys of an
ssh-agent: a daemon outlives the login that fed the agent. No agent is ever forwarded and no password typed.
"""

from __future__ import annotations

import base64
import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
from paramiko.agent import AgentSSH
from paramiko.auth_strategy import AuthResult, AuthSource, AuthStrategy

from sheetd.hosts.ssh_errors import LoginRefusedError, Tried, is_interruption
from sheetd.hosts.target import Target

AGENT_S = 10.0
#: sshd hangs up after six failures (MaxAuthTries), and some hosts after fewer.
_REFUSALS_BEFORE_HANGUP = 2
_KINDS = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)


class KeyLogin(AuthStrategy):
    """One login to `target`. `own` takes what ends every wait."""

    def __init__(self, target: Target, own: Callable[[Callable[[], object]], None]) -> None:
        super().__init__(paramiko.SSHConfig())
        self._target = target
        self._own = own

    def get_sources(self) -> Iterator[AuthSource]:
        """Not used: paramiko's loop over sources goes on after the connection broke, and this must not."""
        return iter(())

    def authenticate(self, transport: paramiko.Transport) -> AuthResult:
        """Raises LoginRefusedError, or whatever broke the connection."""
        tried: list[Tried] = []
        for name, key in self._keys(tried):
            try:
                wants_more = transport.auth_publickey(self._target.user, key)
            except paramiko.AuthenticationException as error:
                if not is_interruption(error):
                    tried.append(Tried(name, "is not accepted"))
                    continue
                if sum(not one.needs_passphrase for one in tried) >= _REFUSALS_BEFORE_HANGUP:
                    why = "it hung up after so many keys (MaxAuthTries): name the right one as IdentityFile, with IdentitiesOnly yes"  # noqa: E501 - one sentence
                    raise LoginRefusedError(self._target, tried, why) from error
                raise
            if wants_more:
                why = f"it accepts {name} and wants more ({', '.join(wants_more)}), which sheetd cannot type: ask for an account where a key is enough"  # noqa: E501 - one sentence
                raise LoginRefusedError(self._target, tried, why)
            return AuthResult(self)
        raise LoginRefusedError(self._target, tried)

    def _keys(self, tried: list[Tried]) -> Iterator[tuple[str, paramiko.PKey]]:
        for path in self._target.keys:
            try:
                yield path, _loaded(path)
            except paramiko.PasswordRequiredException:  # noqa: PERF203 - a handful of keys, each with a fate of its own
                tried.append(Tried(path, "has a passphrase", needs_passphrase=True))
            except (OSError, ValueError, paramiko.SSHException) as error:
                tried.append(Tried(path, f"cannot be read ({error})"))
        if self._target.agent is not None:
            try:
                yield from self._agent_keys(self._target.agent)
            except (OSError, paramiko.SSHException) as error:
                tried.append(Tried(f"the ssh-agent {self._target.agent}", f"cannot be asked ({error})"))

    def _agent_keys(self, path: str) -> Iterator[tuple[str, paramiko.PKey]]:
        with contextlib.closing(_Agent(path)) as agent:
            self._own(agent.close)
            named = {blob for file in self._target.keys for blob in _public_half(file)}
            for key in agent.get_keys():
                if not self._target.only_named_keys or key.asbytes() in named:
                    yield f"{key.comment or key.fingerprint} of the ssh-agent", key


class _Agent(AgentSSH):
    """The agent behind one socket. paramiko's own knows only $SSH_AUTH_SOCK."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._sock = socket.socket(socket.AF_UNIX)
        try:
            self._sock.settimeout(AGENT_S)  # one that asks its user to confirm may wait for ever
            self._sock.connect(path)
            self._connect(self._sock)  # type: ignore[attr-defined] # as its subclass Agent does; the stubs leave it out
        except BaseException:
            self._sock.close()
            raise

    def close(self) -> None:
        with contextlib.suppress(OSError):  # the agent is gone already
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()


def _loaded(path: str) -> paramiko.PKey:
    """The key of a file, with its certificate if one lies beside it (ssh(1), CertificateFile)."""
    failure: paramiko.SSHException | None = None
    for kind in _KINDS:
        try:
            key: paramiko.PKey = kind.from_private_key_file(path)
        except paramiko.PasswordRequiredException:  # noqa: PERF203 - three kinds, of which one fits
            raise
        except paramiko.SSHException as error:
            failure = error
        else:
            if Path(f"{path}-cert.pub").is_file():
                key.load_certificate(f"{path}-cert.pub")
            return key
    raise failure or paramiko.SSHException("no key in it")


def _public_half(path: str) -> Iterator[bytes]:
    with contextlib.suppress(OSError, ValueError, IndexError):  # then no key of the agent is named by this file
        yield base64.b64decode(Path(f"{path}.pub").read_text().split()[1], validate=True)
