"""What is written for systemd and launchd: the right words, whatever folders are called."""

from __future__ import annotations

import os
import plistlib
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from sheetd.cli.unit import (
    Unit,
    config_of_launchd,
    config_of_systemd,
    environment_for,
    launchd_plist,
    systemd_unit,
    unit_name,
)
from sheetd.errors import ConfigError
from tests.needs import needs_systemd_analyze

UNIT = Unit(
    name="sheetd-my-lab",
    python="/home/kim/my-lab/.venv/bin/python",
    config=Path("/home/kim/my-lab/sheetd.toml"),
    environment={"PATH": "/usr/local/bin:/usr/bin"},
    environment_file=Path("/home/kim/.config/sheetd/sheetd-my-lab.env"),
)
NASTY = (
    "my lab",
    "100%",
    "$HOME",
    "a$$b",
    'say "hi"',
    "it's",
    "back\\slash",
    "tab\tline\nend",
    "ünï",
    "a;b #c",
    "%h=1",
)


def lines(unit: Unit, key: str) -> list[str]:
    return [line.partition("=")[2] for line in systemd_unit(unit).splitlines() if line.partition("=")[0] == key]


def test_a_unit_says_ready_is_watched_comes_back_and_leaves_jobs_alone() -> None:
    text = systemd_unit(UNIT)
    assert (
        "ExecStart=/home/kim/my-lab/.venv/bin/python -m sheetd run --as-service --config /home/kim/my-lab/sheetd.toml\n"
        in text
    )
    for line in (
        *("Type=notify", "WatchdogSec=120", "Restart=always", "KillMode=process", "OOMPolicy=continue"),
        *("Environment=PATH=/usr/local/bin:/usr/bin", "SyslogIdentifier=sheetd-my-lab", "WantedBy=default.target"),
        "ExecReload=/bin/kill -HUP $MAINPID",
        "EnvironmentFile=-/home/kim/.config/sheetd/sheetd-my-lab.env",
    ):
        assert f"\n{line}\n" in text


@pytest.mark.parametrize(
    ("folder", "written"),
    [
        ("my lab", '"/my lab/sheetd.toml"'),
        ("100%", '"/100%%/sheetd.toml"'),
        ("$HOME", '"/$$HOME/sheetd.toml"'),
        ('say "hi"', '"/say \\"hi\\"/sheetd.toml"'),
        ("back\\slash", '"/back\\\\slash/sheetd.toml"'),
        ("tab\tline\nend\x01", '"/tab\\tline\\nend\\x01/sheetd.toml"'),
        ("ünï", '"/ünï/sheetd.toml"'),
    ],
)
def test_the_configuration_is_one_word_whatever_its_folder_is_called(folder: str, written: str) -> None:
    (command,) = lines(replace(UNIT, config=Path("/") / folder / "sheetd.toml"), "ExecStart")
    assert command.endswith(f" --config {written}")


def test_a_dollar_in_the_path_of_python_is_kept_for_the_kernel_and_for_the_venv() -> None:
    (command,) = lines(replace(UNIT, python="/a $b/bin/python"), "ExecStart")
    assert command.startswith('"@/a $b/bin/python" "/a $$b/bin/python" -m sheetd run ')


def test_an_assignment_knows_no_dollar() -> None:
    assert lines(replace(UNIT, environment={"PATH": '/a b:/$c:/%d:/"e"'}), "Environment") == [
        '"PATH=/a b:/$c:/%%d:/\\"e\\""'
    ]


def test_a_daemon_gets_what_its_shell_has_for_it_and_no_secret() -> None:
    shell = {"XDG_STATE_HOME": "/state", "PATH": "/bin", "HOME": "/home/kim", "HF_TOKEN": "x", "no_proxy": ""}
    proxies = {"HTTPS_PROXY": "http://proxy:3128", "https_proxy": "http://kim:password@proxy:3128"}
    kept = environment_for(shell | proxies)
    assert kept == {"PATH": "/bin", "XDG_STATE_HOME": "/state", "HTTPS_PROXY": "http://proxy:3128"}
    written = lines(replace(UNIT, environment=kept), "Environment")
    assert written == ["PATH=/bin", "XDG_STATE_HOME=/state", "HTTPS_PROXY=http://proxy:3128"]


