"""TPU chips: which there are and who holds them, by device files alone.

jax and libtpu are never asked: asking takes the chips. A chip is held by whoever has its file open, and other users'
open files are seen by root only, so without root "nobody seen" is not "nobody".

Weak: a holder inside another pid namespace is not seen even by root.
"""

import re
from typing import Dict, List, NamedTuple, Optional, Tuple

from .accelerators import Device, Holder, Reading

VENDOR = "0x1ae0"
ACCEL = re.compile(r"accel([0-9]+)\Z")
VFIO = re.compile(r"[0-9]+\Z")
GIB_MB = 1024
# By PCI device, or by subsystem where two generations share one: name, and memory of a chip.
GENERATIONS: Dict[str, Tuple[str, int]] = {
    "0x004e": ("TPU v2", 16 * GIB_MB),
    "0x004f": ("TPU v3", 32 * GIB_MB),
    "0x005e": ("TPU v4", 32 * GIB_MB),
    "0x0063": ("TPU v5e", 16 * GIB_MB),
    "0x0062": ("TPU v5p", 95 * GIB_MB),
    "0x006f": ("TPU v6e", 32 * GIB_MB),
    "0x0076": ("TPU7x", 192 * GIB_MB),
}
LOCKFILE = "/tmp/libtpu_lockfile"  # noqa: S108 - libtpu's choice, not ours


class Chip(NamedTuple):
    """A device file, and what the kernel says of the card behind it ("" where it does not)."""

    path: str
    address: str
    device: str
    subsystem: str


class Scan(NamedTuple):
    """Who has which file open. `saw_all` only for eyes that see every user's files."""

    holders: Dict[str, List[Holder]]
    saw_all: bool
    trouble: str


def device_of(chip: Chip, index: int) -> Device:
    name, memory_mb = GENERATIONS.get(chip.subsystem) or GENERATIONS.get(chip.device) or ("TPU", None)
    place = chip.address or chip.path.rpartition("/dev/")[2].replace("/", "-")
    return Device("tpu", "TPU-" + place, index, name, memory_mb, counts_memory=False)


def reading(chips: List[Chip], scan: Scan) -> Reading:
    found = []
    for index, chip in enumerate(chips):
        holders = tuple(scan.holders.get(chip.path, []))
        device = device_of(chip, index)._replace(holders=holders)
        if not holders and not scan.saw_all:
            why = "whether another user holds it cannot be seen{}: allow `sudo -n` or log in as root"
            device = device._replace(trouble=("unknown", why.format(" (" + scan.trouble + ")" if scan.trouble else "")))
        found.append(device)
    return Reading(found, [])


def table(text: str) -> Tuple[Dict[str, List[Tuple[int, int, str]]], bool]:
    """What a scan prints: `file<TAB>pid<TAB>uid<TAB>command` lines, and `done` when it saw all of them."""
    found: Dict[str, List[Tuple[int, int, str]]] = {}
    for line in text.splitlines():
        parts = line.split("\t", 3)
        if len(parts) == 4 and parts[1].isdigit() and parts[2].isdigit():
            found.setdefault(parts[0], []).append((int(parts[1]), int(parts[2]), parts[3]))
    return found, text.rstrip("\n").endswith("done")


def chip_number(path: str) -> Optional[int]:
    """In the order of the files' numbers, which is libtpu's order of chips."""
    name = path.rpartition("/")[2]
    matched = ACCEL.match(name) or (VFIO.match(name) and re.match(r"([0-9]+)", name))
    return int(matched.group(1)) if matched else None
