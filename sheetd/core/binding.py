"""Which id belongs to which row: ids are weighed against what is typed beside them.

People sort, copy, paste over and clear cells, and a write of ours may meet rows that moved after they were read (the
API has no compare-and-swap). So an id cell alone proves nothing: what the row says is the second witness. Three answers
come out of it: rows that have no id of their own, the known id that such a row gets back, and ids that our own write
put beside the wrong cells, with what they overwrote.

Where this is weak: rows that say the same are the same to us, and a row that loses its id before its edit has settled
is taken for a new one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sheetd.core.model import ExperimentId
from sheetd.core.rows import Row, SheetView
from sheetd.core.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What is to be written into id cells: by row position for `homes`, by content for `undone` (empty: cleared)."""

    homes: Mapping[int, ExperimentId] = field(default_factory=dict)
    undone: Mapping[ExperimentId, str] = field(default_factory=dict)


def print_of(world: World, id_: ExperimentId) -> str | None:
    """What the id's row said when it was last seen where it belongs; before that, what the journal says."""
    return world.prints.get(id_) or world.state.print_of(id_)


def original_of(world: World, view: SheetView, row: Row) -> ExperimentId | None:
    """The known id that a row without one of its own was copied from, as long as it still says the same."""
    id_ = ExperimentId(row.id)
    if not world.state.knows(id_) or id_ not in view.by_id:
        return None
    return id_ if row.fingerprint in (print_of(world, id_), view.by_id[id_].fingerprint) else None


def nameless(world: World, view: SheetView) -> list[Row]:
    """Typed rows that have no id of their own: none, a copied one, or one that we never gave out.

    Looked for once per view and event, since nothing else says which ids are ours.
    """
    if view.nameless is None or view.nameless[0] != world.state.folded:
        accepted, drafts = world.state.experiments, world.state.drafts
        strangers = [row for id_, row in view.by_id.items() if id_ not in accepted and id_ not in drafts]
        found = [row for row in (*view.unnamed, *view.copies, *strangers) if not row.is_blank]
        view.nameless = (world.state.folded, found)
    return view.nameless[1]


def misplaced(world: World, view: SheetView, before: SheetView | None) -> set[ExperimentId]:
    """The ids that a write of ours put beside the wrong cells.

    A new id that is not beside the cells it was made for is one. An older id is only doubted where we wrote it again,
    where several rows had it, or when nobody watched (the first read), and then only on evidence: its own cells stand
    elsewhere without an id, or those beside it belong to another: to a known id, or to a row that had none when we
    wrote (`before` is the view that was planned from). Otherwise a person has edited the row, which moves nothing.
    """
    newcomers = set() if before is None else {row.fingerprint for row in nameless(world, before)}
    homeless = {row.fingerprint for row in nameless(world, view)}
    found: set[ExperimentId] = set()
    while more := {
        id_
        for id_ in (*_doubtful(world, view, before), *_held_by_a_copy(world, view, found))
        if id_ not in found and _stands_wrongly(world, view, id_, homeless, newcomers)
    }:
        found |= more
        # The rows that these ids overwrote are without their own, which may prove that others stand wrongly too.
        homeless |= {view.by_id[id_].fingerprint for id_ in more}
    return found


def _stands_wrongly(world: World, view: SheetView, id_: ExperimentId, homeless: set[str], newcomers: set[str]) -> bool:
    row = view.by_id[id_]
    own = {world.prints.get(id_), world.state.print_of(id_)}
    if row.fingerprint in own:
        return False
    is_new = id_ in world.state.drafts and id_ not in world.confirmed
    is_elsewhere = not own.isdisjoint(homeless)
    if is_new or is_elsewhere:
        return True
    is_of_newcomer = row.fingerprint in newcomers
    return id_ in world.rewritten and (row.is_blank or is_of_newcomer or _is_of_another(world, view, row))


