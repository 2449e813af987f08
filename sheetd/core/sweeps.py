"""A row that stands for several runs: the group is the experiment of the row, and each run is one of its members.

Members have ids like `k7f2qm-3`, which no cell can name: what a sheet calls so is no id of ours (`rows`). The group is
never launched; it waits while a member is open and has ended when all have. So everything that is said of a row
(its id, its action, its absence, its edits) is said of the group, and everything that is done on hosts, of members.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from sheetd.core.model import Experiment, ExperimentId, Phase, Spec, SweepMember, row_of
from sheetd.core.sweep_cells import REPEAT_VARIABLE, Axis, sameness


@dataclass(slots=True)
class Sweep:
    """The members of one group."""

    #: Those that its row asks for, in its order. Others were left out when the row was edited.
    members: tuple[ExperimentId, ...] = ()
    #: Every one that there ever was.
    known: dict[ExperimentId, None] = field(default_factory=dict)
    open: set[ExperimentId] = field(default_factory=set)

    @property
    def phase(self) -> Phase:
        """Of the group."""
        return Phase.WAITING if self.open else Phase.ENDED

    def note(self, member: Experiment) -> None:
        """Something happened to a member."""
        if member.id not in self.known:
            self.known[member.id] = None
            self.members = (*self.members, member.id)
        if member.phase is Phase.ENDED:
            self.open.discard(member.id)
        else:
            self.open.add(member.id)


def group_spec(spec: Spec, axes: Iterable[Axis]) -> Spec:
    """What all members have in common. Nothing that could be executed."""
    varying = {axis.name for axis in axes}
    params = {name: value for name, value in spec.params.items() if name not in varying}
    env = {name: value for name, value in spec.env.items() if name != REPEAT_VARIABLE}
    return replace(spec, argv=(), resume_argv=(), params=params, env=env)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expansion:
    """What a row makes of its group: the members in order, which of them are new, and which it no longer asks for."""

    members: tuple[ExperimentId, ...]
    begun: tuple[SweepMember, ...]
    kept: tuple[SweepMember, ...]
    left_out: tuple[ExperimentId, ...]


def expand(group: ExperimentId, sweep: Sweep | None, known: Iterable[Experiment], specs: Iterable[Spec]) -> Expansion:
    """Which of the wanted runs exist already, by what they execute, and what the others will be called."""
    by_sameness = {sameness(member.spec): member.id for member in known}
    last = max((int(id_.rpartition("-")[2]) for id_ in (() if sweep is None else sweep.known)), default=0)
    order, begun, kept = [], [], []
    for spec in specs:
        id_ = by_sameness.pop(sameness(spec), None)
        if id_ is None:
            last += 1
            id_ = ExperimentId(f"{group}-{last}")
            begun.append(SweepMember(id=id_, spec=spec))
        else:
            kept.append(SweepMember(id=id_, spec=spec))
        order.append(id_)
    left_out = tuple(by_sameness.values())
    return Expansion(members=tuple(order), begun=tuple(begun), kept=tuple(kept), left_out=left_out)


def group_around(member: Experiment) -> Experiment:
    """The group of a member that another daemon started. Which others there were, nobody says."""
    spec = replace(member.spec, argv=(), resume_argv=())
    return Experiment(id=row_of(member.id), spec=spec, accepted_wall_s=member.accepted_wall_s)
