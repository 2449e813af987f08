"""A row that runs after another: it waits, says for whom, and finds on its host what that one wrote."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.conftest import lab_at, person_at
from tests.acceptance.person import Person
from tests.acceptance.project import Project
from tests.rig.waiting import wait_for
from tests.sheets.builtin_rig import Address

PROGRAM = """\
import sys, time
import sheetd

token, seconds = sys.argv[1:]
for parent in sheetd.parents():
    print(token, "read", (parent.output / "weights").read_text(), parent.checkpoint.name)
time.sleep(float(seconds))
(sheetd.output_dir() / "weights").write_text(token)
sheetd.save_checkpoint("step_1", token.encode())
"""
TEMPLATE = """\
command = ["python3", "job.py", "{{token}}", "{{seconds}}"]
code = "../code"

[params.token]
type = "text"
[params.seconds]
type = "number"
"""
HEADER = ["name", "token", "seconds", "after", "id", "status", "message", "host"]


@pytest.fixture
def person(address: Address) -> Person:
    return person_at(address, HEADER)


@pytest.fixture
def lab(tmp_path: Path, address: Address) -> Iterator[Project]:
    """Two hosts, of which only one has what was written on it."""
    told = {"program": PROGRAM, "templates": {"job": TEMPLATE}}
    with lab_at(address, tmp_path, hosts={"one": 2, "other": 2}, **told) as lab:
        yield lab


def test_a_row_reads_what_the_rows_wrote_that_it_runs_after(lab: Project, person: Person) -> None:
    person.type_rows(
        [
            {"name": "base", "token": "base", "seconds": 3},
            {"token": "tuned", "seconds": 0, "after": "base"},
            {"token": "judged", "seconds": 0, "after": "previous, base"},
        ]
    )
    lab.start()

    def rows() -> dict[str, dict[str, str]]:
        return {row["token"]: row for row in person.rows()}

    wait_for(lambda: rows()["tuned"]["message"].endswith("(running)"), "it waits and says for whom", within_s=30)
    ids = {token: row["id"] for token, row in rows().items()}
    assert rows()["tuned"]["message"] == f"waits for {ids['base']} (running)"
    waits = f"waits for {ids['tuned']} (waiting), {ids['base']} (running)"
    assert waits in lab.command("explain", ids["judged"])
    wait_for(lambda: {row["status"] for row in rows().values()} == {"succeeded"}, "all have run", within_s=60)
    assert len({row["host"] for row in rows().values()}) == 1
    assert lab.command("logs", ids["judged"]) == "judged read tuned step_1\njudged read base step_1\n"
