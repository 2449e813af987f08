"""Each promise that is checked after every turn is really noticed when it is broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from sheetd.core.events import LaunchIntended
from sheetd.core.invariants import violations
from sheetd.core.model import Accelerator, AttemptId, Experiment, HostName, Phase, SlotName
from sheetd.core.reconcile import record
from sheetd.core.world import World
from tests.core.cards import A100, Cards
from tests.core.story import TRAIN, Story


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


def sharing(share: int) -> World:
    story = Story(cards={"lab": Cards(A100)}, templates=[replace(TRAIN, share=share)])
    for lr in (0.1, 0.2):
        story.table.type(template="train", lr=lr)
    story.wait(10)
    return story.world


def test_an_accelerator_that_is_shared_as_agreed_breaks_nothing():
    assert violations(sharing(2)) == []


def test_one_that_more_have_than_all_of_them_allow_is_noticed():
    world = sharing(2)
    id_, experiment = next(iter(world.state.experiments.items()))
    world.state.experiments[id_] = replace(experiment, spec=replace(experiment.spec, share=1))
    assert violations(world) == ["GPU-0 of lab is assigned to 2 attempts, and 1 may have it"]


@pytest.mark.parametrize(("card", "use"), [(0, "foreign"), (1, "unknown"), (2, "sick"), (9, "unknown")])
def test_what_is_given_away_although_it_is_not_free_stays_noticed(card: int, use: str):
    cards = Cards(A100, A100, A100)
    cards[0].user, cards[1].is_unclear, cards[2].is_sick = "kim", True, True
    story = Story(cards={"lab": cards})
    story.settle()
    line = story.table.type(template="train", lr=0.1)
    story.wait(10)
    intent = LaunchIntended(
        attempt=AttemptId(f"{line['id']}.1"),
        host=HostName("lab"),
        slots=(SlotName(f"lab/GPU-{card}"),),
        nonce="",
        accelerators=(Accelerator(kind="nvidia", id=f"GPU-{card}"),),
    )
    record(story.world, intent, story.now())
    (sentence,) = violations(story.world)
    assert sentence == f"{line['id']}.1 was given GPU-{card} of lab, which is {use}"
