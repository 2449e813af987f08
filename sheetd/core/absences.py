"""Rows that are not where they were: when a row counts as deleted, when that stops its job, and when it is back.

A read may leave out the end of a tab, and a person may undo a deletion, so nothing is stopped on one look. What an id
stands beside is for `binding`.
"""

from __future__ import annotations

from collections.abc import Iterator

from sheetd.core import events as ev
from sheetd.core.actions import stop_all
from sheetd.core.binding import Binding, bind
from sheetd.core.model import Afterwards, Phase
from sheetd.core.plan import Now
from sheetd.core.rows import SheetView
from sheetd.core.world import World

#: A read in which more rows than this, and more than this share, are suddenly gone, is not believed at once.
SHRINK_ROWS, SHRINK_SHARE, SHRINK_READS = 20, 0.3, 5


def absences(world: World, view: SheetView, now: Now) -> Iterator[ev.Event]:
    """Which rows have gone or come back, and what is stopped for it."""
    limits, known = world.limits, len(view.by_id) + len(world.missing)
    shrunk = len(world.missing) > SHRINK_ROWS and len(world.missing) > SHRINK_SHARE * known
    reads_needed = SHRINK_READS if shrunk else 2
    binding = bind(world, view) if world.missing else Binding()
    coming_home = {*binding.homes.values(), *binding.undone.values()}
    for id_, (since_s, reads) in world.missing.items():
        is_too_soon = reads < reads_needed or now.s - since_s < limits.poll_s * (reads_needed - 1)
        if is_too_soon or id_ in coming_home:
            continue
        if id_ in world.state.drafts:
            yield ev.IdWithdrawn(experiment=id_)
            continue
        experiment = world.state.experiments.get(id_)
        if experiment is None or experiment.phase is Phase.ENDED:
            continue
        if experiment.missing_since_s is None:
            yield ev.RowVanished(experiment=id_)
        # By reads, not by the clock: while the sheet cannot be read, nobody can bring the row back before our eyes.
        elif reads >= 2 * reads_needed and view.read_at_s - experiment.missing_since_s >= limits.deleted_row_grace_s:
            yield from stop_all(world.state, experiment, "its row was deleted", Afterwards.END)
    for id_ in world.state.open:
        experiment = world.state.experiments[id_]
        if experiment.missing_since_s is not None and id_ in view.by_id:
            yield ev.RowReturned(experiment=id_)
