"""What `sheetd host check` makes of a host's word about its accelerators. A host may say anything about itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from sheetd.cli.preflight import Check, accelerators
from sheetd.errors import HostRefused

A100 = {
    "kind": "nvidia",
    "id": "GPU-1",
    "model": "NVIDIA A100-SXM4-80GB",
    "state": "free",
    "why": "free in two samples",
}


class Agent:
    """Answers with one after the other, and with the last one from then on."""

    def __init__(self, *answers: Mapping[str, Any]) -> None:
        self.answers = list(answers)
        self.asked = 0

    def ask(self, verb: str, **_fields: Any) -> Mapping[str, Any]:
        assert verb == "accelerators"
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def told(*answers: Mapping[str, Any]) -> Check:
    agent = Agent(*answers)
    (check,) = accelerators(agent, pause=lambda _s: None)  # type: ignore[arg-type]
    assert agent.asked == len(answers)
    return check


def test_free_ones_are_counted_by_model_once_two_samples_agree() -> None:
    first = {"accelerators": [{**A100, "state": "unknown"}], "samples": 1, "is_probing": True}
    second = {"accelerators": [A100, {**A100, "id": "GPU-2"}], "samples": 2, "notes": []}
    assert told({"accelerators": [], "samples": 0}, first, second) == Check(
        "accelerators", "ok", "2 x NVIDIA A100-SXM4-80GB, all free"
    )


def test_one_that_cannot_be_used_says_why() -> None:
    sick = {**A100, "id": "GPU-2", "state": "sick", "why": "the probe hung three times"}
    check = told({"accelerators": [A100, sick], "samples": 2, "notes": ["nvidia-smi took 31 s"]})
    assert check.verdict == "warning"
    assert "GPU-2 is sick (the probe hung three times)" in check.detail
    assert "nvidia-smi took 31 s" in check.detail


def test_a_host_without_any_is_no_worse_for_it() -> None:
    assert told({"accelerators": [], "samples": 2}) == Check("accelerators", "ok", "none found")


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"accelerators": "many", "samples": 2, "notes": 7},
        {"accelerators": [7, None, "x"], "samples": "two"},
        {"accelerators": [{"id": "\x1b[31m" * 1000, "model": {"a": []}, "state": None}], "samples": 2},
    ],
)
def test_nonsense_is_shown_as_text_or_not_at_all(answer: Mapping[str, Any]) -> None:
    check = told(answer)
    assert "\x1b" not in check.detail
    assert len(check.detail) < 2000


def test_an_agent_that_does_not_know_the_question_is_not_asked_again() -> None:
    class Old:
        def ask(self, verb: str, **_fields: Any) -> Mapping[str, Any]:
            raise HostRefused("bad_request", f"no such verb: {verb!r}")

    assert list(accelerators(Old())) == []  # type: ignore[arg-type]
