"""Signing in, being let in, and what answers in place of Google (G7 to G13).

That the sheet is out of reach says nothing of the rows: every job goes on, every end is recorded, and nothing is
cancelled. What only a person can change is named with the next step.
"""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from sheetd.core import effect as fx
from sheetd.core import events as ev
from sheetd.core.model import Phase
from sheetd.core.views import sheet_view
from tests.faults.conftest import OpenLab
from tests.faults.laboratory import Lab
from tests.sheets.key_file import EMAIL
from tests.sheets.unruly import KEY, Forward, Move, Reply, Reset, google_error, tab


def problem(lab: Lab) -> str:
    return str(sheet_view(lab.story.world)["problem"])


def out_of_reach(lab: Lab, first: str, seconds: float = 900.0) -> None:
    """A job fails while the sheet is out of reach for longer than a deleted row would be waited for."""
    lab.story.exits(f"{first}.1", rc=1)
    lab.wait(seconds, step_s=15)


def nothing_was_lost(lab: Lab, first: str, second: str) -> None:
    """Back in reach: both rows show how they are, and nothing was stopped or started for the outage."""
    lab.wait(150, step_s=5)
    assert problem(lab) == ""
    assert lab.person.status("first", "second") == ["failed", "running"]
    assert lab.ids("first", "second") == [first, second]
    assert (lab.stops, lab.story.told(ev.RowVanished)) == ([], [])
    assert lab.attempts == [f"{first}.1", f"{second}.1"]


# --- signing in --------------------------------------------------------------------------------------------------


def test_G7_a_token_that_expired_is_replaced_within_the_same_request(lab_over_faults: Lab):
    """After an hour Google answers 401: a new token is fetched and the request is sent again; the row notices nothing."""
    lab = lab_over_faults
    (first,) = lab.running("first")
    lab.faults.reads = [google_error(401, "Request had invalid authentication credentials.")]
    lab.story.exits(f"{first}.1", rc=0)
    lab.faults.seen.clear()
    lab.wait(4)
    assert lab.faults.kinds()[:4] == ["read", "sign in", "read", "write"]
    assert (lab.person.status("first"), problem(lab)) == (["succeeded"], "")


def test_G7_a_write_that_met_an_expired_token_is_applied_once(lab_over_faults: Lab):
    """401 means that nothing was applied, so the write may go again with the new token."""
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
    assert (lab.person.status("first"), problem(lab)) == (["running"], "")


def test_G7_a_token_that_is_never_accepted_is_a_matter_for_a_person(lab_over_faults: Lab):
    """Every new token is refused too: `sheetd status` says what to make anew, and the jobs go on."""
    lab = lab_over_faults
    first, second = lab.running("first", "second")
    lab.faults.otherwise = google_error(401, "Request had invalid authentication credentials.")
    out_of_reach(lab, first)
    assert "make a new key for the service account" in problem(lab)
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
    assert "could not sign in to Google now" in problem(lab)
    assert "unknown" not in problem(lab)
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
    assert "is the key deleted or disabled, or this machine's clock wrong?" in problem(lab)
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
    assert step in problem(lab)
    assert [lab.phase(first), lab.phase(second)] == [Phase.ENDED, Phase.RUNNING]
    lab.faults.otherwise = Forward()
    nothing_was_lost(lab, first, second)


def test_G9_a_row_that_was_accepted_is_launched_although_its_sheet_is_gone(open_lab_with_faults: OpenLab):
    """An accepted row is a promise: when a slot becomes free it starts, whether or not the sheet can be read."""
    lab = open_lab_with_faults(hosts={"alpha": 1})
    lab.person.type_all({name: {"template": "train", "lr": "0.1"} for name in ("first", "second")})
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
    (first,) = lab.running("first")
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
    """The daemon stays up and supervises; the sentence is not the one about sharing."""
    lab = lab_over_faults
    first, second = lab.running("first", "second")
    lab.faults.otherwise = google_error(
        403, "Google Sheets API has not been used in project 123 before or it is disabled."
    )
    out_of_reach(lab, first)
    assert "Enable the Google Sheets API for the project of the key file" in problem(lab)
    assert "Share" not in problem(lab)
    lab.faults.otherwise = Forward()
    nothing_was_lost(lab, first, second)


