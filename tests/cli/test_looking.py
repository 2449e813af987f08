"""What `sheetd explain`, `hosts` and `status` show of what a daemon has recorded and told, in its own words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sheetd.cli.app import app
from sheetd.core.model import HostName
from sheetd.core.observation import AttemptSeen, Seen
from sheetd.core.views import hosts_view, sheet_view, waits_view
from sheetd.journal import SqliteJournal
from tests.core.story import TRAIN, Story

ALPHA = HostName("alpha")
LONG_AGO_S = 1.7e9
Look = Callable[..., str]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    """As long as it is open, a daemon runs."""
    (tmp_path / "templates").mkdir()
    (tmp_path / "sheetd.toml").write_text('[daemon]\nstate_dir = "state"\n[[hosts]]\nname = "alpha"\nlocal = true\n')
    with SqliteJournal(tmp_path / "state", wall_s=lambda: LONG_AGO_S) as journal:
        yield journal


@pytest.fixture
def look(tmp_path: Path) -> Look:
    def look(*words: str) -> str:
        words = (*words, "--config", str(tmp_path / "sheetd.toml"))
        return CliRunner().invoke(app, words, catch_exceptions=False).output

    return look


def tell(story: Story, journal: SqliteJournal) -> None:
    """Leave behind what the daemon of this story would have."""
    journal.append(story.events)
    world, now = story.world, story.now()
    views: dict[str, dict[str, Any]] = {
        "hosts": hosts_view(world, now),
        "sheet": sheet_view(world),
        "waits": waits_view(world),
    }
    for name, view in views.items():
        journal.cache_view(name, view)


def test_explain_says_all_of_why_a_host_is_quarantined_and_the_row_the_gist(journal: SqliteJournal, look: Look) -> None:
    story = Story(hosts={"alpha": 3}, templates=[TRAIN])
    lines = [story.table.type(template="train", lr=0.1 + number) for number in range(3)]
    story.wait(8)
    for line in lines:
        attempt = story.experiment(line).attempt
        assert attempt is not None
        story.report(attempt.id, AttemptSeen(state=Seen.LOST))
    story.wait(10)
    tell(story, journal)
    (host,) = json.loads(look("hosts", "--json"))["hosts"]
    told = json.loads(look("explain", story.experiment(lines[0]).id, "--json"))
    assert told["message"] == lines[0]["message"], "the row's pause before it is launched again is over"
    assert told["message"].endswith("(3 attempts ended by its fault)")
    assert told["waits"]["hosts"][0]["says"] == f"is {host['why']}"
    assert "the last: its processes vanished from alpha" in host["why"]


def test_the_table_of_hosts_has_every_word_there_is(journal: SqliteJournal, look: Look) -> None:
    story = Story(hosts={"alpha": 1}, templates=[TRAIN])
    story.world.hosts[ALPHA].closed = "it is the same machine as beta"
    tell(story, journal)
    assert "closed" in look("hosts")


def test_status_says_above_the_table_why_the_sheet_is_left_alone(journal: SqliteJournal, look: Look) -> None:
    story = Story(hosts={"alpha": 1}, templates=[TRAIN])
    story.table.type(template="train", lr=0.1)
    story.wait(8)
    tell(story, journal)
    assert "left alone" not in look("status")
    assert json.loads(look("status", "--json"))["sheet"]["unclear"] == ""

    story.table.header[story.table.header.index("host")] = "status"
    story.table.changed()
    story.wait(8)
    journal.cache_view("sheet", sheet_view(story.world))
    why = 'columns F and H are both called "status": rename one of them'
    says = f"the sheet is left alone: {why}; until then no row is taken in and no cell written, and what runs goes on"
    headline, line, *_, counts = look("status").splitlines()
    assert (headline.startswith("daemon running"), line, counts) == (True, says, "running 1")
    assert json.loads(look("status", "--json"))["sheet"]["unclear"] == why
    assert says in look("explain", story.table.lines[0]["id"]), "who asks about a row hears of it, too"


def test_a_row_of_several_runs_is_told_with_each_of_them(journal: SqliteJournal, look: Look) -> None:
    story = Story(hosts={"alpha": 3}, templates=[TRAIN])
    line = story.table.type(template="train", lr="{0.1 | 0.2}")
    story.wait(8)
    story.exits(f"{line['id']}-2.1", rc=1)
    story.wait(8)
    tell(story, journal)
    id_ = str(line["id"])
    rows = json.loads(look("ls", "--json"))
    assert [(row["id"], row["group"], row["status"]) for row in rows] == [
        (id_, None, "running"),
        (f"{id_}-1", id_, "running"),
        (f"{id_}-2", id_, "failed"),
    ]
    assert rows[0]["message"] == line["message"] == f"0 of 2 done, 1 running, 1 failed; {id_}-2: exit code 1"
    told = json.loads(look("explain", id_, "--json"))
    assert [run["params"]["lr"] for run in told["runs"]] == [0.1, 0.2]
    assert f"{id_}-2 failed" in " ".join(look("explain", id_).split())
    assert json.loads(look("explain", f"{id_}-2", "--json"))["attempts"][0]["reason"] == "failed"
    assert [row["id"] for row in json.loads(look("export", "--json"))] == [f"{id_}-1", f"{id_}-2"]
    assert "running 1  failed 1" in look("status")


def test_status_shows_the_meter_of_the_quota_and_how_long_the_sheet_is_out_of_use(
    journal: SqliteJournal, look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sheetd.clock.SystemClock.wall_s", lambda _: LONG_AGO_S)
    story = Story(hosts={"alpha": 1}, templates=[TRAIN])
    tell(story, journal)
    assert "Google" not in look("status"), "the built-in sheet has no quota"
    assert json.loads(look("status", "--json"))["quota"] is None

    quota = {"reads": 24, "writes": 1, "allowed": 30}
    journal.cache_view("quota", quota)
    assert "Google" not in look("status"), "nor has one that took the place of a Google sheet"
    key = tmp_path / "key.json"
    key.touch(mode=0o600)
    google = f'[sheet]\nurl = "https://docs.google.com/spreadsheets/d/{"k" * 44}/edit"\ncredentials = "{key}"\n'
    config = tmp_path / "sheetd.toml"
    config.write_text(google + config.read_text())
    trouble = {"problem": "no answer", "out_since_wall_s": LONG_AGO_S - 840.0}
    journal.cache_view("sheet", {**sheet_view(story.world), **trouble})
    headline, _, meter, *_ = look("status").splitlines()
    assert headline.endswith("sheet: no answer (for 14 min)")
    assert meter == "Google: 24 reads and 1 write in the last minute; 30 each is half of what Google grants"
    assert json.loads(look("status", "--json"))["quota"] == quota
