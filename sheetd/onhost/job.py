"""The job's side of sheetd: what a training script may import. Standard library only, Python 3.6 or later.

    import sheetd

    lr = sheetd.params().get("lr", 0.1)
    start = load(sheetd.resume_from()) if sheetd.resume_from() else 0
    for step in range(start, steps):
        sheetd.log(step, loss=loss)
        sheetd.save_checkpoint("step_{}.pt".format(step), lambda file: torch.save(state, file))

On a host it is found as the module `sheetd` without anything being installed; on a laptop, without the daemon, the
same script runs unchanged: `log` prints, folders are local ones. It opens no connection and starts no thread: a metric
is one line appended to a file, a few microseconds, and nothing here can make a job wait for the daemon.

Weak: "newest" checkpoint means newest by modification time, so a copied folder may be misjudged.
"""

import json
import math
import os
import time
import warnings
from pathlib import Path
from typing import IO, Any, Callable, Dict, List, NamedTuple, Optional, Tuple, Union

__all__ = [
    "attempt",
    "checkpoint_dir",
    "latest_checkpoint",
    "log",
    "output_dir",
    "params",
    "parents",
    "resume_from",
    "save_checkpoint",
]

INCOMPLETE_MARKS = (".tmp", ".part", ".partial", ".incomplete", "-tmp-")  # the last: Orbax's names for unfinished steps

_metrics: Dict[str, int] = {}  # path -> descriptor; a job that changes SHEETD_METRICS_FILE is followed


def log(step: Optional[float] = None, **values: Any) -> None:
    """Report metrics: `sheetd.log(step, loss=0.5, acc=0.9)`. Anything that float() takes is a number, tensors too.

    NaN and infinities are reported as such, apart from the finite values, so that the daemon can warn. In a process
    whose RANK is set and not 0 (torchrun) it does nothing: one experiment has one curve. Raises TypeError for what is
    no number. A full disk does not stop a training run: it is warned about on stderr.
    """
    if os.environ.get("RANK", "0") != "0":
        return
    finite, nonfinite = {}, {}
    for name, value in values.items():
        number = _number(name, value)
        if math.isfinite(number):
            finite[name] = number
        else:
            nonfinite[name] = str(float(number))
    at = None if step is None else _number("step", step)
    path = os.environ.get("SHEETD_METRICS_FILE")
    if not path:
        shown = ["step {:g}".format(at)] if at is not None else []
        shown += ["{} {:.6g}".format(name, number) for name, number in sorted(finite.items())]
        shown += ["{} {}".format(name, word) for name, word in sorted(nonfinite.items())]
        print("  ".join(shown), flush=True)
        return
    point: Dict[str, Any] = {
        "k": int(os.environ.get("SHEETD_RESTART", "0")),
        "step": at,
        "t": round(time.time(), 3),
        "values": finite,
    }
    if nonfinite:
        point["nonfinite"] = nonfinite
    _append(path, json.dumps(point, separators=(",", ":")).encode("ascii") + b"\n")


def params() -> Dict[str, Any]:
    """The row's parameters by name, typed as the template says; empty outside sheetd.

    Those that the template marks `live` may be edited in the sheet while the job runs: each call gives them as of the
    newest edit, all of one edit together. One read of a small file, so call it once a step, or less.
    """
    path = os.environ.get("SHEETD_PARAMS_FILE")
    if not path:
        return {}
    loaded = json.loads(Path(path).read_text(encoding="utf-8"))
    return dict(loaded)


def attempt() -> int:
    """Which attempt of its experiment this is: 1, 2, ... Outside sheetd it is 1."""
    return int(os.environ.get("SHEETD_ATTEMPT", ".1").rpartition(".")[2])


def output_dir() -> Path:
    """Where results go; the same for every attempt of the experiment on this host. `./output` outside sheetd."""
    return _folder("SHEETD_OUTPUT_DIR", "output")


