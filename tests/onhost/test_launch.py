from __future__ import annotations

from tests.onhost.link import Link


def test_a_job_runs_and_its_end_is_recorded(link: Link):
    state = link.launch("abcd1.1", ["sh", "-c", "echo hello; exit 0"])
    assert state["state"] in ("running", "exited")
    end = link.until_ended("abcd1.1")
    assert end["state"] == "exited"
    assert end["exit"]["rc"] == 0
    assert end["exit"]["witness"] == "supervisor"
    assert end["last_lines"] == ["hello"]
