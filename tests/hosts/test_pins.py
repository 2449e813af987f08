"""sheetd's own known_hosts: OpenSSH understands it, it understands OpenSSH's, and it is written whole or not at all."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest

from sheetd.errors import ConfigError
from sheetd.hosts.pins import Pins
from tests.needs import needs_sshd
from tests.rig.light_sshd import make_key

NAME = "[192.0.2.1]:2222"


@pytest.fixture
def pins(tmp_path: Path) -> Pins:
    return Pins(tmp_path / "state" / "known_hosts")


def public(path: Path) -> tuple[str, str]:
    kind, blob = make_key(path).with_suffix(".pub").read_text().split()[:2]
    return kind, blob


def keygen(*words: str) -> str:
    return subprocess.run(["ssh-keygen", *words], capture_output=True, text=True, check=True).stdout


@needs_sshd
def test_what_was_kept_is_found_by_ssh_and_by_us(pins: Pins, tmp_path: Path) -> None:
    kind, blob = public(tmp_path / "a")
    pins.pin(NAME, kind, blob)
    assert pins.keys(NAME) == [(kind, blob)]
    assert pins.keys("192.0.2.1") == []
    assert blob in keygen("-F", NAME, "-f", str(pins.path))
    assert stat.S_IMODE(pins.path.stat().st_mode) == 0o600
    assert [path.name for path in pins.path.parent.iterdir()] == ["known_hosts"]


@needs_sshd
def test_a_new_key_replaces_every_old_one_of_that_name_and_no_other(pins: Pins, tmp_path: Path) -> None:
    old, new, other = (public(tmp_path / name) for name in ("old", "new", "other"))
    pins.pin("gpu2", *other)
    pins.path.write_text(
        f"# ours\n{pins.path.read_text()}\n{NAME},alias {' '.join(old)}\n@cert-authority *.lab {' '.join(old)}\n"
    )
    hashed = tmp_path / "hashed"
    hashed.write_text(f"{NAME} {' '.join(old)}\n")
    keygen("-q", "-H", "-f", str(hashed))
    pins.path.write_text(pins.path.read_text() + hashed.read_text())
    assert pins.keys(NAME) == [old, old]
    pins.pin(NAME, *new)
    assert pins.keys(NAME) == [new]
    assert pins.keys("alias") == [old]
    assert pins.keys("gpu2") == [other]
    assert pins.path.read_text().startswith("# ours\n")
    assert "@cert-authority *.lab" in pins.path.read_text()


@needs_sshd
def test_forgetting_says_whether_there_was_anything(pins: Pins, tmp_path: Path) -> None:
    assert pins.unpin(NAME) is False
    pins.pin(NAME, *public(tmp_path / "a"))
    assert pins.unpin(NAME) is True
    assert pins.keys(NAME) == []


@needs_sshd
def test_lines_that_are_no_entries_are_kept_and_mean_nothing(pins: Pins) -> None:
    pins.path.parent.mkdir()
    pins.path.write_text("garbage\n|1|no-base64|x ssh-ed25519 AAAA\n|1|broken ssh-ed25519 AAAA\n\n")
    assert pins.keys(NAME) == []
    pins.pin(NAME, "ssh-ed25519", "AAAA")
    assert pins.path.read_text().startswith("garbage\n|1|no-base64|x")


@needs_sshd
def test_a_file_that_cannot_be_read_or_written_is_named(pins: Pins, tmp_path: Path) -> None:
    pins.path.parent.mkdir()
    pins.path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        pins.keys(NAME)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be"):
        Pins(tmp_path / "file" / "known_hosts").pin(NAME, "ssh-ed25519", "AAAA")
