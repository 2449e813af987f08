"""What only looks or asks starts without what only a daemon needs: paramiko, gspread and a server."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"paramiko", "gspread", "uvicorn", "sheetd.daemon"}


@pytest.mark.parametrize("verb", ["status", "ls", "stop", "hosts", "explain", "export"])
def test_a_verb_that_only_reads_or_asks_loads_no_daemon(verb: str) -> None:
    script = f"""
import sys
from sheetd.cli.app import app
try:
    app(["{verb}", "--help"])
finally:
    print("loaded:", *({HEAVY!r} & set(sys.modules)))
"""
    shown = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert "Usage:" in shown
    assert shown.splitlines()[-1] == "loaded:"


def test_a_slip_in_a_verb_is_answered_by_those_that_are_like_it() -> None:
    done = subprocess.run([sys.executable, "-m", "sheetd", "stats"], check=False, capture_output=True, text=True)
    assert (done.returncode, "Did you mean 'status'" in done.stderr) == (2, True)
