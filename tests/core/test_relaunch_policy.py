"""What follows an end: the program's own fault is not tried elsewhere, what was taken away from it is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sheetd.core.model import Afterwards, Attempt, AttemptId, Experiment, ExperimentId, HostName, Reason, Spec
from sheetd.core.observation import Exit
from sheetd.core.relaunch_policy import LONGEST_DELAY_S, TAKEN_AWAY, UNCHARGED, reason_of, relaunch_delay_s


def after(*reasons: Reason | None, relaunches: int = 100, then: Afterwards = Afterwards.END) -> Experiment:
    attempts = tuple(
        Attempt(id=AttemptId(f"x.{n}"), number=n, host=HostName("a"), slots=(), nonce="", reason=reason)
        for n, reason in enumerate(reasons, start=1)
    )
    spec = Spec(template="t", argv=("true",), relaunches=relaunches)
    return Experiment(id=ExperimentId("x"), spec=spec, attempts=attempts, afterwards=then)


@pytest.mark.parametrize(
    ("exit_", "asked", "reason"),
    [
        (Exit(rc=0), False, Reason.SUCCEEDED),
        (Exit(rc=0), True, Reason.SUCCEEDED),
        (Exit(rc=0, stopped=True), False, Reason.SUCCEEDED),
        (Exit(rc=1), False, Reason.FAILED),
        (Exit(signal=9), False, Reason.FAILED),
        (Exit(signal=9, oom=True), False, Reason.OUT_OF_MEMORY),
        (Exit(rc=1), True, Reason.STOPPED_BY_USER),
        (Exit(signal=15, stopped=True), False, Reason.STOPPED_BY_USER),
        (Exit(signal=9, oom=True), True, Reason.STOPPED_BY_USER),
        (Exit(), False, Reason.FAILED),
    ],
)
def test_the_reason_is_read_from_the_exit_record(exit_: Exit, asked: bool, reason: Reason):
    assert reason_of(exit_, stop_asked=asked) is reason


@pytest.mark.parametrize("reason", sorted(set(Reason) - TAKEN_AWAY - UNCHARGED))
def test_what_was_not_taken_away_is_not_launched_again(reason: Reason):
    assert relaunch_delay_s(after(None), reason) is None


def test_who_came_too_late_for_an_accelerator_tries_again_however_often_that_happens():
    busy = Reason.ACCELERATOR_BUSY
    delays = [relaunch_delay_s(after(*[busy] * n, None, relaunches=1), busy) for n in range(12)]
    assert delays[:3] == [1.0, 2.0, 4.0]
    assert delays[-1] == LONGEST_DELAY_S
    assert relaunch_delay_s(after(busy, busy, busy, None, relaunches=1), Reason.HOST_LOST) == 1.0


@pytest.mark.parametrize("reason", sorted(TAKEN_AWAY))
def test_what_was_taken_away_is_launched_again(reason: Reason):
    assert relaunch_delay_s(after(None), reason) == 1.0


def test_each_time_it_waits_twice_as_long_up_to_a_bound():
    delays = [relaunch_delay_s(after(*[Reason.HOST_LOST] * n, None), Reason.HOST_LOST) for n in range(12)]
    assert delays[:5] == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert delays[-1] == LONGEST_DELAY_S


def test_the_budget_is_for_attempts_that_were_taken_away_and_for_no_others():
    lost = [Reason.HOST_LOST, Reason.LAUNCH_FAILED]
    assert relaunch_delay_s(after(*lost, None, relaunches=3), Reason.PREEMPTED) == 4.0
    assert relaunch_delay_s(after(*lost, None, relaunches=2), Reason.PREEMPTED) is None
    restarted = [Reason.STOPPED_BY_USER] * 5
    assert relaunch_delay_s(after(*restarted, None, relaunches=1), Reason.PREEMPTED) == 1.0


def test_a_rerun_has_its_own_budget():
    spent = after(Reason.HOST_LOST, Reason.HOST_LOST, None, relaunches=2)
    assert relaunch_delay_s(spent, Reason.HOST_LOST) is None
    assert relaunch_delay_s(replace(spent, budget_from=3), Reason.HOST_LOST) == 1.0


def test_no_relaunches_means_none():
    assert relaunch_delay_s(after(None, relaunches=0), Reason.HOST_LOST) is None


@pytest.mark.parametrize("reason", sorted(set(Reason) - {Reason.SUCCEEDED}))
def test_a_restart_that_was_asked_for_follows_at_once_whatever_the_end(reason: Reason):
    assert relaunch_delay_s(after(None, relaunches=0, then=Afterwards.RESTART), reason) == 0.0


def test_a_program_that_finished_meanwhile_is_not_started_again():
    assert relaunch_delay_s(after(None, then=Afterwards.RESTART), Reason.SUCCEEDED) is None


def test_a_launch_that_was_called_off_costs_the_budget():
    assert relaunch_delay_s(after(None, relaunches=1, then=Afterwards.RELAUNCH), Reason.LAUNCH_FAILED) == 1.0
    assert relaunch_delay_s(after(None, relaunches=0, then=Afterwards.RELAUNCH), Reason.LAUNCH_FAILED) is None


def test_a_program_that_succeeded_while_it_was_called_off_is_not_started_again():
    assert relaunch_delay_s(after(None, then=Afterwards.RELAUNCH), Reason.SUCCEEDED) is None
