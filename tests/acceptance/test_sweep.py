"""A row that stands for several runs: each is executed once, the row counts and sums up, and is filled in later."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.conftest import lab_at, person_at
from tests.acceptance.person import Person
from tests.acceptance.project import Project
from tests.rig.waiting import wait_for
from tests.sheets.builtin_rig import Address

PROGRAM = """\
import os, sys
import sheetd

lr = float(sys.argv[1])
sheetd.log(step=1, loss=lr)
print(os.environ["SHEETD_ID"], f"{lr:g}", os.environ.get("SHEETD_REPEAT"), flush=True)
sys.exit(3 if lr == 2.0 and os.environ["SHEETD_ATTEMPT"].endswith(".1") else 0)
"""
TEMPLATE = """\
command = ["python3", "job.py", "{{lr}}"]
code = "../code"
restarts = {{ max = 0 }}

[params.lr]
type = "number"
[metrics]
loss = {{}}
"""
HEADER = ["lr", "repeat", "action", "id", "status", "message", "progress", "loss", "loss:min"]


@pytest.fixture
def person(address: Address) -> Person:
    return person_at(address, HEADER)


@pytest.fixture
def lab(tmp_path: Path, address: Address) -> Iterator[Project]:
    told = {"program": PROGRAM, "templates": {"job": TEMPLATE}}
    with lab_at(address, tmp_path, hosts={"one": 3}, sheet="sweep_max = 5", **told) as lab:
        yield lab


def test_a_row_of_several_runs_counts_sums_up_and_is_filled_in(lab: Project, person: Person) -> None:
    person.type_rows([{"lr": "1..3"}, {"lr": "{5 | 6}", "repeat": 3}])
    lab.start()

    def row(index: int = 0) -> dict[str, str]:
        return person.rows()[index]

    wait_for(lambda: row()["status"] == "failed", "its runs are over", within_s=60)
    id_ = row()["id"]
    assert row()["message"].startswith(f"2 of 3 done, 1 failed; {id_}-2: exit code 3")
    assert (row()["progress"], row()["loss"], row()["loss:min"]) == ("100%", "2 \u00b1 1", "1")
    assert row(1)["status"] == "draft"
    assert row(1)["message"] == (
        "this row makes 6 runs (2 x lr, 3 x repeat), more than sweep_max = 5: choose run in action to start them all"
    )
    told = json.loads(lab.command("ls", "--json"))
    assert [(one["id"], one["status"]) for one in told[:4]] == [
        (id_, "failed"),
        (f"{id_}-1", "succeeded"),
        (f"{id_}-2", "failed"),
        (f"{id_}-3", "succeeded"),
    ]
    assert lab.command("logs", f"{id_}-3") == f"{id_}-3 3 None\n"

    person.tab.update([["1..4", "", "run"]], "A2", raw=True)
    person.tab.update([["run"]], "C3", raw=True)
    wait_for(lambda: [one["status"] for one in person.rows()] == ["succeeded"] * 2, "all have run", within_s=60)
    assert row()["message"].endswith("4 of 4 done")
    assert row(1)["message"].endswith("6 of 6 done")
    runs = [one for one in json.loads(lab.command("export", "--json")) if one["id"].startswith(id_)]
    assert [one["attempt"] for one in runs] == [1, 2, 1, 1]
    other = row(1)["id"]

    def listed() -> list[list[str]]:
        header, *lines = person.spreadsheet.worksheet("Runs").get_all_values()
        names = ("run", "status", "lr", "repeat", "loss")
        if not set(names) <= set(header):
            return []  # the last values have not arrived
        columns = [header.index(name) for name in names]
        return [[line[column] for column in columns] for line in lines if any(line)]

    wanted = [[f"{id_}-{n}", "succeeded", str(n), "", str(n)] for n in range(1, 5)]
    wanted += [[f"{other}-{n}", "succeeded", lr, str((n - 1) % 3 + 1), lr] for n, lr in enumerate("555666", start=1)]
    wait_for(lambda: sorted(listed()) == sorted(wanted), "each run has its line", within_s=40)
    assert lab.command("logs", f"{other}-6") == f"{other}-6 6 3\n"
