"""What hosts say, and what may be concluded from it. That they say nothing is not one of those things."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sheetd.core import effect as fx
from sheetd.core import events as ev
from sheetd.core import observation as obs
from sheetd.core.model import Attempt, AttemptId, HostName, Phase, Proof, Reason
from sheetd.core.observation import AttemptSeen, Exit, Seen
from sheetd.core.render import message_of, status_word
from tests.core.story import Line, Story


def running(**hosts: int) -> tuple[Story, Line]:
    story = Story(hosts=hosts or {"alpha": 1})
    line = story.table.type(template="train", lr=0.1)
    story.wait(8)
    assert line["status"] == "running"
    return story, line


def attempts(story: Story, line: Line) -> tuple[Attempt, ...]:
    return story.experiment(line).attempts


# --- launching ---------------------------------------------------------------------------------------------------


def test_the_intent_is_recorded_before_the_host_is_asked():
    story = Story()
    story.table.type(template="train", lr=0.1)
    at_launch: list[bool] = []
    story.meddle = lambda effect: (
        at_launch.append(effect.attempt in {event.attempt for event in story.told(ev.LaunchIntended)})  # type: ignore[attr-defined]
        if isinstance(effect, fx.Launch)
        else None
    )
    story.wait(8)
    assert at_launch == [True]


def test_a_launch_whose_answer_was_lost_is_asked_again_and_never_as_another_attempt():
    story = Story()
    host = story.hosts[HostName("alpha")]
    host.loses_replies = True
    line = story.table.type(template="train", lr=0.1)
    story.wait(60)
    assert len(host.asked) > 5
    assert set(host.asked) == {f"{line['id']}.1"}
    assert len(host.started) == 1
    assert line["status"] == "launching"
    host.loses_replies = False
    story.wait(10)
    assert line["status"] == "running"
    assert len({effect.nonce for effect in story.asked(fx.Launch)}) == 1  # type: ignore[union-attr]


def test_a_launch_is_never_asked_for_while_the_same_is_in_flight():
    story = Story()
    story.table.type(template="train", lr=0.1)
    story.wait(2)
    for _ in range(30):
        story.now_s += 1.0
        story.turn()
        story.queue[:] = [effect for effect in story.queue if not isinstance(effect, fx.Launch)]
        story.settle()
    assert len(story.asked(fx.Launch)) == 1


def test_a_crash_of_the_daemon_between_intent_and_launch_finishes_the_same_attempt():
    story = Story()
    line = story.table.type(template="train", lr=0.1)
    story.hosts[HostName("alpha")].loses_replies = True
    story.wait(8)
    story.hosts[HostName("alpha")].loses_replies = False
    story.restart_daemon()
    story.wait(8)
    assert line["status"] == "running"
    assert story.attempts_started() == [f"{line['id']}.1"]


def test_what_a_host_only_claimed_is_asked_for_again():
    story = Story()
    host = story.hosts[HostName("alpha")]
    line = story.table.type(template="train", lr=0.1)
    host.launch = lambda attempt: host.asked.append(attempt) or AttemptSeen(state=Seen.CLAIMED)  # type: ignore[func-returns-value, method-assign]
    story.wait(30)
    assert len(host.asked) > 2
    assert line["status"] == "launching"


def test_a_launch_that_a_host_refuses_is_revoked_there_and_made_elsewhere():
    story = Story(hosts={"alpha": 8, "beta": 1})
    story.hosts[HostName("alpha")].refusal = ("disk_full", "no space left: delete something")
    line = story.table.type(template="train", lr=0.1)
    story.wait(20)
    first, second = attempts(story, line)
    assert (first.host, first.reason, first.proof) == ("alpha", Reason.LAUNCH_FAILED, Proof.REVOKED)
    assert second.host == "beta"
    assert story.hosts[HostName("alpha")].attempts[first.id].state is Seen.REVOKED
    assert story.attempts_started() == [second.id]
    assert line["status"] == "running"


def test_a_launch_that_finds_its_host_busy_is_asked_for_again():
    """Seed 82663 of the simulator: another agent held the lock for a moment, and the attempt was given up."""
    story = Story(hosts={"alpha": 1, "beta": 1})
    story.hosts[HostName("alpha")].refusal = ("busy", "another agent on this host holds host.lock: retry")
    story.hosts[HostName("beta")].refusal = ("busy", "another agent on this host holds host.lock: retry")
    line = story.table.type(template="train", lr=0.1)
    story.wait(20)
    assert story.experiment(line).phase is Phase.LAUNCHING
    for host in story.hosts.values():
        host.refusal = None
    story.wait(10)
    assert line["status"] == "running"
    assert story.told(ev.StopIntended) == []


def test_a_host_that_always_refuses_is_tried_with_growing_pauses_until_the_budget_is_spent():
    story = Story()
    story.hosts[HostName("alpha")].refusal = ("disk_full", "no space left: delete something")
    line = story.table.type(template="train", lr=0.1)
    story.wait(60)
    assert (line["status"], story.names().count("HostQuarantined")) == ("waiting", 1)
    story.wait(300)
    ended = story.told(ev.AttemptEnded)
    assert [event.relaunch_delay_s for event in ended] == [1.0, 2.0, 4.0, None]  # type: ignore[attr-defined]
    assert (line["status"], line["message"]) == ("failed", "alpha refused it: no space left: delete something")
    assert story.attempts_started() == []


def test_a_launch_that_was_revoked_by_a_journal_unknown_to_ours_is_over_and_made_again():
    """Seed 147: it was asked for again for ever, because the host's tomb had been seen before our intent."""
    story = Story()
    host = story.hosts[HostName("alpha")]
    host.refusal = ("revoked", "it was stopped before it started; it never will")
    line = story.table.type(template="train", lr=0.1)
    story.wait(6)
    assert len(story.told(ev.AttemptEnded)) == 1
    host.refusal = None
    story.wait(20)
    first, second = attempts(story, line)
    assert (first.reason, first.proof) == (Reason.LAUNCH_FAILED, Proof.REVOKED)
    assert story.attempts_started() == [second.id]


