"""Where a row becomes an experiment: who gets an id, what is accepted, which action is obeyed, what became of a row.

The order that keeps a row from being lost or doubled: the id is journalled for the row's cells, then written, then seen
beside those very cells, and only then is the row accepted. Whatever dies in between, the next look finishes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sheetd.core import events as ev
from sheetd.core.absences import absences
from sheetd.core.actions import CELL, COMMAND_LINE, obey, reopened, stop
from sheetd.core.binding import bind, nameless, original_of
from sheetd.core.colours import ACTIONS
from sheetd.core.dependencies import Parents, is_done, parents_of
from sheetd.core.effect import PinCode
from sheetd.core.model import Afterwards, Experiment, ExperimentId, Phase, Spec
from sheetd.core.ownership import may_begin
from sheetd.core.plan import Chance, Now
from sheetd.core.repeats import already_done, holds_back, repeated
from sheetd.core.requests import asked_of, obeyed, rerun_asked_of, reruns_asked
from sheetd.core.rows import Row, SheetView
from sheetd.core.sweep_cells import members, preview
from sheetd.core.sweeps import expand, group_spec
from sheetd.core.validation import Accepted, Refused, judge, lost_column
from sheetd.core.work import work_of
from sheetd.core.world import World

#: The words by which a new row is begun, whatever was before.
BEGINNINGS = frozenset({"run", "rerun"})


def decide_rows(world: World, now: Now, chance: Chance) -> Iterator[ev.Event]:
    """The events that the sheet calls for. Nothing at all while it cannot be read, or its header is unclear."""
    view = world.sheet
    if view is None or view.layout.problems or world.must_read or not may_begin(world):
        return
    yield from _edits(world, view)
    yield from _new_ids(world, view, chance)
    yield from _cleared_actions(world, view)
    yield from _acceptances(world, view, now)
    yield from _actions(world, view)
    yield from absences(world, view, now)


def _edits(world: World, view: SheetView) -> Iterator[ev.Event]:
    """What accepted rows say that were edited, recorded: by this a row is recognised when its id is lost."""
    for id_ in {**world.prints, **world.state.edited}:
        row = view.by_id.get(id_)
        if row is None or row.is_blank or id_ in world.misplaced or id_ not in world.state.experiments:
            continue
        known = world.state.edited.get(id_, world.state.fingerprints[id_])
        if row.fingerprint != known and _is_settled(world, view, row):
            yield ev.RowEdited(experiment=id_, fingerprint=row.fingerprint)


# --- ids ---------------------------------------------------------------------------------------------------------


def _new_ids(world: World, view: SheetView, chance: Chance) -> Iterator[ev.Event]:
    rows = nameless(world, view)
    if not rows:
        return
    homes = bind(world, view).homes
    taken: set[ExperimentId] = set()
    for row in rows[: world.limits.rows_max]:
        if row.index in homes or not _is_settled(world, view, row):
            continue
        original = original_of(world, view, row)
        id_ = _fresh_id(world, chance, taken)
        yield ev.IdAssigned(experiment=id_, fingerprint=row.fingerprint, copied_from=original)
        if original is not None and row.action and world.state.consumed.get(original) == row.action:
            # The word came with the copy: nobody chose it for this row.
            yield ev.ActionConsumed(experiment=id_, action=row.action)


def _fresh_id(world: World, chance: Chance, taken: set[ExperimentId]) -> ExperimentId:
    while world.state.knows(id_ := ExperimentId(chance.experiment_id())) or id_ in taken:
        pass
    taken.add(id_)
    return id_


def _is_settled(world: World, view: SheetView, row: Row) -> bool:
    return view.unchanged_for_s(row) >= world.limits.settle_s


# --- acceptance --------------------------------------------------------------------------------------------------


def judgement(world: World, view: SheetView, id_: ExperimentId, row: Row) -> Accepted | Refused:
    """What the row asks for, remembered for as long as it says the same."""
    known = world.judged.get(id_)
    if known is None or known[0] != row.judged_as:
        known = (row.judged_as, judge(row, view.layout, world.templates))
        world.judged[id_] = known
    return known[1]


def held_back(world: World, id_: ExperimentId, row: Row, verdict: Accepted) -> str:
    """Why a valid, settled draft is not accepted by itself, as a sentence for the row; empty if it is."""
    if _is_told_to_begin(world, row):
        return ""
    if row.action and row.action not in ACTIONS:
        return f'action "{row.action[:20]}" is not known: choose {", ".join(ACTIONS)}, or empty it'
    # The word that was obeyed is not obeyed again where it stands.
    is_used_up = row.action in BEGINNINGS
    choose = "empty action, then choose run in it" if is_used_up else "choose run in action"
    draft = world.state.drafts[id_]
    if draft.copied_from is not None and row.fingerprint == draft.fingerprint:
        if not world.state.knows(draft.copied_from):
            return (
                f"ended before as {draft.copied_from}, under another daemon: change a value, or {choose} to do it again"
            )
        return f"a copy of {draft.copied_from}: change a value, or {choose} to do the same again"
    if draft.repeats is not None and _is_repeat(world, id_, row, verdict):
        return already_done(world, draft.repeats, "empty action, then choose rerun" if is_used_up else "choose rerun")
    several = f"this row makes {verdict.runs:,} runs ({preview(verdict.axes, verdict.repeat)})"
    if verdict.runs > world.limits.sweep_max:
        return f"{several}, more than sweep_max = {world.limits.sweep_max:,}: {choose} to start them all"
    if world.limits.explicit_only:
        return f"{several}: {choose} to start them" if verdict.runs > 1 else f"{choose} to start it"
    return ""


def _is_told_to_begin(world: World, row: Row) -> bool:
    """Whether a person has chosen, in the row or on the command line, that it be executed whatever was before."""
    return rerun_asked_of(world, ExperimentId(row.id)) or _is_begun_by_its_word(world, row)


def _is_begun_by_its_word(world: World, row: Row) -> bool:
    return row.action in BEGINNINGS and not _is_consumed(world, row)


def _is_repeat(world: World, id_: ExperimentId, row: Row, verdict: Accepted) -> bool:
    """Whether it was found before, for what the row says now, and still holds."""
    draft = world.state.drafts[id_]
    if draft.repeats is None or draft.repeats_as != row.fingerprint or _may_repeat(world, verdict):
        return False
    return holds_back(world.state, draft.repeats)


def _may_repeat(world: World, verdict: Accepted) -> bool:
    template = world.templates.get(verdict.spec.template)
    return template is not None and template.allow_repeats


def parents(world: World, view: SheetView, row: Row, verdict: Accepted) -> Parents:
    """Whom a valid row waits for, by what the other rows say at the moment."""
    return parents_of(world, view, row, verdict.after) if verdict.after else Parents()


def _candidates(world: World, view: SheetView) -> Iterator[tuple[ExperimentId, Row, Accepted]]:
    """Rows that may be accepted now, whatever their code."""
    fresh: dict[ExperimentId, tuple[ExperimentId, ...]] = {}
    for id_ in world.state.drafts:
        row = view.by_id.get(id_)
        if row is None or id_ not in world.confirmed or id_ in world.misplaced or row.is_blank:
            continue
        if not _is_settled(world, view, row):
            continue
        verdict = judgement(world, view, id_, row)
        if isinstance(verdict, Accepted) and not held_back(world, id_, row, verdict):
            whole = _with_parents(world, view, row, verdict, fresh)
            if whole is not None:
                yield id_, row, whole
    for id_, row in _begun_anew(world, view):
        verdict_now = _rerun_verdict(world, view, row)
        is_new = not _is_revision(world, id_, row)
        if isinstance(verdict_now, Accepted) and (is_new or _may_revise(world, view, id_, verdict_now)):
            whole = _with_parents(world, view, row, verdict_now, fresh)
            if whole is not None:
                yield id_, row, whole


def _begun_anew(world: World, view: SheetView) -> Iterator[tuple[ExperimentId, Row]]:
    """Accepted rows that are taken as they read now: for rerun, for what is missing of a group, or edited in time."""
    for experiment, row in _asking(world, view):
        if (row.action == "rerun" and experiment.phase is Phase.ENDED) or _is_fill(world, experiment, row):
            yield experiment.id, row
    for experiment, typed in world.state.revisable():
        edited = view.by_id.get(experiment.id)
        if edited is not None and edited.fingerprint == typed and _is_revision(world, experiment.id, edited):
            yield experiment.id, edited


def _is_revision(world: World, id_: ExperimentId, row: Row) -> bool:
    """Whether an accepted row has not begun, so that what it says now is what will run."""
    experiment = world.state.experiments.get(id_)
    if experiment is None or id_ in world.state.sweeps or id_ in world.misplaced or row.is_blank:
        return False
    return experiment.is_to_begin and (row.action != "rerun" or _is_consumed(world, row))


def _may_revise(world: World, view: SheetView, id_: ExperimentId, verdict: Accepted) -> bool:
    return verdict.runs == 1 and not lost_column(view.layout, world.state.experiments[id_].spec, verdict.spec)


def _with_parents(
    world: World, view: SheetView, row: Row, verdict: Accepted, fresh: dict[ExperimentId, tuple[ExperimentId, ...]]
) -> Accepted | None:
    """What the row asks for, once it is known for whom it waits. A circle may close within one turn: hence `fresh`."""
    if not verdict.after:
        return verdict
    found = parents_of(world, view, row, verdict.after, fresh)
    if found.problem:
        return None
    fresh[ExperimentId(row.id)] = found.ids
    return replace(verdict, spec=replace(verdict.spec, after=found.ids))


def _asking(world: World, view: SheetView) -> Iterator[tuple[Experiment, Row]]:
    """Accepted rows whose action was not obeyed yet. Nobody's, by a view that may be an old one.

    A rerun that is asked for on the command line counts as the row's word, and goes before what its cell says. It is
    known to be new, whatever the view is.
    """
    requested = world.state.experiments.keys() & set(reruns_asked(world))
    for id_ in requested - world.misplaced:
        if id_ in view.by_id:
            yield world.state.experiments[id_], replace(view.by_id[id_], action="rerun")
    if not view.is_proven:
        return
    for row in view.acting:
        if view.by_id.get(row.id) is not row or row.id in world.misplaced or _is_consumed(world, row):
            continue
        if row.id in requested:
            continue
        experiment = world.state.experiments.get(ExperimentId(row.id))
        if experiment is not None:
            yield experiment, row


def _is_fill(world: World, experiment: Experiment, row: Row) -> bool:
    """Whether a group is to be given what is missing of it. While something of it stops, that is not known."""
    if row.action != "run" or experiment.id not in world.state.sweeps or experiment.is_live:
        return False
    return all(member.phase is not Phase.STOPPING for member in world.state.members(experiment.id))


def _rerun_verdict(world: World, view: SheetView, row: Row) -> Accepted | Refused | None:
    """What would be begun. None while the row is being typed in."""
    return judgement(world, view, ExperimentId(row.id), row) if _is_settled(world, view, row) else None


def plan_pins(world: World, view: SheetView) -> Iterator[PinCode]:
    """A snapshot of each folder that rows which are about to be accepted take their code from."""
    folders: dict[str, list[tuple[ExperimentId, str]]] = {}
    for id_, row, verdict in _candidates(world, view):
        if verdict.code is not None and _pinned(world, id_, row, verdict) is None:
            folders.setdefault(verdict.code, []).append((id_, row.fingerprint))
    for code, rows in folders.items():
        yield PinCode(code=code, rows=tuple(rows))


def _pinned(world: World, id_: ExperimentId, row: Row, verdict: Accepted) -> str | None:
    """The hash of the code that was taken for the row as it stands.

    What is missing of a group gets the group's, and a row that was edited before it began keeps its own.
    """
    if (row.action == "run" and id_ in world.state.sweeps) or _is_revision(world, id_, row):
        known = world.state.experiments[id_].spec
        if known.code is not None and known.template == verdict.spec.template:
            return known.code
    fingerprint, sha = world.pinned.get(id_, ("", ""))
    return sha if sha and fingerprint == row.fingerprint else None


def _acceptances(world: World, view: SheetView, now: Now) -> Iterator[ev.Event]:
    begun: set[bytes] = set()
    for id_, row, verdict in _candidates(world, view):
        frozen = _frozen(world, id_, row, verdict)
        if frozen is None:
            continue
        if id_ in world.state.drafts and not _is_told_to_begin(world, row) and not _may_repeat(world, frozen):
            wanted = list(_wanted(world, frozen))
            original = repeated(world.state, wanted)
            if original is not None:
                yield ev.RepeatFound(experiment=id_, of=original, fingerprint=row.fingerprint)
                continue
            works = set(map(work_of, wanted))
            if works <= begun:
                continue  # what does the same is accepted in this very turn: the next one finds it
            begun |= works
        asked = asked_of(world, id_) if id_ in world.state.drafts else None
        yield from _acceptance(world, id_, row, frozen, now)
        if asked is not None:
            yield obeyed(asked)  # behind what makes an experiment of the row


def _frozen(world: World, id_: ExperimentId, row: Row, verdict: Accepted) -> Accepted | None:
    """With the code that it will execute. None until a snapshot of it was taken."""
    if verdict.code is None:
        return verdict
    sha = _pinned(world, id_, row, verdict)
    return None if sha is None else replace(verdict, spec=replace(verdict.spec, code=sha))


def _wanted(world: World, verdict: Accepted) -> Iterator[Spec]:
    """Everything that the row would execute."""
    if verdict.runs == 1:
        yield verdict.spec
    else:
        yield from members(verdict.spec, verdict.axes, verdict.repeat, world.templates[verdict.spec.template])


def _acceptance(world: World, id_: ExperimentId, row: Row, verdict: Accepted, now: Now) -> Iterator[ev.Event]:
    if verdict.runs > 1 or id_ in world.state.sweeps:
        yield from _expansion(world, id_, row, verdict, now)
        return
    if _is_revision(world, id_, row):
        yield ev.RowRevised(experiment=id_, spec=verdict.spec, fingerprint=row.fingerprint)
        return
    if id_ in world.state.experiments:
        yield _consumed(world, id_, "rerun")
        yield ev.ExperimentReopened(experiment=id_, resume=False, spec=verdict.spec, fingerprint=row.fingerprint)
        return
    if _is_begun_by_its_word(world, row):
        yield ev.ActionConsumed(experiment=id_, action=row.action)
    yield ev.RowAccepted(experiment=id_, spec=verdict.spec, fingerprint=row.fingerprint, wall_s=now.wall_s)


def _consumed(world: World, id_: ExperimentId, word: str) -> ev.Event:
    """That a word was obeyed: the request's, if there is one, and else that of the action cell."""
    asked = asked_of(world, id_) if id_ in world.state.experiments else None
    if asked is not None and asked.action == word:
        return obeyed(asked)
    return ev.ActionConsumed(experiment=id_, action=word)


