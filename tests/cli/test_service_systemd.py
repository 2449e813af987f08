"""`sheetd service` with a real systemd: a lab is kept, comes back, and is let go, and its jobs notice nothing.

The lab and its virtual environment are in folders whose names have everything that a unit could stumble over.
"""

from __future__ import annotations

import json
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.check import ROOT
from tests.needs import needs_systemd
from tests.rig.user_manager import UserManager, user_manager
from tests.rig.waiting import wait_for

NAME = "sheetd-my-lab-100-HOME-x"
#: Says who it is, and stays.
JOB = "import os, sys, time; open(sys.argv[1], 'a').write(f'{os.getpid()}\\n'); time.sleep(600)"
TEMPLATE = """\
command = ["python3", "-c", {job}, {file}]
[params.note]
type = "text"
"""
CONFIG = """\
[sheet]
poll_s = 0.2
settle_s = 0.2
[[hosts]]
name = "here"
local = true
slots = 1
"""
TYPE_A_ROW = """\
import sys, gspread
from sheetd.sheets.transport import SheetHTTPClient, loopback_session
base_url, _, token = sys.argv[1].partition("/?token=")
http = SheetHTTPClient(loopback_session(base_url, token), base_url=base_url)
client = gspread.Client(auth=None, session=http.session, http_client=lambda *_: http)
tab = client.openall()[0].worksheet("Experiments")
tab.update_cell(2, tab.row_values(1).index("note") + 1, "go")
"""


class Lab:
    """A lab inside, and the `sheetd` of its own virtual environment."""

    def __init__(self, folder: Path, manager: UserManager) -> None:
        self.folder = folder / 'my lab 100% $HOME "x"'
        self.config = self.folder / "sheetd.toml"
        self.pids = folder / "pids"
        self.python = str(make_venv(folder / "a $PATH 100%h venv"))
        self.manager = manager
        self.units = manager.home / ".config" / "systemd" / "user"
        (self.folder / "templates").mkdir(parents=True)
        template = TEMPLATE.format(job=json.dumps(JOB), file=json.dumps(str(self.pids)))
        (self.folder / "templates" / "job.toml").write_text(template)
        self.config.write_text(CONFIG)

    def service(self, *words: str, code: int = 0) -> str:
        done = self.manager.run(self.python, "-m", "sheetd", "service", *words, "--config", str(self.config))
        assert done.returncode == code, done.stderr + done.stdout
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    def status(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.service("status", "--json"))
        return told

    def pid(self) -> int:
        """The daemon's, once it is ready; 0 while there is none."""
        shown = self.manager.systemctl("show", NAME, "--property=ActiveState,MainPID").stdout
        told = dict(line.split("=") for line in shown.split())
        return int(told["MainPID"]) if told["ActiveState"] == "active" else 0

    def start_a_job(self, address: str) -> int:
        typed = self.manager.run(self.python, "-c", TYPE_A_ROW, address)
        assert typed.returncode == 0, typed.stderr
        return int(wait_for(lambda: self.pids.exists() and self.pids.read_text(), "the job runs"))


def make_venv(folder: Path) -> Path:
    """One that knows this project and what it needs. Without it Python would not find them."""
    venv.EnvBuilder(symlinks=True).create(folder)
    seen = "\n".join((str(ROOT), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
    packages = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    (packages / "project.pth").write_text(seen)
    return folder / "bin" / "python"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with user_manager(tmp_path) as manager:
        yield Lab(tmp_path, manager)


@needs_systemd
def test_a_lab_is_kept_comes_back_and_is_let_go(lab: Lab) -> None:
    told = lab.service("install", "--no-linger")
    assert f"{NAME} is installed and runs." in told
    first = lab.status()
    assert (first["running"], first["enabled"], first["restarts"], first["pid"]) == (True, True, 0, lab.pid())
    assert first["sheet"].startswith("http://127.0.0.1:")
    assert first["sheet"] in told
    job = lab.start_a_job(first["sheet"])

    lab.manager.run("kill", "-9", str(first["pid"]))
    wait_for(lambda: lab.pid() not in (0, first["pid"]), "systemd has brought the daemon back")
    again = lab.pid()
    assert "NRestarts=1\n" in lab.manager.systemctl("show", NAME, "--property=NRestarts").stdout
    assert lab.manager.is_alive(job), "the daemon's death is no job's"

    template = lab.folder / "templates" / "job.toml"
    template.write_text(template.read_text() + "[metrics]\nloss = {}\n")
    assert lab.manager.systemctl("reload", NAME).returncode == 0
    wait_for(lambda: "read anew: template job" in lab.service("logs"), "the edited template is taken")
    assert lab.pid() == again

    log = lab.service("logs")
    assert log.count("sheetd serves the built-in sheet") == 2, log
    assert "token" not in log, "a log may be read by others"
    assert "code=killed" in log, "what systemd says of it is there too"

    assert "Jobs go on" in lab.service("uninstall")
    assert not lab.manager.is_alive(again)
    assert lab.manager.is_alive(job)
    assert lab.pids.read_text().split() == [str(job)], "and it was started once"
    assert [path for path in lab.units.rglob("*") if not path.is_dir()] == []
    assert lab.manager.systemctl("show", NAME, "--property=LoadState").stdout == "LoadState=not-found\n"


@needs_systemd
def test_a_daemon_that_cannot_start_says_why_and_is_not_left_half_installed(lab: Lab) -> None:
    lab.config.write_text(CONFIG + '[daemon]\nstate_dir = "/proc/none"\n')
    told = lab.service("install", "--no-linger", code=1)
    assert "the daemon did not start: `systemctl --user restart" in told
    assert "Nothing was installed." in told
    assert "/proc/none" in told.partition("The end of its log:")[2]
    assert [path for path in lab.units.rglob("*") if not path.is_dir()] == []
    assert lab.manager.systemctl("show", NAME, "--property=LoadState").stdout == "LoadState=not-found\n"
