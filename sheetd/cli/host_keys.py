"""Host keys before a person's eyes: each one on the way to a host is shown, compared by the person, and kept.

Nothing is ever accepted without that: either somebody says yes to a fingerprint that is on the screen, or brings the
right one along (`--fingerprint`), for scripts that have it from the machine itself.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.markup import escape
from rich.text import Text

from sheetd.cli.terminal import out
from sheetd.config import HostSettings, Settings
from sheetd.errors import HostError, SheetdError
from sheetd.hosts.pins import PINS_NAME, Pins
from sheetd.hosts.ssh import SshChannel
from sheetd.hosts.target import HostKey, compare_command

#: A host and the jump hosts on the way to it.
KEYS_MAX = 8
_DIGEST = "SHA256:"


def settle_host_keys(settings: Settings, entry: HostSettings, fingerprints: Sequence[str]) -> None:
    """Until every key on the way is known and the host's own is kept. Raises SheetdError when one is not accepted."""
    wanted = [_plain(fingerprint) for fingerprint in fingerprints]
    pins = Pins(settings.daemon.state_dir / PINS_NAME)
    accepted: list[str] = []
    for _ in range(KEYS_MAX):
        key = _look(settings, entry, pins)
        if key.state == "known":
            if key.blob not in accepted:
                _keep_known(entry, key, pins, wanted)
            return
        _show(entry, key)
        if wanted:
            _compare(key, wanted)
            out.print("It is the one that --fingerprint names.")
        elif not _is_confirmed():
            raise SheetdError(f"the host key of {key.alias} was not accepted; nothing was changed")
        pins.pin(key.name, key.kind, key.blob)
        accepted.append(key.blob)
        out.print(f"Kept in {escape(str(pins.path))}.\n", soft_wrap=True)
    raise SheetdError(f"more than {KEYS_MAX} host keys on the way to {entry.name}: see its ProxyJump")


def _look(settings: Settings, entry: HostSettings, pins: Pins) -> HostKey:
    with out.status(f"{escape(entry.name)}: asking for its host key"):
        channel = SshChannel(
            entry.name, entry.name, settings.daemon.ssh_config, pins.path, use_agent=entry.use_ssh_agent
        )
        try:
            return channel.host_key()
        except HostError as error:
            raise SheetdError(f"the host key cannot be asked for: {error}") from error


def _keep_known(entry: HostSettings, key: HostKey, pins: Pins, wanted: Sequence[str]) -> None:
    if wanted:
        _compare(key, wanted)
    if (key.kind, key.blob) in pins.keys(key.name):
        out.print(f"The host key of {escape(entry.name)} is the one that is kept: {key.fingerprint}.", soft_wrap=True)
        return
    pins.pin(key.name, key.kind, key.blob)
    out.print(
        f"The host key of {escape(entry.name)} is known to your `ssh` already ({key.fingerprint}); "
        f"sheetd keeps it too, in {escape(str(pins.path))}.",
        soft_wrap=True,
    )


def _show(entry: HostSettings, key: HostKey) -> None:
    where = "" if key.alias == entry.name else f" (on the way to {entry.name})"
    if key.state == "changed":
        out.print(Text(f"The host key of {key.alias}{where} has CHANGED.", style="bold red"))
        out.print(
            Text(f"It was {key.expected}. The machine was set up anew, or somebody is in between."), soft_wrap=True
        )
    out.print(Text(f"{key.alias}{where}, {key.address}, shows this host key:"), soft_wrap=True)
    out.print(Text(f"\n    {key.kind} {key.fingerprint}\n", style="bold"), soft_wrap=True)
    out.print(
        Text("Compare it with what the machine itself says: on its console, or from somebody who is logged in there:"),
        soft_wrap=True,
    )
    out.print(Text(f"\n    {compare_command(key.kind)}\n"), soft_wrap=True)


def _is_confirmed() -> bool:
    out.print("Is it the same? [y/N] ", end="", markup=False)
    answer = sys.stdin.readline()
    if not answer:
        out.print()
        raise SheetdError("nobody is there to compare: give --yes --fingerprint SHA256:... with the host's own")
    return answer.strip().lower() in ("y", "yes")


def _plain(fingerprint: str) -> str:
    """As OpenSSH prints it, with or without its prefix and padding."""
    text = fingerprint.strip().rstrip("=")
    if ":" in text and not text.startswith(_DIGEST):
        raise SheetdError(f"--fingerprint {fingerprint}: only SHA256 is compared; see it with `ssh-keygen -lf FILE`")
    return text if text.startswith(_DIGEST) else _DIGEST + text


def _compare(key: HostKey, wanted: Sequence[str]) -> None:
    if key.fingerprint not in wanted:
        told = " or ".join(wanted)
        raise SheetdError(
            f"the host key of {key.alias} is {key.kind} {key.fingerprint}, and --fingerprint names {told}. "
            "Another kind of key of the same machine? Else somebody is in between. Nothing was changed"
        )
