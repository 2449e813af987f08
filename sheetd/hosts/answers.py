"""From the agent's JSON to observations.

Hosts are hostile input: an answer is checked field by field, text is cut and made encodable, and numbers that are not
finite are left out. Unknown fields are ignored, so that an agent may say more than this daemon understands. Escape
sequences in text are not removed here but where text is shown.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from sheetd.core.model import AttemptId, HostName
from sheetd.core.observation import (
    AcceleratorSeen,
    AcceleratorsReported,
    AcceleratorsSeen,
    AttemptKept,
    AttemptSeen,
    Exit,
    Holder,
    HostFacts,
    MetricPoint,
)
from sheetd.hosts.wire import ProtocolError

LINES_MAX = 5
TEXT_MAX_CHARS = 500
#: More than any machine has: 16 cards of seven MIG devices each.
ACCELERATORS_MAX = 128
HOLDERS_MAX = 16
#: More than a host begins in years. One that names more wants to fill our memory, or keeps what nobody needs any more.
ATTEMPTS_MAX = 50_000
NOTES_MAX = 8
#: What daemons call attempts. Whatever else a host keeps, none of them has begun it.
_NAME = re.compile(r"[a-z0-9]{4,20}(-[0-9]{1,6})?\.[0-9]{1,6}", re.ASCII)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")

_ATTEMPT = TypeAdapter(AttemptSeen)
_FACTS = TypeAdapter(HostFacts)
_KEPT = TypeAdapter(AttemptKept)
_ACCELERATORS = TypeAdapter(AcceleratorsSeen)
_STATES = TypeAdapter(dict[str, dict[str, Any]])

Kind = TypeVar("Kind")


def text(value: object) -> str:
    """Bounded, and without the half characters that no encoding accepts."""
    return str(value)[:TEXT_MAX_CHARS].encode("utf-8", "replace").decode("utf-8")


def _checked(adapter: TypeAdapter[Kind], answer: object) -> Kind:
    try:
        return adapter.validate_python(answer)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ProtocolError(f"an answer that makes no sense: {place}: {first['msg']}") from error


def attempt_seen(state: object) -> AttemptSeen:
    """One AttemptState. Raises ProtocolError."""
    seen = _checked(_ATTEMPT, state)
    return replace(
        seen,
        exit=None if seen.exit is None else _exit(seen.exit),
        last_lines=tuple(text(line) for line in seen.last_lines[-LINES_MAX:]),
        reason=_text_or_none(seen.reason),
    )


def _exit(exit_: Exit) -> Exit:
    error, gave_up = _text_or_none(exit_.error), _text_or_none(exit_.gave_up)
    return replace(exit_, witness=text(exit_.witness), error=error, gave_up=gave_up)


def _text_or_none(value: str | None) -> str | None:
    return None if value is None else text(value)


def attempts_seen(answer: Mapping[str, Any]) -> dict[AttemptId, AttemptSeen]:
    """The answer to `status` and `watch`, without what is no attempt's name. Raises ProtocolError."""
    states = _few(_checked(_STATES, answer.get("attempts")))
    return {AttemptId(name): attempt_seen(state) for name, state in states.items() if _NAME.fullmatch(name)}


