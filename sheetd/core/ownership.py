"""Whether this daemon serves the tab: the claim that is kept with it, taking it over, and telling old answers from new.

A tab has one owner. The claim names it, and is changed by comparison only, so of any number of daemons that want it one
succeeds; every write of ours carries it, with a stamp that grows. From that follow three things:

- A daemon that finds somebody else's claim at its start *takes over*: it claims the tab with a larger epoch, has every
  host obey that epoch only, and adopts what the hosts keep and its journal does not know (a copied or restored state
  folder, a second person). Until all of that is done nothing new is begun. Where the former owner used hosts that this
  one does not know, or other folders on them, it refuses, unless the operator says that the former one is gone.
- A daemon that finds its claim replaced has been taken over from: it stops acting, and writes nothing more.
- An answer with a smaller stamp than one that we have seen is old, and is not looked at. A few in a row are no delay
  any more: somebody brought back an older version of the spreadsheet.

Weak: whether a version restore on Google brings back the claim too is not known; if it does not, a restored action word
looks like one that a person chose again. And what a restored backup lacks is begun again where nothing is left that
knows of it: the sheet had not been written since, and the host that it runs on does not answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from sheetd.core import events as ev
from sheetd.core.colours import ACTIONS
from sheetd.core.grid import Claim, ClaimChange, Grid
from sheetd.core.model import (
    Attempt,
    AttemptId,
    ExperimentId,
    HostName,
    Phase,
    SlotName,
    Spec,
    experiment_of,
)
from sheetd.core.observation import AttemptKept, AttemptSeen
from sheetd.core.plan import Chance, Now
from sheetd.core.rows import Row, SheetView
from sheetd.core.settlement import call_off, ended_elsewhere, settled
from sheetd.core.strangers import is_stranger
from sheetd.core.world import OVER, HostView, World

#: So many old answers in a row, and it is no delay but an older version of the spreadsheet.
OLD_ANSWERS_MAX = 4
#: Status words of what has ended, as the former owner of a tab has left them there.


def claim_of(world: World) -> Claim | None:
    return None if world.sheet is None else world.sheet.grid.claim


def is_owner(world: World) -> bool:
    """Whether the last answer of the sheet says that the tab is ours."""
    return is_own(world, claim_of(world))


def is_own(world: World, claim: Claim | None) -> bool:
    """Whether this is the claim of this daemon, and not of a later life of its folder."""
    return world.has_claimed and _is_ours(world, claim)


def may_begin(world: World) -> bool:
    """Whether rows may become experiments, and experiments be launched."""
    return is_owner(world) and world.state.takeover is None


def _is_ours(world: World, claim: Claim | None) -> bool:
    return claim is not None and (claim.owner, claim.epoch) == (world.identity.owner, world.state.epoch)


def _was_ours(world: World, claim: Claim) -> bool:
    """Of an earlier daemon over this folder, which is dead (two never hold one folder), and which knew no more.

    What was recorded since does not count: after a restored backup that would soon make up for what is missing.
    """
    if claim.owner != world.identity.owner or claim.epoch >= world.state.epoch:
        return False
    return claim.events <= world.state.folded_until(claim.epoch)


# --- what an answer says -----------------------------------------------------------------------------------------


def is_newest(world: World, grid: Grid) -> bool:
    """Whether this is the first answer that shows our last write: then it is not older than that."""
    claim = grid.claim
    return claim is not None and is_own(world, claim) and (claim.epoch, claim.stamp) > world.stamp_seen


def is_old(world: World, grid: Grid) -> bool:
    """Whether the sheet must have looked like this before something that we have seen. Counts such answers."""
    claim = grid.claim
    now = (0, 0) if claim is None else (claim.epoch, claim.stamp)
    if now >= world.stamp_seen:
        world.old_answers, world.stamp_seen = 0, now
        return False
    world.old_answers += 1
    if world.old_answers <= OLD_ANSWERS_MAX:
        return True
    world.old_answers, world.stamp_seen = 0, now
    world.went_back = True
    if world.hosts_tab is not None:
        world.hosts_tab.doubt()
    return False


def judge_claim(world: World, grid: Grid) -> None:
    """Stop acting when the tab is somebody else's, and say whose."""
    claim = grid.claim
    if claim is None or _is_ours(world, claim) or _was_ours(world, claim):
        return
    if world.has_owned and claim.epoch < world.state.epoch:
        return  # of a version of the spreadsheet that somebody brought back
    if world.has_owned:
        world.halted = (
            f"another daemon has taken over this sheet ({claim.where}, epoch {claim.epoch}): end this one, or start it"
            " again to take the sheet back"
        )
    elif not (world.identity.takes_over or covers(world, claim)):
        world.halted = (
            f"another daemon serves this sheet ({claim.where}), on hosts that are not in this configuration, or under"
            " another name of the sheet: give it that name again, or stop that daemon there; if it is gone for good"
            " with all that it runs, start once with `sheetd run --take-over`"
        )


