"""Who gets which slots, and what is said to those who get none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheetd.core.model import Attempt, AttemptId, Experiment, ExperimentId, HostName, Reason, SlotName, Spec
from sheetd.core.placement import place
from sheetd.core.room import Room, Unit
from sheetd.core.why import Block, about


def host(name: str, slots: int, free: int | None = None, *, labels: tuple[str, ...] = (), closed: str = "") -> Room:
    units = [Unit(slot=SlotName(f"{name}/{n}")) for n in range(slots)]
    for unit in units[slots if free is None else free :]:
        unit.block, unit.words = Block.TAKEN, "ours"
    block = Block.DOWN if closed else Block.NONE
    return Room(name=HostName(name), units=units, labels=frozenset(labels), block=block, words=closed)


def waiting(name: str, slots: int = 1, *, where: str = "", priority: float = 0.0) -> Experiment:
    spec = Spec(template="t", argv=("true",), slots=slots, where=where, priority=priority)
    return Experiment(id=ExperimentId(name), spec=spec)


def after(experiment: Experiment, *past: tuple[str, Reason, bool]) -> Experiment:
    attempts = tuple(
        Attempt(
            id=AttemptId(f"{experiment.id}.{n}"),
            number=n,
            host=HostName(name),
            slots=(),
            nonce="",
            reason=reason,
            started=started,
        )
        for n, (name, reason, started) in enumerate(past, start=1)
    )
    return replace(experiment, attempts=attempts)


def where_to(experiment: Experiment, *hosts: Room) -> str | None:
    placed = place([experiment], hosts).placed
    return placed[experiment.id].host if placed else None


def sentence(experiment: Experiment, *hosts: Room) -> str:
    return place([experiment], hosts).waiting[experiment.id]


def test_the_host_with_the_most_room_is_taken():
    assert where_to(waiting("x"), host("a", 8, 2), host("b", 4, 3)) == "b"


def test_a_slot_is_handed_out_once():
    placement = place([waiting(f"x{n}") for n in range(5)], [host("a", 2), host("b", 1)])
    slots = [slot for placed in placement.placed.values() for slot in placed.slots]
    assert sorted(slots) == ["a/0", "a/1", "b/0"]
    assert list(placement.waiting) == ["x3", "x4"]


def test_larger_priority_goes_first_and_equals_in_order_of_acceptance():
    queue = [waiting("old"), waiting("new"), waiting("urgent", priority=5.0)]
    assert list(place(queue, [host("a", 2)]).placed) == ["urgent", "old"]


def test_one_that_fits_nowhere_now_does_not_hold_up_smaller_ones():
    placement = place([waiting("big", 4), waiting("small")], [host("a", 4, 2)])
    assert list(placement.placed) == ["small"]


def test_a_host_that_cannot_be_reached_gets_nothing():
    assert where_to(waiting("x"), host("a", 8, closed="cannot be used: timed out")) is None


@pytest.mark.parametrize("where", ["b", "B", " b ", "a100", "A100"])
def test_where_is_a_host_or_a_label(where: str):
    hosts = host("a", 8), host("b", 1, labels=("a100", "lab"))
    assert where_to(waiting("x", where=where), *hosts) == "b"


def test_a_host_that_refused_it_is_asked_last():
    refused = after(waiting("x"), ("a", Reason.LAUNCH_FAILED, False))
    assert where_to(refused, host("a", 8), host("b", 1)) == "b"
    assert where_to(refused, host("a", 8), host("b", 1, 0)) == "a"


def test_it_goes_back_to_where_its_checkpoint_is_when_there_is_room():
    rebooted = after(waiting("x"), ("a", Reason.HOST_LOST, True))
    assert where_to(rebooted, host("a", 1), host("b", 8)) == "a"
    assert where_to(rebooted, host("a", 1, 0), host("b", 8)) == "b"


@pytest.mark.parametrize(
    ("experiment", "hosts", "words"),
    [
        (waiting("x"), (), "no host is configured: add one with a [[hosts]] entry"),
        (waiting("x", where="h100"), (host("a", 1),), 'where is "h100": no host has this name, label or model'),
        (waiting("x", 9), (host("a", 8), host("b", 2)), "needs 9 slots on one host; the largest host it may use has 8"),
        (waiting("x"), (host("a", 2, 0),), "waits for 1 slot: 2 of 2 are taken"),
        (waiting("x", 2), (host("a", 2, 1),), "waits for 2 slots: 1 of 2 are taken"),
        (
            waiting("x"),
            (host("a", 1, closed="cannot be used: timed out"),),
            "waits for a host: a cannot be used: timed out",
        ),
        (
            waiting("x"),
            (host("a", 1, 0), host("b", 1, closed="cannot be used: timed out")),
            "waits for 1 slot: 1 of 1 are taken; b cannot be used: timed out",
        ),
    ],
)
def test_who_waits_is_told_why(experiment: Experiment, hosts: tuple[Room, ...], words: str):
    assert sentence(experiment, *hosts) == words


def test_who_waits_is_told_how_many_are_ahead():
    placement = place([waiting("x1"), waiting("x2")], [host("a", 1, 0)])
    assert placement.waiting["x2"] == "waits for 1 slot: 1 of 1 are taken, 1 ahead of it"


@pytest.mark.parametrize(
    ("count", "words"), [(1, "1"), (9, "9"), (10, "at least 10"), (99, "at least 90"), (9876, "at least 9000")]
)
def test_a_long_queue_is_told_roughly_so_that_a_launch_does_not_change_every_row(count: int, words: str):
    assert about(count) == words


EXPERIMENTS = st.lists(
    st.tuples(st.integers(1, 4), st.sampled_from(["", "h0", "h1", "gpu", "nowhere"]), st.floats(-5, 5)), max_size=12
)
HOSTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.booleans(), st.booleans()), max_size=4)


@given(EXPERIMENTS, HOSTS)
def test_whatever_is_asked_for_slots_are_free_whole_and_handed_out_once(
    asked: list[tuple[int, str, float]], there: list[tuple[int, int, bool, bool]]
):
    queue = [waiting(f"x{n}", slots, where=where, priority=p) for n, (slots, where, p) in enumerate(asked)]
    hosts = {
        HostName(f"h{n}"): host(f"h{n}", slots, min(free, slots), labels=("gpu",) * labelled, closed="is down" * closed)
        for n, (slots, free, labelled, closed) in enumerate(there)
    }
    free = {name: {unit.slot for unit in room.units if unit.block is Block.NONE} for name, room in hosts.items()}
    placement = place(queue, hosts.values())
    handed = [slot for placed in placement.placed.values() for slot in placed.slots]
    assert len(handed) == len(set(handed))
    for experiment in queue:
        assert (experiment.id in placement.placed) is not bool(placement.waiting.get(experiment.id))
        if experiment.id in placement.placed:
            name, taken = placement.placed[experiment.id].host, placement.placed[experiment.id].slots
            assert len(taken) == experiment.spec.slots
            assert set(taken) <= free[name]
            assert hosts[name].is_open
            assert experiment.spec.where in ("", name, *hosts[name].labels)
