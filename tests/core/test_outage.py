"""An outage of the sheet has one beginning and one end."""

from __future__ import annotations

from sheetd.core.outage import OVER_S, Outage
from sheetd.core.plan import Now

WALL_S = 1_700_000_000.0


def at(s: float) -> Now:
    return Now(s=s, wall_s=WALL_S + s)


def test_it_is_said_once_when_it_begins_and_once_when_it_ends_with_its_length():
    outage = Outage()
    assert outage.heed("", None, at(0)) == ""
    assert outage.heed("no answer", 10.0, at(12)) == "the sheet cannot be used now, and what runs goes on: no answer"
    assert outage.began_wall_s == WALL_S + 10
    said = [outage.heed(f"no answer, number {number}", 10.0, at(12 + number)) for number in range(900)]
    assert set(said) == {""}
    assert outage.heed("", None, at(910)) == ""
    assert outage.began_wall_s is None, "nothing is wrong any more, although it is too early to say so"
    assert outage.heed("", None, at(910 + OVER_S)) == "the sheet can be used again, after 15 min"
    assert outage.heed("", None, at(2000)) == ""


def test_a_sheet_that_can_be_read_and_not_be_written_comes_and_goes_in_one_outage():
    outage = Outage()
    said = []
    for cycle in range(20):
        said.append(outage.heed("protected", cycle * 10.0, at(cycle * 10.0)))
        said.append(outage.heed("", None, at(cycle * 10.0 + 5)))
    assert [words for words in said if words] == ["the sheet cannot be used now, and what runs goes on: protected"]
    assert "after 3 min" in outage.heed("", None, at(195 + OVER_S))


def test_the_next_outage_is_another_one():
    outage = Outage()
    outage.heed("no answer", 0.0, at(0))
    outage.heed("", None, at(20))
    outage.heed("", None, at(20 + OVER_S))
    assert outage.heed("no answer", 100.0, at(100)) != ""
