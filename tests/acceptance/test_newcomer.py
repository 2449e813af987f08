"""From an empty folder to a row that ran: what a newcomer types after the demo."""

from __future__ import annotations

import json
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gspread
import pytest
import requests

from sheetd.config import load_settings
from sheetd.sheets.transport import SheetHTTPClient, loopback_session
from tests.rig.waiting import wait_for

SHEETD = [sys.executable, "-m", "sheetd"]
ADDRESS = re.compile(r"(http://127\.0\.0\.1:\d+)/\?token=(\S+)")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A newcomer's folder, with a state of its own. The command works from inside it, without --config."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "200")
    folder = tmp_path / "lab"
    sheetd("init", str(folder), cwd=tmp_path)
    return folder


def sheetd(*argv: str, cwd: Path, code: int = 0) -> str:
    done = subprocess.run([*SHEETD, *argv], cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@contextmanager
def serving(verb: str, *options: str, folder: Path) -> Iterator[gspread.Worksheet]:
    """`sheetd run` or `sheetd serve` at work, and its tab through plain gspread at the printed address."""
    with subprocess.Popen([*SHEETD, verb, *options], cwd=folder, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            found = ADDRESS.search(server.stdout.readline())
            assert found is not None
            http = SheetHTTPClient(loopback_session(found[1], found[2]), base_url=found[1])
            http.session.headers["User-Agent"] = "a person"
            client = gspread.Client(auth=None, session=http.session, http_client=lambda *_: http)  # type: ignore[arg-type]
            yield client.openall()[0].worksheet("Experiments")
        finally:
            server.terminate()
            assert server.wait(30) == 0


def status_of(tab: gspread.Worksheet) -> str:
    header, *rows = tab.get_all_values()
    return dict(zip(header, rows[0], strict=False)).get("status", "") if rows else ""


def test_what_init_writes_runs_a_row(folder: Path) -> None:
    assert "is valid" in sheetd("doctor", cwd=folder)
    with serving("run", folder=folder) as tab:
        column = tab.row_values(1).index("lr") + 1
        tab.update_cell(2, column, 0.3)
        tab.update_cell(2, column + 1, 5)
        wait_for(lambda: status_of(tab) == "succeeded", "the row ran", within_s=60)
    told = json.loads(sheetd("status", "--json", cwd=folder))
    (experiment,) = told["experiments"]
    assert (told["daemon"], experiment["status"]) == (None, "succeeded")
    assert experiment["params"] == {"lr": 0.3, "steps": 5}
    assert "y = " in sheetd("logs", experiment["id"], cwd=folder), "also without a daemon"


def test_the_sheet_alone_can_be_served_and_keeps_what_is_typed(folder: Path) -> None:
    with serving("serve", "--no-browser", folder=folder) as tab:
        tab.update_acell("A2", "python-script")
    with serving("serve", "--no-browser", folder=folder) as tab:
        assert tab.acell("A2").value == "python-script"
        assert tab.row_values(1)[:3] == ["template", "lr", "steps"]


def test_init_overwrites_nothing(folder: Path) -> None:
    (folder / "train.py").write_text("mine")
    assert "exist already" in sheetd("init", cwd=folder, code=1)
    assert (folder / "train.py").read_text() == "mine"


def test_init_into_what_cannot_be_a_folder_names_the_next_step(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for target in ("file", "file/below", "n" * 300):
        assert "choose another folder" in sheetd("init", target, cwd=tmp_path, code=1)


def test_the_next_step_after_init_can_be_pasted(tmp_path: Path) -> None:
    said = sheetd("init", "my lab", cwd=tmp_path)
    assert "cd 'my lab' && sheetd run" in said
    assert "prints the sheet's address" in said


@pytest.mark.parametrize("verb", ["run", "serve", "demo"])
@pytest.mark.parametrize("port", ["-1", "65536"])
def test_a_port_that_cannot_be_is_refused(verb: str, port: str, tmp_path: Path) -> None:
    assert "--port" in sheetd(verb, "--port", port, cwd=tmp_path, code=2)


def test_an_open_page_finds_the_sheet_again_and_its_address_is_told(folder: Path) -> None:
    state = load_settings(folder / "sheetd.toml").daemon.state_dir
    with serving("serve", "--no-browser", folder=folder) as tab:
        first = tab.client.base_url  # type: ignore[attr-defined]
        assert stat.S_IMODE((state / "sheet.url").stat().st_mode) == 0o600
    assert not (state / "sheet.url").exists()
    with serving("run", folder=folder) as tab:
        assert tab.client.base_url == first  # type: ignore[attr-defined]
        wait_for(lambda: f"the sheet is at {first}/?token=" in sheetd("status", cwd=folder), "status tells it")
        wait_for(lambda: daemon_reads_the_sheet(folder), "the daemon has read its sheet")
        assert f"sheet: the sheet is at {first}/?token=" in sheetd("doctor", cwd=folder)
        tab.update_cell(1, tab.row_values(1).index("id") + 1, "renamed")
        wait_for(lambda: not daemon_reads_the_sheet(folder), "the daemon misses its column", within_s=30)
        assert "BAD sheet: " in sheetd("doctor", cwd=folder, code=1)
    assert "the sheet is at" not in sheetd("status", cwd=folder)


def daemon_reads_the_sheet(folder: Path) -> bool:
    return not json.loads(sheetd("status", "--json", cwd=folder))["sheet"].get("problem")


def test_a_sheet_whose_port_was_taken_meanwhile_takes_another(folder: Path) -> None:
    with serving("serve", "--no-browser", folder=folder) as tab:
        port = int(tab.client.base_url.rpartition(":")[2])  # type: ignore[attr-defined]
    with socket.create_server(("127.0.0.1", port)), serving("serve", "--no-browser", folder=folder) as tab:
        assert not tab.client.base_url.endswith(f":{port}")  # type: ignore[attr-defined]


def test_a_wrong_setting_is_named_with_its_file_and_key(folder: Path) -> None:
    config = folder / "sheetd.toml"
    config.write_text(config.read_text().replace("poll_s = 2.0", 'poll_s = "often"'))
    for verb in ("run", "status", "doctor", "hosts"):
        assert re.search(r"sheetd\.toml:\d+: .*poll_s", sheetd(verb, cwd=folder, code=1))


def test_the_page_cannot_be_opened_without_the_printed_token(folder: Path) -> None:
    with serving("serve", "--no-browser", folder=folder) as tab:
        base = tab.client.base_url  # type: ignore[attr-defined]
        assert requests.get(base, timeout=10).status_code == 403


def test_doctor_names_each_link_that_is_broken(folder: Path) -> None:
    (folder / "templates" / "broken.toml").write_text('command = "python train.py"')
    template = folder / "templates" / "python-script.toml"
    template.write_text('secrets = ["LAB_NO_SUCH_SECRET"]\n' + template.read_text())
    config = folder / "sheetd.toml"
    config.write_text(config.read_text() + '[[hosts]]\nname = "no-such-host.invalid"\n')
    told = json.loads(sheetd("doctor", "--json", cwd=folder, code=1))
    bad = {finding["what"]: finding["detail"] for finding in told if not finding["ok"]}
    assert set(bad) == {"template", "secret", "host no-such-host.invalid"}
    assert "broken.toml" in bad["template"]
    assert "LAB_NO_SUCH_SECRET" in bad["secret"]
    assert not bad["host no-such-host.invalid"].startswith("no-such-host.invalid"), "the host is named once"


def test_doctor_tells_of_a_broken_template_once(folder: Path) -> None:
    (folder / "templates" / "python-script.toml").write_text('command = "python train.py"')
    said = sheetd("doctor", cwd=folder, code=1)
    assert said.count("BAD ") == 1
    assert "1 host\n" in said


@pytest.mark.parametrize(
    "verb", ["demo", "init", "login", "run", "serve", "status", "logs", "stop", "restart", "rerun", "hosts", "doctor"]
)
def test_every_verb_explains_itself_with_an_example(verb: str, tmp_path: Path) -> None:
    said = sheetd(verb, "--help", cwd=tmp_path)
    assert "Example" in said
    assert f"sheetd {verb}" in said


def test_the_version_is_said(tmp_path: Path) -> None:
    assert re.fullmatch(r"sheetd \d+\.\d+\.\d+\n", sheetd("--version", cwd=tmp_path))


def test_without_a_configuration_the_next_step_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("SHEETD_CONFIG", raising=False)
    assert "sheetd init" in sheetd("run", cwd=tmp_path, code=1)
    assert list(tmp_path.iterdir()) == []
