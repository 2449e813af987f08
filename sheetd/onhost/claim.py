"""What is made before an attempt may start: its experiment's folders, and the claim that makes it exist."""

import contextlib
import hashlib
import os
from typing import Any, Dict, Optional

from .attempt import Attempt, Refused
from .blank import blank
from .system import System, dump, remove_tree, sync_folder

RESERVE_BYTES = 16384  # given back on a full disk, for the records of an end

Json = Dict[str, Any]


def prepare(attempt: Attempt, spec: Json) -> None:
    """The experiment's folders and its own copy of the code; all of it may be done twice."""
    if not os.path.isdir(attempt.home):
        with contextlib.suppress(OSError):  # none is laid out
            os.rename(blank(attempt.root, "x"), attempt.home)
    for folder in (os.path.join(attempt.home, "out"), attempt.checkpoints(attempt.number)):
        os.makedirs(folder, mode=0o700, exist_ok=True)
    if not spec.get("code"):
        return
    source, copy = os.path.join(attempt.root, "code", spec["code"]), attempt.working_copy(spec["code"])
    if not os.path.isdir(source):
        raise Refused("no_code", "code {} is not on this host: put_code first".format(spec["code"][:12]))
    if not os.path.isdir(copy):
        import shutil

        fresh = copy + ".new"
        remove_tree(fresh)
        shutil.copytree(source, fresh, symlinks=True)
        os.sync()  # after a power cut the copy must not be there with holes in it
        os.rename(fresh, copy)


def make_claim(
    system: System, attempt: Attempt, boot: Json, nonce: Optional[str], spec: Optional[Json], secrets: Json
) -> None:
    """Make the attempt exist, whole, by one rename. Without a spec it is made revoked: nothing was ever to start.

    After a power cut the spec executes nothing any more, and the claim holds its hash: it need not be durable itself.
    """
    fresh = os.path.join(attempt.root, "a", "." + attempt.name)
    remove_tree(fresh)
    try:
        os.rename(blank(attempt.root, "a"), fresh)
    except FileNotFoundError:
        os.mkdir(fresh, 0o700)
    claim = {"nonce": nonce, "boot": boot, "at": system.boottime(), "secret_names": sorted(secrets)}
    claim["marker"] = os.urandom(16).hex()  # in the job's environment: two daemons may use one id, but never this
    claim["spec_sha"] = None if spec is None else hashlib.sha256(dump(spec)).hexdigest()
    content = {"spec.json": dump(spec or {}), "reserve": b"\0" * RESERVE_BYTES}
    content.update({"params.json": dump((spec or {}).get("params") or {}), "log": b"", "metrics.jsonl": b""})
    content["sup.lock"] = b""
    with contextlib.suppress(FileExistsError):  # it was laid out
        os.mkfifo(os.path.join(fresh, "wake"), 0o600)
    for name, data in content.items():
        system.write(os.path.join(fresh, name), data, durable=False)
    # Last, and the folder at once: a file system with a journal finds nothing new for a second commit.
    durable = {"claim.json": dump(claim), **({"tomb": b"stopped before its claim\n"} if spec is None else {})}
    for name, data in durable.items():
        system.write(os.path.join(fresh, name), data, durable=True)
    sync_folder(fresh)
    system.claim(fresh, attempt.folder)
