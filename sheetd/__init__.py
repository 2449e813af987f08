"""sheetd: type a row into a sheet; it runs on a free GPU or TPU host over plain SSH and stays alive.

What a job imports: `sheetd.log()`, `params()`, `checkpoint_dir()` and so on. On a host the same library is found as a
module of its own, with nothing installed. The daemon lives in the subpackages and is never imported from here.
"""

from sheetd.onhost.job import (
    attempt,
    checkpoint_dir,
    latest_checkpoint,
    log,
    output_dir,
    params,
    parents,
    resume_from,
    save_checkpoint,
)
from sheetd.version import __version__

__all__ = [
    "__version__",
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
