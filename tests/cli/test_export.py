"""`sheetd export`: what is known of every experiment, as a program or a spreadsheet reads it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

import sheetd.cli.export as export_module
from sheetd.cli.app import app
from sheetd.cli.export import FIXED, as_csv
from sheetd.core.metrics import add_points
from sheetd.core.observation import MetricPoint
from sheetd.core.template import Param, Template
from sheetd.core.views import hosts_view, sheet_view
from sheetd.errors import SheetdError
from sheetd.journal import SqliteJournal
from tests.core.story import OWNED_HEADER, Line, Story, Table

TAGGED = Template(
    name="train",
    command=("python", "train.py", "{tag}", "{acc}"),
    params={"tag": Param(name="tag"), "acc": Param(name="acc")},
)
HEADER = ("template", "tag", "acc", "action", *OWNED_HEADER)


class Lab:
    """A story of three rows, and what its daemon left behind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "sheetd.toml").write_text('[daemon]\nstate_dir = "state"\n[[hosts]]\nname = "alpha"\nlocal = true\n')
        (folder / "templates").mkdir()
        story = self.story = Story(hosts={"alpha": 3}, templates=[TAGGED], table=Table(HEADER))
        self.lines = [story.table.type(template="train", tag=tag, acc="l1") for tag in ("plain", "=1+1", "a,\n\u00e9")]
        story.wait(12)
        story.exits(f"{self.id_of(self.lines[0])}.1", rc=0, started_age_s=90.0, ended_age_s=30.0)
        story.exits(f"{self.id_of(self.lines[1])}.1", rc=3)
        story.wait(5)
        points = [
            MetricPoint(values={"loss": value, "acc": 0.5}, step=step) for step, value in enumerate((4.0, 1.0, 2.0))
        ]
        with SqliteJournal(folder / "state") as journal:
            journal.append(story.events)
            journal.cache_metrics(f"{self.id_of(self.lines[0])}.1", 10, add_points({}, points))  # type: ignore[arg-type]
            journal.cache_view("hosts", hosts_view(story.world, story.now()))
            journal.cache_view("sheet", sheet_view(story.world))

    def id_of(self, line: Line) -> str:
        return str(line["id"])

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(app, ["export", *words, "--config", str(self.folder / "sheetd.toml")])

    def json(self, *words: str) -> list[dict[str, Any]]:
        result = self.run("--json", *words)
        assert result.exit_code == 0, result.output
        return list(json.loads(result.stdout))

    def csv(self, *words: str) -> list[dict[str, str]]:
        result = self.run(*words)
        assert result.exit_code == 0, result.output
        return list(csv.DictReader(io.StringIO(result.stdout)))


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    return Lab(tmp_path)


def test_json_has_every_value_as_it_is(lab: Lab):
    first, second, third = lab.json()
    assert [row["id"] for row in (first, second, third)] == [lab.id_of(line) for line in lab.lines]
    assert [row["status"] for row in (first, second, third)] == ["succeeded", "failed", "unreachable"]
    assert [row["params"]["tag"] for row in (first, second, third)] == ["plain", "=1+1", "a,\n\u00e9"]
    assert (first["runtime_s"], first["exit_code"], second["exit_code"]) == (60.0, 0, 3)
    loss = {"last": 2.0, "min": 1.0, "max": 4.0, "mean": pytest.approx(7 / 3), "count": 3, "step": 2.0}
    assert first["metrics"]["loss"] == loss
    assert second["metrics"] == {}


def test_csv_has_a_column_for_every_parameter_and_metric_and_no_live_formula(lab: Lab):
    first, second, third = lab.csv()
    assert (first["tag"], second["tag"], third["tag"]) == ("plain", "'=1+1", "a,\n\u00e9")
    assert (first["loss"], first["loss:min"], first["acc"], first["metric acc"]) == ("2.0", "1.0", "l1", "0.5")
    assert second["loss"] == ""


@pytest.mark.parametrize("text", ["\n=1", " =1", "\u200b=1", "\x1b[0m=1", "\uff1d1", "\t+1", "-1", "@A1"])
def test_a_formula_is_quoted_whatever_is_before_it(text: str):
    assert as_csv([{**dict.fromkeys(FIXED, ""), "params": {"tag": text}, "metrics": {}}]).count("'") == 1


def test_a_terminal_gets_nothing_that_it_would_obey(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(export_module, "as_csv", lambda _: "a\x1b]52;c;aGk=\x07b\u202ec\n")
    assert lab.run().stdout == "a\x1b]52;c;aGk=\x07b\u202ec\n", "a program gets every byte"
    monkeypatch.setattr(export_module, "is_for_people", lambda _: True)
    assert lab.run().stdout == "abc\n"
    assert "\\u00e9" in lab.run("--json").stdout


def test_only_what_is_asked_for(lab: Lab):
    assert [row["status"] for row in lab.json("--status", "failed", "--status", "succeeded")] == ["succeeded", "failed"]
    assert lab.json("--template", "another") == []


def test_csv_can_be_asked_for_by_name_and_not_together_with_json(lab: Lab):
    assert lab.run("--csv").output == lab.run().output
    refused = lab.run("--csv", "--json")
    assert "leave one of them out" in str(refused.exception)


def test_a_file_is_written_in_the_format_of_its_name(lab: Lab, tmp_path: Path):
    result = lab.run("-o", str(tmp_path / "out.json"))
    assert result.exit_code == 0
    assert "3 experiments are in" in result.stderr.replace("\n", "")
    assert len(json.loads((tmp_path / "out.json").read_text())) == 3
    lab.run("-o", str(tmp_path / "out.csv"))
    assert (tmp_path / "out.csv").read_text().startswith("id,template,status,")


@pytest.mark.parametrize(
    ("name", "words"), [("out.xlsx", "name it .csv or .json"), ("no/such/out.csv", "cannot be written")]
)
def test_a_file_that_cannot_be_is_said_so(lab: Lab, tmp_path: Path, name: str, words: str):
    result = lab.run("-o", str(tmp_path / name))
    assert isinstance(result.exception, SheetdError)
    assert words in str(result.exception)
