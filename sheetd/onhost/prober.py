"""The prober: a detached child that asks the machine's tools about its accelerators and writes down what they said.

It is never on the way of a launch, a stop or a supervisor. One may be outstanding below a root, ever: it holds the lock
`probe/lock`, and so does every tool that it runs. A tool that hangs in the kernel keeps it held after the prober's end,
and no second one is started beside it.

    probe/lock          flock: a prober is at work, or a tool of one hangs
    probe/begun.json    which tool was asked last, and when (boot clock)
    probe/samples.json  the last two samples, all that was seen since the boot, and how often a tool hung in a row

Weak: what it calls ours is what carries an attempt's mark in its environment or has a forebear that does.
"""

import os
import time
from typing import Any, Dict, List, Optional, Tuple

from . import amd, nvidia, tpu
from .accelerators import APART_S, NOTES_MAX, Device, Holder, Reading, clean, complete, hung, packed, unpacked
from .lease import is_leased
from .owners import Owners
from .system import System, dump, slurp

DEADLINE_S = 45.0
SLOW_S = 10.0
REUSE_S = 30.0  # a sample so young is the first of two

Json = Dict[str, Any]


def load(root: str, name: str) -> Json:
    """A file of the probe's, or nothing."""
    import json

    try:
        loaded = json.loads(slurp(os.path.join(root, "probe", name)).decode("utf-8"))
    except (OSError, ValueError):
        return {}
    return loaded if isinstance(loaded, dict) else {}


