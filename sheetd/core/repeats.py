"""Whether what a new row asks for was done before: the same template, code and parameters.

People fill down, paste and type again what ran last week. That must not cost a GPU twice by accident, and must be easy
on purpose: the row waits and names the other, and `run` or `rerun` in its action cell begins it all the same. What
failed or was stopped holds nobody back. Nor do `where`, `gpus` and `priority` make it something else: they say how it
is executed, and not what. A template of experiments that are done again and again says `allow_repeats = true`.
"""

from __future__ import annotations

from collections.abc import Iterable

from sheetd.core.dependencies import is_done
from sheetd.core.model import Afterwards, Experiment, ExperimentId, Phase, Spec, row_of
from sheetd.core.state import State
from sheetd.core.work import work_of
from sheetd.core.world import World

_VERBS = {Phase.ENDED: "already ran", Phase.WAITING: "already waits"}


def repeated(state: State, specs: Iterable[Spec]) -> ExperimentId | None:
    """The experiment that does what is wanted; of several that are wanted, the first one's. None if any is new."""
    found: ExperimentId | None = None
    for spec in specs:
        twin = _twin(state, spec)
        if twin is None:
            return None
        found = found or twin
    return found


def _twin(state: State, spec: Spec) -> ExperimentId | None:
    """The oldest that holds it back. An id stays filed under what its row said once: so it is compared again."""
    work = work_of(spec)
    for id_ in state.by_work.get(work, ()):
        if holds_back(state, id_) and id_ not in state.sweeps and work_of(state.experiments[id_].spec) == work:
            return id_
    return None


def holds_back(state: State, id_: ExperimentId) -> bool:
    """Whether it has succeeded, or is on its way to; what is paused may still go on."""
    experiment = state.experiments[id_]
    if experiment.phase is Phase.ENDED:
        return is_done(experiment) or experiment.is_paused
    return experiment.phase is not Phase.STOPPING or experiment.afterwards is not Afterwards.END


def already_done(world: World, id_: ExperimentId, choose: str) -> str:
    """For the row that is held back, with the other's row as it stands now."""
    experiment = world.state.experiments[id_]
    row = None if world.sheet is None else world.sheet.by_id.get(row_of(id_))
    where = f"as {id_}, whose row is gone" if row is None else f"in row {row.index + 1} ({id_})"
    return f"{_verb(experiment)} {where}; {choose} to run it again"


def _verb(experiment: Experiment) -> str:
    if experiment.is_paused:
        return "is paused"
    return _VERBS.get(experiment.phase, "already runs")
