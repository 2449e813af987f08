"""Rows are queued from the terminal and from Python, in a sheet in which people type at the same time."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from sheetd import rows
from sheetd.core.grid import CellValue
from sheetd.errors import SheetdError
from sheetd.sheets.google import GoogleSheet
from tests.acceptance.person import Person
from tests.acceptance.project import Project
from tests.rig.waiting import wait_for


def test_rows_added_from_the_terminal_and_from_python_run_and_their_ids_are_told(lab: Project, person: Person) -> None:
    lab.begin()
    done = json.loads(lab.command("add", "token=one", "seconds=0.1", "--wait", "--json"))
    with rows.connect(lab.config) as here:
        added = here.add_many({"template": "job", "token": token, "seconds": 0.1} for token in ("two", "three"))
        ids = here.wait(added)
    wait_for(lambda: [row["status"] for row in person.rows()] == ["succeeded"] * 3, "all have run", within_s=60)
    shown = {row["token"]: row["id"] for row in person.rows()}
    assert shown == dict(zip(("one", "two", "three"), [*done["ids"], *ids], strict=True))

    lab.stop()
    listed = json.loads(lab.command("ls", "--status", "succeeded", "--template", "job", "--json"))
    assert [(row["id"], row["params"]["token"]) for row in listed] == [(id_, token) for token, id_ in shown.items()]
    assert f"{ids[0]}  succeeded  job       token=two seconds=0.1 ending=succeed" in lab.command("ls")
    for other in (("--status", "failed"), ("--template", "other")):
        assert json.loads(lab.command("ls", *other, "--json")) == []
        assert "No row of this status or template is known" in lab.command("ls", *other)
    with rows.connect(lab.config) as here, pytest.raises(SheetdError, match="there is no experiment nobody"):
        here.stop("nobody")


def test_without_a_daemon_rows_are_typed_and_that_nobody_takes_them_in_is_said(lab: Project, person: Person) -> None:
    assert "added token=one seconds=0.1\nThe daemon is not running here" in lab.command(
        "add", "token=one", "seconds=0.1"
    )
    with rows.connect(lab.config) as here:
        added = here.add(token="two", seconds=1)
        with pytest.raises(SheetdError, match="no daemon runs here that would take them in"):
            here.wait(added)
    assert [row["token"] for row in person.rows()] == ["one", "two"]


def test_a_wrong_row_or_a_dry_run_types_nothing(lab: Project, person: Person, tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text('token,seconds\na,1\nb,"0,5"\n')
    with (
        rows.connect(lab.config) as here,
        pytest.raises(SheetdError, match="nothing was added: row 2: seconds is the text"),
    ):
        here.add_many([{"token": "a", "seconds": "1"}, {"token": "b", "seconds": "0,5"}])
    lab.command("add", "--from", str(table), check=False)
    lab.command("add", "token=a", "seconds=1", "--dry-run")
    assert person.rows() == []


def test_a_file_is_added_with_what_is_common_to_its_rows(lab: Project, person: Person, tmp_path: Path) -> None:
    lines = tmp_path / "rows.jsonl"
    lines.write_text('{"token": "a"}\n\n{"token": "b", "seconds": 2.5}\n')
    lab.command("add", "seconds=1", "--from", str(lines))
    assert [(row["token"], row["seconds"]) for row in person.rows()] == [("a", "1"), ("b", "2.5")]


def test_a_column_that_is_inserted_in_the_very_moment_is_noticed(
    lab: Project, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = GoogleSheet.append_rows

    def a_person_is_faster(sheet: GoogleSheet, cells: Sequence[Sequence[CellValue]]) -> None:
        person.tab.insert_cols([["mine"]], 1)
        append(sheet, cells)

    monkeypatch.setattr(GoogleSheet, "append_rows", a_person_is_faster)
    with rows.connect(lab.config) as here, pytest.raises(SheetdError, match="somebody changed the header while 1 row"):
        here.add(token="one", seconds=1)


def test_two_who_add_at_once_overwrite_nobody(lab: Project, person: Person) -> None:
    person.type_rows([{"token": "typed", "seconds": 1}])
    start = threading.Barrier(2)

    def add(name: str) -> None:
        with rows.connect(lab.config) as here:
            start.wait(10)
            for number in range(10):
                here.add(token=f"{name}{number}", seconds=1)

    threads = [threading.Thread(target=add, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tokens = [row["token"] for row in person.rows()]
    assert tokens[0] == "typed"
    assert sorted(tokens[1:]) == sorted(f"{name}{number}" for name in "ab" for number in range(10))


def test_the_built_in_sheet_is_opened_for_rows_that_nobody_serves_and_shared_with_who_does(tmp_path: Path) -> None:
    project = Project(
        tmp_path / "lab",
        home=str(tmp_path),
        sheet="poll_s = 0.3\nsettle_s = 0.6",
        hosts='[[hosts]]\nname = "here"\nlocal = true\nroot = "root"\n',
    )
    try:
        project.command("add", "token=before", "seconds=0.1")
        project.begin()
        with rows.connect(project.config) as here:
            here.wait(here.add(token="after", seconds=0.1))
        told = json.loads(project.command("status", "--json"))["experiments"]
        assert [row["params"]["token"] for row in told] == ["before", "after"]
    finally:
        project.stop_everything()
        project.close()
