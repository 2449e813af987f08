"""`--help` of the verbs that read a configuration says what that is, and where it is looked for."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from sheetd.cli.app import app


@pytest.mark.parametrize("verb", ["run", "status", "host add"])
def test_where_the_configuration_is_looked_for_is_said_in_order(verb: str) -> None:
    shown = CliRunner().invoke(app, [*verb.split(), "--help"], catch_exceptions=False, env={"COLUMNS": "100"}).output
    words = " ".join(re.sub(r"[│╭╮╰╯─]", " ", shown).split())
    assert (
        "The configuration file, which names the sheet, the hosts and the templates. If not given: sheetd.toml in this"
        " folder, or else the file that $SHEETD_CONFIG names, or else ~/.config/sheetd/sheetd.toml." in words
    )
