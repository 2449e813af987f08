"""From rows to experiments: who gets an id, what is accepted, which action is obeyed, what a vanished row means.

The order that keeps a row from being lost or doubled: the id is journalled for the row's cells, then written, then seen
beside those very cells, and only then is the row accepted. Whatever dies in between, the next look finishes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sheetd.core import events as ev
from sheetd.core.acceptance import Accepted, Refused, judge
from sheetd.core.effect import PinCode
from sheetd.core.grid import Replacement
from sheetd.core.model import Afterwards, Experiment, ExperimentId, Phase
from sheetd.core.plan import Chance, Now
from sheetd.core.rows import Row, SheetView
from sheetd.core.world import World

#: A read in which more rows than this, and more than this share, are suddenly gone, is not believed at once.
SHRINK_ROWS, SHRINK_SHARE, SHRINK_READS = 20, 0.3, 5


def decide_rows(world: World, now: Now, chance: Chance) -> Iterator[ev.Event]:
    """The events that the sheet calls for. Nothing at all while it cannot be read, or its header is unclear."""
    view = world.sheet
    if view is None or view.layout.problems or world.must_read:
        return
    yield from _new_ids(world, view, chance)
    yield from _acceptances(world, view, now)
    yield from _actions(world, view)
    yield from _absences(world, view, now)


# --- ids ---------------------------------------------------------------------------------------------------------


def nameless(world: World, view: SheetView) -> list[Row]:
    """Typed rows that have no id of their own: none, a copied one, or one that we never gave out."""
    strangers = [row for row in view.by_id.values() if not world.state.knows(row.id)]
    return [row for row in (*view.unnamed, *view.copies, *strangers) if not row.is_blank]


def homecomers(world: World, view: SheetView, rows: Sequence[Row]) -> dict[int, ExperimentId]:
    """By row position, the known id that each nameless row should carry: its cells are those the id was given for."""
    taken: set[ExperimentId] = set()
    chosen: dict[int, ExperimentId] = {}
    for row in rows:
        for id_ in world.state.by_fingerprint.get(row.fingerprint, ()):
            if id_ not in taken and (id_ not in view.by_id or is_misplaced(world, view, id_)):
                taken.add(id_)
                chosen[row.index] = id_
                break
    return chosen


def is_misplaced(world: World, view: SheetView, id_: ExperimentId) -> bool:
    """Whether a fresh id landed beside other cells than it was made for, because rows moved under the write."""
    draft = world.state.drafts.get(id_)
    row = view.by_id.get(id_)
    return draft is not None and row is not None and id_ not in world.confirmed and row.fingerprint != draft.fingerprint


def misplaced_ids(world: World, view: SheetView, column: int) -> Iterator[Replacement]:
    """Take each misplaced id back, by content: what it overwrote is restored, or the cell is emptied."""
    for id_ in world.state.drafts:
        if is_misplaced(world, view, id_):
            victim = view.by_id[id_]
            lost = (x for x in world.state.by_fingerprint.get(victim.fingerprint, ()) if x not in view.by_id)
            yield Replacement(column=column, old=id_, new=next(lost, ""))


def _new_ids(world: World, view: SheetView, chance: Chance) -> Iterator[ev.Event]:
    rows = nameless(world, view)
    known = homecomers(world, view, rows)
    for row in rows[: world.limits.rows_max]:
        if row.index in known or not _is_settled(world, view, row):
            continue
        copied = ExperimentId(row.id) if row.id and world.state.knows(row.id) else None
        id_ = ExperimentId(chance.experiment_id())
        yield ev.IdAssigned(experiment=id_, fingerprint=row.fingerprint, copied_from=copied)


def _is_settled(world: World, view: SheetView, row: Row) -> bool:
    return view.unchanged_for_s(row) >= world.limits.settle_s


# --- acceptance --------------------------------------------------------------------------------------------------


def judgement(world: World, view: SheetView, id_: ExperimentId, row: Row) -> Accepted | Refused:
    """What the row asks for, remembered for as long as it says the same."""
    known = world.judged.get(id_)
    if known is None or known[0] != row.fingerprint:
        known = (row.fingerprint, judge(row, view.layout, world.templates))
        world.judged[id_] = known
    return known[1]


def held_back(world: World, id_: ExperimentId, row: Row) -> str:
    """Why a valid, settled draft is not accepted by itself, as a sentence for the row; empty if it is."""
    if row.action == "run":
        return ""
    draft = world.state.drafts[id_]
    if draft.copied_from is not None and row.fingerprint == world.state.print_of(draft.copied_from):
        return f"a copy of {draft.copied_from}: change a value, or choose run in action to do the same again"
    if world.limits.explicit_only:
        return "choose run in action to start it"
    return ""


def _candidates(world: World, view: SheetView) -> Iterator[tuple[ExperimentId, Row, Accepted]]:
    """Rows that may be accepted now, whatever their code."""
    for id_ in world.state.drafts:
        row = view.by_id.get(id_)
        if row is None or id_ not in world.confirmed or row.is_blank or not _is_settled(world, view, row):
            continue
        verdict = judgement(world, view, id_, row)
        if isinstance(verdict, Accepted) and not held_back(world, id_, row):
            yield id_, row, verdict
    for id_ in wanting_rerun(world, view):
        row = view.by_id[id_]
        verdict = judgement(world, view, id_, row)
        if isinstance(verdict, Accepted):
            yield id_, row, verdict


def wanting_rerun(world: World, view: SheetView) -> Iterator[ExperimentId]:
    """Ended experiments whose row asks for a fresh start that was not given yet."""
    for row in view.by_id.values():
        if row.action == "rerun":
            experiment = world.state.experiments.get(ExperimentId(row.id))
            if experiment is not None and experiment.phase is Phase.ENDED and not _is_consumed(world, row):
                yield experiment.id


def plan_pins(world: World, view: SheetView) -> Iterator[PinCode]:
    """A snapshot of the code for each row that is about to be accepted and needs one."""
    for id_, row, verdict in _candidates(world, view):
        pinned = world.pinned.get(id_)
        if verdict.code is not None and (pinned is None or pinned.effect.fingerprint != row.fingerprint):
            yield PinCode(experiment=id_, spec=verdict.spec, code=verdict.code, fingerprint=row.fingerprint)


def _acceptances(world: World, view: SheetView, now: Now) -> Iterator[ev.Event]:
    for id_, row, verdict in _candidates(world, view):
        spec = verdict.spec
        if verdict.code is not None:
            pinned = world.pinned.get(id_)
            if pinned is None or pinned.effect.fingerprint != row.fingerprint:
                continue
            spec = pinned.spec
        if id_ in world.state.experiments:
            yield ev.ActionConsumed(experiment=id_, action="rerun")
            yield ev.ExperimentReopened(experiment=id_, resume=False, spec=spec, fingerprint=row.fingerprint)
            continue
        if row.action == "run":
            yield ev.ActionConsumed(experiment=id_, action="run")
        yield ev.RowAccepted(experiment=id_, spec=spec, fingerprint=row.fingerprint, wall_s=now.wall_s)


# --- actions -----------------------------------------------------------------------------------------------------


def _is_consumed(world: World, row: Row) -> bool:
    return world.state.consumed.get(ExperimentId(row.id)) == row.action


def _actions(world: World, view: SheetView) -> Iterator[ev.Event]:
    for id_, word in world.state.consumed.items():
        row = view.by_id.get(id_)
        if row is not None and row.action != word:
            yield ev.ActionCleared(experiment=id_)
    for row in view.by_id.values():
        if not row.action:
            continue
        experiment = world.state.experiments.get(ExperimentId(row.id))
        if experiment is not None and not _is_consumed(world, row) and row.action in _OBEY:
            yield from _OBEY[row.action](experiment)
    for id_ in world.stop_requests:
        experiment = world.state.experiments.get(id_)
        if experiment is not None:
            yield from stop(experiment, "stopped from the command line", Afterwards.END)


def stop(experiment: Experiment, why: str, then: Afterwards) -> Iterator[ev.Event]:
    """The event that stops an experiment, wherever it is. None when there is nothing to stop."""
    if experiment.phase is Phase.WAITING:
        if then is Afterwards.END:
            yield ev.ExperimentWithdrawn(experiment=experiment.id, why=why)
    elif experiment.phase in (Phase.LAUNCHING, Phase.RUNNING) and experiment.attempt is not None:
        yield ev.StopIntended(attempt=experiment.attempt.id, why=why, then=then)


def _consume(experiment: Experiment, action: str) -> ev.Event:
    return ev.ActionConsumed(experiment=experiment.id, action=action)


def _obey_stop(experiment: Experiment) -> Iterator[ev.Event]:
    yield _consume(experiment, "stop")
    yield from stop(experiment, "stopped by its action cell", Afterwards.END)


def _obey_restart(experiment: Experiment) -> Iterator[ev.Event]:
    yield _consume(experiment, "restart")
    if experiment.phase is Phase.ENDED:
        yield ev.ExperimentReopened(experiment=experiment.id, resume=True)
    else:
        yield from stop(experiment, "restarted by its action cell", Afterwards.RESTART)


def _obey_run(experiment: Experiment) -> Iterator[ev.Event]:
    yield _consume(experiment, "run")
    if experiment.phase is Phase.ENDED:
        yield ev.ExperimentReopened(experiment=experiment.id, resume=True)


def _obey_rerun(experiment: Experiment) -> Iterator[ev.Event]:
    """Not consumed before the fresh start is recorded (`_acceptances`), so a crash in between forgets nothing."""
    if experiment.phase is Phase.WAITING:
        yield ev.ExperimentWithdrawn(experiment=experiment.id, why="its action cell asks for a fresh start")
    else:
        yield from stop(experiment, "its action cell asks for a fresh start", Afterwards.RERUN)


_OBEY = {"run": _obey_run, "stop": _obey_stop, "restart": _obey_restart, "rerun": _obey_rerun}


# --- vanished rows -----------------------------------------------------------------------------------------------


def _absences(world: World, view: SheetView, now: Now) -> Iterator[ev.Event]:
    limits, known = world.limits, len(view.by_id) + len(world.missing)
    shrunk = len(world.missing) > SHRINK_ROWS and len(world.missing) > SHRINK_SHARE * known
    reads_needed = SHRINK_READS if shrunk else 2
    coming_home = set(homecomers(world, view, nameless(world, view)).values())
    for id_, (since_s, reads) in world.missing.items():
        if reads < reads_needed or now.s - since_s < limits.poll_s:
            continue
        if id_ in world.state.drafts:
            if id_ not in coming_home:
                yield ev.IdWithdrawn(experiment=id_)
            continue
        experiment = world.state.experiments[id_]
        if experiment.phase is Phase.ENDED:
            continue
        if experiment.missing_since_s is None:
            yield ev.RowVanished(experiment=id_)
        elif now.s - experiment.missing_since_s >= limits.deleted_row_grace_s:
            yield from stop(experiment, "its row was deleted", Afterwards.END)
    for id_ in world.state.open:
        experiment = world.state.experiments[id_]
        if experiment.missing_since_s is not None and id_ in view.by_id:
            yield ev.RowReturned(experiment=id_)
