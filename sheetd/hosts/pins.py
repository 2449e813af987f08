"""sheetd's own known_hosts: the host keys that a person compared and had it keep (`sheetd host add`).

The format is OpenSSH's (sshd(8)), so `ssh -o UserKnownHostsFile=...` and `ssh-keygen -F` understand the file too. It
is written whole beside its place, flushed and renamed, and only its user may read it: whoever could write it could
put a machine of their own in a host's place. Lines that others added, hashed ones too, are kept.

Not understood: wildcards, `@revoked` and `@cert-authority`; such lines are kept and concern nobody here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import tempfile
from pathlib import Path

from sheetd.errors import ConfigError

PINS_NAME = "known_hosts"
_HASHED = "|1|"


class Pins:
    """The file at `path`, which need not exist."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def keys(self, name: str) -> list[tuple[str, str]]:
        """Kind and key, in base64, of everything kept under this name."""
        found = (_fields(line) for line in self._lines())
        return [(kind, blob) for names, kind, blob in found if _is_named(names, name)]

    def pin(self, name: str, kind: str, blob: str) -> None:
        """Keep this key under this name, and no other any more. Raises ConfigError."""
        self._write([*self._without(name), f"{name} {kind} {blob}"])

    def unpin(self, name: str) -> bool:
        """Forget what is kept under this name; False when that was nothing. Raises ConfigError."""
        if not self.keys(name):
            return False
        self._write(self._without(name))
        return True

    def _lines(self) -> list[str]:
        try:
            return self.path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self.path} cannot be read: {error}: mend it or move it away") from error

    def _without(self, name: str) -> list[str]:
        kept = []
        for line in self._lines():
            names, kind, blob = _fields(line)
            if not _is_named(names, name):
                kept.append(line)
            elif others := ",".join(one for one in names.split(",") if not _is_named(one, name)):
                kept.append(f"{others} {kind} {blob}")
        return kept

    def _write(self, lines: list[str]) -> None:
        text = "".join(f"{line}\n" for line in lines)
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, beside = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)  # mode 0600
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                Path(beside).replace(self.path)
            except BaseException:
                Path(beside).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be written: {error.strerror}") from error


def _fields(line: str) -> tuple[str, str, str]:
    """Names, kind, key; empty for a comment, a marked line, or what is no entry at all."""
    parts = line.split()
    if len(parts) < 3 or parts[0][0] in "#@":
        return "", "", ""
    return parts[0], parts[1], parts[2]


def _is_named(names: str, name: str) -> bool:
    return any(_is_hash_of(one, name) if one.startswith(_HASHED) else one == name for one in names.split(","))


def _is_hash_of(hashed: str, name: str) -> bool:
    """HMAC-SHA1 of the name under a salt; SHA-1 is the format's and guards nothing here but the names' privacy."""
    salt, _, digest = hashed.removeprefix(_HASHED).partition("|")
    try:
        wanted, key = base64.b64decode(digest, validate=True), base64.b64decode(salt, validate=True)
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(hmac.new(key, name.encode(), hashlib.sha1).digest(), wanted)
