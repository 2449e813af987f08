"""What has ended and shows it is not looked at again; and nothing that changes it is overlooked for that.

Each story below holds every plan against the one that a world without memory makes: a row that rests when it should not
differs there.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from sheetd.core import render
from sheetd.core.absorb import News
from sheetd.core.binding import nameless
from sheetd.core.events import ExperimentReopened, IdWithdrawn
from sheetd.core.model import AttemptId, ExperimentId, HostName
from sheetd.core.observation import MetricPoint, MetricsReported
from sheetd.core.plan import Plan
from sheetd.core.reconcile import record
from sheetd.core.render import plan_write
from sheetd.core.world import Limits
from tests.core.story import TRAIN, Line, Story
from tests.core.test_people import Crowd

ALPHA = HostName("alpha")


class Held(Story):
    """Every turn is checked; `looked_at` counts how many rows rested meanwhile."""

    looked_at = 0

    def turn(self, *news: News) -> Plan:
        plan = super().turn(*news)
        remembering = plan_write(self.world, self.now())
        at_rest, restless = self.world.at_rest, self.world.restless
        self.world.at_rest, self.world.restless = {}, None
        assert plan_write(self.world, self.now()) == remembering, "a row rests that should not"
        self.world.at_rest, self.world.restless = at_rest, restless
        Held.looked_at += len(at_rest)
        return plan


def ended(rows: int = 3) -> tuple[Story, list[Line]]:
    story = Held(hosts={"alpha": rows})
    lines = [story.table.type(template="train", lr=n / 10) for n in range(rows)]
    story.wait(8)
    for attempt in story.attempts_started():
        story.exits(attempt, rc=0)
    story.wait(10)
    assert [line["status"] for line in lines] == ["succeeded"] * rows
    assert set(story.world.at_rest) == {line["id"] for line in lines}
    return story, lines


def rendered(story: Story, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The ids whose cells a plan works out."""
    seen: list[object] = []
    honest = render.row_cells
    monkeypatch.setattr(render, "row_cells", lambda *told: seen.append(told[3]) or honest(*told))
    plan_write(story.world, story.now())
    return seen


def test_only_what_is_open_is_worked_out_anew(monkeypatch: pytest.MonkeyPatch):
    story, _ = ended()
    running = story.table.type(template="train", lr=0.9)
    story.wait(8)
    assert running["status"] == "running"
    assert rendered(story, monkeypatch) == [running["id"]]


@pytest.mark.parametrize(
    "change",
    [
        {"status": "running"},
        {"message": "I know better"},
        {"attempt": True},
        {"lr": 0.7},
        {"action": "dance"},
        {"action": "rerun", "lr": "a word"},
        {"id": None},
        {"id": "another"},
    ],
)
def test_a_row_that_a_person_touches_does_not_rest(change: dict[str, object]):
    story, (first, *_) = ended()
    before = dict(first.cells)
    story.table.type(first, **change)  # type: ignore[arg-type]
    story.wait(10)
    assert first["status"] == "succeeded"
    assert first["message"] or not {"lr", "action"} & set(change)
    assert (first["id"], first["attempt"]) == (before["id"].value, before["attempt"].value)


@pytest.mark.parametrize(("source", "target"), [(0, 2), (2, 0)])
def test_a_row_pasted_over_another_does_not_let_the_copy_rest(source: int, target: int):
    """Pasted above it, the copy is the first with the id; the original is the one that has to show something else."""
    story, lines = ended()
    lines[target].cells = dict(lines[source].cells)
    story.table.changed()
    story.wait(10)
    assert len({line["id"] for line in lines}) == 3


@pytest.mark.parametrize("action", ["restart", "rerun", "run"])
def test_a_row_that_runs_again_shows_it(action: str):
    story, (first, *_) = ended()
    story.table.type(first, action=action)
    story.wait(10)
    assert (first["status"], first["attempt"]) == ("running", 2.0)


def test_an_experiment_that_changes_while_its_row_does_not_is_shown():
    story, (first, *_) = ended()
    record(story.world, ExperimentReopened(experiment=story.experiment(first).id, resume=True), story.now())
    story.wait(5)
    assert (first["status"], first["attempt"]) == ("running", 2.0)


def test_numbers_that_come_after_the_end_are_shown():
    story, (first, *_) = ended()
    story.world.templates = {"train": replace(TRAIN, metrics=())}
    report = MetricsReported(
        host=ALPHA,
        attempt=AttemptId(f"{first['id']}.1"),
        start=0,
        end=10,
        points=(MetricPoint(values={"progress": 0.5}),),
    )
    story.turn(report)
    story.wait(5)
    assert first["progress"] == "50%"


def test_columns_that_people_move_are_filled_where_they_are():
    story, lines = ended()
    story.table.header.reverse()
    story.table.changed()
    story.wait(10)
    assert [line["status"] for line in lines] == ["succeeded"] * 3
    story.table.header[story.table.header.index("host")] = "not a host"
    story.table.changed()
    story.wait(10)
    assert [line["status"] for line in lines] == ["succeeded"] * 3


def test_an_id_that_is_not_ours_any_more_makes_its_row_nameless_at_once():
    """That no row lacks an id is remembered too, for as long as no event says otherwise."""
    story = Held()
    line = story.table.type(template="train")
    story.wait(8)
    view = story.world.sheet
    assert view is not None
    assert line["status"] == "invalid"
    assert nameless(story.world, view) == []
    record(story.world, IdWithdrawn(experiment=ExperimentId(str(line["id"]))), story.now())
    assert nameless(story.world, view) == [story.row(line)]


def test_rows_that_are_gone_are_not_remembered():
    story, (first, *rest) = ended()
    story.table.delete(first)
    story.wait(10)
    assert set(story.world.at_rest) == {line["id"] for line in rest}


@pytest.mark.parametrize("seed", range(40))
def test_no_row_rests_that_should_not_whatever_people_and_programs_do(seed: int):
    story = Held(hosts={"alpha": 6}, seed=seed, limits=Limits(dress_every_s=1e9, deleted_row_grace_s=20.0))
    crowd = Crowd(story, seed)
    chance = random.Random(seed)
    Held.looked_at = 0
    for _ in range(4):
        crowd.type_row()

    def obey() -> None:
        if line := crowd.pick():
            story.table.type(line, action=chance.choice(("stop", "restart", "rerun", "run", "dance", None)))

    def end() -> None:
        live = [attempt for attempt in story.attempts_started() if attempt in story.world.state.live]
        for attempt in live[: chance.randrange(4)]:
            story.exits(attempt, rc=chance.choice((0, 0, 0, 1)))

    def report() -> None:
        if started := story.attempts_started():
            attempt, end = chance.choice(started), int(story.now_s * 10)
            points = (MetricPoint(values={"loss": chance.random(), "progress": chance.random()}),)
            story.turn(MetricsReported(host=ALPHA, attempt=attempt, start=end - 1, end=end, points=points))

    happenings = [crowd.act, crowd.act, obey, end, end, report, story.restart_daemon]
    for _ in range(40):
        chance.choices(happenings, weights=(4, 4, 2, 4, 4, 3, 0.3))[0]()
        story.wait(chance.choice((0.3, 1.0, 2.5)))
    assert Held.looked_at > 0, "nothing ever rested, so nothing was tried"
