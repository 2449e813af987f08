"""Who is who: a blow that is noted under the wrong name excuses what it should not, or excuses nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.campaign.victims import look

#: Takes the name of a role, forks, and says the number of a child that has not taken its own yet.
FORKS = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(15, sys.argv[1].encode(), 0, 0, 0)
child = os.fork()
if child:
    print(child, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("name", "own", "forked"),
    [
        ("sheetd-launcher", "launcher", "supervisor"),
        ("sheetd-supervis", "supervisor", "shim"),
        ("sheetd-shim", "shim", "job"),
    ],
)
def test_a_process_that_was_forked_this_moment_is_what_it_is_about_to_be(name: str, own: str, forked: str):
    """Seed 21 of a campaign: a shim was killed under the name of its supervisor, and its lost exit had no excuse."""
    argv = [sys.executable, "-c", FORKS, name]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        found = [look(parent.pid), look(child)]
        parent.communicate()
    assert [one and one.role for one in found] == [own, forked]
