"""The few interfaces through which the daemon meets the outside.

Each has a real adapter and a fake that passes the same contract suite (`tests/contracts`). Adapters raise only the
errors of `sheetd.errors`; every call that waits has a deadline of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from sheetd.core.colours import Dress
from sheetd.core.configuration import Configuration
from sheetd.core.events import Event
from sheetd.core.grid import Grid, SheetWrite
from sheetd.core.metrics import MetricSummary
from sheetd.core.model import Accelerator, AttemptId, HostName, SlotName, Spec, Value
from sheetd.core.observation import (
    AcceleratorsSeen,
    AttemptKept,
    AttemptSeen,
    HostFacts,
    HostSeen,
    Observation,
)

#: Stands in sheetd.toml in the place of a credentials file, and leaves it to google-auth to find something.
APPLICATION_DEFAULT: Final = "application-default"


class Clock(Protocol):
    """Time. Intervals come from `monotonic_s` only; `wall_s` is for showing."""

    def monotonic_s(self) -> float: ...

    def wall_s(self) -> float: ...


class Sheet(Protocol):
    """One tab of one spreadsheet. Each method is one request to the API, or raises `SheetError`."""

    def read(self) -> Grid:
        """The whole tab. Returns the very same object as last time when nothing changed.

        A row that did not change should be the same tuple as in the last grid, from a read or a write: equal ones of
        another identity are understood, and compared, from scratch.
        """
        ...

    def write(self, write: SheetWrite) -> Grid:
        """Apply atomically; answers with the whole tab as it is after the write.

        Raises SheetUnavailable when the outcome is unknown (the next read tells), SheetRefused when it was refused.
        """
        ...

    def dress(self, dress: Dress) -> bool:
        """Install colours, dropdowns and the frozen header if they are not there. True when something was sent."""
        ...


class HostsSheet(Sheet, Protocol):
    """The tab of hosts: beside the tab of experiments, and ours to create."""

    def create_tab_if_missing(self) -> bool:
        """Add the tab when the spreadsheet has none of that title. True when it was added."""
        ...


class RunsSheet(HostsSheet, Protocol):
    """The tab of runs: it grows with what is run."""

    def make_room(self, rows: int, columns: int) -> None:
        """Make its grid at least so large. Nothing in it changes."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchOrder:
    """Everything a host needs to start an attempt. Secrets are values here, and only here, on their way to a child."""

    attempt: AttemptId
    nonce: str
    spec: Spec
    resume: bool
    secrets: Mapping[str, str]
    #: Kept beside the claim, for a daemon that does not know of this launch.
    slots: tuple[SlotName, ...] = ()
    fingerprint: str = ""
    #: None named: a plain slot, and nothing on the host is leased.
    accelerators: tuple[Accelerator, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Bytes `start` to `end` of a file that is `size` bytes long now."""

    start: int
    end: int
    size: int
    data: bytes


class Host(Protocol):
    """One machine, through its agent. Calls raise HostUnreachable (we could not ask) or HostRefused (it said no).

    `keep` starts a thread that keeps the connection, and reports everything that the host says as observations.
    The other calls go over the same connection and fail at once while there is none.
    """

    name: HostName

    def keep(self, report: Callable[[Observation], None]) -> None: ...

    def watch(self, metrics_offsets: Mapping[AttemptId, int]) -> None:
        """Have the state and the metrics (from these byte offsets on) of these attempts, and no others, reported."""
        ...

    def send_code(self, sha: str, archive: Path) -> None:
        """Make the snapshot present on the host; sends only what is missing."""
        ...

    def launch(self, order: LaunchOrder) -> AttemptSeen:
        """Start the attempt, at most once however often this is called."""
        ...

    def stop(self, attempt: AttemptId, grace_s: float) -> AttemptSeen: ...

    def hand_over(self, attempt: AttemptId, number: int, params: Mapping[str, Value]) -> AttemptSeen:
        """Have `sheetd.params()` give these from now on. One with a smaller number, or epoch, changes nothing."""
        ...

    def tail(self, attempt: AttemptId, stream: Literal["log", "metrics"], offset: int, max_bytes: int) -> Chunk:
        """A negative offset counts from the end."""
        ...

    def accelerators(self, max_age_s: float, idle_memory_mb: int) -> AcceleratorsSeen:
        """The accelerators as last sampled. Older samples start a probe on the host, and its result is reported."""
        ...

    def facts(self) -> HostFacts:
        """Connect if need be and say hello."""
        ...

    def take_over(self, epoch: int) -> HostSeen:
        """Have the host obey this epoch, over this connection and every later one, and say all that it keeps.

        Before it we only look: launches and stops are refused. HostRefused `stale_daemon` if it obeys a newer one.
        """
        ...

    def describe(self, attempts: Sequence[AttemptId]) -> Mapping[AttemptId, AttemptKept]:
        """What the host was given for each of these."""
        ...

    def close(self) -> None:
        """Drop the connection and its threads. Jobs go on."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How a host is reached. Another way there is another connection; at another place there are other attempts."""

    place: str
    way: Hashable
    #: A new adapter that goes this way. It is not connected yet.
    adapter: Callable[[], Host] = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconfiguration:
    """What the operator's files say now, for the loop."""

    configuration: Configuration
    routes: Mapping[HostName, Route]
    #: Mistakes in the files, each with its place: what they said before counts.
    mistakes: tuple[str, ...] = ()
    #: Settings that were changed and are taken at the next start.
    at_restart: tuple[str, ...] = ()


class Request(Protocol):
    """What was asked on the command line: `stop` and the like of an experiment, or what people say of a host."""

    @property
    def number(self) -> int: ...

    @property
    def action(self) -> str: ...

    @property
    def subject(self) -> str:
        """The experiment's id, or the host's name."""
        ...

    @property
    def by(self) -> str: ...

    @property
    def wall_s(self) -> float: ...


class Snapshots(Protocol):
    """The code of templates, kept under its content hash."""

    def pin(self, folder: Path) -> str:
        """The hash of the folder as it is now. Raises ConfigError when it cannot be taken, saying why."""
        ...

    def archive(self, sha: str) -> Path:
        """The file that holds it."""
        ...


class Journal(Protocol):
    """The record we recover from. What can be asked again (metrics, last states) goes to `cache_*` and may be lost."""

    epoch: int
    #: Names the folder: the same at every start over it, another for a copy of it.
    owner: str

    def append(self, events: Sequence[Event]) -> None:
        """Durable when this returns: intents are appended before their effects are tried.

        A TakeoverBegun among them raises `epoch`.
        """
        ...

    def load(self) -> Sequence[Event]: ...

    def cache_metrics(self, attempt: AttemptId, offset: int, summaries: Mapping[str, MetricSummary]) -> None:
        """Keep what the first `offset` bytes of an attempt's metrics file add up to."""
        ...

    def metrics(self, attempt: AttemptId) -> Mapping[str, MetricSummary]: ...

    def metrics_offsets(self) -> Mapping[AttemptId, int]: ...

    def pending_requests(self) -> Sequence[Request]:
        """What people asked for on the command line and was not answered yet."""
        ...

    def finish_request(self, number: int, answer: str) -> None: ...

    def cache_view(self, name: str, view: Mapping[str, Any]) -> None:
        """Keep what other processes may want to show: hosts, rows."""
        ...

    def close(self) -> None: ...
