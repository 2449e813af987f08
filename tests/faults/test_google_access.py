"""Signing in and being let in (G7 to G10).

That the sheet is out of reach says nothing of the rows: every job goes on, every end is recorded, and nothing is
cancelled. What only a person can change is named with the next step.
"""

from __future__ import annotations

import pytest

from sheetd.core import events as ev
from sheetd.core.model import Phase
from tests.faults.conftest import OpenLab
from tests.faults.laboratory import Lab
from tests.faults.outage import nothing_was_lost, out_of_reach
from tests.sheets.key_file import EMAIL
from tests.sheets.unruly import Forward, Move, Reply, Reset, google_error

# --- signing in --------------------------------------------------------------------------------------------------


def test_G7_a_token_that_expired_is_replaced_within_the_same_request(lab_over_faults: Lab):
    """After an hour Google answers 401: a new token is fetched, the request sent again, and the row notices nothing."""
    lab = lab_over_faults
    (first,) = lab.running("first")
    lab.faults.reads = [google_error(401, "Request had invalid authentication credentials.")]
    lab.story.exits(f"{first}.1", rc=0)
    lab.faults.seen.clear()
    lab.wait(4)
    assert lab.faults.kinds()[:4] == ["read", "sign in", "read", "write"]
    assert (lab.person.status("first"), lab.problem) == (["succeeded"], "")


def test_G7_a_write_that_met_an_expired_token_is_applied_once(lab_over_faults: Lab):
    """A write that met an expired token was not applied, and goes again, once, with the new one."""
    lab = lab_over_faults
    lab.person.type("first", template="train", lr="0.1")
    lab.faults.writes = [google_error(401, "Request had invalid authentication credentials.")]
    lab.wait()
    assert lab.faults.kinds().count("sign in") == 2
    assert lab.person.status("first") == ["running"]
    assert (len(lab.story.told(ev.IdAssigned)), len(lab.attempts)) == (1, 1)


def test_G7_a_token_that_is_known_to_be_over_is_not_even_sent(lab_over_faults: Lab):
    """Where tokens live for a moment only, each request signs in first."""
    lab = lab_over_faults
    lab.running("first")
    lab.faults.tokens = [lab.faults.token(lives_s=1)] * 100
    lab.faults.reads = [google_error(401, "expired")]
    lab.wait(2)
    lab.faults.seen.clear()
    lab.wait(4)
    kinds = lab.faults.kinds()
    assert kinds.count("sign in") == kinds.count("read") + kinds.count("write") > 1
    assert (lab.person.status("first"), lab.problem) == (["running"], "")


def test_G7_a_token_that_is_never_accepted_is_a_matter_for_a_person(lab_over_faults: Lab):
    """Where every new token is refused too, `sheetd status` says what to make anew, and the jobs go on."""
    lab = lab_over_faults
    first, second = lab.running("first", "second")
    lab.faults.otherwise = google_error(401, "Request had invalid authentication credentials.")
    out_of_reach(lab, first)
    assert "make a new key for the service account" in lab.problem
    assert [lab.phase(first), lab.phase(second)] == [Phase.ENDED, Phase.RUNNING]
    lab.faults.otherwise = Forward()
    nothing_was_lost(lab, first, second)


TOKEN_TROUBLE: dict[str, Move] = {
    "a reset": Reset(),
    "502 in HTML": Reply(502, b"<html>Bad Gateway</html>", content_type="text/html"),
    "no JSON": Reply(200, b"<html>Welcome</html>", content_type="text/html"),
}


@pytest.mark.parametrize("trouble", TOKEN_TROUBLE.values(), ids=TOKEN_TROUBLE)
def test_G8_a_token_endpoint_that_fails_leaves_no_write_in_doubt(lab_over_faults: Lab, trouble: Move):
    """Signing in comes before sending: nothing was applied, which is said, and it is tried again."""
    lab = lab_over_faults
    first, second = lab.running("first", "second")
    lab.faults.otherwise = google_error(401, "expired")
    lab.faults.tokens = [trouble] * 500
    out_of_reach(lab, first, 60)
    assert "could not sign in to Google now" in lab.problem
    assert "unknown" not in lab.problem
    lab.faults.otherwise = Forward()
    lab.faults.tokens.clear()
    nothing_was_lost(lab, first, second)


