"""A configuration is right as a whole, or every mistake in it is named with its line and what to do."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from pydantic import ValidationError

from sheetd.config import default_config_path, default_state_dir, load_settings
from sheetd.errors import ConfigError

STARTER = Path(__file__).parents[2] / "templates" / "sheetd.toml"
GOOGLE = "https://docs.google.com/spreadsheets/d/1AbCdEfGhIjKlMnOpQrStUvWxYz0123456789/edit#gid=0"
HOST = '[[hosts]]\nname = "here"\nlocal = true\n'

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    (tmp_path / "templates").mkdir()

    def into_file(text: str) -> Path:
        path = tmp_path / "sheetd.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return into_file


def complaint(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    return str(caught.value)


def test_the_starter_works_as_it_is(tmp_path: Path) -> None:
    shutil.copy(STARTER, tmp_path)
    (tmp_path / "templates").mkdir()
    settings = load_settings(tmp_path / "sheetd.toml")
    assert settings.sheet.kind == "builtin"
    assert settings.daemon.templates == (tmp_path / "templates",)
    assert [(host.name, host.local, host.slots) for host in settings.hosts] == [("this-machine", True, 1)]


def test_the_starter_says_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    full, short = tmp_path / "full.toml", tmp_path / "short.toml"
    shutil.copy(STARTER, full)
    short.write_text('[[hosts]]\nname = "this-machine"\nlocal = true\n')
    assert load_settings(full).sheet == load_settings(short).sheet


@pytest.mark.parametrize(
    ("keys", "looks", "plain_slots"),
    [
        ("", True, 1),
        ("slots = 4\n", False, 4),
        ('accelerators = "off"\n', False, 1),
        ('slots = 4\naccelerators = "auto"\n', True, 4),
        ("idle_memory_mb = 700\ncooldown_s = 0\n", True, 1),
    ],
)
def test_accelerators_are_handed_out_unless_slots_are_counted(
    write: Write, keys: str, looks: bool, plain_slots: int
) -> None:
    (host,) = load_settings(write(HOST + keys)).hosts
    assert (host.looks, host.plain_slots) == (looks, plain_slots)


def test_placement_has_its_own_section(write: Write) -> None:
    assert load_settings(write(HOST)).placement.strategy == "pack"
    chosen = load_settings(write('[placement]\nstrategy = "spread"\nreserve_after_s = 60\n' + HOST)).placement
    assert (chosen.strategy, chosen.reserve_after_s) == ("spread", 60.0)


def test_everything_can_be_set_and_paths_are_relative_to_the_file(write: Write, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "ssh_config").write_text("")
    key = tmp_path / "key.json"
    key.write_text("{}")
    key.chmod(0o600)
    settings = load_settings(
        write(f"""
        [sheet]
        url = "{GOOGLE}"
        tab = "Runs"
        credentials = "key.json"
        poll_s = 5
        ready = "explicit"
        settle_s = 1.5
        deleted_row_grace_s = 0
        [daemon]
        state_dir = "state"
        templates = ["templates", "more"]
        ssh_config = "ssh_config"
        [[hosts]]
        name = "gpu1"
        slots = 2
        labels = ["a100", "fast"]
        env = {{ OMP_NUM_THREADS = "8" }}
        root = "/scratch/me"
        [[hosts]]
        name = "here"
        local = true
        root = "local-root"
        """)
    )
    assert (settings.sheet.kind, settings.sheet.spreadsheet_key) == ("google", "1AbCdEfGhIjKlMnOpQrStUvWxYz0123456789")
    assert settings.sheet.credentials == key
    assert (settings.sheet.poll_s, settings.sheet.ready, settings.sheet.settle_s) == (5.0, "explicit", 1.5)
    assert settings.daemon.state_dir == tmp_path / "state"
    assert settings.daemon.templates == (tmp_path / "templates", tmp_path / "more")
    gpu1, here = settings.hosts
    assert (gpu1.slots, gpu1.labels, gpu1.env, gpu1.root) == (
        2,
        ("a100", "fast"),
        {"OMP_NUM_THREADS": "8"},
        "/scratch/me",
    )
    assert here.root == str(tmp_path / "local-root")


def test_a_running_built_in_sheet_is_named_by_url_key_and_token(write: Write) -> None:
    sheet = load_settings(write(f'[sheet]\nurl = "http://127.0.0.1:8000/"\nkey = "k"\ntoken = "t"\n{HOST}')).sheet
    assert (sheet.kind, sheet.url, sheet.spreadsheet_key, sheet.token) == ("server", "http://127.0.0.1:8000", "k", "t")


def test_settings_are_frozen(write: Write) -> None:
    settings = load_settings(write(HOST))
    with pytest.raises(ValidationError, match="frozen"):
        settings.sheet.poll_s = 1.0  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        settings.hosts = ()  # type: ignore[misc]


# --- mistakes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("[sheet]\npol_s = 1\n" + HOST, 2, 'sheet.pol_s: unknown key; did you mean "poll_s"?'),
        (
            "[sheets]\nurl = 'builtin'\n" + HOST,
            1,
            "sheets: is written in double brackets, [[sheets]], once for each sheet; the only one may be [sheet]",
        ),
        (HOST + "slot = 3\n", 4, 'hosts #1.slot: unknown key; did you mean "slots"?'),
        (
            HOST + "zzz = 3\n",
            4,
            "hosts #1.zzz: unknown key; known here: name, local, slots, accelerators, idle_memory_mb, ",
        ),
        ("[sheet]\n\n# often\npoll_s = '2'\n" + HOST, 4, "sheet.poll_s: must be a valid number, and is '2'"),
        ("[sheet]\npoll_s = 0\n" + HOST, 2, "sheet.poll_s: must be greater than 0, and is 0"),
        ("[sheet]\nsettle_s = nan\n" + HOST, 2, "sheet.settle_s: must be a finite number"),
        ("[sheet]\nready = 'now'\n" + HOST, 2, "sheet.ready: must be 'settled' or 'explicit', and is 'now'"),
        ("[sheet]\nurl = 'https://example.com/x'\n" + HOST, 2, 'sheet.url: must be "builtin", the address of a Google'),
        ("[sheet]\nurl = 'http://gpu1:8000'\n" + HOST, 2, 'sheet.url: must be "builtin"'),
        ("[sheet]\ncredentials = 'x.json'\n" + HOST, 2, "sheet.credentials: is only for Google sheets"),
        (f"[sheet]\nurl = '{GOOGLE}'\n" + HOST, 1, "sheet.credentials: is missing: name your service account's key"),
        ("[sheet]\nurl = 'http://127.0.0.1:80'\nkey = 'k'\n" + HOST, 1, "sheet.token: is missing: the running sheet"),
        ("[sheet]\ntoken = 'very secret'\n" + HOST, 2, "sheet.token: belongs to a url of a running built-in sheet"),
        ("[daemon]\ntemplates = ['nope']\n" + HOST, 2, "daemon.templates: there is no folder"),
        ("[daemon]\ntemplates = 'templates'\n" + HOST, 2, 'daemon.templates: must be a list, such as ["a", "b"]'),
        ("[daemon]\nssh_config = 'nope'\n" + HOST, 2, "daemon.ssh_config: there is no file"),
        ("[daemon]\nstate_dir = 3\n" + HOST, 2, "daemon.state_dir: must be a path"),
        ("", None, "hosts: names no host: add one with `sheetd host add NAME`"),
        ("hosts = []\n", 1, 'or [[hosts]] with name = "this-machine" and local = true to use this one'),
        (HOST + HOST.replace("here", "there") + "slots = 0\n", 7, "hosts #2.slots: must be greater than or equal to 1"),
        ("[[hosts]]\nlocal = true\n", 1, "hosts #1.name: is missing: add it"),
        (HOST.replace("here", "me@gpu1:22"), 2, "hosts #1.name: 'me@gpu1:22' cannot be a host's name"),
        ('[[hosts]]\nname = "-oProxyCommand=x"\n', 2, "cannot be a host's name"),
        ('[[hosts]]\nname = "gpu1\\n"\n', 2, "cannot be a host's name"),
        (HOST + "labels = ['two words']\n", 4, "hosts #1.labels: 'two words' cannot be a label"),
        (HOST + "env = { 'A B' = '1' }\n", 4, "hosts #1.env: 'A B' cannot be set"),
        (HOST + "[hosts.env]\nSHEETD_ID = 'x'\n", 4, "hosts #1.env: 'SHEETD_ID' cannot be set"),
        ("[[hosts]]\nname = 'gpu1'\nroot = 'state'\n", 3, "hosts #1.root: must be an absolute path on the host"),
        (HOST + HOST, 1, 'hosts: two hosts are called "here": rename one'),
        (HOST + HOST.replace("here", "there"), 1, "hosts: two local hosts would share one folder"),
    ],
)
def test_a_mistake_is_named_with_file_line_key_and_what_to_do(
    write: Write, text: str, line: int | None, says: str
) -> None:
    path = write(text)
    found = complaint(path)
    assert says in found
    if line is not None:
        assert f"{path}:{line}: " in found
    assert "\n" not in found, "one mistake, one line"
    assert "very secret" not in found


def test_all_mistakes_are_named_at_once(write: Write) -> None:
    found = complaint(write("[sheet]\npol_s = 1\nready = 3\n[[hosts]]\nname = 'a b'\nslots = 'two'\n"))
    assert [line.split(": ")[1] for line in found.splitlines()] == [
        "sheet.ready",
        "sheet.pol_s",
        "hosts #1.name",
        "hosts #1.slots",
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[sheet\n", r"not TOML: .*line 1"),
        ("poll_s = \n", r"not TOML: .*line 1"),
        ("a = 1\na = 2\n", r"not TOML.*line 2"),
    ],
)
def test_what_is_no_toml_is_named_with_its_line(write: Write, text: str, says: str) -> None:
    assert re.search(says, complaint(write(text)))


def test_a_file_that_is_not_there_is_explained(tmp_path: Path) -> None:
    assert "there is no" in complaint(tmp_path / "sheetd.toml")
    assert "sheetd init" in complaint(tmp_path / "sheetd.toml")


def test_a_file_in_another_encoding_is_explained(tmp_path: Path) -> None:
    (tmp_path / "sheetd.toml").write_bytes(b"# \xff\xfe")
    assert "save it as UTF-8" in complaint(tmp_path / "sheetd.toml")


def test_a_byte_order_mark_does_no_harm(write: Write) -> None:
    assert load_settings(write("\ufeff" + HOST)).hosts[0].name == "here"


# --- the key of the service account -------------------------------------------------------------------------------


@pytest.fixture
def with_key(write: Write, tmp_path: Path) -> tuple[Path, Path]:
    key = tmp_path / "keys" / "key.json"
    key.parent.mkdir()
    key.write_text("{}")
    key.chmod(0o600)
    return write(f'[sheet]\nurl = "{GOOGLE}"\ncredentials = "keys/key.json"\n{HOST}'), key


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_can_read_is_refused(with_key: tuple[Path, Path], mode: int) -> None:
    config, key = with_key
    key.chmod(mode)
    assert f":3: sheet.credentials: {key} can be read by others: run chmod 600 {key}" in complaint(config)


def test_a_key_inside_a_git_work_tree_is_refused(with_key: tuple[Path, Path], tmp_path: Path) -> None:
    config, _ = with_key
    (tmp_path / ".git").mkdir()
    assert "inside the git work tree" in complaint(config)


def test_a_link_does_not_hide_that_the_key_is_in_a_work_tree(with_key: tuple[Path, Path], tmp_path: Path) -> None:
    config, key = with_key
    (tmp_path / "project" / ".git").mkdir(parents=True)
    key.rename(tmp_path / "project" / "key.json")
    key.symlink_to(tmp_path / "project" / "key.json")
    assert "inside the git work tree" in complaint(config)


def test_a_missing_key_is_explained(with_key: tuple[Path, Path]) -> None:
    config, key = with_key
    key.unlink()
    assert f"there is no file {key}: download" in complaint(config)


def test_a_google_sheet_is_not_polled_faster_than_its_quota(with_key: tuple[Path, Path]) -> None:
    config, _ = with_key
    config.write_text(config.read_text().replace("[[hosts]]", "poll_s = 0.5\n[[hosts]]"))
    assert "at least 1 for a Google sheet" in complaint(config)


# --- where it is --------------------------------------------------------------------------------------------------


def test_the_file_is_looked_for_here_then_where_the_variable_says_then_in_the_users_own_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, own, named = tmp_path / "here", tmp_path / "config" / "sheetd" / "sheetd.toml", tmp_path / "named.toml"
    here.mkdir()
    own.parent.mkdir(parents=True)
    monkeypatch.chdir(here)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("SHEETD_CONFIG", raising=False)
    with pytest.raises(ConfigError, match=r"no sheetd\.toml in this folder, nor .*sheetd init"):
        default_config_path()
    own.write_text(HOST)
    assert default_config_path() == own
    monkeypatch.setenv("SHEETD_CONFIG", str(named))
    with pytest.raises(ConfigError, match=r"SHEETD_CONFIG names .* no such file"):
        default_config_path()
    named.write_text(HOST)
    assert default_config_path() == named
    (here / "sheetd.toml").write_text(HOST)
    assert default_config_path() == here / "sheetd.toml"


def test_two_configurations_never_share_a_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    paths = [tmp_path / "a" / "my project" / "sheetd.toml", tmp_path / "b" / "my project" / "sheetd.toml"]
    folders = [default_state_dir(path) for path in paths]
    assert folders[0] != folders[1]
    assert all(re.fullmatch(r"my-project-[0-9a-f]{8}", folder.name) for folder in folders)
    assert folders[0] == default_state_dir(paths[0])
    assert folders[0].parent == tmp_path / "state" / "sheetd"


@pytest.mark.parametrize(
    ("text", "title"),
    [("", "Runs"), ('tab = "Runs"', ""), ('hosts_tab = "Runs"', ""), ('runs_tab = "Sweeps"', "Sweeps")],
)
def test_the_tab_of_runs_gives_way_to_one_that_is_called_so(write: Write, text: str, title: str) -> None:
    assert load_settings(write(f"{HOST}[sheet]\n{text}\n")).sheet.runs_tab == title


def test_no_two_tabs_of_ours_have_one_title(write: Write) -> None:
    said = complaint(write(f'{HOST}[sheet]\nhosts_tab = "Machines"\nruns_tab = "machines"\n'))
    assert 'sheet.runs_tab: is the tab of the hosts: name another one, or "" to have no tab of runs' in said
