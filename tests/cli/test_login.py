"""`sheetd login`: the browser comes back to this machine, and a file for one pair of eyes is left."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
import threading
import webbrowser
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from sheetd.sheets import consent
from sheetd.sheets.signin import OWN_FILES, SHEETS, account_of
from tests.cli.google_rig import GoogleRig
from tests.sheets.unruly import Reply

REFRESH = "what lasts"


@dataclass
class Browser:
    """A person who is sent to Google, and comes back with what Google says to them."""

    answer: Callable[[dict[str, str]], dict[str, str]] = lambda asked: {"code": "c0de", "state": asked["state"]}
    asked: dict[str, str] = field(default_factory=dict)
    threads: list[threading.Thread] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)

    def open(self, url: str, **_: Any) -> bool:
        self.asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}

        def come_back() -> None:
            back = requests.get(self.asked["redirect_uri"], params=self.answer(self.asked), timeout=10)
            self.shown.append(back.text)

        self.threads.append(threading.Thread(target=come_back))
        self.threads[-1].start()
        return True


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")  # the token endpoint of the tests is on this machine
    browser = Browser()
    monkeypatch.setattr(webbrowser, "get", lambda *_: browser)
    yield browser
    for thread in browser.threads:
        thread.join()


@pytest.fixture
def client(rig: GoogleRig, tmp_path: Path) -> Path:
    path = tmp_path / "client.json"
    told = {
        "client_id": "id.apps.example",
        "client_secret": "no-secret",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": f"{rig.google.base_url}/token",
        "redirect_uris": ["http://localhost"],
    }
    path.write_text(json.dumps({"installed": told}))
    return path


def granted(rig: GoogleRig, scope: str = f"{SHEETS} {OWN_FILES}", **more: Any) -> Reply:
    token = {"access_token": rig.person.address.token, "expires_in": 3600, "token_type": "Bearer", "scope": scope}
    return Reply(body={**token, **more})


@pytest.mark.usefixtures("browser")
def test_a_sign_in_leaves_a_file_that_only_its_owner_can_read_and_that_works(
    rig: GoogleRig, client: Path, tmp_path: Path
):
    to = tmp_path / "new" / "login.json"
    rig.google.tokens = [granted(rig, refresh_token=REFRESH)]
    old = os.umask(0)
    try:
        said = rig.sheetd("login", "--client", str(client), "--to", str(to))
    finally:
        os.umask(old)
    assert stat.S_IMODE(to.stat().st_mode) == 0o600
    assert stat.S_IMODE(to.parent.stat().st_mode) == 0o700
    assert [path.name for path in to.parent.iterdir()] == ["login.json"]
    told = json.loads(to.read_text())
    assert (told["type"], told["refresh_token"]) == ("authorized_user", REFRESH)
    assert "access_token" not in told
    assert account_of(to).kind == "user"
    assert f"wrote {to}: name it as `credentials` in sheetd.toml" in said
    assert REFRESH not in said
    assert "c0de" not in said
    assert rig.person.address.token not in said

    rig.write(credentials=str(to))
    assert rig.bad() == {}


def test_it_asks_for_spreadsheets_and_for_its_own_files_and_nothing_else(
    rig: GoogleRig, browser: Browser, client: Path, tmp_path: Path
):
    rig.google.tokens = [granted(rig, refresh_token=REFRESH)]
    rig.sheetd("login", "--client", str(client), "--to", str(tmp_path / "login.json"))
    assert browser.asked["scope"].split() == [SHEETS, OWN_FILES]
    assert browser.asked["access_type"] == "offline"
    assert urlsplit(browser.asked["redirect_uri"]).hostname == "localhost"
    sent = parse_qs(rig.google.seen[0][2].decode())
    digest = hashlib.sha256(sent["code_verifier"][0].encode()).digest()
    assert browser.asked["code_challenge"] == base64.urlsafe_b64encode(digest).decode().rstrip("=")


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        ({"error": "access_denied"}, "Google refused the sign-in (access_denied): run `sheetd login` again"),
        ({"code": "c0de", "state": "forged"}, "Google refused the sign-in (mismatching_state)"),
    ],
)
def test_a_sign_in_that_is_refused_or_forged_leaves_nothing(
    rig: GoogleRig, browser: Browser, client: Path, tmp_path: Path, answer: dict[str, str], advice: str
):
    browser.answer = lambda asked: {"state": asked["state"], **answer}
    said = rig.sheetd("login", "--client", str(client), "--to", str(tmp_path / "login.json"), code=1)
    assert advice in said
    assert not (tmp_path / "login.json").exists()
    assert rig.google.seen == [], "and nothing was asked of Google"


@pytest.mark.usefixtures("browser")
def test_a_box_that_was_not_ticked_is_said(rig: GoogleRig, client: Path, tmp_path: Path):
    rig.google.tokens = [granted(rig, scope=OWN_FILES, refresh_token=REFRESH)]
    said = rig.sheetd("login", "--client", str(client), "--to", str(tmp_path / "login.json"), code=1)
    assert "leave every box ticked" in said


def test_a_person_who_never_comes_is_not_waited_for_for_ever(
    rig: GoogleRig, client: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(consent, "WAIT_FOR_PERSON_S", 0.05)
    words = ("login", "--client", str(client), "--to", str(tmp_path / "login.json"), "--no-browser")
    said = rig.sheetd(*words, code=1)
    assert "Open this address in a browser" in said
    assert "over SSH, forward a port" in said


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (None, "cannot be read"),
        ("<html>", "is not JSON"),
        ("[]", 'is not an OAuth client of the type "Desktop app"'),
        ('{"web": {"client_id": "x"}}', 'is not an OAuth client of the type "Desktop app"'),
        ('{"installed": {"client_id": "x"}}', 'is not an OAuth client of the type "Desktop app"'),
    ],
)
def test_a_client_that_is_none_is_named(rig: GoogleRig, tmp_path: Path, content: str | None, advice: str):
    path = tmp_path / "client.json"
    if content is not None:
        path.write_text(content)
    said = rig.sheetd("login", "--client", str(path), code=1)
    assert f"{path} {advice}" in said


def test_a_place_in_a_git_work_tree_is_refused_before_anybody_signs_in(rig: GoogleRig, client: Path, tmp_path: Path):
    (tmp_path / "project" / ".git").mkdir(parents=True)
    to = tmp_path / "project" / "login.json"
    said = rig.sheetd("login", "--client", str(client), "--to", str(to), code=1)
    assert "one `git add` away from being published" in said
    assert not to.exists()
