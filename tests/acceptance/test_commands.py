"""The commands of another process tell the truth: while the daemon runs, and after it was killed."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import termios
import unicodedata
from pathlib import Path

import pytest

from sheetd import rows
from sheetd.errors import SheetdError
from tests.acceptance.conftest import sheet_section
from tests.acceptance.person import HEADER, Person
from tests.acceptance.project import Project
from tests.needs import needs_sshd
from tests.rig.light_sshd import LightSshd
from tests.rig.waiting import wait_for
from tests.sheets.builtin_rig import Address


def statuses(person: Person) -> dict[str, str]:
    return {row["token"]: row["status"] for row in person.rows() if row["token"]}


def seen_by_status(lab: Project) -> dict[str, str]:
    told = json.loads(lab.command("status", "--json"))
    return {row["params"]["token"]: row["status"] for row in told["experiments"]}


def test_status_shows_the_truth_while_the_daemon_runs_and_after_it_was_killed(lab: Project, person: Person) -> None:
    person.type_rows(
        [{"token": "long", "seconds": 60}, {"token": "short", "seconds": 0.1}, {"token": "third", "seconds": 60}]
    )
    person.type_rows([{"token": "fourth", "seconds": 60}])
    lab.start()
    wanted = {"long": "running", "short": "succeeded", "third": "running", "fourth": "waiting"}
    wait_for(lambda: statuses(person) == wanted, "three rows have found their place", within_s=30)
    assert seen_by_status(lab) == wanted
    assert json.loads(lab.command("status", "--json"))["daemon"].startswith("process ")
    hosts = json.loads(lab.command("hosts", "--json"))["hosts"]
    assert [(host["host"], host["state"], len(host["held"])) for host in hosts] == [("here", "up", 2)]
    assert "2 of 2 are taken" in lab.command("status")

    lab.kill()
    told = json.loads(lab.command("status", "--json"))
    assert told["daemon"] is None
    by_token = {row["params"]["token"]: row for row in told["experiments"]}
    assert by_token["short"]["status"] == "succeeded"
    assert by_token["long"]["status"] == "unreachable"
    assert "daemon is not running" in by_token["long"]["message"]
    assert "not running" in lab.command("status")


def test_a_daemon_that_is_aborted_leaves_the_stack_of_each_thread(lab: Project) -> None:
    """As systemd's watchdog aborts one whose loop has stopped."""
    lab.begin()
    # A thread that is being started at that very moment has no stack, and would get the signal in one of twenty runs.
    wait_for(lambda: json.loads(lab.command("hosts", "--json"))["hosts"][0]["state"] == "up", "the daemon is at rest")
    assert lab.process is not None
    lab.process.send_signal(signal.SIGABRT)
    assert lab.process.wait(20) == -signal.SIGABRT
    log = (lab.folder / "daemon.log").read_text()
    assert "Fatal Python error: Aborted" in log
    assert "daemon.py" in log.partition("Current thread")[2], "the loop's own"
    assert log.count("\nThread 0x") > 1, "and the others'"


def test_jobs_outlive_the_daemon_and_are_taken_over_by_the_next(lab: Project, person: Person) -> None:
    person.type_rows([{"token": "long", "seconds": 4}])
    lab.start()
    wait_for(lambda: statuses(person)["long"] == "running", "the row runs", within_s=30)
    assert lab.stop() == 0, "a clean end on SIGTERM"
    lab.start()
    wait_for(lambda: statuses(person)["long"] == "succeeded", "the row ends under the second daemon", within_s=30)
    starts = (lab.folder.parent / "home" / "starts").read_text().splitlines()
    assert len(starts) == 1, "it was started once"
    assert [row["loss"] for row in person.rows()] == ["0.1"], "what it reported meanwhile arrived"


def command_of_a_small_terminal(lab: Project, *argv: str) -> subprocess.CompletedProcess[str]:
    full = [sys.executable, "-m", "sheetd", *argv, "--config", str(lab.config)]
    env = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1"}
    return subprocess.run(full, capture_output=True, text=True, env=env, timeout=60, check=False)


