"""A simulated machine's accelerators, leases and processes, as the shipped code finds them.

`SimTools` stands in for the vendors' programs and prints what they would, so that the parsing is run as well;
`SimHardware` for what `/proc` and the socket namespace say.
"""

from __future__ import annotations

from typing import Any

from tests.sim.machine import Handle, Machine, Name
from tests.sim.posix import OS, enter, me


class SimTools:
    """In place of `tools.Tools`: nvidia-smi of a machine that has simulated cards, and nothing else."""

    def __init__(self, machine: Machine, said: Any) -> None:
        self.machine = machine
        self.said = said

    def at(self, path: str) -> str:
        return path

    def find(self, name: str, folders: tuple[str, ...] = ()) -> str | None:
        return "/usr/bin/nvidia-smi" if name == "nvidia-smi" and self.machine.cards else None

    def cards(self, vendor: str) -> int:
        return sum(not card.is_lost for card in self.machine.cards)

    def device_files(self, pattern: str) -> list[str]:
        return [f"nvidia{number}" for number, _ in enumerate(self.machine.cards)] if "nvidia" in pattern else []

    def tpu_chips(self) -> list[Any]:
        return []

    def run(self, argv: list[str], deadline_s: float, lock: int | None = None) -> Any:
        """A process of its own, which inherits the lock; one that hangs outlives whoever asked."""
        process = enter("tool")
        machine = self.machine
        is_beside = any(one.role == "tool" and not one.is_zombie for one in machine.processes.values())
        if is_beside:
            machine.complaints.append(f"a tool was asked on {machine.name} beside one that had not ended")
        hangs = machine.smi_hangs
        tool = machine.new_process(process, "tool", lambda: self._work(machine))
        for number in [number for number in tool.fds if number != lock]:
            machine.close(tool, number)
        if hangs:
            machine.engine.sleep(deadline_s + 7.0)
            me()
            return self.said(-1, "", deadline_s + 7.0, True)
        OS.waitpid(tool.pid, 0)
        code, text = self._words(argv)
        return self.said(code, text, 0.5)

    @staticmethod
    def _work(machine: Machine) -> None:
        machine.engine.sleep(0.5)
        while machine.smi_hangs:
            machine.engine.sleep(5.0)
        OS._exit(0)

    def _words(self, argv: list[str]) -> tuple[int, str]:
        machine = self.machine
        if machine.driver_mismatch:
            return 18, "Failed to initialize NVML: Driver/library version mismatch\n"
        asked = argv[1]
        lines = []
        for number, card in enumerate(card for card in machine.cards if not card.is_lost):
            used = sum(card.users.values()) + 4
            if asked.startswith("--query-gpu=index"):
                lines.append(f"{number}, {card.uuid}, {card.model}, {card.memory_mb}, {used}, {90 * bool(card.users)}")
            elif asked.startswith("--query-gpu=uuid"):
                advice = "Reset" if card.needs_reset else "None"
                words = [card.uuid, "Disabled", "Default", "0", advice]
                lines.append(", ".join(words[: asked.count(",") + 1]))
            else:
                lines += [f"{card.uuid}, {pid}, {mb}, python3" for pid, mb in sorted(card.users.items())]
        if asked.startswith("--query-gpu=index"):
            lost = [number for number, card in enumerate(machine.cards) if card.is_lost]
            lines[:0] = [
                f"Unable to determine the device handle for GPU{n}: 0000:3{n}:00.0: Unknown Error" for n in lost
            ]
        return 0, "\n".join(lines) + "\n"


class SimHardware:
    """What a `System` says of accelerators and of who uses them."""

    machine: Machine

    def mark(self, pid: int) -> tuple[str, str] | None:
        found = self.machine.processes.get(pid)
        marker = found.environ.get(b"SHEETD_MARKER") if found is not None and not found.is_zombie else None
        return (found.environ[b"SHEETD_ATTEMPT"].decode(), marker.decode()) if found and marker else None

    def who(self, pid: int) -> tuple[int | None, str]:
        found = self.machine.processes.get(pid)
        return (None, "") if found is None else (2000 if found.is_foreign else 1000, found.role)

    def open_files(self, prefixes: tuple[str, ...]) -> Any:
        """Device files are those of the cards that a process computes on."""
        for number, card in enumerate(self.machine.cards):
            path = f"/dev/nvidia{number}"
            if path.startswith(prefixes):
                yield from ((path, pid) for pid in sorted(card.users))

    def spare_core(self, identity: Any) -> None:
        pass

    def cores(self) -> int:
        return 8

    def bind(self, name: str) -> int | None:
        process = enter("bind")
        if name in self.machine.names:
            return None
        handle = self.machine.names[name] = Handle(Name(name))
        return OS._give(process, handle)

    def is_bound(self, name: str) -> bool:
        return name in self.machine.names

    def unbind(self, handle: int) -> None:
        OS.close(handle)

    def is_port_free(self, port: int) -> bool:
        return True
