"""Code reaches a host whole or not at all, and never writes outside its folder."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.onhost.link import Link

A = "abcd1.1"


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def file(name: str, data: bytes = b"x", mode: int = 0o644) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.mode = mode
    return info, data


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


def put(link: Link, blob: bytes, sha: str | None = None, piece: int = 1 << 20) -> dict[str, Any]:
    sha = sha or hashlib.sha256(blob).hexdigest()
    answer: dict[str, Any] = {}
    for offset in range(0, len(blob), piece):
        data = base64.b64encode(blob[offset : offset + piece]).decode()
        answer = link.ask("put_code", sha=sha, offset=offset, total=len(blob), data_base64=data)
        if "code" in answer:
            return answer
    return answer


GOOD = archive(
    file("train.py", b"print('trained')"),
    file("scripts/go.sh", b"#!/bin/sh\necho went; pwd\n", 0o755),
    special("link.py", tarfile.SYMTYPE, "train.py"),
    special("scripts/up", tarfile.SYMTYPE, "../train.py"),
)
GOOD_SHA = hashlib.sha256(GOOD).hexdigest()


def test_code_arrives_in_pieces_and_is_run(link: Link, root: Path):
    assert link.ask("has_code", sha=GOOD_SHA) == {"complete": False, "have": 0}
    assert put(link, GOOD, piece=100) == {"have": len(GOOD)}
    assert link.ask("has_code", sha=GOOD_SHA)["complete"]
    link.launch(A, ["./go.sh"], code=GOOD_SHA, cwd="scripts")
    end = link.until_ended(A)
    assert (end["exit"]["rc"], end["last_lines"]) == (
        0,
        ["went", str(root / "x/abcd1/work" / GOOD_SHA[:12] / "scripts")],
    )
    link.launch("abcd1.2", ["python3", "link.py"], code=GOOD_SHA)
    assert link.until_ended("abcd1.2")["last_lines"] == ["trained"]


def test_an_upload_goes_on_where_a_lost_connection_left_it(connect: Callable[..., Link]):
    first, half = connect(), base64.b64encode(GOOD[:50]).decode()
    first.ask("put_code", sha=GOOD_SHA, offset=0, total=len(GOOD), data_base64=half)
    first.kill()
    second = connect()
    assert second.ask("has_code", sha=GOOD_SHA) == {"complete": False, "have": 50}
    rest = base64.b64encode(GOOD[50:]).decode()
    assert second.ask("put_code", sha=GOOD_SHA, offset=0, total=len(GOOD), data_base64=half) == {"have": 50}
    assert second.ask("put_code", sha=GOOD_SHA, offset=50, total=len(GOOD), data_base64=rest) == {"have": len(GOOD)}
    assert second.ask("has_code", sha=GOOD_SHA)["complete"]


def test_a_job_cannot_spoil_the_code_of_others(link: Link, root: Path):
    put(link, GOOD)
    link.launch(A, ["sh", "-c", "echo spoiled > train.py"], code=GOOD_SHA)
    assert link.until_ended(A)["exit"]["rc"] == 0
    link.launch("efgh2.1", ["python3", "train.py"], code=GOOD_SHA)
    assert link.until_ended("efgh2.1")["last_lines"] == ["trained"]
    assert (root / "code" / GOOD_SHA / "train.py").read_text() == "print('trained')"


def test_a_launch_without_its_code_is_refused_and_claims_nothing(link: Link):
    assert link.launch(A, ["true"], code=GOOD_SHA)["code"] == "no_code"
    assert link.state(A)["state"] == "absent"


def test_damaged_code_is_refused_and_may_be_sent_again(link: Link):
    assert put(link, GOOD[:-1] + b"!", sha=GOOD_SHA)["code"] == "bad_code"
    assert link.ask("has_code", sha=GOOD_SHA) == {"complete": False, "have": 0}
    assert put(link, GOOD) == {"have": len(GOOD)}


@pytest.mark.parametrize(
    "members",
    [
        [file("../evil")],
        [file("/tmp/sheetd-evil")],
        [file("a/../../evil")],
        [special("evil", tarfile.SYMTYPE, "/etc/passwd")],
        [special("evil", tarfile.SYMTYPE, "../..")],
        [special("evil", tarfile.SYMTYPE, "../outside"), file("evil/x")],
        [special("sub", tarfile.SYMTYPE, "."), special("evil", tarfile.SYMTYPE, "sub/../..")],
        [special("p/q/s", tarfile.SYMTYPE, "../.."), special("evil", tarfile.SYMTYPE, "p/q/s/../..")],
        [special("a", tarfile.SYMTYPE, "b"), file("a")],
        [special("evil", tarfile.LNKTYPE, "/etc/passwd")],
        [special("evil", tarfile.CHRTYPE)],
        [special("evil", tarfile.FIFOTYPE)],
        [file("same"), file("same")],
        [file("folder"), file("folder/below")],
    ],
)
def test_an_archive_that_reaches_outside_is_refused_whole(
    link: Link, root: Path, members: list[tuple[tarfile.TarInfo, bytes]]
):
    answer = put(link, archive(file("innocent"), *members))
    assert answer["code"] == "bad_code"
    assert list((root / "code").iterdir()) == []
    assert not (root / "evil").exists()
    assert not (root.parent / "evil").exists()
    assert not Path("/tmp/sheetd-evil").exists()


def test_what_is_no_archive_is_refused(link: Link):
    assert put(link, b"not a tar at all")["code"] == "bad_code"
    assert put(link, GOOD[: len(GOOD) // 2])["code"] == "bad_code"


@pytest.mark.parametrize("sha", ["../../etc", "A" * 64, "a" * 63, "a" * 64 + "\n", None])
def test_a_hash_never_becomes_a_path_of_its_own(link: Link, sha: Any):
    assert link.ask("has_code", sha=sha)["code"] == "bad_request"
