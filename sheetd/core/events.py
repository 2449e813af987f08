"""The entries of the journal, in the past tense: decisions, and facts that cannot be asked again.

Old journals load for ever: a field may be added with a default, never renamed or given another meaning. Wall times are
for people; no interval is ever computed from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from sheetd.core.model import (
    Accelerator,
    Afterwards,
    AttemptId,
    ExperimentId,
    HostName,
    Proof,
    Reason,
    SlotName,
    Spec,
    SweepMember,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonStarted:
    """A daemon took over. Its epoch is larger than any before it and fences those on the hosts."""

    epoch: int
    wall_s: float
    kind: Literal["DaemonStarted"] = "DaemonStarted"


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeoverBegun:
    """The tab is taken from another daemon, or from a later life of this very folder (a restored backup).

    `epoch` is larger than the former owner's. Nothing new is decided before every host has been asked what it keeps.
    """

    epoch: int
    former_owner: str
    former_epoch: int
    former_where: str
    kind: Literal["TakeoverBegun"] = "TakeoverBegun"


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeoverEnded:
    """Every host obeys this daemon only, and what the former one had started there is known."""

    kind: Literal["TakeoverEnded"] = "TakeoverEnded"


@dataclass(frozen=True, slots=True, kw_only=True)
class IdAssigned:
    """An id is about to be written beside the row with these user cells. Recorded first: a crash cannot orphan it."""

    experiment: ExperimentId
    fingerprint: str
    copied_from: ExperimentId | None = None
    kind: Literal["IdAssigned"] = "IdAssigned"


@dataclass(frozen=True, slots=True, kw_only=True)
class IdWithdrawn:
    """The id was never confirmed on its row, or its row went away before it was accepted. It is not used again."""

    experiment: ExperimentId
    kind: Literal["IdWithdrawn"] = "IdWithdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatFound:
    """The row asks for what the experiment `of` does already. It waits, as long as it says so and `of` is not undone.

    Recorded because the code was compared that was frozen for it then: code that changes later begins nothing.
    """

    experiment: ExperimentId
    of: ExperimentId
    fingerprint: str
    kind: Literal["RepeatFound"] = "RepeatFound"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowAccepted:
    """The row became an experiment. From here on it cannot be lost."""

    experiment: ExperimentId
    spec: Spec
    fingerprint: str
    wall_s: float
    kind: Literal["RowAccepted"] = "RowAccepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepExpanded:
    """The row stands for several runs: for `members`, in this order. Those in `begun` are new, and begin.

    The others stay as they are. `spec` is what all have in common.
    """

    experiment: ExperimentId
    spec: Spec
    members: tuple[ExperimentId, ...]
    begun: tuple[SweepMember, ...]
    fingerprint: str
    wall_s: float
    kind: Literal["SweepExpanded"] = "SweepExpanded"


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchIntended:
    """The intent, durable before the host is asked."""

    attempt: AttemptId
    host: HostName
    slots: tuple[SlotName, ...]
    nonce: str
    machine: str = ""
    accelerators: tuple[Accelerator, ...] = ()
    kind: Literal["LaunchIntended"] = "LaunchIntended"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptAdopted:
    """A host keeps an attempt that another daemon started: it counts as our own from here on, with what came before it.

    `spec` is what the host was given, pinned to that host: one host's word must not start anything on another one.
    """

    attempt: AttemptId
    host: HostName
    slots: tuple[SlotName, ...]
    nonce: str
    machine: str
    accelerators: tuple[Accelerator, ...] = ()
    spec: Spec
    fingerprint: str
    wall_s: float
    kind: Literal["AttemptAdopted"] = "AttemptAdopted"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStarted:
    """The host said that the attempt runs."""

    attempt: AttemptId
    wall_s: float
    kind: Literal["AttemptStarted"] = "AttemptStarted"


@dataclass(frozen=True, slots=True, kw_only=True)
class StopIntended:
    """The attempt is to be stopped, why, and what follows when it is over."""

    attempt: AttemptId
    why: str
    then: Afterwards = Afterwards.END
    #: A person asked for it, and so also vouches for what nobody can see.
    by_person: bool = False
    kind: Literal["StopIntended"] = "StopIntended"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnded:
    """The attempt is over, with the proof; and what was decided then: another attempt after a delay, or none."""

    attempt: AttemptId
    reason: Reason
    proof: Proof
    exit_code: int | None = None
    detail: str = ""
    restarts: int = 0
    runtime_s: float = 0.0
    relaunch_delay_s: float | None = None
    #: What in this end points to the host, as a sentence; empty if nothing does.
    host_fault: str = ""
    kind: Literal["AttemptEnded"] = "AttemptEnded"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentWithdrawn:
    """A waiting experiment will not be launched: a person stopped it, paused it or deleted its row.

    So does one that was paused and is stopped now.
    """

    experiment: ExperimentId
    why: str
    #: Only until a person says that it goes on.
    pauses: bool = False
    kind: Literal["ExperimentWithdrawn"] = "ExperimentWithdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentReopened:
    """An ended experiment waits again, with the row as it is now (`spec`, for rerun) or as it was frozen (None)."""

    experiment: ExperimentId
    resume: bool
    spec: Spec | None = None
    fingerprint: str = ""
    kind: Literal["ExperimentReopened"] = "ExperimentReopened"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionConsumed:
    """The word in the action cell was obeyed, once. The same word counts again only after the cell has held another.

    One that is not `obeyed` was found there at a takeover, or came back with an older version of the sheet, or asks
    for what makes no sense there: then `why_not` tells why, as a sentence for the row.
    """

    experiment: ExperimentId
    action: str
    obeyed: bool = True
    why_not: str = ""
    kind: Literal["ActionConsumed"] = "ActionConsumed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionCleared:
    """The action cell no longer holds the consumed word."""

    experiment: ExperimentId
    kind: Literal["ActionCleared"] = "ActionCleared"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestObeyed:
    """What was asked on the command line was done, once, though the daemon die before it has said so.

    `request` and `wall_s` together name it: a file of requests that was lost begins to count anew.
    """

    experiment: ExperimentId
    action: str
    request: int
    wall_s: float
    kind: Literal["RequestObeyed"] = "RequestObeyed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowEdited:
    """An accepted row says something else now. Nothing runs otherwise for it; by this the row is recognised."""

    experiment: ExperimentId
    fingerprint: str
    kind: Literal["RowEdited"] = "RowEdited"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRevised:
    """An accepted row says something else now, and `spec` is what runs of it from here on.

    All of it where the row had not begun; of one that had, the parameters that its template calls live.
    """

    experiment: ExperimentId
    spec: Spec
    #: Empty where the row says more than is taken of it: then it still counts as edited.
    fingerprint: str
    kind: Literal["RowRevised"] = "RowRevised"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowVanished:
    """Two reads in a row did not show the row. Its experiment is stopped after a grace period, unless it returns."""

    experiment: ExperimentId
    kind: Literal["RowVanished"] = "RowVanished"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowReturned:
    """The row is in the sheet again."""

    experiment: ExperimentId
    kind: Literal["RowReturned"] = "RowReturned"


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceleratorsRegistered:
    """From now on these are the accelerators that the host has: one that is missing later is lost."""

    host: HostName
    accelerators: tuple[str, ...]
    #: A person wishes that the host make do with these.
    forgets_lost: bool = False
    kind: Literal["AcceleratorsRegistered"] = "AcceleratorsRegistered"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostQuarantined:
    """The host gets nothing new for `for_s` seconds, counted afresh by each daemon; `until_wall_s` is for showing."""

    host: HostName
    why: str
    until_wall_s: float
    for_s: float
    #: Ids of registered accelerators that the host does not show any more.
    lost: tuple[str, ...] = ()
    kind: Literal["HostQuarantined"] = "HostQuarantined"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReleased:
    """The quarantine is over. The host gets one attempt at a time until it is trusted."""

    host: HostName
    why: str
    kind: Literal["HostReleased"] = "HostReleased"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTrusted:
    """The host has proved itself after a quarantine; what was held against it is forgotten."""

    host: HostName
    why: str
    kind: Literal["HostTrusted"] = "HostTrusted"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostDrained:
    """A person wishes that the host get no new attempts. Those on it go on."""

    host: HostName
    by: str
    kind: Literal["HostDrained"] = "HostDrained"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostResumed:
    """A person wishes that the host be used again, whatever is held against it."""

    host: HostName
    by: str
    kind: Literal["HostResumed"] = "HostResumed"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostActionConsumed:
    """The word in the action cell of a host was obeyed, once. It counts again only after the cell has held another.

    One that is not `obeyed` stood there before anybody could mean this host by it.
    """

    host: HostName
    action: str
    obeyed: bool = True
    kind: Literal["HostActionConsumed"] = "HostActionConsumed"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostActionCleared:
    """The action cell of a host no longer holds the consumed word."""

    host: HostName
    kind: Literal["HostActionCleared"] = "HostActionCleared"


Event: TypeAlias = (
    DaemonStarted
    | TakeoverBegun
    | TakeoverEnded
    | IdAssigned
    | IdWithdrawn
    | RepeatFound
    | RowAccepted
    | SweepExpanded
    | LaunchIntended
    | AttemptAdopted
    | AttemptStarted
    | StopIntended
    | AttemptEnded
    | ExperimentWithdrawn
    | ExperimentReopened
    | ActionConsumed
    | ActionCleared
    | RequestObeyed
    | RowEdited
    | RowRevised
    | RowVanished
    | RowReturned
    | AcceleratorsRegistered
    | HostQuarantined
    | HostReleased
    | HostTrusted
    | HostDrained
    | HostResumed
    | HostActionConsumed
    | HostActionCleared
)
