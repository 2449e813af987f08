"""The nouns: experiment, attempt, spec, and the state that the journal adds up to.

An experiment is one accepted row. An attempt is one execution of it on one host; its number grows and is never reused,
so a larger number fences a smaller one. Phase (where it is), reason (why an attempt ended) and status (the word shown
in the row, derived in `render`) are three things; only the first two live here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, NewType, TypeAlias

ExperimentId = NewType("ExperimentId", str)
#: `<experiment id>.<number>`, the only form in which an attempt is named on a host.
AttemptId = NewType("AttemptId", str)
HostName = NewType("HostName", str)
#: `<host>/<index>`: the unit that is handed out.
SlotName = NewType("SlotName", str)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """What an attempt gets of a host: one accelerator by its identity, or the share number `share` of it."""

    kind: str
    id: str
    share: int | None = None


#: What one parameter cell became. Numbers stay numbers; text is verbatim.
Value: TypeAlias = str | int | float | bool


class Phase(str, Enum):
    """Where an experiment is. `lifecycle` holds the only legal moves."""

    WAITING = "waiting"
    LAUNCHING = "launching"
    RUNNING = "running"
    STOPPING = "stopping"
    ENDED = "ended"


LIVE = frozenset({Phase.LAUNCHING, Phase.RUNNING, Phase.STOPPING})


class Reason(str, Enum):
    """Why an attempt ended. Each maps to one status word and one budget (`relaunch_policy`)."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    OUT_OF_MEMORY = "out_of_memory"
    PREEMPTED = "preempted"
    HOST_LOST = "host_lost"
    TIMED_OUT = "timed_out"
    STOPPED_BY_USER = "stopped_by_user"
    LAUNCH_FAILED = "launch_failed"
    #: The program ended, and what it said last points to its host.
    HOST_FAULT = "host_fault"
    #: Somebody else had taken the accelerator when the launch arrived; nothing was started.
    ACCELERATOR_BUSY = "accelerator_busy"


class Proof(str, Enum):
    """What shows that an attempt is over. Without one of these its successor may not exist."""

    EXIT_RECORD = "exit_record"
    LOST = "lost"
    REBOOTED = "rebooted"
    REVOKED = "revoked"
    LEASE_EXPIRED = "lease_expired"
    #: Its successor exists, and was started by another daemon over the same sheet, which had one of these.
    SUCCEEDED_BY_ANOTHER = "succeeded_by_another"
    FORCED_BY_OPERATOR = "forced_by_operator"


class Afterwards(str, Enum):
    """What follows a stop: nothing, the next attempt from the last checkpoint, one elsewhere, or a fresh start.

    Or nothing until a person says that it goes on.
    """

    END = "end"
    RESTART = "restart"
    RELAUNCH = "relaunch"
    RERUN = "rerun"
    PAUSE = "pause"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarts:
    """How the supervisor restarts a crashed process on its host, frozen with the spec."""

    max: int = 3
    backoff_s: float = 1.0
    backoff_max_s: float = 300.0
    healthy_s: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRule:
    """A metric that a template declares. Without a regex it is one that the job reports itself."""

    name: str
    regex: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What exactly will be executed, frozen when the row is accepted. Secrets are names, never values."""

    template: str
    argv: tuple[str, ...]
    resume_argv: tuple[str, ...] = ()
    params: Mapping[str, Value] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    code: str | None = None
    cwd: str | None = None
    slots: int = 1
    #: Each accelerator has at least so much memory; 0 asks for no accelerator in particular.
    memory_gb: float = 0.0
    #: Up to so many experiments may use one accelerator at once, if all of them say so.
    share: int = 1
    #: Projects take turns; empty is the tab's own.
    project: str = ""
    where: str = ""
    priority: float = 0.0
    grace_s: float = 60.0
    restarts: Restarts = field(default_factory=Restarts)
    relaunches: int = 10
    metrics: tuple[MetricRule, ...] = ()
    #: It begins when these have succeeded, and where what they wrote lies.
    after: tuple[ExperimentId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One execution, bound to one host for life."""

    id: AttemptId
    number: int
    host: HostName
    slots: tuple[SlotName, ...]
    nonce: str
    #: The machine id of the host when it was intended, where it has one: a name may come to mean another machine.
    machine: str = ""
    #: What the slots are made of; none where they are plain numbers.
    accelerators: tuple[Accelerator, ...] = ()
    started: bool = False
    reason: Reason | None = None
    proof: Proof | None = None
    exit_code: int | None = None
    detail: str = ""
    restarts: int = 0
    runtime_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """An accepted row and everything decided about it. Replaced whole at each event; `revision` counts them."""

    id: ExperimentId
    spec: Spec
    phase: Phase = Phase.WAITING
    attempts: tuple[Attempt, ...] = ()
    accepted_wall_s: float = 0.0
    started_wall_s: float | None = None
    #: Monotonic time before which no attempt may start. Counted afresh when the daemon restarts: never shorter.
    not_before_s: float = 0.0
    #: Since when it waits (monotonic, counted afresh likewise): who waited long gets slots kept for it.
    waiting_since_s: float = 0.0
    #: Whether the next attempt should start from a checkpoint.
    resume: bool = True
    stop_reason: str = ""
    stop_by_person: bool = False
    #: It has ended for the time being only: `resume` goes on with it.
    is_paused: bool = False
    #: What was changed of its parameters since its newest attempt was intended, and how often.
    handed: Mapping[str, Value] = field(default_factory=dict)
    handovers: int = 0
    afterwards: Afterwards = Afterwards.END
    #: The first attempt of the present execution: those before a `rerun` burn no budget of this one.
    budget_from: int = 1
    #: A row that vanished from the sheet, since when (monotonic).
    missing_since_s: float | None = None
    revision: int = 0

    @property
    def attempt(self) -> Attempt | None:
        """The newest attempt, live or ended."""
        return self.attempts[-1] if self.attempts else None

    @property
    def is_live(self) -> bool:
        return self.phase in LIVE

    @property
    def takes_live_edits(self) -> bool:
        """Whether its live parameters may change: it has begun, and no launch is on its way."""
        return self.phase in (Phase.RUNNING, Phase.WAITING) or self.is_paused

    @property
    def is_to_begin(self) -> bool:
        """Whether it is queued or paused, and no attempt of its present execution was ever intended."""
        waits = self.phase is Phase.WAITING or self.is_paused
        return waits and (self.attempt is None or (self.attempt.number < self.budget_from and not self.resume))


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepMember:
    """One run of a row that stands for several (`sweeps`)."""

    id: ExperimentId
    spec: Spec


class Takeover(NamedTuple):
    """From whom the tab is being taken."""

    owner: str
    epoch: int
    where: str


def is_same(one: Value, other: Value) -> bool:
    """Whether two cells mean the same: TRUE is not 1."""
    return one == other and isinstance(one, bool) is isinstance(other, bool)


def attempt_id(experiment: ExperimentId, number: int) -> AttemptId:
    return AttemptId(f"{experiment}.{number}")


def experiment_of(attempt: AttemptId) -> ExperimentId:
    return ExperimentId(attempt.rsplit(".", 1)[0])


def group_of(experiment: str) -> ExperimentId | None:
    """The group that a member belongs to, by its id. None for whatever has a row of its own."""
    group, dash, _ = experiment.rpartition("-")
    return ExperimentId(group) if dash else None


def row_of(experiment: ExperimentId) -> ExperimentId:
    """The id in the row that the experiment comes from."""
    return group_of(experiment) or experiment