@pytest.mark.parametrize("python", ['/say "hi"/python', "/it's/python", "/back\\slash/python", "/a\tb/python"])
def test_a_program_that_systemd_would_refuse_is_refused_with_what_to_do(python: str) -> None:
    with pytest.raises(ConfigError, match="make the virtual environment in another folder"):
        systemd_unit(replace(UNIT, python=python))


def test_a_folder_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(ConfigError, match="not UTF-8"):
        systemd_unit(replace(UNIT, config=Path(os.fsdecode(b"/a\xff/sheetd.toml"))))


@pytest.mark.parametrize("folder", NASTY)
def test_which_configuration_is_served_is_read_back(folder: str) -> None:
    config = Path("/") / folder / "sheetd.toml"
    assert config_of_systemd(systemd_unit(replace(UNIT, config=config))) == config
    if folder.isprintable():
        assert config_of_launchd(launchd_plist(replace(UNIT, config=config), Path("/log"))) == config


@pytest.mark.parametrize("text", ["", "[Service]\nExecStart=/bin/true\n", "<plist>", '[X-Sheetd]\nConfig="\\u12"\n'])
def test_what_somebody_else_wrote_serves_no_configuration_of_ours(text: str) -> None:
    assert config_of_systemd(text) is None
    assert config_of_launchd(text) is None


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("my-lab", "sheetd-my-lab"),
        ("my lab (2)", "sheetd-my-lab-2"),
        ("ünï", "sheetd-n"),
        ("%@/", "sheetd-lab"),
        ("", "sheetd-lab"),
        ("x" * 300, "sheetd-" + "x" * 80),
    ],
)
def test_a_service_is_named_after_the_folder_of_its_lab(folder: str, name: str) -> None:
    assert unit_name(Path("/") / folder / "sheetd.toml") == name


@pytest.mark.parametrize("wanted", ["gpus", "sheetd-gpus", "sheetd-gpus.service"])
def test_a_name_that_is_asked_for_is_taken(wanted: str) -> None:
    assert unit_name(UNIT.config, wanted) == "sheetd-gpus"


@pytest.mark.parametrize("wanted", ["", "a b", "../x", "a@b", "%i", "-x", "x" * 101])
def test_a_name_that_no_unit_can_have_is_refused(wanted: str) -> None:
    with pytest.raises(ConfigError, match="--name"):
        unit_name(UNIT.config, wanted)


@needs_systemd_analyze
@pytest.mark.parametrize("folder", ["plain", *NASTY])
def test_systemd_accepts_it(tmp_path: Path, folder: str) -> None:
    """`--recursive-errors`: a key that it does not know counts too. PYTHON: it looks whether the program is there."""
    lab = tmp_path / folder
    lab.mkdir()
    speakable = not set(folder) & set("\"'\\\t\n")
    python = lab / "python" if speakable else tmp_path / "python"
    python.symlink_to("/bin/sh")
    file = tmp_path / "sheetd-lab.service"
    unit = replace(UNIT, python=str(python), config=lab / "sheetd.toml", environment_file=tmp_path / "x.env")
    file.write_text(systemd_unit(unit))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--recursive-errors=yes", str(file)],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_launchd_is_told_the_same(tmp_path: Path) -> None:
    told = plistlib.loads(launchd_plist(UNIT, tmp_path / "log").encode())
    assert told["Label"] == "sheetd-my-lab"
    assert told["ProgramArguments"] == list(UNIT.argv)
    assert told["EnvironmentVariables"] == dict(UNIT.environment)
    assert [told[key] for key in ("RunAtLoad", "KeepAlive", "AbandonProcessGroup")] == [True, True, True]
    assert told["StandardOutPath"] == told["StandardErrorPath"] == str(tmp_path / "log")


def test_a_folder_that_no_plist_can_hold_is_refused() -> None:
    with pytest.raises(ConfigError, match="Rename the folder"):
        launchd_plist(replace(UNIT, config=Path("/a\x01/sheetd.toml")), Path("/log"))
