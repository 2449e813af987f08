"""NVIDIA: what to ask nvidia-smi, and what its text says. Text in, devices out.

Its text is promised to nobody, so the questions are old and short, each answer is read line by line, and a line that
is no row is a complaint about one card and not the end of the others. Whatever says that a value is not available
makes that value unknown. Names come with commas in them and are read from both ends.

Weak: of a process on a card that is cut into MIG devices, nvidia-smi's table does not say on which of them it is.
"""

import re
from typing import Dict, List, NamedTuple, Optional, Set, Tuple

from .accelerators import Device, Holder, Reading, clean, number

FORMAT = "--format=csv,noheader,nounits"
CARDS = ["--query-gpu=index,uuid,name,memory.total,memory.used,utilization.gpu", FORMAT]
APPS = ["--query-compute-apps=gpu_uuid,pid,used_memory,process_name", FORMAT]
LIST = ["-L"]
# One unknown column spoils a whole answer, so the newest question is asked first and the oldest driver has none.
MODES = (
    ("uuid", "mig.mode.current", "compute_mode", "ecc.errors.uncorrected.volatile.total", "gpu_recovery_action"),
    ("uuid", "mig.mode.current", "compute_mode", "ecc.errors.uncorrected.volatile.total"),
    ("uuid", "mig.mode.current", "compute_mode"),
    ("uuid", "compute_mode"),
)
BUS = re.compile(r"([0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f])")
MIG_PROFILE_GB = re.compile(r"\.([0-9]+)gb")
ADVICE = {
    "reset": "it needs a reset: nvidia-smi --gpu-reset, or a reboot",
    "reboot": "it needs a reboot of the host",
    "drain p2p": "it has to be drained and reset",
    "drain and reset": "it has to be drained and reset",
}

Modes = Dict[str, Dict[str, str]]


class Card(NamedTuple):
    """A row of CARDS."""

    device: Device
    is_broken: bool  # "[Unknown Error]" where a number belongs


class App(NamedTuple):
    """A row of APPS. Old drivers leave the UUID out."""

    uuid: str
    pid: int
    name: str


class Mig(NamedTuple):
    """A part of a card."""

    uuid: str
    profile: str


def ask_modes(columns: Tuple[str, ...]) -> List[str]:
    return ["--query-gpu=" + ",".join(columns), FORMAT]


def is_unknown_field(text: str) -> bool:
    return "not a valid field" in text


def cards(text: str) -> Tuple[List[Card], List[str]]:
    """The rows, and every other line."""
    found, complaints = [], []
    for line in text.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) >= 6 and parts[0].isdigit() and parts[1].startswith("GPU-"):
            total, used, busy = parts[-3:]
            name = ", ".join(parts[2:-3])
            device = Device("nvidia", parts[1], int(parts[0]), name, number(total), number(used), number(busy))
            found.append(Card(device, any("unknown error" in part.lower() for part in parts[-3:])))
        elif line.strip():
            complaints.append(clean(line))
    return found, complaints


def modes(text: str, columns: Tuple[str, ...]) -> Modes:
    """By UUID, each column's word."""
    rows = ([part.strip() for part in line.split(",")] for line in text.splitlines())
    return {row[0]: dict(zip(columns, row)) for row in rows if len(row) == len(columns) and row[0].startswith("GPU-")}  # noqa: B905


def apps(text: str) -> List[App]:
    """The rows; what a process calls itself stands last, and may hold commas."""
    found = []
    for line in text.splitlines():
        parts = [part.strip() for part in line.split(",", 3)]
        if len(parts) == 4 and parts[1].isdigit():
            found.append(App(parts[0], int(parts[1]), parts[3]))
    return found


def parts_of(text: str) -> Dict[str, List[Mig]]:
    """By card, its MIG devices, as `-L` lists them indented below it."""
    found: Dict[str, List[Mig]] = {}
    card = ""
    for line in text.splitlines():
        uuid = re.search(r"\(UUID: ([^)\s]+)\)", line)
        if uuid is None:
            continue
        if line.startswith("GPU "):
            card = uuid.group(1)
            found[card] = []
        elif card and line.lstrip().startswith("MIG "):
            found[card].append(Mig(uuid.group(1), line.split()[1]))
    return found


