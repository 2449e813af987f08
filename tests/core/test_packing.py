"""Where accelerators are handed out: packed, spread, shared, in turn, and kept for who has waited long."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from sheetd.core.model import Experiment, ExperimentId, HostName, SlotName, Spec
from sheetd.core.observation import AcceleratorSeen, Use
from sheetd.core.placement import Placement, Rules, place
from sheetd.core.room import Room, Sharer, Unit
from sheetd.core.why import Block, Need, Strategy, Why, host_words, why_from

GIB = 1024


def cards(name: str, count: int, taken: int = 0, *, gb: int = 80, model: str = "NVIDIA A100-SXM4-80GB") -> Room:
    units = [
        Unit(
            slot=SlotName(f"{name}/{number}"),
            accelerator=AcceleratorSeen(
                kind="nvidia",
                id=f"{name}-{number}",
                index=number,
                model=model,
                memory_mb=gb * GIB,
                state=Use.FREE,
                why="",
            ),
        )
        for number in range(count)
    ]
    for unit in units[count - taken :]:
        unit.block, unit.words = Block.TAKEN, "ours"
    return Room(name=HostName(name), units=units, is_plain=False)


def asks(name: str, slots: int = 1, **spec: object) -> Experiment:
    asked = Spec(template="t", argv=("true",), slots=slots, **spec)  # type: ignore[arg-type]
    return Experiment(id=ExperimentId(name), spec=asked)


def hosts_of(placement: Placement) -> dict[str, str]:
    return {id_: placed.host for id_, placed in placement.placed.items()}


def overdue(*names: str, **rules: object) -> Rules:
    return Rules(overdue=frozenset(map(ExperimentId, names)), **rules)  # type: ignore[arg-type]


# --- packing and spreading ---------------------------------------------------------------------------------------


def test_small_requests_fill_the_host_that_is_in_use_so_that_a_large_one_finds_a_whole_host():
    queue = [asks("small1"), asks("small2"), asks("large", 4)]
    assert hosts_of(place(queue, [cards("a", 4), cards("b", 4, 2)])) == {"small1": "b", "small2": "b", "large": "a"}


def test_spread_takes_the_host_with_the_most_room():
    queue = [asks("one"), asks("two")]
    rules = Rules(strategy=Strategy.SPREAD)
    assert set(hosts_of(place(queue, [cards("a", 4), cards("b", 4)], rules)).values()) == {"a", "b"}


def test_a_card_with_much_memory_is_left_to_those_who_need_it():
    rooms = [cards("big", 2, gb=80), cards("small", 2, gb=24)]
    queue = [asks("any"), asks("wants40", memory_gb=40.0)]
    assert hosts_of(place(queue, rooms)) == {"any": "small", "wants40": "big"}


def test_on_one_host_the_smallest_that_will_do_is_taken():
    room = cards("a", 1, gb=80)
    room.units += cards("b", 1, gb=24).units
    (placed,) = place([asks("x", memory_gb=16.0)], [room]).placed.values()
    assert [one.id for one in placed.accelerators] == ["b-0"]


def test_where_names_a_host_or_words_of_a_model():
    def rooms() -> list[Room]:
        return [cards("a", 1), cards("b", 1, model="NVIDIA H100 PCIe")]

    assert hosts_of(place([asks("x", where="h100")], rooms())) == {"x": "b"}
    assert hosts_of(place([asks("x", where="NVIDIA A100-SXM4-80GB")], rooms())) == {"x": "a"}
    assert hosts_of(place([asks("x", where="B")], rooms())) == {"x": "b"}
    assert hosts_of(place([asks("x", where="a10")], rooms())) == {}


# --- sharing -----------------------------------------------------------------------------------------------------


def test_what_is_shared_already_is_filled_first():
    rooms = [cards("a", 2), cards("b", 1)]
    rooms[0].units[1].sharers = [Sharer(0, 3, 0.0)]
    (placed,) = place([asks("x", share=3)], rooms[:1]).placed.values()
    assert (placed.slots, placed.accelerators[0].share) == (("a/1#1",), 1)


def test_the_strictest_of_those_who_share_decides():
    def room(*shares: int) -> Room:
        found = cards("a", 1)
        found.units[0].sharers = [Sharer(number, share, 0.0) for number, share in enumerate(shares)]
        return found

    assert place([asks("x", share=4)], [room(2)]).placed
    assert not place([asks("x", share=4)], [room(2, 2)]).placed
    assert not place([asks("x", share=2)], [room(4, 4)]).placed
    assert not place([asks("x")], [room(4)]).placed


def test_a_number_that_was_given_back_is_used_again():
    room = cards("a", 1)
    room.units[0].sharers = [Sharer(1, 3, 0.0)]
    (placed,) = place([asks("x", share=3)], [room]).placed.values()
    assert placed.slots == ("a/0#0",)


def test_one_experiment_gets_different_accelerators_also_when_it_shares():
    (placed,) = place([asks("x", 2, share=4)], [cards("a", 2)]).placed.values()
    assert sorted(one.id for one in placed.accelerators) == ["a-0", "a-1"]


# --- taking turns ------------------------------------------------------------------------------------------------


def test_projects_take_turns_and_the_one_with_the_least_running_goes_first():
    queue = [asks(f"vision{n}", project="vision") for n in range(4)]
    queue += [asks(f"speech{n}", project="speech") for n in range(4)]
    assert list(place(queue, [cards("a", 4)]).placed) == ["vision0", "speech0", "vision1", "speech1"]
    busy = Rules(running={"vision": 2})
    assert list(place(queue, [cards("a", 4)], busy).placed) == ["speech0", "speech1", "vision0", "speech2"]


def test_priority_goes_before_turns():
    queue = [asks("vision", project="vision"), asks("urgent", project="speech", priority=1.0)]
    assert list(place(queue, [cards("a", 1)], Rules(running={"speech": 9})).placed) == ["urgent"]


# --- keeping -----------------------------------------------------------------------------------------------------


def test_a_large_request_that_has_waited_gets_what_becomes_free_kept_for_it():
    queue = [asks("large", 4), asks("small")]
    assert hosts_of(place(queue, [cards("a", 4, 2)])) == {"small": "a"}
    kept = place(queue, [cards("a", 4, 2)], overdue("large"))
    assert kept.placed == {}
    assert kept.waiting["small"] == (
        "needs 1 slot; a has 0 free (2 kept, 2 ours), 1 ahead of it; some are kept for large, which has waited longest"
    )


def test_it_is_kept_on_one_host_and_the_others_go_on():
    queue = [asks("large", 4), asks("small1"), asks("small2")]
    placement = place(queue, [cards("a", 4, 3), cards("b", 4, 1)], overdue("large"))
    assert hosts_of(placement) == {"small1": "a"}


def test_what_would_not_do_for_it_is_not_kept():
    room = cards("a", 2, 1, gb=80)
    room.units += cards("b", 1, gb=24).units
    placement = place([asks("large", 2, memory_gb=40.0), asks("small")], [room], overdue("large"))
    assert [one.id for placed in placement.placed.values() for one in placed.accelerators] == ["b-0"]


def test_the_more_urgent_may_still_take_what_is_kept():
    queue = [asks("large", 4), asks("urgent", priority=1.0)]
    assert hosts_of(place(queue, [cards("a", 4, 2)], overdue("large"))) == {"urgent": "a"}


def test_nothing_is_kept_where_the_rest_is_in_the_hands_of_others():
    room = cards("a", 4)
    for unit in room.units[2:]:
        unit.block, unit.words = Block.FOREIGN, "used by kim"
    assert hosts_of(place([asks("large", 4), asks("small")], [room], overdue("large"))) == {"small": "a"}


def test_of_equal_hosts_the_one_whose_jobs_end_soonest_is_kept():
    rooms = [cards("a", 2, 1), cards("b", 2, 1)]
    rooms[0].units[1].free_at_s, rooms[1].units[1].free_at_s = 900.0, 100.0
    assert hosts_of(place([asks("large", 2), asks("small")], rooms, overdue("large"))) == {"small": "a"}


def test_only_one_request_at_a_time_has_slots_kept():
    queue = [asks("large1", 4), asks("large2", 3), asks("small")]
    placement = place(queue, [cards("a", 4, 2), cards("b", 4, 2)], overdue("large1", "large2"))
    assert hosts_of(placement) == {"small": "b"}


# --- what is said ------------------------------------------------------------------------------------------------


def test_the_sentence_says_what_is_needed_and_what_each_host_says():
    closed = cards("lab5", 2)
    closed.block, closed.words = Block.QUARANTINED, "is quarantined until 15:10 UTC"
    (why,) = place([asks("x", 2, memory_gb=40.0)], [cards("lab3", 3, 2), closed]).whys.values()
    assert why.told() == "needs 2 x >= 40 GB; lab3 has 1 free (2 ours), lab5 is quarantined until 15:10 UTC"
    assert host_words(why.hosts[0], why.need) == "has 1 free (2 ours)"


def test_many_hosts_are_counted_and_not_listed():
    rooms = [cards(f"lab{number}", 1, 1) for number in range(9)]
    (why,) = place([asks("x")], rooms).whys.values()
    assert why.told() == (
        "needs 1 slot; lab0 has 0 free (1 ours), lab1 has 0 free (1 ours), lab2 has 0 free (1 ours), and 6 more"
    )


def test_a_reason_survives_the_way_to_another_process():
    closed = cards("b", 2)
    closed.block, closed.words = Block.DRAINED, "is drained (by kim)"
    for why in place([asks("large", 4), asks("x")], [cards("a", 4, 2), closed], overdue("large")).whys.values():
        assert why_from(why.as_data()) == why


UNITS = st.lists(st.tuples(st.sampled_from([24, 80]), st.sampled_from(list(Block))), max_size=5)
ASKED = st.lists(
    st.tuples(
        st.integers(1, 3), st.sampled_from([0.0, 20.0, 40.0]), st.integers(1, 3), st.floats(-2, 2), st.booleans()
    ),
    max_size=10,
)


@given(ASKED, st.lists(UNITS, max_size=4), st.sampled_from(list(Strategy)))
def test_whatever_is_asked_nobody_gets_what_is_not_free_or_more_than_is_agreed(
    asked: list[tuple[int, float, int, float, bool]], there: list[list[tuple[int, Block]]], strategy: Strategy
):
    rooms = []
    free: dict[str, int] = {}
    for number, units in enumerate(there):
        room = cards(f"h{number}", 0)
        for at, (gb, block) in enumerate(units):
            unit = cards(f"h{number}", at + 1, gb=gb).units[at]
            unit.block = block
            room.units.append(unit)
            if block is Block.NONE:
                free[f"h{number}-{at}"] = gb
        rooms.append(room)
    queue = {
        f"x{n}": asks(f"x{n}", slots, memory_gb=gb, share=share, priority=priority)
        for n, (slots, gb, share, priority, _) in enumerate(asked)
    }
    late = [f"x{n}" for n, (*_, is_late) in enumerate(asked) if is_late]
    placement = place(queue.values(), rooms, overdue(*late, strategy=strategy))
    users: dict[str, list[Spec]] = {}
    for id_, placed in placement.placed.items():
        spec = queue[id_].spec
        assert len({one.id for one in placed.accelerators}) == spec.slots
        for one in placed.accelerators:
            assert free[one.id] * 2**30 / 1e9 >= spec.memory_gb
            users.setdefault(one.id, []).append(spec)
    for held in users.values():
        assert len(held) <= min(spec.share for spec in held)
    assert set(placement.placed) | set(placement.whys) == set(queue)
    assert not set(placement.placed) & set(placement.whys)
    assert all(placement.waiting.values())


def test_a_stream_of_small_ones_cannot_starve_a_large_one():
    """Two small jobs end and two new ones arrive each round: without keeping, the large one never finds its four."""
    for rules, gets_in in ((Rules(), False), (overdue("large"), True)):
        taken = ["a/0", "a/1", "a/2", "a/3"]
        for turn in range(20):
            taken = taken[1:]  # the oldest one ends
            room = cards("a", 4)
            for unit in room.units:
                if unit.slot in taken:
                    unit.block, unit.words = Block.TAKEN, "ours"
            placement = place([asks("large", 4), asks(f"small{turn}")], [room], rules)
            if "large" in placement.placed:
                break
            taken += [slot for placed in placement.placed.values() for slot in placed.slots]
        assert ("large" in placement.placed) is gets_in


def test_a_need_is_what_the_spec_asks_for():
    spec = replace(asks("x").spec, slots=2, where=" A100 ", memory_gb=40.0, share=3)
    assert Need.of(spec) == Need(2, "A100", 40.0, 3)
    assert Why(need=Need()).told() == "no host is configured: add one with a [[hosts]] entry"
