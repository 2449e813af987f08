"""What a person chooses in `action` and edits in a row while its job runs, with a real daemon and a real host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.conftest import lab_at, person_at
from tests.acceptance.person import Person
from tests.acceptance.project import Project
from tests.rig.waiting import wait_for
from tests.sheets.builtin_rig import Address

#: Counts steps on from its newest checkpoint, writes down what it was given whenever that changes, and ends at `steps`.
PROGRAM = """\
import os, sys, time
import sheetd

home, token, steps = sys.argv[1:]
def tell(*words):
    with open(os.path.join(home, token), "a") as file:
        print(*words, file=file)
step = int(sheetd.resume_from().read_text()) if sheetd.resume_from() else 0
tell("began", sheetd.attempt(), "resumes" if step else "fresh")
last = None
while step < sheetd.params()["steps"]:
    step += 1
    sheetd.save_checkpoint("step_{}".format(step), str(step).encode())
    rate = sheetd.params()["rate"]
    if rate != last:
        tell("rate", rate)
    last = rate
    time.sleep(0.1)
tell("ended")
"""
TEMPLATE = """\
command = ["python3", "job.py", "{home}", "{{token}}", "{{steps}}"]
code = "../code"
grace_s = 5

[params.token]
type = "text"
[params.steps]
type = "integer"
live = true
[params.rate]
type = "number"
min = 0
max = 1
default = 0.5
live = true
"""
HEADER = ["token", "steps", "rate", "action", "id", "status", "message", "attempt"]


@pytest.fixture
def person(address: Address) -> Person:
    return person_at(address, HEADER)


@pytest.fixture
def lab(tmp_path: Path, address: Address) -> Iterator[Project]:
    """One host with one slot."""
    told = {"program": PROGRAM, "templates": {"job": TEMPLATE}}
    with lab_at(address, tmp_path, hosts={"one": 1}, **told) as lab:
        yield lab


def told(tmp_path: Path, token: str) -> list[str]:
    """What the jobs of a row have written down."""
    file = tmp_path / token
    return file.read_text().splitlines() if file.exists() else []


def test_a_paused_row_gives_its_slot_to_others_and_goes_on_from_its_checkpoint(
    lab: Project, person: Person, tmp_path: Path
) -> None:
    def row(token: str) -> dict[str, str]:
        return next(one for one in person.rows() if one["token"] == token)

    person.type_rows([{"token": "long", "steps": 100_000}])
    lab.start()
    wait_for(lambda: row("long")["status"] == "running" and len(told(tmp_path, "long")) > 1, "the long one runs")

    person.type_cell("long", "action", "pause")
    wait_for(lambda: row("long")["status"] == "paused", "it is paused")
    assert row("long")["message"] == "paused by its action cell; resume goes on from its newest checkpoint"
    person.type_rows([{"token": "short", "steps": 1}])
    wait_for(lambda: row("short")["status"] == "succeeded", "another one has its slot", within_s=60)

    person.type_rows([{"token": "never", "steps": 1, "action": "pause"}])
    wait_for(lambda: row("never")["status"] == "paused", "it is paused before it began")
    assert "is being stopped" in lab.command("stop", row("never")["id"])
    wait_for(lambda: row("never")["status"] == "stopped", "it is given up")

    lab.kill()
    lab.begin()
    person.type_cell("long", "steps", "1")
    person.type_cell("long", "action", "resume")
    wait_for(lambda: row("long")["status"] == "succeeded", "it has gone on", within_s=60)
    assert [line for line in told(tmp_path, "long") if line != "rate 0.5"] == [
        "began 1 fresh",
        "began 2 resumes",
        "ended",
    ]


def test_a_live_parameter_reaches_the_job_that_runs(lab: Project, person: Person, tmp_path: Path) -> None:
    def row() -> dict[str, str]:
        return person.rows()[0]

    person.type_rows([{"token": "live", "steps": 100_000}])
    lab.start()
    wait_for(lambda: told(tmp_path, "live")[-1:] == ["rate 0.5"], "it runs with the default", within_s=60)

    person.type_cell("live", "rate", "0.25")
    wait_for(lambda: told(tmp_path, "live")[-1] == "rate 0.25", "it has the new rate", within_s=60)
    wait_for(lambda: row()["message"] == "rate = 0.25 was handed over to it", "the row says so")
    wait_for(lambda: "rate = 0.25 was handed over to it" in lab.command("status"), "and so does the terminal")

    person.type_cell("live", "rate", "2")
    wait_for(
        lambda: row()["message"].startswith("edited, and runs the old values until this is mended: rate is 2"), "no"
    )
    assert told(tmp_path, "live") == ["began 1 fresh", "rate 0.5", "rate 0.25"]

    person.type_cell("live", "rate", "0.75")
    person.type_cell("live", "steps", "1")
    wait_for(lambda: row()["status"] == "succeeded", "the job has ended by a live parameter", within_s=60)
    assert row()["attempt"] == "1"
