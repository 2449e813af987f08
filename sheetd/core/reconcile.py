"""Looks at the whole world and says what to record and what to do. The only place where it all comes together.

It never asks what woke it: it goes by what is, so calling it twice in a row plans nothing new, and a daemon that comes
back after a crash needs no path of its own. First everything that has to be decided is decided and recorded; only when
nothing is left to record are effects planned, from what is recorded and from nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sheetd.core import events as ev
from sheetd.core.absorb import adopt
from sheetd.core.colours import Dress
from sheetd.core.effect import SHEET_LANE, DressSheet, Effect, ReadSheet, WriteSheet
from sheetd.core.grid import SheetWrite
from sheetd.core.headings import headings
from sheetd.core.hosts_cycle import note_event, plan_answer, plan_read
from sheetd.core.hosts_tab import decide_host_words
from sheetd.core.intake import decide_rows, plan_pins
from sheetd.core.invariants import misassigned
from sheetd.core.launching import decide_launches
from sheetd.core.live_edits import decide_live_edits
from sheetd.core.model import AttemptId, ExperimentId, Phase, experiment_of, row_of
from sheetd.core.ownership import claim_change, decide_ownership, decide_restored_words, is_owner, needs_proof
from sheetd.core.plan import Chance, Now, Plan
from sheetd.core.probing import give_back, probe_moments
from sheetd.core.quarantine import decide_health, decide_host_requests, health_moments
from sheetd.core.render import plan_write
from sheetd.core.requests import decide_requests
from sheetd.core.rows import Layout, SheetView
from sheetd.core.runs_tab import plan_runs, plan_runs_read, runs_moments
from sheetd.core.sharing import sharing_moments
from sheetd.core.strangers import forget_strangers
from sheetd.core.supervision import decide_attempts, plan_hosts
from sheetd.core.world import World

#: So many writes in a row may follow each other at once because rows kept moving under them.
REPAIRS_MAX = 3
#: After so many dressings in a row that were refused, or that failed, writes do without.
DRESS_REFUSED_MAX, DRESS_FAILED_MAX = 3, 12


def reconcile(world: World, now: Now, chance: Chance) -> Plan:
    """The plan for this moment. Empty when there is nothing to do but wait until `wake_s`."""
    if world.halted:
        return Plan(effects=tuple(_plan_sheet(world, now)), wake_s=_wake(world, now))
    for decide in (
        _decide_ownership,
        _decide_requests,
        decide_rows,
        _decide_live_edits,
        _decide_attempts,
        _decide_hosts,
        _decide_host_words,
        decide_launches,
    ):
        events = tuple(decide(world, now, chance))
        if events:
            return Plan(events=events, wake_s=now.s)
    world.went_back = False
    effects = (*_plan_code(world, now), *plan_hosts(world, now), *_plan_sheet(world, now))
    return Plan(effects=effects, wake_s=_wake(world, now))


def record(world: World, event: ev.Event, now: Now) -> None:  # noqa: C901 - one kind of event after another
    """Apply an event that is durable now, and drop what it makes obsolete. Raises IllegalTransition."""
    world.state.apply(event, now.s)
    world.version += 1
    note_event(world, event, now.s)
    match event:
        case ev.LaunchIntended():
            world.misassigned += misassigned(world, event)
        case (
            ev.RowAccepted(experiment=id_)
            | ev.RowRevised(experiment=id_)
            | ev.SweepExpanded(experiment=id_)
            | ev.ExperimentReopened(experiment=id_)
        ):
            _forget_row(world, id_)
        case ev.IdWithdrawn(experiment=id_):
            _forget_row(world, id_)
            world.prints.pop(id_, None)
            world.missing.pop(id_, None)
        case ev.AttemptStarted(attempt=attempt) | ev.AttemptEnded(attempt=attempt) | ev.StopIntended(attempt=attempt):
            world.remarks.pop(experiment_of(attempt), None)
            world.refusals.pop(attempt, None)
            if isinstance(event, ev.AttemptEnded):
                _forget_attempt(world, attempt, now)
        case ev.AttemptAdopted(attempt=attempt, host=host):
            _forget_row(world, row_of(experiment_of(attempt)))
            adopt(world, attempt, host, now.s)
        case ev.TakeoverBegun():
            world.must_doubt = False
        case ev.ActionConsumed(experiment=id_) | ev.ActionCleared(experiment=id_):
            world.at_rest.pop(id_, None)  # what is said of a word that changed nothing
        case ev.TakeoverEnded():
            forget_strangers(world)
        case ev.RowEdited(experiment=id_):
            _note_edited(world, id_)
        case _:
            pass


def _note_edited(world: World, id_: ExperimentId) -> None:
    """What an edited row says is remembered across restarts; one that says again what it said needs no remembering."""
    told = world.state.edited.get(id_)
    if told is None:
        world.prints.pop(id_, None)
    else:
        world.prints[id_] = told


def _forget_attempt(world: World, attempt: AttemptId, now: Now) -> None:
    world.host_faults.pop(attempt, None)
    world.beaten.discard(attempt)
    world.handed_over.pop(attempt, None)
    give_back(world, world.state.newest(attempt)[1], now.s)
    world.hold_until_s = {key: s for key, s in world.hold_until_s.items() if key[1] != attempt}


def _forget_row(world: World, id_: ExperimentId) -> None:
    world.pinned.pop(id_, None)
    world.judged.pop(id_, None)
    world.remarks.pop(id_, None)
    world.confirmed.discard(id_)


def _decide_ownership(world: World, now: Now, chance: Chance) -> Iterator[ev.Event]:
    yield from decide_ownership(world, now, chance)
    yield from decide_restored_words(world)


def _decide_requests(world: World, _now: Now, _chance: Chance) -> Iterator[ev.Event]:
    return decide_requests(world)


def _decide_live_edits(world: World, _now: Now, _chance: Chance) -> Iterator[ev.Event]:
    return decide_live_edits(world)


def _decide_attempts(world: World, now: Now, _chance: Chance) -> Iterator[ev.Event]:
    return decide_attempts(world, now)


def _decide_hosts(world: World, now: Now, _chance: Chance) -> Iterator[ev.Event]:
    yield from decide_host_requests(world)
    yield from decide_health(world, now)


def _decide_host_words(world: World, now: Now, _chance: Chance) -> Iterator[ev.Event]:
    return decide_host_words(world, now)


def _plan_code(world: World, now: Now) -> Iterator[Effect]:
    view = world.sheet
    if view is None or view.layout.problems:
        return
    for pin in plan_pins(world, view):
        if pin.key not in world.in_flight and world.hold_until_s.get(pin.key, 0.0) <= now.s:
            yield pin


# --- the sheet cycle ---------------------------------------------------------------------------------------------


def _plan_sheet(world: World, now: Now) -> Iterator[Effect]:
    """One read; a write only where something differs, made from a fresh view; the dress when it is due."""
    if any(key[0] == SHEET_LANE for key in world.in_flight):
        return
    view = world.sheet
    if view is None or world.must_read:
        if world.next_read_s <= now.s:
            yield ReadSheet()
        return
    if not is_owner(world):
        yield from _plan_claim(world, view, now)
        return
    answer = plan_answer(world, now) or plan_runs(world, now)
    if answer is not None:
        yield answer
        return
    # A busy sheet would never come to the other tabs: what is overdue does not wait.
    reading: Effect | None
    reading, is_overdue = plan_read(world, now)
    if reading is None:
        reading, is_overdue = plan_runs_read(world, now)
    rows = tuple(_plan_rows(world, view, now)) if reading is None or not is_overdue else ()
    if rows or reading is None:
        yield from rows
    else:
        yield reading


def _plan_rows(world: World, view: SheetView, now: Now) -> Iterator[Effect]:
    dress = dress_of(world, view)
    if dress is not None and dress != world.dressed and _is_dress_due(world, dress, now):
        # First of all: a status without its colour is half the news, and a busy sheet would never come to it.
        yield DressSheet(dress=dress)
        return
    is_fresh = now.s - view.read_at_s <= world.limits.fresh_s
    is_read_due = world.next_read_s <= now.s
    is_repair = 0 < world.moved_writes <= REPAIRS_MAX
    may_write = is_repair or world.last_write_s + world.limits.write_gap_s <= now.s
    # All rows are compared: only where the answer can make a difference.
    write = plan_write(world, now) if may_write and (is_fresh or not is_read_due) else None
    if write is not None and dress != world.dressed and not _may_go_untagged(world, write):
        write = None
    if (write is None or world.cells_refused) and may_write and needs_proof(world, view):
        write = SheetWrite(tab_id=view.grid.tab_id)
    if write is not None:
        yield WriteSheet(write=replace(write, claim=claim_change(world))) if is_fresh else ReadSheet()
    elif is_read_due:
        yield ReadSheet()
    elif dress is not None and _is_dress_due(world, dress, now):
        yield DressSheet(dress=dress)


def _may_go_untagged(world: World, write: SheetWrite) -> bool:
    """Whether a write may go by the places of columns alone: only where the tab cannot be dressed, for whatever reason.

    A dressing that fails once fails for what a write would fail for too; one that fails time after time may be too much
    for the sheet's server, and rows are shown all the same.
    """
    columns = {*(one.column for one in write.updates), *(one.column for one in write.replacements)}
    is_hopeless = world.dress_refused >= DRESS_REFUSED_MAX or world.dress_failed >= DRESS_FAILED_MAX
    return is_hopeless or columns == {tag.column for tag in write.guards}


def _plan_claim(world: World, view: SheetView, now: Now) -> Iterator[Effect]:
    """A tab that is not ours is only read, until it is claimed."""
    change = claim_change(world)
    may_write = change is not None and world.last_write_s + world.limits.write_gap_s <= now.s
    if may_write and now.s - view.read_at_s <= world.limits.fresh_s:
        yield WriteSheet(write=SheetWrite(tab_id=view.grid.tab_id, claim=change))
    elif may_write or world.next_read_s <= now.s:
        yield ReadSheet()


def dress_of(world: World, view: SheetView) -> Dress | None:
    """What the tab should wear. None while its columns are unclear."""
    layout: Layout = view.layout
    status = layout.position("status")
    if layout.problems or status is None:
        return None
    return Dress(
        tab_id=view.grid.tab_id,
        status_column=status,
        action_column=layout.position("action"),
        template_column=layout.position("template"),
        owned_columns=tuple(column.position for column in layout.owned),
        column_count=len(view.grid.rows[0]),
        templates=tuple(sorted(world.templates)),
        headings=headings(layout.columns),
        tags=layout.tags,
    )


def _is_dress_due(world: World, dress: Dress, now: Now) -> bool:
    if dress != world.dressed:
        return now.s - world.last_dress_s >= world.limits.ask_again_s
    return now.s - world.last_dress_s >= world.limits.dress_every_s


def _wake(world: World, now: Now) -> float:
    """When something may have to be done although nothing happens."""
    moments = [world.next_read_s, world.last_write_s + world.limits.write_gap_s, *world.hold_until_s.values()]
    for id_ in world.state.open:
        experiment = world.state.experiments[id_]
        if experiment.phase is Phase.WAITING:
            moments.append(experiment.not_before_s)
    moments += [*health_moments(world), *probe_moments(world)]
    if world.hosts_tab is not None:
        moments.append(world.hosts_tab.next_read_s)
    moments += [*runs_moments(world), *sharing_moments(world)]
    for ended_s in world.ended_at_s.values():
        moments += [ended_s + world.limits.linger_s, ended_s + world.limits.told_within_s]
    return min((moment for moment in moments if moment > now.s), default=now.s + world.limits.poll_s)
