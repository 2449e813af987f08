"""What one look at the world saw, including that it could not see.

An observation is never an order: "unreachable" is a value here and by itself ends nothing. Adapters make these,
the daemon folds them into the `World`, and `reconcile` decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from sheetd.core.grid import Grid
from sheetd.core.model import Accelerator, AttemptId, ExperimentId, HostName, SlotName, Spec


class Seen(str, Enum):
    """What a host's files and process table say of one attempt."""

    ABSENT = "absent"
    CLAIMED = "claimed"
    RUNNING = "running"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    EXITED = "exited"
    LOST = "lost"
    REVOKED = "revoked"
    REBOOTED = "rebooted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How the last process of an attempt ended. `rc` and `signal` are exclusive."""

    rc: int | None = None
    signal: int | None = None
    witness: str = "supervisor"
    stopped: bool = False
    oom: bool = False
    duration_s: float = 0.0
    gave_up: str | None = None
    #: Why the command could not be executed at all, such as a program that is not there.
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSeen:
    """The answer of a host's agent about one attempt. Ages are seconds of the host's own boot clock."""

    state: Seen
    restarts: int = 0
    supervised: bool = True
    pid: int | None = None
    started_age_s: float | None = None
    ended_age_s: float | None = None
    exit: Exit | None = None
    last_lines: tuple[str, ...] = ()
    #: Of an ended one: up to which byte its metrics file and its log hold whole lines.
    metrics_bytes: int = 0
    log_bytes: int = 0
    next_restart_s: float | None = None
    #: Something of it survives SIGKILL, or will not let go of its accelerator. `reason` says what.
    unkillable: bool = False
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What a host said of itself when the connection opened."""

    boot: str
    machine_id: str = ""
    hostname: str = ""
    python: str = ""
    cores: int = 0
    memory_bytes: int = 0
    disk_free_bytes: int | None = None
    agent_sha: str = ""
    #: Who we are there, where the agent keeps everything, and the host's own idea of the time.
    user: str = ""
    root: str = ""
    wall_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptKept:
    """What a host was given when an attempt was claimed there. Without a spec it was only ever revoked."""

    nonce: str = ""
    spec: Spec | None = None
    slots: tuple[SlotName, ...] = ()
    accelerators: tuple[Accelerator, ...] = ()
    fingerprint: str = ""


class Use(str, Enum):
    """What a host's agent judges of one accelerator. Only `free` may be handed out; `unknown` never becomes it."""

    FREE = "free"
    OURS = "ours"
    FOREIGN = "foreign"
    UNKNOWN = "unknown"
    SICK = "sick"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A process that has an accelerator open. What cannot be seen without root is None, or empty."""

    pid: int | None = None
    user: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceleratorSeen:
    """One GPU, MIG device or TPU chip as its host's agent saw it. Its identity is `id`, never `index`."""

    kind: str
    id: str
    index: int
    model: str
    state: Use
    #: The sentence for people: why it is free, or why not.
    why: str
    memory_mb: int | None = None
    used_mb: int | None = None
    busy_pct: int | None = None
    holders: tuple[Holder, ...] = ()
    #: Of our own attempts, those that hold it.
    attempts: tuple[AttemptId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceleratorsSeen:
    """An agent's answer about all of its accelerators. `age_s` is None while no probe has ended."""

    accelerators: tuple[AcceleratorSeen, ...] = ()
    notes: tuple[str, ...] = ()
    age_s: float | None = None
    samples: int = 0
    is_probing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricPoint:
    """One report of a job: finite numbers by name."""

    values: Mapping[str, float]
    step: float | None = None


# --- what arrives at the loop ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetSeen:
    """A complete, fresh copy of the tab: from a read, or from the answer to our own write."""

    grid: Grid


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetUnseen:
    """The sheet could not be read or written. Never a reason to cancel anything."""

    why: str
    lasting: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSeen:
    """The connection to a host is open, and this is what the host said, with the state of every attempt it keeps.

    `epoch` is that of the daemon which the host obeys over this connection: 0 while we only look.
    """

    host: HostName
    facts: HostFacts
    attempts: Mapping[AttemptId, AttemptSeen] = field(default_factory=dict)
    epoch: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HostUnseen:
    """The host cannot be reached (or refuses us, when `lasting`). What runs there goes on running."""

    host: HostName
    why: str
    lasting: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptReported:
    """A host pushed or answered the state of one attempt."""

    host: HostName
    attempt: AttemptId
    seen: AttemptSeen


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsReported:
    """New metric points of one attempt, covering the bytes `start` to `end` of its metrics file.

    Those found in its log by a template's regexes have `scanned` instead: up to which byte the log was searched.
    """

    host: HostName
    attempt: AttemptId
    start: int
    end: int
    points: tuple[MetricPoint, ...]
    scanned: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceleratorsReported:
    """A host pushed or answered what its probe of the accelerators made of them."""

    host: HostName
    accelerators: tuple[AcceleratorSeen, ...]
    notes: tuple[str, ...] = ()
    age_s: float | None = None
    samples: int = 0
    is_probing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRequested:
    """Somebody asked on the command line for an experiment to be stopped."""

    experiment: ExperimentId
    request: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginRequested:
    """Somebody asked on the command line that an experiment be executed again: `restart` or `rerun`."""

    experiment: ExperimentId
    action: str
    request: int
    wall_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRequested:
    """Somebody asked on the command line that a host be drained, resumed or tested again."""

    host: HostName
    action: str
    by: str
    request: int


Observation: TypeAlias = (
    SheetSeen
    | SheetUnseen
    | HostSeen
    | HostUnseen
    | AttemptReported
    | MetricsReported
    | AcceleratorsReported
    | StopRequested
    | BeginRequested
    | HostRequested
)