def test_G10_a_deleted_key_ends_no_job(lab_over_faults: Lab):
    """The next token is refused, and a quarter of an hour later everything is still there."""
    lab = lab_over_faults
    first, second = lab.running("first", "second")
    lab.faults.otherwise = google_error(401, "expired")
    lab.faults.tokens = [INVALID_GRANT] * 500
    out_of_reach(lab, first)
    assert "Google refused to sign in" in problem(lab)
    assert lab.phase(second) is Phase.RUNNING
    lab.faults.otherwise = Forward()
    lab.faults.tokens.clear()
    nothing_was_lost(lab, first, second)


# --- something else answers --------------------------------------------------------------------------------------

IN_ITS_PLACE: dict[str, Move] = {
    "a captive portal": Reply(200, b"<html>Welcome to Airport WiFi</html>", content_type="text/html"),
    "nothing": Reply(200, b""),
    "empty JSON": Reply(200, b"{}"),
    "another spreadsheet": Reply(200, tab(key=f"not {KEY}")),
}


@pytest.mark.parametrize("answer", IN_ITS_PLACE.values(), ids=IN_ITS_PLACE)
def test_G11_an_answer_that_is_not_our_spreadsheet_is_no_empty_sheet(lab_over_faults: Lab, answer: Move):
    """200 is not enough: without JSON that names our spreadsheet nothing was read, and no row is gone."""
    lab = lab_over_faults
    first, second = lab.running("first", "second")
    lab.faults.otherwise = answer
    out_of_reach(lab, first)
    assert "something answered in place of the sheet: a captive portal or a proxy?" in problem(lab)
    lab.faults.otherwise = Forward()
    nothing_was_lost(lab, first, second)


@pytest.mark.parametrize("where", ["http://sheets.invalid", "https://{port}", "http://{closed}"])
def test_G11_a_name_or_a_certificate_that_fails_passes_like_any_outage(
    lab_over_faults: Lab, monkeypatch: pytest.MonkeyPatch, where: str
):
    """Name resolution, TLS and a refused connection: nothing was sent, so no write is in doubt either."""
    lab = lab_over_faults
    first, second = lab.running("first", "second")
    resolve = socket.getaddrinfo

    def getaddrinfo(host: str, *args: Any, **kwargs: Any) -> Any:
        if host == "sheets.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with socket.socket() as reserved:
        # Bound but not listening: connections are refused for certain, and no other process can take the port.
        reserved.bind(("127.0.0.1", 0))
        there = where.format(
            port=lab.faults.base_url.removeprefix("http://"), closed=f"127.0.0.1:{reserved.getsockname()[1]}"
        )
        with monkeypatch.context() as patch:
            patch.setattr(lab.sheet.client, "_redirected", lambda endpoint: there + endpoint[len("https://sheets") :])
            lab.before_the_next(fx.WriteSheet, lambda: None)
            out_of_reach(lab, first, 60)
            assert "no answer from the sheet's server" in problem(lab)
            assert "outcome unknown" not in problem(lab)
    nothing_was_lost(lab, first, second)


# --- answers that are not whole, or not new ----------------------------------------------------------------------


def test_G12_an_answer_that_breaks_off_is_no_answer(lab_over_faults: Lab):
    """Half of a body is not read as a sheet with half of its rows."""
    lab = lab_over_faults
    first, second = lab.running("first", "second")
    body = json.dumps(tab()).encode()
    cut = Reply(200, body[:100], {"Content-Length": str(len(body)), "Connection": "close"})
    lab.faults.otherwise = cut
    out_of_reach(lab, first, 60)
    assert "no answer from the sheet's server" in problem(lab)
    lab.faults.otherwise = Forward()
    nothing_was_lost(lab, first, second)


def without_rows(body: bytes) -> bytes:
    """The same answer, without all rows but the header and the first."""
    document = json.loads(body)
    for sheet in document.get("updatedSpreadsheet", document)["sheets"]:
        del sheet["data"][0]["rowData"][2:]
    return json.dumps(document, separators=(",", ":")).encode()