INVALID_GRANT = Reply(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."})


def test_G8_a_refused_key_names_its_two_causes(lab_over_faults: Lab):
    """`invalid_grant` is a deleted key or a wrong clock, and no retry mends either: both are said."""
    lab = lab_over_faults
    first, second = lab.running("first", "second")
    lab.faults.otherwise = google_error(401, "expired")
    lab.faults.tokens = [INVALID_GRANT] * 500
    out_of_reach(lab, first, 60)
    assert "is the key deleted or disabled, or this machine's clock wrong?" in lab.problem
    lab.faults.otherwise = Forward()
    lab.faults.tokens.clear()
    nothing_was_lost(lab, first, second)


# --- being let in ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "message", "step"),
    [
        (403, "The caller does not have permission", f"Share the spreadsheet with {EMAIL} as an editor"),
        (404, "Requested entity was not found.", "that it is not in the bin"),
    ],
    ids=["share revoked", "in the bin"],
)
def test_G9_a_sheet_that_is_taken_away_cancels_nothing(lab_over_faults: Lab, status: int, message: str, step: str):
    """Absence is not deletion: a quarter of an hour without the sheet ends no job, and the next step is named.

    What was accepted is launched all the same, from the journal: the person asked for it, and nobody took it back.
    """
    lab = lab_over_faults
    first, second = lab.running("first", "second")
    lab.faults.otherwise = google_error(status, message)
    out_of_reach(lab, first)
    assert step in lab.problem
    assert [lab.phase(first), lab.phase(second)] == [Phase.ENDED, Phase.RUNNING]
    lab.faults.otherwise = Forward()
    nothing_was_lost(lab, first, second)


def test_G9_a_row_that_was_accepted_is_launched_although_its_sheet_is_gone(open_lab_with_faults: OpenLab):
    """An accepted row is a promise: when a slot becomes free it starts, whether or not the sheet can be read."""
    lab = open_lab_with_faults(hosts={"alpha": 1})
    lab.person.type_all({name: {"template": "train", "lr": lr} for name, lr in (("first", "0.1"), ("second", "0.2"))})
    lab.wait()
    first, second = lab.ids("first", "second")
    assert lab.person.status("first", "second") == ["running", "waiting"]
    lab.faults.otherwise = google_error(403, "The caller does not have permission")
    out_of_reach(lab, first, 60)
    assert lab.attempts == [f"{first}.1", f"{second}.1"]
    lab.faults.otherwise = Forward()
    nothing_was_lost(lab, first, second)


def test_G9_a_row_that_vanished_before_is_not_stopped_while_nobody_can_see_whether_it_is_back(lab_over_faults: Lab):
    """The grace of a deleted row does not run out behind a closed door."""
    lab = lab_over_faults
    lab.running("first")
    cells = lab.person.cut("first")
    lab.wait(10)
    assert len(lab.story.told(ev.RowVanished)) == 1
    lab.faults.otherwise = google_error(403, "The caller does not have permission")
    lab.wait(900, step_s=15)
    lab.person.paste(cells, 1, "first")
    lab.faults.otherwise = Forward()
    lab.wait(150, step_s=5)
    assert (lab.person.status("first"), lab.stops) == (["running"], [])


def test_G10_a_disabled_api_is_said_with_what_to_enable(lab_over_faults: Lab):
    """A disabled API is told from a sheet that is not shared, with what to enable; the daemon goes on supervising."""
    lab = lab_over_faults
    first, second = lab.running("first", "second")
    lab.faults.otherwise = google_error(
        403, "Google Sheets API has not been used in project 123 before or it is disabled."
    )
    out_of_reach(lab, first)
    assert "Enable the Google Sheets API for the project of the key file" in lab.problem
    assert "Share" not in lab.problem
    lab.faults.otherwise = Forward()
    nothing_was_lost(lab, first, second)


def test_G10_a_deleted_key_ends_no_job(lab_over_faults: Lab):
    """A key that was deleted ends no job: a quarter of an hour later everything is still there."""
    lab = lab_over_faults
    first, second = lab.running("first", "second")
    lab.faults.otherwise = google_error(401, "expired")
    lab.faults.tokens = [INVALID_GRANT] * 500
    out_of_reach(lab, first)
    assert "Google refused to sign in" in lab.problem
    assert lab.phase(second) is Phase.RUNNING
    lab.faults.otherwise = Forward()
    lab.faults.tokens.clear()
    nothing_was_lost(lab, first, second)
