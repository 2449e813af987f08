"""Other parameters for a job that runs: what is refused, and what is left alone (the rest: tests/contracts)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.onhost.link import Link

A = "abcd1.1"


def file_of(link: Link) -> Path:
    return link.root / "a" / A / "params.json"


@pytest.mark.parametrize(
    "wrong",
    [
        {"params": None},
        {"params": ["lr"]},
        {"params": {"lr": None}},
        {"params": {"lr": [1]}},
        {"params": {"lr": "x" * (1 << 20)}},
        {"number": 0},
        {"number": True},
        {"number": "1"},
        {"attempt": "../x.1"},
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(link: Link, wrong: dict[str, Any]) -> None:
    link.launch(A, ["sleep", "100"], params={"lr": 0.1})
    request = {"attempt": A, "number": 1, "params": {"lr": 0.5}, "epoch": link.epoch, **wrong}
    assert link.ask("hand_over", **request)["code"] == "bad_request"
    assert json.loads(file_of(link).read_text()) == {"lr": 0.1}


def test_a_job_that_is_restarted_has_the_newest_values(link: Link, tmp_path: Path) -> None:
    """Its arguments are those that it was started with."""
    seen = tmp_path / "seen"
    job = f"import sheetd, time; open({str(seen)!r}, 'a').write(str(sheetd.params()['lr']) + ' '); time.sleep(0.5); 1/0"
    link.launch(A, ["python3", "-c", job], params={"lr": 0.1}, restarts={"max": 1, "backoff_s": 0.1})
    link.ask("hand_over", attempt=A, number=1, params={"lr": 0.5}, epoch=link.epoch)
    link.until_ended(A)
    assert seen.read_text().split() in (["0.1", "0.5"], ["0.5", "0.5"])


def test_what_has_ended_keeps_what_it_had(link: Link) -> None:
    link.launch(A, ["true"], params={"lr": 0.1})
    link.until_ended(A)
    answer = link.ask("hand_over", attempt=A, number=1, params={"lr": 0.5}, epoch=link.epoch)
    assert answer["state"]["state"] == "exited"
    assert json.loads(file_of(link).read_text()) == {"lr": 0.1}
