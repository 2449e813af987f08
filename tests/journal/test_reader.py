"""Other processes can look at the journal at any time and disturb nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from sheetd.core.events import RowVanished
from sheetd.core.metrics import add_points
from sheetd.core.model import AttemptId, ExperimentId
from sheetd.core.observation import MetricPoint
from sheetd.errors import JournalError
from sheetd.journal import JournalReader, RequestStore, SqliteJournal
from tests.journal.samples import IN_VERSION_1, K7, M3, ONE_OF_EACH


def test_a_reader_follows_a_running_daemon(tmp_path: Path) -> None:
    with SqliteJournal(tmp_path, wall_s=lambda: 42.0) as journal:
        journal.append(ONE_OF_EACH[:2])
        reader = JournalReader(tmp_path)
        seen = reader.events()
        assert tuple(record.event for record in seen) == ONE_OF_EACH[:2]
        assert {(record.epoch, record.wall_s) for record in seen} == {(1, 42.0)}
        journal.append(ONE_OF_EACH[2:])
        news = reader.events(after=seen[-1].number)
        assert tuple(record.event for record in news) == ONE_OF_EACH[2:]
        assert reader.daemon() is not None
        assert reader.epoch() == 1
    assert reader.daemon() is None
    assert len(reader.events()) == len(ONE_OF_EACH)


def test_the_history_of_one_experiment_holds_its_attempts_too(tmp_path: Path) -> None:
    with SqliteJournal(tmp_path) as journal:
        journal.append(ONE_OF_EACH)
    of_m3 = JournalReader(tmp_path).events(experiment=M3)
    of_k7 = JournalReader(tmp_path).events(experiment=K7)
    assert [record.event.kind for record in of_m3] == ["IdAssigned", "IdWithdrawn"]
    assert len(of_k7) == IN_VERSION_1 - 3 + 3, "all but the daemon's own, the hosts' and those of the other experiment"
    assert "AttemptEnded" in {record.event.kind for record in of_k7}


def test_metrics_and_views_are_seen_by_other_processes(tmp_path: Path) -> None:
    with SqliteJournal(tmp_path, wall_s=lambda: 42.0) as journal:
        reader = JournalReader(tmp_path)
        assert reader.metrics(AttemptId("abcd.1")) == {}
        assert reader.view("hosts") is None
        journal.cache_metrics(AttemptId("abcd.1"), 10, add_points({}, [MetricPoint(step=1, values={"loss": 0.5})]))
        journal.cache_view("hosts", {"gpu1": {"state": "connected"}})
        assert reader.metrics(AttemptId("abcd.1"))["loss"].last == 0.5
        view = reader.view("hosts")
        assert view is not None
        assert (view.value, view.wall_s) == ({"gpu1": {"state": "connected"}}, 42.0)


def test_looking_does_not_keep_a_daemon_from_starting(tmp_path: Path) -> None:
    SqliteJournal(tmp_path).close()
    reader = JournalReader(tmp_path)
    for _ in range(20):
        assert reader.daemon() is None
        with SqliteJournal(tmp_path):
            assert reader.daemon() is not None


def test_a_folder_without_a_journal_is_explained(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"no journal in .* start the daemon"):
        JournalReader(tmp_path)


def test_a_request_from_the_command_line_is_seen_once_answered_once(tmp_path: Path) -> None:
    with SqliteJournal(tmp_path) as journal:
        command_line = RequestStore(tmp_path)
        first = command_line.add("stop", ExperimentId("abcd"))
        second = command_line.add("stop", ExperimentId("efgh"))
        assert [(r.number, r.action, r.subject) for r in journal.pending_requests()] == [
            (first, "stop", "abcd"),
            (second, "stop", "efgh"),
        ]
        assert command_line.answer(first) is None
        journal.finish_request(first, "stopping abcd.1 on gpu1")
        journal.finish_request(first, "something else")
        assert command_line.answer(first) == "stopping abcd.1 on gpu1"
        assert [r.number for r in journal.pending_requests()] == [second]
        command_line.close()


def test_a_request_waits_for_a_daemon_that_does_not_run_yet(tmp_path: Path) -> None:
    SqliteJournal(tmp_path).close()
    command_line = RequestStore(tmp_path)
    command_line.add("stop", ExperimentId("abcd"))
    command_line.close()
    with SqliteJournal(tmp_path) as journal:
        assert [request.subject for request in journal.pending_requests()] == ["abcd"]


def test_the_command_line_stuck_in_a_transaction_does_not_stop_the_journal(tmp_path: Path) -> None:
    with SqliteJournal(tmp_path) as journal:
        stuck = RequestStore(tmp_path)
        stuck._connection.execute("BEGIN IMMEDIATE")
        journal.append([RowVanished(experiment=ExperimentId("abcd"))])
        assert len(journal.load()) == 1
        stuck.close()


def test_a_journal_that_is_just_being_made_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite").touch()
    with pytest.raises(JournalError, match="no journal"):
        JournalReader(tmp_path)


def test_what_is_asked_already_is_not_asked_twice_until_it_is_answered(tmp_path: Path) -> None:
    with SqliteJournal(tmp_path) as journal:
        command_line = RequestStore(tmp_path, wall_s=lambda: 42.0)
        first = command_line.ask_once("restart", "abcd")
        assert command_line.ask_once("restart", "abcd") == first
        assert command_line.ask_once("rerun", "abcd") != first
        assert journal.pending_requests()[0].wall_s == 42.0
        journal.finish_request(first, "abcd running")
        assert command_line.ask_once("restart", "abcd") > first
        command_line.close()
