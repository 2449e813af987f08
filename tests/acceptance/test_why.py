"""`sheetd hosts`, `sheetd explain` and the row give one reason, while the daemon runs and after it was killed."""

from __future__ import annotations

import json
from typing import Any

from sheetd.door import knock
from sheetd.journal.requests import RequestStore
from tests.acceptance.person import Person
from tests.acceptance.project import Project
from tests.rig.waiting import wait_for


def row_of(person: Person, token: str) -> dict[str, Any]:
    return next(row for row in person.rows() if row["token"] == token)


def explained(lab: Project, id_: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(lab.command("explain", id_, "--json"))
    return told


def here(lab: Project) -> dict[str, Any]:
    (host,) = json.loads(lab.command("hosts", "--json"))["hosts"]
    return dict(host)


def drain(lab: Project) -> None:
    requests = RequestStore(lab.state)
    requests.add("drain", "here", by="kim")
    requests.close()
    assert knock(lab.state), "the daemon listens"


def test_everybody_gives_the_same_reason(lab: Project, person: Person) -> None:
    person.type_rows([{"token": token, "seconds": 60} for token in ("one", "two")])
    lab.start()
    wait_for(lambda: [row["status"] for row in person.rows()] == ["running"] * 2, "both slots are taken", within_s=30)
    person.type_rows([{"token": "third", "seconds": 60}])
    taken = "waits for 1 slot: 2 of 2 are taken"
    wait_for(lambda: row_of(person, "third")["message"] == taken, "the third row waits", within_s=30)
    third = row_of(person, "third")["id"]
    wait_for(lambda: explained(lab, third)["message"] == taken, "the daemon has told other processes")
    (says,) = explained(lab, third)["waits"]["hosts"]
    assert (says["host"], says["free"], says["total"], says["says"]) == ("here", 0, 2, "has 0 free (2 ours)")
    assert len(here(lab)["held"]) == 2

    drain(lab)
    drained = "waits for a host: here is drained (by kim)"
    wait_for(lambda: row_of(person, "third")["message"] == drained, "the row says so", within_s=30)
    wait_for(lambda: here(lab)["state"] == "drained", "so does the list of hosts")
    assert here(lab)["why"] == "drained by kim: it gets nothing new until `sheetd host resume`"
    wait_for(lambda: explained(lab, third)["message"] == drained, "so does explain")
    assert explained(lab, third)["waits"]["hosts"][0]["says"] == "is drained (by kim)"
    assert "is drained (by kim)" in lab.command("explain", third)

    lab.kill()
    assert explained(lab, third)["message"] == drained, "as last seen"
    assert "drained by kim" in here(lab)["why"], "it is on record"
    first = explained(lab, row_of(person, "one")["id"])
    assert first["daemon"] is None
    (attempt,) = first["attempts"]
    assert (attempt["host"], attempt["phase"], attempt["reason"]) == ("here", "running", None)
    assert attempt["started"].endswith("UTC")


def hosts_tab(person: Person) -> dict[str, str]:
    """The only row of the tab of hosts, as the person sees it; nothing before there is one."""
    tabs = {tab.title: tab for tab in person.spreadsheet.worksheets()}
    rows = tabs["Hosts"].get_all_records() if "Hosts" in tabs else []
    return {str(key): str(value) for key, value in rows[0].items()} if rows else {}


def test_the_list_of_hosts_the_tab_of_hosts_and_explain_agree_on_why_a_row_waits(lab: Project, person: Person) -> None:
    """A person drains the host from the sheet; one daemon tells everybody, in the same words."""
    lab.start()
    wait_for(lambda: hosts_tab(person).get("state") == "up", "the daemon has made the tab", within_s=30)
    shown = hosts_tab(person)
    assert (shown["host"], shown["free"], shown["slots"], shown["why"]) == ("here", "2", "2", here(lab)["why"])
    tab = person.spreadsheet.worksheet("Hosts")
    tab.update_acell("B2", "drain")
    wait_for(lambda: hosts_tab(person)["state"] == "drained", "the word is obeyed", within_s=30)
    person.type_rows([{"token": "waits", "seconds": 1}])
    words = "is drained (by the tab of hosts)"
    wait_for(lambda: words in row_of(person, "waits")["message"], "the row waits for it", within_s=30)
    id_ = row_of(person, "waits")["id"]
    wait_for(lambda: explained(lab, id_)["waits"] is not None, "the daemon has told other processes")

    listed, (told,) = here(lab), explained(lab, id_)["waits"]["hosts"]
    shown = hosts_tab(person)
    assert (listed["state"], shown["state"], told["block"]) == ("drained", "drained", "drained")
    assert listed["why"] == "drained by the tab of hosts: it gets nothing new until `sheetd host resume`"
    assert shown["why"] == f"{listed['why']}; drain was obeyed: clear the cell to choose it again"
    assert row_of(person, "waits")["message"] == f"waits for a host: here {told['says']}"
    assert (shown["free"], told["says"]) == ("0", words)

    tab.update_acell("B2", "resume")
    wait_for(lambda: row_of(person, "waits")["status"] == "succeeded", "it runs after all", within_s=30)
    wait_for(lambda: hosts_tab(person)["state"] == here(lab)["state"] == "up", "everybody says so", within_s=30)


def test_what_has_ended_is_explained_attempt_by_attempt_and_a_draft_by_its_mistake(
    lab: Project, person: Person
) -> None:
    person.type_rows([{"token": "bad", "seconds": 0.1, "ending": "fail"}, {"token": "wrong", "seconds": "0,1"}])
    lab.start()
    wait_for(lambda: row_of(person, "bad")["status"] == "failed", "it has failed", within_s=30)
    row = row_of(person, "bad")
    told = explained(lab, row["id"])
    (attempt,) = told["attempts"]
    assert (attempt["reason"], attempt["proof"], attempt["exit_code"], attempt["restarts"]) == (
        "failed",
        "exit_record",
        4,
        1,
    )
    assert attempt["detail"] in row["message"]
    assert "exit_record" in lab.command("explain", row["id"])
    wait_for(lambda: row_of(person, "wrong")["status"] == "invalid", "the other is refused", within_s=30)
    wrong = row_of(person, "wrong")
    wait_for(lambda: wrong["message"] in lab.command("explain", wrong["id"]).replace("\n", " "), "with its mistake")
