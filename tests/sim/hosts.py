"""Hosts as the daemon meets them: `ports.Host` over the shipped agent on a simulated machine and a network that fails.

What a connection does (greet, ask for everything, watch, ping, drop on the first missed deadline, back off) is what
`sheetd/hosts/session.py` and `client.py` do with threads; it is told again here without them, and this is the one part
of the way to a host that is modelled and not run. An agent goes on for a while after its connection broke, and obeys
what it had been sent.
"""

from __future__ import annotations

import functools
import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sheetd.core.model import AttemptId, HostName, Value
from sheetd.core.observation import (
    AcceleratorsSeen,
    AttemptKept,
    AttemptReported,
    AttemptSeen,
    HostFacts,
    HostSeen,
    HostUnseen,
    MetricsReported,
    Observation,
)
from sheetd.errors import HostError, HostRefused, HostUnreachable
from sheetd.hosts import answers
from sheetd.hosts.host import _chunk as chunk_of
from sheetd.hosts.host import launch_json
from sheetd.ports import Chunk, LaunchOrder
from tests.sim.engine import Engine, Task
from tests.sim.kernel import facts_of
from tests.sim.machine import Folder, Machine, Process
from tests.sim.posix import Loader, Poll

ROOT = "/state"
REQUEST_DEADLINE_S, QUIET_S, PING_DEADLINE_S, HEALTHY_S, TICKET_LIFE_S = 30.0, 15.0, 10.0, 60.0, 120.0


REFUSALS = {
    "H1": "connection refused",
    "H5": "no banner in time: too many connections that have not logged in",
    "H10": "the channel could not be opened",
}


@dataclass
class Network:
    """The way to one host. Probabilities are for each request or connection."""

    is_cut: bool = False
    latency: float = 0.02
    #: By the kind of refusal, each of `REFUSALS`.
    refuses: dict[str, float] = field(default_factory=dict)
    drops_request: float = 0.0
    drops_answer: float = 0.0
    delays: float = 0.0
    hangs: float = 0.0
    breaks_push: float = 0.0
    refusal: HostRefused | None = None