def _expansion(world: World, id_: ExperimentId, row: Row, verdict: Accepted, now: Now) -> Iterator[ev.Event]:
    """The row's runs: all of them for a new row and for rerun; for run those that are missing or did not succeed."""
    state = world.state
    word = row.action if row.action in BEGINNINGS or id_ in state.experiments else ""
    sweep = state.sweeps.get(id_)
    known = [] if sweep is None else state.members(id_)
    made = expand(id_, sweep, known, _wanted(world, verdict))
    is_requested = id_ in state.experiments and rerun_asked_of(world, id_)
    if word and (is_requested or not _is_consumed(world, row)):
        yield _consumed(world, id_, word)
    for left_out in made.left_out:
        why = "its row does not ask for it any more"
        yield from stop(state.experiments[left_out], why, Afterwards.END)  # nobody has vouched for it by that
    yield ev.SweepExpanded(
        experiment=id_,
        spec=group_spec(verdict.spec, verdict.axes),
        members=made.members,
        begun=made.begun,
        fingerprint=row.fingerprint,
        wall_s=now.wall_s,
    )
    for member in made.kept:
        experiment = state.experiments[member.id]
        if word == "rerun":
            yield ev.ExperimentReopened(experiment=member.id, resume=False, spec=member.spec)
        elif experiment.phase is Phase.ENDED and not is_done(experiment):
            yield _filled_in(experiment, verdict.spec.after)


