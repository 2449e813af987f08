"""What a host says of its accelerators and attempts is checked: it can neither flood nor confuse us."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sheetd.core.model import Accelerator, AttemptId, HostName, Spec
from sheetd.core.observation import AcceleratorsReported, Holder, Use
from sheetd.hosts import answers
from sheetd.hosts.host import spec_json
from sheetd.hosts.wire import ProtocolError

CARD: dict[str, Any] = {
    "kind": "nvidia",
    "id": "GPU-1b5c7f0e-1111",
    "index": 0,
    "model": "NVIDIA A100-SXM4-80GB",
    "memory_mb": 81920,
    "used_mb": 4,
    "busy_pct": None,
    "state": "foreign",
    "why": "used by kim (python3, process 41877)",
    "holders": [{"pid": 41877, "user": "kim", "command": "python3"}],
    "attempts": ["abcd.1"],
}
ANSWER: dict[str, Any] = {
    "accelerators": [CARD],
    "notes": ["slow"],
    "age_s": 0.4,
    "samples": 2,
    "is_probing": True,
}


def with_card(**changes: Any) -> dict[str, Any]:
    return {**ANSWER, "accelerators": [{**CARD, **changes}]}


def test_an_answer_is_taken_as_it_is_meant():
    seen = answers.accelerators_seen(ANSWER)
    card = seen.accelerators[0]
    assert (card.id, card.state, card.memory_mb, card.busy_pct) == ("GPU-1b5c7f0e-1111", Use.FOREIGN, 81920, None)
    assert card.holders == (Holder(pid=41877, user="kim", command="python3"),)
    assert card.attempts == (AttemptId("abcd.1"),)
    assert (seen.notes, seen.age_s, seen.samples, seen.is_probing) == (("slow",), 0.4, 2, True)


def test_a_host_without_accelerators_that_was_never_probed():
    empty = {"accelerators": [], "notes": [], "age_s": None, "samples": 0, "is_probing": True}
    assert answers.accelerators_seen(empty).accelerators == ()
    assert answers.accelerators_seen(empty).age_s is None


def test_a_push_becomes_a_report_of_its_host():
    report = answers.accelerators_report(HostName("lab3"), {"push": "accelerators", **ANSWER})
    assert isinstance(report, AcceleratorsReported)
    assert (report.host, report.age_s, len(report.accelerators)) == ("lab3", 0.4, 1)


def test_what_is_said_beyond_is_ignored():
    assert answers.accelerators_seen({**with_card(temperature=40), "fans": 3}).accelerators[0].index == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "splendid"},
        {"state": None},
        {"id": ""},
        {"id": "../../x y"},
        {"id": "x" * 200},
        {"id": 7},
        {"index": "first"},
        {"holders": "kim"},
        {"holders": [{"pid": "many"}]},
        {"memory_mb": "much"},
    ],
)
def test_a_card_that_makes_no_sense_ends_the_connection(changes: dict[str, Any]):
    with pytest.raises(ProtocolError):
        answers.accelerators_seen(with_card(**changes))


@pytest.mark.parametrize("answer", [{}, {"accelerators": 7}, {"accelerators": [7]}, {**ANSWER, "age_s": "old"}])
def test_an_answer_that_makes_no_sense_ends_the_connection(answer: dict[str, Any]):
    if not answer:
        answer = {"accelerators": None}
    with pytest.raises(ProtocolError):
        answers.accelerators_seen(answer)


def test_two_cards_of_one_identity_are_refused():
    with pytest.raises(ProtocolError, match="two accelerators of one id"):
        answers.accelerators_seen({**ANSWER, "accelerators": [CARD, CARD]})


def test_too_many_cards_are_refused_and_too_many_holders_and_notes_are_cut():
    many = [{**CARD, "id": f"GPU-{number}"} for number in range(answers.ACCELERATORS_MAX + 1)]
    with pytest.raises(ProtocolError, match="129 accelerators"):
        answers.accelerators_seen({**ANSWER, "accelerators": many})
    crowded = with_card(holders=CARD["holders"] * 5000, attempts=["abcd.1"] * 5000)
    card = answers.accelerators_seen(crowded).accelerators[0]
    assert len(card.holders) == len(card.attempts) == answers.HOLDERS_MAX
    assert len(answers.accelerators_seen({**ANSWER, "notes": ["n"] * 5000}).notes) == answers.NOTES_MAX


@pytest.mark.parametrize("read", [answers.attempts_seen, answers.attempts_kept])
def test_more_attempts_than_any_host_has_had_are_refused_rather_than_cut(read: Callable[[dict[str, Any]], object]):
    """What is left out would count as not there."""
    many = {f"abcd{number}.1": {} for number in range(answers.ATTEMPTS_MAX + 1)}
    with pytest.raises(ProtocolError, match="50,001 attempts on one machine"):
        read({"attempts": many})


def test_texts_are_cut_and_numbers_that_cannot_be_are_none():
    card = answers.accelerators_seen(
        with_card(model="m" * 9999, why="\udcff" + "w" * 9999, memory_mb=-1, used_mb=2**60)
    ).accelerators[0]
    assert len(card.model) == len(card.why) == answers.TEXT_MAX_CHARS
    card.why.encode("utf-8")
    assert (card.memory_mb, card.used_mb) == (None, None)


def test_an_age_is_never_in_the_future_and_always_finite():
    assert answers.accelerators_seen({**ANSWER, "age_s": -5.0}).age_s == 0.0
    with pytest.raises(ProtocolError):
        answers.accelerators_seen({**ANSWER, "age_s": float("inf")})


def test_what_an_attempt_gets_goes_with_its_spec_and_nothing_of_it_without():
    spec = Spec(template="t", argv=("true",))
    assert "accelerators" not in spec_json(spec, resume=False, env={})
    given = [Accelerator(kind="nvidia", id="GPU-1"), Accelerator(kind="nvidia", id="GPU-2", share=1)]
    assert spec_json(spec, resume=False, env={}, accelerators=given)["accelerators"] == [
        {"kind": "nvidia", "id": "GPU-1"},
        {"kind": "nvidia", "id": "GPU-2", "share": 1},
    ]


NO_NAMES = [
    "",
    "nonsense",
    "abcd1",
    "abcd1.",
    "abcd1.x",
    "abcd1.-1",
    "abcd1.1.1\n",
    "abcd1.\u0661",
    "\x1b[31m.1",
    "../../x.1",
]


@pytest.mark.parametrize("name", [*NO_NAMES, "a" * 10_000 + ".1", "abcd1." + "9" * 5000])
def test_what_is_no_name_of_an_attempt_is_left_out_and_the_others_count(name: str):
    told = {"attempts": {name: {"state": "running"}, "abcd1-2.10": {"state": "running"}}}
    assert list(answers.attempts_seen(told)) == ["abcd1-2.10"]
    assert list(answers.attempts_kept(told)) == ["abcd1-2.10"]


def test_every_text_about_an_end_is_bounded():
    long = "x" * 100_000
    exit_ = {"rc": 1, "error": long, "gave_up": long, "witness": long}
    seen = answers.attempt_seen({"state": "exited", "exit": exit_, "reason": long, "last_lines": [long] * 100})
    assert len(repr(seen)) < 6000