@pytest.mark.parametrize("code", ["ticket_expired", "wrong_boot", "no_code", "only_looks"])
def test_a_refusal_that_will_pass_by_itself_is_asked_again(code: str):
    story = Story()
    host = story.hosts[HostName("alpha")]
    host.refusal = (code, "try again")
    line = story.table.type(template="train", lr=0.1)
    story.wait(20)
    assert (line["status"], line["message"]) == ("launching", "alpha refused: try again")
    host.refusal = None
    story.wait(8)
    assert [attempt.number for attempt in attempts(story, line)] == [1]
    assert line["status"] == "running"


def test_a_newer_daemon_makes_this_one_show_and_do_nothing():
    story = Story(hosts={"alpha": 1, "beta": 1})
    story.hosts[HostName("alpha")].refusal = ("stale_daemon", "epoch 7 is served")
    line = story.table.type(template="train", lr=0.1)
    story.wait(8)
    assert story.world.halted
    story.table.type(line, action="stop")
    before = len(story.journal)
    story.wait(30)
    assert len(story.journal) == before
    assert line["status"] == "launching"


# --- hosts that cannot be seen -----------------------------------------------------------------------------------


def test_a_host_that_comes_and_goes_for_nineteen_hours_ends_nothing():
    story, line = running()
    before = len(story.journal)
    for _ in range(25):
        story.cut_off("alpha")
        story.wait(19 * 3600 / 50, step_s=60)
        assert line["status"] == "unreachable"
        story.back("alpha")
        story.wait(19 * 3600 / 50, step_s=60)
        assert line["status"] == "running"
    assert len(story.journal) == before
    assert len(story.asked(fx.Launch)) == 1


def test_an_unreachable_row_says_what_is_known_and_that_nothing_else_is_started():
    story, line = running(alpha=1, beta=4)
    story.cut_off(str(line["host"]))
    story.wait(3600, step_s=60)
    assert line["message"] == (
        f"{line['host']} cannot be reached: timed out; presumed running, nothing is started elsewhere"
    )
    assert len(story.attempts_started()) == 1


def test_its_slots_stay_taken():
    story, line = running()
    story.cut_off("alpha")
    waiting = story.table.type(template="train", lr=0.2)
    story.wait(100)
    story.back("alpha")
    story.wait(10)
    assert (line["status"], waiting["status"]) == ("running", "waiting")


def test_what_ended_while_nobody_could_look_is_told_on_the_first_occasion():
    story, line = running()
    story.cut_off("alpha")
    story.wait(100)
    attempt = AttemptId(f"{line['id']}.1")
    host = story.hosts[HostName("alpha")]
    host.attempts[attempt] = replace(host.attempts[attempt], state=Seen.EXITED, exit=Exit(rc=0))
    story.back("alpha")
    story.wait(5)
    assert line["status"] == "succeeded"


def test_a_stop_that_cannot_be_delivered_is_delivered_later():
    story, line = running()
    story.cut_off("alpha")
    story.table.type(line, action="stop")
    story.wait(3600, step_s=60)
    assert story.experiment(line).phase is Phase.STOPPING
    story.back("alpha")
    story.wait(10)
    assert line["status"] == "stopped"


