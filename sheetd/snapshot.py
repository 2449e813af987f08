"""A folder of code, frozen: one archive named by the hash of its bytes.

Code is pinned when a row is accepted, so that an edit five minutes later cannot reach an experiment that waits, nor one
that resumes. Taken is what git tracks or would track (people forget to `git add`, and then wonder why the host lacks a
file), or every file where there is no git. The same files give the same bytes, hence the same hash, sent once per host.

It must not take what does not belong on a host: a service account's key, or links that lead out of the folder.

Weak points: two machines with different zlib versions may give one folder two hashes, which costs a second upload. A
file that changes without a change of size, times and inode is taken for the old one.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import IO

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from sheetd.errors import ConfigError

MAX_BYTES = 200 * 1024 * 1024
GIT_DEADLINE_S = 60.0

#: Folders that programs fill and nobody means to ship. (Those with a .gitignore that says `*` are found by that.)
_CACHES = frozenset(
    {".git", ".hg", ".svn", "__pycache__", ".venv", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".ipynb_checkpoints"}
)
_CACHE_MARKS = ("pyvenv.cfg", "CACHEDIR.TAG")
#: A clock tick of the kernel, with room: a file changed so shortly before it was read may change again unseen.
_TICK_NS = 50_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """An archive in the store, `size` bytes long. `commit` is git's HEAD; `dirty`: the files differ from it."""

    sha: str
    path: Path
    size: int
    commit: str | None = None
    dirty: bool = False


def snapshot(folder: Path, store: Path, *, max_bytes: int = MAX_BYTES) -> Snapshot:
    """Freeze the folder into the store, or find it there. Raises ConfigError saying what is in the way and why."""
    folder = folder.resolve()
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder} to take code from: correct `code` in the template")
    in_git = any((parent / ".git").exists() for parent in (folder, *folder.parents))
    try:
        store.mkdir(mode=0o700, parents=True, exist_ok=True)
        again = Retrying(retry=retry_if_exception_type(_ChangedMeanwhile), stop=stop_after_attempt(3), reraise=True)
        sha = again(_freeze, folder, store, max_bytes, in_git)
        path = store / f"{sha}.tar.gz"
        commit, dirty = _git_state(folder) if in_git else (None, False)
        return Snapshot(sha=sha, path=path, size=path.stat().st_size, commit=commit, dirty=dirty)
    except OSError as error:
        raise ConfigError(f"the code in {folder} could not be read or stored: {error}") from error


class _ChangedMeanwhile(ConfigError):  # noqa: N818 - tried again before anybody sees it
    pass


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    mode: int
    size: int
    #: Enough to notice that a file is no longer the one that was hashed.
    identity: tuple[int, int, int, int]
    link: str = ""


def _freeze(folder: Path, store: Path, max_bytes: int, in_git: bool) -> str:
    names = _git_names(folder) if in_git else _all_names(folder)
    members = [_member(folder, name) for name in sorted(names)]
    if not members:
        hint = ": git ignores all of it, so check .gitignore, or run git init in that folder" if in_git else ""
        raise ConfigError(f"there are no files in {folder} to ship{hint}")
    _refuse_too_large(folder, members, max_bytes)
    fingerprint = hashlib.sha256(repr(members).encode("utf-8", "surrogateescape")).hexdigest()
    memo = store / "seen" / f"{hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]}.json"
    known = _remembered(memo, fingerprint)
    if known is not None and (store / f"{known}.tar.gz").exists():
        return known
    sha, began_ns = _write_archive(folder, members, store)
    if max(max(one.identity[1:3]) for one in members) < began_ns - _TICK_NS:
        memo.parent.mkdir(mode=0o700, exist_ok=True)
        _replace(memo, json.dumps({"fingerprint": fingerprint, "sha": sha}).encode())
    return sha


# --- what is taken ------------------------------------------------------------------------------------------------


def _git_names(folder: Path) -> set[str]:
    """Tracked and untracked files that no ignore rule excludes, those of submodules and nested repositories too."""
    listed = _git(folder, "ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0")
    names: set[str] = set()
    for name in (one.rstrip("/") for one in listed if one):
        path = folder / name
        try:
            is_folder = stat.S_ISDIR(path.lstat().st_mode)
        except (FileNotFoundError, NotADirectoryError):  # tracked and deleted, or a file now where a folder was
            continue
        if not is_folder:
            names.add(name)
        elif (path / ".git").exists():
            names.update(f"{name}/{inner}" for inner in _git_names(path))
        else:
            raise ConfigError(f"the submodule {path} is not checked out: run git submodule update --init")
    return set(_without_caches(folder, names))


def _all_names(folder: Path) -> Iterator[str]:
    for where, folders, files in os.walk(folder, onerror=_fail):
        here = Path(where)
        links = [one for one in folders if (here / one).is_symlink()]
        folders[:] = [one for one in folders if one not in links and not _is_cache(here / one)]
        for one in (*files, *links):
            if stat.S_IFMT((here / one).lstat().st_mode) in (stat.S_IFREG, stat.S_IFLNK) and not one.endswith(".pyc"):
                yield (here / one).relative_to(folder).as_posix()


