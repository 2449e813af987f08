"""Whether an ended attempt is followed by another one, elsewhere or on the same host, and after how long.

Two levels, two words: the supervisor on the host *restarts* a crashed process within the same attempt, by the
`Restarts` frozen in the spec; here the daemon decides whether to *relaunch*, as a new attempt. A crash that the
supervisor gave up on is the program's own fault and is not relaunched: another host would crash it as well. What was
taken away from the program (its host rebooted, vanished, refused) costs a separate budget and starts again elsewhere.
"""

from __future__ import annotations

from sheetd.core.model import Afterwards, Experiment, Reason
from sheetd.core.observation import Exit

#: Ends that were not the program's fault.
TAKEN_AWAY = frozenset({Reason.HOST_LOST, Reason.PREEMPTED, Reason.LAUNCH_FAILED, Reason.HOST_FAULT})
#: Somebody else was faster. Nothing was started, so it costs no budget, however often it happens.
UNCHARGED = frozenset({Reason.ACCELERATOR_BUSY})

FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 300.0


def reason_of(ended: Exit, *, stop_asked: bool) -> Reason:
    """Why a process that left an exit record ended. A program that finishes while being stopped has still succeeded."""
    if ended.rc == 0:
        return Reason.SUCCEEDED
    if stop_asked or ended.stopped:
        return Reason.STOPPED_BY_USER
    if ended.oom:
        return Reason.OUT_OF_MEMORY
    return Reason.FAILED


def relaunch_delay_s(experiment: Experiment, reason: Reason) -> float | None:
    """Seconds until the next attempt may start, or None when there will be none. The newest attempt counts as ended."""
    if reason is Reason.SUCCEEDED:
        return None
    if experiment.afterwards is Afterwards.RESTART:
        return 0.0
    if reason in UNCHARGED:
        beaten = 1 + sum(attempt.reason in UNCHARGED for attempt in experiment.attempts[-20:])
        return float(min(FIRST_DELAY_S * 2 ** (beaten - 1), LONGEST_DELAY_S))
    if experiment.afterwards is Afterwards.RELAUNCH:
        reason = Reason.LAUNCH_FAILED
    if reason not in TAKEN_AWAY:
        return None
    taken = 1 + sum(
        1
        for attempt in experiment.attempts
        if attempt.number >= experiment.budget_from and attempt.reason in TAKEN_AWAY
    )
    if taken > experiment.spec.relaunches:
        return None
    return float(min(FIRST_DELAY_S * 2 ** (taken - 1), LONGEST_DELAY_S))
