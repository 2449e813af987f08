"""Requests that Google refuses, does not answer, or answers after all (G1 to G6).

Each fault is brought about over HTTP, between the adapter for Google and a real sheet behind it. What counts is the end:
what the row shows, what the journal holds, and what the hosts were asked to do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sheetd.core import effect as fx
from sheetd.core import events as ev
from sheetd.core.grid import CellUpdate, Claim, ClaimChange, SheetWrite
from sheetd.core.model import ExperimentId, Phase, attempt_id
from sheetd.core.observation import AttemptReported, AttemptSeen, Exit, Seen
from sheetd.core.views import sheet_view
from sheetd.errors import SheetRefused
from sheetd.sheets.builtin.server import SheetServer
from sheetd.sheets.quota import BURST, READS_A_MINUTE, TokenBucket
from tests.daemon.fakes import HOST, Rig
from tests.daemon.test_daemon import phase, running, until
from tests.faults.laboratory import Lab, google_between
from tests.sheets.unruly import Forward, Hang, Move, Reply, Reset, google_error

QUOTA = google_error(429, "Quota exceeded for quota metric 'Read requests'")
HTML = Reply(502, b"<html><h1>502 Bad Gateway</h1></html>", content_type="text/html")
EMPTY = Reply(503, b"", content_type="text/plain")
UNKNOWN: dict[str, Move] = {
    "500": google_error(500, "Internal error encountered."),
    "502 in HTML": HTML,
    "503 without a body": EMPTY,
    "a reset connection": Reset(),
}


def problem(lab: Lab) -> str:
    return str(sheet_view(lab.story.world)["problem"])


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
    assert (lab.stops, problem(lab)) == ([], "")


# --- quota -------------------------------------------------------------------------------------------------------


def test_G1_a_busy_lab_never_comes_near_googles_quota(lab_over_faults: Lab, monkeypatch: pytest.MonkeyPatch):
    """With rows that change all the time it takes half of the 60 reads and 60 writes a minute, and never has to wait."""
    lab = lab_over_faults
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
        lab.wait(2)
        sent += [(lab.story.now_s, kind) for kind in lab.faults.kinds()]
    for kind in ("read", "write"):
        times = [at_s for at_s, one in sent if one == kind]
        assert max(sum(start <= at_s < start + 60 for at_s in times) for start in times) <= READS_A_MINUTE + BURST
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
    assert "429: Quota exceeded" in problem(lab)
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
    """The outcome is unknown, so the same write is never sent blindly again: what the sheet shows decides what is left."""
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
    """gspread calls such an answer -1. `sheetd status` says the code, and no markup."""
    lab = lab_over_faults
    (first,) = lab.running("first")
    lab.faults.otherwise = failure
    lab.wait(10)
    assert said in problem(lab)
    assert "<" not in problem(lab)
    assert "-1" not in problem(lab)
    lab.faults.otherwise = Forward()
    fails_between(lab, first)
    all_is_well_again(lab, first)


@pytest.mark.parametrize("status", [400, 403, 404])
def test_G3_a_refusal_without_json_is_one_all_the_same(lab_over_faults: Lab, status: int):
    """It is not taken for an outage that passes: no request is repeated within the cycle."""
    lab = lab_over_faults
    lab.running("first")
    lab.faults.otherwise = Reply(status, b"<html>No</html>", content_type="text/html")
    lab.wait(3)
    lab.faults.seen.clear()
    lab.wait(200, step_s=10)
    assert f"answered {status}" in problem(lab)
    assert len(lab.faults.seen) <= 7, "each of them once, and less and less often"
    assert lab.person.status("first") == ["running"]


# --- no answer ---------------------------------------------------------------------------------------------------


@pytest.fixture
def impatient(lab_over_faults: Lab) -> Iterator[Lab]:
    """A lab that gives up on an answer after a moment; what is slow on a busy machine is only asked again."""
    yield lab_over_faults
    lab_over_faults.faults.released.set()


def test_G4_a_server_that_never_answers_costs_a_deadline_and_no_more(impatient: Lab):
    """A read that hangs ends by itself, is said, and is followed by one that does not."""
    lab = impatient
    (first,) = lab.running("first")
    fails_between(lab, first)
    lab.faults.reads = [Hang()] * 4
    lab.sheet.client.timeout = (2.0, 0.05)
    lab.wait(2)
    lab.sheet.client.timeout = (10.0, 60.0)
    assert "no answer from the sheet's server" in problem(lab)
    all_is_well_again(lab, first)


@pytest.mark.parametrize("is_applied", [False, True], ids=["not applied", "applied"])
def test_G4_a_write_that_hangs_may_have_been_applied(impatient: Lab, is_applied: bool):
    """It is not sent again: the next read tells."""
    lab = impatient
    (first,) = lab.running("first")
    fails_between(lab, first)
    lab.faults.writes = [Forward(then=Hang()) if is_applied else Hang()]
    lab.before_the_next(fx.WriteSheet, lambda: setattr(lab.sheet.client, "timeout", (2.0, 0.05)))
    lab.faults.seen.clear()
    while not lab.faults.kinds().count("write"):
        lab.wait(1)
    lab.sheet.client.timeout = (10.0, 60.0)
    assert "outcome unknown: no answer" in problem(lab)
    assert lab.faults.kinds()[-1] == "write"
    all_is_well_again(lab, first)


def test_G4_while_the_sheet_hangs_the_daemon_goes_on_supervising(
    server: SheetServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The sheet has a lane of its own: in the real loop an end is recorded while a read still waits for its answer."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with google_between(server.base_url, server.token, tmp_path) as (person, sheet, between):
        rig = Rig(real_sheet=sheet)
        person.type("first", template="train", lr="0.1")
        with running(rig):
            until(lambda: phase(rig) is Phase.RUNNING, "the row runs")
            between.otherwise = Hang()
            assert between.hangs.wait(10)
            ended = AttemptSeen(state=Seen.EXITED, exit=Exit(rc=0))
            rig.daemon.post(AttemptReported(host=HOST, attempt=attempt_id(ExperimentId("row1"), 1), seen=ended))
            until(lambda: "AttemptEnded" in rig.calls, "the end is recorded")
            between.otherwise = Forward()
            between.released.set()
            until(lambda: person.status("first") == ["succeeded"], "the row shows it")


# --- lost answers and half-done work -----------------------------------------------------------------------------


def test_G5_an_id_whose_answer_was_lost_is_not_given_out_twice(lab_over_faults: Lab):
    """The write was applied and nobody heard: the next read finds the id in its place, and the row runs once."""
    lab = lab_over_faults
    lab.person.type("first", template="train", lr="0.1")
    lab.faults.writes = [Forward(then=Reset())]
    lab.wait(30)
    assert lab.faults.writes == []
    assert lab.person.status("first") == ["running"]
    (assigned,) = lab.story.told(ev.IdAssigned)
    assert lab.ids("first") == [assigned.experiment]  # type: ignore[attr-defined]
    assert len(lab.attempts) == 1
    assert [line for line in lab.person.grid()[1:] if any(line)] == [list(lab.person.see("first").values())]


def test_G5_the_answer_may_be_lost_time_after_time(lab_over_faults: Lab):
    """Every write says absolute values for identified cells, so how often it was applied makes no difference."""
    lab = lab_over_faults
    (first,) = lab.running("first")
    lab.faults.writes = [Forward(then=Reset())] * 12
    fails_between(lab, first)
    all_is_well_again(lab, first)


def test_G5_an_answer_that_is_lost_while_rows_move_leaves_no_id_on_the_wrong_row(lab_over_faults: Lab):
    """What the lost answer would have shown is found by the next read: the misplaced id is undone by content."""
    lab = lab_over_faults
    (first,) = lab.running("first")
    lab.person.type("second", template="train", lr="0.2")
    lab.faults.writes = [Forward(then=Reset())]
    lab.before_the_next(fx.WriteSheet, lambda: lab.person.sort_by("lr", descending=True))
    lab.wait(30)
    assert (lab.ids("first"), lab.person.status("first", "second")) == ([first], ["running", "running"])
    assert len(lab.attempts) == 2


def test_G6_everything_that_a_cycle_changes_is_one_request(lab_over_faults: Lab):
    """Claim, ids and cells of every row go in one batchUpdate, which Google applies as a whole or not at all.

    So nothing can be half applied. Colour is a rule over the status column, and costs no request of its own.
    """
    lab = lab_over_faults
    first, second = lab.running("first", "second")
    lab.person.type("third", template="train", lr="0.3")
    lab.wait(4)
    lab.faults.seen.clear()
    lab.story.exits(f"{first}.1", rc=1)
    lab.story.exits(f"{second}.1", rc=0)
    lab.wait(2)
    (body,) = [json.loads(body) for method, _, body in lab.faults.seen if method == "POST"]
    kinds = [next(iter(request)) for request in body["requests"]]
    assert set(kinds) == {"updateDeveloperMetadata", "updateCells"}
    assert lab.person.status("first", "second") == ["failed", "succeeded"]


def test_G6_where_one_part_is_refused_no_part_is_applied(lab_over_faults: Lab):
    """A write whose claim is another's by now changes no cell."""
    lab = lab_over_faults
    lab.running("first")
    grid = lab.sheet.read()
    before = lab.person.grid()
    stranger = Claim(epoch=1, owner="stranger", stamp=1)
    cells = tuple(CellUpdate(row=1, column=4, value=text) for text in ("failed",))
    with pytest.raises(SheetRefused):
        lab.sheet.write(
            SheetWrite(
                tab_id=grid.tab_id, updates=cells, claim=ClaimChange(old=stranger, new=stranger._replace(stamp=2))
            )
        )
    assert lab.person.grid() == before
