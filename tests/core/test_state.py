"""The state is what the journal adds up to, and nothing else."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest

from sheetd.core import events as ev
from sheetd.core import observation as obs
from sheetd.core.grid import Claim
from sheetd.core.model import Afterwards, AttemptId, ExperimentId, HostName, Phase, Proof, Reason, SlotName, Spec
from sheetd.core.state import State
from sheetd.errors import IllegalTransition
from tests.core.story import Story

ID = ExperimentId("x1")
OTHER = ExperimentId("x2")
SPEC = Spec(template="train", argv=("true",))


def folded(*events: ev.Event, now_s: float = 0.0) -> State:
    state = State()
    for event in events:
        state.apply(event, now_s)
    return state


def accepted(id_: ExperimentId = ID, fingerprint: str = "f") -> ev.Event:
    return ev.RowAccepted(experiment=id_, spec=SPEC, fingerprint=fingerprint, wall_s=1.0)


def launch(attempt: str) -> ev.Event:
    return ev.LaunchIntended(
        attempt=AttemptId(attempt), host=HostName("alpha"), slots=(SlotName("alpha/0"),), nonce="n"
    )


def ended(attempt: str, **changes: object) -> ev.Event:
    return ev.AttemptEnded(
        **{"attempt": AttemptId(attempt), "reason": Reason.FAILED, "proof": Proof.EXIT_RECORD, **changes}  # type: ignore[arg-type]
    )


def eventful_story() -> Story:
    """Everything that can be recorded, at least once."""
    story = Story(hosts={"alpha": 1, "beta": 1})
    kept = story.table.type(template="train", lr=0.1)
    stopped = story.table.type(template="train", lr=0.2)
    deleted = story.table.type(template="train", lr=0.3)
    story.wait(8)
    story.table.type(stopped, action="stop")
    story.table.delete(deleted)
    story.table.type(template="train", lr="wrong")
    story.wait(8)
    story.table.insert(0, deleted)
    story.reboot("alpha")
    story.wait(8)
    story.exits(f"{kept['id']}.2", rc=1)
    story.table.type(stopped, action="rerun")
    story.table.type(kept, action=None)
    story.table.delete(story.table.lines[-1])
    story.wait(8)
    story.table.type(stopped, action="restart")
    queue = [story.table.type(template="train", lr=1.0 + number) for number in range(3)]
    story.wait(8)
    story.table.type(queue[-1], action="stop")
    story.table.type(kept, lr=0.15)
    story.table.type(template="train", lr="{7 | 8}")
    story.table.type(template="train", lr=1.0)
    story.wait(8)
    id_ = ExperimentId(str(queue[-1]["id"]))
    story.turn(obs.BeginRequested(experiment=id_, action="restart", request=1, wall_s=1.7e9))
    story.wait(8)
    return story


def taken_over(story: Story) -> Story:
    """Another daemon launches one more attempt, and ours takes the sheet back."""
    running, id_ = next(iter(story.world.state.live.items()))
    attempt = story.world.state.experiments[id_].attempt
    assert attempt is not None
    host, theirs = story.hosts[attempt.host], AttemptId(f"{id_}.{attempt.number + 1}")
    host.attempts[theirs] = host.attempts[running]
    host.kept[theirs] = replace(host.kept[running], nonce="f" * 32)
    story.table.claim = Claim(epoch=7, owner="another", stamp=3, where="elsewhere")
    story.table.changed()
    story.restart_daemon()
    story.wait(8)
    return story


def test_these_stories_leave_out_only_what_this_test_names():
    told = {type(event) for event in taken_over(eventful_story()).events}
    of_hosts = {event for event in ev.Event.__args__ if "host" in event.__slots__ and "attempt" not in event.__slots__}  # type: ignore[attr-defined]
    assert set(ev.Event.__args__) - told - of_hosts == {ev.DaemonStarted}  # type: ignore[attr-defined]


def test_replaying_the_recorded_events_gives_an_equal_state():
    story = eventful_story()
    again = State()
    for event, now_s in story.journal:
        again.apply(event, now_s)
    again.apply(ev.DaemonStarted(epoch=story.epoch, wall_s=0.0), 0.0)
    assert again == story.world.state


def test_a_longer_journal_never_takes_an_accepted_row_away():
    story = eventful_story()
    state, accepted_so_far = State(), set()
    for event, now_s in story.journal:
        state.apply(event, now_s)
        if isinstance(event, ev.RowAccepted | ev.SweepExpanded):
            accepted_so_far.add(event.experiment)
        if isinstance(event, ev.SweepExpanded):
            accepted_so_far |= {member.id for member in event.begun}
        assert accepted_so_far == set(state.experiments)


def test_the_next_attempt_may_not_exist_before_the_last_is_proven_to_be_over():
    state = folded(accepted(), launch("x1.1"))
    for phase in (Phase.WAITING, Phase.LAUNCHING):
        # Even where the phase would allow it, as after a bug elsewhere.
        experiment = state.experiments[ID]
        state.experiments[ID] = type(experiment)(
            id=ID, spec=SPEC, phase=phase, attempts=experiment.attempts, revision=experiment.revision
        )
        before = deepcopy(state)
        with pytest.raises(IllegalTransition):
            state.apply(launch("x1.2"), 0.0)
        assert state == before


@pytest.mark.parametrize("attempt", ["x1.2", "x1.0", "x1.17"])
def test_attempts_are_numbered_without_gaps(attempt: str):
    state = folded(accepted())
    with pytest.raises(IllegalTransition, match="not the next attempt"):
        state.apply(launch(attempt), 0.0)


def test_a_number_is_never_used_again():
    state = folded(accepted(), launch("x1.1"), ended("x1.1", relaunch_delay_s=0.0))
    with pytest.raises(IllegalTransition):
        state.apply(launch("x1.1"), 0.0)


@pytest.mark.parametrize(
    "event",
    [
        launch("x9.1"),
        ev.AttemptStarted(attempt=AttemptId("x9.1"), wall_s=0.0),
        ev.StopIntended(attempt=AttemptId("x9.1"), why=""),
        ended("x9.1"),
        ev.ExperimentWithdrawn(experiment=ExperimentId("x9"), why=""),
        ev.ExperimentReopened(experiment=ExperimentId("x9"), resume=True),
        ev.RowVanished(experiment=ExperimentId("x9")),
        ev.RowReturned(experiment=ExperimentId("x9")),
        ev.IdWithdrawn(experiment=ExperimentId("x9")),
        ev.IdAssigned(experiment=ID, fingerprint="f"),
        accepted(),
    ],
    ids=lambda event: type(event).__name__,
)
def test_an_event_about_what_is_not_there_raises_and_changes_nothing(event: ev.Event):
    state = folded(accepted())
    before = deepcopy(state)
    with pytest.raises(IllegalTransition):
        state.apply(event, 0.0)
    assert state == before


def test_an_answer_about_an_older_attempt_is_no_answer_about_the_newest():
    state = folded(accepted(), launch("x1.1"), ended("x1.1", relaunch_delay_s=0.0), launch("x1.2"))
    for event in (ended("x1.1"), ev.AttemptStarted(attempt=AttemptId("x1.1"), wall_s=0.0)):
        with pytest.raises(IllegalTransition, match="not the newest attempt"):
            state.apply(event, 0.0)
    assert list(state.live) == ["x1.2"]


def test_a_daemon_that_comes_back_counts_every_delay_in_full():
    story = [accepted(), launch("x1.1"), ended("x1.1", relaunch_delay_s=64.0), ev.RowVanished(experiment=ID)]
    state = folded(*story, now_s=5000.0)
    assert state.experiments[ID].not_before_s == 5064.0
    assert state.experiments[ID].missing_since_s == 5000.0


def test_a_rerun_starts_with_a_full_budget_and_from_nothing():
    state = folded(accepted(), launch("x1.1"), ended("x1.1"))
    state.apply(ev.ExperimentReopened(experiment=ID, resume=False, spec=SPEC, fingerprint="g"), 0.0)
    experiment = state.experiments[ID]
    assert (experiment.budget_from, experiment.resume, experiment.started_wall_s) == (2, False, None)
    assert state.by_fingerprint == {"g": {ID: None}}


def test_the_first_attempt_starts_from_nothing_and_later_ones_from_the_last_checkpoint():
    state = folded(accepted())
    assert not state.experiments[ID].resume
    state.apply(launch("x1.1"), 0.0)
    state.apply(ended("x1.1", relaunch_delay_s=0.0), 0.0)
    assert state.experiments[ID].resume


def test_ended_experiments_are_not_looked_at_any_more():
    state = folded(accepted(), accepted(OTHER), launch("x1.1"), ended("x1.1"))
    assert list(state.open) == [OTHER]
    assert state.live == {}
    state.apply(ev.ExperimentReopened(experiment=ID, resume=True), 0.0)
    assert list(state.open) == [OTHER, ID]


def test_several_rows_may_say_the_same():
    state = folded(accepted(), accepted(OTHER), ev.IdAssigned(experiment=ExperimentId("x3"), fingerprint="f"))
    assert list(state.by_fingerprint["f"]) == [ID, OTHER, "x3"]
    state.apply(ev.IdWithdrawn(experiment=ExperimentId("x3")), 0.0)
    assert list(state.by_fingerprint["f"]) == [ID, OTHER]


def test_a_withdrawn_id_leaves_nothing_behind():
    draft = ExperimentId("x3")
    state = folded(
        ev.IdAssigned(experiment=draft, fingerprint="f"),
        ev.ActionConsumed(experiment=draft, action="run"),
        ev.IdWithdrawn(experiment=draft),
    )
    assert (state.drafts, state.by_fingerprint, state.consumed) == ({}, {}, {})


def test_a_persons_stop_overrules_a_restart_that_is_under_way():
    state = folded(accepted(), launch("x1.1"))
    state.apply(ev.StopIntended(attempt=AttemptId("x1.1"), why="again", then=Afterwards.RESTART), 0.0)
    state.apply(ev.StopIntended(attempt=AttemptId("x1.1"), why="enough", then=Afterwards.END), 0.0)
    experiment = state.experiments[ID]
    assert (experiment.phase, experiment.afterwards, experiment.stop_reason) == (
        Phase.STOPPING,
        Afterwards.END,
        "enough",
    )


def test_why_one_attempt_was_stopped_says_nothing_about_the_next():
    state = folded(accepted(), launch("x1.1"))
    state.apply(ev.StopIntended(attempt=AttemptId("x1.1"), why="disk full", then=Afterwards.RELAUNCH), 0.0)
    state.apply(ended("x1.1", relaunch_delay_s=1.0), 0.0)
    experiment = state.experiments[ID]
    assert (experiment.afterwards, experiment.stop_reason) == (Afterwards.END, "")
