"""What happens while the sheet is out of reach, and what has to hold once it is back."""

from __future__ import annotations

from sheetd.core import events as ev
from tests.faults.laboratory import Lab


def fails_between(lab: Lab, first: str) -> None:
    """A job fails while the sheet is out of reach, and another row is there that nobody could read yet."""
    lab.story.exits(f"{first}.1", rc=1)
    lab.person.type("second", template="train", lr="0.2")


def all_is_well_again(lab: Lab, first: str) -> None:
    """Both rows show what happened, and nothing happened twice."""
    lab.wait(150, step_s=3)
    assert lab.person.status("first", "second") == ["failed", "running"]
    (second,) = lab.ids("second")
    assert lab.attempts == [f"{first}.1", f"{second}.1"]
    assert len(lab.story.told(ev.IdAssigned)) == 2
    assert (lab.stops, lab.problem) == ([], "")


def out_of_reach(lab: Lab, first: str, seconds: float = 900.0) -> None:
    """A job fails while the sheet is out of reach for longer than a deleted row would be waited for."""
    lab.story.exits(f"{first}.1", rc=1)
    lab.wait(seconds, step_s=15)


def nothing_was_lost(lab: Lab, first: str, second: str) -> None:
    """Back in reach: both rows show how they are, and nothing was stopped or started for the outage."""
    lab.wait(150, step_s=5)
    assert lab.problem == ""
    assert lab.person.status("first", "second") == ["failed", "running"]
    assert lab.ids("first", "second") == [first, second]
    assert (lab.stops, lab.story.told(ev.RowVanished)) == ([], [])
    assert lab.attempts == [f"{first}.1", f"{second}.1"]
