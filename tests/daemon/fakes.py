"""The smallest ports that a daemon can be driven with. They remember in which order they were called."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sheetd.core.colours import Dress
from sheetd.core.events import DaemonStarted, Event, TakeoverBegun
from sheetd.core.grid import Grid, SheetWrite
from sheetd.core.metrics import MetricSummary
from sheetd.core.model import AttemptId, HostName, SlotName, Value
from sheetd.core.observation import (
    AcceleratorsSeen,
    AttemptKept,
    AttemptSeen,
    HostFacts,
    HostSeen,
    Observation,
    Seen,
)
from sheetd.core.state import State
from sheetd.core.world import HostView, Limits, World
from sheetd.daemon import Daemon
from sheetd.effects import Ports
from sheetd.errors import ConfigError, JournalError, SheetUnavailable
from sheetd.ports import LaunchOrder, Sheet
from tests.core.story import TRAIN, Table

HOST = HostName("alpha")
#: No two daemons of a test draw the same.
_NONCES = itertools.count(1)


@dataclass
class FakeJournal:
    calls: list[str]
    epoch: int = 1
    owner: str = "me"
    events: list[Event] = field(default_factory=list)
    requests: list[Any] = field(default_factory=list)
    answers: dict[int, str] = field(default_factory=dict)
    views: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    kept: dict[AttemptId, Mapping[str, MetricSummary]] = field(default_factory=dict)
    offsets: dict[AttemptId, int] = field(default_factory=dict)

    full: bool = False
    refused: int = 0

    def append(self, events: Sequence[Event]) -> None:
        if self.full and not isinstance(events[0], DaemonStarted):
            self.refused += 1
            raise JournalError("the disk is full")
        self.events += events
        self.epoch = max([self.epoch, *(event.epoch for event in events if isinstance(event, TakeoverBegun))])
        self.calls += [event.kind for event in events]

    def load(self) -> Sequence[Event]:
        return list(self.events)

    def cache_metrics(self, attempt: AttemptId, offset: int, summaries: Mapping[str, MetricSummary]) -> None:
        self.kept[attempt], self.offsets[attempt] = summaries, offset
        self.calls.append("metrics kept")

    def metrics(self, attempt: AttemptId) -> Mapping[str, MetricSummary]:
        return self.kept.get(attempt, {})

    def metrics_offsets(self) -> Mapping[AttemptId, int]:
        return dict(self.offsets)

    def pending_requests(self) -> Sequence[Any]:
        return [request for request in self.requests if request.number not in self.answers]

    def finish_request(self, number: int, answer: str) -> None:
        self.answers[number] = answer

    def cache_view(self, name: str, view: Mapping[str, Any]) -> None:
        self.views[name] = view

    def close(self) -> None:
        self.calls.append("closed")


@dataclass
class FakeSheet:
    calls: list[str]
    table: Table = field(default_factory=Table)

    #: Why it cannot be read, while it cannot.
    trouble: str = ""

    def read(self) -> Grid:
        self.calls.append("read")
        if self.trouble:
            raise SheetUnavailable(self.trouble)
        return self.table.read()

    def write(self, write: SheetWrite) -> Grid:
        self.calls.append("write" if write.updates or write.replacements else "claim")
        return self.table.write(write)

    def dress(self, dress: Dress) -> bool:
        del dress
        self.calls.append("dress")
        return True


@dataclass
class FakeHost:
    calls: list[str]
    name: HostName = HOST
    report: Callable[[Observation], None] = lambda _: None
    launched: list[LaunchOrder] = field(default_factory=list)
    trouble: BaseException | None = None
    accelerators_seen: AcceleratorsSeen = field(default_factory=AcceleratorsSeen)

    def keep(self, report: Callable[[Observation], None]) -> None:
        self.report = report
        report(HostSeen(host=self.name, facts=HostFacts(boot="b1")))

    def watch(self, metrics_offsets: Mapping[AttemptId, int]) -> None:
        self.calls.append(f"watch {len(metrics_offsets)}")

    def take_over(self, epoch: int) -> HostSeen:
        return HostSeen(host=self.name, facts=HostFacts(boot="b1"), epoch=epoch)

    def describe(self, attempts: Sequence[AttemptId]) -> Mapping[AttemptId, AttemptKept]:
        return {attempt: AttemptKept() for attempt in attempts}

    def hand_over(self, attempt: AttemptId, number: int, params: Mapping[str, Value]) -> AttemptSeen:
        self.calls.append(f"hand over {attempt} {number} {dict(params)}")
        return AttemptSeen(state=Seen.RUNNING)

    def launch(self, order: LaunchOrder) -> AttemptSeen:
        self.calls.append("launch")
        if self.trouble is not None:
            raise self.trouble
        self.launched.append(order)
        return AttemptSeen(state=Seen.RUNNING, started_age_s=0.0)

    def stop(self, attempt: AttemptId, grace_s: float) -> AttemptSeen:
        del attempt, grace_s
        self.calls.append("stop")
        return AttemptSeen(state=Seen.STOPPING)

    def accelerators(self, max_age_s: float, idle_memory_mb: int) -> AcceleratorsSeen:
        del idle_memory_mb
        self.calls.append(f"accelerators {max_age_s:g}")
        return self.accelerators_seen

    def close(self) -> None:
        self.calls.append("host closed")


@dataclass
class FakeSnapshots:
    #: What the code of a folder says, as a number.
    versions: dict[Path, int] = field(default_factory=dict)
    unreadable: set[Path] = field(default_factory=set)

    def pin(self, folder: Path) -> str:
        if folder in self.unreadable:
            raise ConfigError(f"{folder} cannot be read")
        return f"{self.versions.get(folder, 0):064x}"

    def archive(self, sha: str) -> Path:
        return Path(sha)


class FakeClock:
    """Real enough to wait by, and never the machine's own."""

    def __init__(self) -> None:
        self.s = 1000.0
        self.step_s = 0.001
        self.tick_s = 0.001

    def monotonic_s(self) -> float:
        self.s += self.tick_s
        return self.s

    def wall_s(self) -> float:
        return 1_700_000_000.0


class FakeChance:
    def __init__(self) -> None:
        self.count = 0

    def experiment_id(self) -> str:
        self.count += 1
        return f"row{self.count}"

    def nonce(self) -> str:
        return f"{next(_NONCES):032x}"


@dataclass
class Rig:
    """A daemon with all of these, and the one list of calls."""

    calls: list[str] = field(default_factory=list)
    #: In the place of the fake one.
    real_sheet: Sheet | None = None

    def __post_init__(self) -> None:
        self.journal = FakeJournal(self.calls)
        self.sheet = FakeSheet(self.calls)
        self.host = FakeHost(self.calls)
        self.clock = FakeClock()
        limits = Limits(poll_s=0.01, settle_s=0.01, write_gap_s=0.0, fresh_s=10.0)
        view = HostView(name=HOST, slots=(SlotName("alpha/0"),))
        world = World(state=State(), templates={"train": TRAIN}, limits=limits, hosts={HOST: view})
        ports = Ports(
            sheet=self.real_sheet or self.sheet,
            hosts={HOST: self.host},  # type: ignore[dict-item]
            journal=self.journal,
            snapshots=FakeSnapshots(),
            secret=str,
            usage=lambda: {"reads": self.calls.count("read"), "writes": self.calls.count("write"), "allowed": 30},
        )
        self.daemon = Daemon(world, ports, self.clock, FakeChance())


@dataclass(frozen=True)
class Request:
    number: int
    action: str
    subject: str
    by: str = ""
    wall_s: float = 0.0
