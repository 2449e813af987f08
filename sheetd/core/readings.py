"""How an answer of the sheet changes what we know of its rows. Decides nothing; `intake` and `render` do.

A read that fails, or that is older than one before it, removes nothing that was known.
"""

from __future__ import annotations

from sheetd.core import effect as fx
from sheetd.core import observation as obs
from sheetd.core.binding import bind, misplaced, print_of
from sheetd.core.grid import Grid, SheetWrite
from sheetd.core.model import ExperimentId, group_of
from sheetd.core.ownership import is_newest, is_old, is_own, is_owner, judge_claim
from sheetd.core.rows import SheetView, view_grid, without
from sheetd.core.settlement import note_testimony
from sheetd.core.validation import layout_by
from sheetd.core.world import World

RETRY_SHEET_MAX_S = 120.0
#: After so many guarded writes that were refused in a row, tags are looked at again.
RETAG_AFTER = 2
#: For so many reads a row that was there is not believed to be gone for good.
UNSHOWN_POLLS = 6


def sheet_seen(world: World, news: obs.SheetSeen, now_s: float) -> None:
    done = world.in_flight.pop((fx.SHEET_LANE, "cycle"), None)
    written = done.write if isinstance(done, fx.WriteSheet) else None
    if written is not None:
        world.cells_refused = world.cells_refused and not written.has_cells
        world.guards_refused = 0 if written.guards else world.guards_refused
        _note_rewritten(world, written)
    is_news = is_newest(world, news.grid)
    if is_old(world, news.grid):
        world.must_read = world.must_read or written is not None
        world.next_read_s = now_s + world.limits.poll_s
        return
    judge_claim(world, news.grid)
    world.must_read = False
    world.sheet_failures = 0
    world.sheet_problem, world.sheet_problem_since_s = "", None
    world.next_read_s = now_s + world.limits.poll_s
    before = world.sheet
    if before is not None and before.grid is news.grid:
        before.read_at_s = now_s
    else:
        world.sheet = _understand(world, news.grid, before, now_s)
    view = world.sheet
    if view is None:
        return
    world.has_owned = world.has_owned or is_owner(world)
    view.is_proven = view.is_proven or is_news
    if view.layout.problems:
        return
    note_testimony(world, view)
    if written is not None and before is not None:
        world.moved_writes = world.moved_writes + 1 if _met_moved_rows(written, before, view) else 0
    _count_missing(world, view, now_s)


def understand_anew(world: World) -> None:
    """The templates are others: what was read last says something else. Nobody has read it again by that."""
    view = world.sheet
    if view is not None:
        world.sheet = _understand(world, view.grid, view, view.read_at_s, is_by_new_templates=True)


def _understand(
    world: World, grid: Grid, before: SheetView | None, now_s: float, *, is_by_new_templates: bool = False
) -> SheetView:
    header = grid.rows[0] if grid.rows else ()
    is_known = before is not None and bool(before.grid.rows) and before.grid.rows[0] == header
    if before is not None and is_known and not is_by_new_templates:
        layout = before.layout
    else:
        layout = layout_by(world.templates, header)
        if before is not None:
            layout = without(layout, before.layout)
        world.judged.clear()  # a verdict knows which columns there were
    view = view_grid(grid, layout, before, now_s)
    if layout.problems:
        return view
    if not world.tagged <= {tag.name for tag in layout.tags}:
        world.tagged, world.dressed = frozenset(), None  # what is typed anew under an old name has no tag
    _settle_copies(world, view)
    world.misplaced = misplaced(world, view, before)
    _settle_ids(world, view)
    if not is_own(world, grid.claim):
        return view  # ids are doubted until there is a view that something can be done about
    _note_shown(world, view, now_s)
    return view


def _note_shown(world: World, view: SheetView, now_s: float) -> None:
    """Which ids have a row. One that is not shown for a moment still has: a read may leave out the end of a tab."""
    if world.shown is not None:
        patience_s = world.limits.poll_s * UNSHOWN_POLLS
        world.shown -= {id_ for id_, since_s in world.unshown_since_s.items() if now_s - since_s >= patience_s}
    binding = bind(world, view)
    shown = (world.state.experiments.keys() & view.by_id.keys()) | (world.state.drafts.keys() & view.by_id.keys())
    shown.update(binding.homes.values(), (ExperimentId(id_) for id_ in binding.undone.values() if id_))
    unshown = (world.shown or set()) - shown
    world.unshown_since_s = {id_: world.unshown_since_s.get(id_, now_s) for id_ in unshown}
    world.shown = shown | unshown


