"""`sheetd init --google`: a key file becomes a configuration and a sheet with headers; nothing of theirs is touched."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from sheetd.cli import google_setup
from sheetd.config import load_settings
from sheetd.core.validation import layout_by
from sheetd.sheets.google import GoogleSheet
from sheetd.templates import load_templates
from tests.builtin import discovery
from tests.cli.google_rig import GoogleRig, refusal
from tests.sheets.builtin_rig import BuiltinPerson
from tests.sheets.key_file import EMAIL
from tests.sheets.unruly import Forward

THEIRS = [
    ["paper", "lr", "", "Notes "],
    ["A", "0.1", "", "=1+1"],
    ["", "", "", "", "", "beside"],
]


@pytest.fixture
def home(rig: GoogleRig) -> Path:
    """Where to write; not there yet."""
    return rig.folder / "mine"


def init(rig: GoogleRig, home: Path, *options: str, code: int = 0, url: str = "") -> str:
    words = ("init", str(home), "--google", url or rig.url, "--credentials", str(rig.key), *options)
    return rig.sheetd(*words, code=code)


def nothing_written(rig: GoogleRig, home: Path) -> bool:
    return not home.exists() and not any(method == "POST" and path != "/token" for method, path, _ in rig.google.seen)


def test_a_sheet_of_theirs_keeps_every_cell_and_gets_what_is_missing_to_the_right(rig: GoogleRig, home: Path):
    tab = rig.person.tab
    tab.clear()
    tab.update(THEIRS, "A1", raw=False)
    formulas = tab.get(value_render_option="FORMULA")
    said = init(rig, home)
    after = tab.get(value_render_option="FORMULA")
    added = after[0][6:]
    assert [after[0][:4], *after[1:]] == formulas, "every cell of theirs is as it was"
    assert after[0][4:6] == ["", ""], "and what they wrote beside has its column for itself"
    assert {"template", "steps", "action", "status", "message", "loss", "id"} <= set(added)
    assert "lr" not in added, "which they have"
    assert "right of what is there: template, steps" in said

    settings = load_settings(home / "sheetd.toml")
    assert (settings.sheet.tab, settings.sheet.credentials) == ("Experiments", rig.key)
    assert settings.sheet.url.endswith(f"/{rig.person.address.key}/edit")
    assert "Next: " in said
    assert "sheetd run" in said


def test_what_init_leaves_behind_is_all_that_the_doctor_asks_for(rig: GoogleRig, home: Path):
    rig.person.tab.clear()
    init(rig, home)
    rig.folder = home
    assert rig.bad() == {}
    templates = load_templates([home / "templates"]).templates
    header = GoogleSheet(rig.person.address.client(), rig.person.address.key, "Experiments").read().rows[0]
    assert layout_by(templates, header).problems == ()


def test_a_narrow_sheet_gets_the_columns_that_it_lacks(rig: GoogleRig, home: Path):
    rig.person.tab.clear()
    rig.person.tab.update([["paper", "lr", "Notes"]], "A1")
    rig.person.tab.resize(rows=5, cols=3)
    init(rig, home)
    assert rig.person.tab.row_values(1)[:4] == ["paper", "lr", "Notes", "template"]


def test_a_second_time_adds_nothing(rig: GoogleRig, home: Path):
    init(rig, home)
    before = rig.person.grid()
    rig.google.seen.clear()
    said = init(rig, home.with_name("another"))
    assert 'the tab "Experiments" has all headers already' in said
    assert rig.person.grid() == before
    assert not any(method == "POST" and path != "/token" for method, path, _ in rig.google.seen)


def test_every_request_is_one_that_google_describes(rig: GoogleRig, home: Path):
    init(rig, home)
    init(rig, home.with_name("another"), "--share", "kim@lab.example", url="new")
    asked = [one for one in rig.google.seen if one[1] != "/token"]
    assert len(asked) >= 5
    for method, path, body in asked:
        discovery.check_request(method, f"https://sheets.googleapis.com{path}", json.loads(body) if body else None)


# --- which tab ---------------------------------------------------------------------------------------------------


def test_the_tab_that_the_address_shows_is_meant(rig: GoogleRig, home: Path):
    other = rig.person.spreadsheet.add_worksheet("Ablations", 10, 10)
    init(rig, home, url=rig.url.replace("gid=0", f"gid={other.id}"))
    assert load_settings(home / "sheetd.toml").sheet.tab == "Ablations"
    assert "status" in other.row_values(1)


def test_a_tab_may_be_named_and_one_that_is_not_there_is_answered_with_those_there_are(rig: GoogleRig, home: Path):
    rig.person.spreadsheet.add_worksheet('My "best"', 10, 10)
    said = init(rig, home, "--tab", "Ablation", code=1)
    assert "there is no tab 'Ablation': name one of 'Experiments', 'My \"best\"' with --tab" in said
    assert nothing_written(rig, home)
    init(rig, home, "--tab", 'My "best"')
    assert load_settings(home / "sheetd.toml").sheet.tab == 'My "best"'


# --- mistakes, before anything is written ------------------------------------------------------------------------


def test_a_sheet_that_is_not_shared_is_answered_with_whom_to_share_it(rig: GoogleRig, home: Path):
    rig.google.otherwise = refusal(403, "The caller does not have permission")
    said = init(rig, home, code=1)
    assert f"Share the spreadsheet with {EMAIL} as an editor" in said
    assert "type the same command again" in said
    assert nothing_written(rig, home)
    rig.google.otherwise = Forward()
    init(rig, home)


def test_a_header_that_is_unclear_is_not_made_worse(rig: GoogleRig, home: Path):
    rig.person.tab.clear()
    rig.person.tab.update([["status", "lr", "Status"]], "A1")
    said = init(rig, home, code=1)
    assert 'columns A and C are both called "status": rename one of them' in said
    assert nothing_written(rig, home)


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        (("--credentials", "/no/such/key.json"), "--credentials: there is no file /no/such/key.json: download"),
        (("--google", "https://example.org/sheet"), 'give "new", or the address of a Google sheet as the browser'),
        (("--share", "kim@lab.example"), "--share is for a sheet that --google new makes"),
        (("--google", "new"), f"a sheet that {EMAIL} makes is seen by nobody else: say with --share"),
    ],
)
def test_a_command_that_cannot_be_meant_so_is_answered_at_once(
    rig: GoogleRig, home: Path, options: tuple[str, ...], advice: str
):
    assert advice in init(rig, home, *options, code=1)
    assert rig.google.seen == []
    assert not home.exists()


def test_a_key_that_others_can_read_is_not_taken(rig: GoogleRig, home: Path):
    rig.key.chmod(0o644)
    assert f"run chmod 600 {rig.key}" in init(rig, home, code=1)


def test_a_folder_that_is_taken_is_not_even_asked_for_at_google(rig: GoogleRig, home: Path):
    home.mkdir()
    (home / "sheetd.toml").write_text("mine")
    assert "exist already" in init(rig, home, code=1)
    assert rig.google.seen == []
    assert [path.name for path in home.iterdir()] == ["sheetd.toml"]


def test_options_of_a_google_sheet_without_one_are_a_slip(rig: GoogleRig, home: Path):
    assert "go with --google" in rig.sheetd("init", str(home), "--tab", "x", code=1)


# --- asking ------------------------------------------------------------------------------------------------------


def test_who_signs_in_is_asked_where_somebody_is_there(rig: GoogleRig, home: Path, monkeypatch: pytest.MonkeyPatch):
    words = ("init", str(home), "--google", rig.url)
    assert "--google needs --credentials too" in rig.sheetd(*words, code=1)
    monkeypatch.setattr(google_setup, "_somebody_is_there", lambda: True)
    said = rig.sheetd(*words, typed=f"{rig.key}\n")
    assert "Who signs in to Google?" in said
    assert load_settings(home / "sheetd.toml").sheet.credentials == rig.key


def test_application_default_credentials_are_written_as_that(
    rig: GoogleRig, home: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(rig.key))
    init(rig, home, "--credentials", "application-default")
    assert 'credentials = "application-default"\n' in (home / "sheetd.toml").read_text()
    assert load_settings(home / "sheetd.toml").sheet.kind == "google"


# --- a new sheet -------------------------------------------------------------------------------------------------


def test_a_new_sheet_is_made_shared_and_ready(rig: GoogleRig, home: Path):
    said = init(rig, home, "--share", "kim@lab.example", "--title", "Sweeps", url="new")
    settings = load_settings(home / "sheetd.toml")
    key = settings.sheet.spreadsheet_key
    assert f"made https://docs.google.com/spreadsheets/d/{key}/edit" in said
    assert "kim@lab.example may edit it" in said
    assert key is not None
    made = BuiltinPerson(replace(rig.person.address, key=key), "Experiments").spreadsheet
    assert (made.title, [tab.title for tab in made.worksheets()]) == ("Sweeps", ["Experiments"])
    assert "kim@lab.example" in [one.get("emailAddress") for one in made.list_permissions()]
    rig.folder = home
    assert rig.bad() == {}


def test_a_service_account_that_may_make_no_files_is_told_the_way_that_works(rig: GoogleRig, home: Path):
    rig.google.writes = [refusal(403, "The caller does not have permission")]
    said = init(rig, home, "--share", "kim@lab.example", url="new", code=1)
    assert f"make an empty sheet in the browser, share it with {EMAIL} as an editor" in said
    assert not home.exists()


def test_a_new_sheet_that_cannot_be_shared_is_kept_and_that_is_said(rig: GoogleRig, home: Path):
    rig.google.writes = [
        Forward(),
        Forward(),
        refusal(403, "Google Drive API has not been used in project 1 or it is disabled."),
    ]
    said = init(rig, home, "--share", "kim@lab.example", url="new")
    assert "it could not be shared with kim@lab.example" in said
    assert "Enable the Google Drive API" in said
    assert load_settings(home / "sheetd.toml").sheet.kind == "google"


def test_no_secret_is_written_or_said(rig: GoogleRig, home: Path):
    said = init(rig, home)
    secret = json.loads(rig.key.read_text())["private_key"].splitlines()[1]
    written = "".join(path.read_text() for path in home.rglob("*") if path.is_file())
    assert secret not in said + written
    assert rig.person.address.token not in said + written
    assert stat.S_IMODE(rig.key.stat().st_mode) == 0o600
