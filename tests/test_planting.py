"""Bugs can still be planted where it says. Whether they are found takes minutes: `python -m tests.sim.planted`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.campaign.planted import STARTED_AGAIN
from tests.check import ROOT
from tests.planting import Bug, plant
from tests.sim.planted import BUGS


@pytest.mark.parametrize("bug", [*BUGS, STARTED_AGAIN], ids=lambda bug: bug.name)
def test_a_bug_has_a_place_in_the_code_as_it_is(bug: Bug, tmp_path: Path) -> None:
    paths = {change.path for change in bug.changes}
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text((ROOT / path).read_text(encoding="utf-8"), encoding="utf-8")
    plant(tmp_path, bug)
    for path in paths:
        compile((tmp_path / path).read_text(encoding="utf-8"), path, "exec")
