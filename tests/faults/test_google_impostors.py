"""Answers that are not Google's, not whole, not new, or that name a limit (G11 to G13).

Only JSON that names our spreadsheet is an answer. Rows that are missing in one are not gone yet.
"""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from sheetd.core import events as ev
from sheetd.core.model import Phase
from tests.faults.conftest import OpenLab
from tests.faults.laboratory import Lab
from tests.faults.outage import nothing_was_lost, out_of_reach
from tests.sheets.unruly import KEY, Forward, Move, Reply, google_error, tab

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
    assert "something answered in place of the sheet: a captive portal or a proxy?" in lab.problem
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
            out_of_reach(lab, first, 60)
            assert "no answer from the sheet's server" in lab.problem
            assert "outcome unknown" not in lab.problem
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
    assert "no answer from the sheet's server" in lab.problem
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
    ids = lab.running(*names[:9])
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
    assert "above the limit of 10000000 cells" in lab.problem
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
