"""Each promise that is checked after every turn is really noticed when it is broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from sheetd.core.invariants import violations
from sheetd.core.model import AttemptId, Experiment, Phase, SlotName
from sheetd.core.world import World
from tests.core.story import Story


def world_with_two() -> World:
    story = Story(hosts={"alpha": 2})
    for lr in (0.1, 0.2):
        story.table.type(template="train", lr=lr)
    story.wait(10)
    return story.world


def spoil(world: World, change: Callable[[Experiment], Experiment]) -> None:
    id_, experiment = next(iter(world.state.experiments.items()))
    world.state.experiments[id_] = change(experiment)


def same_slot(experiment: Experiment) -> Experiment:
    (attempt,) = experiment.attempts
    return replace(experiment, attempts=(replace(attempt, slots=(SlotName("alpha/0"), SlotName("alpha/1"))),))


def unproven_successor(experiment: Experiment) -> Experiment:
    (attempt,) = experiment.attempts
    return replace(
        experiment, attempts=(attempt, replace(attempt, id=AttemptId(f"{experiment.id}.2"), number=2, slots=()))
    )


def foreign_attempt(experiment: Experiment) -> Experiment:
    (attempt,) = experiment.attempts
    return replace(experiment, attempts=(replace(attempt, id=AttemptId("other.1")),))


def test_a_world_in_order_breaks_nothing():
    assert violations(world_with_two()) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (same_slot, "is held by 2 attempts at once"),
        (unproven_successor, "has a successor and no proof that it is over"),
        (foreign_attempt, "stands at place 1"),
        (lambda experiment: replace(experiment, phase=Phase.WAITING), "counts as live, and its experiment is waiting"),
        (lambda experiment: replace(experiment, phase=Phase.ENDED), "counts as open and has ended"),
        (lambda experiment: replace(experiment, attempts=()), "no attempt of it counts as live"),
    ],
)
def test_a_broken_promise_is_said_in_words(change: Callable[[Experiment], Experiment], words: str):
    world = world_with_two()
    spoil(world, change)
    assert any(words in sentence for sentence in violations(world))


def test_an_attempt_that_fell_out_of_the_index_is_noticed():
    world = world_with_two()
    world.state.live.popitem()
    assert any("no attempt of it counts as live" in sentence for sentence in violations(world))