def test_a_host_that_is_taken_out_of_the_configuration_keeps_its_attempts():
    story, line = running(alpha=1, beta=1)
    name = HostName(str(line["host"]))
    del story._slots[name], story.hosts[name]
    story.restart_daemon()
    story.wait(60)
    assert line["status"] == "unreachable"
    assert line["message"] == (
        f"{name} is no longer in sheetd.toml: put it back, and the row goes on from what is there; presumed running,"
        " nothing is started elsewhere; if that machine is gone for good, choose stop"
    )
    assert attempts(story, line)[-1].proof is None


# --- ends --------------------------------------------------------------------------------------------------------


def test_a_reboot_is_proof_and_the_next_attempt_goes_on_from_the_last_checkpoint():
    story, line = running()
    story.reboot("alpha")
    story.wait(8)
    first, second = attempts(story, line)
    assert (first.reason, first.proof, first.detail) == (Reason.HOST_LOST, Proof.REBOOTED, "alpha was rebooted")
    assert second.started
    assert story.asked(fx.Launch)[-1].resume  # type: ignore[union-attr]
    assert line["status"] == "running"


def test_while_it_waits_for_that_the_row_says_why():
    story, line = running()
    story.reboot("alpha")
    experiment = story.experiment(line)
    assert status_word(story.world, experiment) == "waiting"
    assert message_of(story.world, experiment, None, story.now()) == (
        "attempt 1 ended: alpha was rebooted; starts again shortly"
    )


def test_processes_that_vanished_are_launched_again():
    story, line = running()
    story.report(f"{line['id']}.1", AttemptSeen(state=Seen.LOST))
    story.wait(8)
    assert attempts(story, line)[0].proof is Proof.LOST
    assert line["attempt"] == 2.0


def test_a_crash_that_the_supervisor_gave_up_on_is_failed_and_not_launched_again():
    story, line = running(alpha=1, beta=1)
    story.exits(f"{line['id']}.1", rc=3, restarts=3, last_lines=("loading", "ValueError: \x1b[31mbad\x1b[0m"))
    story.wait(600, step_s=10)
    assert line["status"] == "failed"
    assert line["message"] == "exit code 3, after 3 restarts; last line: ValueError: bad"
    assert len(story.attempts_started()) == 1


@pytest.mark.parametrize(
    ("exit_", "words"),
    [
        (Exit(rc=1), "exit code 1"),
        (Exit(signal=9), "killed by signal 9"),
        (Exit(signal=9, oom=True), "out of memory (killed by signal 9)"),
        (Exit(), "ended without saying how"),
        (None, "ended without saying how"),
    ],
)
def test_a_failed_row_says_how_it_ended(exit_: Exit | None, words: str):
    story, line = running()
    story.report(f"{line['id']}.1", AttemptSeen(state=Seen.EXITED, exit=exit_))
    story.wait(3)
    assert (line["status"], line["message"]) == ("failed", words)


def test_a_job_that_was_stopped_by_somebody_else_is_not_started_again():
    story, line = running()
    story.report(f"{line['id']}.1", AttemptSeen(state=Seen.EXITED, exit=Exit(signal=15, stopped=True)))
    story.wait(60)
    assert (line["status"], line["message"]) == ("stopped", "stopped outside sheetd")


def test_a_job_that_was_over_before_anybody_saw_it_run_has_run():
    story = Story()
    host = story.hosts[HostName("alpha")]
    host.launch = lambda _attempt: AttemptSeen(state=Seen.EXITED, exit=Exit(rc=0))  # type: ignore[method-assign]
    line = story.table.type(template="train", lr=0.1)
    story.wait(8)
    assert story.names()[-2:] == ["AttemptStarted", "AttemptEnded"]
    assert line["status"] == "succeeded"


def test_a_restart_on_the_host_is_shown_and_costs_no_attempt():
    story, line = running()
    attempt = f"{line['id']}.1"
    story.report(attempt, AttemptSeen(state=Seen.RESTARTING, restarts=0, exit=Exit(rc=1)))
    story.wait(4)
    assert (line["status"], line["message"]) == ("restarting", "exit code 1; restart 1 follows on the same host")
    story.report(attempt, AttemptSeen(state=Seen.RUNNING, restarts=1))
    story.wait(4)
    assert (line["status"], line["message"]) == ("running", "crashed and was restarted once")
    assert len(attempts(story, line)) == 1