def covers(world: World, claim: Claim) -> bool:
    """Whether we can ask every host that the claim's owner may start something on."""
    return set(claim.hosts) <= set(host_digests(world.hosts, world.identity.folder))


def host_digests(names: Iterable[HostName], folder: str = "") -> tuple[str, ...]:
    """Hosts, so that they can be compared and not be read. In another folder of a host there are other attempts."""
    places = {f"{name}/{folder}" if folder else name for name in names}
    return tuple(sorted({hashlib.blake2b(place.encode(), digest_size=6).hexdigest() for place in places}))


def hosts_in_use(world: World) -> set[HostName]:
    """Where attempts live, be the host configured at the moment or not, and be they over by our journal or not."""
    attempts = (world.state.experiments[id_].attempt for id_ in world.state.live.values())
    strays = (host.name for host in world.hosts.values() if host.strays)
    return {*strays, *(attempt.host for attempt in attempts if attempt is not None)}


def claim_change(world: World) -> ClaimChange | None:
    """What goes with the next write: the same owner with the next stamp, or the claim that we want. None: no say."""
    claim = claim_of(world)
    if world.halted and not is_owner(world):
        return None
    is_past = claim is not None and world.has_owned and claim.epoch < world.state.epoch
    if claim is not None and not (_is_ours(world, claim) or _was_ours(world, claim) or is_past):
        takeover = world.state.takeover
        if takeover is None or (takeover.owner, takeover.epoch) != (claim.owner, claim.epoch):
            return None
    new = Claim(
        epoch=world.state.epoch,
        owner=world.identity.owner,
        stamp=max(0 if claim is None else claim.stamp, world.stamp_seen[1]) + 1,
        where=world.identity.where,
        hosts=host_digests({*world.hosts, *hosts_in_use(world)}, world.identity.folder),
        events=world.state.folded,
    )
    return ClaimChange(old=claim, new=new)


# --- taking over -------------------------------------------------------------------------------------------------


def decide_ownership(world: World, now: Now, chance: Chance) -> Iterator[ev.Event]:
    """Begin to take over, adopt what hosts keep, and end it when nothing is unknown any more."""
    view = world.sheet
    if view is None or world.must_read or world.halted:
        return
    claim = view.grid.claim
    if claim is not None and not (world.has_owned or is_owner(world) or _was_ours(world, claim)):
        yield from _begin(world, claim)
        return
    if not is_owner(world):
        return
    if world.state.takeover is None:
        if world.must_doubt:
            yield _from_ourselves(world)
        return
    adoptable = _adoptable(world)
    if adoptable:
        yield from _adoptions(world, adoptable, now)
    elif not still_to_tell(world) and not view.layout.problems:
        yield from list(settled(world, view)) or [*ended_elsewhere(world, view, chance), ev.TakeoverEnded()]


def _begin(world: World, claim: Claim) -> Iterator[ev.Event]:
    takeover = world.state.takeover
    is_begun = takeover is not None and (takeover.owner, takeover.epoch) == (claim.owner, claim.epoch)
    if is_begun and world.state.epoch > claim.epoch:
        return
    yield ev.TakeoverBegun(
        epoch=max(world.state.epoch, claim.epoch + 1),
        former_owner=claim.owner,
        former_epoch=claim.epoch,
        former_where=claim.where,
    )


def _from_ourselves(world: World) -> ev.TakeoverBegun:
    """Our own journal knew more once. What it knew is asked of all hosts, as if it had been another daemon's."""
    attempt, host = next(reversed(world.unrecorded.items()))
    return ev.TakeoverBegun(
        epoch=world.state.epoch + 1,
        former_owner=world.identity.owner,
        former_epoch=world.state.epoch,
        former_where=f"a later state of its own folder ({host} keeps {attempt}, which is not in the journal)",
    )


def is_told(world: World, host: HostView) -> bool:
    """Whether the host obeys this daemon only, and has described all that it keeps."""
    return host.epoch == world.state.epoch and all(one.kept is not None for one in host.strangers.values())


def still_to_tell(world: World) -> list[HostName]:
    return [host.name for host in world.hosts.values() if not is_told(world, host)]


def why_not_yet(world: World) -> str:
    """Why nothing new is begun at the moment, for rows that wait."""
    takeover = world.state.takeover
    if not is_owner(world) or takeover is None:
        return "waits until this daemon has seen that the sheet is its own"
    left = still_to_tell(world)
    if not left:
        return f"next, now that this sheet was taken over from {takeover.where}"
    return (
        f"waits for {', '.join(left[:3])} to answer: this sheet was taken over from {takeover.where}, which may have"
        f" started rows there; if a host is gone for good, remove it from sheetd.toml"
    )


