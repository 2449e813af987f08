"""Rows that wait for others: what `after` names, and when a row may begin.

Parents are named by id, by what stands in a column "name", or as `previous`, the row above. They are looked up once,
when the row is accepted; from then on they are ids, so that sorting and renaming change nothing. A parent is done when
it has succeeded. One that failed or was stopped holds its children back until somebody runs it again: nothing here ends
an experiment. What parents wrote lies on the hosts where they ended, so their children run there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from sheetd.core.model import Experiment, ExperimentId, HostName, Phase, Reason, row_of
from sheetd.core.rows import Row, SheetView, canonical
from sheetd.core.state import State
from sheetd.core.world import World

PREVIOUS = "previous"
#: So many parents are told of in a sentence.
TOLD = 3


#: Who waits for whom.
Waits: TypeAlias = Mapping[ExperimentId, tuple[ExperimentId, ...]]
NONE: Waits = MappingProxyType({})


class Parents(NamedTuple):
    """Who the parents of a row are, or why that cannot be said, as a sentence for the row."""

    ids: tuple[ExperimentId, ...] = ()
    problem: str = ""


def parents_of(world: World, view: SheetView, row: Row, named: tuple[str, ...], fresh: Waits = NONE) -> Parents:
    """Look up what a row's `after` names, as the sheet stands. `fresh` are those that are about to be accepted."""
    ids: dict[ExperimentId, None] = {}
    for word in named:
        found, problem = _look_up(world, view, row, word)
        if problem:
            return Parents(problem=problem)
        ids.update(dict.fromkeys(found))
    own = ExperimentId(row.id)
    if own in map(row_of, ids):
        return Parents(problem="after names its own row: name another one, or empty it")
    circle = _way_to(world, own, tuple(ids), fresh)
    if circle:
        return Parents(problem=f"after makes a circle: {' waits for '.join([own, *circle])}: change one of them")
    return Parents(tuple(ids))


def _look_up(world: World, view: SheetView, row: Row, word: str) -> tuple[list[ExperimentId], str]:
    if canonical(word) == PREVIOUS:
        above = next((one for one in reversed(view.rows[: row.index - 1]) if not one.is_blank), None)
        return _of_rows(world, view, [above] if above is not None else [], "after is previous, and no row is above it")
    if (id_ := ExperimentId(word)) in view.by_id or world.state.knows(id_):
        return ([id_], "") if world.state.knows(id_) else ([], f"after names {word}, which is not an id of ours yet")
    rows = names_of(view).get(canonical(word), [])
    if len(rows) > 1:
        return [], f'after names "{word[:60]}", and {len(rows)} rows are called so: name one by its id'
    if not rows and len(several := word.split()) > 1:
        found = [ExperimentId(one) for one in several if world.state.knows(one)]
        if len(found) == len(several):
            return found, ""
    nobody = f'after names "{word[:60]}", and no row has this id, or this text in a column "name"'
    return _of_rows(world, view, rows, f"{nobody}: type one that has, or previous")


def _of_rows(world: World, view: SheetView, rows: list[Row], nobody: str) -> tuple[list[ExperimentId], str]:
    if not rows:
        return [], nobody
    id_ = ExperimentId(rows[0].id)
    if not world.state.knows(id_) or view.by_id.get(id_) is not rows[0]:
        return [], f"waits until row {rows[0].index + 1}, which after names, has an id of its own"
    return [id_], ""


def names_of(view: SheetView) -> dict[str, list[Row]]:
    """The rows by what stands in the column "name", if there is one. Made once for a view."""
    if view.names is None:
        view.names = {}
        position = view.layout.position("note:name")
        if position is None:
            position = view.layout.position("name")
        for row in view.rows if position is not None else ():
            if not row.is_blank and (name := canonical(row.cell(position).shown)):
                view.names.setdefault(name, []).append(row)
    return view.names


def _way_to(world: World, target: ExperimentId, start: tuple[ExperimentId, ...], fresh: Waits) -> list[ExperimentId]:
    """How the target is reached from these by `after`, through experiments that are not done; empty if it is not."""
    ways = [[id_] for id_ in start]
    seen = set(start)
    while ways:
        way = ways.pop()
        for parent in fresh.get(way[-1], _waits_for(world, way[-1])):
            if row_of(parent) == target:
                return [*way, parent]
            if parent not in seen:
                seen.add(parent)
                ways.append([*way, parent])
    return []


def _waits_for(world: World, id_: ExperimentId) -> tuple[ExperimentId, ...]:
    """Those after which it runs, by what its row said last; and its runs, of which some may wait for others yet."""
    experiment = world.state.experiments.get(id_)
    if experiment is None or _is_done(world, experiment):
        return ()
    parts = [world.state.experiments[part] for part in ran_as(world.state, id_)]
    named = [experiment.spec.after, *(part.spec.after for part in parts if part.phase is not Phase.ENDED)]
    return tuple(dict.fromkeys(parent for after in named for parent in after))


def is_done(experiment: Experiment) -> bool:
    attempt = experiment.attempt
    return experiment.phase is Phase.ENDED and attempt is not None and attempt.reason is Reason.SUCCEEDED


def ran_as(state: State, id_: ExperimentId) -> tuple[ExperimentId, ...]:
    """What is executed for it: itself, or the runs that its row stands for."""
    return state.sweeps[id_].members if id_ in state.sweeps else (id_,)


def _is_done(world: World, experiment: Experiment) -> bool:
    """A group is done when every run of it has succeeded."""
    return all(is_done(world.state.experiments[id_]) for id_ in ran_as(world.state, experiment.id))


def what_it_waits_for(world: World, experiment: Experiment) -> str:
    """The parents that are not done, and what a person can do about those that will not be, as a sentence."""
    left = list(_left(world, experiment))
    if not left:
        return ""
    more = f", and {len(left) - TOLD} more" if len(left) > TOLD else ""
    return f"waits for {', '.join(left[:TOLD])}{more}"


def _left(world: World, experiment: Experiment) -> Iterator[str]:
    for id_ in experiment.spec.after:
        parent = world.state.experiments.get(id_)
        if parent is None:
            yield f"{id_}, {'which is a draft' if id_ in world.state.drafts else 'whose row is gone'}"
        elif _is_done(world, parent):
            continue
        elif any(world.state.experiments[part].is_paused for part in ran_as(world.state, id_)):
            yield f"{id_}, which is paused (choose resume there)"
        elif parent.phase is Phase.ENDED:
            yield f"{id_}, which did not succeed (choose rerun there, or stop here)"
        else:
            yield f"{id_} ({parent.phase.value})"


def places_for(world: World, experiment: Experiment) -> frozenset[HostName]:
    """The hosts on which something that its parents wrote lies. None where it has no parents."""
    parents = (world.state.experiments.get(id_) for row in experiment.spec.after for id_ in ran_as(world.state, row))
    attempts = (parent.attempt for parent in parents if parent is not None)
    return frozenset(attempt.host for attempt in attempts if attempt is not None)
