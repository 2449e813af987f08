"""The state machine of an experiment, as a table: the only way to change phase.

A missing entry raises and changes nothing. Where it is weak: a phase says nothing about what we can see at the moment;
an unreachable host leaves a RUNNING experiment RUNNING, and the row says so in another word.

    WAITING ──launch intended──► LAUNCHING ──started──► RUNNING
       ▲  │                        │    │                 │
       │  └──withdrawn──► ENDED ◄──┘    └─stop intended─► STOPPING ◄─stop intended─┘
       │                   │ ▲   finished, from any live phase
       └───── reopened ────┘ │
       └───── given back (the attempt ended, another follows), from any live phase

What another daemon started is adopted, from whatever phase it has in our books, into LAUNCHING: its host says the rest.
A stop that is intended while STOPPING changes what follows it: a person's stop overrules a restart that is under way.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from sheetd.core.model import Phase
from sheetd.errors import IllegalTransition


class Move(str, Enum):
    """What can happen to an experiment."""

    LAUNCH_INTENDED = "launch intended"
    STARTED = "started"
    STOP_INTENDED = "stop intended"
    GIVEN_BACK = "given back"
    FINISHED = "finished"
    WITHDRAWN = "withdrawn"
    REOPENED = "reopened"
    ADOPTED = "adopted"


MOVES: Mapping[tuple[Phase, Move], Phase] = {
    (Phase.WAITING, Move.LAUNCH_INTENDED): Phase.LAUNCHING,
    (Phase.WAITING, Move.WITHDRAWN): Phase.ENDED,
    (Phase.LAUNCHING, Move.STARTED): Phase.RUNNING,
    (Phase.LAUNCHING, Move.STOP_INTENDED): Phase.STOPPING,
    (Phase.LAUNCHING, Move.GIVEN_BACK): Phase.WAITING,
    (Phase.LAUNCHING, Move.FINISHED): Phase.ENDED,
    (Phase.RUNNING, Move.STOP_INTENDED): Phase.STOPPING,
    (Phase.RUNNING, Move.GIVEN_BACK): Phase.WAITING,
    (Phase.RUNNING, Move.FINISHED): Phase.ENDED,
    (Phase.STOPPING, Move.STOP_INTENDED): Phase.STOPPING,
    (Phase.STOPPING, Move.GIVEN_BACK): Phase.WAITING,
    (Phase.STOPPING, Move.FINISHED): Phase.ENDED,
    (Phase.ENDED, Move.REOPENED): Phase.WAITING,
    **{(phase, Move.ADOPTED): Phase.LAUNCHING for phase in Phase},
}


def after(phase: Phase, move: Move) -> Phase:
    """The phase that follows. Raises IllegalTransition where the table has no entry."""
    try:
        return MOVES[phase, move]
    except KeyError:
        raise IllegalTransition(f"an experiment that is {phase.value} cannot be {move.value}") from None