def _settle_ids(world: World, view: SheetView) -> None:
    """Remember what each row says whose id is in its place."""
    accepted = world.state.fingerprints
    for known, row in view.by_id.items():
        id_ = ExperimentId(known)
        if accepted.get(id_) == row.fingerprint and id_ not in world.prints and id_ not in world.rewritten:
            continue  # nearly every row: it says what it said, and nobody doubted it
        if row.is_blank or id_ in world.misplaced or not world.state.knows(id_):
            continue
        draft = world.state.drafts.get(id_)
        if draft is not None and row.fingerprint == draft.fingerprint:
            world.confirmed.add(id_)
        world.rewritten.discard(id_)
        if row.fingerprint == world.state.print_of(id_):
            world.prints.pop(id_, None)
        else:
            world.prints[id_] = row.fingerprint


def _note_rewritten(world: World, write: SheetWrite) -> None:
    """An id that goes to a row by position may land on another one."""
    column = None if world.sheet is None else world.sheet.layout.position("id")
    for update in write.updates:
        if update.column == column and isinstance(update.value, str):
            id_ = ExperimentId(update.value)
            if id_ in world.state.experiments or id_ in world.confirmed:
                world.rewritten.add(id_)


def _met_moved_rows(write: SheetWrite, before: SheetView, after: SheetView) -> bool:
    """Whether a row that was written to says something else than the row that was meant."""
    indexes = {update.row for update in write.updates}
    return any(_typed(before, index) != _typed(after, index) for index in indexes)


def _typed(view: SheetView, index: int) -> str:
    return view.rows[index - 1].fingerprint if index <= len(view.rows) else ""


def _settle_copies(world: World, view: SheetView) -> None:
    """Of several rows with one id, the one that still says what it said keeps it."""
    for position, row in enumerate(view.copies):
        known = print_of(world, ExperimentId(row.id))
        holder = view.by_id[row.id]
        if holder.fingerprint != known and row.fingerprint == known:
            view.by_id[row.id], view.copies[position] = row, holder


def _count_missing(world: World, view: SheetView, now_s: float) -> None:
    missing: dict[ExperimentId, tuple[float, int]] = {}
    for id_ in (*world.state.open, *world.state.drafts):
        if group_of(id_) is not None:
            continue  # it has no row; its group has
        row = view.by_id.get(id_)
        if row is None or (row.is_blank and id_ in world.state.drafts):
            since, reads = world.missing.get(id_, (now_s, 0))
            missing[id_] = (since, reads + 1)
    world.missing = missing


def sheet_unseen(world: World, news: obs.SheetUnseen, now_s: float) -> None:
    world.must_read = True
    world.sheet_failures += 1
    world.sheet_problem = news.why
    if world.sheet_problem_since_s is None:
        world.sheet_problem_since_s = now_s
    delay = min(world.limits.poll_s * 2 ** min(world.sheet_failures, 10), RETRY_SHEET_MAX_S)
    world.next_read_s = now_s + delay


def sheet_failed(world: World, news: fx.SheetFailed, now_s: float) -> None:
    world.in_flight.pop(news.effect.key, None)
    if isinstance(news.effect, fx.DressSheet):
        world.last_dress_s = now_s
        world.dress_failed += 1
        world.dress_refused += news.lasting
        return
    if isinstance(news.effect, fx.WriteSheet):
        if news.lasting and news.effect.write.has_cells:
            world.cells_refused = True
            _note_guards_refused(world, news.effect.write)
        _note_rewritten(world, news.effect.write)
    sheet_unseen(world, obs.SheetUnseen(why=news.why, lasting=news.lasting), now_s)


def _note_guards_refused(world: World, write: SheetWrite) -> None:
    """A column has moved, or its tag is lost, or something else was in the way: that shows without guards."""
    world.guards_refused = world.guards_refused + 1 if write.guards else 0
    if world.guards_refused == RETAG_AFTER:
        world.dressed = None


def dressed(world: World, news: fx.Dressed, now_s: float) -> None:
    world.in_flight.pop(news.effect.key, None)
    world.last_dress_s = now_s
    world.dressed = news.effect.dress
    world.tagged = frozenset(tag.name for tag in news.effect.dress.tags)
    world.dress_failed = world.dress_refused = 0
    if world.guards_refused >= world.limits.guards_refused_max:
        world.guards_refused = 0
