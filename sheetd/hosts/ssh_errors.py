"""What goes wrong on the way to a host, from paramiko's words to ours: what happened, where, and what to do next.

A refusal (HostRefused) is what only a person can change: repeated at once it gets us banned. All else passes.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import NamedTuple

import paramiko

from sheetd.errors import HostError, HostRefused, HostUnreachable
from sheetd.hosts.target import HostKey, Target, changed_key_advice, unknown_key_advice


class KeyTroubleError(paramiko.SSHException):
    """The host key is not the one that is known, or none is."""

    def __init__(self, key: HostKey, known_hosts: Path) -> None:
        super().__init__(f"host key {key.state}")
        self.key = key
        self.known_hosts = known_hosts


class Tried(NamedTuple):
    """A key, and why it did not open the door."""

    key: str
    why: str
    needs_passphrase: bool = False


class LoginRefusedError(paramiko.AuthenticationException):
    """No key was accepted. Only a person can change that."""

    def __init__(self, target: Target, tried: list[Tried], why: str = "") -> None:
        super().__init__(why or "none of the keys is accepted")
        self.target = target
        self.tried = tried
        self.why = why


def explained(error: Exception, target: Target) -> HostError:
    """What happened, to which host, and what to do next. HostRefused when only a person can change it."""
    name, at = target.alias, target.address
    match error:
        case KeyTroubleError():
            code = f"host_key_{error.key.state}"
            if error.key.state == "unknown":
                return HostRefused(code, unknown_key_advice(error.key))
            return HostRefused(code, changed_key_advice(error.key, error.known_hosts))
        case LoginRefusedError():
            return HostRefused("auth_failed", _login_advice(error))
        case paramiko.AuthenticationException() if not is_interruption(error):
            return HostRefused("auth_failed", f"{name}: {at} does not let us in: {error}. `ssh -v {name}` shows more")
        case socket.gaierror():
            why = _lookup_advice(target, error)
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


def _lookup_advice(target: Target, error: socket.gaierror) -> str:
    name, file = target.alias, target.ssh_config
    asked = f"DNS and /etc/hosts were asked ({error.strerror})"
    if target.host != name:
        return f"{name}: the name {target.host} cannot be looked up: {asked}. Correct the HostName of {name} in {file}"
    return (
        f"{name}: the name {name} cannot be looked up: {file} has no HostName for it, and {asked}. "
        f"Correct the name, or add `Host {name}` to {file}, and below it its `HostName`, `User` and `Port`"
    )


def _login_advice(error: LoginRefusedError) -> str:
    target, tried = error.target, error.tried
    name, at = target.alias, target.address
    if error.why:
        return f"{name}: cannot log in to {at}: {error.why}"
    told = "; ".join(f"{one.key} {one.why}" for one in tried) or f"the ssh-agent {target.agent} has no key to offer"
    if tried and all(one.needs_passphrase for one in tried):
        return (
            f"{name}: cannot log in to {at}: {told}, which sheetd cannot type. Make a key of its own without one "
            "(`ssh-keygen -t ed25519`), put it into ~/.ssh/authorized_keys there and name it as IdentityFile; or load "
            "this one into an ssh-agent that outlives your login, and allow that with use_ssh_agent = true"
        )
    quiet = "" if target.agent is not None else "-o IdentityAgent=none "
    return (
        f"{name}: cannot log in to {at}: {told}. Try `ssh {quiet}{name}`; "
        "the public key belongs into ~/.ssh/authorized_keys there"
    )


def is_interruption(error: paramiko.AuthenticationException) -> bool:
    """Of paramiko, which says "authentication failed" as well when the connection broke or stalled during login."""
    return any(word in str(error).lower() for word in ("timeout", "eof", "shut down"))
