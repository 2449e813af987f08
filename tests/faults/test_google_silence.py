"""Requests that are not answered, or answered after all (G4 to G6).

What was asked for may have been done or not: the sheet itself is asked before anything is asked for again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sheetd.core import events as ev
from sheetd.core.grid import CellUpdate, Claim, ClaimChange, SheetWrite
from sheetd.core.model import ExperimentId, Phase, attempt_id
from sheetd.core.observation import AttemptReported, AttemptSeen, Exit, Seen, StopRequested
from sheetd.errors import SheetRefused
from sheetd.sheets.builtin.server import SheetServer
from tests.daemon.fakes import HOST, Rig
from tests.daemon.test_daemon import phase, running, until
from tests.faults.laboratory import Lab, google_between
from tests.faults.outage import all_is_well_again, fails_between
from tests.sheets.unruly import Forward, Hang, Reset


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
    start_s = time.monotonic()
    lab.wait(2)
    assert time.monotonic() - start_s < 10, "a tenth of a second is the rule, and the hanging server's own end is 120 s"
    lab.sheet.client.timeout = (10.0, 60.0)
    assert "no answer from the sheet's server" in lab.problem
    all_is_well_again(lab, first)


@pytest.mark.parametrize("is_applied", [False, True], ids=["not applied", "applied"])
def test_G4_a_write_that_hangs_may_have_been_applied(impatient: Lab, is_applied: bool):
    """A write that was not answered is not sent again: the next read tells whether it was applied."""
    lab = impatient
    (first,) = lab.running("first")

    def hang() -> None:
        lab.faults.writes = [Forward(then=Hang()) if is_applied else Hang()]
        lab.sheet.client.timeout = (2.0, 0.05)

    lab.before_the_write_of("status", hang)
    fails_between(lab, first)
    while lab.nobody_meddled():
        lab.wait(1)
    lab.sheet.client.timeout = (10.0, 60.0)
    assert "outcome unknown: no answer" in lab.problem
    assert lab.faults.kinds()[-1] == "write"
    all_is_well_again(lab, first)


def test_G4_while_the_sheet_hangs_the_daemon_goes_on_supervising(
    server: SheetServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The sheet has a lane of its own: while a read waits for its answer, hosts are asked and ends are recorded."""
    monkeypatch.setenv("no_proxy", "*")
    with google_between(server.base_url, server.token, tmp_path) as (person, sheet, between):
        rig = Rig(real_sheet=sheet)
        person.type("first", template="train", lr="0.1")
        with running(rig):
            until(lambda: phase(rig) is Phase.RUNNING, "the row runs")
            between.otherwise = Hang()
            assert between.hangs.wait(10)
            rig.clock.s += 60  # a host is not asked about the same attempt twice within a moment
            rig.daemon.post(StopRequested(experiment=ExperimentId("row1"), request=1))
            until(lambda: "stop" in rig.calls, "the host is asked to stop it")
            ended = AttemptSeen(state=Seen.EXITED, exit=Exit(signal=15, stopped=True))
            rig.daemon.post(AttemptReported(host=HOST, attempt=attempt_id(ExperimentId("row1"), 1), seen=ended))
            until(lambda: "AttemptEnded" in rig.calls, "the end is recorded")
            between.otherwise = Forward()
            between.released.set()
            until(lambda: person.status("first") == ["stopped"], "the row shows it")


# --- lost answers and half-done work -----------------------------------------------------------------------------


def test_G5_an_id_whose_answer_was_lost_is_not_given_out_twice(lab_over_faults: Lab):
    """A new id whose answer was lost is found in its place by the next read, and the row runs once."""
    lab = lab_over_faults
    lab.person.type("first", template="train", lr="0.1")
    lab.before_the_write_of("id", lambda: lab.faults.writes.append(Forward(then=Reset())))
    lab.wait(30)
    assert lab.faults.writes == []
    assert lab.person.status("first") == ["running"]
    (assigned,) = lab.story.told(ev.IdAssigned)
    assert lab.ids("first") == [assigned.experiment]  # type: ignore[attr-defined]
    assert len(lab.attempts) == 1
    assert [line for line in lab.person.grid()[1:] if any(line)] == [list(lab.person.see("first").values())]


def test_G5_the_answer_may_be_lost_time_after_time(lab_over_faults: Lab):
    """A write says what cells should hold, and not what to add: how often it was applied makes no difference."""
    lab = lab_over_faults
    (first,) = lab.running("first")
    lab.faults.writes = [Forward(then=Reset())] * 12
    fails_between(lab, first)
    all_is_well_again(lab, first)


def test_G5_an_answer_that_is_lost_while_rows_move_leaves_no_id_on_the_wrong_row(lab_over_faults: Lab):
    """An id that landed on a moved row while the answer was lost is found by the next read and undone by content."""
    lab = lab_over_faults
    (first,) = lab.running("first")
    lab.person.type("second", template="train", lr="0.2")

    def sort_and_lose() -> None:
        lab.person.sort_by("lr", descending=True)
        lab.faults.writes = [Forward(then=Reset())]

    lab.before_the_write_of("id", sort_and_lose)
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