def _filled_in(experiment: Experiment, after: tuple[ExperimentId, ...]) -> ev.Event:
    """As it was, but for whom it waits: the row would say that it waits for others than it does."""
    event = reopened(experiment)
    return event if experiment.spec.after == after else replace(event, spec=replace(experiment.spec, after=after))


# --- actions -----------------------------------------------------------------------------------------------------


def _is_consumed(world: World, row: Row) -> bool:
    return world.state.consumed.get(ExperimentId(row.id)) == row.action


def _cleared_actions(world: World, view: SheetView) -> Iterator[ev.Event]:
    """Before anything is consumed: after it, this would forget the new word and have it obeyed again.

    A column that is not there holds no cleared words either: somebody renamed its header, and will put it back.
    """
    if view.layout.position("action") is None:
        return
    for id_, word in world.state.consumed.items():
        if not view.is_proven and id_ in world.state.experiments:
            continue
        row = view.by_id.get(id_)
        if row is not None and row.action != word and id_ not in world.misplaced:
            yield ev.ActionCleared(experiment=id_)


def _actions(world: World, view: SheetView) -> Iterator[ev.Event]:
    for experiment, row in _asking(world, view):
        if row.action == "rerun" and not isinstance(_rerun_verdict(world, view, row), Accepted):
            continue  # what runs is not stopped for something that cannot be started
        asker = COMMAND_LINE if rerun_asked_of(world, experiment.id) else CELL
        yield from obey(world.state, experiment, row.action, asker)
