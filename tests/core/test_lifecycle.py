"""The table is the only way to change phase: what is not in it raises, and nothing changes."""

from __future__ import annotations

import itertools
from copy import deepcopy

import pytest

from sheetd.core import events as ev
from sheetd.core.lifecycle import MOVES, Move, after
from sheetd.core.model import AttemptId, ExperimentId, HostName, Phase, Proof, Reason, SlotName, Spec
from sheetd.core.state import State
from sheetd.errors import IllegalTransition

ID = ExperimentId("x1")
SPEC = Spec(template="train", argv=("true",))
PAIRS = list(itertools.product(Phase, Move))


def accepted() -> ev.Event:
    return ev.RowAccepted(experiment=ID, spec=SPEC, fingerprint="f", wall_s=1.0)


def launch(number: int = 1) -> ev.Event:
    return ev.LaunchIntended(
        attempt=AttemptId(f"x1.{number}"), host=HostName("alpha"), slots=(SlotName("alpha/0"),), nonce="n"
    )


def started(number: int = 1) -> ev.Event:
    return ev.AttemptStarted(attempt=AttemptId(f"x1.{number}"), wall_s=2.0)


def stop(number: int = 1) -> ev.Event:
    return ev.StopIntended(attempt=AttemptId(f"x1.{number}"), why="because")


def adopted(number: int = 2) -> ev.Event:
    return ev.AttemptAdopted(
        attempt=AttemptId(f"x1.{number}"),
        host=HostName("beta"),
        slots=(SlotName("beta/0"),),
        nonce="m",
        machine="",
        spec=SPEC,
        fingerprint="f",
        wall_s=3.0,
    )


def ended(number: int = 1, *, delay_s: float | None = None) -> ev.Event:
    return ev.AttemptEnded(
        attempt=AttemptId(f"x1.{number}"),
        reason=Reason.HOST_LOST,
        proof=Proof.REBOOTED,
        relaunch_delay_s=delay_s,
    )


#: One way to each phase, after which the newest attempt is x1.1 (there is none while it waits for the first time).
WAYS = {
    Phase.WAITING: (accepted(),),
    Phase.LAUNCHING: (accepted(), launch()),
    Phase.RUNNING: (accepted(), launch(), started()),
    Phase.STOPPING: (accepted(), launch(), started(), stop()),
    Phase.ENDED: (accepted(), launch(), started(), ended()),
}

#: One event for each move, with x1.1 as the newest attempt.
EVENTS = {
    Move.LAUNCH_INTENDED: launch(2),
    Move.STARTED: started(),
    Move.STOP_INTENDED: stop(),
    Move.GIVEN_BACK: ended(delay_s=1.0),
    Move.FINISHED: ended(),
    Move.WITHDRAWN: ev.ExperimentWithdrawn(experiment=ID, why="because"),
    Move.REOPENED: ev.ExperimentReopened(experiment=ID, resume=True),
    Move.ADOPTED: adopted(),
}


def state_in(phase: Phase) -> State:
    state = State()
    for event in WAYS[phase]:
        state.apply(event, 10.0)
    assert state.experiments[ID].phase is phase
    return state


def test_an_experiment_is_launched_runs_and_ends():
    phase = Phase.WAITING
    for move, then in [
        (Move.LAUNCH_INTENDED, Phase.LAUNCHING),
        (Move.STARTED, Phase.RUNNING),
        (Move.FINISHED, Phase.ENDED),
    ]:
        phase = after(phase, move)
        assert phase is then


def test_an_experiment_that_was_taken_away_waits_and_is_launched_again():
    state = state_in(Phase.RUNNING)
    state.apply(ended(delay_s=4.0), 10.0)
    assert state.experiments[ID].phase is Phase.WAITING
    assert state.experiments[ID].not_before_s == 14.0
    state.apply(launch(2), 14.0)
    assert state.experiments[ID].phase is Phase.LAUNCHING
    assert [attempt.number for attempt in state.experiments[ID].attempts] == [1, 2]


def test_nobody_leaves_the_end_but_by_being_reopened_or_adopted():
    assert [move for phase, move in MOVES if phase is Phase.ENDED] == [Move.REOPENED, Move.ADOPTED]


def test_every_phase_can_be_reached():
    assert set(MOVES.values()) == set(Phase)


@pytest.mark.parametrize(("phase", "move"), PAIRS, ids=lambda word: word.name)
def test_a_move_that_is_not_in_the_table_raises(phase: Phase, move: Move):
    if (phase, move) in MOVES:
        assert after(phase, move) is MOVES[phase, move]
    else:
        with pytest.raises(IllegalTransition, match=f"{phase.value} cannot be {move.value}"):
            after(phase, move)


@pytest.mark.parametrize(("phase", "move"), PAIRS, ids=lambda word: word.name)
def test_an_event_that_cannot_have_happened_raises_and_changes_nothing(phase: Phase, move: Move):
    state = state_in(phase)
    before = deepcopy(state)
    event = launch(1) if phase is Phase.WAITING and move is Move.LAUNCH_INTENDED else EVENTS[move]
    if (phase, move) in MOVES:
        state.apply(event, 20.0)
        assert state.experiments[ID].phase is MOVES[phase, move]
        assert state != before
    else:
        with pytest.raises(IllegalTransition):
            state.apply(event, 20.0)
        assert state == before