def failure(code: int, text: str, hardware: int) -> Optional[Tuple[str, str]]:
    """Why nvidia-smi answered for no card at all. None when there is simply no card."""
    lines = [clean(line) for line in text.splitlines() if line.strip()]
    said = lines[0] if lines else "nothing"
    if "version mismatch" in text:
        return ("sick", "the driver was upgraded below the running one ({}): reboot the host".format(said))
    if "No devices were found" in text or code == 6:
        return ("sick", "nvidia-smi finds no card, and {} are plugged in".format(hardware)) if hardware else None
    if "couldn't communicate" in text or code == 9:
        return ("sick", "the NVIDIA driver is not loaded: {}".format(said)) if hardware else None
    if not hardware and code == 127:
        return None
    return ("sick", "nvidia-smi ends with {}: {}".format(code, said))


def not_installed(hardware: int) -> Optional[Tuple[str, str]]:
    if not hardware:
        return None
    return ("unknown", 'there are NVIDIA cards and no nvidia-smi: install it, or set accelerators = "off"')


def lost(complaint: str) -> Optional[Device]:
    """The card that a complaint is about."""
    place = BUS.search(complaint)
    if place is None:
        return None
    return Device("nvidia", "PCI-" + place.group(1).lower(), 0, "unknown", trouble=("sick", complaint))


def reading(
    rows: List[Card], complaints: List[str], mode: Modes, parts: Dict[str, List[Mig]], running: Dict[str, List[Holder]]
) -> Reading:
    """Devices from everything that was asked. `running` has the holders by UUID; under "" those that name none."""
    devices: List[Device] = []
    notes: List[str] = []
    for card, is_broken in rows:
        said = mode.get(card.id, {})
        device = card._replace(holders=tuple(running.get(card.id, [])))
        errors = number(said.get("ecc.errors.uncorrected.volatile.total", ""))
        if errors:
            notes.append(
                "card {} has had {} uncorrectable memory errors since the driver was loaded".format(
                    card.position, errors
                )
            )
        if "exclusive" in said.get("compute_mode", "").lower():
            notes.append("card {} is in {} mode: one process at a time".format(card.position, said["compute_mode"]))
        trouble = trouble_of(is_broken, said)
        if trouble is not None:
            devices.append(device._replace(trouble=trouble))
        elif said.get("mig.mode.current", "").lower() == "enabled":
            devices += mig_devices(device, parts.get(card.id, []), running)
        else:
            devices.append(device)
    unnamed = tuple(holder for holder in running.get("", []) if holder.attempt is None)
    if unnamed:
        why = "process {} computes, and this driver does not say on which card".format(unnamed[0].pid)
        devices = [one if one.trouble or one.holders else one._replace(trouble=("unknown", why)) for one in devices]
    broken = [device for device in map(lost, complaints) if device is not None]
    notes += [line for line in complaints if lost(line) is None]
    return Reading(devices + broken, notes)


def trouble_of(is_broken: bool, said: Dict[str, str]) -> Optional[Tuple[str, str]]:
    advice = ADVICE.get(said.get("gpu_recovery_action", "").lower())
    if advice is not None:
        return ("sick", advice)
    if said.get("compute_mode", "").lower() == "prohibited":
        return ("foreign", "reserved by whoever keeps the host: its compute mode is Prohibited")
    if is_broken:
        return ("unknown", "nvidia-smi says [Unknown Error] about it")
    return None


def mig_devices(card: Device, parts: List[Mig], running: Dict[str, List[Holder]]) -> List[Device]:
    """The parts of a card. What is on the card and cannot be placed on a part makes every idle part unknown."""
    if not parts:
        why = "MIG is enabled and the card is not partitioned: nvidia-smi mig -cgi, or nvidia-smi -mig 0"
        return [card._replace(trouble=("sick", why))]
    devices = []
    placed: Set[Optional[int]] = {holder.pid for part in parts for holder in running.get(part.uuid, [])}
    loose = [holder for holder in card.holders if holder.pid not in placed]
    for index, part in enumerate(parts):
        gigabytes = MIG_PROFILE_GB.search(part.profile)
        holders = tuple(running.get(part.uuid, []))
        device = Device(
            "nvidia",
            part.uuid,
            index,
            "{} MIG {}".format(card.model, part.profile),
            memory_mb=int(gigabytes.group(1)) * 1024 if gigabytes else None,
            used_mb=None if holders or placed or loose else card.used_mb,
            holders=holders,
            counts_memory=not holders and not placed,
        )
        if loose and not holders:
            why = "process {} is on its card, and nvidia-smi does not say on which MIG device".format(loose[0].pid)
            device = device._replace(trouble=("unknown", why))
        devices.append(device)
    return devices