def test_G12_rows_that_are_suddenly_gone_in_one_read_are_waited_for(open_lab_with_faults: OpenLab):
    """More than twenty rows and nearly a third gone at once is not believed before five reads agree."""
    lab = open_lab_with_faults(hosts={"alpha": 40})
    names = [f"row {number}" for number in range(30)]
    ids = lab.running(*names[:9]) + [""] * 0
    lab.person.type_all({name: {"template": "train", "lr": "0.5", "seed": name[4:]} for name in names[9:]})
    lab.wait()
    lab.faults.otherwise = Forward(change=without_rows)
    lab.wait(6)
    assert lab.story.told(ev.RowVanished) == []
    lab.faults.otherwise = Forward()
    lab.wait()
    assert lab.story.told(ev.RowVanished) == []
    assert lab.person.status(*names) == ["running"] * 30
    assert lab.ids(*names[:9]) == ids
    assert (len(lab.attempts), lab.stops) == (30, [])


def test_G12_rows_that_stay_gone_are_believed_in_the_end(open_lab_with_faults: OpenLab):
    """Caution is a matter of seconds: what people really deleted gets its grace and is stopped after it."""
    lab = open_lab_with_faults(hosts={"alpha": 40})
    names = [f"row {number}" for number in range(30)]
    lab.person.type_all({name: {"template": "train", "lr": "0.5", "seed": name[4:]} for name in names})
    lab.wait()
    lab.faults.otherwise = Forward(change=without_rows)
    lab.wait(20)
    assert len(lab.story.told(ev.RowVanished)) == 29
    assert lab.stops == []


def test_G12_a_read_that_is_older_than_our_last_write_is_not_looked_at(lab_over_faults: Lab):
    """Every write carries a stamp that grows: an answer with a smaller one came from the past, and moves nothing."""
    lab = lab_over_faults
    first, second = lab.running("first", "second")
    lab.person.type("first", action="restart")
    old: list[bytes] = []
    lab.faults.reads = [Forward(change=lambda body: old.append(body) or body)]
    lab.wait(2)
    lab.wait()
    lab.person.type("first", action="")
    lab.wait()
    lab.person.delete("second")
    lab.faults.reads = [Reply(200, old[0])] * 3
    lab.wait(6)
    assert lab.faults.reads == [], "they were read"
    lab.wait()
    assert lab.attempts == [f"{first}.1", f"{second}.1", f"{first}.2"]
    assert (lab.person.status("first"), len(lab.story.told(ev.RowVanished))) == (["running"], 1)


# --- limits ------------------------------------------------------------------------------------------------------

ABOVE = (
    "Invalid requests[1].updateCells: This action would increase the number of cells in the workbook above the limit"
)


def test_G13_a_write_above_a_limit_stops_the_showing_and_nothing_else(lab_over_faults: Lab):
    """400 is not repeated within the cycle, is said in Google's words, and keeps neither jobs nor reads from going on.

    The catalogue would put that one write aside. Ours says the whole state of the rows and is made anew from each read,
    so there is nothing to put aside: as soon as the sheet has room it is what is needed then.
    """
    lab = lab_over_faults
    first, second = lab.running("first", "second")
    lab.faults.writes = [google_error(400, f"{ABOVE} of 10000000 cells.")] * 1000
    lab.faults.seen.clear()
    lab.story.exits(f"{first}.1", rc=1)
    lab.wait(60)
    kinds = lab.faults.kinds()
    assert kinds.count("write") <= 20
    assert "write write" not in " ".join(kinds), "never twice without a read in between"
    assert "above the limit of 10000000 cells" in problem(lab)
    assert [lab.phase(first), lab.phase(second)] == [Phase.ENDED, Phase.RUNNING]
    lab.faults.writes.clear()
    nothing_was_lost(lab, first, second)


def test_G13_we_never_add_a_row_a_column_or_a_long_text_by_which_a_limit_could_be_met(lab_over_faults: Lab):
    """All that we write are cells that are there already, each of at most 500 characters."""
    lab = lab_over_faults
    (first,) = lab.running("first")
    lab.story.exits(f"{first}.1", rc=1, last_lines=("E" * 60_000,))
    lab.wait()
    bodies = [json.loads(body) for method, path, body in lab.faults.seen if method == "POST" and path != "/token"]
    kinds = {next(iter(request)) for body in bodies for request in body["requests"]}
    assert not kinds & {"appendCells", "appendDimension", "insertDimension", "insertRange", "addSheet"}
    assert max(len(text) for text in lab.person.see("first").values()) <= 500
