"""The witness for processes that a test starts; apart from `witness`, which those import, to cost them little."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def watched_children(folder: Path) -> Iterator[None]:
    """The built-in sheets of processes that start meanwhile are watched, and what is found is raised at the end."""
    findings = folder / "findings"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHEETD_TEST_FINDINGS", str(findings))
        patch.setenv("PYTHONPATH", str(Path(__file__).parent / "child"), prepend=os.pathsep)
        yield
    if findings.exists():
        raise AssertionError("Google's documents do not allow this:\n" + findings.read_text())
