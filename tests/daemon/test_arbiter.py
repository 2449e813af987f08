"""Several projects over the same hosts: nothing is handed out twice, and they take turns.

Each has a story of its own, with its own sheet and journal, and hosts of the same names: on a real host the agents of
two projects know nothing of each other either.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import pytest

from sheetd.arbiter import Arbiter
from sheetd.core import events as ev
from sheetd.core.invariants import misassigned
from sheetd.core.model import AttemptId, HostName, SlotName
from sheetd.core.sharing import LEFT_FOR_S
from tests.core.cards import A100, Cards
from tests.core.story import HEADER, TRAIN, Line, Story, Table

ROUNDS_MAX = 100


class Lab:
    """Two projects, "vision" and "speech", whose time passes together."""

    def __init__(
        self,
        hosts: Mapping[str, int] | None = None,
        cards: Mapping[str, int] | None = None,
        header: Sequence[str] = HEADER,
    ) -> None:
        arbiter = Arbiter()
        seats = [arbiter.seat(name) for name in ("vision", "speech")]
        both = [{name: TwinCards(*[A100] * count) for name, count in (cards or {}).items()} for _ in seats]
        for name in cards or {}:
            both[0][name].twin, both[1][name].twin = both[1][name], both[0][name]
        self.vision, self.speech = (
            Story(hosts=hosts or {}, cards=held, seat=seat, seed=seed, table=Table(header))
            for seed, (seat, held) in enumerate(zip(seats, both, strict=True))
        )
        self.stories = (self.vision, self.speech)
        self.settle()

    def settle(self) -> None:
        """Whoever was called looks again, until nobody is."""
        for _ in range(ROUNDS_MAX):
            called = [story for story in self.stories if story.woken]
            if not called:
                return
            for story in called:
                story.woken = 0
                story.turn()
                story.settle()
        raise AssertionError("they call each other without end")

    def wait(self, seconds: float, *, without: Collection[Story] = ()) -> None:
        for _ in range(round(seconds)):
            for story in self.stories:
                if story in without:
                    story.now_s += 1
                else:
                    story.wait(1)
            if not without:
                self.settle()

    def given(self) -> dict[str, list[AttemptId]]:
        """Every slot or accelerator that is held, and by whom."""
        held: dict[str, list[AttemptId]] = {}
        for story in self.stories:
            for id_ in story.world.state.live.values():
                attempt = story.world.state.experiments[id_].attempt
                assert attempt is not None
                for slot in attempt.slots:
                    held.setdefault(slot, []).append(attempt.id)
        return held


class TwinCards(Cards):
    """The cards of a host as one project's agent sees them: what the other project runs there is somebody's."""

    twin: TwinCards | None = None

    def started(self, attempt: AttemptId, ids: Collection[str]) -> None:
        super().started(attempt, ids)
        self._show()

    def ended(self, attempt: AttemptId) -> None:
        super().ended(attempt)
        self._show()

    def _show(self) -> None:
        assert self.twin is not None
        for ours, theirs in zip(self.all, self.twin.all, strict=True):
            theirs.user = "lab" if ours.ours else ""


def rows(story: Story, count: int, **cells: float) -> list[Line]:
    return [story.table.type(template="train", lr=0.1 + number / 100, **cells) for number in range(count)]


def running(lines: list[Line]) -> list[Line]:
    return [line for line in lines if line["status"] == "running"]


def end_one(story: Story, lines: list[Line]) -> None:
    """The job of the first row that runs ends well."""
    line = running(lines)[0]
    (attempt,) = [one.id for one in story.experiment(line).attempts if one.proof is None]
    story.exits(attempt)


def test_two_projects_never_get_the_same_slot():
    lab = Lab(hosts={"alpha": 3})
    ours, theirs = rows(lab.vision, 3), rows(lab.speech, 3)
    lab.wait(15)
    assert sorted(lab.given()) == ["alpha/0", "alpha/1", "alpha/2"]
    assert all(len(holders) == 1 for holders in lab.given().values())
    assert len(running(ours)) + len(running(theirs)) == 3


def test_who_waits_is_told_that_another_project_has_it():
    lab = Lab(cards={"lab": 1})
    (line,) = rows(lab.vision, 1)
    lab.wait(15)
    (waiting,) = rows(lab.speech, 1)
    lab.wait(15)
    assert (line["status"], waiting["status"]) == ("running", "waiting")
    assert waiting["message"] == "needs 1 slot; lab has 0 free (1 used by sheet vision)"


def test_what_another_project_gives_back_starts_no_cooldown():
    lab = Lab(cards={"lab": 1})
    ours = rows(lab.vision, 1)
    lab.wait(15)
    (waiting,) = rows(lab.speech, 1)
    lab.wait(15)
    end_one(lab.vision, ours)
    lab.wait(5)
    assert waiting["status"] == "running"


def test_what_somebody_else_uses_starts_one_all_the_same():
    lab = Lab(cards={"lab": 1})
    lab.speech.hosts[HostName("lab")].cards[0].user = "kim"
    lab.wait(65)
    (waiting,) = rows(lab.speech, 1)
    lab.wait(15)
    lab.speech.hosts[HostName("lab")].cards[0].user = ""
    lab.wait(60)
    assert "left by others a moment ago" in str(waiting["message"])


def test_projects_take_turns_however_long_the_queue_of_one_is():
    lab = Lab(hosts={"alpha": 4})
    ours = rows(lab.vision, 12)
    lab.wait(15)
    assert len(running(ours)) == 4
    theirs = rows(lab.speech, 12)
    lab.wait(15)
    for _ in range(2):
        end_one(lab.vision, ours)
        lab.wait(5)
    assert (len(running(ours)), len(running(theirs))) == (2, 2)
    end_one(lab.vision, ours)
    lab.wait(5)
    end_one(lab.speech, theirs)
    lab.wait(5)
    assert (len(running(ours)), len(running(theirs))) == (2, 2)


def test_one_slot_goes_from_hand_to_hand():
    lab = Lab(hosts={"alpha": 1})
    ours = rows(lab.vision, 3)
    lab.wait(15)
    theirs = rows(lab.speech, 3)
    lab.wait(15)
    turns = []
    for _ in range(5):
        who, lines = (lab.vision, ours) if running(ours) else (lab.speech, theirs)
        turns.append(who.world.project)
        end_one(who, lines)
        lab.wait(5)
    assert turns == ["vision", "speech", "vision", "speech", "vision"]


def test_priority_counts_over_all_projects():
    lab = Lab(hosts={"alpha": 1}, header=(*HEADER, "priority"))
    ours = rows(lab.vision, 3)
    lab.wait(15)
    urgent = rows(lab.speech, 2, priority=5)
    lab.wait(15)
    for _ in range(2):
        end_one(lab.vision if running(ours) else lab.speech, ours if running(ours) else urgent)
        lab.wait(5)
    assert [line["status"] for line in urgent] == ["succeeded", "running"]


def test_what_only_one_project_can_use_is_not_left_for_the_other():
    lab = Lab(hosts={"alpha": 1, "beta": 1})
    lab.speech.cut_off("beta")
    ours = rows(lab.vision, 3)
    lab.wait(15)
    theirs = rows(lab.speech, 2)
    lab.wait(15)
    assert (len(running(ours)), len(running(theirs))) == (2, 0)
    on_beta = next(line for line in running(ours) if line["host"] == "beta")
    lab.vision.exits(f"{on_beta['id']}.1")
    lab.wait(3)
    assert len(running(ours)) == 2


def test_what_a_project_does_not_come_for_is_not_left_for_it_for_ever():
    lab = Lab(hosts={"alpha": 2})
    ours = rows(lab.vision, 3)
    lab.wait(15)
    rows(lab.speech, 1)
    lab.wait(15)
    end_one(lab.vision, ours)
    lab.wait(LEFT_FOR_S - 3, without=[lab.speech])
    assert len(running(ours)) == 1
    waiting = next(line for line in ours if line["status"] == "waiting")
    assert waiting["message"] == "waits for 1 slot: 2 of 2 are taken (1 left for sheet speech)"
    lab.wait(6, without=[lab.speech])
    assert len(running(ours)) == 2


def test_one_that_needs_many_has_slots_kept_for_it_by_the_others_too():
    lab = Lab(hosts={"alpha": 2})
    ours = rows(lab.vision, 6)
    lab.wait(15)
    lab.speech.edit_files(templates=[replace(TRAIN, slots=2)])
    (large,) = rows(lab.speech, 1)
    lab.wait(320)
    for _ in range(2):
        end_one(lab.vision, ours)
        lab.wait(5)
    assert large["status"] == "running"


def test_nothing_is_handed_out_before_it_is_known_what_every_project_holds():
    arbiter = Arbiter()
    seats = [arbiter.seat(name) for name in ("vision", "speech")]
    vision = Story(seat=seats[0])
    line = vision.table.type(template="train", lr=0.1)
    vision.wait(15)
    assert (line["status"], line["message"]) == ("waiting", "waits until it is known what sheet speech holds")
    Story(seat=seats[1], seed=1)
    assert vision.woken == 1
    vision.wait(5)
    assert line["status"] == "running"


def test_a_project_that_comes_back_holds_what_it_held():
    lab = Lab(hosts={"alpha": 1})
    (line,) = rows(lab.vision, 1)
    lab.wait(15)
    lab.vision.restart_daemon()
    (waiting,) = rows(lab.speech, 1)
    lab.wait(15)
    assert (line["status"], waiting["status"]) == ("running", "waiting")


def test_projects_with_nothing_to_give_come_to_rest():
    lab = Lab(hosts={"alpha": 2})
    rows(lab.vision, 5)
    rows(lab.speech, 5)
    lab.wait(20)
    for story in lab.stories:
        story.turn()
        story.turn()
    assert [story.woken for story in lab.stories] == [0, 0]


def test_no_two_projects_get_the_same_id():
    arbiter = Arbiter()
    vision, speech = (Story(seat=arbiter.seat(name), seed=7) for name in ("vision", "speech"))
    lines = []
    for story in (vision, speech):
        line = story.table.type(template="train", lr=0.1)
        story.wait(15)
        lines.append(line)
    assert lines[0]["id"] != lines[1]["id"]


def test_a_slot_that_another_project_holds_is_no_slot_to_give():
    lab = Lab(hosts={"alpha": 2})
    rows(lab.vision, 1)
    lab.wait(15)
    (slot,) = lab.given()
    intent = ev.LaunchIntended(
        attempt=AttemptId("xmine1.1"), host=HostName("alpha"), slots=(SlotName(slot),), nonce="n"
    )
    (broken,) = misassigned(lab.speech.world, intent)
    assert f"xmine1.1 was given {slot}, which " in broken
    assert "of vision holds" in broken


@pytest.mark.parametrize("name", ["", "vision"])
def test_a_project_has_a_name_of_its_own(name: str):
    arbiter = Arbiter()
    arbiter.seat("vision")
    with pytest.raises(ValueError, match="a project needs a name of its own"):
        arbiter.seat(name)
