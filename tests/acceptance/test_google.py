"""From `sheetd init --google` to a row that ran, and an outage of Google, before a stand-in that speaks its API."""

from __future__ import annotations

import json
import logging
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sheetd.build import Service, build
from sheetd.config import load_settings
from sheetd.sheets.builtin.server import SheetServer
from tests.cli.google_rig import HOSTS, GoogleRig, google_rig, refusal
from tests.rig.waiting import wait_for
from tests.sheets.unruly import Forward


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GoogleRig]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with (
        SheetServer(tmp_path / "sheet.sqlite") as server,
        google_rig(server, tmp_path, monkeypatch) as rig,
    ):
        yield rig


@contextmanager
def daemon_of(config: Path) -> Iterator[Service]:
    """A daemon at work, as `sheetd run` has it, in a thread of its own."""
    built: queue.Queue[Service] = queue.Queue()

    def run() -> None:
        service = build(load_settings(config))
        built.put(service)
        try:
            service.run()
        finally:
            service.close()

    thread = threading.Thread(target=run)
    thread.start()
    service = built.get(timeout=30)
    try:
        yield service
    finally:
        service.stop()
        thread.join()


def test_a_sheet_that_init_adopted_runs_a_row_through_an_outage_of_google(
    rig: GoogleRig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sheetd.core.outage.OVER_S", 1.0)
    caplog.set_level(logging.WARNING)
    tab = rig.person.tab
    tab.clear()
    tab.update([["paper", "lr"], ["A", 0.1]], "A1")
    rig.sheetd("init", str(rig.folder), "--google", rig.url, "--credentials", str(rig.key))
    header = tab.row_values(1)

    def cell(name: str) -> str:
        row = tab.row_values(2)
        place = header.index(name)
        return row[place] if place < len(row) else ""

    def status(*options: str) -> str:
        return rig.sheetd("status", "--config", str(rig.config), *options)

    with daemon_of(rig.config):
        wait_for(lambda: cell("status") == "running", "the row runs", within_s=60)
        rig.google.otherwise = refusal(503, "The service is currently unavailable.")
        wait_for(lambda: "sheet: the sheet's server answered 503" in status(), "the outage is seen", within_s=60)
        meter = json.loads(status("--json"))["quota"]
        assert 0 < meter["reads"] <= meter["allowed"] == 30
        rig.google.otherwise = Forward()
        wait_for(lambda: cell("status") == "succeeded", "the row shows how it ended", within_s=120)
        wait_for(
            lambda: any("used again" in text for text in caplog.messages), "the end of the outage is said", within_s=30
        )
        assert "Google: " in status()
    said = [record.message for record in caplog.records if "sheet" in record.message or "sheetd" not in record.name]
    assert len(said) == 2, said
    assert said[0].startswith("the sheet cannot be used now, and what runs goes on: the sheet's server answered 503")
    assert (cell("paper"), cell("lr")) == ("A", "0.1")


def test_two_tabs_under_one_account_live_on_one_quota_which_status_has_once(rig: GoogleRig) -> None:
    header = ["template", "lr", "status", "message", "id"]
    tabs = [rig.person.spreadsheet.add_worksheet(name, 20, 10) for name in ("vision", "speech")]
    for number, tab in enumerate(tabs):
        tab.update([header, ["train", 0.1 + number]], "A1", raw=True)
    rig.write()
    where = f'url = "{rig.url}"\ncredentials = "{rig.key}"\nsettle_s = 0.5\n'
    sheets = "".join(f'[[sheets]]\nname = "{tab.title}"\n{where}' for tab in tabs)
    (rig.folder / "sheetd.toml").write_text(sheets + '[daemon]\nstate_dir = "state"\n' + HOSTS)
    with daemon_of(rig.config) as service:
        wait_for(lambda: [tab.row_values(2)[2:3] for tab in tabs] == [["succeeded"]] * 2, "both rows ran", within_s=150)
        wait_for(lambda: "Google: " in rig.sheetd("status", "--config", str(rig.config)), "the meter is shown")
        told = rig.sheetd("status", "--config", str(rig.config))
    usages = [project.sheet.client.usage() for project in service.projects]
    assert usages[0] == usages[1], "each tells the whole"
    assert all(project.sheet.client.requests["read"] > 1 for project in service.projects)
    assert 0 < usages[0]["reads"] <= usages[0]["allowed"] == 30
    assert told.count("Google: ") == 1
