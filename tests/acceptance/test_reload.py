"""The operator edits files while a real daemon runs (fault M15)."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import sheet_section
from tests.acceptance.person import Person
from tests.acceptance.project import TEMPLATE, Project
from tests.rig.waiting import wait_for
from tests.sheets.builtin_rig import Address

HERE = '[[hosts]]\nname = "here"\nlocal = true\nslots = 1\nroot = "root"\n'
THERE = '[[hosts]]\nname = "there"\nlocal = true\nslots = 1\nroot = "root2"\n'
FAILS = TEMPLATE.replace('default = "succeed"', 'default = "fail"')


class Operator:
    """Edits the files of a project whose daemon runs, and looks at it from a terminal."""

    def __init__(self, project: Project, person: Person, head: str) -> None:
        self.project, self.person = project, person
        self._head = f'[sheet]\n{head}\n[daemon]\nstate_dir = "state"\n'

    def save(self, hosts: str, *, head: str = "") -> None:
        self.project.config.write_text((head or self._head) + hosts)

    def save_template(self, text: str) -> None:
        home = self.project.folder.parent / "home"
        (self.project.folder / "templates" / "job.toml").write_text(text.format(home=home))

    def hang_up(self) -> None:
        assert self.project.process is not None
        self.project.process.send_signal(signal.SIGHUP)

    def status(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.project.command("status", "--json"))
        return told

    def mistakes(self) -> list[str]:
        found: list[str] = self.status()["configuration"].get("mistakes", [])
        return found

    def is_said(self, words: str, *, taken: int = 1) -> bool:
        """Whether the daemon's log says so, so often."""
        return (self.project.folder / "daemon.log").read_text().count(words) >= taken

    def row(self, token: str) -> dict[str, str]:
        return next((row for row in self.person.rows() if row["token"] == token), {})

    def shows(self, token: str, status: str, host: str = "") -> bool:
        row = self.row(token)
        return row.get("status") == status and (not host or row.get("host") == host)


@pytest.fixture
def operator(tmp_path: Path, address: Address, person: Person) -> Iterator[Operator]:
    (tmp_path / "home").mkdir()
    head = sheet_section(address.base_url, address)
    project = Project(tmp_path / "lab", home=str(tmp_path / "home"), sheet=head, hosts=HERE)
    try:
        project.begin()
        yield Operator(project, person, head)
    finally:
        project.stop_everything()
        project.close()


def test_the_next_row_is_run_by_the_edited_template_and_the_running_one_by_its_own(operator: Operator) -> None:
    operator.person.type_rows([{"token": "before", "seconds": 8}])
    wait_for(lambda: operator.shows("before", "running"), "the first row runs")
    operator.save_template(FAILS)
    wait_for(lambda: operator.is_said("read anew: template job"), "the daemon has looked")
    operator.person.type_rows([{"token": "after", "seconds": 0}])
    wait_for(lambda: operator.shows("before", "succeeded"), "the running one ends as it was started", within_s=30)
    wait_for(lambda: operator.shows("after", "failed"), "the next one does what the template says now", within_s=30)


def test_a_file_with_a_mistake_counts_as_it_was_and_status_names_file_and_key(operator: Operator) -> None:
    operator.save(HERE.replace("slots = 1", "slots = 0"))
    wait_for(lambda: operator.is_said("hosts #1.slots"), "the daemon has looked")
    config = operator.project.config
    place = next(n for n, line in enumerate(config.read_text().splitlines(), 1) if line == "slots = 0")
    (mistake,) = operator.mistakes()
    assert mistake.startswith(f"{config}:{place}: hosts #1.slots: ")
    shown = operator.project.command("status")
    assert mistake in shown.replace("\n", "")
    assert "until that is put right, the daemon goes by what the file said before" in shown
    operator.person.type_rows([{"token": "meanwhile", "seconds": 0}])
    wait_for(lambda: operator.shows("meanwhile", "succeeded", "here"), "rows run on meanwhile", within_s=30)
    operator.save(HERE.replace("slots = 1", "slots = 2"))
    wait_for(lambda: operator.is_said("read anew: host here"), "it is put right")
    wait_for(lambda: operator.mistakes() == [], "status says no more of it")


