"""What arrives on a channel that other programs also talk on."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sheetd.onhost.channel import Channel
from tests.onhost.link import DEADLINE_S, ONHOST, REMOTE, Link, bundle, frame, living

NOISE = b"Welcome to gpu3!\nSHEETD is not a frame\nSHEETD " + b"0" * 32 + b" 5 0123456789abcdef\n\x00\xff\n"


def test_noise_between_frames_is_ignored(link: Link):
    link.raw(
        NOISE + frame(link.nonce, {"id": 1, "verb": "ping"}) + NOISE + frame(link.nonce, {"id": 2, "verb": "ping"})
    )
    assert [link.receive()["id"], link.receive()["id"]] == [1, 2]


def test_a_frame_may_arrive_in_pieces(link: Link):
    for byte in frame(link.nonce, {"id": 1, "verb": "ping"}):
        link.raw(bytes([byte]))
    assert link.receive()["id"] == 1


@pytest.mark.parametrize(
    "broken",
    [
        lambda nonce: frame(nonce, {"id": 1, "verb": "ping"}).replace(b"ping", b"pong"),
        lambda nonce: f"SHEETD {nonce} 99999999 {'0' * 16}\n".encode(),
        lambda nonce: frame(nonce, [1, 2]),
    ],
)
def test_a_frame_that_cannot_be_trusted_ends_the_connection(
    connect: Callable[..., Link], broken: Callable[[str], bytes]
):
    link = connect()
    link.raw(broken(link.nonce))
    assert link.process.wait(DEADLINE_S) != 0


def test_a_mistaken_request_is_answered_and_the_agent_goes_on(link: Link):
    assert link.ask("no_such_verb")["code"] == "bad_request"
    assert link.ask("launch")["code"] == "bad_request"
    assert link.ask("status", attempts=[3])["code"] == "bad_request"
    assert link.ask("tail", attempt="abcd1.1", stream="../claim", offset=0, max_bytes=1)["code"] == "bad_request"
    assert link.ask("hello", protocol=2, epoch=1)["code"] == "bad_request"
    assert link.ask("ping")["boottime_s"] > 0


def test_closing_stdin_ends_the_agent_quietly(connect: Callable[..., Link], root: Path):
    assert connect().close() == 0
    assert list(living(str(root))) == []


def test_a_header_needs_its_own_line():
    channel = Channel.__new__(Channel)
    channel.nonce, channel.incoming, channel.outgoing = None, bytearray(), bytearray()
    nonce = "a" * 32
    assert list(channel.feed(b"SHEETD " * 1000 + frame(nonce, {"id": 5}))) == [{"id": 5}]
    assert len(channel.incoming) < 10


def test_hello_says_who_and_where(link: Link):
    greeting = link.hello()
    assert greeting["protocol"] == 1
    assert greeting["python"] == ".".join(map(str, sys.version_info[:3]))
    assert set(greeting["boot"]) == {"boot_id", "pidns", "pid1_ticks"}
    assert greeting["root"] == str(link.root)
    for name in ("machine_id", "hostname", "wall_s", "cores", "load", "memory_bytes", "disk_free_bytes", "user"):
        assert name in greeting
    assert greeting["attempts"] == []


def test_the_agent_is_sent_once_and_mended_when_damaged(root: Path):
    first = Link(root)
    assert first.boot_up() == {"need": True}
    assert first.hello()["epoch_max"] == 1
    first.close()
    second = Link(root)
    assert second.boot_up() == {"need": False}
    second.hello()
    second.close()
    (folder,) = [path for path in (root / "agents").iterdir() if len(path.name) == 64]
    (folder / "onhost" / "agent.py").write_text("import os; os.abort()")
    third = Link(root)
    assert third.boot_up() == {"need": True}
    assert third.hello()["agent_sha"] == folder.name
    third.close()


def test_a_damaged_bundle_is_refused(root: Path):
    link = Link(root)
    assert link.boot_up(blob=bundle() + b" ") == {"need": True}
    assert link.receive()["error"]["code"] == "bad_bundle"
    assert link.process.wait(DEADLINE_S) == 1
    link.close()
    assert not [path for path in (root / "agents").iterdir() if len(path.name) == 64]


@pytest.mark.parametrize("name", ["../evil.py", "a/b.py", "x.sh", "agent.py\n"])
def test_a_bundle_cannot_name_places_of_its_own(root: Path, name: str):
    files = {**json.loads(bundle()), name: "x"}
    link = Link(root)
    link.boot_up(blob=json.dumps(files, sort_keys=True, separators=(",", ":")).encode())
    assert link.receive()["error"]["code"] == "bad_bundle"
    link.close()


@pytest.mark.parametrize("spoil", ["writable", "link", "file"])
def test_a_root_that_others_could_have_prepared_is_refused(root: Path, tmp_path: Path, spoil: str):
    place = tmp_path / "place"
    if spoil == "writable":
        place.mkdir()
        place.chmod(0o777)
    elif spoil == "link":
        place.symlink_to(root)
    else:
        place.touch()
    link = Link(place)
    assert link.boot_up()["error"]["code"] == "bad_root"
    link.close()


SHELLS = [name for name in ("sh", "bash", "dash", "csh", "tcsh", "fish", "zsh") if shutil.which(name)]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_remote_command_means_the_same_to_every_shell_that_is_here(root: Path, shell: str):
    command = f'exec python3 {" ".join(REMOTE[:-1])} "{REMOTE[-1]}"'
    link = Link(root, command=[shell, "-c", command])
    link.boot_up()
    assert link.hello()["protocol"] == 1
    assert link.close() == 0


def test_nothing_variable_is_visible_in_ps_but_the_root(link: Link):
    words = Path(f"/proc/{link.process.pid}/cmdline").read_bytes().split(b"\0")[:-1]
    assert words[1:4] == [b"-I", b"-S", b"-u"]
    assert words[4].startswith(str(link.root).encode())
    assert words[5:] == [b"serve", str(link.root).encode()]
    assert link.nonce.encode() not in b"".join(words)


def test_requests_sent_right_behind_the_bundle_are_not_lost(root: Path):
    link = Link(root)
    blob = bundle()
    header = {
        "nonce": link.nonce,
        "agent_sha": hashlib.sha256(blob).hexdigest(),
        "agent_size": len(blob),
        "root": str(root),
    }
    stage0 = ascii((ONHOST / "bootstrap.py").read_text()).encode() + b"\n"
    link.raw(stage0 + json.dumps(header).encode() + b"\n" + blob + frame(link.nonce, {"id": 9, "verb": "ping"}))
    assert link.receive() == {"need": True}
    assert link.receive()["id"] == 9
    link.close()


def test_a_connection_that_dies_during_stage_0_leaves_nothing_running(root: Path):
    for cut in (0, 10, 3000):
        process = subprocess.Popen([sys.executable, *REMOTE], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdin is not None
        process.stdin.write((ascii((ONHOST / "bootstrap.py").read_text()).encode() + b"\n")[:cut])
        process.stdin.close()
        process.wait(DEADLINE_S)
    assert list(root.iterdir()) == []