class Connection:
    """One agent process and the two directions to it."""

    def __init__(self, host: SimHost) -> None:
        self.host = host
        #: Whichever answers to the name now.
        self.machine = host.machine
        self.engine = host.engine
        self.ended = False
        self.why = ""
        self.heard = self.engine.now
        self.requests: deque[dict[str, Any]] = deque()
        self.replies: dict[int, dict[str, Any]] = {}
        self.waiting: dict[int, Task] = {}
        self.count = 0
        self.arrivals = {"there": 0.0, "back": 0.0}
        self.is_dirty = False
        self.is_hung = False
        self.attendant: Task | None = None
        self.boot: Any = None
        self.epoch = 0
        self.facts = HostFacts(boot="")
        self.clock = (0.0, 0.0)
        self.process: Process = self.machine.new_process(None, "agent", self.serve)
        assert self.process.task is not None
        self.process.task.on_end = lambda _task: self.agent_ended()
        self.machine.watchers.add(self)

    # --- the daemon's end ----------------------------------------------------------------------------------------

    @property
    def is_served(self) -> bool:
        """Whether the agent at the other end is still there, whatever is known of that at this one."""
        return self.machine.processes.get(self.process.pid) is self.process and self.machine is self.host.machine

    def ask(
        self, verb: str, read: Callable[[Mapping[str, Any]], Any], deadline: float = REQUEST_DEADLINE_S, **fields: Any
    ) -> Any:
        if self.ended:
            raise HostUnreachable(self.why)
        engine, network = self.engine, self.host.network
        self.count += 1
        number = self.count
        request = json.loads(json.dumps({"id": number, "verb": verb, **fields}))
        if engine.chance(network.drops_request, f"H11 there {self.host.name}"):
            engine.fault("H11 request lost", f"{self.host.name} {verb}")
            engine.at(network.latency, lambda: self.end("the connection broke"))
        else:
            late = 0.0
            if engine.chance(network.delays * (6 if verb == "launch" else 1), f"H12 {self.host.name}"):
                late = engine.between(1.0, 150.0)
                engine.fault("H12 request delivered late", f"{self.host.name} {verb} {late:.1f} s")
            self.in_order("there", late, lambda: self.deliver(request))
        until = engine.now + deadline
        task = engine.current
        assert task is not None
        self.waiting[number] = task
        try:
            while number not in self.replies:
                if self.ended:
                    raise HostUnreachable(self.why)
                if engine.now >= until:
                    self.end(f"{self.host.name}: no answer to `{verb}` in time")
                    raise HostUnreachable(self.why)
                engine.wait(until - engine.now)
        finally:
            self.waiting.pop(number, None)
        reply = self.replies.pop(number)
        if "error" in reply:
            raise HostRefused(str(reply["error"]["code"]), str(reply["error"]["message"]))
        return read(reply["ok"])

    def in_order(self, way: str, late: float, arrive: Callable[[], Any]) -> None:
        """Frames of one direction never overtake each other."""
        engine = self.engine
        when = engine.now + engine.between(0.5, 1.5) * self.host.network.latency + late
        self.arrivals[way] = max(when, self.arrivals[way] + 1e-6)
        engine.at(self.arrivals[way] - engine.now, arrive)

    def deliver(self, request: dict[str, Any]) -> None:
        self.requests.append(request)
        self.stir()

    def stir(self) -> None:
        if self.process.task is not None:
            self.engine.wake(self.process.task)

    def end(self, why: str) -> None:
        """The daemon's end is closed; the agent hears of it sooner or later."""
        if self.ended:
            return
        self.ended, self.why = True, why
        for task in list(self.waiting.values()):
            self.engine.wake(task)
        if self.attendant is not None:
            self.engine.wake(self.attendant)
        linger = self.engine.random.choice([0.1, 5.0, 300.0, 300.0] if self.host.network.delays else [0.1, 0.1, 5.0])
        self.engine.at(linger, self.hang_up)

    def hang_up(self) -> None:
        if any(one.role == "job" and not one.is_zombie for one in self.machine.processes.values()):
            self.engine.fault("H15 a connection ends while a job runs", self.host.name)
        self.machine.watchers.discard(self)
        self.machine.end(self.process, 9)

    # --- the agent's end -----------------------------------------------------------------------------------------

    def agent_ended(self) -> None:
        """The kernel closes its end, behind whatever frames are on their way."""
        self.machine.end(self.process, 0)
        self.in_order("back", 0.0, lambda: self.is_silent() or self.end("the agent has ended"))

    def serve(self) -> None:
        """As `agent.serve`, with frames that are whole."""
        host, agent_module = self.host, self.host.loader.load("agent")
        system = host.system(self.machine)
        try:
            agent = agent_module.Agent(system, ROOT, 0o022)
        except OSError as error:
            self.end(f"{host.name}: the agent could not start: {error}")
            return
        while True:
            while self.requests:
                request = self.requests.popleft()
                before = self.machine.epoch_seen
                reply = agent.answer(request)
                self.judge(request, reply, before)
                self.reply(request, reply)
            listens = agent.watcher.inotify or agent.watcher.keepers or agent.probes.done is not None
            ready = {number for number, _ in Poll.poll(agent.watcher.poll, 0)} if listens else set()
            due = due_of(agent)
            now = system.boottime()
            if self.is_dirty or ready or any(when <= now for when in due):
                self.is_dirty = False
                agent.watcher.heed(ready)
                agent.probes.heed(ready)
                for push in [*agent.watcher.pushes(), *agent.probes.pushes()]:
                    self.push(json.loads(json.dumps(push)))
                due = due_of(agent)
            agent.blank.lay_out()
            if not self.requests and not self.is_dirty:
                self.engine.wait(max(0.01, min(due) - now) if due else None)

    def judge(self, request: dict[str, Any], reply: dict[str, Any], newest: int) -> None:
        """I14: a daemon that was overtaken has no effect."""
        machine, epoch = self.machine, request.get("epoch")
        if (
            request["verb"] in ("launch", "stop", "hand_over")
            and "ok" in reply
            and isinstance(epoch, int)
            and epoch < newest
        ):
            machine.complaints.append(f"I14: {machine.name} obeyed epoch {epoch} after epoch {newest}")
        if request["verb"] == "hello" and "ok" in reply:
            machine.epoch_seen = max(machine.epoch_seen, epoch or 0)
        if reply.get("error", {}).get("code") == "bad_request":
            machine.complaints.append(f"the agent of {machine.name} answered {reply['error']} to {request['verb']}")

    def reply(self, request: dict[str, Any], reply: dict[str, Any]) -> None:
        network, engine = self.host.network, self.engine
        answer = json.loads(json.dumps(reply))
        if self.machine.loses(request["verb"]):
            self.end("the connection broke before the answer")
            return
        if engine.chance(network.drops_answer, f"H11 back {self.host.name}") and request["verb"] in (
            "launch",
            "stop",
            "hand_over",
            "status",
            "watch",
            "hello",
        ):
            engine.fault("H11 reply lost", f"{self.host.name} {request['verb']}")
            engine.at(network.latency, lambda: self.end("the connection broke before the answer"))
            return
        if engine.chance(network.hangs, f"H7 {self.host.name}"):
            engine.fault("H7 half-open connection", self.host.name)
            self.is_hung = True
        self.in_order("back", 0.0, lambda: self.hear(request["id"], answer))

    def is_silent(self) -> bool:
        """A frame that finds no way leaves a hole in the stream: nothing behind it arrives either."""
        self.is_hung = self.is_hung or self.host.network.is_cut or not self.machine.is_up
        return self.ended or self.is_hung

    def hear(self, number: int, answer: dict[str, Any]) -> None:
        if self.is_silent():
            return
        self.heard = self.engine.now
        if number in self.waiting:
            self.replies[number] = answer
            self.engine.wake(self.waiting[number])

    def push(self, push: dict[str, Any]) -> None:
        if self.engine.chance(self.host.network.breaks_push, f"H14 {self.host.name}"):
            self.engine.fault("H14 connection lost in a push", self.host.name)
            self.end("the connection broke")
        self.in_order("back", 0.0, lambda: self.heard_push(push))

    def heard_push(self, push: dict[str, Any]) -> None:
        if not self.is_silent():
            self.heard = self.engine.now
            self.host.on_push(push)