def test_status_fits_a_terminal_of_80_columns_and_shows_rows_that_were_not_accepted(
    lab: Project, person: Person
) -> None:
    person.type_rows([{"token": "good", "seconds": 60}, {"token": "bad", "seconds": "0,1"}])
    lab.start()
    wanted = {"good": "running", "bad": "invalid"}
    wait_for(lambda: statuses(person) == wanted, "one row runs, one is refused", within_s=30)
    row = next(row for row in person.rows() if row["token"] == "bad")
    draft = {"status": "invalid", "message": row["message"]}
    wait_for(
        lambda: json.loads(lab.command("status", "--json"))["drafts"] == {row["id"]: draft},
        "the refused row is told of, in the words of the sheet",
    )
    said = command_of_a_small_terminal(lab, "status").stdout
    lines = said.splitlines()
    assert max(map(len, lines)) <= 80
    place = next(index for index, line in enumerate(lines) if line.startswith(row["id"]))
    assert lines[place].split() == [row["id"], "invalid"]
    below = " ".join(line.strip() for line in lines[place + 1 :] if line.startswith("    "))
    assert row["message"] in below, "whole, below its row"
    assert lines[-1] == "running 1  invalid 1"
    for verb in ("stop", "logs"):
        done = command_of_a_small_terminal(lab, verb, row["id"])
        assert done.returncode == 1
        assert f"{row['id']} was not accepted yet: {row['message']}" in done.stderr


def test_restart_and_rerun_begin_an_experiment_again_and_wait_for_a_daemon(lab: Project, person: Person) -> None:
    person.type_rows([{"token": "one", "seconds": 0.1}])
    lab.start()
    wait_for(lambda: statuses(person) == {"one": "succeeded"}, "it has run", within_s=30)
    (row,) = person.rows()

    def attempt() -> float:
        return float(person.rows()[0]["attempt"] or 0)

    assert f"{row['id']} is being restarted from its last checkpoint" in lab.command("restart", row["id"])
    wait_for(lambda: (attempt(), statuses(person)["one"]) == (2, "succeeded"), "again", within_s=30)
    told = json.loads(lab.command("rerun", row["id"], "--json"))
    assert (told["action"], told["daemon_runs"], told["experiments"][0]["asked"]) == ("rerun", True, True)
    wait_for(lambda: (attempt(), statuses(person)["one"]) == (3, "succeeded"), "from nothing", within_s=30)
    person.type_rows([{"token": "one", "seconds": 0.1}])
    wait_for(lambda: "already ran in row 2" in person.rows()[1]["message"], "its like waits", within_s=30)
    assert "is being run again" in lab.command("rerun", person.rows()[1]["id"])
    wait_for(lambda: person.rows()[1]["status"] == "succeeded", "and is begun", within_s=30)
    person.tab.delete_rows(3)
    person.typed.pop()
    for verb in ("restart", "rerun"):
        done = command_of_a_small_terminal(lab, verb, "nosuch")
        assert done.returncode == 1
        assert "there is no experiment nosuch" in done.stderr
    lab.stop()
    for _ in range(2):
        said = " ".join(lab.command("rerun", row["id"]).split())
        assert "The daemon is not running; it will run them again as soon as it is" in said
    shown, *_ = json.loads(lab.command("ls", "--json"))
    assert shown["message"] == "will be run again when the daemon runs"
    with rows.connect(lab.config) as here:
        here.rerun(row["id"])
        with pytest.raises(SheetdError, match="there is no experiment nobody to restart"):
            here.restart("nobody")
    lab.start()
    wait_for(lambda: (attempt(), statuses(person)["one"]) == (4, "succeeded"), "once more", within_s=30)


