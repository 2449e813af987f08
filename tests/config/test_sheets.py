"""Several sheets in one sheetd.toml: what each has for itself, and every mistake that lets two of them meet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sheetd.config import Settings, load_settings
from sheetd.errors import ConfigError

GOOGLE = "https://docs.google.com/spreadsheets/d/1AbCdEfGhIjKlMnOpQrStUvWxYz0123456789/edit#gid=0"
SAME_GOOGLE = "https://docs.google.com/spreadsheets/u/1/d/1AbCdEfGhIjKlMnOpQrStUvWxYz0123456789"
HOST = '[[hosts]]\nname = "here"\nlocal = true\n'

Load = Callable[[str], Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    (tmp_path / "templates").mkdir()

    def from_text(text: str) -> Settings:
        path = tmp_path / "sheetd.toml"
        path.write_text(text + '[daemon]\nstate_dir = "state"\n' + HOST)
        return load_settings(path)

    return from_text


def sheet(name: str, keys: str = "") -> str:
    return f'[[sheets]]\nname = "{name}"\n{keys}\n'


def tabs(settings: Settings) -> list[tuple[str, str, str, str]]:
    return [(one.name, one.tab, one.hosts_tab, one.runs_tab) for one in settings.sheets]


def test_a_file_of_before_is_one_project_where_it_always_was(load: Load, tmp_path: Path) -> None:
    for text in ("", "[sheet]\n", "[sheet]\nsettle_s = 2.0\n"):
        (only,) = load(text).projects
        assert only.state_dir == tmp_path / "state"
        assert (only.sheet.name, only.sheet.folder, only.sheet.tab) == ("main", "", "Experiments")


def test_each_of_several_has_a_tab_and_a_folder_of_its_name(load: Load, tmp_path: Path) -> None:
    settings = load(sheet("Vision") + sheet("speech", "settle_s = 9.0"))
    assert tabs(settings) == [("Vision", "Vision", "Hosts", "Runs"), ("speech", "speech", "", "Runs speech")]
    assert [one.state_dir for one in settings.projects] == [
        tmp_path / "state/projects" / n for n in ("vision", "speech")
    ]
    assert [one.sheet.settle_s for one in settings.projects] == [3.0, 9.0]
    assert settings.sheet is settings.sheets[0]


def test_the_first_keeps_everything_when_a_second_is_added(load: Load) -> None:
    before = load('[sheet]\nname = "lab"\n')
    after = load('[sheet]\nname = "lab"\n' + sheet("speech"))
    assert after.projects[0].sheet == before.sheet
    assert after.projects[0].state_dir == before.state_dir
    assert tabs(after) == [("lab", "Experiments", "Hosts", "Runs"), ("speech", "speech", "", "Runs speech")]


def test_another_spreadsheet_has_a_tab_of_hosts_of_its_own(load: Load) -> None:
    running = 'url = "http://127.0.0.1:9"\ntoken = "t"\nkey = "{}"'
    settings = load(sheet("a", running.format("one")) + sheet("b", running.format("two")) + sheet("c"))
    assert tabs(settings) == [(n, n, "Hosts", "Runs") for n in "abc"]


def test_a_tab_that_is_called_as_a_usual_one_of_ours_goes_before_it(load: Load) -> None:
    settings = load("[sheet]\n" + sheet("hosts") + sheet("b", 'tab = "Runs"'))
    assert tabs(settings) == [
        ("main", "Experiments", "", ""),
        ("hosts", "hosts", "", "Runs hosts"),
        ("b", "Runs", "", "Runs b"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (sheet("a") + sheet("A"), 5, 'sheets #2.name: two sheets are called "a": rename one'),
        ("[sheet]\n" + sheet("main"), 3, 'sheets #1.name: two sheets are called "main": rename one'),
        ("[[sheets]]\n" + sheet("b"), 1, "sheets #1.name: is missing: add it"),
        (sheet("a b"), 2, "sheets #1.name: 'a b' cannot be a sheet's name"),
        (sheet("../x"), 2, "sheets #1.name: '../x' cannot be a sheet's name"),
        (sheet(""), 2, "sheets #1.name: '' cannot be a sheet's name"),
        (sheet("a", 'tab = "T"') + sheet("b", 'tab = " t"'), 6, 'sheets #2.tab: the sheet "a" has the tab " t"'),
        ("[sheet]\n" + sheet("experiments"), 2, 'sheets #1.tab: the sheet "main" has the tab "experiments"'),
        (
            sheet("a", 'hosts_tab = "Hosts"') + sheet("b", 'hosts_tab = "hosts"'),
            6,
            'sheets #2.hosts_tab: the sheet "a" has the tab "hosts" of this spreadsheet: name another tab',
        ),
        (sheet("a") + sheet("b", 'runs_tab = "A"'), 6, 'sheets #2.runs_tab: the sheet "a" has the tab "A"'),
        (sheet("a", "setle_s = 1"), 3, 'sheets #1.setle_s: unknown key; did you mean "settle_s"?'),
        (sheet("a", "poll_s = 0"), 3, "sheets #1.poll_s: must be greater than 0, and is 0"),
        ('[sheets]\nname = "a"\n', 1, "sheets: is written in double brackets, [[sheets]], once for each sheet"),
        ('[[sheet]]\nname = "a"\n', 1, "sheet: is there once, in single brackets"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line(load: Load, text: str, line: int, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert f"sheetd.toml:{line}: {says}" in str(caught.value)


def test_one_google_sheet_is_known_by_its_key_however_its_address_is_spelled(load: Load, tmp_path: Path) -> None:
    key = tmp_path / "key.json"
    key.write_text("{}")
    key.chmod(0o600)
    creds = f'credentials = "{key}"'
    with pytest.raises(ConfigError, match=r'sheets #2\.tab: the sheet "a" has the tab "T"'):
        load(
            sheet("a", f'url = "{GOOGLE}"\ntab = "T"\n{creds}')
            + sheet("b", f'url = "{SAME_GOOGLE}"\ntab = "T"\n{creds}')
        )
