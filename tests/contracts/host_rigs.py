"""The hosts that the contract is run on: this machine, one behind a real sshd, and the simulator's.

A rig is one machine and as many host objects for it as a test asks for, one for each daemon. Calls of a test return
when they are done: on the simulated machine virtual time passes until then. What the rigs share is all that a test may
count on; a test that needs more (threads, real files) says so by `real_only`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from sheetd.core.model import AttemptId
from sheetd.core.model import Value as ParamValue
from sheetd.core.observation import (
    AcceleratorsSeen,
    AttemptKept,
    AttemptSeen,
    HostFacts,
    HostSeen,
    Observation,
)
from sheetd.hosts.host import AgentHost, LocalHost, SshHost
from sheetd.ports import Chunk, Host, LaunchOrder
from tests.contracts.programs import live
from tests.hosts.seen import Reports, end_attempts
from tests.rig.light_sshd import LightSshd
from tests.sim.engine import Engine
from tests.sim.hosts import Network, SimHost, ready_machine
from tests.sim.world import LOADER, SYSTEM

Value = TypeVar("Value")
#: Virtual seconds after which a call on the simulated machine has failed to return.
PATIENCE_S = 300.0


class HostRig(Protocol):
    def host(self, epoch: int) -> Host:
        """Another host object for the same machine, as a restarted daemon makes one."""

    def reports(self) -> Reports: ...

    def at_once(self, calls: Sequence[Callable[[], Any]]) -> None:
        """Make all of these calls at the same time, and return when all have returned."""

    def kill_agents(self) -> None:
        """Kill -9 what answers on the machine, and nothing that keeps a job."""


class RealRig:
    """The daemon's own machine, or one over SSH. Real processes: whatever is left of them is ended."""

    def __init__(self, root: Path, server: LightSshd | None) -> None:
        self.root = root
        self.server = server
        self.hosts: list[AgentHost] = []

    def host(self, epoch: int) -> AgentHost:
        server, root = self.server, self.root
        host = (
            LocalHost("here", root, epoch=epoch)
            if server is None
            else SshHost("there", server.alias, server.ssh_config, epoch=epoch, root=str(root))
        )
        self.hosts.append(host)
        return host

    def reports(self) -> Reports:
        return Reports()

    def at_once(self, calls: Sequence[Callable[[], Any]]) -> None:
        threads = [threading.Thread(target=call) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def kill_agents(self) -> None:
        numbers = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
        agents = [pid for pid in numbers if self.is_agent(pid)]
        assert agents
        for pid in agents:
            os.kill(pid, signal.SIGKILL)

    def is_agent(self, pid: int) -> bool:
        process = Path(f"/proc/{pid}")
        try:
            name, words = (process / "comm").read_bytes(), (process / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return False
        return name == b"sheetd-agent\n" and words.endswith(os.fsencode(self.root) + b"\0")

    def end(self) -> None:
        for host in self.hosts:
            host.close()
        end_attempts(self.root)


class SimulatedRig:
    """A machine of the simulator, with nothing wrong with it or with the way there."""

    def __init__(self) -> None:
        self.engine = Engine(1)
        self.machine = ready_machine(self.engine, "there", LOADER, SYSTEM)
        self.machine.run_job = live

    def host(self, epoch: int) -> DrivenHost:
        return DrivenHost(self, SimHost("there", self.machine, Network(), LOADER, SYSTEM, epoch))

    def reports(self) -> Reports:
        return DrivenReports(self.engine)

    def at_once(self, calls: Sequence[Callable[[], Any]]) -> None:
        together(self.engine, calls)

    def kill_agents(self) -> None:
        agents = [process for process in self.machine.processes.values() if process.role == "agent"]
        assert agents
        for process in agents:
            self.machine.signal(None, process, signal.SIGKILL)

    def drive(self, call: Callable[[], Value]) -> Value:
        return call() if self.engine.current is not None else driven(self.engine, call)


def together(engine: Engine, calls: Sequence[Callable[[], Any]]) -> None:
    tasks = [engine.spawn("call", call) for call in calls]
    engine.run(engine.now + PATIENCE_S, lambda: all(task.dead for task in tasks))
    assert all(task.dead for task in tasks), "a call does not return"


def driven(engine: Engine, call: Callable[[], Value]) -> Value:
    """Let time pass until the call, made by a task, has returned or raised."""
    returned: list[Value] = []
    raised: list[Exception] = []

    def body() -> None:
        try:
            returned.append(call())
        except Exception as error:  # noqa: BLE001 - raised again where the call was made
            raised.append(error)

    together(engine, [body])
    if raised:
        raise raised[0]
    return returned[0]


class DrivenReports(Reports):
    """Virtual time passes until something is reported."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine

    def until(self, found: Callable[[], Value | None], what: str, *, within_s: float = 20.0) -> Value:
        if not found():
            self.engine.run(self.engine.now + within_s, lambda: bool(found()))
        report = found()
        assert report, f"not reported: {what}; {self}"
        return report


class DrivenHost:
    """`SimHost` for callers that are no tasks."""

    def __init__(self, rig: SimulatedRig, host: SimHost) -> None:
        self.rig = rig
        self.host = host
        self.name = host.name

    def keep(self, report: Callable[[Observation], None]) -> None:
        self.host.keep(report)

    def watch(self, metrics_offsets: Mapping[AttemptId, int]) -> None:
        self.rig.drive(lambda: self.host.watch(metrics_offsets))

    def send_code(self, sha: str, archive: Path) -> None:
        self.rig.drive(lambda: self.host.send_code(sha, archive))

    def launch(self, order: LaunchOrder) -> AttemptSeen:
        return self.rig.drive(lambda: self.host.launch(order))

    def stop(self, attempt: AttemptId, grace_s: float) -> AttemptSeen:
        return self.rig.drive(lambda: self.host.stop(attempt, grace_s))

    def hand_over(self, attempt: AttemptId, number: int, params: Mapping[str, ParamValue]) -> AttemptSeen:
        return self.rig.drive(lambda: self.host.hand_over(attempt, number, params))

    def tail(self, attempt: AttemptId, stream: Literal["log", "metrics"], offset: int, max_bytes: int) -> Chunk:
        return self.rig.drive(lambda: self.host.tail(attempt, stream, offset, max_bytes))

    def facts(self) -> HostFacts:
        return self.rig.drive(self.host.facts)

    def take_over(self, epoch: int) -> HostSeen:
        return self.rig.drive(lambda: self.host.take_over(epoch))

    def describe(self, attempts: Sequence[AttemptId]) -> Mapping[AttemptId, AttemptKept]:
        return self.rig.drive(lambda: self.host.describe(attempts))

    def accelerators(self, max_age_s: float, idle_memory_mb: int) -> AcceleratorsSeen:
        return self.rig.drive(lambda: self.host.accelerators(max_age_s, idle_memory_mb))

    def close(self) -> None:
        """And give whatever might still be reported the time for it."""
        self.host.close()
        self.rig.engine.run(self.rig.engine.now + 60.0)


@contextlib.contextmanager
def local(folder: Path) -> Iterator[HostRig]:
    rig = RealRig(folder / "root", None)
    yield rig
    rig.end()


@contextlib.contextmanager
def over_ssh(folder: Path) -> Iterator[HostRig]:
    with LightSshd(folder, "MaxSessions 1") as server:
        rig = RealRig(folder / "root", server)
        yield rig
        rig.end()


@contextlib.contextmanager
def simulated(_folder: Path) -> Iterator[HostRig]:
    yield SimulatedRig()
