"""What every journal promises the daemon: `ports.Journal`.

A rig is one state folder, or what stands for it. What only files can show (damage, other versions, torn pages) is in
`tests/journal`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from sheetd.core.events import Event, RowVanished, TakeoverBegun
from sheetd.core.metrics import MetricSummary
from sheetd.core.model import AttemptId, ExperimentId
from sheetd.errors import JournalError
from sheetd.journal import SqliteJournal
from sheetd.journal.requests import RequestStore
from sheetd.ports import Journal
from tests.daemon.fakes import FakeJournal, Request
from tests.sim.service import SimJournal, apart
from tests.sim.world import Setting, Simulation

A, B = AttemptId("bcdfgh.1"), AttemptId("bcdfgh.2")
ROW = ExperimentId("bcdfgh")
LOSS = {"loss": MetricSummary(last=0.5, minimum=0.25, maximum=1.0, mean=0.5, count=3, step=7.0)}


class Rig(Protocol):
    def open(self) -> Journal:
        """What the next daemon opens; the one before has closed its own."""

    def ask(self, action: str) -> None:
        """Somebody asks for it on the command line."""

    def fill_disk(self, *, full: bool) -> None:
        """Of the journal that is open."""


class RealRig:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal: SqliteJournal | None = None

    def open(self) -> Journal:
        self.journal = SqliteJournal(self.folder)
        return self.journal

    def ask(self, action: str) -> None:
        store = RequestStore(self.folder)
        store.add(action, ROW)
        store.close()

    def fill_disk(self, *, full: bool) -> None:
        assert self.journal is not None
        connection = self.journal._connection
        pages = connection.execute("PRAGMA page_count").fetchone()[0] if full else 1_000_000
        connection.execute(f"PRAGMA max_page_count={pages}")


class SimulatedRig:
    """The journal of a simulated daemon: the shipped one, and the checker's ear beside it."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation

    def open(self) -> Journal:
        return SimJournal(self.simulation.service)  # type: ignore[return-value]

    def ask(self, action: str) -> None:
        RealRig(self.simulation.folder).ask(action)

    def fill_disk(self, *, full: bool) -> None:
        self.simulation.rates["M8 daemon's disk is full"] = 1.0 if full else 0.0


class FakeRig:
    def __init__(self) -> None:
        self.journal = FakeJournal([], epoch=0)

    def open(self) -> Journal:
        self.journal = replace(self.journal, epoch=self.journal.epoch + 1)
        return self.journal

    def ask(self, action: str) -> None:
        self.journal.requests.append(Request(len(self.journal.requests) + 1, action, ROW))

    def fill_disk(self, *, full: bool) -> None:
        self.journal.full = full


@contextmanager
def sqlite(folder: Path) -> Iterator[Rig]:
    yield RealRig(folder)


@contextmanager
def simulated(_folder: Path) -> Iterator[Rig]:
    with apart():
        simulation = Simulation(Setting(0, kinds=set(), rows=0))
        yield SimulatedRig(simulation)
        simulation.close()


@contextmanager
def fake(_folder: Path) -> Iterator[Rig]:
    yield FakeRig()


@pytest.fixture(params=[sqlite, simulated, fake], ids=lambda rig: rig.__name__)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with request.param(tmp_path / "state") as rig:
        yield rig


@pytest.fixture
def journal(rig: Rig) -> Iterator[Journal]:
    journal = rig.open()
    yield journal
    journal.close()


def vanished(number: int) -> Event:
    return RowVanished(experiment=ExperimentId(f"row{number:04}"))


def test_a_takeover_raises_the_epoch_above_the_former_owners_for_good(rig: Rig) -> None:
    journal = rig.open()
    journal.append([TakeoverBegun(epoch=41, former_owner="another", former_epoch=40, former_where="elsewhere")])
    assert journal.epoch == 41
    journal.close()
    assert rig.open().epoch == 42


def test_what_was_appended_is_loaded_in_order_at_once_and_by_the_next_daemon(rig: Rig) -> None:
    journal = rig.open()
    assert list(journal.load()) == []
    journal.append([vanished(1), vanished(2)])
    journal.append([])
    journal.append([vanished(3)])
    wanted = [vanished(1), vanished(2), vanished(3)]
    assert list(journal.load()) == wanted
    journal.close()
    later = rig.open()
    assert list(later.load()) == wanted
    later.close()


def test_each_daemon_has_a_larger_epoch(rig: Rig) -> None:
    epochs = []
    for _ in range(3):
        journal = rig.open()
        epochs.append(journal.epoch)
        journal.close()
    assert epochs == sorted(set(epochs))


def test_what_does_not_fit_on_the_disk_is_not_recorded_and_that_passes(rig: Rig, journal: Journal) -> None:
    journal.append([vanished(1)])
    rig.fill_disk(full=True)
    with pytest.raises(JournalError, match="full"):
        journal.append([vanished(number) for number in range(2, 500)])
    rig.fill_disk(full=False)
    journal.append([vanished(2)])
    assert list(journal.load()) == [vanished(1), vanished(2)]


def test_metrics_are_kept_with_the_offset_up_to_which_they_count(journal: Journal) -> None:
    assert journal.metrics(A) == {}
    assert journal.metrics_offsets() == {}
    journal.cache_metrics(A, 100, {})
    journal.cache_metrics(A, 700, LOSS)
    journal.cache_metrics(B, 30, {})
    assert dict(journal.metrics(A)) == LOSS
    assert journal.metrics(B) == {}
    assert dict(journal.metrics_offsets()) == {A: 700, B: 30}


def test_requests_wait_in_order_until_each_is_answered(rig: Rig, journal: Journal) -> None:
    assert list(journal.pending_requests()) == []
    for action in ("stop", "rerun"):
        rig.ask(action)
    first, second = journal.pending_requests()
    assert [(one.action, one.subject) for one in (first, second)] == [("stop", ROW), ("rerun", ROW)]
    journal.finish_request(first.number, "done")
    assert [one.number for one in journal.pending_requests()] == [second.number]


def test_views_are_kept_for_others_and_never_events(journal: Journal) -> None:
    journal.cache_view("rows", {"bcdfgh": {"status": "running", "since": 1.5, "where": None}})
    journal.cache_view("rows", {})
    assert list(journal.load()) == []


with_a_folder: Callable[..., object] = pytest.mark.parametrize(
    "rig", [sqlite, simulated], ids=lambda rig: rig.__name__, indirect=True
)


@with_a_folder  # the fake has no folder that two daemons could want
def test_a_second_daemon_is_refused_while_the_first_is_there(rig: Rig, journal: Journal) -> None:
    with pytest.raises(JournalError, match="process"):
        rig.open()
    journal.append([vanished(1)])
    assert list(journal.load()) == [vanished(1)]
