"""Bugs can still be planted where `planted.py` says. Whether they are found takes minutes: `python -m tests.sim.planted`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.check import ROOT
from tests.sim.planted import BUGS, EXTRA, Bug, plant


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_has_a_place_in_the_code_as_it_is(bug: Bug, tmp_path: Path) -> None:
    paths = {bug.path, *(EXTRA[bug.name][:1] if bug.name in EXTRA else ())}
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text((ROOT / path).read_text(encoding="utf-8"), encoding="utf-8")
    plant(tmp_path, bug)
    for path in paths:
        compile((tmp_path / path).read_text(encoding="utf-8"), path, "exec")