class Prober:
    """One probe: one or two samples."""

    def __init__(self, system: System, root: str, lock: int, idle_memory_mb: int) -> None:
        self.system = system
        self.root = root
        self.lock = lock
        self.idle_memory_mb = idle_memory_mb
        self.boot = system.boot()
        former = load(root, "samples.json")
        self.kept: Json = former if former.get("boot") == self.boot else {}
        self.owners = Owners(system, root)
        self.hangs: Dict[str, int] = dict(self.kept.get("hangs") or {})
        self.dialect: Dict[str, int] = dict(self.kept.get("dialect") or {})
        self.slow: Dict[str, float] = {}
        self.notes: List[str] = []

    def probe(self) -> None:
        samples = self.kept.get("samples") or []
        if not samples or self.system.boottime() - samples[-1]["at"] > REUSE_S:
            self.sample()
            if any(self.hangs.values()):  # to ask again at once would only hang again
                return
        last = self.kept["samples"][-1]["at"] if self.kept.get("samples") else 0.0
        time.sleep(max(0.0, last + APART_S - self.system.boottime()))
        self.sample()

    def sample(self) -> None:
        """Ask everything once, and keep what was said."""
        self.notes, self.slow = [], {}
        known = [unpacked(one) for one in self.kept.get("known") or []]
        devices: List[Device] = []
        began = self.system.boottime()
        for kind, ask in (("nvidia", self.ask_nvidia), ("amd", self.ask_amd), ("tpu", self.ask_tpu)):
            reading, hardware = ask()
            self.notes += reading.notes
            devices += complete(kind, reading, known, hardware)
        devices = [self.with_lease(device) for device in devices]
        for tool, took_s in sorted(self.slow.items()):
            advice = ": enable nvidia-persistenced" if tool == "nvidia-smi" else ""
            self.notes.append("{} took {:.0f} s{}".format(tool, took_s, advice))
        now = self.system.boottime()
        one = {
            "at": now,
            "began": began,
            "devices": [packed(device) for device in devices],
            "notes": self.notes[:NOTES_MAX],
        }
        by_id = {device.id: device for device in [*known, *devices] if not device.id.endswith("-unseen")}
        by_id = {id_: device for id_, device in by_id.items() if not id_.startswith("PCI-") or device.kind == "amd"}
        self.kept = {
            "boot": self.boot,
            "samples": [*(self.kept.get("samples") or [])[-1:], one],
            "known": [packed(device._replace(holders=(), trouble=None, leased_by=None)) for device in by_id.values()],
            "hangs": self.hangs,
            "dialect": self.dialect,
        }
        self.system.replace(os.path.join(self.root, "probe", "samples.json"), dump(self.kept))

    def ask(self, tool: str, path: str, words: List[str]) -> Tuple[int, str, bool]:
        """What a tool said: its code, its text, and whether it answered."""
        begun = {"at": self.system.boottime(), "tool": tool, "boot": self.boot}
        self.system.replace(os.path.join(self.root, "probe", "begun.json"), dump(begun))
        said = self.system.tools.run([path, *words], DEADLINE_S, self.lock)
        if said.took_s > SLOW_S:
            self.slow[tool] = max(said.took_s, self.slow.get(tool, 0.0))
        self.hangs[tool] = self.hangs.get(tool, 0) + 1 if said.hung else 0
        return said.code, said.text, not said.hung

    def gave_no_answer(self, tool: str) -> Reading:
        return Reading([], [], hung(tool, self.hangs[tool], DEADLINE_S))

    # --- NVIDIA ------------------------------------------------------------------------------------------------------

    def ask_nvidia(self) -> Tuple[Reading, int]:
        files, tool = len(self.system.tools.device_files("nvidia[0-9]+")), "nvidia-smi"
        path = self.system.tools.find(tool)
        if path is None:
            return Reading([], [], nvidia.not_installed(files)), files
        hardware = max(files, self.system.tools.cards("0x10de"))
        code, text, answered = self.ask(tool, path, nvidia.CARDS)
        if not answered:
            return self.gave_no_answer(tool), max(hardware, 1)
        rows, complaints = nvidia.cards(text)
        if not rows and not any(map(nvidia.lost, complaints)):
            return Reading([], [], nvidia.failure(code, text, hardware)), hardware
        modes = self.nvidia_modes(path)
        parts: Dict[str, List[nvidia.Mig]] = {}
        if modes is not None and any(said.get("mig.mode.current") == "Enabled" for said in modes.values()):
            _, text, answered = self.ask(tool, path, nvidia.LIST)
            parts = nvidia.parts_of(text)
        apps = self.ask(tool, path, nvidia.APPS) if modes is not None and answered else (0, "", False)
        if modes is None or not apps[2]:
            return Reading([], [], hung(tool, self.hangs[tool], DEADLINE_S)), max(hardware, len(rows))
        if apps[0] != 0 and not nvidia.apps(apps[1]):
            why = ("unknown", "which processes use it cannot be asked: {}".format(clean(apps[1])))
            rows = [row._replace(device=row.device._replace(trouble=why)) for row in rows]
            return Reading([row.device for row in rows], complaints), hardware
        running = self.nvidia_holders(nvidia.apps(apps[1]))
        return nvidia.reading(rows, complaints, modes, parts, running), hardware

    def nvidia_modes(self, path: str) -> Optional[nvidia.Modes]:
        """MIG and compute modes, and what is known of each card's health; None when the tool hung."""
        for rung in range(self.dialect.get("nvidia", 0), len(nvidia.MODES)):
            code, text, answered = self.ask("nvidia-smi", path, nvidia.ask_modes(nvidia.MODES[rung]))
            if not answered:
                return None
            if not nvidia.is_unknown_field(text) and code != 2:
                self.dialect["nvidia"] = rung
                return nvidia.modes(text, nvidia.MODES[rung])
        return {}

    def nvidia_holders(self, apps: List[nvidia.App]) -> Dict[str, List[Holder]]:
        """Who computes, by card. A process of ours that was given MIG devices is on those of its card."""
        running: Dict[str, List[Holder]] = {}
        for app in apps:
            holder = self.owners.holder(app.pid, app.name)
            parts = [one for one in self.owners.accelerators(holder.attempt) if one.startswith("MIG-")]
            for place in parts or [app.uuid]:
                running.setdefault(place, []).append(holder)
        return running

    # --- AMD and TPU -------------------------------------------------------------------------------------------------

    def ask_amd(self) -> Tuple[Reading, int]:
        hardware, tool = len(self.system.tools.device_files("kfd")), "rocm-smi"
        path = self.system.tools.find(tool, amd.FOLDERS)
        if path is None:
            return Reading([], []), 0
        for rung in range(self.dialect.get("amd", 0), len(amd.CARDS)):
            code, text, answered = self.ask(tool, path, amd.CARDS[rung])
            if not answered:
                return self.gave_no_answer(tool), max(hardware, 1)
            cards, words = amd.devices(text)
            if cards:
                self.dialect["amd"] = rung
                break
        else:
            return Reading([], [], amd.failure(code, text, hardware)), hardware
        _, text, answered = self.ask(tool, path, amd.PIDS)
        if not answered:
            return self.gave_no_answer(tool), max(hardware, len(cards))
        running = [self.owners.holder(pid, "") for pid in amd.pids(text)]
        return amd.reading(cards, words, running, self.idle_memory_mb), hardware

    def ask_tpu(self) -> Tuple[Reading, int]:
        chips = self.system.tools.tpu_chips()
        if not chips:
            return Reading([], []), 0
        text, trouble = self.system.tools.scan([chip.path for chip in chips], DEADLINE_S, self.lock)
        open_by, saw_all = tpu.table(text)
        holders = {
            path: [self.owners.holder(pid, command, uid) for pid, uid, command in found]
            for path, found in open_by.items()
        }
        return tpu.reading(chips, tpu.Scan(holders, saw_all, trouble)), len(chips)

    # --- leases ------------------------------------------------------------------------------------------------------

    def with_lease(self, device: Device) -> Device:
        if device.trouble is not None or not is_leased(self.system, device.id):
            return device
        return device._replace(leased_by=tuple(self.owners.attempts_with(device.id)))
