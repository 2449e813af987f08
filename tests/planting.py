"""Bugs planted into a copy of the project: what cannot find them proves nothing by finding nothing.

Each bug is the smallest change that breaks a promise. A change whose text is not found any more fails loudly.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.check import ROOT


@dataclass(frozen=True)
class Change:
    path: str
    before: str
    after: str


class Bug:
    def __init__(self, name: str, *changes: Change) -> None:
        self.name = name
        self.changes = changes


def plant(copy: Path, bug: Bug) -> None:
    """Raises LookupError where the code does not say any more what was to be changed."""
    for change in bug.changes:
        file = copy / change.path
        text = file.read_text(encoding="utf-8")
        if change.before not in text:
            raise LookupError(f"{change.path} does not say {change.before!r} any more: plant {bug.name} elsewhere")
        file.write_text(text.replace(change.before, change.after, 1), encoding="utf-8")


@contextmanager
def planted(bug: Bug) -> Iterator[Path]:
    """A copy of the project that has the bug, to run `python -m` in; it is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="sheetd-planted-") as folder:
        copy = Path(folder) / "copy"
        for name in ("sheetd", "tests"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        plant(copy, bug)
        yield copy
