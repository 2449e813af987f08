"""Accelerators of hosts: only what is surely free is handed out, by its identity, and rows say what they wait for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sheetd.core import effect as fx
from sheetd.core import events as ev
from sheetd.core import observation as obs
from sheetd.core.model import Accelerator, HostName, Reason
from sheetd.core.observation import AttemptSeen, Seen
from tests.core.cards import A100, RTX, Cards
from tests.core.story import TRAIN, Line, Story

LAB = HostName("lab")


def started(cards: Cards, *, rows: int = 1, **template: object) -> tuple[Story, list[Line]]:
    story = Story(cards={"lab": cards}, templates=[replace(TRAIN, **template)])  # type: ignore[arg-type]
    lines = [story.table.type(template="train", lr=0.1 + number) for number in range(rows)]
    story.wait(10)
    return story, lines


def given(story: Story, line: Line) -> tuple[Accelerator, ...]:
    attempt = story.experiment(line).attempt
    assert attempt is not None
    return attempt.accelerators


def test_a_launch_names_the_accelerator_by_its_identity():
    story, (line,) = started(Cards(A100))
    assert line["status"] == "running"
    (launch,) = story.asked(fx.Launch)
    assert launch.accelerators == (Accelerator(kind="nvidia", id="GPU-0"),)  # type: ignore[union-attr]
    assert story.experiment(line).attempts[0].slots == ("lab/GPU-0",)


def test_each_experiment_gets_its_own():
    story, lines = started(Cards(A100, A100), rows=2)
    assert {one.id for line in lines for one in given(story, line)} == {"GPU-0", "GPU-1"}


def test_what_somebody_else_uses_is_left_alone_and_the_row_says_who_that_is():
    cards = Cards(A100)
    cards[0].user = "kim"
    story, (line,) = started(cards)
    assert (line["status"], line["message"]) == ("waiting", "needs 1 slot; lab has 0 free (1 used by kim)")
    assert story.attempts_started() == []


def test_an_accelerator_that_somebody_left_is_left_alone_for_a_while():
    cards = Cards(A100)
    cards[0].user = "kim"
    story, (line,) = started(cards)
    cards[0].user = ""
    story.wait(200)
    assert line["message"] == "needs 1 slot; lab has 0 free (1 left by others a moment ago)"
    story.wait(150)
    assert line["status"] == "running"


@pytest.mark.parametrize(("what", "words"), [("is_unclear", "1 unknown"), ("is_sick", "")])
def test_what_cannot_be_seen_never_becomes_free(what: str, words: str):
    cards = Cards(A100)
    setattr(cards[0], what, True)
    story, (line,) = started(cards)
    story.wait(2000, step_s=5.0)
    assert story.attempts_started() == []
    assert words in line["message"]  # type: ignore[operator]


def test_a_host_that_has_not_been_looked_at_gets_nothing():
    cards = Cards(A100)
    cards.age_s = None
    story, (line,) = started(cards)
    assert line["message"] == "waits for a host: lab is being looked at"
    cards.age_s = 0.5
    story.wait(3)
    assert line["status"] == "running"


def test_nothing_is_handed_out_by_an_old_word():
    cards = Cards(A100)
    cards.age_s = 40.0
    story, (line,) = started(cards)
    assert line["message"] == "needs 1 slot; lab has 0 free (1 being looked at)"
    cards.age_s = 1.0
    story.wait(3)
    assert line["status"] == "running"


def test_a_host_without_accelerators_hands_out_its_plain_slots():
    cards = Cards(A100)
    story = Story(cards={"lab": cards})
    cards.all.clear()
    story.restart_daemon()
    story.world.state.health.clear()  # as if it had never had any
    line = story.table.type(template="train", lr=0.1)
    story.world.hosts[LAB].looks = True
    story.wait(10)
    assert (line["status"], given(story, line)) == ("running", ())


def test_memory_and_model_are_asked_of_each_accelerator():
    story, (line,) = started(Cards(RTX, RTX, A100), memory_gb=40.0)
    assert [one.id for one in given(story, line)] == ["GPU-2"]


def test_what_no_card_of_a_model_can_hold_is_said_to_be_too_much():
    _, (line,) = started(Cards(RTX, RTX, A100), memory_gb=40.0, where="a5000")
    assert line["message"] == "needs 1 x >= 40 GB on one host; the largest host it may use has 0"


def test_a_24_gb_card_is_one_although_the_driver_says_a_little_less():
    story, (line,) = started(Cards(RTX), memory_gb=24.0)
    assert line["status"] == "running"
    assert story.world.waiting == {}


def test_where_is_also_a_word_of_the_model():
    cards = {"lab": Cards(RTX, RTX), "big": Cards(A100, prefix="BIG")}
    story = Story(cards=cards, templates=[replace(TRAIN, where="A100")])
    line = story.table.type(template="train", lr=0.1)
    story.wait(10)
    assert [one.id for one in given(story, line)] == ["BIG-0"]


def test_several_share_one_when_their_template_says_so():
    story, lines = started(Cards(A100), rows=3, share=2)
    assert [line["status"] for line in lines] == ["running", "running", "waiting"]
    assert [given(story, line)[0].share for line in lines[:2]] == [0, 1]
    assert [story.experiment(line).attempts[0].slots for line in lines[:2]] == [("lab/GPU-0#0",), ("lab/GPU-0#1",)]
    assert lines[2]["message"] == "needs 1 slot; lab has 0 free (1 shared to the full)"
    story.exits(f"{lines[0]['id']}.1")
    story.wait(10)
    assert (lines[2]["status"], given(story, lines[2])[0].share) == ("running", 0)


def test_those_who_share_must_fit_into_its_memory_together():
    _, lines = started(Cards(RTX), rows=2, share=4, memory_gb=16.0)
    assert [line["status"] for line in lines] == ["running", "waiting"]


def test_an_accelerator_is_looked_at_again_before_it_is_given_to_the_next():
    story, lines = started(Cards(A100), rows=2)
    cards = story.hosts[LAB].cards
    assert [line["status"] for line in lines] == ["running", "waiting"]
    cards.age_s = 5.0
    story.exits(f"{lines[0]['id']}.1")
    cards[0].user = "kim"
    story.wait(2)
    assert lines[1]["status"] == "waiting", "what was said before the end counts no more"
    cards.age_s = 0.5
    story.wait(5)
    assert lines[1]["message"] == "needs 1 slot; lab has 0 free (1 used by kim)"


def test_who_comes_too_late_goes_on_without_cost_and_leaves_it_alone():
    story = Story(cards={"lab": Cards(A100)}, templates=[replace(TRAIN, relaunches=0)])
    story.hosts[LAB].refusal = ("accelerator_busy", "GPU-0 is leased by another sheetd")
    line = story.table.type(template="train", lr=0.1)
    story.wait(14)
    (ended,) = story.told(ev.AttemptEnded)
    assert (ended.reason, ended.host_fault) == (Reason.ACCELERATOR_BUSY, "")  # type: ignore[union-attr]
    story.hosts[LAB].refusal = None
    story.wait(10)
    assert "left by others a moment ago" in str(line["message"])
    story.wait(320, step_s=2.0)
    assert line["status"] == "running"


def test_the_supervisor_may_find_it_taken_as_well():
    story, (line,) = started(Cards(A100))
    story.report(f"{line['id']}.1", AttemptSeen(state=Seen.REVOKED, reason="accelerator_busy"))
    assert story.told(ev.AttemptEnded)[0].reason is Reason.ACCELERATOR_BUSY  # type: ignore[union-attr]


def test_an_idle_host_is_asked_once_a_minute_and_one_that_is_waited_for_every_ten_seconds():
    story = Story(cards={"lab": Cards(A100)})
    cards = story.hosts[LAB].cards
    before = cards.asked
    story.wait(600)
    assert 9 <= cards.asked - before <= 11
    cards[0].user = "kim"
    story.wait(61)
    story.table.type(template="train", lr=0.1)
    story.wait(10)
    before = cards.asked
    story.wait(100)
    assert 9 <= cards.asked - before <= 11


def test_a_host_that_cannot_be_asked_is_not_asked():
    story = Story(cards={"lab": Cards(A100)})
    story.cut_off("lab")
    before = len(story.asked(fx.Probe))
    story.wait(300)
    assert len(story.asked(fx.Probe)) == before


def test_a_word_that_was_overtaken_does_not_count():
    story = Story(cards={"lab": Cards(A100)})
    cards = story.hosts[LAB].cards
    old = cards.seen()
    cards[0].user = "kim"
    new = cards.seen()

    def report(seen: obs.AcceleratorsSeen, age_s: float) -> None:
        story.turn(obs.AcceleratorsReported(host=LAB, accelerators=seen.accelerators, age_s=age_s, samples=2))

    report(new, 0.0)
    report(old, 8.0)
    assert story.world.hosts[LAB].accelerators == new.accelerators


def test_a_daemon_that_comes_back_asks_before_it_hands_out():
    story, (line,) = started(Cards(A100, A100))
    cards = story.hosts[LAB].cards
    cards[1].user = "kim"
    other = story.table.type(template="train", lr=0.7)
    story.restart_daemon()
    story.wait(10)
    assert (line["status"], other["status"]) == ("running", "waiting")
    assert len(story.attempts_started()) == 1


def test_what_has_just_become_unclear_is_looked_at_once_more_at_once():
    """Free in one sample is `unknown`; the second sample tells, and nobody waits ten seconds for it."""
    cards = Cards(A100)
    cards[0].user = "kim"
    story, (line,) = started(cards)
    story.world.hosts[LAB].cooldown_s = 0.0
    cards[0].user, cards[0].is_unclear = "", True
    for _ in range(12):
        if story.world.hosts[LAB].needs_second_sample:
            break
        story.wait(1)
    cards[0].is_unclear = False
    story.wait(3)
    assert story.experiment(line).attempts
