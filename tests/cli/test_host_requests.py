"""`sheetd host drain`, `resume` and `retest` leave a wish for the daemon, and say when nobody has heard it yet."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from sheetd.cli import host_requests
from sheetd.errors import SheetdError
from sheetd.journal.requests import RequestStore


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "templates").mkdir()
    (tmp_path / "state").mkdir()
    path = tmp_path / "sheetd.toml"
    path.write_text('[daemon]\nstate_dir = "state"\n[[hosts]]\nname = "gpu1"\nlocal = true\n')
    return path


def app() -> typer.Typer:
    made = typer.Typer(pretty_exceptions_enable=False)
    for verb in (host_requests.drain, host_requests.resume, host_requests.retest):
        made.command()(verb)
    return made


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("drain", "gpu1 gets nothing new from now on; what runs there goes on"),
        ("resume", "gpu1 is used again, whatever was held against it"),
        ("retest", "gpu1 is looked at again, and gets one attempt at a time until one has run well"),
    ],
)
def test_a_wish_is_left_with_the_name_of_who_has_it(
    config: Path, verb: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "kim")
    done = CliRunner().invoke(app(), [verb, "gpu1", "--config", str(config)], catch_exceptions=False)
    assert words in " ".join(done.output.split())
    assert "The daemon is not running" in done.output
    store = RequestStore(config.parent / "state")
    assert [(one.action, one.subject, one.by) for one in store.pending()] == [(verb, "gpu1", "kim")]
    store.close()


def test_a_host_that_is_not_configured_is_named_with_those_that_are(config: Path) -> None:
    with pytest.raises(SheetdError, match=r"there is no host gpu9 in .*sheetd.toml: it names gpu1"):
        CliRunner().invoke(app(), ["drain", "gpu9", "--config", str(config)], catch_exceptions=False)