class _Found(NamedTuple):
    """An attempt that our journal does not know, as its host has described it."""

    number: int
    attempt: AttemptId
    host: HostView
    seen: AttemptSeen
    kept: AttemptKept
    spec: Spec


def _adoptable(world: World) -> list[_Found]:
    """Of each experiment the newest unknown attempt; the others are settled by it."""
    newest: dict[ExperimentId, _Found] = {}
    for host in world.hosts.values():
        for attempt, (seen, kept) in host.strangers.items():
            if kept is None or kept.spec is None or not is_stranger(world, attempt):
                continue
            found = _Found(int(attempt.rpartition(".")[2]), attempt, host, seen, kept, kept.spec)
            best = newest.get(experiment_of(attempt))
            if not _is_known(world, found) and (best is None or found.number > best.number):
                newest[experiment_of(attempt)] = found
    return list(newest.values())


def _adoptions(world: World, adoptable: list[_Found], now: Now) -> Iterator[ev.Event]:
    holders = _holders(world)
    for _, attempt, host, seen, kept, spec in adoptable:
        id_ = experiment_of(attempt)
        experiment = world.state.experiments.get(id_)
        others = [holders[slot] for slot in kept.slots if slot in holders and experiment_of(holders[slot].id) != id_]
        if any(_is_ending(world, other) or _is_untold(world, other) for other in others):
            continue  # whoever holds its slots in our books is about to give them back, or may be over
        why = f"{host.name} uses its slots for what another daemon started"
        called_off = [ending for other in others for ending in call_off(world, host, other, why)]
        if called_off:
            yield from called_off
            continue
        is_trusted = experiment is not None and experiment.spec == spec
        yield ev.AttemptAdopted(
            attempt=attempt,
            host=host.name,
            slots=() if others or seen.state in OVER else kept.slots,
            nonce=kept.nonce,
            machine=machine_of(host),
            accelerators=() if others or seen.state in OVER else kept.accelerators,
            spec=spec if is_trusted else replace(spec, where=str(host.name)),
            fingerprint=kept.fingerprint,
            wall_s=now.wall_s,
        )


def _holders(world: World) -> dict[SlotName, Attempt]:
    live = (world.state.experiments[id_].attempt for id_ in world.state.live.values())
    return {slot: attempt for attempt in live if attempt is not None for slot in attempt.slots}


def _is_ending(world: World, holder: Attempt) -> bool:
    is_stopping = world.state.experiments[experiment_of(holder.id)].phase is Phase.STOPPING
    return world.is_over(holder) or (is_stopping and not world.is_on_another(holder))


def _is_untold(world: World, holder: Attempt) -> bool:
    """Whether its host has still to tell of it: the machine may have answered under its other name only."""
    host = world.hosts.get(holder.host)
    return host is not None and not is_told(world, host)


def _is_known(world: World, found: _Found) -> bool:
    experiment = world.state.experiments.get(experiment_of(found.attempt))
    newest = None if experiment is None else experiment.attempt
    # By the nonce, for one machine may answer under two names.
    return newest is not None and (newest.id, newest.nonce) == (found.attempt, found.kept.nonce)


def machine_of(host: HostView) -> str:
    return "" if host.facts is None else host.facts.machine_id


# --- an older version of the sheet -------------------------------------------------------------------------------


def decide_restored_words(world: World) -> Iterator[ev.Event]:
    """Action words that came back with an older version of the spreadsheet: nobody has chosen them now."""
    view = world.sheet
    if not world.went_back or view is None or world.must_read or view.layout.problems:
        return
    for row in view.acting:
        id_ = ExperimentId(row.id)
        if id_ in world.state.experiments and view.by_id.get(row.id) is row and not _is_consumed(world, row):
            yield ev.ActionConsumed(experiment=id_, action=row.action, obeyed=False)


def _is_consumed(world: World, row: Row) -> bool:
    return world.state.consumed.get(ExperimentId(row.id)) == row.action


def needs_proof(world: World, view: SheetView) -> bool:
    """Whether an action was chosen or cleared, by a view that may be an old one: a write of ours will tell."""
    if view.is_proven or view.layout.problems or view.layout.position("action") is None:
        return False
    for row in view.acting:
        is_held = view.by_id.get(row.id) is row and ExperimentId(row.id) in world.state.experiments
        if is_held and row.action in ACTIONS and not _is_consumed(world, row):
            return True
    return any(
        id_ in view.by_id and view.by_id[id_].action != word and id_ in world.state.experiments
        for id_, word in world.state.consumed.items()
    )
