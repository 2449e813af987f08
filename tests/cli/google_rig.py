"""The command line before a Google that is none: a built-in sheet behind a server that fails as Google does.

Everything goes over HTTP, with a key file and a token endpoint; only the host in Google's addresses is another.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tenacity.wait import wait_none
from typer.testing import CliRunner

from sheetd.cli.app import app
from sheetd.cli.doctor_sheet import Finding, sheet_findings
from sheetd.config import load_settings
from sheetd.errors import SheetdError
from sheetd.sheets import transport
from sheetd.sheets.builtin.server import SheetServer
from sheetd.sheets.transport import SheetHTTPClient
from sheetd.templates import load_templates
from tests.faults.laboratory import Between, new_spreadsheet
from tests.faults.people import Person
from tests.sheets.key_file import key_file
from tests.sheets.unruly import Reply, serving

GOOGLE = ("https://sheets.googleapis.com", "https://www.googleapis.com")
TEMPLATE = 'command = ["true"]\n[params.lr]\ntype = "number"\n'
HOSTS = '[[hosts]]\nname = "here"\nlocal = true\n'


@dataclass
class GoogleRig:
    folder: Path
    person: Person
    google: Between
    key: Path

    @property
    def config(self) -> Path:
        return self.folder / "sheetd.toml"

    @property
    def url(self) -> str:
        return url_of(self.person.address.key)

    def write(self, **sheet: str) -> None:
        """A configuration for the sheet; what is named here replaces or is added to its [sheet]."""
        told = {"url": self.url, "credentials": str(self.key), "tab": "Experiments", **sheet}
        lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in told.items())
        (self.folder / "templates").mkdir(exist_ok=True)
        (self.folder / "templates" / "train.toml").write_text(TEMPLATE)
        self.config.write_text(f'[sheet]\n{lines}[daemon]\nstate_dir = "state"\n{HOSTS}')

    def doctor(self) -> list[Finding]:
        """What the doctor says of the sheet."""
        settings = load_settings(self.config)
        return list(sheet_findings(settings, load_templates(settings.daemon.templates).templates))

    def bad(self) -> dict[str, str]:
        return {finding.what: finding.detail for finding in self.doctor() if not finding.ok}

    def sheetd(self, *words: str, code: int = 0, typed: str | None = None) -> str:
        """Run a verb. Returns what it printed, or the text of the error that the program ends with."""
        done = CliRunner().invoke(app, words, input=typed)
        if isinstance(done.exception, SheetdError):
            assert code == 1, done.exception
            return f"{done.output}{done.exception}"
        assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
        assert done.exit_code == code, done.output
        return done.output


def url_of(key: str) -> str:
    return f"https://docs.google.com/spreadsheets/d/{key}/edit?gid=0#gid=0"


def refusal(status: int, message: str, reason: str = "", **about: str) -> Reply:
    """Google's error object, with its word for the cause as in google.rpc.ErrorInfo."""
    error: dict[str, Any] = {"code": status, "message": message, "status": "X"}
    if reason:
        kind = "type.googleapis.com/google.rpc.ErrorInfo"
        error["details"] = [{"@type": kind, "reason": reason, "domain": "googleapis.com", "metadata": about}]
    return Reply(status, {"error": error})


@contextmanager
def google_rig(server: SheetServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GoogleRig]:
    address, person = new_spreadsheet(server.base_url, server.token)
    folder = tmp_path / "lab"
    folder.mkdir()
    with serving(Between(address)) as between:
        key = key_file(tmp_path / "key.json", f"{between.base_url}/token")
        key.chmod(0o600)
        usual = SheetHTTPClient._redirected

        def redirected(client: SheetHTTPClient, endpoint: str) -> str:
            if client.base_url is not None:  # a person at the built-in sheet itself
                return usual(client, endpoint)
            for google in GOOGLE:
                endpoint = endpoint.replace(google, between.base_url)
            return endpoint

        monkeypatch.setattr(SheetHTTPClient, "_redirected", redirected)
        monkeypatch.setattr(transport, "wait_random_exponential", lambda **_: wait_none())
        monkeypatch.setenv("no_proxy", "*")
        monkeypatch.setenv("COLUMNS", "200")
        try:
            yield GoogleRig(folder, person, between, key)
        finally:
            person.close()