def _without_caches(folder: Path, names: Iterable[str]) -> Iterator[str]:
    """A cache that nobody told git to ignore would give every run of the tests a new hash."""
    is_cache = cache(_is_cache)
    for name in names:
        parts = name.split("/")
        parents = ("/".join(parts[:end]) for end in range(1, len(parts)))
        if not name.endswith(".pyc") and not any(is_cache(folder / parent) for parent in parents):
            yield name


def _is_cache(folder: Path) -> bool:
    if folder.name in _CACHES or any((folder / mark).exists() for mark in _CACHE_MARKS):
        return True
    ignore = folder / ".gitignore"
    return ignore.is_file() and re.sub(rb"#.*", b"", ignore.read_bytes()).strip() == b"*"


def _fail(error: OSError) -> None:
    raise error


def _member(folder: Path, name: str) -> _Member:
    path = folder / name
    found = path.lstat()
    identity = (found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size)
    if not stat.S_ISLNK(found.st_mode):
        # Only the owner's x counts, as in git: the rest differs with everybody's umask.
        return _Member(name, 0o755 if found.st_mode & 0o100 else 0o644, found.st_size, identity)
    target = str(path.readlink())
    lexical = os.path.normpath(os.path.join(os.path.dirname(name), target))  # noqa: PTH118, PTH120 - pathlib keeps `..`
    if os.path.isabs(target) or lexical.split("/")[0] == ".." or not path.resolve().is_relative_to(folder):  # noqa: PTH117
        raise ConfigError(f"{path} is a link to {target}, outside of {folder}, which a host does not have: copy it in")
    return _Member(name, 0o777, 0, identity, target)


def _refuse_too_large(folder: Path, members: Sequence[_Member], max_bytes: int) -> None:
    total = sum(one.size for one in members)
    if total <= max_bytes:
        return
    biggest = sorted(members, key=lambda one: -one.size)[:5]
    listed = ", ".join(f"{one.name} ({_mb(one.size)})" for one in biggest)
    raise ConfigError(
        f"the code in {folder} is {_mb(total)}, more than {_mb(max_bytes)}. The biggest files: {listed}."
        " Name data and outputs in .gitignore, or let `code` in the template name a smaller folder"
    )


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


# --- the archive --------------------------------------------------------------------------------------------------


class _Hashing:
    """A file that hashes what passes through."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sha.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def _write_archive(folder: Path, members: Sequence[_Member], store: Path) -> tuple[str, int]:
    """The hash of the archive, durable in the store, and when it was begun by the file system's clock."""
    descriptor, part = tempfile.mkstemp(dir=store, prefix=".", suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            began_ns = os.fstat(file.fileno()).st_mtime_ns
            hashing = _Hashing(file)
            with (
                gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=hashing, mtime=0) as packed,
                tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
            ):
                for one in members:
                    _add(archive, folder, one)
            file.flush()
            os.fsync(file.fileno())
        sha = hashing.sha.hexdigest()
        Path(part).replace(store / f"{sha}.tar.gz")
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
    _sync_folder(store)
    return sha, began_ns


def _add(archive: tarfile.TarFile, folder: Path, one: _Member) -> None:
    info = tarfile.TarInfo(one.name)
    info.mode = one.mode
    if one.link:
        info.type, info.linkname = tarfile.SYMTYPE, one.link
        archive.addfile(info)
        return
    path = folder / one.name
    data = path.read_bytes()
    if _member(folder, one.name) != one:
        raise _ChangedMeanwhile(f"{path} is being changed all the time: wait until it is finished, or ignore it in git")
    if one.name.endswith(".json") and b'"private_key"' in data and b'"service_account"' in data:
        raise ConfigError(f"{path} is a service account's key and must not travel to hosts: move it out of {folder}")
    info.size = len(data)
    archive.addfile(info, BytesIO(data))


def _remembered(memo: Path, fingerprint: str) -> str | None:
    try:
        found = json.loads(memo.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    if isinstance(found, dict) and found.get("fingerprint") == fingerprint:
        return str(found.get("sha"))
    return None


def _replace(path: Path, data: bytes) -> None:
    # A name of its own, since two threads may remember the same folder at once.
    descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    Path(part).replace(path)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- git ----------------------------------------------------------------------------------------------------------


def _git_state(folder: Path) -> tuple[str | None, bool]:
    """HEAD (None before the first commit), and whether anything in the folder differs from it."""
    lines = _git(folder, "status", "--porcelain=v2", "--branch", "-z", "--", ".").split("\0")
    oid = next((line.split()[2] for line in lines if line.startswith("# branch.oid ")), "(initial)")
    return None if oid == "(initial)" else oid, any(line and not line.startswith("# ") for line in lines)


def _git(folder: Path, *arguments: str) -> str:
    # Variables such as GIT_DIR, set where sheetd is started from a hook, would point at another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=environment, capture_output=True, timeout=GIT_DEADLINE_S, check=True
        )
    except FileNotFoundError as error:
        raise ConfigError(f"{folder} is in a git work tree, and git is not installed here: install it") from error
    except subprocess.TimeoutExpired as error:
        raise ConfigError(
            f"git did not answer within {GIT_DEADLINE_S:g} s in {folder}: run git status there"
        ) from error
    except subprocess.CalledProcessError as error:
        said = os.fsdecode(error.stderr).strip()
        raise ConfigError(f"git could not list the files of {folder}: {said}") from error
    return os.fsdecode(done.stdout)
