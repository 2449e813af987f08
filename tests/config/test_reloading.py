"""The files that an operator edits, as they are looked at: when they are read, and what counts of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sheetd import last_good
from sheetd.config import HostSettings, Settings, load_settings
from sheetd.core.model import HostName
from sheetd.core.template import Template
from sheetd.core.why import Strategy
from sheetd.errors import ConfigError
from sheetd.journal import SqliteJournal
from sheetd.last_good import settings_in_use
from sheetd.ports import Host, Reconfiguration
from sheetd.reloading import GOOGLE_POLL_S, LOOK_EVERY_S, SAME_FOR_S, Reloader, configuration_of
from sheetd.templates import load_templates

CONFIG = """\
[sheet]
poll_s = 3.0
[daemon]
state_dir = "state"
[[hosts]]
name = "here"
local = true
"""
TEMPLATE = 'command = ["true", "{lr}"]\n[params.lr]\ntype = "number"\ndefault = 1.0\n'


def open_nothing(settings: Settings, host: HostSettings) -> Host:
    raise AssertionError(f"{host.name} is reached by nobody here: {settings.path}")


class Operator:
    """A folder with files, and who looks at them."""

    def __init__(self, folder: Path, config: str = CONFIG) -> None:
        self.folder = folder
        self.config = folder / "sheetd.toml"
        self.state = folder / "state"
        (folder / "templates").mkdir()
        self.state.mkdir()
        self.save(config)
        self.save_template("train", TEMPLATE)
        self.posted: list[Reconfiguration] = []
        self.posted_to_second: list[Reconfiguration] = []
        settings = load_settings(self.config)
        templates = load_templates(settings.daemon.templates)
        posts = [self.posted.append, self.posted_to_second.append]
        self.reloader = Reloader(settings, templates, open_nothing, posts[: len(settings.sheets)])
        self.reloader.start()()  # and ended at once: from here on the test looks
        self.look()

    def save(self, text: str) -> None:
        self.config.write_text(text)

    def save_template(self, name: str, text: str) -> None:
        (self.folder / "templates" / f"{name}.toml").write_text(text)

    def look(self) -> None:
        """Until two looks have seen the same."""
        while self.reloader.look() == SAME_FOR_S:
            pass

    @property
    def newest(self) -> Reconfiguration:
        return self.posted[-1]

    def template(self, name: str = "train") -> Template:
        return self.newest.configuration.templates[name]


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path)


@pytest.fixture
def daemon(operator: Operator) -> Iterator[SqliteJournal]:
    """What a daemon holds while it runs."""
    journal = SqliteJournal(operator.state)
    yield journal
    journal.close()


def test_files_that_say_what_they_said_are_handed_over_to_nobody(operator: Operator) -> None:
    operator.save(CONFIG + "# a remark\n")
    operator.look()
    operator.reloader.look_now()
    operator.look()
    assert operator.posted == []


def test_a_file_is_read_when_two_looks_in_a_row_have_seen_it_the_same(operator: Operator) -> None:
    operator.save(CONFIG[:40])
    assert operator.reloader.look() == SAME_FOR_S
    operator.save(CONFIG.replace("3.0", "4.0") + "#")
    assert operator.reloader.look() == SAME_FOR_S
    assert operator.posted == []
    assert operator.reloader.look() == LOOK_EVERY_S
    assert operator.newest.configuration.limits.poll_s == 4.0
    assert operator.newest.mistakes == ()


def test_a_mistake_in_the_configuration_does_not_keep_an_edited_template_from_being_taken(operator: Operator) -> None:
    operator.save(CONFIG.replace("poll_s = 3.0", "poll_s = -3.0"))
    operator.save_template("train", TEMPLATE.replace("1.0", "2.0"))
    operator.look()
    assert operator.newest.configuration.limits.poll_s == 3.0
    assert operator.template().params["lr"].default == 2.0
    (mistake,) = operator.newest.mistakes
    assert mistake.startswith(f"{operator.config}:2: sheet.poll_s: must be greater than 0")


def test_a_mistake_that_is_put_right_is_told_no_more(operator: Operator) -> None:
    operator.save(CONFIG.replace("poll_s = 3.0", "poll = 3.0"))
    operator.look()
    assert operator.newest.mistakes
    operator.save(CONFIG)
    operator.look()
    assert operator.newest.mistakes == ()


def test_a_template_with_a_mistake_counts_as_it_was_and_the_others_are_taken(operator: Operator) -> None:
    operator.save_template("train", TEMPLATE.replace('"number"', '"nonsense"'))
    operator.save_template("other", TEMPLATE)
    operator.save_template("never", "command = 3\n")
    operator.look()
    assert set(operator.newest.configuration.templates) == {"train", "other"}
    assert operator.template().params["lr"].default == 1.0
    told = "\n".join(operator.newest.mistakes)
    assert "train.toml:3: params.lr.type: " in told
    assert "never.toml:1: command: " in told


def test_a_template_that_is_deleted_is_gone_but_for_the_last_one(operator: Operator) -> None:
    operator.save_template("other", TEMPLATE)
    operator.look()
    (operator.folder / "templates" / "train.toml").unlink()
    operator.look()
    assert set(operator.newest.configuration.templates) == {"other"}
    (operator.folder / "templates" / "other.toml").unlink()
    operator.look()
    assert set(operator.newest.configuration.templates) == {"other"}
    assert operator.newest.mistakes == (f"there is no template in {operator.folder / 'templates'}: add one",)


def test_a_configuration_that_is_deleted_counts_as_it_was(operator: Operator) -> None:
    operator.config.unlink()
    operator.look()
    assert [host.name for host in operator.newest.configuration.hosts] == ["here"]
    assert f"there is no {operator.config}" in operator.newest.mistakes[0]


@pytest.mark.parametrize(
    ("key", "line"),
    [("sheet.tab", 'tab = "Other"'), ("sheet.hosts_tab", 'hosts_tab = "Machines"')],
)
def test_what_the_daemon_holds_open_is_taken_at_its_next_start(operator: Operator, key: str, line: str) -> None:
    operator.save(CONFIG.replace("poll_s = 3.0", f"poll_s = 4.0\n{line}"))
    operator.look()
    said = f"{operator.config}: {key}: was changed, and is taken when sheetd is started again"
    assert operator.newest.at_restart == (said,)
    assert operator.newest.configuration.limits.poll_s == 4.0, "all else is taken"
    operator.save(CONFIG.replace("3.0", "4.0"))
    operator.look()
    assert operator.newest.at_restart == ()


def test_another_state_folder_moves_no_host(operator: Operator) -> None:
    before = load_settings(operator.config)
    operator.save(CONFIG.replace('"state"', '"state2"').replace("3.0", "4.0"))
    operator.look()
    assert operator.newest.at_restart == (
        f"{operator.config}: daemon.state_dir: was changed, and is taken when sheetd is started again",
    )
    assert operator.reloader._settings.daemon.state_dir == before.daemon.state_dir


def test_another_kind_of_sheet_does_not_bring_its_times(operator: Operator) -> None:
    """What a built-in sheet bears is too often for Google."""
    sheet = '[sheet]\nurl = "http://127.0.0.1:8000"\nkey = "k"\ntoken = "t"\npoll_s = 0.1\n'
    operator.save(sheet + CONFIG.partition("poll_s = 3.0\n")[2])
    operator.look()
    assert [text.split(": ")[1] for text in operator.newest.at_restart] == ["sheet.url", "sheet.key", "sheet.token"]
    assert operator.newest.configuration.limits.poll_s == 3.0


def test_what_is_said_twice_is_logged_once(operator: Operator, caplog: pytest.LogCaptureFixture) -> None:
    operator.save(CONFIG.replace("poll_s = 3.0", "poll = 3.0"))
    operator.look()
    operator.save_template("train", TEMPLATE.replace("1.0", "2.0"))
    operator.look()
    logged = [record.getMessage() for record in caplog.records]
    assert len([text for text in logged if "sheet.poll: unknown key" in text]) == 1
    assert "read anew: template train" in logged
    operator.save(CONFIG)
    operator.look()
    assert caplog.records[-1].getMessage() == "read anew: no mistake is left"


def test_env_is_another_way_to_a_host_and_root_another_place(operator: Operator) -> None:
    name = HostName("here")
    routes = []
    for keys in ("", "\nslots = 3", '\nenv = { A = "b" }', '\nroot = "elsewhere"'):
        operator.save(CONFIG + keys.removeprefix("\n") + "\n" + "#" * len(routes))
        operator.look()
        routes.append(operator.newest.routes[name] if operator.posted else None)
    _, slots, env, root = routes
    assert slots is not None
    assert env is not None
    assert root is not None
    assert (slots.place, slots.way) == (env.place, slots.way)
    assert slots.way != env.way
    assert slots.place != root.place


def test_the_secrets_of_an_edited_template_are_known_before_a_job_can_print_them(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "like nothing else")
    operator.save_template("train", f'secrets = ["TOKEN"]\n{TEMPLATE}')
    operator.look()
    assert operator.newest.configuration.redactor.text("it is like nothing else") == "it is [redacted]"
    assert "like nothing else" not in repr(operator.newest)


# --- several sheets ----------------------------------------------------------------------------------------------

VISION, SPEECH = ('[[sheets]]\nname = "vision"\npoll_s = 3.0\n', '[[sheets]]\nname = "speech"\npoll_s = 5.0\n')
REST = '[daemon]\nstate_dir = "state"\n[[hosts]]\nname = "here"\nlocal = true\n'


@pytest.fixture
def of_two(tmp_path: Path) -> Operator:
    return Operator(tmp_path, VISION + SPEECH + REST)


def test_hosts_templates_and_placement_reach_every_sheet_and_times_their_own(of_two: Operator) -> None:
    of_two.save_template("other", TEMPLATE)
    of_two.save(VISION + SPEECH.replace("5.0", "6.0") + '[placement]\nstrategy = "spread"\n' + REST + "slots = 4\n")
    of_two.look()
    found = [of_two.newest.configuration, of_two.posted_to_second[-1].configuration]
    for one in found:
        assert (set(one.templates), one.limits.strategy) == ({"train", "other"}, Strategy.SPREAD)
        assert [len(host.slots) for host in one.hosts] == [4]
    assert [one.limits.poll_s for one in found] == [3.0, 6.0]


def test_a_sheet_that_is_new_or_gone_waits_for_a_restart_and_that_is_said(of_two: Operator) -> None:
    new = '[[sheets]]\nname = "third"\n'
    of_two.save(new + SPEECH.replace("5.0", "6.0") + 'tab = "Talk"\n' + REST)
    of_two.look()
    when = "taken when sheetd is started again"
    for posted in (of_two.posted, of_two.posted_to_second):
        assert [text.removeprefix(f"{of_two.config}: ") for text in posted[-1].at_restart] == [
            f'sheets "speech".tab: was changed, and is {when}',
            'the sheet "vision" is not there any more, and is served until sheetd is started again',
            f'the sheet "third" is new, and is {when}',
        ]
    assert of_two.newest.configuration.limits.poll_s == 3.0
    assert of_two.posted_to_second[-1].configuration.limits.poll_s == 6.0, "all else is taken"
    of_two.save(VISION + SPEECH + REST)
    of_two.look()
    assert of_two.newest.at_restart == ()


def test_who_looks_sees_a_sheet_that_is_still_served_though_it_is_out_of_the_file(of_two: Operator) -> None:
    of_two.save(VISION + REST)
    assert [one.name for one in settings_in_use(of_two.config)[0].sheets] == ["vision"]
    with SqliteJournal(of_two.state):
        assert [one.name for one in settings_in_use(of_two.config)[0].sheets] == ["vision", "speech"]


def test_sheets_under_one_account_ask_google_in_turns(tmp_path: Path) -> None:
    key, other = tmp_path / "key.json", tmp_path / "other.json"
    for file in (key, other):
        file.touch(mode=0o600)
    (tmp_path / "templates").mkdir()
    text = "".join(
        f'[[sheets]]\nname = "{name}"\nurl = "https://docs.google.com/spreadsheets/d/{"k" * 44}/edit"\n'
        f'credentials = "{file}"\n'
        for name, file in (("a", key), ("b", key), ("c", key), ("d", other))
    )
    (tmp_path / "sheetd.toml").write_text(text + REST)
    settings = load_settings(tmp_path / "sheetd.toml")
    limits = [configuration_of(project, {}).limits for project in settings.projects]
    assert [(one.poll_s, one.write_gap_s) for one in limits] == [(3 * GOOGLE_POLL_S,) * 2] * 3 + [(GOOGLE_POLL_S,) * 2]


# --- who only looks or asks --------------------------------------------------------------------------------------


def test_who_looks_goes_by_the_last_good_file_while_a_daemon_runs(operator: Operator, daemon: SqliteJournal) -> None:
    del daemon
    operator.save(CONFIG.replace("3.0", "4.0"))
    operator.look()
    operator.save(CONFIG.replace("poll_s = 3.0", "poll = 3.0"))
    settings, mistake = settings_in_use(operator.config)
    assert settings.sheet.poll_s == 4.0
    assert "sheet.poll: unknown key" in mistake


def test_who_looks_is_told_of_the_mistake_when_no_daemon_runs(operator: Operator) -> None:
    operator.save(CONFIG.replace("poll_s = 3.0", "poll = 3.0"))
    with pytest.raises(ConfigError, match=r"sheet\.poll"):
        settings_in_use(operator.config)


def test_a_good_file_is_what_counts(operator: Operator, daemon: SqliteJournal) -> None:
    del daemon
    assert settings_in_use(operator.config) == (load_settings(operator.config), "")


def test_the_copy_is_for_this_user_only(operator: Operator) -> None:
    assert (operator.state / last_good.NAME).read_text() == CONFIG
    assert (operator.state / last_good.NAME).stat().st_mode & 0o777 == 0o600
