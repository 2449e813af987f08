"""Code on its way to a host: pieces of a tar.gz in, a folder named by its hash out, or nothing.

What arrives was packed by the daemon, but from a working tree that anybody may have prepared: nothing may be written
outside the folder, by no name and through no link.
"""

import base64
import hashlib
import os
from typing import Any, Dict, List, Tuple

from .attempt import SHA, Refused
from .system import read_range, remove_tree, sync_folder, write_all

CODE_BYTES_MAX = 4 << 30
CODE_MEMBERS_MAX = 200000

Json = Dict[str, Any]


class CodeStore:
    """The folder code/: one folder for each hash, and beside it what has arrived of the next ones."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def has_code(self, request: Json) -> Json:
        part, whole = self.code_paths(request["sha"])
        if os.path.isdir(whole):
            return {"complete": True, "have": 0}
        return {"complete": False, "have": read_range(part, 0, 0)[1]}

    def code_paths(self, sha: Any) -> Tuple[str, str]:
        if not isinstance(sha, str) or not SHA.match(sha):
            raise Refused("bad_request", "{!r} is no sha256".format(sha))
        whole = os.path.join(self.folder, sha)
        return whole + ".part", whole

    def put_code(self, request: Json) -> Json:
        """One more piece of a code archive; the last one makes it the folder code/<sha>."""
        part, whole = self.code_paths(request["sha"])
        data, total = base64.b64decode(request["data_base64"], validate=True), int(request["total"])
        if os.path.isdir(whole):
            return {"have": total}
        handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            have = os.fstat(handle).st_size
            if have != int(request["offset"]) or have + len(data) > total:
                return {"have": have}
            os.lseek(handle, 0, os.SEEK_END)
            write_all(handle, data)
            have += len(data)
        finally:
            os.close(handle)
        if have == total:
            self.unpack(part, whole, request["sha"])
        return {"have": have}

    def unpack(self, part: str, whole: str, sha: str) -> None:
        fresh = whole + ".new"
        remove_tree(fresh)
        try:
            check_hash(part, sha)
            unpack_safely(part, fresh)
        except Refused:
            remove_tree(fresh)
            os.unlink(part)
            raise
        os.sync()  # every file at once: after a power cut the folder must not be there with holes in it
        os.rename(fresh, whole)
        sync_folder(self.folder)
        os.unlink(part)


def check_hash(path: str, sha: str) -> None:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            digest.update(piece)
    if digest.hexdigest() != sha:
        raise Refused("bad_code", "the code arrived damaged: its hash is not {}".format(sha[:12]))


def unpack_safely(archive: str, folder: str) -> None:
    """Unpack files, folders and links that stay inside; refuse an archive with anything else, whole.

    Links are made last, so that nothing is ever written through one, and then each is resolved and must end inside.
    """
    import tarfile

    os.makedirs(folder, mode=0o700)
    links: List[Tuple[str, str]] = []
    size, count = 0, 0
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                size, count = size + member.size, count + 1
                if size > CODE_BYTES_MAX or count > CODE_MEMBERS_MAX:
                    raise Refused("bad_code", "the code archive unpacks to too much")
                target = os.path.join(folder, inside_path(member.name))
                if member.issym():
                    links.append((member.linkname, target))
                elif member.isdir():
                    os.makedirs(target, mode=0o700, exist_ok=True)
                elif member.isreg():
                    write_member(target, tar.extractfile(member), 0o700 if member.mode & 0o100 else 0o600)
                else:
                    raise Refused("bad_code", "the code archive holds a device or hard link: {!r}".format(member.name))
        for name, target in links:
            os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
            os.symlink(name, target)
    except (tarfile.TarError, EOFError, ValueError, FileExistsError, NotADirectoryError) as error:
        raise Refused("bad_code", "the code archive cannot be unpacked: {}".format(error))
    inside = os.path.realpath(folder) + os.sep
    for name, target in links:
        if os.path.isabs(name) or not (os.path.realpath(target) + os.sep).startswith(inside):
            raise Refused("bad_code", "a link in the code archive leaves its folder: {!r}".format(name))


def inside_path(name: str) -> str:
    path = os.path.normpath(name)
    if os.path.isabs(path) or path.split(os.sep)[0] == ".." or "\0" in path:
        raise Refused("bad_code", "the code archive leaves its folder: {!r}".format(name))
    return path


def write_member(path: str, source: Any, mode: int) -> None:
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        for piece in iter(lambda: source.read(1 << 20), b""):
            write_all(handle, piece)
    finally:
        os.close(handle)