def test_stop_ends_a_job_from_the_command_line_and_from_its_cell(lab: Project, person: Person) -> None:
    person.type_rows([{"token": "one", "seconds": 60}, {"token": "two", "seconds": 60}])
    lab.start()
    wait_for(lambda: set(statuses(person).values()) == {"running"}, "both run", within_s=30)
    ids = {row["token"]: row["id"] for row in person.rows()}
    assert "is being stopped" in lab.command("stop", ids["one"])
    wait_for(lambda: statuses(person)["one"] == "stopped", "one is stopped", within_s=20)
    assert next(row for row in person.rows() if row["token"] == "one")["message"] == "stopped from the command line"
    assert statuses(person)["two"] == "running"
    assert "has ended already" in lab.command("stop", ids["one"])
    done = subprocess.run(
        [sys.executable, "-m", "sheetd", "stop", "nosuch", "-c", str(lab.config)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "there is no experiment nosuch" in done.stderr


def test_a_second_daemon_is_refused_by_name(lab: Project, person: Person) -> None:
    person.type_rows([{"token": "one", "seconds": 0.1}])
    lab.start()
    wait_for(lambda: statuses(person)["one"] == "succeeded", "the first daemon works", within_s=30)
    argv = [sys.executable, "-m", "sheetd", "run", "--config", str(lab.config)]
    second = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == 1
    assert "in use by another sheetd" in second.stderr
    assert "Traceback" not in second.stderr


def test_the_service_manager_hears_that_the_daemon_is_ready_and_turning(lab: Project, person: Person) -> None:
    person.type_rows([{"token": "one", "seconds": 0.1}])
    path = str(lab.folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(30)
        lab.start(NOTIFY_SOCKET=path, WATCHDOG_USEC="300000")
        assert manager.recv(100) == b"READY=1"
        assert [manager.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        lab.stop()
        while (said := manager.recv(100)) == b"WATCHDOG=1":
            pass
        assert said == b"STOPPING=1"


def test_a_job_that_prints_a_formula_puts_no_live_one_into_the_sheet(lab: Project, person: Person) -> None:
    person.type_rows([{"token": "=1+1", "seconds": 0.1, "ending": "formula"}])
    lab.start()
    wait_for(lambda: statuses(person) == {"=1+1": "failed"}, "the row fails", within_s=30)
    got = person.spreadsheet.fetch_sheet_metadata(
        {"includeGridData": "true", "ranges": person.tab.title, "fields": "sheets.data.rowData.values.userEnteredValue"}
    )
    cells = got["sheets"][0]["data"][0]["rowData"][1]["values"]
    entered = [cell.get("userEnteredValue", {}) for cell in cells]
    assert all("formulaValue" not in value for value in entered)
    assert 'IMPORTDATA("http' in entered[HEADER.index("message")]["stringValue"]


def on_a_terminal(lab: Project, *argv: str) -> bytes:
    """What `sheetd` shows on a terminal, with the line ends that it wrote."""
    ours, its = pty.openpty()
    attributes = termios.tcgetattr(its)
    attributes[1] &= ~termios.OPOST
    termios.tcsetattr(its, termios.TCSANOW, attributes)
    full = [sys.executable, "-m", "sheetd", *argv, "--config", str(lab.config)]
    with os.fdopen(ours, "rb", buffering=0) as screen:
        with os.fdopen(its, "wb") as terminal:
            process = subprocess.Popen(full, stdout=terminal, stderr=subprocess.PIPE)
        shown = b""
        with contextlib.suppress(OSError):  # so Linux says that nobody has the terminal open any more
            while piece := screen.read(65536):
                shown += piece
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    return shown


def test_logs_show_a_terminal_nothing_that_it_would_obey_and_a_pipe_the_very_bytes(
    lab: Project, person: Person
) -> None:
    person.type_rows([{"token": "\x1b[31mred", "seconds": 0.1, "ending": "bytes"}])
    lab.start()
    wait_for(lambda: set(statuses(person).values()) == {"succeeded"}, "the row ends", within_s=30)
    id_ = person.rows()[0]["id"]
    control = b"\x1b]0;title\x07\xe2\x80\xaebidi\r\xc2\x9b31mC1\r\n"
    written = b"the end of \x1b[31mred here\n" + bytes(range(256)) + control
    full = [sys.executable, "-m", "sheetd", "logs", id_, "--config", str(lab.config)]
    piped = subprocess.run(full, capture_output=True, timeout=60, check=True)
    assert piped.stdout == written
    shown = on_a_terminal(lab, "logs", id_).decode()
    assert shown.startswith("the end of red here\n\t\n\n")
    assert shown.endswith("bidi\n31mC1\n")
    assert not {unicodedata.category(sign) for sign in shown if sign not in "\t\n"} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert on_a_terminal(lab, "logs", "--raw", id_) == written


def test_logs_say_beside_the_output_when_there_is_none_yet_or_only_its_end(lab: Project, person: Person) -> None:
    person.type_rows([{"token": "quiet", "seconds": 60}, {"token": "over", "seconds": 0.1}])
    lab.start()
    wanted = {"quiet": "running", "over": "succeeded"}
    wait_for(lambda: statuses(person) == wanted, "one runs, one is over", within_s=30)
    ids = {row["token"]: row["id"] for row in person.rows()}
    quiet = command_of_a_small_terminal(lab, "logs", ids["quiet"])
    assert (quiet.stdout, quiet.stderr) == ("", "nothing printed yet\n")
    end = command_of_a_small_terminal(lab, "logs", "--bytes", "5", ids["over"])
    assert (end.stdout, end.stderr) == ("here\n", "the last 5 bytes of 21; --bytes for more\n")
    whole = command_of_a_small_terminal(lab, "logs", ids["over"])
    assert (whole.stdout, whole.stderr) == ("the end of over here\n", "")


def test_a_stop_that_waits_for_the_daemon_is_shown(lab: Project, person: Person) -> None:
    person.type_rows([{"token": "long", "seconds": 60}])
    lab.start()
    wait_for(lambda: statuses(person)["long"] == "running", "the row runs", within_s=30)
    lab.kill()
    id_ = person.rows()[0]["id"]
    assert "will be stopped" not in lab.command("status")
    lab.command("stop", id_)
    assert "will be stopped when the daemon runs" in lab.command("status")


@needs_sshd
def test_logs_follow_a_job_on_a_remote_host_until_it_ends(tmp_path: Path, address: Address, person: Person) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with LightSshd(tmp_path) as sshd:
        lab = Project(
            tmp_path / "lab",
            home=str(home),
            sheet=sheet_section(address.base_url, address),
            daemon=f'ssh_config = "{sshd.ssh_config}"',
            hosts=f'[[hosts]]\nname = "{sshd.alias}"\nroot = "{tmp_path / "root"}"\n',
        )
        try:
            person.type_rows([{"token": "far", "seconds": 2}])
            lab.start()
            wait_for(lambda: statuses(person)["far"] == "running", "the row runs", within_s=30)
            argv = [sys.executable, "-m", "sheetd", "logs", "-f", person.rows()[0]["id"], "--config", str(lab.config)]
            with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as follower:
                said, _ = follower.communicate(timeout=30)
            assert said == "the end of far \n"
            assert follower.returncode == 0
            wait_for(lambda: statuses(person)["far"] == "succeeded", "the row says so too", within_s=30)
        finally:
            lab.stop_everything()
            lab.close()


def test_ctrl_c_ends_the_daemon_in_peace(lab: Project, person: Person) -> None:
    person.type_rows([{"token": "one", "seconds": 0.1}])
    lab.start()
    wait_for(lambda: statuses(person)["one"] == "succeeded", "the daemon works", within_s=30)
    assert lab.process is not None
    os.kill(lab.process.pid, signal.SIGINT)
    assert lab.process.wait(15) == 0
    assert b"Traceback" not in (lab.folder / "daemon.log").read_bytes()
