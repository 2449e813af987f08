"""What is asked on the command line: `stop`, `restart` and `rerun` of experiments, and what people say of hosts.

Each request is answered once. A word that begins something is on record as obeyed together with what it began, so that
a daemon which died before it answered does not begin it again. `rerun` of a row begins what the row says now, like the
word in its action cell, so `intake` decides it with the row; everything else needs no sheet.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from sheetd.core import events as ev
from sheetd.core.actions import COMMAND_LINE, obey, stop_all
from sheetd.core.model import Afterwards, Experiment, ExperimentId, HostName, Phase, group_of
from sheetd.core.observation import BeginRequested, HostRequested, StopRequested
from sheetd.core.quarantine import BY_MAX, HOST_ACTIONS
from sheetd.core.text import clean_line
from sheetd.core.validation import Refused
from sheetd.core.world import World

Heard: TypeAlias = HostRequested | StopRequested | BeginRequested
BEGIN_WORDS = ("restart", "rerun")


def heard(world: World, action: str, subject: str, by: str, number: int, wall_s: float = 0.0) -> Heard | str:
    """A request of the command line as an observation; or what to answer at once."""
    if action == "stop" or action in BEGIN_WORDS:
        id_ = ExperimentId(subject)
        if id_ not in world.state.experiments and not (action == "rerun" and id_ in world.state.drafts):
            return f"there is no experiment {subject}"
        if action == "stop":
            return StopRequested(experiment=id_, request=number)
        return BeginRequested(experiment=id_, action=action, request=number, wall_s=wall_s)
    if action not in HOST_ACTIONS:
        return f"{action} is not understood"
    if subject not in world.hosts:
        return f"there is no host {subject} in the configuration that the daemon goes by: see `sheetd status`"
    return HostRequested(host=HostName(subject), action=action, by=clean_line(by, BY_MAX) or "somebody", request=number)


def decide_requests(world: World) -> Iterator[ev.Event]:
    """What needs no sheet."""
    for id_ in world.stop_requests:
        experiment = world.state.experiments.get(id_)
        if experiment is not None:
            why = "stopped from the command line"
            yield from stop_all(world.state, experiment, why, Afterwards.END, by_person=True)
    for id_ in world.begin_requests:
        asked = asked_of(world, id_)
        if asked is not None and not _is_for_the_row(asked):
            yield from _begin(world, world.state.experiments[id_], asked)


def asked_of(world: World, id_: ExperimentId) -> BeginRequested | None:
    """What is to be begun and was not yet. Nothing while it is to be stopped first, or instead."""
    asked = world.begin_requests.get(id_)
    if asked is None or id_ in world.stop_requests or _is_obeyed(world, asked):
        return None
    return asked


def rerun_asked_of(world: World, id_: ExperimentId) -> bool:
    """Whether the row, be it accepted or not, is to be executed as if `rerun` stood in its action cell."""
    asked = asked_of(world, id_)
    return asked is not None and _is_for_the_row(asked)


def reruns_asked(world: World) -> Iterator[ExperimentId]:
    """Those rows."""
    return (id_ for id_ in world.begin_requests if rerun_asked_of(world, id_))


def obeyed(asked: BeginRequested) -> ev.Event:
    return ev.RequestObeyed(
        experiment=asked.experiment, action=asked.action, request=asked.request, wall_s=asked.wall_s
    )


def answer_to_begin(world: World, asked: BeginRequested) -> str:
    """What to tell who asked; empty as long as it is not settled."""
    id_ = asked.experiment
    if _is_obeyed(world, asked):
        return f"{id_} {world.state.experiments[id_].phase.value}"
    if not world.state.knows(id_):
        return f"cannot {asked.action} {id_}: its row went away before it was accepted"
    if world.stop_requests.get(asked.experiment, 0) > asked.request:
        return f"cannot {asked.action} {id_}: somebody asked later for it to be stopped"
    view = world.sheet
    if not _is_for_the_row(asked) or view is None or view.layout.problems or world.must_read:
        return ""
    row = view.by_id.get(id_)
    if row is None:
        return f"cannot rerun {id_}: its row is not in the sheet, and rerun begins what a row says now"
    judged_as, verdict = world.judged.get(id_, ("", None))
    if judged_as == row.judged_as and isinstance(verdict, Refused):
        return f"cannot rerun {id_}: {'; '.join(verdict.problems)}"
    return ""


def _is_obeyed(world: World, asked: BeginRequested) -> bool:
    return world.state.obeyed_requests.get(asked.experiment) == (asked.request, asked.wall_s)


def _is_for_the_row(asked: BeginRequested) -> bool:
    """One run of a row that stands for several has no cells of its own: it is begun as it was."""
    return asked.action == "rerun" and group_of(asked.experiment) is None


def _begin(world: World, experiment: Experiment, asked: BeginRequested) -> Iterator[ev.Event]:
    if asked.action == "rerun" and experiment.phase is Phase.ENDED:
        yield obeyed(asked)
        yield ev.ExperimentReopened(experiment=experiment.id, resume=False)
        return
    for event in obey(world.state, experiment, asked.action, COMMAND_LINE):
        yield obeyed(asked) if isinstance(event, ev.ActionConsumed) else event
