"""The order of a turn is what makes a crash ordinary: record first, then act."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from sheetd.core.absorb import News
from sheetd.core.events import LaunchIntended
from sheetd.core.grid import Claim
from sheetd.core.model import ExperimentId, Phase, attempt_id
from sheetd.core.observation import AttemptReported, AttemptSeen, Exit, HostUnseen, MetricPoint, MetricsReported, Seen
from sheetd.daemon import COALESCE_S, GATHER_NUMBERS_S, NEWS_MAX, Heard, Mail
from sheetd.errors import HostUnreachable
from tests.daemon.fakes import HOST, FakeHost, Request, Rig
from tests.rig.waiting import wait_for


@contextmanager
def running(rig: Rig) -> Iterator[list[BaseException]]:
    """The daemon in a thread of its own. Yields what it died of, if it did."""
    died: list[BaseException] = []

    def run() -> None:
        try:
            rig.daemon.run()
        except BaseException as error:  # noqa: BLE001 - looked at by the test
            died.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield died
    finally:
        rig.daemon.stop()
        thread.join(20)
        assert not thread.is_alive()


def phase(rig: Rig) -> Phase | None:
    experiment = rig.daemon.world.state.experiments.get(ExperimentId("row1"))
    return None if experiment is None else experiment.phase


def until(condition: Callable[[], object], what: str) -> None:
    wait_for(condition, what, within_s=20)


def test_an_intent_is_recorded_before_its_effect_is_tried():
    rig = Rig()
    rig.sheet.table.type(template="train", lr=0.1)
    with running(rig):
        until(lambda: phase(rig) is Phase.RUNNING, "the row runs")
    calls = [call for call in rig.calls if call in ("IdAssigned", "RowAccepted", "LaunchIntended", "launch")]
    assert calls == ["IdAssigned", "RowAccepted", "LaunchIntended", "launch"]
    assert rig.calls.index("IdAssigned") < rig.calls.index("write"), "an id is journalled before it is written"


def test_a_silent_host_is_asked_for_the_same_attempt_again_and_never_for_a_second_one():
    rig = Rig()
    rig.host.trouble = HostUnreachable("no answer")
    rig.sheet.table.type(template="train", lr=0.1)
    with running(rig):
        until(lambda: rig.calls.count("launch") == 1, "it is asked")
        rig.host.trouble = None
        rig.clock.s += 60
        rig.daemon.wake()
        until(lambda: phase(rig) is Phase.RUNNING, "the row runs")
    assert [order.attempt for order in rig.host.launched] == ["row1.1"]
    assert rig.calls.count("LaunchIntended") == 1


def test_what_a_job_reported_is_kept_before_its_end_is_recorded():
    rig = Rig()
    rig.sheet.table.type(template="train", lr=0.1)
    attempt = attempt_id(ExperimentId("row1"), 1)
    with running(rig):
        until(lambda: phase(rig) is Phase.RUNNING, "the row runs")
        points = (MetricPoint(values={"loss": 0.5}, step=1.0),)
        rig.daemon.post(MetricsReported(host=HOST, attempt=attempt, start=0, end=10, points=points))
        ended = AttemptSeen(state=Seen.EXITED, exit=Exit(rc=0), metrics_bytes=10)
        rig.daemon.post(AttemptReported(host=HOST, attempt=attempt, seen=ended))
        until(lambda: phase(rig) is Phase.ENDED, "the row ends")
    assert rig.calls.index("metrics kept") < rig.calls.index("AttemptEnded")


def test_an_end_waits_for_the_metrics_that_are_still_on_the_way():
    rig = Rig()
    rig.sheet.table.type(template="train", lr=0.1)
    attempt = attempt_id(ExperimentId("row1"), 1)
    with running(rig):
        until(lambda: phase(rig) is Phase.RUNNING, "the row runs")
        ended = AttemptSeen(state=Seen.EXITED, exit=Exit(rc=0), metrics_bytes=10)
        rig.daemon.post(AttemptReported(host=HOST, attempt=attempt, seen=ended))
        until(lambda: rig.daemon.world.ended_at_s, "the end is known")
        assert phase(rig) is Phase.RUNNING
        points = (MetricPoint(values={"loss": 0.5}, step=1.0),)
        rig.daemon.post(MetricsReported(host=HOST, attempt=attempt, start=0, end=10, points=points))
        until(lambda: phase(rig) is Phase.ENDED, "the row ends")


def test_a_full_disk_holds_everything_back_and_ends_nothing():
    rig = Rig()
    rig.journal.full = True
    rig.sheet.table.type(template="train", lr=0.1)
    with running(rig) as died:
        until(lambda: rig.journal.refused > 1, "it is tried again")
        assert rig.host.launched == []
        rig.journal.full = False
        until(lambda: rig.host.launched, "the row runs once there is room")
    assert died == []


def test_an_exception_that_is_no_outcome_ends_the_daemon_rather_than_a_thread():
    rig = Rig()
    rig.host.trouble = ZeroDivisionError("a bug")
    rig.sheet.table.type(template="train", lr=0.1)
    with running(rig) as died:
        until(lambda: died, "the daemon ends")
    assert isinstance(died[0], ZeroDivisionError)
    assert "host closed" in rig.calls, "and it closes what it opened"


def test_a_broken_invariant_stops_all_effects_on_hosts_and_is_said():
    rig = Rig()
    rig.sheet.table.type(template="train", lr=0.1)
    with running(rig):
        until(lambda: phase(rig) is Phase.RUNNING, "the row runs")
        rig.daemon.world.state.live.clear()
        rig.daemon.wake()
        rig.daemon.world.state.live[attempt_id(ExperimentId("row1"), 7)] = ExperimentId("row1")
        rig.daemon.wake()
        until(lambda: rig.daemon.world.halted, "it notices")
        line = rig.sheet.table.lines[0]
        until(lambda: "stopped acting" in str(line["message"]), "the row says so")
    assert "not the newest attempt" in rig.journal.views["sheet"]["halted"]


def test_whoever_is_taken_over_from_says_so_and_whoever_takes_over_too(caplog: pytest.LogCaptureFixture):
    rig = Rig()
    with running(rig):
        until(lambda: rig.daemon.world.has_owned, "the sheet is ours")
        rig.sheet.table.claim = Claim(epoch=9, owner="another", stamp=1, where="kim@lab1")
        rig.sheet.table.changed()
        until(lambda: rig.daemon.world.halted, "it notices")
    said = [record.message for record in caplog.records if record.levelname == "CRITICAL"]
    (words,) = said
    assert words.startswith(
        "sheetd stops acting on hosts: another daemon has taken over this sheet (kim@lab1, epoch 9)"
    )
    assert "start it again to take the sheet back" in words
    caplog.clear()
    second = Rig()
    second.sheet.table = rig.sheet.table
    with running(second):
        until(lambda: second.daemon.world.has_owned, "the sheet is taken over")
        until(lambda: second.daemon.world.state.takeover is None, "every host has answered")
    assert second.journal.epoch == 10
    said = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert "this sheet was served by kim@lab1: taking over, once every host has said what it runs" in said
    assert said[-1] == "the sheet is taken over"


def test_a_stop_from_the_command_line_is_answered_when_it_is_recorded():
    rig = Rig()
    rig.sheet.table.type(template="train", lr=0.1)
    with running(rig):
        until(lambda: phase(rig) is Phase.RUNNING, "the row runs")
        rig.journal.requests += [Request(1, "stop", ExperimentId("row1")), Request(2, "stop", ExperimentId("none"))]
        rig.daemon.wake()
        until(lambda: len(rig.journal.answers) == 2, "both are answered")
        until(lambda: "stop" in rig.calls, "the host is asked")
    assert rig.journal.answers == {1: "stopping", 2: "there is no experiment none"}
    assert rig.calls.index("StopIntended") < rig.calls.index("stop")


def test_what_is_asked_twice_of_one_experiment_is_done_and_answered_one_after_the_other():
    rig = Rig()
    rig.sheet.table.type(template="train", lr=0.1)
    with running(rig):
        until(lambda: phase(rig) is Phase.RUNNING, "the row runs")
        rig.journal.requests += [Request(1, "restart", ExperimentId("row1"), wall_s=1.0)]
        rig.journal.requests += [Request(2, "stop", ExperimentId("row1")), Request(3, "rerun", ExperimentId("none"))]
        rig.daemon.wake()
        until(lambda: len(rig.journal.answers) == 3, "all are answered")
    assert rig.journal.answers[1] == "cannot restart row1: somebody asked later for it to be stopped"
    assert rig.journal.answers[3] == "there is no experiment none"


def test_what_people_ask_of_a_host_is_on_record_before_it_is_answered():
    rig = Rig()
    with running(rig):
        until(lambda: "watch 0" in rig.calls or rig.journal.views, "it turns")
        rig.journal.requests += [Request(1, "drain", "alpha", "kim"), Request(2, "drain", "nowhere", "kim")]
        rig.daemon.wake()
        until(lambda: len(rig.journal.answers) == 2, "both are answered")
        until(lambda: rig.journal.views["hosts"]["alpha"]["state"] == "drained", "other processes are told")
    assert rig.journal.answers == {
        1: "alpha is drained: it gets nothing new, and what runs there goes on",
        2: "there is no host nowhere in the configuration that the daemon goes by: see `sheetd status`",
    }
    assert rig.daemon.world.state.health_of(HOST).drained_by == "kim"
    assert "HostDrained" in rig.calls


def test_a_daemon_that_starts_over_plans_what_was_recorded_and_nothing_else():
    first = Rig()
    first.host.trouble = HostUnreachable("no answer")
    first.sheet.table.type(template="train", lr=0.1)
    with running(first):
        until(lambda: "launch" in first.calls, "it is asked")
    second = Rig()
    second.journal.events = list(first.journal.events)
    second.sheet.table = first.sheet.table
    with running(second):
        until(lambda: phase(second) is Phase.RUNNING, "the row runs")
    recorded = [event.nonce for event in first.journal.events if isinstance(event, LaunchIntended)]
    assert [order.nonce for order in second.host.launched] == recorded
    assert "LaunchIntended" not in second.calls


@pytest.mark.timeout(60)
def test_a_storm_of_news_that_never_pauses_does_not_keep_the_loop_from_turning():
    rig = Rig()
    rig.sheet.table.type(template="train", lr=0.1)
    storm = threading.Event()

    def blow() -> None:
        while not storm.is_set():
            rig.daemon.post(HostUnseen(host=HOST, why="away"))
            storm.wait(0.001)

    wind = threading.Thread(target=blow)
    with running(rig):
        wind.start()
        try:
            until(lambda: phase(rig) is not None, "the row is accepted meanwhile")
        finally:
            storm.set()
            wind.join()


class Inbox:
    """News that are all there already. Notes how long the loop would have waited for more."""

    def __init__(self, *news: News) -> None:
        self.news = list(news)
        self.patience_s = 0.0

    def get(self, timeout: float) -> News:
        self.patience_s = timeout
        return self.get_nowait()

    def get_nowait(self) -> News:
        if not self.news:
            raise queue.Empty
        return self.news.pop(0)


NUMBER = Heard(
    FakeHost([], HOST),
    MetricsReported(host=HOST, attempt=attempt_id(ExperimentId("row1"), 1), start=0, end=10, points=()),
)
STATE = HostUnseen(host=HOST, why="away")


@pytest.mark.parametrize(
    ("news", "due_s", "patience_s"),
    [
        ([NUMBER] * 20, 60.0, GATHER_NUMBERS_S),
        ([NUMBER, STATE, NUMBER], 60.0, COALESCE_S),
        ([STATE] * 20, 60.0, COALESCE_S),
        ([NUMBER], 0.1, 0.1),
        ([NUMBER], 0.0, 0.0),
        ([], 60.0, 60.0),
    ],
)
def test_numbers_are_gathered_longer_than_states_and_nothing_puts_off_what_is_due(
    news: list[Mail], due_s: float, patience_s: float
):
    rig = Rig()
    rig.clock.tick_s = 0.0
    inbox = rig.daemon._inbox = Inbox(*news)  # type: ignore[assignment]
    assert rig.daemon._wait(rig.clock.monotonic_s() + due_s) == news
    assert inbox.patience_s == pytest.approx(patience_s)


def test_a_turn_takes_in_a_bounded_number_of_news():
    rig = Rig()
    rig.daemon._inbox = Inbox(*[STATE] * (NEWS_MAX + 1))  # type: ignore[assignment]
    assert len(rig.daemon._wait(rig.clock.monotonic_s() + 60)) == NEWS_MAX


def test_an_outage_of_the_sheet_is_said_once_when_it_begins_and_once_when_it_ends(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sheetd.core.outage.OVER_S", 0.05)
    rig = Rig()
    with running(rig):
        until(lambda: rig.daemon.world.has_owned, "the sheet is ours")
        caplog.clear()
        rig.sheet.trouble = "no answer"
        until(lambda: rig.daemon.world.sheet_failures > 3, "it is tried again and again")
        until(lambda: rig.journal.views["sheet"]["out_since_wall_s"], "status can say since when")
        rig.sheet.trouble = ""
        until(lambda: len(caplog.records) > 1, "it is back")
        until(lambda: rig.journal.views["sheet"]["out_since_wall_s"] is None, "status hears of it")
    began, ended = (record.message for record in caplog.records)
    assert began == "the sheet cannot be used now, and what runs goes on: no answer"
    assert ended.startswith("the sheet can be used again, after ")


def test_other_processes_are_told_how_much_of_the_sheets_quota_is_used():
    rig = Rig()
    with running(rig):
        until(lambda: rig.daemon.world.has_owned, "the sheet is ours")
    assert rig.journal.views["quota"] == {
        "reads": rig.calls.count("read"),
        "writes": rig.calls.count("write"),
        "allowed": 30,
    }
