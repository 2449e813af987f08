"""The examples and the starter files work as they stand: their settings, their rows, and their program on a host."""

from __future__ import annotations

import json
import secrets
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from sheetd.build import make_host
from sheetd.config import Settings, load_settings
from sheetd.core.model import AttemptId, Spec
from sheetd.core.observation import AttemptSeen, HostSeen, Seen
from sheetd.core.validation import Accepted, Refused
from sheetd.hosts.host import AgentHost
from sheetd.ports import LaunchOrder
from sheetd.snapshot import snapshot
from sheetd.templates import load_templates
from tests.examples.rows import judged, table
from tests.hosts.seen import OVER, Reports
from tests.needs import needs_sshd
from tests.rig.light_sshd import LightSshd

ROOT = Path(__file__).parents[2]
EXAMPLES = ("01-local", "02-ssh")
CRASHES_ONCE = {"template": "train", "lr": "0.3", "steps": "14", "crash_at_step": "7"}


@pytest.fixture(autouse=True)
def _state_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def copied(name: str, folder: Path) -> Path:
    """A copy, since a user's folder is no part of our repository."""
    return Path(shutil.copytree(ROOT / "examples", folder / "examples")) / name


def spec_of(settings: Settings, row: dict[str, str]) -> Spec:
    """What the daemon would launch for this row: accepted, with its code pinned."""
    loaded = load_templates(settings.daemon.templates)
    assert loaded.problems == ()
    verdict = judged(row, loaded.templates)
    assert isinstance(verdict, Accepted), verdict
    assert verdict.code is not None
    found = snapshot(Path(verdict.code), settings.daemon.state_dir / "code")
    return replace(verdict.spec, code=found.sha)


@dataclass(frozen=True)
class Ended:
    seen: AttemptSeen
    log: str
    points: list[dict[str, Any]]


def run_to_its_end(host: AgentHost, settings: Settings, row: dict[str, str]) -> Ended:
    """Launch the row on this host as the daemon would, and wait until it is over."""
    # Attempts are found by their id among all processes of the user, so no two tests share one.
    attempt = AttemptId(f"{secrets.token_hex(8)}.1")
    spec = spec_of(settings, row)
    assert spec.code is not None
    reports = Reports()
    host.keep(reports.add)
    try:
        reports.wait(HostSeen)
        host.watch({attempt: 0})
        host.send_code(spec.code, settings.daemon.state_dir / "code" / f"{spec.code}.tar.gz")
        host.launch(LaunchOrder(attempt=attempt, nonce="7" * 32, spec=spec, resume=True, secrets={}))
        seen = reports.attempt(attempt, *OVER, within_s=60.0)
        log = host.tail(attempt, "log", -20_000, 20_000).data.decode()
        lines = host.tail(attempt, "metrics", -20_000, 20_000).data.decode().splitlines()
    finally:
        host.close()
    return Ended(seen=seen, log=log, points=[json.loads(line) for line in lines])


def crashed_once_and_went_on(ended: Ended) -> None:
    assert (ended.seen.state, ended.seen.restarts) == (Seen.EXITED, 1), ended.log
    assert ended.seen.exit is not None
    assert ended.seen.exit.rc == 0, ended.log
    assert "crashed on purpose at step 7, once" in ended.log
    assert "going on from step_000001.json at step 1" in ended.log
    assert ended.points[-1]["step"] == 14
    assert ended.points[-1]["values"]["loss"] < ended.points[0]["values"]["loss"] / 100


# --- they run -----------------------------------------------------------------------------------------------------


def test_the_local_example_runs_on_this_machine(tmp_path: Path) -> None:
    settings = load_settings(copied("01-local", tmp_path) / "sheetd.toml")
    crashed_once_and_went_on(run_to_its_end(make_host(settings, settings.hosts[0], epoch=1), settings, CRASHES_ONCE))


@needs_sshd
def test_the_ssh_example_runs_over_ssh(tmp_path: Path) -> None:
    config = copied("02-ssh", tmp_path) / "sheetd.toml"
    with LightSshd(tmp_path) as server:
        aliases = server.ssh_config.read_text().replace(f"Host {server.alias}\n", "Host gpu1 gpu2\n")
        server.ssh_config.write_text(aliases)
        config.write_text(config.read_text().replace("[daemon]", f'[daemon]\nssh_config = "{server.ssh_config}"'))
        settings = load_settings(config)
        assert [host.name for host in settings.hosts] == ["gpu1", "gpu2"]
        crashed_once_and_went_on(
            run_to_its_end(make_host(settings, settings.hosts[0], epoch=1), settings, CRASHES_ONCE)
        )


def test_what_init_writes_runs_on_this_machine(tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    shutil.copy(ROOT / "templates" / "sheetd.toml", tmp_path)
    shutil.copy(ROOT / "templates" / "python-script.toml", tmp_path / "templates")
    shutil.copy(ROOT / "examples" / "01-local" / "train.py", tmp_path)
    settings = load_settings(tmp_path / "sheetd.toml")
    row = {"template": "python-script", "lr": "0.3", "steps": "3"}
    ended = run_to_its_end(make_host(settings, settings.hosts[0], epoch=1), settings, row)
    assert ended.seen.exit is not None
    assert ended.seen.exit.rc == 0, ended.log
    assert [point["step"] for point in ended.points] == [1, 2, 3]


# --- they say what is true ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXAMPLES)
def test_settings_and_templates_are_valid(name: str) -> None:
    settings = load_settings(ROOT / "examples" / name / "sheetd.toml")
    loaded = load_templates(settings.daemon.templates)
    assert loaded.problems == ()
    assert set(loaded.templates) == {"train"}


def test_the_rows_of_the_readme_are_judged_as_it_says() -> None:
    templates = load_templates([ROOT / "examples" / "01-local" / "templates"]).templates
    for row in table(ROOT / "examples" / "01-local" / "README.md"):
        promise = row.pop("what happens")
        verdict = judged(row, templates)
        if "never starts" in promise:
            assert isinstance(verdict, Refused)
            assert "0.1" in verdict.problems[0]
        else:
            assert isinstance(verdict, Accepted), verdict


def test_every_parameter_of_a_template_is_one_that_the_program_takes() -> None:
    program = (ROOT / "examples" / "01-local" / "train.py").read_text(encoding="utf-8")
    for template in load_templates([ROOT / "examples" / "01-local" / "templates"]).templates.values():
        for element in template.command:
            if element.startswith("--"):
                assert f'"{element.partition("=")[0]}"' in program
