"""A lab after years of work, made up in seconds: a sheet full of rows, the journal of how they came about, a host.

Most rows have ended, some run and some wait. What people typed and the ids stand in the sheet; the daemon's own columns
are empty, so that its first cycle has everything to write. Everything follows from the number of rows, so two runs
measure the same.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sheetd.clock import SystemChance
from sheetd.core import events as ev
from sheetd.core.grid import Cell, CellUpdate, CellValue, SheetWrite
from sheetd.core.metrics import add_points
from sheetd.core.model import AttemptId, ExperimentId, HostName, MetricRule, Proof, Reason, SlotName, Value, attempt_id
from sheetd.core.observation import (
    AcceleratorsSeen,
    AttemptKept,
    AttemptSeen,
    HostFacts,
    HostSeen,
    MetricPoint,
    MetricsReported,
    Observation,
    Seen,
)
from sheetd.core.rows import Row, view_grid
from sheetd.core.state import State
from sheetd.core.template import Param, ParamType, Template
from sheetd.core.validation import Accepted, judge, layout_by
from sheetd.core.world import HostView, Limits, World
from sheetd.daemon import Daemon
from sheetd.effects import Ports
from sheetd.journal import SqliteJournal
from sheetd.ports import Chunk, Clock, LaunchOrder
from sheetd.sheets.google import GoogleSheet
from tests.sheets.builtin_rig import Address

HOST = HostName("gpu1")
PARAMS = {
    f"p{number}": Param(name=f"p{number}", type=ParamType.NUMBER if number % 2 else ParamType.TEXT)
    for number in range(11)
}
TRAIN = Template(
    name="train",
    command=("python3", "train.py", *(f"--{name}={{{name}}}" for name in PARAMS)),
    resume_command=("python3", "train.py", "--resume", *(f"--{name}={{{name}}}" for name in PARAMS)),
    params=PARAMS,
    metrics=(MetricRule(name="loss"), MetricRule(name="acc")),
)
TYPED = ("template", *PARAMS)
HEADER = (
    *TYPED,
    *("action", "where", "priority", "status", "message", "loss", "loss:min", "acc", "acc:max"),
    *("progress", "eta", "host", "attempt", "runtime", "started", "code", "id", "my note"),
)
#: Old enough that the runtime of what runs is said in hours and does not make every cycle a changed one.
STARTED_AGE_S = 100_000.0
METRIC_POINTS = 120


@dataclass(frozen=True)
class Crowd:
    """How many rows of each kind: the last ones typed are those that run and wait."""

    rows: int

    @property
    def running(self) -> int:
        return min(50, max(1, self.rows // 10))

    @property
    def ended(self) -> int:
        return self.rows - 2 * self.running

    def ids(self) -> list[ExperimentId]:
        return [ExperimentId(f"e{number}") for number in range(self.rows)]

    def running_ids(self) -> list[ExperimentId]:
        return self.ids()[self.ended : self.ended + self.running]

    def slots(self) -> tuple[SlotName, ...]:
        return tuple(SlotName(f"{HOST}/{number}") for number in range(self.running))


def typed_cells(number: int) -> Iterator[tuple[str, CellValue]]:
    """What a person has typed into a row, by header."""
    yield "template", TRAIN.name
    for place, name in enumerate(PARAMS):
        yield name, number * 0.001 + place if place % 2 else f"data/set-{number % 97}/part-{place}"
    yield "my note", f"try {number % 13} again with a longer warm-up"


def fill(sheet: GoogleSheet, crowd: Crowd) -> list[Row]:
    """Type everything in, with the ids; answers with the rows as they are read."""
    sheet.create_tab_if_missing(len(HEADER))
    sheet.write_header(HEADER)
    grid = sheet.read()
    if crowd.rows >= grid.row_count:
        append = {"sheetId": grid.tab_id, "dimension": "ROWS", "length": crowd.rows + 1 - grid.row_count}
        sheet.client.batch_update(sheet.key, {"requests": [{"appendDimension": append}]})
    ids = crowd.ids()
    for start in range(0, crowd.rows, 1000):
        updates = [
            CellUpdate(row=number + 1, column=HEADER.index(name), value=value)
            for number in range(start, min(start + 1000, crowd.rows))
            for name, value in (*typed_cells(number), ("id", ids[number]))
        ]
        sheet.write(SheetWrite(tab_id=grid.tab_id, updates=tuple(updates)))
    grid = sheet.read()
    return list(view_grid(grid, layout_by(make_world(crowd).templates, grid.rows[0]), None, 0.0).rows)


def make_world(crowd: Crowd) -> World:
    """As a daemon has it when it starts. The dress is left out of the measured cycles."""
    host = HostView(name=HOST, slots=crowd.slots())
    limits = Limits(poll_s=2.0, dress_every_s=1e9)
    return World(state=State(), templates={TRAIN.name: TRAIN}, limits=limits, hosts={HOST: host})


def write_history(journal: SqliteJournal, crowd: Crowd, rows: Sequence[Row]) -> None:
    """Everything that was recorded until the rows were as they are, and the metrics of every attempt."""
    layout = layout_by(make_world(crowd).templates, _header_cells())
    events: list[ev.Event] = []
    for number, (id_, row) in enumerate(zip(crowd.ids(), rows, strict=True)):
        verdict = judge(row, layout, {TRAIN.name: TRAIN})
        assert isinstance(verdict, Accepted), verdict
        events.append(ev.IdAssigned(experiment=id_, fingerprint=row.fingerprint))
        events.append(
            ev.RowAccepted(experiment=id_, spec=verdict.spec, fingerprint=row.fingerprint, wall_s=1.7e9 + number)
        )
        if number < crowd.ended + crowd.running:
            events += _execution(crowd, number, attempt_id(id_, 1))
    for start in range(0, len(events), 5000):
        journal.append(events[start : start + 5000])
    points = tuple(
        MetricPoint(values={"loss": 1.0 / (step + 1), "acc": step / METRIC_POINTS}, step=float(step))
        for step in range(METRIC_POINTS)
    )
    summaries = add_points({}, points)
    for id_ in crowd.ids()[: crowd.ended + crowd.running]:
        journal.cache_metrics(attempt_id(id_, 1), 1000, summaries)


def _header_cells() -> Iterator[Cell]:
    return (Cell(value=name, shown=name) for name in HEADER)


def _execution(crowd: Crowd, number: int, attempt: AttemptId) -> Iterator[ev.Event]:
    slot = crowd.slots()[number % crowd.running]
    yield ev.LaunchIntended(attempt=attempt, host=HOST, slots=(slot,), nonce=f"{number:032x}")
    yield ev.AttemptStarted(attempt=attempt, wall_s=1.7e9 + number)
    if number < crowd.ended:
        failed = number % 7 == 0
        yield ev.AttemptEnded(
            attempt=attempt,
            reason=Reason.FAILED if failed else Reason.SUCCEEDED,
            proof=Proof.EXIT_RECORD,
            exit_code=int(failed),
            detail="exit code 1; last line: ValueError: the loss is not finite" if failed else "",
            runtime_s=60.0 + number,
        )


class StillHost:
    """`ports.Host` without a machine: does at once what it is asked for, and says nothing by itself."""

    # ruff: noqa: ARG002 - the signatures are those of the port

    name = HOST

    def keep(self, report: Callable[[Observation], None]) -> None: ...

    def watch(self, metrics_offsets: Mapping[AttemptId, int]) -> None: ...

    def send_code(self, sha: str, archive: Path) -> None: ...

    def launch(self, order: LaunchOrder) -> AttemptSeen:
        return AttemptSeen(state=Seen.RUNNING, pid=1, started_age_s=0.0)

    def stop(self, attempt: AttemptId, grace_s: float) -> AttemptSeen:
        return AttemptSeen(state=Seen.REVOKED)

    def hand_over(self, attempt: AttemptId, number: int, params: Mapping[str, Value]) -> AttemptSeen:
        return AttemptSeen(state=Seen.RUNNING, pid=1, started_age_s=0.0)

    def tail(self, attempt: AttemptId, stream: Literal["log", "metrics"], offset: int, max_bytes: int) -> Chunk:
        return Chunk(start=0, end=0, size=0, data=b"")

    def accelerators(self, max_age_s: float, idle_memory_mb: int) -> AcceleratorsSeen:
        return AcceleratorsSeen()

    def facts(self) -> HostFacts:
        return HostFacts(boot="boot-1")

    def take_over(self, epoch: int) -> HostSeen:
        return HostSeen(host=HOST, facts=self.facts(), epoch=epoch)

    def describe(self, attempts: Sequence[AttemptId]) -> Mapping[AttemptId, AttemptKept]:
        return {attempt: AttemptKept() for attempt in attempts}

    def close(self) -> None: ...


def greeting(crowd: Crowd) -> HostSeen:
    """What the host says when it is connected to: everything that should run does."""
    seen = AttemptSeen(state=Seen.RUNNING, pid=1, started_age_s=STARTED_AGE_S)
    return HostSeen(
        host=HOST,
        facts=HostFacts(boot="boot-1"),
        attempts={attempt_id(id_, 1): seen for id_ in crowd.running_ids()},
    )


def reports(crowd: Crowd, round_: int) -> Iterator[MetricsReported]:
    """One line of every job that runs, newer than those of any lower round."""
    for id_ in crowd.running_ids():
        start, end = 1000 + 50 * round_, 1050 + 50 * round_
        point = MetricPoint(values={"loss": 1 / (round_ + 2), "acc": 1 - 1 / (round_ + 2)}, step=float(round_))
        yield MetricsReported(host=HOST, attempt=attempt_id(id_, 1), start=start, end=end, points=(point,))


class _NoCode:
    def pin(self, folder: Path) -> str:
        raise AssertionError(folder)

    def archive(self, sha: str) -> Path:
        raise AssertionError(sha)


@dataclass(frozen=True)
class Lab:
    """The daemon's sheet and a person's, and the journal."""

    crowd: Crowd
    sheet: GoogleSheet
    person: GoogleSheet
    journal: SqliteJournal

    def daemon(self, clock: Clock) -> Daemon:
        """A daemon that has not recovered yet. One at a time."""
        ports = Ports(
            sheet=self.sheet, hosts={HOST: StillHost()}, journal=self.journal, snapshots=_NoCode(), secret=str
        )
        return Daemon(make_world(self.crowd), ports, clock, SystemChance())

    def close(self, daemon: Daemon) -> None:
        daemon._lanes.close(5.0)


@contextmanager
def laboratory(address: Address, crowd: Crowd, tab: str) -> Iterator[Lab]:
    person, sheet = address.open(tab), address.open(tab)
    try:
        rows = fill(person, crowd)
        with tempfile.TemporaryDirectory() as folder, SqliteJournal(Path(folder)) as journal:
            write_history(journal, crowd, rows)
            yield Lab(crowd, sheet, person, journal)
    finally:
        person.close()
        sheet.close()
