"""Two sheets under one daemon: each has its rows, its journal and its attempts, whatever happens to the other."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sheetd.cli.picture import take_picture
from sheetd.config import load_settings
from sheetd.door import KEY_NAME, URL_NAME
from sheetd.errors import SheetdError
from tests.acceptance import project
from tests.acceptance.person import Person
from tests.acceptance.project import Project
from tests.needs import needs_sshd
from tests.rig.light_sshd import LightSshd
from tests.rig.waiting import wait_for
from tests.sheets.builtin_rig import Address

SHEETS = ("vision", "speech")
QUICK = "poll_s = 0.3\nsettle_s = 0.6\n"
HOSTS = "".join(f'[[hosts]]\nname = "{name}"\nlocal = true\nslots = 2\nroot = "{name}"\n' for name in ("left", "right"))


#: As any job of these tests; and one that starts while another one runs says so.
PROGRAM = (
    """\
import fcntl, os, sys
lock = open(os.path.join(sys.argv[1], "lock"), "w")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    with open(os.path.join(sys.argv[1], "overlaps"), "a") as overlaps:
        overlaps.write(sys.argv[2] + "\\n")
"""
    + project.PROGRAM
)


class Lab(Project):
    """Two built-in sheets, which are two tabs of one spreadsheet."""

    def __init__(self, folder: Path, home: Path, *, hosts: str = HOSTS, daemon: str = "") -> None:
        super().__init__(folder, home=str(home), sheet="", hosts=hosts, program=PROGRAM)
        self.home = home
        self._rest = f'[daemon]\nstate_dir = "state"\n{daemon}{hosts}'
        self.write("".join(f'[[sheets]]\nname = "{name}"\n{QUICK}' for name in SHEETS))

    def write(self, sheets: str) -> None:
        self.config.write_text(sheets + self._rest)

    def begin(self) -> None:
        self.start()
        self.await_address()

    def await_address(self) -> None:
        wait_for((self.state / URL_NAME).exists, "the sheet is served")
        wait_for(lambda: self.status()[SHEETS[0]]["daemon"] is not None, "the daemon is there")

    def add(self, sheet: str, token: str, seconds: float = 0.5, **more: str) -> str:
        """A row, typed by the command; the id that it was given."""
        words = [f"{name}={value}" for name, value in {"token": token, "seconds": str(seconds), **more}.items()]
        ids: list[str] = json.loads(self.command("add", "--sheet", sheet, "--wait", "--json", *words))["ids"]
        return ids[0]

    def status(self) -> dict[str, Any]:
        told = self.command("status", "--json", check=False)
        found: dict[str, Any] = json.loads(told)["sheets"] if told else {name: {"daemon": None} for name in SHEETS}
        return found

    def rows(self) -> dict[str, dict[str, str]]:
        """The status of each experiment, by its token, by the name of its sheet."""
        return {
            name: {one["params"]["token"]: one["status"] for one in told["experiments"]}
            for name, told in self.status().items()
        }

    def starts(self) -> list[str]:
        """The token of each start of a job, in their order."""
        file = self.home / "starts"
        return [line.split()[0] for line in file.read_text().splitlines()] if file.exists() else []

    def tab(self, title: str) -> Person:
        """Somebody in front of this tab."""
        address, token = (self.state / URL_NAME).read_text().strip().split("/?token=")
        key = (self.state / KEY_NAME).read_text().strip()
        return Person(Address(base_url=address, token=token.split("&")[0], key=key), title)

    def stop_everything(self) -> None:
        try:
            pictures = [take_picture(one) for one in load_settings(self.config).projects]
        except SheetdError:
            return
        live = [id_ for picture in pictures for id_ in picture.world.state.open]
        if live:
            if self.process is None or self.process.poll() is not None:
                self.start()
            self.command("stop", *live)
            wait_for(lambda: not any(_open(one) for one in load_settings(self.config).projects), "all is stopped")
            self.stop()

    def overlaps(self) -> list[str]:
        """Jobs that ran while another one did."""
        file = self.home / "overlaps"
        return file.read_text().splitlines() if file.exists() else []


def _open(settings: Any) -> bool:
    return bool(take_picture(settings).world.state.open)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    home = tmp_path / "home"
    home.mkdir()
    lab = Lab(tmp_path / "lab", home)
    try:
        yield lab
    finally:
        lab.stop_everything()
        lab.close()


@pytest.mark.timeout(180)
def test_rows_of_both_sheets_end_once_through_kills_of_the_daemon(lab: Lab) -> None:
    lab.begin()
    for number in range(3):
        for sheet in SHEETS:
            lab.add(sheet, f"{sheet}-{number}", 2.0)
    for _ in range(2):
        done = len(lab.starts())
        wait_for(lambda done=done: len(lab.starts()) > done or done >= 6, "another job has started")
        lab.kill()
        lab.begin()
    wanted = {sheet: {f"{sheet}-{number}": "succeeded" for number in range(3)} for sheet in SHEETS}
    wait_for(lambda: lab.rows() == wanted, "all rows of both sheets have succeeded", within_s=60)
    assert sorted(lab.starts()) == sorted(token for rows in wanted.values() for token in rows)
    for sheet in SHEETS:
        shown = {row["token"]: row["status"] for row in lab.tab(sheet).rows()}
        assert shown == wanted[sheet]
        assert (lab.state / "projects" / sheet / "journal.sqlite").exists()
    roots = {path.name for host in ("left", "right") for path in (lab.folder / host / "projects").glob("*")}
    assert roots == set(SHEETS)
    told = lab.command("status")
    assert told.startswith("daemon running")
    assert told.index("\nvision\n") < told.index("\nspeech\n")
    assert lab.stop() == 0


@pytest.mark.timeout(120)
def test_what_is_asked_of_one_id_is_done_in_its_sheet_alone(lab: Lab) -> None:
    lab.begin()
    ids = {sheet: lab.add(sheet, sheet, 60.0) for sheet in SHEETS}
    wait_for(lambda: lab.rows() == {"vision": {"vision": "running"}, "speech": {"speech": "running"}}, "both run")
    lab.command("stop", ids["speech"])
    wait_for(lambda: lab.rows()["speech"] == {"speech": "stopped"}, "the one is stopped")
    done = lab.add("speech", "done", 0.1)
    wait_for(lambda: lab.rows()["speech"]["done"] == "succeeded", "another one has run")
    assert "the end of done" in lab.command("logs", done)
    assert lab.rows()["vision"] == {"vision": "running"}
    assert json.loads(lab.command("explain", ids["vision"], "--json"))["status"] == "running"
    assert sorted(lab.starts()) == sorted([*SHEETS, "done"])


@pytest.mark.timeout(120)
def test_a_tab_that_is_gone_stops_its_own_sheet_alone(lab: Lab) -> None:
    lab.begin()
    lab.add("speech", "before")
    person = lab.tab("speech")
    person.spreadsheet.del_worksheet(person.tab)
    wait_for(lambda: "was deleted" in str(lab.status()["speech"]["sheet"]["problem"]), "the loss is told")
    lab.add("vision", "goes-on")
    wait_for(lambda: lab.rows()["vision"] == {"goes-on": "succeeded"}, "the other sheet goes on")
    assert lab.status()["vision"]["sheet"]["problem"] in (None, "")
    assert lab.stop() == 0


@pytest.mark.timeout(120)
def test_a_second_sheet_is_added_to_the_first_which_keeps_what_it_has(lab: Lab) -> None:
    lab.write(f"[sheet]\n{QUICK}")
    lab.start()
    wait_for((lab.state / URL_NAME).exists, "the sheet is served")
    (first,) = json.loads(lab.command("add", "--wait", "--json", "token=old", "seconds=40"))["ids"]
    wait_for(lambda: lab.starts() == ["old"], "it runs")
    lab.write(f'[sheet]\n{QUICK}[[sheets]]\nname = "speech"\n{QUICK}')
    said = 'the sheet "speech" is new, and is taken when sheetd is started again'
    wait_for(lambda: said in lab.command("status"), "the restart is asked for")
    assert lab.stop() == 0
    lab.start()
    wait_for(lambda: lab.command("status", "--json").count('"daemon": "process') == 2, "both are served")
    second = lab.add("speech", "new")
    wait_for(lambda: lab.rows() == {"main": {"old": "running"}, "speech": {"new": "succeeded"}}, "both are served")
    lab.command("stop", first)
    wait_for(lambda: lab.rows()["main"] == {"old": "stopped"}, "the first is stopped by its id")
    assert sorted(lab.starts()) == ["new", "old"]
    assert {one["sheet"] for one in json.loads(lab.command("ls", "--json"))} == {"main", "speech"}
    assert second in lab.command("ls", "--sheet", "speech")
    assert first not in lab.command("ls", "--sheet", "speech")


@pytest.mark.timeout(120)
def test_a_sheet_under_another_name_does_not_run_again_what_runs_in_the_folders_of_the_old_one(lab: Lab) -> None:
    lab.begin()
    lab.add("vision", "long", 40.0)
    wait_for(lambda: lab.starts() == ["long"], "it runs")
    was = lab.config.read_text()
    assert lab.stop() == 0
    lab.config.write_text(was.replace('name = "vision"', 'name = "images"\ntab = "vision"'))
    lab.start()
    why = "under another name of the sheet: give it that name again"
    wait_for(lambda: why in lab.command("status", check=False), "the name is asked for")
    lab.add("speech", "beside")
    wait_for(lambda: lab.starts() == ["long", "beside"], "the other sheet works")
    assert lab.stop() == 0
    lab.config.write_text(was)
    lab.start()
    wait_for(lambda: lab.rows().get("vision") == {"long": "running"}, "it is known again")
    assert lab.starts() == ["long", "beside"]


@needs_sshd
@pytest.mark.timeout(240)
def test_one_slot_on_a_host_over_ssh_is_never_used_by_two_sheets_though_the_daemon_is_killed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with LightSshd(tmp_path) as server:
        hosts = f'[[hosts]]\nname = "{server.alias}"\nslots = 1\n'
        lab = Lab(tmp_path / "lab", home, hosts=hosts, daemon=f'ssh_config = "{server.ssh_config}"\n')
        try:
            lab.begin()
            for number in range(2):
                for sheet in SHEETS:
                    lab.add(sheet, f"{sheet}-{number}", 2.0)
            for _ in range(3):
                done = len(lab.starts())
                wait_for(lambda done=done: len(lab.starts()) > done or done >= 4, "another job has started")
                lab.kill()
                lab.begin()
            wanted = {sheet: {f"{sheet}-{number}": "succeeded" for number in range(2)} for sheet in SHEETS}
            wait_for(lambda: lab.rows() == wanted, "all rows of both sheets have succeeded", within_s=90)
            assert sorted(lab.starts()) == sorted(token for rows in wanted.values() for token in rows)
            assert lab.overlaps() == []
            roots = list((server.home / ".local/state/sheetd").glob("*/projects/*"))
            assert {root.name for root in roots} == set(SHEETS)
            assert lab.stop() == 0
        finally:
            lab.stop_everything()
            lab.close()


def test_the_service_manager_hears_of_both_sheets_as_of_one_daemon(lab: Lab) -> None:
    path = str(lab.folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(30)
        lab.start(NOTIFY_SOCKET=path, WATCHDOG_USEC="300000")
        assert manager.recv(100) == b"READY=1"
        assert [manager.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        assert lab.stop() == 0
        manager.setblocking(False)
        said = []
        with suppress(BlockingIOError):
            while True:
                said.append(manager.recv(100))
    assert [word for word in said if word != b"WATCHDOG=1"] == [b"STOPPING=1"]
