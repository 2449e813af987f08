"""AMD: what to ask rocm-smi, and what its JSON says. Text in, devices out.

Every value is a string, keys and their spelling differ by version, and warnings stand before the JSON. Which process is
on which card it does not say: memory and load of a card do, and a card in use belongs to everybody who computes.

Weak: a card without a unique id is known by its place on the bus, and without that by its number.
"""

import json
import re
from typing import Any, Dict, List, Optional, Tuple

from .accelerators import IDLE_BUSY_PCT, Device, Holder, Reading, clean, number

CARDS = (
    ["--showuse", "--showmeminfo", "vram", "--showuniqueid", "--showbus", "--showproductname", "--json"],
    ["--showuse", "--showmeminfo", "vram", "--json"],
)
PIDS = ["--showpids", "--json"]
FOLDERS = ("/opt/rocm/bin",)
MIB = 1 << 20
UNIQUE = re.compile(r"0x([0-9a-fA-F]{1,16})\Z")
# Text that says nothing about an accelerator's health.
BENIGN = ("low-power state", "No JSON data to report")

Json = Dict[str, Any]


def loaded(text: str) -> Tuple[Json, List[str]]:
    """The JSON, and what was said before it. Empty where there is none."""
    begin = text.find("{")
    said = text if begin < 0 else text[:begin]
    words = [clean(line) for line in said.splitlines() if line.strip() and not any(word in line for word in BENIGN)]
    if begin < 0:
        return {}, words
    try:
        found, _ = json.JSONDecoder().raw_decode(text[begin:])
    except ValueError:
        return {}, [*words, "rocm-smi's JSON cannot be read"]
    return (found, words) if isinstance(found, dict) else ({}, words)


def value(card: Json, *names: str) -> str:
    """The first of these that the card has, however it is spelled."""
    spelled = {str(key).lower(): str(said) for key, said in card.items()}
    return next((spelled[name] for name in names if name in spelled), "")


def devices(text: str) -> Tuple[List[Device], List[str]]:
    answer, words = loaded(text)
    found = []
    for name, card in answer.items():
        index = re.match(r"card([0-9]+)\Z", name)
        if index is None or not isinstance(card, dict):
            continue
        total, used = (value(card, key) for key in ("vram total memory (b)", "vram total used memory (b)"))
        found.append(
            Device(
                "amd",
                identity(card, name),
                int(index.group(1)),
                value(card, "card series", "card model") or "AMD GPU",
                mebibytes(total),
                mebibytes(used),
                number(value(card, "gpu use (%)")),
            )
        )
    return found, words


def identity(card: Json, name: str) -> str:
    unique = UNIQUE.match(value(card, "unique id"))
    if unique is not None and int(unique.group(1), 16):
        return "GPU-{:016x}".format(int(unique.group(1), 16))
    bus = re.sub(r"[^0-9a-fA-F:.]", "", value(card, "pci bus"))
    return "PCI-" + bus.lower() if ":" in bus else "AMD-" + name


def mebibytes(text: str) -> Optional[int]:
    size = number(text)
    return None if size is None else size // MIB


def pids(text: str) -> List[int]:
    """Who computes: `{"system": {"PID28411": "python3, 1, ..."}}`, and no JSON at all for nobody."""
    system = loaded(text)[0].get("system")
    names = system if isinstance(system, dict) else {}
    return sorted(int(name[3:]) for name in names if re.match(r"PID[0-9]{1,9}\Z", str(name)))


def reading(cards: List[Device], words: List[str], running: List[Holder], idle_memory_mb: int) -> Reading:
    """A card that is in use is held by everybody who computes; one that is idle by none of them."""
    placed = []
    for card in cards:
        busy = (card.used_mb or 0) > idle_memory_mb or (card.busy_pct or 0) > IDLE_BUSY_PCT
        placed.append(card._replace(holders=tuple(running) if busy else ()))
    return Reading(placed, words)


def failure(code: int, text: str, hardware: int) -> Optional[Tuple[str, str]]:
    if not hardware and code == 127:
        return None
    lines = [clean(line) for line in text.splitlines() if line.strip()]
    said = lines[-1] if lines else "nothing"
    return ("sick", "rocm-smi ends with {}: {}".format(code, said)) if hardware else None
