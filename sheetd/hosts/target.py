"""Where an alias leads, and what to say about the host key that is met there. Knows no library and no connection."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SSH_PORT = 22


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
    #: The file that was asked.
    ssh_config: Path
    #: The socket of the ssh-agent whose keys may be used as well; None for none.
    agent: str | None = None
    #: Of the agent's keys only those whose public half lies beside a key file.
    only_named_keys: bool = False

    @property
    def address(self) -> str:
        return f"{self.user}@{self.host}:{self.port}"

    @property
    def key_name(self) -> str:
        """The name under which known_hosts files hold its host key (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)."""
        if self.host_key_alias:
            return self.host_key_alias
        return self.host if self.port == SSH_PORT else f"[{self.host}]:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKey:
    """A host key as it was shown to us by whoever answered, and what is known of it here."""

    #: The alias of the host or of the jump host on the way to it, its address, and its name in known_hosts files.
    alias: str
    address: str
    name: str
    kind: str
    blob: str
    fingerprint: str
    state: Literal["known", "unknown", "changed"]
    #: What it should have been, when it has changed.
    expected: str = ""


#: The public keys of a host by the kind of key, as Debian, Ubuntu, Red Hat and Google's images have them.
_FILES = {"ssh-ed25519": "ed25519", "ssh-rsa": "rsa", "rsa-sha2-256": "rsa", "rsa-sha2-512": "rsa"}


def compare_command(kind: str) -> str:
    """What to type on the host itself to see the fingerprint that it ought to show."""
    return f"ssh-keygen -lf /etc/ssh/ssh_host_{_FILES.get(kind, 'ecdsa')}_key.pub"


def unknown_key_advice(key: HostKey) -> str:
    return (
        f"{key.alias}: the host key of {key.address} is not known here: {key.kind} {key.fingerprint}. "
        f"`sheetd host add {key.alias}` shows it, says how to compare it with the host's own, and keeps it; or accept "
        f"it with `ssh {key.alias}` once. sheetd accepts no key by itself"
    )


def changed_key_advice(key: HostKey, known_hosts: Path) -> str:
    return (
        f"{key.alias}: the host key of {key.address} has CHANGED: it is {key.kind} {key.fingerprint} and was "
        f"{key.expected}. Either the machine was set up anew, or somebody is in between: nothing is sent there. If you "
        f"are sure of the first: `sheetd host add {key.alias}` shows the new one and keeps it instead, and "
        f"`ssh-keygen -f {known_hosts} -R '{key.name}'` makes `ssh` forget the old one"
    )
