"""What a plan asks for, and how it went.

An effect is carried out outside the loop, once at a time per `key`; whatever happens to it comes back as an
observation or as one of the outcomes below. Every effect may be carried out twice without harm: that is what makes a
crash ordinary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from sheetd.core.colours import Dress
from sheetd.core.grid import Grid, SheetWrite
from sheetd.core.model import Accelerator, AttemptId, ExperimentId, HostName, SlotName, Spec, Value
from sheetd.core.observation import AcceleratorsSeen, AttemptKept, AttemptSeen, HostSeen

#: Two effects with the same key are never in flight together. The first word is the lane: sheet, code or a host.
EffectKey: TypeAlias = tuple[str, str]

#: Not to be mistaken for a host's: no host name holds a colon.
SHEET_LANE = ":sheet"
CODE_LANE = ":code"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSheet:
    @property
    def key(self) -> EffectKey:
        return (SHEET_LANE, "cycle")


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteSheet:
    write: SheetWrite

    @property
    def key(self) -> EffectKey:
        return (SHEET_LANE, "cycle")


@dataclass(frozen=True, slots=True, kw_only=True)
class DressSheet:
    dress: Dress

    @property
    def key(self) -> EffectKey:
        return (SHEET_LANE, "dress")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadHostsTab:
    """Read the tab of hosts; `creates` it first where there is none of that title."""

    creates: bool = False

    @property
    def key(self) -> EffectKey:
        return (SHEET_LANE, "hosts")


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteHostsTab:
    write: SheetWrite

    @property
    def key(self) -> EffectKey:
        return (SHEET_LANE, "hosts")


@dataclass(frozen=True, slots=True, kw_only=True)
class DressHostsTab:
    dress: Dress

    @property
    def key(self) -> EffectKey:
        return (SHEET_LANE, "hosts")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRunsTab:
    """Read the tab of runs; `creates` it first where there is none, and makes its grid at least so large."""

    creates: bool = False
    rows: int = 0
    columns: int = 0

    @property
    def key(self) -> EffectKey:
        return (SHEET_LANE, "runs")


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteRunsTab:
    write: SheetWrite

    @property
    def key(self) -> EffectKey:
        return (SHEET_LANE, "runs")


@dataclass(frozen=True, slots=True, kw_only=True)
class DressRunsTab:
    dress: Dress

    @property
    def key(self) -> EffectKey:
        return (SHEET_LANE, "runs")


@dataclass(frozen=True, slots=True, kw_only=True)
class PinCode:
    """Snapshot a folder for the rows that are about to be accepted, each with the cells that it was judged by.

    One for all that wait for the same folder: a sweep of a thousand rows looks at the files once.
    """

    code: str
    rows: tuple[tuple[ExperimentId, str], ...]

    @property
    def key(self) -> EffectKey:
        return (CODE_LANE, self.code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Ask the host to start an attempt whose intent is durable."""

    host: HostName
    attempt: AttemptId
    nonce: str
    spec: Spec
    resume: bool
    #: What the host keeps for a daemon that does not know of this launch.
    slots: tuple[SlotName, ...] = ()
    fingerprint: str = ""
    accelerators: tuple[Accelerator, ...] = ()

    @property
    def key(self) -> EffectKey:
        return (self.host, self.attempt)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    host: HostName
    attempt: AttemptId
    grace_s: float

    @property
    def key(self) -> EffectKey:
        return (self.host, self.attempt)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """Give a running attempt other parameters: all of them. Of two the one with the larger number is the newer."""

    host: HostName
    attempt: AttemptId
    number: int
    params: Mapping[str, Value]

    @property
    def key(self) -> EffectKey:
        # Not that of a stop, which waits for nothing.
        return (self.host, f"params of {self.attempt}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Have the host report these attempts, and no others."""

    host: HostName
    attempts: frozenset[AttemptId]

    @property
    def key(self) -> EffectKey:
        return (self.host, "watch")


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeOver:
    """Have the host obey this epoch, and no older one, from now on."""

    host: HostName
    epoch: int

    @property
    def key(self) -> EffectKey:
        return (self.host, "take over")


@dataclass(frozen=True, slots=True, kw_only=True)
class Describe:
    """Ask the host what it was given for these attempts."""

    host: HostName
    attempts: tuple[AttemptId, ...]

    @property
    def key(self) -> EffectKey:
        return (self.host, "describe")


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Ask for the accelerators. Samples older than `max_age_s` make the host look at them anew."""

    host: HostName
    max_age_s: float
    idle_memory_mb: int

    @property
    def key(self) -> EffectKey:
        return (self.host, "probe")


#: What is asked of a host.
HostEffect: TypeAlias = Launch | Stop | HandOver | Watch | TakeOver | Describe | Probe
#: What is done with the tab of hosts.
TabEffect: TypeAlias = ReadHostsTab | WriteHostsTab | DressHostsTab
#: What is done with the tab of runs.
RunsEffect: TypeAlias = ReadRunsTab | WriteRunsTab | DressRunsTab
Effect: TypeAlias = ReadSheet | WriteSheet | DressSheet | TabEffect | RunsEffect | PinCode | HostEffect


# --- outcomes ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CodePinned:
    """The snapshot exists, under its content hash."""

    effect: PinCode
    sha: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PinFailed:
    effect: PinCode
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAnswered:
    """A launch, a stop or other parameters were answered with the attempt's state."""

    effect: Launch | Stop | HandOver
    seen: AttemptSeen


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRefusedEffect:
    """The host said no. `code` is the agent's word."""

    effect: HostEffect
    code: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSilent:
    """Unknown whether it happened. It is asked again when the host is seen."""

    effect: HostEffect
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    effect: Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class TookOver:
    """The host obeys the epoch, and this is what it keeps."""

    effect: TakeOver
    seen: HostSeen


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    effect: Describe
    kept: Mapping[AttemptId, AttemptKept]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """The host answered with what it knows of its accelerators."""

    effect: Probe
    seen: AcceleratorsSeen


@dataclass(frozen=True, slots=True, kw_only=True)
class Dressed:
    effect: DressSheet


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetFailed:
    """A read, a write or a dressing failed. For a write, the outcome may be unknown: the next read tells."""

    effect: ReadSheet | WriteSheet | DressSheet
    why: str
    lasting: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HostsTabDone:
    """The tab of hosts as it was read, or as it is after it was written; None where it was dressed."""

    effect: TabEffect
    grid: Grid | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostsTabFailed:
    """As `SheetFailed`, for the tab of hosts."""

    effect: TabEffect
    why: str
    lasting: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsTabDone:
    """As `HostsTabDone`, for the tab of runs."""

    effect: RunsEffect
    grid: Grid | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsTabFailed:
    """As `SheetFailed`, for the tab of runs."""

    effect: RunsEffect
    why: str
    lasting: bool


Outcome: TypeAlias = (
    CodePinned
    | PinFailed
    | HostAnswered
    | HostRefusedEffect
    | HostSilent
    | Watching
    | TookOver
    | Described
    | Probed
    | Dressed
    | SheetFailed
    | HostsTabDone
    | HostsTabFailed
    | RunsTabDone
    | RunsTabFailed
)


def lane(effect: Effect) -> str:
    """Effects of one lane are carried out one after another; lanes do not wait for each other."""
    return effect.key[0]
