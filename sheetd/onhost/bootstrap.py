"""Stage 0: the first Python that runs on a host, sent as one line on stdin by a constant remote command.

It finds or makes the state root, makes sure that exactly the wanted agent is there (named by the hash of its bytes, and
hashed again before every use), and becomes it. Everything variable comes on stdin, so that no text from a sheet is ever
near a shell, and nothing but the root's path is visible in `ps`.

It must read not one byte more than is meant for it: what follows on stdin belongs to the agent. Hence `os.read` of
exact sizes and no buffered file anywhere.

Weak: it trusts the interpreter named `python3` that the login shell finds, and the account it runs under.
"""

import hashlib
import json
import os
import re
import stat
import sys

HEADER_BYTES_MAX = 65536
BUNDLE_BYTES_MAX = 8 << 20
FOLDER = re.compile(r"^[a-z0-9][a-z0-9_-]{0,63}(/[a-z0-9][a-z0-9_-]{0,63}){0,3}\Z")
MODULE = re.compile(r"^[a-z_]{1,40}\.py\Z")
START = "from onhost.agent import main\n\nmain()\n"  # agents/<sha> is run as a program


class Refused(Exception):  # noqa: N818 - an answer to the daemon, in the agent's words
    """Told to the daemon as a frame; `code` is one of bad_root, bad_bundle, disk_full, bad_request."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def read_exactly(size: int) -> bytes:
    """Size bytes of stdin; SystemExit when the channel closes first, which is nobody's mistake."""
    parts = []
    while size:
        part = os.read(0, min(size, 1 << 20))
        if not part:
            raise SystemExit(0)
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def read_header() -> "dict[str, object]":
    line = bytearray()
    while not line.endswith(b"\n"):
        if len(line) > HEADER_BYTES_MAX:
            raise Refused("bad_request", "the header line is too long")
        line += read_exactly(1)
    try:
        header = json.loads(line.decode("utf-8"))
    except ValueError as error:
        raise Refused("bad_request", "the header is no JSON: {}".format(error))
    if not isinstance(header, dict):
        raise Refused("bad_request", "the header is no JSON object")
    return header


def send(nonce: str, answer: "dict[str, object]") -> None:
    payload = json.dumps(answer).encode("ascii")
    digest = hashlib.sha256(payload).hexdigest()[:16]
    frame = "SHEETD {} {} {}\n".format(nonce, len(payload), digest).encode("ascii") + payload + b"\n"
    while frame:
        frame = frame[os.write(1, frame) :]


def default_root() -> str:
    """One root for each machine, also where several share a home over the network (machine-id(5))."""
    try:
        with open("/etc/machine-id") as file:
            machine = "".join(c for c in file.read().strip() if c.isalnum())
    except OSError:
        machine = ""
    state = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(state, "sheetd", machine or "host")


def open_root(path: str) -> str:
    """The root, made if need be; refused when others could have put something into it."""
    if not os.path.isabs(path):
        raise Refused("bad_root", "the state root {!r} is not an absolute path".format(path))
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
    except OSError as error:
        if os.path.islink(path):
            leads = "it leads to {}: name that folder as `root`, or rm {}".format(os.path.realpath(path), path)
            raise Refused("bad_root", "the state root {} is a symbolic link; {}".format(path, leads))
        raise Refused("bad_root", "cannot open the state root {}: {}".format(path, error.strerror))
    try:
        check_owner(path, os.fstat(handle))
        for above in folders_above(path):
            found = os.stat(above)
            if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
                mend = "chmod o-w {}, or name another `root`".format(above)
                why = "anybody may exchange the state root {}, for {} is open: {}".format(path, above, mend)
                raise Refused("bad_root", why)
        os.fchmod(handle, 0o700)
    finally:
        os.close(handle)
    return path


def parts_below(folder: object) -> "list[str]":
    """The way from the root to the part of it that is used, of daemons that share the root."""
    if folder == "":
        return []
    if not (isinstance(folder, str) and FOLDER.match(folder)):
        raise Refused("bad_request", "the folder below the state root is no path of plain names")
    return folder.split("/")


def check_owner(path: str, found: os.stat_result) -> None:
    """Refuse a folder that somebody else could have filled: what lies there is executed."""
    if found.st_uid != os.geteuid():
        mend = "sudo chown -R {} {}, after a look at what is in it, or name another `root`".format(os.geteuid(), path)
        raise Refused("bad_root", "the state root {} belongs to user {}: {}".format(path, found.st_uid, mend))
    if stat.S_IMODE(found.st_mode) & 0o022:
        mend = "chmod 700 {}, after a look at what is in it".format(path)
        raise Refused("bad_root", "others may write to the state root {}: {}".format(path, mend))


