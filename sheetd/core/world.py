"""Everything that `reconcile` looks at: the journal's state, and what was last seen of sheet and hosts.

Only `State` is durable. All the rest is observation: it is rebuilt by looking again; losing it costs time, not truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from sheetd.core.colours import Dress
from sheetd.core.effect import Effect, EffectKey
from sheetd.core.grid import CellValue
from sheetd.core.hosts_grid import HostsTab
from sheetd.core.metrics import MetricSummary
from sheetd.core.model import Attempt, AttemptId, Experiment, ExperimentId, HostName, SlotName
from sheetd.core.observation import (
    AcceleratorSeen,
    AttemptKept,
    AttemptSeen,
    BeginRequested,
    HostFacts,
    HostRequested,
    Seen,
)
from sheetd.core.others import Bid, Others
from sheetd.core.redaction import Redactor
from sheetd.core.rows import Row, SheetView
from sheetd.core.runs_grid import RunsTab
from sheetd.core.state import State
from sheetd.core.template import Template
from sheetd.core.validation import Accepted, Refused
from sheetd.core.why import Strategy, Why


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The times and bounds that decisions depend on, from the configuration. Seconds, all of them."""

    poll_s: float = 2.0
    settle_s: float = 3.0
    explicit_only: bool = False
    #: A row that makes more runs than this is held back until somebody types run.
    sweep_max: int = 100
    #: A write is made from a view no older than this; an older one is read again first.
    fresh_s: float = 0.5
    write_gap_s: float = 2.0
    deleted_row_grace_s: float = 600.0
    #: How long to wait before an unanswered or inconclusive request to a host is made again.
    ask_again_s: float = 5.0
    dress_every_s: float = 300.0
    #: How often the tab of hosts is looked at, and so at most written; that of runs too, if it has news.
    hosts_tab_every_s: float = 15.0
    #: How long an ended attempt stays watched, for the metrics it wrote last.
    linger_s: float = 5.0
    #: For so long an end is not recorded while the last metrics that its host counted have not arrived.
    told_within_s: float = 60.0
    rows_max: int = 20_000
    #: After so many refusals in a row writes go without guards until the next dressing: showing goes before guarding.
    guards_refused_max: int = 4
    #: After waiting so long, a request that finds no room has slots kept for it.
    reserve_after_s: float = 300.0
    #: Whether small requests fill hosts that are in use already, or go where most is free.
    strategy: Strategy = Strategy.PACK
    #: A word about accelerators older than this is not acted upon.
    probe_fresh_s: float = 10.0
    #: How often they are looked at when nobody needs them.
    probe_every_s: float = 60.0
    #: A host with less free disk than this gets nothing.
    disk_floor_bytes: int = 500 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who this daemon is to others over the same sheet: a state folder on a machine, and where that is for people."""

    owner: str = "me"
    where: str = ""
    #: In which part of each host's root its attempts are, where several share the hosts.
    folder: str = ""
    #: The operator says that whoever served the sheet before is gone for good.
    takes_over: bool = False


class Stranger(NamedTuple):
    """An attempt that a host keeps and that our journal may not know; `kept` once the host has described it."""

    seen: AttemptSeen
    kept: AttemptKept | None = None


@dataclass(slots=True, kw_only=True)
class HostView:
    """A configured host as it is known now."""

    name: HostName
    #: Plain numbers: what it hands out if it has no accelerators, or none that are to be looked at.
    slots: tuple[SlotName, ...]
    labels: frozenset[str] = frozenset()
    is_up: bool = False
    #: Why it is not up, in words; and whether only a person can change that.
    why: str = "is being connected to"
    lasting: bool = False
    since_s: float = 0.0
    facts: HostFacts | None = None
    #: Why it gets no new attempts although it is up, in words.
    closed: str = ""
    #: Closed ones that are this same machine: who asks for one of them means it.
    second_names: frozenset[HostName] = frozenset()
    #: Whether another entry for the same machine is meant: both are local, or have folders of their own.
    may_share: bool = False
    #: When a connection to it was lost that was not opened again since.
    vanished_s: float | None = None
    facts_at_s: float = float("-inf")
    #: Whether its accelerators are handed out, and by which rules they count as free.
    looks: bool = False
    idle_memory_mb: int = 300
    cooldown_s: float = 300.0
    accelerators: tuple[AcceleratorSeen, ...] = ()
    #: When the newest sample behind them was taken, by our clock. None before the first.
    accelerators_at_s: float | None = None
    notes: tuple[str, ...] = ()
    is_probing: bool = False
    #: The last word left something unclear that was clear before: the next sample may settle it.
    needs_second_sample: bool = False
    #: When it was asked for them last, and whether it has been since it greeted us.
    asked_at_s: float = float("-inf")
    must_probe: bool = True
    #: When each accelerator was last seen in the hands of somebody else, and when an attempt gave it back.
    foreign_s: dict[str, float] = field(default_factory=dict)
    given_back_s: dict[str, float] = field(default_factory=dict)
    attempts: dict[AttemptId, AttemptSeen] = field(default_factory=dict)
    watching: frozenset[AttemptId] = frozenset()
    #: Attempts that it still runs, and that are over by our journal (`strays`).
    strays: dict[AttemptId, AttemptSeen] = field(default_factory=dict)
    #: The epoch that it obeys over the present connection; 0 while we only look.
    epoch: int = 0
    #: While the tab is being taken over.
    strangers: dict[AttemptId, Stranger] = field(default_factory=dict)

    @property
    def names(self) -> tuple[HostName, ...]:
        """All of the machine, its own first."""
        return (self.name, *self.second_names)


class Rest(NamedTuple):
    """What was looked at when a row of an ended experiment was found to show all that it should."""

    row: Row
    experiment: Experiment
    summaries: Mapping[str, MetricSummary] | None


@dataclass(slots=True, kw_only=True)
class World:
    """The one argument of `reconcile`. Changed only by `absorb` and by applying events to its state."""

    state: State
    templates: Mapping[str, Template]
    limits: Limits
    hosts: dict[HostName, HostView]
    identity: Identity = field(default_factory=Identity)
    #: Its name among several that one daemon serves; "" for one alone.
    project: str = ""
    others: Others = field(default_factory=Others)
    #: What the others are told that we wait for.
    bids: tuple[Bid, ...] = ()
    #: Hosts on which something lies free because it is another project's turn, and since when.
    left_for_others_s: dict[HostName, float] = field(default_factory=dict)
    redactor: Redactor = field(default_factory=Redactor)
    #: Whether we have sent a claim to the tab, and whether an answer has shown it there (`ownership`).
    has_claimed: bool = False
    has_owned: bool = False
    #: The newest claim that was seen, as (epoch, stamp), and how many answers in a row were older.
    stamp_seen: tuple[int, int] = (0, 0)
    old_answers: int = 0
    #: Attempts that hosts keep and that our journal should know, and whether one of them was not acted on yet.
    unrecorded: dict[AttemptId, HostName] = field(default_factory=dict)
    must_doubt: bool = False
    #: The status and the attempt that rows have shown of what a former owner did, during a takeover (`settlement`).
    testimony: dict[ExperimentId, tuple[str, CellValue]] = field(default_factory=dict)
    #: Somebody brought back an older version of the spreadsheet.
    went_back: bool = False
    sheet: SheetView | None = None
    #: None where no tab of hosts is wanted.
    hosts_tab: HostsTab | None = None
    #: Likewise of runs.
    runs_tab: RunsTab | None = None
    #: Why the sheet cannot be used at the moment, and since when.
    sheet_problem: str = ""
    sheet_problem_since_s: float | None = None
    #: A write ended without an answer: nothing may be written before the next read.
    must_read: bool = True
    next_read_s: float = 0.0
    last_write_s: float = float("-inf")
    #: Our last cells were refused, as when a person protects our columns: what is certain without them goes on.
    cells_refused: bool = False
    #: The columns that a dressing has tagged, by name, and how many guarded writes in a row were refused.
    tagged: frozenset[str] = frozenset()
    guards_refused: int = 0
    #: How many dressings in a row have failed, and how many of them were refused.
    dress_failed: int = 0
    dress_refused: int = 0
    last_dress_s: float = float("-inf")
    dressed: Dress | None = None
    sheet_failures: int = 0
    #: Drafts whose id was seen beside the cells that it was made for.
    confirmed: set[ExperimentId] = field(default_factory=set)
    #: What a row that was edited later says now, by its id: by this it is recognised when its id is lost.
    prints: dict[ExperimentId, str] = field(default_factory=dict)
    #: Ids that the last reads showed or that a row in them gets back. None before the first read.
    shown: set[ExperimentId] | None = None
    #: Those of them that the last read did not show, and since when.
    unshown_since_s: dict[ExperimentId, float] = field(default_factory=dict)
    #: Accepted ids that we wrote again and have not seen in their place since.
    rewritten: set[ExperimentId] = field(default_factory=set)
    #: Ids that stand beside the wrong cells (`binding`): nothing is concluded from those rows, and it is undone.
    misplaced: set[ExperimentId] = field(default_factory=set)
    #: How many writes in a row met rows that had moved: their repair does not wait for the gap between writes.
    moved_writes: int = 0
    #: Since when, and in how many reads, an open experiment's row has not been there.
    missing: dict[ExperimentId, tuple[float, int]] = field(default_factory=dict)
    #: The verdict about what a row says, and as what it was judged (`Row.judged_as`).
    judged: dict[ExperimentId, tuple[str, Accepted | Refused]] = field(default_factory=dict)
    #: Ended rows, by id, that need not be looked at again while what they were judged by is the same (`render`).
    at_rest: dict[str, Rest] = field(default_factory=dict)
    #: All the others, and for which view and version they are that.
    restless: tuple[SheetView, int, list[Row]] | None = None
    #: The code of rows that are about to be accepted: the cells it was taken for, and its hash.
    pinned: dict[ExperimentId, tuple[str, str]] = field(default_factory=dict)
    #: What a row should say instead of its ordinary message, such as why its code could not be taken.
    remarks: dict[ExperimentId, str] = field(default_factory=dict)
    #: What was given away although it was not free, in words: broken promises (`invariants`).
    misassigned: list[str] = field(default_factory=list)
    #: Launches that found an accelerator in somebody else's hands.
    beaten: set[AttemptId] = field(default_factory=set)
    #: Launches that a host will not carry out, and why: their attempts are revoked there and given back.
    refusals: dict[AttemptId, str] = field(default_factory=dict)
    #: What many hosts that vanished at once point to, in words, and which they are (`reachability`).
    outage: str = ""
    outage_hosts: set[HostName] = field(default_factory=set)
    #: The sentence of placement for each waiting experiment, and the data that it says.
    waiting: Mapping[ExperimentId, str] = field(default_factory=dict)
    whys: Mapping[ExperimentId, Why] = field(default_factory=dict)
    #: The hosts whose accelerators somebody waits for.
    wanted: frozenset[HostName] = frozenset()
    #: Launches that a host refused for a reason of its own: that speaks against it, and what it said.
    host_faults: dict[AttemptId, str] = field(default_factory=dict)
    metrics: dict[AttemptId, dict[str, MetricSummary]] = field(default_factory=dict)
    #: Up to which byte of its metrics file an attempt's summaries reach; and whose changed since they were last kept.
    metrics_offset: dict[AttemptId, int] = field(default_factory=dict)
    #: Likewise for the search of its log. Not kept: a log can be searched again.
    scan_offset: dict[AttemptId, int] = field(default_factory=dict)
    metrics_changed: set[AttemptId] = field(default_factory=set)
    stop_requests: dict[ExperimentId, int] = field(default_factory=dict)
    #: Of each experiment the first one that was not answered yet.
    begin_requests: dict[ExperimentId, BeginRequested] = field(default_factory=dict)
    #: How many of the edits of a running attempt its host has said that it has. Asked again by each daemon.
    handed_over: dict[AttemptId, int] = field(default_factory=dict)
    #: What was asked of hosts on the command line and is not decided yet, by the number of the request.
    host_requests: dict[int, HostRequested] = field(default_factory=dict)
    in_flight: dict[EffectKey, Effect] = field(default_factory=dict)
    hold_until_s: dict[EffectKey, float] = field(default_factory=dict)
    #: When attempts started and ended by our monotonic clock, as far as their hosts' ages tell.
    started_at_s: dict[AttemptId, float] = field(default_factory=dict)
    ended_at_s: dict[AttemptId, float] = field(default_factory=dict)
    #: Set when a host answered that a newer daemon serves it, or when an invariant broke: show, but do nothing more.
    halted: str = ""
    #: Grows with every event and observation that may change what a row shows, but for a grid: that makes a new view.
    version: int = 0

    def seen(self, attempt: Attempt) -> AttemptSeen | None:
        """The last word of the attempt's host about it."""
        host = self.hosts.get(attempt.host)
        return None if host is None or self.is_on_another(attempt) else host.attempts.get(attempt.id)

    def is_on_another(self, attempt: Attempt) -> bool:
        """Whether the host's name means another machine than the one that the attempt was given to."""
        host = self.hosts.get(attempt.host)
        facts = None if host is None else host.facts
        return bool(attempt.machine and facts is not None and facts.machine_id not in ("", attempt.machine))

    def is_over(self, attempt: Attempt) -> bool:
        seen = self.seen(attempt)
        return seen is not None and seen.state in OVER


#: States of an attempt that cannot change any more: each is a termination proof.
OVER = frozenset({Seen.EXITED, Seen.LOST, Seen.REVOKED, Seen.REBOOTED})
