"""What must hold after every turn, in the simulator and in production alike.

Each check answers with sentences. When there are any, the daemon stops acting on hosts, keeps showing, and says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from sheetd.core.events import LaunchIntended
from sheetd.core.model import LIVE, Phase, attempt_id
from sheetd.core.observation import Use
from sheetd.core.sharing import held_by_others
from sheetd.core.world import World


def violations(world: World) -> list[str]:
    """Every broken promise, in words. Looks at what is open only, so it can run each turn."""
    return [
        *_slots_are_held_once(world),
        *_accelerators_are_shared_as_agreed(world),
        *world.misassigned,
        *_successors_have_proof(world),
        *_indexes_agree(world),
    ]


def _slots_are_held_once(world: World) -> Iterator[str]:
    held: Counter[str] = Counter()
    for id_ in world.state.live.values():
        attempt = world.state.experiments[id_].attempt
        if attempt is not None:
            held.update(attempt.slots)
    for slot, holders in held.items():
        if holders > 1:
            yield f"slot {slot} is held by {holders} attempts at once"


def _accelerators_are_shared_as_agreed(world: World) -> Iterator[str]:
    """One attempt alone, or no more than every one of those who share it allows."""
    held: dict[tuple[str, str], list[int | None]] = {}
    for id_ in world.state.live.values():
        experiment = world.state.experiments[id_]
        for one in () if experiment.attempt is None else experiment.attempt.accelerators:
            allows = None if one.share is None else experiment.spec.share
            held.setdefault((experiment.attempt.host, one.id), []).append(allows)  # type: ignore[union-attr]
    for (host, accelerator), shares in held.items():
        allowed = min(1 if share is None else share for share in shares)
        if len(shares) > allowed:
            yield f"{accelerator} of {host} is assigned to {len(shares)} attempts, and {allowed} may have it"


def misassigned(world: World, intent: LaunchIntended) -> Iterator[str]:
    """Asked when an intent is recorded: afterwards the host may rightly say something else of what was handed out."""
    host = world.hosts.get(intent.host)
    seen = {} if host is None or host.accelerators_at_s is None else {one.id: one for one in host.accelerators}
    for one in intent.accelerators if seen else ():
        use = seen[one.id].state if one.id in seen else Use.UNKNOWN
        if use is not Use.FREE and not (use is Use.OURS and one.share is not None):
            yield f"{intent.attempt} was given {one.id} of {intent.host}, which is {use.value}"
    yield from held_by_others(world, intent)


def _successors_have_proof(world: World) -> Iterator[str]:
    for id_ in world.state.open:
        experiment = world.state.experiments[id_]
        for number, attempt in enumerate(experiment.attempts, start=1):
            if attempt.id != attempt_id(id_, number):
                yield f"attempt {attempt.id} stands at place {number} of {id_}"
            if attempt.proof is None and number < len(experiment.attempts):
                yield f"{attempt.id} has a successor and no proof that it is over"


def _indexes_agree(world: World) -> Iterator[str]:
    for attempt, id_ in world.state.live.items():
        experiment = world.state.experiments[id_]
        if experiment.phase not in LIVE:
            yield f"{attempt} counts as live, and its experiment is {experiment.phase.value}"
        if experiment.attempt is None or experiment.attempt.id != attempt:
            yield f"{attempt} counts as live, and is not the newest attempt of {id_}"
    for id_ in world.state.open:
        experiment = world.state.experiments[id_]
        if experiment.phase is Phase.ENDED:
            yield f"{id_} counts as open and has ended"
        if experiment.is_live and (experiment.attempt is None or experiment.attempt.id not in world.state.live):
            yield f"{id_} is {experiment.phase.value}, and no attempt of it counts as live"