def checkpoint_dir() -> Path:
    """Where this attempt, and no other, writes checkpoints. `./checkpoints` outside sheetd."""
    return _folder("CHECKPOINT_DIR", "checkpoints")


def latest_checkpoint(folder: Union[str, "os.PathLike[str]", None] = None) -> Optional[Path]:
    """The newest complete checkpoint in folder (default: `checkpoint_dir()`), a file or a folder, or None.

    Hidden names and those of unfinished writes are passed over: see `save_checkpoint`.
    """
    where = Path(folder) if folder is not None else checkpoint_dir()
    if not where.is_dir():
        return None
    newest: Tuple[int, str] = (-1, "")
    for entry in where.iterdir():
        if not entry.name.startswith(".") and not any(mark in entry.name for mark in INCOMPLETE_MARKS):
            newest = max(newest, (entry.stat().st_mtime_ns, entry.name))
    return where / newest[1] if newest[1] else None


def resume_from() -> Optional[Path]:
    """The checkpoint to go on from, or None to start from nothing.

    After a restart on the same host that is this attempt's own newest one, else the newest of an earlier attempt.
    """
    own = latest_checkpoint()
    older = os.environ.get("SHEETD_RESUME_DIR")
    return own if own is not None or not older else latest_checkpoint(older)


class Parent(NamedTuple):
    """A row that this one runs after: its id, what it wrote into `output_dir()`, and its newest checkpoint."""

    id: str
    output: Path
    checkpoint: Optional[Path]


def parents() -> List[Parent]:
    """The rows named in `after`, in that order, as far as they ended on this host; none outside sheetd.

    Their folders are for reading: whoever reruns them writes there again.
    """
    found = []
    for home in map(Path, filter(None, os.environ.get("SHEETD_AFTER_DIRS", "").split(os.pathsep))):
        if home.is_dir():
            newest = [latest_checkpoint(folder) for folder in home.glob("checkpoints/a*")]
            there = [one for one in newest if one is not None]
            last = max(there, key=lambda one: one.stat().st_mtime_ns) if there else None
            found.append(Parent(home.name, home / "out", last))
    return found


def save_checkpoint(
    name: Union[str, "os.PathLike[str]"], data: Union[bytes, bytearray, memoryview, Callable[[IO[bytes]], Any]]
) -> Path:
    """Write a checkpoint so that it is either there whole or not at all, whatever dies meanwhile; returns its path.

    `name` is a file name below `checkpoint_dir()` or an absolute path; `data` the bytes, or a function that writes them
    to the open binary file it is given, e.g. `lambda file: torch.save(state, file)`. An OSError (a full disk) or the
    function's own exception leaves the older file of that name as it was.
    """
    target = checkpoint_dir() / name
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(".{}.{}.tmp".format(target.name, os.getpid()))
    try:
        with fresh.open("wb") as file:
            if callable(data):
                data(file)
            else:
                file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(str(fresh), str(target))
    except BaseException:
        if fresh.exists():
            fresh.unlink()
        raise
    folder = os.open(str(target.parent), os.O_RDONLY)
    try:
        os.fsync(folder)  # the name, too, survives a power cut
    finally:
        os.close(folder)
    return target


def _folder(variable: str, local: str) -> Path:
    folder = Path(os.environ.get(variable) or local)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _number(name: str, value: Any) -> Union[int, float]:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 53:
        return value
    if isinstance(value, (str, bytes)):
        raise TypeError("sheetd.log: {}={!r} is text, not a number".format(name, value))
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    except (TypeError, ValueError) as error:
        raise TypeError("sheetd.log: {}={!r} is not a number: {}".format(name, value, error))


def _append(path: str, line: bytes) -> None:
    try:
        if path not in _metrics:
            _metrics[path] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(_metrics[path], line)  # one write, so that lines of several processes never mix
    except OSError as error:
        warnings.warn("sheetd.log: cannot write {}: {}".format(path, error), RuntimeWarning, stacklevel=3)
