"""How the agent gets onto a host that has nothing but a shell and python3.

The remote command is constant: no cell, path or name of ours ever meets the host's login shell. It reads one line
from its input, a Python literal that holds the source of stage 0 (`onhost/bootstrap.py`), and executes that. Stage 0
reads one JSON line, asks for the agent if the host does not have exactly this one yet (it is kept under its hash),
and becomes it. Both sides read without buffering, so that no byte of the frames that follow is lost on the way from
one to the next.
"""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass
from importlib import resources

#: `-I -S`: nothing in the home folder or the environment may stand in for a module of the standard library.
PYTHON_ARGV = ("-I", "-S", "-u", "-c", "exec(eval(open(0,'rb',0,closefd=False).readline()))")
#: The same words mean the same to sh, bash, zsh, dash, fish and csh.
REMOTE_COMMAND = f'exec python3 {" ".join(PYTHON_ARGV[:-1])} "{PYTHON_ARGV[-1]}"'

#: Goes over the wire at every connect, so it is not part of what is kept on the host.
STAGE0_NAME = "bootstrap.py"


@dataclass(frozen=True, slots=True)
class Bundle:
    """What is shipped to hosts, with the hash under which it is kept there."""

    stage0: str
    blob: bytes
    sha: str


@functools.cache
def bundle() -> Bundle:
    """The agent and the job library of this installation. Read once: an upgrade below a running daemon is harmless."""
    onhost = resources.files("sheetd.onhost")
    sources = {file.name: file.read_text("utf-8") for file in onhost.iterdir() if file.name.endswith(".py")}
    stage0 = sources.pop(STAGE0_NAME)
    blob = json.dumps(sources, sort_keys=True, separators=(",", ":")).encode()
    return Bundle(stage0=stage0, blob=blob, sha=hashlib.sha256(blob).hexdigest())


@dataclass(frozen=True, slots=True)
class Place:
    """Where the agent keeps its state: in `folder` below the root, in the root itself if it is empty."""

    #: None is the usual one, which only the host can tell.
    root: str | None = None
    folder: str = ""


def opening(shipped: Bundle, nonce: str, place: Place) -> bytes:
    """The first bytes on the agent's input: stage 0 and its header."""
    header = {"nonce": nonce, "agent_sha": shipped.sha, "agent_size": len(shipped.blob), "root": place.root}
    if place.folder:
        header["folder"] = place.folder
    return f"{shipped.stage0!a}\n{json.dumps(header)}\n".encode("ascii")
