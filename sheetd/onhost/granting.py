"""Granting: what an attempt asked for becomes a lease on accelerators that are there, or a refusal.

Nothing is looked for here: there is what the last sample since the boot named. A refusal is told in the words of
the attempt's tomb, so that a repeated launch is answered like the first.
"""

import os
from typing import Any, Dict, List, Optional, Tuple

from .attempt import Attempt
from .lease import Lease
from .prober import load
from .system import System, dump

Json = Dict[str, Any]


def grant(system: System, attempt: Attempt, boot: Json, spec: Json) -> Tuple[Lease, Optional[str]]:
    """The lease, and a refusal when one of them is gone or taken; nothing is held then."""
    wanted = spec.get("accelerators") or []
    lease = Lease(system, wanted)
    if not wanted:
        return lease, None
    given, missing = there(attempt.root, boot, wanted)
    if missing is not None:
        return lease, "accelerator_gone: there is no accelerator {} on this host (any more)".format(missing)
    taken = lease.take()
    if taken is not None:
        lease.give_back()
        return lease, "accelerator_busy: {} is leased by another attempt or another user of this host".format(taken)
    try:
        system.replace(os.path.join(attempt.folder, "granted.json"), dump({"accelerators": given}))
    except OSError:
        lease.give_back()
        raise
    return lease, None


def there(root: str, boot: Json, wanted: List[Json]) -> Tuple[List[Json], Optional[str]]:
    """The accelerators with their index and how many of the kind there are; or the id of one that is not there."""
    kept = load(root, "samples.json")
    samples = (kept.get("samples") or []) if kept.get("boot") == boot else []
    known = {one["id"]: one for one in samples[-1]["devices"]} if samples else {}
    given = []
    for one in wanted:
        found = known.get(one["id"])
        if found is None or found["kind"] != one["kind"]:
            return [], one["id"]
        total = sum(1 for other in known.values() if other["kind"] == one["kind"])
        given.append({"kind": one["kind"], "id": one["id"], "index": found["position"], "total": total})
    return given, None