def _doubtful(world: World, view: SheetView, before: SheetView | None) -> Iterator[ExperimentId]:
    if world.shown is None:
        yield from (ExperimentId(id_) for id_ in view.by_id if world.state.knows(id_))
        return
    # What was found and could not be mended yet, too; and where one of several rows with an id has lost it, those left
    # may be its copies.
    copied = () if before is None else (ExperimentId(row.id) for row in before.copies)
    known = {*world.rewritten, *world.misplaced, *copied}
    for id_ in {*world.state.drafts, *known}:
        if id_ in view.by_id and world.state.knows(id_) and (id_ in known or id_ not in world.confirmed):
            yield id_


def _held_by_a_copy(world: World, view: SheetView, found: set[ExperimentId]) -> Iterator[ExperimentId]:
    """Ids whose own cells an id in the wrong place has overwritten: where they stand now is a copy of their row.

    Where an id is missing that was beside such cells, it is that one which was overwritten.
    """
    victims = Counter(view.by_id[id_].fingerprint for id_ in found if not view.by_id[id_].is_blank)
    for typed, count in victims.items():
        belonging = {id_ for id_ in _said(world, typed) if _may_return(world, id_)}
        held = {id_ for id_ in belonging if id_ in view.by_id}
        if count > len(belonging) - len(held):
            yield from (id_ for id_ in held if view.by_id[id_].fingerprint != typed)


def _said(world: World, typed: str) -> Iterator[ExperimentId]:
    """The ids whose rows said this when they were last seen where they belong."""
    for id_ in (*world.state.by_fingerprint.get(typed, ()), *world.prints):
        if print_of(world, id_) == typed:
            yield id_


def _is_of_another(world: World, view: SheetView, row: Row) -> bool:
    """Whether an id that is not beside its own cells belongs to these: it was lost, or stands wrongly itself."""
    return any(
        (id_ not in view.by_id or view.by_id[id_].fingerprint != row.fingerprint) and _may_return(world, id_)
        for id_ in _said(world, row.fingerprint)
    )


def bind(world: World, view: SheetView) -> Binding:
    """The known ids that rows without one should carry, and where ids that stand wrongly are taken back."""
    rows = nameless(world, view)
    if not rows and not world.misplaced:
        return Binding()
    lost = _Lost(world, view)
    undone: dict[ExperimentId, str] = {}
    for id_ in world.misplaced:
        victim = view.by_id.get(id_)
        if victim is not None:
            undone[id_] = lost.take(victim.fingerprint, may_be_misplaced=False) or ""
    homes: dict[int, ExperimentId] = {}
    for row in rows:
        home = lost.take(row.fingerprint, may_be_misplaced=True)
        if home is not None:
            homes[row.index] = home
    return Binding(homes=homes, undone=undone)


class _Lost:
    """The known ids that no row rightly shows, by what their rows said. Each is given away once."""

    def __init__(self, world: World, view: SheetView) -> None:
        self._world = world
        self._view = view
        self._edited: dict[str, list[ExperimentId]] = {}
        for id_, typed in world.prints.items():
            self._edited.setdefault(typed, []).append(id_)
        self._left: dict[str, list[ExperimentId]] = {}

    def take(self, typed: str, *, may_be_misplaced: bool) -> ExperimentId | None:
        if not typed:
            return None
        if typed not in self._left:
            self._left[typed] = list(self._candidates(typed))
        left = self._left[typed]
        for place in range(len(left) - 1, -1, -1):
            if may_be_misplaced or left[place] not in self._view.by_id:
                return left.pop(place)
        return None

    def _candidates(self, typed: str) -> Iterator[ExperimentId]:
        """The best last: what has not ended comes before what has, the older before the newer."""
        world = self._world
        known = [id_ for id_ in world.state.by_fingerprint.get(typed, ()) if id_ not in world.prints]
        known += self._edited.get(typed, ())
        for is_open in (False, True):
            for id_ in reversed(known):
                is_free = id_ not in self._view.by_id or id_ in world.misplaced
                if is_free and _has_ended(world, id_) is not is_open and _may_return(world, id_):
                    yield id_


def _may_return(world: World, id_: ExperimentId) -> bool:
    """An ended experiment whose row was deleted stays with its row: who types the same again wants it done again."""
    return world.shown is None or id_ in world.shown or not _has_ended(world, id_)


def _has_ended(world: World, id_: ExperimentId) -> bool:
    return id_ in world.state.experiments and id_ not in world.state.open
