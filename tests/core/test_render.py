"""What a row shows follows from its id and from what is known, and says why and what is next."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from sheetd.core import events as ev
from sheetd.core import observation as obs
from sheetd.core.colours import ACTIONS, ROW_COLOURS
from sheetd.core.grid import BLANK
from sheetd.core.model import AttemptId, HostName, MetricRule, Reason
from sheetd.core.observation import AttemptSeen, MetricPoint, Seen
from sheetd.core.render import STATUS_OF_REASON, message_of, plan_write
from sheetd.core.times import duration_text, wall_text
from tests.core.story import OWNED, TRAIN, Line, Story


def running() -> tuple[Story, Line]:
    story = Story(templates=[replace(TRAIN, metrics=(MetricRule(name="loss"),))])
    line = story.table.type(template="train", lr=0.1)
    story.wait(8)
    assert line["status"] == "running"
    return story, line


def reports(story: Story, line: Line, **values: float) -> None:
    offset = 100 * (len(story.started) + 1)
    story.turn(
        obs.MetricsReported(
            host=HostName("alpha"),
            attempt=AttemptId(f"{line['id']}.1"),
            start=offset,
            end=offset + 100,
            points=(MetricPoint(values=values, step=5.0),),
        )
    )
    story.wait(4)


def test_when_everything_is_shown_nothing_is_written():
    story, line = running()
    story.exits(f"{line['id']}.1")
    story.wait(4)
    assert plan_write(story.world, story.now()) is None


def test_only_our_own_columns_are_ever_written():
    story, line = running()
    owned = {story.table.header.index(name) for name in OWNED}
    for name in OWNED:
        story.table.type(line, **{name: "spoiled"})
    story.turn(obs.SheetSeen(grid=story.table.read()))
    write = plan_write(story.world, story.now())
    assert write is not None
    assert {update.column for update in write.updates} <= owned


def test_metrics_are_shown_beside_the_row_and_kept_when_it_ends():
    story, line = running()
    reports(story, line, loss=0.5)
    assert line["loss"] == 0.5
    reports(story, line, loss=0.25)
    assert line["loss"] == 0.25
    story.exits(f"{line['id']}.1")
    story.wait(4)
    assert (line["status"], line["loss"]) == ("succeeded", 0.25)


@pytest.mark.parametrize("progress", [1e-308, 1e-12, 0.0, 1.0, 1e308, -1.0])
def test_no_progress_that_a_job_reports_can_break_a_row(progress: float):
    story = Story(templates=[replace(TRAIN, metrics=(MetricRule(name="loss"),))])
    line = story.table.type(template="train", lr=0.1)
    story.wait(12)
    reports(story, line, progress=progress)
    assert str(line["progress"]).endswith("%")


def test_progress_and_what_is_left_are_shown():
    story = Story()
    host = story.hosts[HostName("alpha")]
    host.launch = lambda _attempt: AttemptSeen(state=Seen.RUNNING, started_age_s=100.0)  # type: ignore[method-assign]
    line = story.table.type(template="train", lr=0.1)
    story.wait(8)
    reports(story, line, progress=0.25)
    assert (line["progress"], line["runtime"], line["eta"]) == ("25%", "1 min", "5 min")


@pytest.mark.parametrize("age_s", [math.inf, -math.inf, math.nan, 1e308, -5.0])
def test_no_age_that_a_host_tells_can_break_a_row(age_s: float):
    story = Story()
    host = story.hosts[HostName("alpha")]
    host.launch = lambda _attempt: AttemptSeen(state=Seen.RUNNING, started_age_s=age_s)  # type: ignore[method-assign]
    line = story.table.type(template="train", lr=0.1)
    story.wait(12)
    assert line["status"] == "running"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (9.9, "9 s"),
        (19.0, "10 s"),
        (60.0, "1 min"),
        (3599.0, "59 min"),
        (3600.0, "1 h 00 min"),
        (35_999.0, "9 h 59 min"),
        (36_000.0, "10 h"),
        (90_000.0, "1 d 1 h"),
        (-1.0, "0 s"),
        (math.inf, ""),
        (1e300, ""),
        (math.nan, "0 s"),
    ],
)
def test_a_duration_is_said_as_people_say_it(seconds: float, text: str):
    assert duration_text(seconds) == text


def test_a_long_run_costs_few_writes():
    texts = {duration_text(float(second)) for second in range(86_400)}
    assert len(texts) < 1000


def test_a_wall_time_is_in_utc():
    assert wall_text(0.0) == "1970-01-01 00:00 UTC"
    assert wall_text(None) == ""


def test_every_reason_has_a_status_and_every_status_of_an_end_a_colour():
    assert set(STATUS_OF_REASON) == set(Reason)
    assert set(STATUS_OF_REASON.values()) <= set(ROW_COLOURS)
    assert ACTIONS == ("run", "stop", "restart", "rerun", "pause", "resume")


def test_whoever_waits_fails_or_restarts_says_why():
    """Promise 7, over everything that happens in a long story."""
    story = Story(hosts={"alpha": 1, "beta": 1})
    for n in range(5):
        story.table.type(template="train", lr=n / 10)
    silent: list[str] = []

    def look(_effect: object) -> None:
        for line in story.table.lines:
            if line["status"] in ("waiting", "failed", "restarting", "unreachable", "launching", "invalid", "draft"):
                silent.extend([str(line["status"])] if not line["message"] else [])

    story.meddle = look
    story.wait(8)
    for attempt in story.attempts_started()[:2]:
        story.report(attempt, AttemptSeen(state=Seen.RESTARTING))
        story.wait(3)
    story.reboot("alpha")
    story.cut_off("beta")
    story.wait(30)
    story.back("beta")
    story.wait(30)
    for attempt in story.attempts_started():
        if attempt in story.world.state.live:
            story.exits(attempt, rc=1)
            story.wait(5)
    story.wait(30)
    assert silent == []


def test_a_withdrawn_row_says_who_withdrew_it_and_how_it_ended_before():
    story, line = running()
    story.cut_off("alpha")
    story.hosts[HostName("alpha")].attempts[AttemptId(f"{line['id']}.1")] = AttemptSeen(state=Seen.REBOOTED)
    story.back("alpha")
    story.cut_off("alpha")
    story.table.type(line, action="stop")
    story.wait(5)
    assert story.names()[-1] == "ExperimentWithdrawn"
    assert line["status"] == "stopped"
    assert line["message"] == "stopped by its action cell; alpha was rebooted"


def test_a_message_never_begins_a_formula():
    story, line = running()
    story.exits(f"{line['id']}.1", rc=1, last_lines=("=HYPERLINK(1)",))
    story.wait(4)
    experiment = story.experiment(line)
    assert message_of(story.world, experiment, None, story.now()) == line["message"]
    for held in line.cells.values():
        assert held.formula is None
        assert not str(held.value).startswith(("=", "+", "@"))


def test_a_formula_in_a_cell_of_ours_is_replaced_even_if_it_shows_the_right_thing():
    story, line = running()
    story.table.type(line, status=line.cells["status"]._replace(formula='="running"'))
    story.wait(4)
    assert line.cells["status"].formula is None
    assert line["status"] == "running"


def test_a_row_that_is_not_started_shows_no_start():
    story, _ = running()
    waiting = story.table.type(template="train", lr=0.2)
    story.wait(8)
    assert [waiting.cells.get(name, BLANK).value for name in ("host", "attempt", "started", "runtime")] == [None] * 4
    assert story.told(ev.AttemptEnded) == []