def _few(attempts: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Refused rather than cut: what is not named counts as not there."""
    if len(attempts) > ATTEMPTS_MAX:
        raise ProtocolError(
            f"{len(attempts):,} attempts on one machine, and {ATTEMPTS_MAX:,} are believed: remove old ones there"
        )
    return attempts


def attempts_kept(answer: Mapping[str, Any]) -> dict[AttemptId, AttemptKept]:
    """The answer to `describe`. Raises ProtocolError."""
    told = _few(_checked(_STATES, answer.get("attempts")))
    return {AttemptId(name): _attempt_kept(kept) for name, kept in told.items() if _NAME.fullmatch(name)}


def _attempt_kept(kept: Mapping[str, Any]) -> AttemptKept:
    frozen = kept.get("frozen")
    if not isinstance(frozen, Mapping):
        return AttemptKept(nonce=text(kept.get("nonce") or ""))
    return _checked(_KEPT, {**frozen, "nonce": kept.get("nonce")})


def host_facts(hello: Mapping[str, Any]) -> HostFacts:
    """The answer to `hello`. The parts of the boot identity become one string to compare. Raises ProtocolError."""
    # What a host does not have, such as a machine id, it tells as null.
    known = {key: text(value) if isinstance(value, str) else value for key, value in hello.items() if value is not None}
    return _checked(_FACTS, {**known, "boot": _boot_identity(hello)})


def _boot_identity(hello: Mapping[str, Any]) -> str:
    boot = hello.get("boot")
    if not isinstance(boot, Mapping):
        raise ProtocolError("a greeting without a boot identity")
    return text(" ".join(str(boot.get(part)) for part in ("boot_id", "pidns", "pid1_ticks")))


def accelerators_seen(answer: Mapping[str, Any]) -> AcceleratorsSeen:
    """The answer to `accelerators`, and the push of that name. Raises ProtocolError."""
    seen = _checked(_ACCELERATORS, answer)
    if len(seen.accelerators) > ACCELERATORS_MAX:
        raise ProtocolError(f"{len(seen.accelerators)} accelerators on one machine")
    accelerators = tuple(_accelerator(one) for one in seen.accelerators)
    if len({one.id for one in accelerators}) < len(accelerators):
        raise ProtocolError("two accelerators of one id")
    age_s = None if seen.age_s is None else max(0.0, _finite(seen.age_s, "age_s"))
    notes = tuple(text(note) for note in seen.notes[:NOTES_MAX])
    return replace(seen, accelerators=accelerators, notes=notes, age_s=age_s)


def accelerators_report(host: HostName, push: Mapping[str, Any]) -> AcceleratorsReported:
    """What a host pushed of its accelerators. Raises ProtocolError."""
    seen = accelerators_seen(push)
    return AcceleratorsReported(
        host=host,
        accelerators=seen.accelerators,
        notes=seen.notes,
        age_s=seen.age_s,
        samples=seen.samples,
        is_probing=seen.is_probing,
    )


def _accelerator(seen: AcceleratorSeen) -> AcceleratorSeen:
    if not _ID.fullmatch(seen.id):
        raise ProtocolError("an accelerator whose id cannot be one")
    return replace(
        seen,
        kind=text(seen.kind),
        model=text(seen.model),
        why=text(seen.why),
        memory_mb=_size(seen.memory_mb),
        used_mb=_size(seen.used_mb),
        busy_pct=_size(seen.busy_pct),
        holders=tuple(
            Holder(pid=one.pid, user=text(one.user), command=text(one.command)) for one in seen.holders[:HOLDERS_MAX]
        ),
        attempts=tuple(name for name in seen.attempts if _NAME.fullmatch(name))[:HOLDERS_MAX],
    )


def _size(value: int | None) -> int | None:
    return value if value is not None and 0 <= value < 2**53 else None


def seconds(answer: Mapping[str, Any], key: str) -> float:
    """A finite number of seconds. Raises ProtocolError."""
    return _finite(answer.get(key), key)


def count(answer: Mapping[str, Any], key: str) -> int:
    """A number of bytes, or a place in a file. Raises ProtocolError."""
    value = answer.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise ProtocolError(f"an answer whose {key} is no count")
    return value


def metric_points(points: object) -> tuple[MetricPoint, ...]:
    """A job may have printed anything: what is no finite number is left out, and a point without numbers is none."""
    if not isinstance(points, Sequence) or isinstance(points, str):
        raise ProtocolError("metrics that are no list")
    found = (_point(point) for point in points)
    return tuple(point for point in found if point is not None)


def _point(point: object) -> MetricPoint | None:
    if not isinstance(point, Mapping) or not isinstance(point.get("values"), Mapping):
        return None
    values = {text(name): float(value) for name, value in point["values"].items() if _is_finite(value)}
    step = point.get("step")
    return MetricPoint(values=values, step=_finite(step, "step") if _is_finite(step) else None) if values else None


def _is_finite(value: object) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False


def _finite(value: object, key: str) -> float:
    if isinstance(value, int | float) and _is_finite(value):
        return float(value)
    raise ProtocolError(f"an answer whose {key} is no number")
