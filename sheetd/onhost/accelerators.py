"""Accelerators: what samples of them say, and whether one is free. Facts in, verdict out, not one system call.

An accelerator that somebody else uses must never be taken, so everything here leans one way: free is only what two
samples agree on, what cannot be read is unknown, and unknown never becomes free by waiting. The identity of an
accelerator is its id (a UUID, or where there is none its place on the bus), never its index: a card that falls off the
bus moves the others' indices.

Weak: memory that is in use while no process is listed (another container's, or an orphan's) has no owner to name.
"""

from typing import Any, Dict, List, NamedTuple, Optional, Tuple

IDLE_BUSY_PCT = 5
APART_S = 2.0  # two samples closer than this are one
HUNG_TIMES = 3
HOLDERS_MAX = 8
NOTES_MAX = 8
TEXT_MAX = 200

Json = Dict[str, Any]


class Holder(NamedTuple):
    """A process that has an accelerator open. `attempt` is the one of ours that it carries the mark of."""

    pid: Optional[int]
    user: str = ""
    command: str = ""
    attempt: Optional[str] = None


class Device(NamedTuple):
    """One accelerator in one sample. `trouble` is a state and a sentence that no number can overrule."""

    kind: str
    id: str
    position: int  # its index, which is another's as soon as a card is gone
    model: str = ""
    memory_mb: Optional[int] = None
    used_mb: Optional[int] = None
    busy_pct: Optional[int] = None
    trouble: Optional[Tuple[str, str]] = None
    holders: Tuple[Holder, ...] = ()
    leased_by: Optional[Tuple[str, ...]] = None  # attempts of ours; empty: the lease is not below this root
    counts_memory: bool = True  # a TPU's holders say everything, and its memory cannot be asked for


class Reading(NamedTuple):
    """What one vendor's tool said. `failure` is a state and a sentence for when it said nothing of any device."""

    devices: List[Device]
    notes: List[str]
    failure: Optional[Tuple[str, str]] = None


def number(text: str) -> Optional[int]:
    """A whole number, or None for every word by which a tool says that it has none."""
    try:
        value = float(text.strip())
    except ValueError:
        return None
    return int(value) if 0 <= value < 2**53 else None


def clean(text: str, most: int = TEXT_MAX) -> str:
    """One printable line: what a process calls itself, and what a tool prints, is not ours."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text[: 4 * most]).split())[:most]


def complete(kind: str, reading: Reading, known: List[Device], hardware: int) -> List[Device]:
    """All devices of a kind, also those that are not answered for: what was seen since the boot does not just vanish.

    `hardware` counts what is plugged in without asking the tool. With it, a tool that says nothing cannot turn a
    machine with accelerators into one without.
    """
    seen = {device.id for device in reading.devices}
    gone = [device for device in known if device.kind == kind and device.id not in seen]
    if reading.failure is not None:
        if not gone and not seen and hardware:
            gone = [Device(kind, kind + "-unseen", 0, "unknown")]
        return reading.devices + [blank(device, reading.failure) for device in gone]
    broken = [device for device in reading.devices if device.trouble and device.id.startswith("PCI-")]
    whole = [device for device in reading.devices if device not in broken]
    if gone:  # a broken row names no UUID: it is one of those that are gone
        said = "; ".join(device.trouble[1] for device in broken if device.trouble)
        why = "lost: it was there earlier in this boot" + (" ({})".format(said) if said else "")
        return whole + [blank(device, ("sick", why)) for device in gone] + broken[len(gone) :]
    return whole + broken


def blank(device: Device, trouble: Tuple[str, str]) -> Device:
    return device._replace(used_mb=None, busy_pct=None, holders=(), leased_by=None, trouble=trouble)


def hung(tool: str, times: int, deadline_s: float) -> Tuple[str, str]:
    """What to say of all that a tool would answer for, when it did not answer so many times in a row."""
    if times < HUNG_TIMES:
        return ("unknown", "{} did not answer within {:.0f} s".format(tool, deadline_s))
    why = "{} did not answer within {:.0f} s, {} times in a row: the driver may be stuck, and only a reboot helps"
    return ("sick", why.format(tool, deadline_s, times))


def judge(device: Device, before: Optional[Device], idle_memory_mb: int) -> Tuple[str, str]:
    """State and sentence of a device, from its newest sample and the one before it."""
    verdict = at_once(device, idle_memory_mb)
    if verdict[0] != "free":
        return verdict
    if before is None or at_once(before, idle_memory_mb)[0] != "free":
        return ("unknown", "free in one sample; a second one has to agree")
    return verdict


def at_once(device: Device, idle_memory_mb: int) -> Tuple[str, str]:
    """What one sample says by itself."""
    if device.trouble is not None:
        return device.trouble
    others = [holder for holder in device.holders if holder.attempt is None]
    if others:
        return ("foreign", "used by {}".format(people(others)))
    ours = attempts_on(device)
    if device.holders:
        return ("ours", "held by {}".format(", ".join(ours)))
    if device.leased_by is not None:
        if ours:
            return ("ours", "leased by {}".format(", ".join(ours)))
        return ("foreign", "leased by another sheetd on this host")
    if device.counts_memory and device.used_mb is None:
        return ("unknown", "how much of its memory is in use cannot be read")
    if (device.used_mb or 0) > idle_memory_mb:
        words = "{} MB are in use (idle is up to {} MB) and no process is listed: a container, a display, or an orphan"
        return ("unknown", words.format(device.used_mb, idle_memory_mb))
    if (device.busy_pct or 0) > IDLE_BUSY_PCT:
        return ("unknown", "it is {} % busy, and no process is listed".format(device.busy_pct))
    return ("free", "free in two samples")


def people(holders: List[Holder]) -> str:
    first = holders[0]
    named = "{} ({}, process {})".format(first.user or "somebody", first.command or "?", first.pid)
    return named if len(holders) == 1 else "{} and {} more".format(named, len(holders) - 1)


def attempts_on(device: Device) -> List[str]:
    leased = device.leased_by or ()
    return sorted({holder.attempt for holder in device.holders if holder.attempt} | set(leased))


def described(device: Device, verdict: Tuple[str, str]) -> Json:
    """The device as the daemon is told of it."""
    return {
        "kind": device.kind,
        "id": device.id,
        "index": device.position,
        "model": clean(device.model),
        "memory_mb": device.memory_mb,
        "used_mb": device.used_mb,
        "busy_pct": device.busy_pct,
        "state": verdict[0],
        "why": clean(verdict[1]),
        "holders": [
            {"pid": holder.pid, "user": holder.user, "command": holder.command}
            for holder in device.holders[:HOLDERS_MAX]
        ],
        "attempts": attempts_on(device),
    }


def packed(device: Device) -> Json:
    """As it is kept in a file."""
    return dict(device._asdict(), holders=[list(holder) for holder in device.holders])


def unpacked(kept: Json) -> Device:
    pairs = {name: tuple(kept[name]) if kept[name] is not None else None for name in ("trouble", "leased_by")}
    return Device(**{**kept, **pairs, "holders": tuple(Holder(*one) for one in kept["holders"])})