def folders_above(path: str) -> "list[str]":
    found = [os.path.dirname(os.path.realpath(path))]
    while os.path.dirname(found[-1]) != found[-1]:
        found.append(os.path.dirname(found[-1]))
    return found


def place(name: str) -> str:
    """Where a file of the bundle goes below agents/<sha>/: the job library is what jobs import as `sheetd`."""
    return os.path.join("lib", "sheetd.py") if name == "job.py" else os.path.join("onhost", name)


def canonical(bundle: "dict[str, str]") -> bytes:
    return json.dumps(bundle, sort_keys=True, separators=(",", ":")).encode("ascii")


def installed(folder: str, sha: str) -> bool:
    """Whether the agent in folder is, byte for byte, the one named sha."""
    bundle = {}
    try:
        names = [name for name in os.listdir(os.path.join(folder, "onhost")) if MODULE.match(name)]
        for name in [*names, "job.py"]:
            with open(os.path.join(folder, place(name)), encoding="utf-8", newline="") as file:
                bundle[name] = file.read()
        with open(os.path.join(folder, "__main__.py")) as file:
            return file.read() == START and hashlib.sha256(canonical(bundle)).hexdigest() == sha
    except (OSError, ValueError):
        return False


def install(folder: str, sha: str, blob: bytes) -> None:
    """Write the bundle beside its place and rename it there, so that no half of an agent is ever run."""
    if hashlib.sha256(blob).hexdigest() != sha:
        raise Refused("bad_bundle", "the agent arrived damaged: its hash is not the announced one")
    bundle = json.loads(blob.decode("ascii"))
    if canonical(bundle) != blob or not all(map(MODULE.match, bundle)) or not {"agent.py", "job.py"} <= set(bundle):
        raise Refused("bad_bundle", "the bundle is no set of modules with agent.py and job.py among them")
    fresh = "{}.new.{}".format(folder, os.getpid())
    files = {place(name): text for name, text in bundle.items()}
    files["__main__.py"] = START
    for name, text in files.items():
        target = os.path.join(fresh, name)
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        with open(target, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    if os.path.isdir(folder) and not installed(folder, sha):
        os.rename(folder, "{}.damaged.{}".format(folder, os.getpid()))
    try:
        os.rename(fresh, folder)
    except OSError:
        if not installed(folder, sha):  # else another connection brought the same agent a moment earlier
            raise


def prepare(header: "dict[str, object]") -> "list[str]":
    """Everything up to the argv to become."""
    sha, size, wanted = header.get("agent_sha"), header.get("agent_size"), header.get("root")
    if not (isinstance(sha, str) and len(sha) == 64 and all(c in "0123456789abcdef" for c in sha)):
        raise Refused("bad_request", "agent_sha is not 64 hex digits")
    if not (isinstance(size, int) and 0 < size <= BUNDLE_BYTES_MAX):
        raise Refused("bad_request", "agent_size is out of range")
    root = open_root(default_root() if wanted is None else str(wanted))
    for part in parts_below(header.get("folder", "")):
        root = open_root(os.path.join(root, part))  # each on its own: a link on the way is as bad as one at its end
    folder = os.path.join(root, "agents", sha)
    os.makedirs(os.path.dirname(folder), mode=0o700, exist_ok=True)
    need = not installed(folder, sha)
    send(str(header.get("nonce")), {"need": need})
    if need:
        install(folder, sha, read_exactly(size))
    return [sys.executable, "-I", "-S", "-u", folder, "serve", root]


def main() -> None:
    umask = os.umask(0o077)
    nonce = "0" * 32
    try:
        header = read_header()
        nonce = str(header.get("nonce"))
        argv = prepare(header)
    except Refused as refused:
        send(nonce, {"error": {"code": refused.code, "message": refused.message}})
        raise SystemExit(1)
    except OSError as error:
        code = "disk_full" if error.errno in (28, 122) else "bad_root"  # ENOSPC, EDQUOT
        send(nonce, {"error": {"code": code, "message": str(error)}})
        raise SystemExit(1)
    os.umask(umask)  # the agent sets its own, and gives this one, the login's, back to jobs
    os.execv(argv[0], argv)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
