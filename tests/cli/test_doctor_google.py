"""Each mistake that `sheetd doctor` knows about a Google sheet: a test makes it and reads the advice.

Mistakes in hosts and templates: `tests/acceptance/test_newcomer.py` and `tests/acceptance/test_preflight.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from sheetd.config import load_settings
from sheetd.errors import ConfigError
from sheetd.sheets.google import open_google
from tests.cli.google_rig import GoogleRig, refusal
from tests.sheets.key_file import EMAIL
from tests.sheets.unruly import Forward, Move, Reply

TOKEN_REFUSED = "Google refused to sign in"


def grant_refused(why: str) -> Reply:
    return Reply(400, {"error": "invalid_grant", "error_description": why})


@pytest.fixture(autouse=True)
def configuration(rig: GoogleRig) -> None:
    rig.write()


def test_a_sheet_in_order_is_told_with_who_signs_in_and_who_may_edit(rig: GoogleRig):
    told = {finding.what: (finding.ok, finding.detail) for finding in rig.doctor()}
    assert told == {
        "account": (True, EMAIL),
        "clock": (True, "agrees with Google's"),
        "sheet": (True, 'tab "Experiments" has its columns and 0 rows'),
        "sharing": (True, "1 person or group by name can edit"),
    }


def test_the_doctor_itself_shows_them_beside_all_else_and_ends_with_1_for_a_mistake(rig: GoogleRig):
    rig.google.otherwise = refusal(403, "The caller does not have permission")
    shown = rig.sheetd("doctor", "--config", str(rig.config), "--json", code=1)
    told = {finding["what"]: finding["ok"] for finding in json.loads(shown)}
    assert told == {
        **dict.fromkeys(("configuration", "templates", "daemon", "account", "clock"), True),
        "sheet": False,
        "host here": True,
    }


def test_looking_changes_nothing_and_the_daemons_own_sign_in_asks_for_spreadsheets_alone(rig: GoogleRig):
    before = rig.person.grid()
    rig.doctor()
    assert rig.person.grid() == before
    assert {method for method, path, _ in rig.google.seen if path != "/token"} == {"GET"}


# --- being let in ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (refusal(403, "The caller does not have permission"), f"Share the spreadsheet with {EMAIL} as an editor"),
        (refusal(404, "Requested entity was not found."), "Check the spreadsheet's address, that it is not in the bin"),
        (
            refusal(
                403,
                "Google Sheets API has not been used in project 12345 before or it is disabled.",
                "SERVICE_DISABLED",
                service="sheets.googleapis.com",
                consumer="projects/12345",
            ),
            "project of the key file (https://console.cloud.google.com/apis/library/sheets.googleapis.com?project=12345)",
        ),
        (
            refusal(403, "Request had insufficient authentication scopes.", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"),
            "This sign-in does not cover spreadsheets",
        ),
        (
            refusal(400, "This operation is not supported for this document"),
            "This is an Excel file: choose File > Save as Google Sheets",
        ),
        (
            refusal(429, "Quota exceeded for quota metric 'Read requests'"),
            "another program uses the quota of this account or project up: wait a minute",
        ),
    ],
    ids=["not shared", "no such sheet", "API not enabled", "scopes", "Excel", "quota"],
)
def test_a_sheet_that_google_does_not_hand_out(rig: GoogleRig, answer: Move, advice: str):
    rig.google.otherwise = answer
    bad = rig.bad()
    assert set(bad) == {"sheet"}
    assert advice in bad["sheet"]


def test_an_address_of_something_else_is_a_mistake_in_the_configuration(rig: GoogleRig):
    rig.write(url="https://docs.google.com/spreadsheets/d/e/2PACX-1vTabcdefghijklmnopqrstuvwxyz/pubhtml")
    shown = rig.sheetd("doctor", "--config", str(rig.config), code=1)
    assert re.search(r"BAD configuration: \S+sheetd\.toml:2: sheet\.url: must be .* as the browser shows it", shown)


# --- signing in --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "advice"),
    [
        ("Invalid JWT Signature.", "is the key deleted or disabled, or this machine's clock wrong?"),
        ("Invalid grant: account not found", "the service account is gone: make another one with a key"),
        (
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.",
            "this machine's clock is wrong: have it set over the network",
        ),
    ],
)
def test_a_sign_in_that_google_refuses(rig: GoogleRig, why: str, advice: str):
    rig.google.tokens = [grant_refused(why)] * 9
    bad = rig.bad()
    assert set(bad) == {"sheet"}
    assert TOKEN_REFUSED in bad["sheet"]
    assert advice in bad["sheet"]


@pytest.mark.parametrize(
    ("spoil", "advice"),
    [
        (lambda rig: rig.key.unlink(), "there is no file {key}: download the service account's key as JSON"),
        (lambda rig: rig.key.chmod(0o644), "{key} can be read by others: run chmod 600 {key}"),
    ],
    ids=["missing", "readable by others"],
)
def test_a_key_file_that_the_configuration_does_not_allow(
    rig: GoogleRig, spoil: Callable[[GoogleRig], None], advice: str
):
    spoil(rig)
    shown = rig.sheetd("doctor", "--config", str(rig.config), code=1)
    assert f"BAD configuration: {rig.config}:3: sheet.credentials: {advice.format(key=rig.key)}" in shown
    with pytest.raises(ConfigError):
        rig.doctor()


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        ("<html>", "it is not JSON; download the key once more"),
        ("[]", "it is not a JSON object"),
        ('{"type": "service_account"}', "client_email"),
        ('{"type": "authorized_user"}', "it has no refresh_token and no client_id and no client_secret"),
        ('{"installed": {}}', "is an OAuth client, which says who asks and not who allows it: run `sheetd login"),
    ],
)
def test_a_key_file_that_is_none(rig: GoogleRig, content: str, advice: str):
    rig.key.write_text(content)
    bad = rig.bad()
    assert set(bad) == {"sheet"}
    assert str(rig.key) in bad["sheet"]
    assert advice in bad["sheet"]


def test_application_default_credentials_that_are_not_there(rig: GoogleRig, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/no/such/file")
    rig.write(credentials="application-default")
    assert "this machine has no application default credentials" in rig.bad()["sheet"]


def test_application_default_credentials_are_taken_where_the_file_says_so(
    rig: GoogleRig, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(rig.key))
    rig.write(credentials="application-default")
    assert rig.bad() == {}
    assert rig.doctor()[0].detail == EMAIL


def test_a_persons_sign_in_that_has_ended(rig: GoogleRig):
    token_uri = f"{rig.google.base_url}/token"
    told = {"type": "authorized_user", "client_id": "id", "client_secret": "s", "refresh_token": "r"}
    rig.key.write_text(json.dumps({**told, "token_uri": token_uri}))
    assert rig.bad() == {}
    rig.google.tokens = [grant_refused("Token has been expired or revoked.")] * 9
    advice = rig.bad()["sheet"]
    assert "those of a consent screen in Testing end after 7 days" in advice
    assert advice.endswith("sign in again with `sheetd login`")


@pytest.mark.parametrize(
    ("ahead_s", "words"), [(600.0, "10 min behind Google's"), (-90.0, "s ahead of Google's"), (8000.0, "2 h behind")]
)
def test_a_wrong_clock_is_said_with_by_how_much(rig: GoogleRig, ahead_s: float, words: str):
    rig.google.clock_ahead_s = ahead_s
    bad = rig.bad()
    assert set(bad) == {"clock"}
    assert words in bad["clock"]
    assert "timedatectl set-ntp true" in bad["clock"]


def test_a_sign_in_refused_for_a_wrong_clock_is_said_below_the_clock(rig: GoogleRig):
    rig.google.clock_ahead_s = 1200.0
    rig.google.tokens = [grant_refused("Invalid JWT: Token must be in a reasonable timeframe.")] * 9
    assert list(rig.bad()) == ["clock", "sheet"]


def test_less_than_a_minute_is_no_wrong_clock(rig: GoogleRig):
    rig.google.clock_ahead_s = 50.0
    assert rig.bad() == {}


# --- tab and header ----------------------------------------------------------------------------------------------


def test_a_tab_that_is_not_there_is_said_with_those_there_are(rig: GoogleRig):
    rig.person.spreadsheet.add_worksheet("Notes", 10, 10)
    rig.write(tab="Experimints")
    assert "there is no tab 'Experimints', only 'Experiments', 'Notes'" in rig.bad()["sheet"]


def test_two_columns_of_one_name_are_said_by_their_letters(rig: GoogleRig):
    place = rig.person.column("status")
    rig.person.tab.add_cols(40 - rig.person.tab.col_count)
    rig.person.tab.update_cell(1, 40, "Status")
    letter = chr(ord("A") + place)
    said = f'in the tab "Experiments", columns {letter} and AN are both called "status": rename one of them'
    assert rig.bad()["sheet"] == said


def test_missing_columns_are_named(rig: GoogleRig):
    for header in ("id", "message"):
        rig.person.tab.update_cell(1, rig.person.column(header) + 1, "x")
    assert "the header row lacks " in rig.bad()["sheet"]
    assert {"id", "message"} <= set(re.findall(r"\w+", rig.bad()["sheet"].partition("lacks")[2]))


# --- who may edit ------------------------------------------------------------------------------------------------


def test_a_sheet_that_anyone_with_the_link_may_edit(rig: GoogleRig):
    rig.person.spreadsheet.share(None, perm_type="anyone", role="writer", with_link=True)
    assert rig.bad() == {
        "sharing": "anyone who has the link can edit, and so start what your templates allow:"
        ' in the sheet\'s Share dialog, set General access to "Restricted"'
    }


def test_a_sheet_that_anyone_may_look_at_is_allowed(rig: GoogleRig):
    rig.person.spreadsheet.share(None, perm_type="anyone", role="reader", with_link=True)
    assert rig.doctor()[-1].detail == "anyone who has the link can look, 1 person or group by name can edit"
    assert rig.bad() == {}


def test_that_sharing_cannot_be_seen_is_said_and_is_no_mistake(rig: GoogleRig):
    rig.google.reads = [Forward(), refusal(403, "Google Drive API has not been used", "SERVICE_DISABLED")]
    sharing = rig.doctor()[-1]
    assert sharing.ok
    assert sharing.detail.startswith("who may edit the sheet cannot be seen with this sign-in")


def test_requests_to_google_are_counted_for_the_meter_in_status(rig: GoogleRig):
    settings = load_settings(rig.config)
    assert settings.sheet.credentials is not None
    sheet = open_google(settings.sheet.url, settings.sheet.tab, settings.sheet.credentials)
    rig.google.reads = [refusal(429, "Quota exceeded")]
    sheet.read()
    assert sheet.client.usage() == {"reads": 2, "writes": 0, "allowed": 30}, "those that are tried again count too"
    sheet.close()
