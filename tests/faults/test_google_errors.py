"""Requests that Google refuses or answers with an error (G1 to G3).

Each fault is brought about over HTTP, between the adapter for Google and a real sheet behind it. What counts is the
end: what the row shows, what the journal holds, and what the hosts were asked to do.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from sheetd.core import events as ev
from sheetd.core.model import Phase
from sheetd.reloading import GOOGLE_POLL_S
from sheetd.sheets.quota import READS_A_MINUTE, TokenBucket
from tests.faults.laboratory import Lab
from tests.faults.outage import all_is_well_again, fails_between
from tests.sheets.unruly import Forward, Move, Reply, Reset, google_error

QUOTA = google_error(429, "Quota exceeded for quota metric 'Read requests'")
HTML = Reply(502, b"<html><h1>502 Bad Gateway</h1></html>", content_type="text/html")
EMPTY = Reply(503, b"", content_type="text/plain")
UNKNOWN: dict[str, Move] = {
    "500": google_error(500, "Internal error encountered."),
    "502 in HTML": HTML,
    "503 without a body": EMPTY,
    "a reset connection": Reset(),
}


def test_G1_a_busy_lab_never_comes_near_googles_quota(lab_over_faults: Lab, monkeypatch: pytest.MonkeyPatch):
    """With rows that change all the time it takes less than half of the 60 reads and 60 writes, and never waits."""
    lab = lab_over_faults
    lab.story.world.limits = replace(lab.story.world.limits, poll_s=GOOGLE_POLL_S, write_gap_s=GOOGLE_POLL_S)
    waits: list[float] = []

    class Bucket(TokenBucket):
        def reserve_s(self, now_s: float) -> float:
            waits.append(super().reserve_s(now_s))
            return 0.0

    monkeypatch.setattr(lab.sheet.client, "_quota", {"read": Bucket(READS_A_MINUTE), "write": Bucket(READS_A_MINUTE)})
    monkeypatch.setattr(lab.sheet.client, "_now_s", lambda: lab.story.now_s)
    sent: list[tuple[float, str]] = []
    (first,) = lab.running("first")
    for number in range(40):
        lab.faults.seen.clear()
        lab.person.type("first", status=str(number), seed=str(number))
        lab.wait(GOOGLE_POLL_S)
        sent += [(lab.story.now_s, kind) for kind in lab.faults.kinds()]
    for kind in ("read", "write"):
        times = [at_s for at_s, one in sent if one == kind]
        assert max(sum(start <= at_s < start + 60 for at_s in times) for start in times) <= READS_A_MINUTE
        assert len(times) > 20, "it was busy"
    assert max(waits) == 0.0
    assert lab.attempts == [f"{first}.1"]


def test_G1_rows_that_change_faster_than_the_quota_are_shown_in_fewer_writes(lab_over_faults: Lab):
    """Nine changes within a second are two writes: the first is shown at once, the others two seconds later."""
    lab = lab_over_faults
    names = [f"row {number}" for number in range(9)]
    ids = lab.running(*names)
    lab.wait(6)
    lab.faults.seen.clear()
    for id_ in ids:
        lab.story.exits(f"{id_}.1", rc=0)
    lab.wait(2)
    assert lab.faults.kinds().count("write") <= 2
    assert lab.person.status(*names) == ["succeeded"] * 9


def test_G1_when_google_says_too_often_jobs_go_on_and_the_rows_catch_up(lab_over_faults: Lab):
    """A job that ends meanwhile is recorded at once; the row shows it when Google answers again."""
    lab = lab_over_faults
    (first,) = lab.running("first")
    lab.faults.otherwise = QUOTA
    fails_between(lab, first)
    lab.wait(60, step_s=3)
    assert (lab.phase(first), lab.attempts) == (Phase.ENDED, [f"{first}.1"])
    assert "429: Quota exceeded" in lab.problem
    lab.faults.otherwise = Forward()
    all_is_well_again(lab, first)


def test_G1_it_asks_less_and_less_often_while_google_says_too_often(lab_over_faults: Lab):
    """An hour of 429 costs fewer requests than three quiet minutes: nobody is locked out by our asking."""
    lab = lab_over_faults
    lab.running("first")
    lab.faults.otherwise = QUOTA
    lab.faults.seen.clear()
    lab.wait(3600, step_s=30)
    assert len(lab.faults.seen) < 150


# --- writes whose outcome is unknown -----------------------------------------------------------------------------


@pytest.mark.parametrize("is_applied", [False, True], ids=["not applied", "applied"])
@pytest.mark.parametrize("failure", UNKNOWN.values(), ids=UNKNOWN)
def test_G2_after_a_write_that_failed_the_sheet_is_read_before_anything_is_written(
    lab_over_faults: Lab, failure: Move, is_applied: bool
):
    """The outcome is unknown, so no write is sent blindly again: what the sheet shows decides what is left to do."""
    lab = lab_over_faults
    (first,) = lab.running("first")
    assert not isinstance(failure, Forward)
    lab.faults.writes = [Forward(then=failure) if is_applied else failure] * 3
    lab.faults.seen.clear()
    fails_between(lab, first)
    all_is_well_again(lab, first)
    kinds = lab.faults.kinds()
    first_writes = [place for place, kind in enumerate(kinds) if kind == "write"][:3]
    assert [kinds[place + 1] for place in first_writes] == ["read"] * 3


@pytest.mark.parametrize("failure", UNKNOWN.values(), ids=UNKNOWN)
def test_G2_a_read_that_fails_takes_nothing_away(lab_over_faults: Lab, failure: Move):
    """No row counts as deleted, and no job is stopped, because the sheet could not be read."""
    lab = lab_over_faults
    (first,) = lab.running("first")
    lab.faults.otherwise = failure
    fails_between(lab, first)
    lab.wait(1500, step_s=30)
    assert lab.story.told(ev.RowVanished) == []
    assert (lab.phase(first), lab.stops) == (Phase.ENDED, [])
    lab.faults.otherwise = Forward()
    all_is_well_again(lab, first)


@pytest.mark.parametrize(("failure", "said"), [(HTML, "answered 502"), (EMPTY, "answered 503")])
def test_G3_an_error_page_is_told_by_its_http_code_and_never_shown_as_html(
    lab_over_faults: Lab, failure: Reply, said: str
):
    """An answer that gspread would call -1 is told by its HTTP code in `sheetd status`, and no markup with it."""
    lab = lab_over_faults
    (first,) = lab.running("first")
    lab.faults.otherwise = failure
    lab.wait(10)
    assert said in lab.problem
    assert "<" not in lab.problem
    assert "-1" not in lab.problem
    lab.faults.otherwise = Forward()
    fails_between(lab, first)
    all_is_well_again(lab, first)


@pytest.mark.parametrize("status", [400, 403, 404])
def test_G3_a_refusal_without_json_is_one_all_the_same(lab_over_faults: Lab, status: int):
    """A refusal without JSON is not taken for an outage that passes: no request is repeated within the cycle."""
    lab = lab_over_faults
    lab.running("first")
    lab.faults.otherwise = Reply(status, b"<html>No</html>", content_type="text/html")
    lab.wait(3)
    lab.faults.seen.clear()
    lab.wait(200, step_s=10)
    assert f"answered {status}" in lab.problem
    assert len(lab.faults.seen) <= 7, "each of them once, and less and less often"
    assert lab.person.status("first") == ["running"]
