"""Every verb, where there are several sheets: whose row it shows or changes, and what it says of the others."""

from __future__ import annotations

import csv
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sheetd import rows
from sheetd.build import build
from sheetd.cli.app import app
from sheetd.config import load_settings
from sheetd.core.events import HostActionConsumed, HostDrained
from sheetd.core.model import HostName
from sheetd.core.views import hosts_view, sheet_view, waits_view
from sheetd.door import listen_for_wakes
from sheetd.errors import ConfigError, SheetdError
from sheetd.journal import JOURNAL_NAME, SqliteJournal, hold
from sheetd.wishes import ProjectJournal, begin_with_drains
from tests.core.story import TRAIN, Story

NAMES = ("vision", "speech")
SHEETS = "".join(f'[[sheets]]\nname = "{name}"\n' for name in NAMES)
REST = '[daemon]\nstate_dir = "state"\n[[hosts]]\nname = "alpha"\nlocal = true\n'
TEMPLATE = 'command = ["true", "{lr}"]\n[params.lr]\ntype = "number"\n'


class Lab:
    """What a daemon of two sheets has left behind: in each a row that runs, and one that waits."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.config = folder / "sheetd.toml"
        (folder / "templates").mkdir()
        (folder / "templates" / "train.toml").write_text(TEMPLATE)
        self.config.write_text(SHEETS + REST)
        self.running = stack.enter_context(ExitStack())
        self.running.callback(hold(folder / "state").release)
        self.journals = {name: self.journal(name) for name in NAMES}
        self.ids = {name: self.tell(name, seed) for seed, name in enumerate(NAMES)}

    def journal(self, name: str) -> SqliteJournal:
        return self.running.enter_context(closing(ProjectJournal(self.folder / "state" / "projects" / name)))

    def tell(self, name: str, seed: int) -> list[str]:
        """The ids of the rows that this sheet has from now on."""
        story = Story(hosts={"alpha": 1}, templates=[TRAIN], seed=seed)
        lines = [story.table.type(template="train", lr=0.1 + number) for number in range(2)]
        story.wait(8)
        journal, now = self.journals[name], story.now()
        journal.append(story.events)
        for what, view in (
            ("hosts", hosts_view(story.world, now)),
            ("sheet", sheet_view(story.world)),
            ("waits", waits_view(story.world)),
        ):
            journal.cache_view(what, view)
        return [str(line["id"]) for line in lines]

    def look(self, *words: str) -> str:
        done = CliRunner().invoke(app, (*words, "--config", str(self.config)), catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    def data(self, *words: str) -> Any:
        return json.loads(self.look(*words, "--json"))

    def error(self, *words: str) -> str:
        with pytest.raises(SheetdError) as caught:
            CliRunner().invoke(app, (*words, "--config", str(self.config)), catch_exceptions=False)
        return str(caught.value)

    def pending(self, name: str) -> list[tuple[str, str]]:
        return [(one.action, one.subject) for one in self.journals[name].pending_requests()]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with ExitStack() as stack:
        yield Lab(tmp_path, stack)


def test_status_has_a_heading_for_each_and_json_their_names(lab: Lab) -> None:
    told = lab.look("status")
    head, vision, speech = told.split("\n\n")
    assert head.startswith("daemon running (process")
    for name, part in (("vision", vision), ("speech", speech)):
        lines = part.splitlines()
        assert lines[0] == name
        assert [id_ in part for other in NAMES for id_ in lab.ids[other]] == [n == name for n in NAMES for _ in "12"]
        assert lines[-1] == "running 1  waiting 1"
    data = lab.data("status")["sheets"]
    assert {name: [one["id"] for one in data[name]["experiments"]] for name in data} == lab.ids
    assert list(lab.data("status", "--sheet", "Speech")["sheets"]) == ["speech"]
    assert "vision" not in lab.look("status", "--sheet", "speech")


def test_status_says_of_which_sheet_something_is_wrong(lab: Lab) -> None:
    view = lab.data("status")["sheets"]["speech"]["sheet"]
    lab.journals["speech"].cache_view("sheet", {**view, "problem": "the tab was deleted", "halted": "a bug"})
    _, vision, speech = lab.look("status").split("\n\n")
    assert speech.splitlines()[1] == "sheet: the tab was deleted; stopped acting: a bug"
    assert "deleted" not in vision


def test_a_sheet_that_was_added_a_moment_ago_is_shown_as_not_served(lab: Lab) -> None:
    lab.config.write_text(SHEETS + '[[sheets]]\nname = "new"\n' + REST)
    assert lab.look("status").endswith("\nnew\nis not served yet: it is taken when sheetd is started again\n")
    assert list(lab.data("status")["sheets"]) == list(NAMES)
    assert len(lab.data("ls")) == 4
    assert "there is no journal" in lab.error("ls", "--sheet", "new")


def test_ls_and_export_say_whose_a_row_is(lab: Lab) -> None:
    assert [(row["sheet"], row["id"]) for row in lab.data("ls")] == [(n, id_) for n in NAMES for id_ in lab.ids[n]]
    assert lab.look("ls").splitlines()[1].startswith(f"vision  {lab.ids['vision'][0]}  running")
    assert {row["sheet"] for row in lab.data("ls", "--sheet", "speech")} == {"speech"}
    table = list(csv.DictReader(io.StringIO(lab.look("export"))))
    assert [(row["sheet"], row["id"]) for row in table] == [(n, id_) for n in NAMES for id_ in lab.ids[n]]
    assert [row["sheet"] for row in lab.data("export", "--sheet", "vision")] == ["vision"] * 2


@pytest.mark.parametrize("name", NAMES)
def test_what_is_asked_by_id_finds_the_sheet_by_itself(lab: Lab, name: str) -> None:
    other = next(one for one in NAMES if one != name)
    running, waiting = lab.ids[name]
    assert lab.data("explain", running)["status"] == "running"
    assert lab.data("explain", waiting, "--sheet", name)["status"] == "waiting"
    assert "was not launched yet" in lab.error("logs", waiting)
    for word in ("stop", "restart", "rerun"):
        asked = lab.data(word, running)["experiments"]
        assert [(one["id"], one["asked"]) for one in asked] == [(running, True)]
    assert lab.pending(name) == [(word, running) for word in ("stop", "restart", "rerun")]
    assert lab.pending(other) == []
    for word in ("explain", "logs", "stop", "restart", "rerun"):
        assert f"there is no experiment {running}" in lab.error(word, running, "--sheet", other)
        assert lab.error(word, "zzzzzz") == "there is no experiment zzzzzz in any of vision, speech: see `sheetd ls`"
        assert lab.error(word, running, "--sheet", "x").endswith("sheetd.toml: it names vision, speech")


def test_ids_of_two_sheets_are_asked_for_at_once_or_not_at_all(lab: Lab) -> None:
    both = [lab.ids[name][0] for name in NAMES]
    assert "zzzzzz" in lab.error("stop", *both, "zzzzzz")
    assert [lab.pending(name) for name in NAMES] == [[], []]
    lines = lab.look("stop", *both).splitlines()
    assert lines[:2] == [f"{id_} is being stopped" for id_ in both]
    assert [lab.pending(name) for name in NAMES] == [[("stop", lab.ids[name][0])] for name in NAMES]


def test_an_id_that_is_in_two_sheets_is_not_guessed(lab: Lab) -> None:
    lab.ids["speech"] = lab.tell("speech", seed=0)
    (id_, _) = lab.ids["speech"]
    assert lab.error("stop", id_) == f"{id_} is in several sheets: say which with --sheet, one of vision, speech"
    lab.look("stop", id_, "--sheet", "speech")
    assert [lab.pending(name) for name in NAMES] == [[], [("stop", id_)]]


def test_a_row_is_typed_only_where_it_is_clear_into_which_sheet(lab: Lab) -> None:
    says = "sheetd.toml has several sheets: say which with --sheet, one of vision, speech"
    assert lab.error("add", "lr=0.5").endswith(says)
    assert "there is no sheet x in" in lab.error("add", "lr=0.5", "--sheet", "x")
    with rows.connect(lab.config) as python, pytest.raises(SheetdError, match="say which with --sheet"):
        python.add(lr=0.5)
    with pytest.raises(SheetdError, match="there is no sheet x in"):
        rows.connect(lab.config, sheet="x")
    lab.running.close()  # else the built-in sheet would be the daemon's to serve
    typed = lab.data("add", "lr=0.5", "--sheet", "speech")
    assert typed["rows"] == [{"lr": "0.5"}]
    with rows.connect(lab.config, sheet="vision") as python:
        assert python.add(lr=0.75).rows == ({"lr": 0.75},)
        python.stop(lab.ids["vision"][0])
        with pytest.raises(SheetdError, match="there is no experiment"):
            python.stop(lab.ids["speech"][0])
    with rows.connect(lab.config) as python:
        python.restart(lab.ids["speech"][0])
    with ExitStack() as stack:
        lab.running = stack
        lab.journals = {name: lab.journal(name) for name in NAMES}
        assert lab.pending("vision") == [("stop", lab.ids["vision"][0])]
        assert lab.pending("speech") == [("restart", lab.ids["speech"][0])]


def test_what_is_wished_of_a_host_is_told_to_every_sheet_at_one_knock(lab: Lab) -> None:
    knocked = threading.Event()
    lab.running.callback(listen_for_wakes(lab.folder / "state", knocked.set))
    lab.look("host", "drain", "alpha")
    assert knocked.wait(10)
    for name in NAMES:
        assert lab.pending(name) == [("drain", "alpha")]


def test_a_sheet_that_has_stopped_acting_keeps_nobody_from_draining_a_host_for_the_others(lab: Lab) -> None:
    halted = {**lab.data("status")["sheets"]["vision"]["sheet"], "halted": "a bug"}
    lab.journals["vision"].cache_view("sheet", halted)
    lab.look("host", "drain", "alpha")
    assert lab.pending("speech") == [("drain", "alpha")]
    assert "has stopped acting: a bug" in lab.error("stop", lab.ids["vision"][0])
    lab.look("stop", lab.ids["speech"][0])
    lab.journals["speech"].cache_view("sheet", halted)
    assert "has stopped acting: a bug" in lab.error("host", "drain", "alpha")


def test_hosts_are_shown_with_what_every_sheet_has_there(lab: Lab) -> None:
    (host,) = lab.data("hosts")["hosts"]
    assert set(host["held"].values()) <= {f"{lab.ids[name][0]}.1" for name in NAMES}
    assert host["held"]


def test_a_host_is_not_removed_while_the_last_of_the_sheets_has_something_there(lab: Lab) -> None:
    assert lab.ids["speech"][0] in lab.error("host", "remove", "alpha")


def test_the_doctor_looks_at_every_sheet(lab: Lab) -> None:
    told = CliRunner().invoke(app, ("doctor", "--json", "--config", str(lab.config))).output
    found = {one["what"]: one["ok"] for one in json.loads(told)}
    assert found["sheet (vision)"]
    assert found["sheet (speech)"]


def test_a_sheet_that_was_taken_out_while_it_had_something_on_hosts_is_not_forgotten(lab: Lab) -> None:
    assert "nobody looks after" not in lab.look("status")
    lab.config.write_text('[[sheets]]\nname = "vision"\n' + REST)
    says = f"any more, and nobody looks after what it had on hosts: {lab.ids['speech'][0]}. Put it back"
    assert f'the sheet "speech" is not in {lab.config} {says}' in lab.look("status")
    told = json.loads(CliRunner().invoke(app, ("doctor", "--json", "--config", str(lab.config))).output)
    assert [says in one["detail"] for one in told if not one["ok"]] == [True]
    lab.running.close()
    service = build(load_settings(lab.config))
    service.close()
    assert [says in text for text in service.problems] == [True]


def test_a_word_in_the_tab_of_hosts_is_passed_on_before_it_is_recorded(lab: Lab) -> None:
    woken: list[int] = []
    vision, speech = (lab.journals[name] for name in NAMES)
    assert isinstance(vision, ProjectJournal)
    assert isinstance(speech, ProjectJournal)
    vision.pass_on([speech], lambda: woken.append(1))
    vision.append([HostActionConsumed(host=HostName("alpha"), action="drain")])
    vision.append([HostActionConsumed(host=HostName("alpha"), action="resume", obeyed=False)])
    assert lab.pending("speech") == [("drain", "alpha")]
    assert lab.pending("vision") == []
    assert woken == [1]


def test_a_new_sheet_begins_with_the_drains_of_the_others(lab: Lab) -> None:
    lab.journals["vision"].append([HostDrained(host=HostName("alpha"), by="kim")])
    lab.journals["new"] = lab.journal("new")
    begin_with_drains(list(lab.journals.values()))
    assert [(one.action, one.subject, one.by) for one in lab.journals["new"].pending_requests()] == [
        ("drain", "alpha", "kim")
    ]
    assert lab.pending("speech") == []


def test_a_project_that_was_the_only_one_is_not_forgotten(tmp_path: Path, load_and_build: Callable[[], None]) -> None:
    with SqliteJournal(tmp_path / "state"):
        pass
    with pytest.raises(ConfigError, match=r"holds the journal of the sheet that was \[sheet\].* Put \[sheet\] back"):
        load_and_build()
    (tmp_path / "state" / JOURNAL_NAME).unlink()
    load_and_build()


@pytest.fixture
def load_and_build(tmp_path: Path) -> Callable[[], None]:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "train.toml").write_text(TEMPLATE)
    (tmp_path / "sheetd.toml").write_text(SHEETS + REST)
    return lambda: build(load_settings(tmp_path / "sheetd.toml")).close()