def due_of(agent: Any) -> list[float]:
    """When the agent would look again although nothing stirs."""
    watched = agent.watcher.watched.values()
    due = [one.again_at for one in watched if one.again_at is not None]
    due += [growth.due for one in watched for growth in one.growths if growth.due is not None]
    return [*due, agent.probes.look_at] if agent.probes.look_at is not None else due


class SimHost:
    """`ports.Host` of one daemon for one machine."""

    def __init__(self, name: str, machine: Machine, network: Network, loader: Loader, system: Any, epoch: int) -> None:
        self.name = HostName(name)
        self.machine = machine
        self.engine: Engine = machine.engine
        self.network = network
        self.loader = loader
        self.system = system
        self.epoch = epoch
        self.connection: Connection | None = None
        #: Being opened: not greeted yet, so of no use to anybody but who opens it.
        self.opening: Connection | None = None
        self.is_opening = False
        self.why = f"{name}: not connected yet"
        self.report: Callable[[Observation], None] = lambda _: None
        self.task: Task | None = None
        self.is_closed = False
        self.wanted: dict[AttemptId, dict[str, int]] = {}

    # --- the session ---------------------------------------------------------------------------------------------

    def keep(self, report: Callable[[Observation], None]) -> None:
        self.report = report
        self.task = self.engine.spawn(f"session {self.name}", self._keep)

    def _keep(self) -> None:
        failures = 0
        while not self.is_closed:
            began = None
            try:
                connection = self._connect()
                began = self.engine.now
                self._greet(connection)
                self._attend(connection)
            except HostError as error:
                if self.connection is not None:
                    self.connection.end(str(error))
                self.why = str(error)
                lasting = isinstance(error, HostRefused) and error.code not in ("busy", "internal", "disk_full")
                self.say(HostUnseen(host=self.name, why=str(error), lasting=lasting))
                failures = failures + 1 if began is None or self.engine.now - began < HEALTHY_S else 0
                self.engine.sleep(self.engine.between(0.0, min(30.0, 2.0**failures)) if failures else 0.01)

    def _connect(self) -> Connection:
        """The one that is open now, or a new one. Raises HostUnreachable or HostRefused."""
        while self.is_opening:
            self.engine.sleep(0.01)
        if self.connection is not None and not self.connection.ended:
            return self.connection
        self.is_opening = True
        try:
            self.connection = self._open()
        except HostError as error:
            self.why = str(error)
            raise
        finally:
            self.is_opening = False
        return self.connection

    def _open(self) -> Connection:
        network, engine = self.network, self.engine
        if self.is_closed:
            raise HostUnreachable(f"{self.name}: sheetd has closed its connection")
        engine.sleep(engine.between(0.5, 2.0) * network.latency)
        if network.is_cut or not self.machine.is_up:
            engine.sleep(engine.random.choice([0.1, 5.0, 20.0]))
            raise HostUnreachable(f"{self.name} cannot be reached: timed out")
        for kind, rate in network.refuses.items():
            if engine.chance(rate, f"{kind} {self.name}"):
                engine.fault(f"{kind} {REFUSALS[kind]}", self.name)
                raise HostUnreachable(f"{self.name}: {REFUSALS[kind]}")
        if network.refusal is not None:
            raise network.refusal
        connection = self.opening = Connection(self)
        try:
            self._hello(connection)
        except BaseException:
            connection.end("the greeting failed")
            raise
        return connection

    def _hello(self, connection: Connection) -> HostFacts:
        read = lambda answer: self._read_hello(connection, answer)  # noqa: E731
        connection.epoch = self.epoch
        connection.facts = connection.ask("hello", read, protocol=1, epoch=connection.epoch)
        return connection.facts

    @staticmethod
    def _read_hello(connection: Connection, answer: Mapping[str, Any]) -> HostFacts:
        facts = answers.host_facts(answer)
        connection.boot = answer["boot"]
        connection.clock = answers.seconds(answer, "boottime_s"), connection.engine.now
        return facts

    def _greet(self, connection: Connection) -> None:
        self.say(self._seen(connection))
        self._tell_wanted(connection)

    def _seen(self, connection: Connection) -> HostSeen:
        attempts = connection.ask("status", answers.attempts_seen, attempts=None)
        return HostSeen(host=self.name, facts=connection.facts, attempts=attempts, epoch=connection.epoch)

    def _attend(self, connection: Connection) -> None:
        connection.attendant = self.engine.current
        while not connection.ended:
            self.engine.wait(max(QUIET_S - (self.engine.now - connection.heard), 1.5))
            quiet = self.engine.now - connection.heard
            if quiet >= QUIET_S and not connection.waiting and not connection.ended:
                self._ping(connection)
        raise HostUnreachable(connection.why)

    def _ping(self, connection: Connection) -> None:
        connection.ask("ping", lambda answer: self._set_clock(connection, answer), PING_DEADLINE_S)

    @staticmethod
    def _set_clock(connection: Connection, answer: Mapping[str, Any]) -> None:
        connection.clock = answers.seconds(answer, "boottime_s"), connection.engine.now

    def _tell_wanted(self, connection: Connection) -> None:
        wanted = {attempt: {**offsets, "log_offset": None} for attempt, offsets in self.wanted.items()}
        for attempt, state in connection.ask("watch", answers.attempts_seen, attempts=wanted).items():
            self.say(AttemptReported(host=self.name, attempt=attempt, seen=state))

    def say(self, observation: Observation) -> None:
        if not self.is_closed:
            self.report(observation)

    def on_push(self, push: dict[str, Any]) -> None:
        if push["push"] == "accelerators":
            self.say(answers.accelerators_report(self.name, push))
            return
        attempt = AttemptId(str(push.get("attempt")))
        watched = self.wanted.get(attempt)
        if watched is None:
            return
        if push["push"] == "attempt":
            self.say(AttemptReported(host=self.name, attempt=attempt, seen=answers.attempt_seen(push["state"])))
            return
        start, end = answers.count(push, "from"), answers.count(push, "to")
        scanned = None
        if push["source"] == "log":
            watched["scan_offset"] = scanned = end
            start = end = watched["metrics_offset"]
        else:
            watched["metrics_offset"] = end
        points = answers.metric_points(push["points"])
        self.say(MetricsReported(host=self.name, attempt=attempt, start=start, end=end, points=points, scanned=scanned))

    # --- verbs ---------------------------------------------------------------------------------------------------

    def _now_open(self) -> Connection:
        if self.connection is None:
            raise HostUnreachable(self.why)
        if self.connection.ended:
            raise HostUnreachable(self.connection.why)
        return self.connection

    def watch(self, metrics_offsets: Mapping[AttemptId, int]) -> None:
        former = self.wanted
        self.wanted = {
            attempt: {"metrics_offset": offset, "scan_offset": former.get(attempt, {}).get("scan_offset", 0)}
            for attempt, offset in sorted(metrics_offsets.items())  # a set's order is not of the seed
        }
        self._tell_wanted(self._now_open())

    def send_code(self, sha: str, archive: Path) -> None:
        """Taken for granted: `upload.py` has tests of its own."""
        connection = self._now_open()
        if not connection.ask("has_code", lambda answer: answer["complete"], sha=sha):
            if not connection.is_served:  # seed 801241: the machine was exchanged while its answer was on the way
                connection.end(f"{self.name}: no answer to `put_code` in time")
                raise HostUnreachable(connection.why)
            folder = connection.machine.find(f"{ROOT}/code")
            folder.put(sha, Folder())
            folder.sync()

    def launch(self, order: LaunchOrder) -> Any:
        connection = self._now_open()
        spec = launch_json(order, {})

        def ask() -> Any:
            return connection.ask(
                "launch",
                state_of,
                attempt=order.attempt,
                nonce=order.nonce,
                spec=spec,
                secrets=dict(order.secrets),
                epoch=self.epoch,
                ticket=self._ticket(connection),
            )

        try:
            return ask()
        except HostRefused as error:
            if error.code != "ticket_expired":
                raise
        self._ping(connection)
        return ask()

    def _ticket(self, connection: Connection) -> dict[str, Any]:
        boottime, heard = connection.clock
        return {"boot": connection.boot, "deadline_boottime_s": boottime + self.engine.now - heard + TICKET_LIFE_S}

    def take_over(self, epoch: int) -> HostSeen:
        self.epoch = epoch
        connection = self._now_open()
        self._hello(connection)
        return self._seen(connection)

    def describe(self, attempts: Sequence[AttemptId]) -> Mapping[AttemptId, AttemptKept]:
        return self._now_open().ask("describe", answers.attempts_kept, attempts=list(attempts))

    def stop(self, attempt: AttemptId, grace_s: float) -> Any:
        return self._now_open().ask("stop", state_of, attempt=attempt, grace_s=grace_s, epoch=self.epoch)

    def hand_over(self, attempt: AttemptId, number: int, params: Mapping[str, Value]) -> Any:
        handed = {"number": number, "params": dict(params)}
        return self._now_open().ask("hand_over", state_of, attempt=attempt, epoch=self.epoch, **handed)

    def tail(self, attempt: AttemptId, stream: Literal["log", "metrics"], offset: int, max_bytes: int) -> Chunk:
        read = functools.partial(chunk_of, max_bytes=max_bytes)
        return self._now_open().ask("tail", read, attempt=attempt, stream=stream, offset=offset, max_bytes=max_bytes)

    def accelerators(self, max_age_s: float, idle_memory_mb: int) -> AcceleratorsSeen:
        asked = {"max_age_s": max_age_s, "idle_memory_mb": idle_memory_mb}
        seen: AcceleratorsSeen = self._now_open().ask("accelerators", answers.accelerators_seen, **asked)
        return seen

    def facts(self) -> HostFacts:
        return self._hello(self._connect())

    def close(self) -> None:
        self.is_closed = True
        for connection in (self.opening, self.connection):
            if connection is not None:
                connection.end(f"{self.name}: sheetd has closed its connection")
        if self.task is not None:
            self.task.kill()


def state_of(answer: Mapping[str, Any]) -> AttemptSeen:
    return answers.attempt_seen(answer.get("state"))


def ready_machine(engine: Engine, name: str, loader: Loader, system: Any) -> Machine:
    """A machine on which sheetd's agent finds its folder."""
    machine = Machine(engine, name)
    for path in ("state", "home", "tmp"):
        machine.root.put(path, Folder())
    machine.sync()
    machine.watchers = set()
    machine.loses = lambda _verb: False
    machine.epoch_seen = 0

    def changed() -> None:
        for connection in sorted(machine.watchers, key=lambda one: one.process.pid):
            if not connection.is_dirty:
                connection.is_dirty = True
                engine.at(0.15, connection.stir)

    machine.changed = changed
    agent = loader.load("agent")
    agent.host_facts = lambda _system, _root: facts_of(machine_of(_system), _system)
    agent.filesystem_of = lambda _root: "ext4"
    return machine


def machine_of(system: Any) -> Machine:
    machine: Machine = system.machine
    return machine
