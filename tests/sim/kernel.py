"""The shipped `System` over a simulated machine: only what the kernel says is made up."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from tests.sim.hardware import SimHardware, SimTools
from tests.sim.machine import TICKS_PER_S, File, Machine, failure
from tests.sim.posix import OS, Libc, Loader, enter, me


def make_system(loader: Loader) -> Callable[[Machine], Any]:  # noqa: C901 - one rule after another
    """The shipped System, where only what /proc says is made up."""
    judgement = loader.load("judgement")
    shipped = loader.load("system").System
    said = loader.load("tools").Said

    class SimSystem(SimHardware, shipped):  # type: ignore[misc]
        def __init__(self, machine: Machine) -> None:
            self.machine = machine
            self.libc = Libc()
            self.has_pidfd = True
            self.tools = SimTools(machine, said)

        def boot(self) -> dict[str, Any]:
            machine = self.machine
            return {"boot_id": f"{machine.name}-{machine.boots}", "pidns": "pid:[1]", "pid1_ticks": machine.pid1_ticks}

        def process(self, pid: int, marker: bytes | None = None, since: float = 0.0) -> Any:
            found = self.machine.processes.get(pid)
            if found is None:
                return None
            name, _, value = (marker or b"").partition(b"=")
            is_young = found.ticks >= int(since * TICKS_PER_S)
            marked = marker is not None and is_young and not found.is_zombie and found.environ.get(name) == value
            return judgement.Process(
                judgement.Identity(pid, found.ticks), found.parent, found.session, found.is_zombie, marked
            )

        def table(self, marker: bytes, since: float) -> list[Any]:
            enter()
            return [self.process(pid, marker, since) for pid in sorted(self.machine.processes)]

        def children(self) -> list[int]:
            pid = me().pid
            return sorted(one.pid for one in self.machine.processes.values() if one.parent == pid)

        def oom_kills(self) -> int:
            return self.machine.oom_kills

        def fork(self, role: str, life: Callable[[], Any], group: Callable[[], int] | None = None) -> int:
            del group  # a simulated machine has no cgroups
            parent = enter("fork")
            if self.machine.fork_fails:
                raise failure(errno.EAGAIN, "fork")

            def born() -> None:
                if role != "job":
                    self.become(role)
                life()
                OS._exit(70)

            child = self.machine.new_process(parent, role, born)
            nodes = [handle.node for handle in parent.fds.values()]
            locked = [node.attempt for node in nodes if isinstance(node, File) and node.attempt]
            child.attempt = child.attempt or (locked[0] if locked else "")
            return child.pid

    return SimSystem


def facts_of(machine: Machine, system: Any) -> dict[str, Any]:
    """In place of `host_facts`."""
    return {
        "boot": system.boot(),
        "boottime_s": system.boottime(),
        "hostname": machine.name,
        "machine_id": f"{machine.name} {machine.life}",
        "cores": 8,
        "memory_bytes": 32 << 30,
    }
