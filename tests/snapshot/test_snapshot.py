"""The same files give the same hash, everything that is needed travels, and nothing that must stay does."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sheetd import snapshot as module
from sheetd.errors import ConfigError
from sheetd.journal import SqliteJournal
from sheetd.snapshot import Snapshot, snapshot

GIT = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"]
OLD_S = 1_600_000_000


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [*GIT, *arguments],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_ALLOW_PROTOCOL": "file"},
    )
    return done.stdout.strip()


def write(folder: Path, name: str, text: str = "x\n", mode: int = 0o644) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    write(folder, "train.py", "print(1)\n")
    write(folder, "run.sh", "#!/bin/sh\n", mode=0o755)
    write(folder, "lib/model.py", "layers = 3\n")
    return folder


@pytest.fixture
def repository(code: Path) -> Path:
    git(code, "init", "-q")
    write(code, ".gitignore", "data/\n*.pt\n")
    git(code, "add", ".")
    git(code, "commit", "-q", "-m", "first")
    return code


@pytest.fixture
def take(tmp_path: Path) -> Callable[[Path], Snapshot]:
    return lambda folder: snapshot(folder, tmp_path / "store")


Take = Callable[[Path], Snapshot]


def names(found: Snapshot) -> list[str]:
    with tarfile.open(found.path) as archive:
        return archive.getnames()


# --- what is taken ------------------------------------------------------------------------------------------------


def test_a_plain_folder_is_taken_whole_but_for_caches(code: Path, take: Take) -> None:
    for noise in (
        "__pycache__/train.cpython-311.pyc", "lib/__pycache__/a.pyc", "old.pyc", ".git-is-not-here/.git/x",
        ".venv/bin/python", "env/pyvenv.cfg", "env/lib/big.py", ".pytest_cache/x", "build/CACHEDIR.TAG", "build/out.o",
    ):  # fmt: skip
        write(code, noise)
    write(code, "scratch/.gitignore", "# made by a tool\n*\n")
    write(code, "scratch/x.py")
    os.mkfifo(code / "pipe")
    assert names(take(code)) == ["lib/model.py", "run.sh", "train.py"]


def test_in_git_untracked_files_travel_and_ignored_ones_do_not(repository: Path, take: Take) -> None:
    write(repository, "new.py")
    write(repository, "data/huge.bin")
    write(repository, "model.pt")
    write(repository, "__pycache__/x.pyc")
    write(repository, "env/pyvenv.cfg")
    write(repository, "env/lib/x.py")
    (repository / "run.sh").unlink()
    found = take(repository)
    assert names(found) == [".gitignore", "lib/model.py", "new.py", "train.py"]


def test_a_folder_that_became_a_file_is_taken_as_the_file(repository: Path, take: Take) -> None:
    shutil.rmtree(repository / "lib")
    write(repository, "lib")
    assert names(take(repository)) == [".gitignore", "lib", "run.sh", "train.py"]


def test_a_folder_inside_a_repository_is_taken_alone(repository: Path, take: Take) -> None:
    write(repository, "lib/new.py")
    assert names(take(repository / "lib")) == ["model.py", "new.py"]


def test_submodules_and_nested_repositories_travel_with_their_files(
    repository: Path, tmp_path: Path, take: Take
) -> None:
    other = tmp_path / "other"
    write(other, "layer.py")
    git(other, "init", "-q")
    git(other, "add", ".")
    git(other, "commit", "-q", "-m", "x")
    git(repository, "submodule", "--quiet", "add", str(other), "sub")
    git(repository, "clone", "-q", str(other), "nested")
    assert {"sub/layer.py", "nested/layer.py"} <= set(names(take(repository)))
    shutil.rmtree(repository / "sub")
    (repository / "sub").mkdir()
    with pytest.raises(ConfigError, match=r"sub is not checked out: run git submodule update"):
        take(repository)


def test_odd_names_travel(repository: Path, take: Take) -> None:
    odd = ["a b.py", "naïve/ü.py", "-rf", "quote'\".py", "new\nline.py", "x" * 200 + ".py", "d/" * 60 + "deep.py"]
    for name in odd:
        write(repository, name)
    assert set(odd) <= set(names(take(repository)))


def test_the_state_folder_of_the_daemon_is_never_part_of_the_code(code: Path, take: Take) -> None:
    with SqliteJournal(code / "state"):
        assert names(take(code)) == ["lib/model.py", "run.sh", "train.py"]


def test_commit_and_dirtiness_are_told(repository: Path, take: Take) -> None:
    clean = take(repository)
    assert (clean.commit, clean.dirty) == (git(repository, "rev-parse", "HEAD"), False)
    write(repository, "new.py")
    assert take(repository).dirty
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "second")
    again = take(repository)
    assert (again.commit, again.dirty) == (git(repository, "rev-parse", "HEAD"), False)


def test_a_repository_without_a_commit_and_a_plain_folder_have_none(code: Path, take: Take) -> None:
    assert (take(code).commit, take(code).dirty) == (None, False)
    git(code, "init", "-q")
    assert (take(code).commit, take(code).dirty) == (None, True)


# --- one content, one hash ----------------------------------------------------------------------------------------


def test_the_hash_is_that_of_the_archives_bytes(code: Path, take: Take) -> None:
    found = take(code)
    data = found.path.read_bytes()
    assert found.sha == hashlib.sha256(data).hexdigest()
    assert found.size == len(data)
    assert found.path.name == f"{found.sha}.tar.gz"


def test_the_same_files_give_the_same_bytes_wherever_and_whenever_they_are(code: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "copy"
    shutil.copytree(code, elsewhere)
    for path in elsewhere.rglob("*"):
        os.utime(path, (OLD_S, OLD_S))
    (elsewhere / "train.py").chmod(0o600)
    first, second = snapshot(code, tmp_path / "s1"), snapshot(elsewhere, tmp_path / "s2")
    assert first.sha == second.sha
    assert first.path.read_bytes() == second.path.read_bytes()
    with tarfile.open(first.path) as archive:
        for one in archive.getmembers():
            assert (one.mtime, one.uid, one.gid, one.uname, one.gname) == (0, 0, 0, "", "")
            assert one.mode == (0o755 if one.name == "run.sh" else 0o644)


@pytest.mark.parametrize(
    "change",
    [
        lambda code: write(code, "train.py", "print(2)\n"),
        lambda code: write(code, "train.py", "print(1)\n", mode=0o755),
        lambda code: (code / "train.py").rename(code / "train2.py"),
        lambda code: (code / "lib" / "model.py").unlink(),
        lambda code: write(code, "extra.py"),
    ],
    ids=["content", "mode", "name", "gone", "new"],
)
def test_any_change_gives_another_hash(code: Path, take: Take, change: Callable[[Path], object]) -> None:
    before = take(code)
    change(code)
    after = take(code)
    assert before.sha != after.sha
    assert before.path.exists(), "what was accepted before stays in the store"


def test_a_change_without_a_change_of_size_and_time_is_seen(code: Path, take: Take) -> None:
    past = (code / "train.py").stat()
    before = take(code)
    write(code, "train.py", "print(3)\n")
    os.utime(code / "train.py", ns=(past.st_atime_ns, past.st_mtime_ns))
    assert take(code).sha != before.sha


# --- a thousand rows ----------------------------------------------------------------------------------------------


def settled(folder: Path) -> None:
    """Wait until the files are older than a tick of the clock: before that nothing is remembered, on purpose."""
    newest = max(path.stat().st_ctime_ns for path in folder.rglob("*"))
    while time.time_ns() < newest + 2 * module._TICK_NS:
        time.sleep(0.01)


def test_an_unchanged_folder_is_not_read_again(code: Path, take: Take, monkeypatch: pytest.MonkeyPatch) -> None:
    settled(code)
    first = take(code)
    monkeypatch.setattr(module, "_write_archive", lambda *_: pytest.fail("read again"))
    assert take(code) == first


def test_files_that_were_only_just_written_are_not_trusted_to_be_finished(code: Path, tmp_path: Path) -> None:
    write(code, "train.py", "print(4)\n")
    os.utime(code / "train.py", ns=(0, time.time_ns() + 10**12))
    snapshot(code, tmp_path / "store")
    assert not (tmp_path / "store" / "seen").exists()


def test_an_archive_that_was_deleted_is_made_again(code: Path, take: Take) -> None:
    settled(code)
    first = take(code)
    first.path.unlink()
    assert take(code) == first
    assert first.path.exists()


def test_a_damaged_memory_does_no_harm(code: Path, take: Take, tmp_path: Path) -> None:
    settled(code)
    first = take(code)
    (memo,) = (tmp_path / "store" / "seen").iterdir()
    for text in ("", "[]", "{", json.dumps({"fingerprint": 3})):
        memo.write_text(text)
        assert take(code) == first


def test_nothing_half_written_is_left_in_the_store(code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(ConfigError, match="No space left"):
        snapshot(code, tmp_path / "store")
    assert list((tmp_path / "store").iterdir()) == []


def test_a_file_that_changes_while_it_is_read_is_read_again(
    code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, times = Path.read_bytes, []

    def grow_once(path: Path) -> bytes:
        data = read(path)
        if path.name == "train.py" and not times:
            times.append(1)
            write(code, "train.py", "print(12345)\n")
        return data

    monkeypatch.setattr(Path, "read_bytes", grow_once)
    found = snapshot(code, tmp_path / "store")
    with tarfile.open(found.path) as archive:
        member = archive.extractfile("train.py")
        assert member is not None
        assert member.read() == b"print(12345)\n"


def test_a_file_that_never_stops_changing_is_named(code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, count = Path.read_bytes, iter(range(1000))

    def always_other(path: Path) -> bytes:
        data = read(path)
        if path.name == "train.py":
            write(code, "train.py", f"{next(count)}" * 20)
        return data

    monkeypatch.setattr(Path, "read_bytes", always_other)
    with pytest.raises(ConfigError, match=r"train\.py is being changed"):
        snapshot(code, tmp_path / "store")


# --- what must stay -----------------------------------------------------------------------------------------------


def test_too_much_code_is_refused_with_the_biggest_files(code: Path, tmp_path: Path) -> None:
    write(code, "small.bin", "x" * 1_000)
    write(code, "data/big.bin", "x" * 2_000_000)
    with pytest.raises(
        ConfigError, match=r"is 2\.0 MB, more than 1\.0 MB\. The biggest files: data/big\.bin \(2\.0 MB\), "
    ):
        snapshot(code, tmp_path / "store", max_bytes=1_000_000)
    assert not list((tmp_path / "store").glob("*.gz"))


@pytest.mark.parametrize("target", ["/etc/passwd", "../secret", "lib/../../secret", "door/secret"])
def test_a_link_that_leads_outside_is_refused(code: Path, tmp_path: Path, take: Take, target: str) -> None:
    write(tmp_path, "secret")
    if target.startswith("door"):
        (code / "door").symlink_to("..")
    (code / "link").symlink_to(target)
    with pytest.raises(ConfigError, match=r"(link|door) is a link to .*, outside of"):
        take(code)


def test_a_link_inside_the_folder_travels_as_a_link(code: Path, take: Take) -> None:
    (code / "lib" / "again.py").symlink_to("../train.py")
    (code / "library").symlink_to("lib")
    with tarfile.open(take(code).path) as archive:
        assert archive.getmember("lib/again.py").linkname == "../train.py"
        assert archive.getmember("library").linkname == "lib"
        assert archive.getmember("library").issym()


def test_a_service_accounts_key_never_travels(code: Path, take: Take) -> None:
    write(code, "keys/key.json", json.dumps({"type": "service_account", "private_key": "-----BEGIN"}))
    with pytest.raises(ConfigError, match=r"key\.json is a service account's key and must not travel"):
        take(code)


# --- errors -------------------------------------------------------------------------------------------------------


def test_a_missing_folder_is_explained(tmp_path: Path, take: Take) -> None:
    with pytest.raises(ConfigError, match="there is no folder"):
        take(tmp_path / "nope")


def test_an_empty_folder_is_explained(tmp_path: Path, take: Take) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="there are no files"):
        take(tmp_path / "empty")


def test_a_folder_that_git_ignores_is_explained(repository: Path, take: Take) -> None:
    write(repository, "data/train.py")
    with pytest.raises(ConfigError, match="git ignores all of it"):
        take(repository / "data")


def test_git_that_is_not_installed_is_explained(repository: Path, take: Take, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ConfigError, match="git is not installed"):
        take(repository)


def test_what_git_says_is_passed_on(code: Path, take: Take) -> None:
    write(code, ".git", "gitdir: /nonexistent\n")
    with pytest.raises(ConfigError, match=r"git could not list the files .*not a git repository"):
        take(code)


def test_variables_that_point_git_elsewhere_are_not_followed(
    repository: Path, tmp_path: Path, take: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert "train.py" in names(take(repository))