def test_a_template_with_a_mistake_counts_as_it_was(operator: Operator) -> None:
    operator.save_template(TEMPLATE.replace("max = 1", "max = -1"))
    wait_for(lambda: operator.is_said("restarts.max"), "the daemon has looked")
    wait_for(lambda: any("job.toml:3: restarts.max: " in one for one in operator.mistakes()), "status says so")
    operator.person.type_rows([{"token": "meanwhile", "seconds": 0}])
    wait_for(lambda: operator.shows("meanwhile", "succeeded"), "rows run on by the last good one", within_s=30)


def test_a_host_that_is_added_gets_what_waits(operator: Operator) -> None:
    operator.person.type_rows([{"token": "first", "seconds": 600}, {"token": "second", "seconds": 600}])
    wait_for(lambda: operator.shows("first", "running") or operator.shows("second", "running"), "one runs")
    operator.save(HERE + THERE)
    for token in ("first", "second"):
        wait_for(lambda token=token: operator.shows(token, "running"), f"{token} runs", within_s=30)
    assert {operator.row("first")["host"], operator.row("second")["host"]} == {"here", "there"}


def test_what_runs_on_a_host_that_is_taken_out_goes_on_and_is_found_again(operator: Operator) -> None:
    operator.person.type_rows([{"token": "long", "seconds": 8}])
    wait_for(lambda: operator.shows("long", "running", "here"), "it runs")
    operator.save(THERE)
    wait_for(lambda: operator.shows("long", "unreachable"), "the row says so")
    assert "here is no longer in sheetd.toml: put it back" in operator.row("long")["message"]
    operator.person.type_rows([{"token": "next", "seconds": 0}])
    wait_for(lambda: operator.shows("next", "succeeded", "there"), "others run elsewhere", within_s=30)
    operator.save(HERE + THERE)
    wait_for(lambda: operator.shows("long", "succeeded", "here"), "it went on all the time", within_s=30)
    starts = (operator.project.folder.parent / "home" / "starts").read_text()
    assert starts.count("long ") == 1


def test_a_hangup_has_the_files_read_at_once_and_does_not_end_the_daemon(operator: Operator) -> None:
    operator.save_template(FAILS)
    operator.hang_up()
    wait_for(lambda: operator.is_said("read anew: template job"), "the daemon has looked", within_s=5)
    assert operator.project.process is not None
    assert operator.project.process.poll() is None


def test_what_takes_a_restart_is_named_and_the_rest_of_the_file_is_taken(operator: Operator) -> None:
    operator.save(
        HERE.replace("slots = 1", "slots = 2"), head=operator._head.replace("[daemon]", 'tab = "Other"\n[daemon]')
    )
    wait_for(lambda: operator.is_said("read anew: host here"), "the host's slots are taken")
    wait_for(
        lambda: (
            operator.status()["configuration"]["at_restart"]
            == [f"{operator.project.config}: sheet.tab: was changed, and is taken when sheetd is started again"]
        ),
        "status names the key",
    )
    operator.person.type_rows([{"token": "still", "seconds": 0}])
    wait_for(lambda: operator.shows("still", "succeeded"), "the tab is served on", within_s=30)


def test_a_terminal_that_is_closed_ends_the_daemon_as_it_ends_whatever_runs_there(operator: Operator) -> None:
    operator.project.stop()
    ours, theirs = os.openpty()
    operator.project.start(stdin=theirs)
    os.close(theirs)
    try:
        operator.person.type_rows([{"token": "before", "seconds": 0}])
        wait_for(lambda: operator.shows("before", "succeeded"), "it works")
    finally:
        os.close(ours)
    operator.hang_up()  # as the kernel does for whoever leads the terminal's session
    assert operator.project.process is not None
    assert operator.project.process.wait(20) == 0