def test_a_host_without_any_record_of_what_it_ran_is_asked_to_make_sure_before_anything_else():
    story, line = running()
    attempt = AttemptId(f"{line['id']}.1")
    story.report(attempt, AttemptSeen(state=Seen.ABSENT))
    assert story.experiment(line).phase in (Phase.STOPPING, Phase.WAITING, Phase.LAUNCHING)
    story.wait(20)
    assert [effect.attempt for effect in story.asked(fx.Stop)] == [attempt]  # type: ignore[union-attr]
    assert attempts(story, line)[0].proof is Proof.REVOKED
    assert story.attempts_started() == [attempt, f"{line['id']}.2"]


def test_an_end_cannot_be_taken_back():
    story, line = running()
    attempt = f"{line['id']}.1"
    story.exits(attempt, rc=0)
    story.report(attempt, AttemptSeen(state=Seen.RUNNING))
    story.report(attempt, AttemptSeen(state=Seen.EXITED, exit=Exit(rc=1)))
    story.wait(5)
    assert line["status"] == "succeeded"
    assert len(story.told(ev.AttemptEnded)) == 1


def test_an_end_whose_last_metrics_are_waited_for_cannot_be_taken_back_either():
    story, line = running()
    attempt = f"{line['id']}.1"
    story.exits(attempt, rc=0, metrics_bytes=100)
    assert story.told(ev.AttemptEnded) == []
    story.report(attempt, AttemptSeen(state=Seen.RUNNING))
    story.wait(30)
    assert story.told(ev.AttemptEnded) == [], "its last numbers would never be asked for again"
    story.wait(40)
    assert line["status"] == "succeeded"


def test_news_of_an_older_attempt_change_nothing():
    story, line = running()
    story.reboot("alpha")
    story.wait(8)
    first = AttemptId(f"{line['id']}.1")
    story.wait(20)
    before = len(story.journal)
    for state in (Seen.RUNNING, Seen.EXITED, Seen.ABSENT):
        story.turn(obs.AttemptReported(host=HostName("alpha"), attempt=first, seen=AttemptSeen(state=state)))
        story.settle()
    assert len(story.journal) == before
    assert set(story.world.hosts[HostName("alpha")].attempts) == {f"{line['id']}.2"}
    assert line["attempt"] == 2.0


def test_strangers_on_a_host_are_none_of_our_business():
    story, _ = running()
    before = len(story.journal)
    for name in ("other.1", "nonsense", ""):
        stranger = AttemptId(name)
        seen = AttemptSeen(state=Seen.RUNNING)
        story.turn(obs.AttemptReported(host=HostName("alpha"), attempt=stranger, seen=seen))
        story.turn(
            obs.HostSeen(
                host=HostName("alpha"), facts=story.hosts[HostName("alpha")].facts(), attempts={stranger: seen}
            )
        )
        story.settle()
    assert len(story.journal) == before
    assert story.asked(fx.Stop) == []


# --- who is watched ----------------------------------------------------------------------------------------------


def watched(story: Story) -> set[str]:
    return set(story.world.hosts[HostName("alpha")].watching)


def test_live_attempts_are_watched_and_ended_ones_only_until_it_is_worth_a_request():
    story, line = running()
    attempt = f"{line['id']}.1"
    assert watched(story) == {attempt}
    story.exits(attempt)
    story.wait(2)
    assert watched(story) == {attempt}
    story.wait(10)
    assert watched(story) == set()


def test_who_has_ended_is_dropped_when_somebody_else_is_to_be_watched():
    story, first = running()
    second = story.table.type(template="train", lr=0.2, seed=2)
    story.wait(8)
    story.exits(f"{first['id']}.1")
    story.wait(4)
    assert second["status"] == "running"
    assert watched(story) == {f"{second['id']}.1"}


def test_a_host_that_cannot_be_reached_is_not_asked_to_watch():
    story, line = running()
    story.exits(f"{line['id']}.1")
    story.cut_off("alpha")
    before = len(story.started)
    story.wait(30)
    assert {type(effect) for effect in story.started[before:]} <= {fx.ReadSheet, fx.WriteSheet}


def test_what_has_ended_leaves_nothing_behind_that_grows():
    story = Story(hosts={"alpha": 4})
    for n in range(40):
        line = story.table.type(template="train", lr=n / 10)
        story.wait(8)
        story.exits(f"{line['id']}.1")
    story.wait(60)
    world = story.world
    host = world.hosts[HostName("alpha")]
    assert not host.attempts
    assert not world.ended_at_s
    assert not world.started_at_s
    assert not world.refusals
    assert not world.state.live
    assert not world.state.open
    assert len(world.hold_until_s) < 5
