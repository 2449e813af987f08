"""Several projects over the same hosts: what one is told of the others before it decides.

A project is one tab with a world and a journal of its own. It sees of the others what they hold and what they wait for,
as it was when its decision began; `sheetd.arbiter` sees to it that no two decide at once. Nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from sheetd.core.model import AttemptId, Experiment, HostName, SlotName
from sheetd.core.why import Need


class Holding(NamedTuple):
    """What an attempt keeps from every other project: its slots, and its accelerators as a whole.

    An accelerator is shared within one project only: what another one would still allow is its own affair.
    """

    project: str
    attempt: AttemptId
    host: HostName
    slots: tuple[SlotName, ...]
    accelerators: frozenset[str]


class Bid(NamedTuple):
    """An experiment that waits, and the hosts on which nothing but what others hold is in its way."""

    #: Its `Spec.project` names whose it is.
    experiment: Experiment
    need: Need
    hosts: frozenset[HostName]
    #: It has waited for so long that slots are kept for it.
    is_overdue: bool = False

    @property
    def project(self) -> str:
        return self.experiment.spec.project


@dataclass(frozen=True, slots=True, kw_only=True)
class Others:
    """The other projects. Without any, nothing of it is ever looked at."""

    holdings: tuple[Holding, ...] = ()
    bids: tuple[Bid, ...] = ()
    #: Which of all gifts was the latest of each project, "" being our own: it decides where they have the same.
    latest: Mapping[str, int] = field(default_factory=dict)
    #: Projects whose journals have not been read yet: nobody knows what they hold, so nothing is handed out.
    unread: tuple[str, ...] = ()
