"""What a former owner of the sheet has dealt with, and our journal knows nothing of: it is not done again.

The hosts have told by now what they keep, and that was adopted (`ownership`). What is left are the words in the sheet:
they are obeyed for want of a better witness, and the row says what a person can do about it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from sheetd.core import events as ev
from sheetd.core.actions import parts
from sheetd.core.binding import print_of
from sheetd.core.model import Afterwards, Attempt, Experiment, ExperimentId, Phase, experiment_of, group_of, row_of
from sheetd.core.plan import Chance
from sheetd.core.rows import Row, SheetView
from sheetd.core.world import HostView, Stranger, World

ENDED_WORDS = frozenset({"stopped", "failed", "succeeded", "paused"})
#: They start nothing, so that they may be obeyed whoever chose them, and when.
QUIET_WORDS = frozenset({"stop", "pause"})
BEGUN_WORDS = frozenset({"launching", "running", "restarting", "unreachable", "stopping"})


def note_testimony(world: World, view: SheetView) -> None:
    """Remember what rows tell of the former owner's doings while we take over: somebody may type over it meanwhile."""
    if world.state.takeover is None:
        world.testimony.clear()
        return
    for known, row in view.by_id.items():
        id_ = ExperimentId(known)
        experiment = world.state.experiments.get(id_)
        if experiment is not None and experiment.phase is not Phase.WAITING:
            world.testimony.pop(id_, None)  # a host has told of it: a better witness
        elif (word := _shown(view, row)) in ENDED_WORDS | BEGUN_WORDS:
            world.testimony[id_] = word, row.cell(view.layout.position("attempt")).value


def is_testimony(world: World, view: SheetView, row: Row) -> bool:
    """Whether a row may tell of something that our journal does not know, while what hosts keep is not known either."""
    experiment = world.state.experiments.get(ExperimentId(row.id))
    if experiment is not None and experiment.phase is not Phase.WAITING:
        return False
    return not world.state.knows(row.id) or _says(world, view, row) in ENDED_WORDS | BEGUN_WORDS


def settled(world: World, view: SheetView) -> Iterator[ev.Event]:
    """What stands in the sheet that the former owner may have dealt with: not done again, and said so."""
    for row in view.acting:
        id_ = ExperimentId(row.id)
        known = id_ in world.state.experiments and view.by_id.get(row.id) is row
        if known and row.action not in QUIET_WORDS and world.state.consumed.get(id_) != row.action:
            yield ev.ActionConsumed(experiment=id_, action=row.action, obeyed=False)
    done_elsewhere = Counter(row.fingerprint for _, row in _done_by_another(world, view))
    for id_ in world.state.open:
        if group_of(id_) is not None:
            continue  # said of its group
        shown, experiment = view.by_id.get(id_), world.state.experiments[id_]
        typed = print_of(world, id_) or ""
        if shown is None and experiment.phase is Phase.WAITING and done_elsewhere[typed] > 0:
            done_elsewhere[typed] -= 1
            yield from _withdrawn(world, id_, "the daemon before this one had dealt with its row under another id")
        elif shown is None and experiment.missing_since_s is None:
            # The former owner may have done it under another id: it is not begun while nobody shows it.
            yield ev.RowVanished(experiment=id_)
            for part in parts(world.state, experiment):
                yield from _never_begun(world, part)
        elif shown is not None and experiment.phase is Phase.WAITING and _says(world, view, shown) in ENDED_WORDS:
            is_paused = _says(world, view, shown) == "paused"
            how = "paused" if is_paused else "ended"
            why = f"the daemon before this one had {how} it: choose run to start it again"
            yield from _withdrawn(world, id_, why, pauses=is_paused)
        elif (
            shown is not None and experiment.phase is Phase.WAITING and _begun_elsewhere(world, view, shown, experiment)
        ):
            why = "the daemon before this one had begun it, and no host knows of it: choose run if that is over"
            yield from _withdrawn(world, id_, why)


def _withdrawn(world: World, id_: ExperimentId, why: str, *, pauses: bool = False) -> Iterator[ev.Event]:
    """What waits of a row. What is live of a group was told of by hosts, and goes on."""
    for part in parts(world.state, world.state.experiments[id_]):
        if part.phase is Phase.WAITING:
            yield ev.ExperimentWithdrawn(experiment=part.id, why=why, pauses=pauses)


def _never_begun(world: World, experiment: Experiment) -> Iterator[ev.Event]:
    host = None if experiment.attempt is None else world.hosts.get(experiment.attempt.host)
    if host is not None and experiment.attempt is not None:
        yield from call_off(world, host, experiment.attempt, f"{host.name} has never had it, and its row is gone")


def ended_elsewhere(world: World, view: SheetView, chance: Chance) -> Iterator[ev.Event]:
    """Rows that the former owner has ended, or begun, of which nobody can tell us what it was: each begins as a copy.

    A host that lost power may still know that it was asked to start something, and not what.
    """
    for id_, row in _done_by_another(world, view):
        if id_ in world.state.drafts:
            yield ev.IdWithdrawn(experiment=id_)
        new = ExperimentId(chance.experiment_id())
        yield ev.IdAssigned(experiment=new, fingerprint=row.fingerprint, copied_from=id_)


def _done_by_another(world: World, view: SheetView) -> Iterator[tuple[ExperimentId, Row]]:
    begun = {
        row_of(experiment_of(one))
        for host in world.hosts.values()
        for one, told in host.strangers.items()
        if _has_run(told)
    }
    for known, row in view.by_id.items():
        id_ = ExperimentId(known)
        is_done = _says(world, view, row) in ENDED_WORDS | BEGUN_WORDS
        if id_ not in world.state.experiments and not row.is_blank and (is_done or id_ in begun):
            yield id_, row


def _has_run(stranger: Stranger) -> bool:
    return stranger.kept is not None and bool(stranger.kept.nonce)


def _says(world: World, view: SheetView, row: Row) -> str:
    word, _ = world.testimony.get(ExperimentId(row.id), ("", None))
    return word or _shown(view, row)


def _shown(view: SheetView, row: Row) -> str:
    return str(row.cell(view.layout.position("status")).value)


def _begun_elsewhere(world: World, view: SheetView, row: Row, experiment: Experiment) -> bool:
    """Whether the row shows an attempt that our journal has not, and that no host has told us of.

    Of a group it cannot be said which of its members had begun.
    """
    if experiment.id in world.state.sweeps:
        return _says(world, view, row) in BEGUN_WORDS
    _, number = world.testimony.get(experiment.id, ("", row.cell(view.layout.position("attempt")).value))
    return _says(world, view, row) in BEGUN_WORDS and isinstance(number, float) and number > len(experiment.attempts)


def call_off(world: World, host: HostView, holder: Attempt, why: str) -> Iterator[ev.Event]:
    """Give up the intent of an attempt that its host has never had."""
    experiment = world.state.experiments[experiment_of(holder.id)]
    if world.is_on_another(holder) or holder.id in host.attempts:
        return
    if experiment.phase is Phase.LAUNCHING:
        yield ev.StopIntended(attempt=holder.id, why=why, then=Afterwards.RELAUNCH)
