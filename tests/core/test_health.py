"""Hosts that spoil attempts get nothing new for a while, and are trusted again only when they have shown themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sheetd.core import events as ev
from sheetd.core import observation as obs
from sheetd.core.health import QUARANTINE_S, QUARANTINE_S_MAX, HostHealth, quarantine_s
from sheetd.core.hostwords import GIST_MAX, state_of
from sheetd.core.model import HostName, Reason
from sheetd.core.observation import AttemptSeen, Exit, Seen
from sheetd.core.quarantine import answer_to
from sheetd.core.requests import heard
from sheetd.core.views import hosts_view
from sheetd.core.why import Block
from tests.core.cards import A100, Cards
from tests.core.story import TRAIN, Line, Story

ALPHA, LAB = HostName("alpha"), HostName("lab")
PATIENT = replace(TRAIN, relaunches=50)


def running(*, rows: int = 1, hosts: dict[str, int] | None = None) -> tuple[Story, list[Line]]:
    story = Story(hosts=hosts or {"alpha": rows}, templates=[PATIENT])
    lines = [story.table.type(template="train", lr=0.1 + number) for number in range(rows)]
    story.wait(8)
    assert {line["status"] for line in lines} == {"running"}
    return story, lines


def newest(story: Story, line: Line) -> str:
    attempt = story.experiment(line).attempt
    assert attempt is not None
    return attempt.id


def vanish(story: Story, line: Line) -> None:
    story.report(newest(story, line), AttemptSeen(state=Seen.LOST))


def quarantines(story: Story) -> list[ev.HostQuarantined]:
    return [event for event in story.events if isinstance(event, ev.HostQuarantined)]


def suspect() -> tuple[Story, list[Line]]:
    """Three attempts in a row have vanished from alpha."""
    story, lines = running(rows=3)
    for line in lines:
        vanish(story, line)
    return story, lines


def state(story: Story, host: HostName = ALPHA) -> tuple[str, str]:
    told = state_of(story.world, story.world.hosts[host])
    return told.word, told.why


# --- what closes a host ------------------------------------------------------------------------------------------


def test_three_attempts_that_vanish_quarantine_the_host_and_the_rows_say_until_when_and_why():
    story, lines = suspect()
    (event,) = quarantines(story)
    assert event.for_s == QUARANTINE_S
    assert event.until_wall_s == 1.7e9 + story.now_s + QUARANTINE_S
    assert event.why.startswith("3 attempts ended by its fault, the last: its processes vanished from alpha")
    story.wait(10)
    assert {line["status"] for line in lines} == {"waiting"}
    waits = "waits for a host: alpha is quarantined until 22:35 UTC (3 attempts ended by its fault)"
    assert str(lines[0]["message"]).endswith(waits)
    word, why = state(story)
    assert (word, why[:28]) == ("quarantined", "quarantined until 22:35 UTC:")


def test_a_success_in_between_clears_the_host():
    story, lines = running(rows=4)
    vanish(story, lines[0])
    vanish(story, lines[1])
    story.exits(newest(story, lines[2]))
    story.wait(3)
    vanish(story, lines[3])
    story.wait(1)
    assert quarantines(story) == []


def test_a_reboot_is_no_fault_of_the_host():
    story, _ = running(rows=3)
    story.reboot("alpha")
    story.wait(5)
    assert len(story.told(ev.AttemptEnded)) == 3
    assert quarantines(story) == []


def test_what_a_program_prints_sends_it_elsewhere_but_one_program_alone_condemns_no_host():
    story, (line,) = running(hosts={"alpha": 1, "beta": 1})
    for _ in range(4):
        said = "RuntimeError: TPU initialization failed: open(/dev/vfio/0)"
        seen = AttemptSeen(state=Seen.EXITED, exit=Exit(rc=1), last_lines=(said,))
        story.report(newest(story, line), seen)
        story.wait(40)
    ended = [event for event in story.events if isinstance(event, ev.AttemptEnded)]
    assert {event.reason for event in ended} == {Reason.HOST_FAULT}
    assert [attempt.host for attempt in story.experiment(line).attempts] == ["alpha", "beta", "alpha", "beta", "alpha"]
    assert quarantines(story) == []


def test_three_programs_that_say_the_same_condemn_it():
    story, lines = running(rows=3)
    for line in lines:
        seen = AttemptSeen(state=Seen.EXITED, exit=Exit(rc=1), last_lines=("OSError: No space left on device",))
        story.report(newest(story, line), seen)
    assert "No space left on device" in quarantines(story)[0].why


def test_an_ordinary_crash_says_nothing_of_the_host():
    story, lines = running(rows=4)
    for line in lines:
        story.report(newest(story, line), AttemptSeen(state=Seen.EXITED, exit=Exit(signal=11)))
    story.wait(3)
    assert {line["status"] for line in lines} == {"failed"}
    assert quarantines(story) == []


def test_a_crash_of_what_ran_well_elsewhere_does():
    story, (line,) = running(hosts={"alpha": 1, "beta": 1})
    story.report(newest(story, line), AttemptSeen(state=Seen.REBOOTED, started_age_s=5000.0))
    story.cut_off("alpha")
    story.wait(10)
    story.report(newest(story, line), AttemptSeen(state=Seen.EXITED, exit=Exit(signal=11)))
    assert "run well on alpha" in story.told(ev.AttemptEnded)[-1].host_fault  # type: ignore[attr-defined]


def test_a_full_disk_closes_the_host_until_it_says_otherwise():
    story = Story()
    story.hosts[ALPHA].disk_free_bytes = 2**20
    story.back("alpha")
    assert quarantines(story)[0].why == "its disk is full: 1 MiB are free where sheetd keeps its files"
    story.wait(310, step_s=5.0)
    assert state(story)[0] == "on trial", "the word about the disk is older than the release"
    story.back("alpha")
    assert [event.for_s for event in quarantines(story)] == [300.0, 600.0]
    story.hosts[ALPHA].disk_free_bytes = 2**40
    story.wait(610, step_s=5.0)
    story.back("alpha")
    assert state(story)[0] == "on trial"


def test_a_lost_accelerator_closes_the_host_and_then_it_makes_do_with_the_others():
    cards = Cards(A100, A100)
    story = Story(cards={"lab": cards}, templates=[PATIENT])
    story.wait(2)
    del cards.all[1]
    story.wait(61)
    (event,) = quarantines(story)
    assert (event.why, event.lost) == ("1 of its 2 accelerators gone: GPU-1", ("GPU-1",))
    story.wait(310)
    line = story.table.type(template="train", lr=0.1)
    story.wait(10)
    assert line["status"] == "running"
    assert "1 of its accelerators is missing (GPU-1); `sheetd host retest lab`" in state(story, LAB)[1]
    assert len(quarantines(story)) == 1


def test_a_host_that_shows_no_accelerator_any_more_does_not_hand_out_plain_slots():
    cards = Cards(A100)
    story = Story(cards={"lab": cards}, templates=[PATIENT])
    story.wait(2)
    cards.all.clear()
    story.wait(62)
    assert quarantines(story)[0].why == "all its accelerators are gone: GPU-0"
    story.wait(320, step_s=2.0)
    line = story.table.type(template="train", lr=0.1)
    story.wait(20)
    assert line["status"] == "waiting"
    assert line["message"] == "needs 1 slot on one host; the largest host it may use has 0"


def test_a_probe_that_hangs_closes_the_host():
    cards = Cards(A100)
    story = Story(cards={"lab": cards})
    cards[0].is_sick = True
    story.wait(61)
    assert quarantines(story)[0].why == (
        "none of its accelerators answers: nvidia-smi has not answered 3 times in a row"
    )


# --- how trust returns -------------------------------------------------------------------------------------------


def test_after_its_time_one_attempt_is_tried_and_the_others_wait():
    story, lines = suspect()
    story.wait(310, step_s=2.0)
    assert [line["status"] for line in lines] == ["running", "waiting", "waiting"]
    assert "alpha is on trial with one attempt" in str(lines[1]["message"])


def test_a_canary_that_succeeds_brings_trust_back():
    story, lines = suspect()
    story.wait(310, step_s=2.0)
    story.exits(newest(story, lines[0]))
    story.wait(10)
    assert [line["status"] for line in lines] == ["succeeded", "running", "running"]
    assert state(story) == ("up", "")


def test_a_canary_that_runs_well_for_a_while_does_as_well():
    story, lines = suspect()
    story.wait(310, step_s=2.0)
    assert story.told(ev.HostTrusted) == []
    story.wait(130)
    assert len(story.told(ev.HostTrusted)) == 1
    assert [line["status"] for line in lines] == ["running"] * 3


def test_a_canary_that_fails_by_its_own_fault_says_nothing():
    story, lines = suspect()
    story.wait(310, step_s=2.0)
    story.exits(newest(story, lines[0]), rc=1)
    story.wait(5)
    assert [line["status"] for line in lines] == ["failed", "running", "waiting"]


def test_each_quarantine_in_a_row_is_twice_as_long():
    lengths = [quarantine_s(HostHealth(times=times)) for times in range(10)]
    assert lengths[:3] == [300.0, 600.0, 1200.0]
    assert lengths[-1] == QUARANTINE_S_MAX
    story, lines = suspect()
    story.wait(310, step_s=2.0)
    vanish(story, lines[0])
    assert [event.for_s for event in quarantines(story)] == [300.0, 600.0]
    assert quarantines(story)[-1].why.startswith("the attempt by which it was tried ended by its fault: ")
    story.wait(610, step_s=2.0)
    live = next(line for line in lines if line["status"] == "running")
    story.exits(newest(story, live))
    story.wait(5)
    assert story.world.state.health_of(ALPHA).times == 0


def test_a_quarantine_is_counted_afresh_by_the_next_daemon_and_never_cut_short():
    story, lines = suspect()
    story.wait(250, step_s=5.0)
    story.restart_daemon()
    health = story.world.state.health_of(ALPHA)
    assert health.until_s == story.now_s + QUARANTINE_S
    story.wait(100, step_s=5.0)
    assert {line["status"] for line in lines} == {"waiting"}


# --- what people say ---------------------------------------------------------------------------------------------


def ask(story: Story, action: str, host: HostName = ALPHA) -> str:
    news = heard(story.world, action, host, "kim", 1)
    assert isinstance(news, obs.HostRequested), news
    story.turn(news)
    story.settle()
    answer = answer_to(story.world, news)
    story.world.host_requests.clear()
    return answer


def test_a_drained_host_gets_nothing_new_and_what_runs_there_goes_on():
    story, (line,) = running(hosts={"alpha": 2})
    assert ask(story, "drain") == "alpha is drained: it gets nothing new, and what runs there goes on"
    other = story.table.type(template="train", lr=7.0)
    story.wait(20)
    assert (line["status"], other["status"]) == ("running", "waiting")
    assert other["message"] == "waits for a host: alpha is drained (by kim)"
    story.restart_daemon()
    story.wait(20)
    assert other["status"] == "waiting", "it is on record"
    assert ask(story, "resume") == "alpha is used again"
    story.wait(5)
    assert other["status"] == "running"


def test_resume_overrules_a_quarantine_and_retest_only_shortens_it():
    story, lines = suspect()
    assert ask(story, "retest") == "alpha gets one attempt at a time until one has run well"
    story.wait(20)
    assert [line["status"] for line in lines] == ["running", "waiting", "waiting"]
    assert ask(story, "resume") == "alpha is used again"
    story.wait(20)
    assert [line["status"] for line in lines] == ["running"] * 3


def test_resume_of_a_host_with_a_full_disk_comes_to_an_end():
    story = Story()
    story.hosts[ALPHA].disk_free_bytes = 2**20
    story.back("alpha")
    ask(story, "resume")
    assert state(story)[0] == "up"


def test_retest_makes_do_with_the_accelerators_that_are_there():
    cards = Cards(A100, A100)
    story = Story(cards={"lab": cards})
    story.wait(2)
    del cards.all[1]
    story.wait(61)
    ask(story, "retest", LAB)
    assert state(story, LAB) == (
        "on trial",
        "on trial after its quarantine: one attempt at a time until one has run well",
    )


def test_of_contrary_wishes_the_later_one_counts():
    story = Story()
    for number, action in enumerate(("drain", "resume", "drain")):
        news = heard(story.world, action, "alpha", "kim", number)
        assert not isinstance(news, str)
        story.world.host_requests[number] = news  # type: ignore[assignment]
    story.turn()
    assert story.names()[-1] == "HostDrained"


@pytest.mark.parametrize(
    ("action", "subject", "words"),
    [
        ("paint", "alpha", "paint is not understood"),
        ("drain", "nowhere", "there is no host nowhere in the configuration"),
        ("stop", "x9", "there is no experiment x9"),
    ],
)
def test_what_cannot_be_is_answered_at_once(action: str, subject: str, words: str):
    answer = heard(Story().world, action, subject, "kim", 1)
    assert isinstance(answer, str)
    assert words in answer


def test_the_host_list_the_row_and_its_data_agree():
    story, lines = suspect()
    story.wait(5)
    view = hosts_view(story.world, story.now())["alpha"]
    why = story.world.whys[story.experiment(lines[0]).id]
    assert view["state"] == "quarantined"
    assert why.hosts[0].block is Block.QUARANTINED
    assert why.hosts[0].words in str(lines[0]["message"])
    until, _, gist = why.hosts[0].words.removeprefix("is ").removesuffix(")").partition(" (")
    assert view["says"].startswith(f"{until}: {gist}"), "the row has the beginning of what there is to say"


@pytest.mark.parametrize(
    ("why", "gist"),
    [
        ("its disk is full: 1 MiB are free where sheetd keeps its files", "its disk is full"),
        ("1 of its 2 accelerators gone: GPU-1", "1 of its 2 accelerators gone"),
        ("x" * 300, "x" * (GIST_MAX - 1) + "…"),
    ],
)
def test_a_row_that_waits_for_a_quarantined_host_says_why_in_few_words(why: str, gist: str):
    story = Story()
    story.world.state.health[ALPHA] = HostHealth(quarantine=why, until_wall_s=1.7e9)
    assert state_of(story.world, story.world.hosts[ALPHA]).waits == f"is quarantined until 22:13 UTC ({gist})"
