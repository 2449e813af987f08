"""Virtual time and tasks: everything happens in one thread, in an order that follows from the seed alone.

A task is a greenlet. It runs until it sleeps or waits; then the next event of the heap has its turn. Nothing here knows
what is simulated. Weak: a task that never sleeps hangs the run, as it would hang a real machine.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import greenlet

#: The busiest moment of 20,000 runs had far fewer events.
AT_ONCE_MAX = 20_000


#: A task that waits more often while it is thrown out does so on purpose.
GIVE_UP_TRIES = 10


class StandstillError(Exception):
    """Somebody waits for nothing between two tries, which would keep a real processor busy."""


class Killed(BaseException):
    """Raised inside a task that was killed. Nothing that it does afterwards has an effect."""


class Task:
    """Something that runs beside others. `kill` ends it where it waits."""

    def __init__(self, engine: Engine, name: str, body: Callable[[], Any]) -> None:
        self.engine = engine
        self.name = name
        self.dead = False
        self._body = body
        self._greenlet = greenlet.greenlet(self._run, parent=engine.hub)
        self._waiting = 0  # grows with each wait, so that an old wake-up is recognised
        self.on_end: Callable[[Task], None] = lambda _task: None

    def _run(self) -> None:
        try:
            if not self.dead:
                self._body()
        except Killed:
            pass
        except BaseException as bug:  # noqa: BLE001 - raised again by the engine
            self.engine.bug = self.engine.bug or bug
        finally:
            self.dead = True
            self.on_end(self)
            self.engine.forget(self)

    def kill(self) -> None:
        if self.dead:
            return
        self.dead = True
        if greenlet.getcurrent() is not self._greenlet:
            self.engine.at(0.0, self._resume_dead)

    def give_up(self) -> None:
        """After the run: end it where it waits, and wherever it waits again on its way out."""
        self.dead, self.on_end = True, lambda _task: None
        for _ in range(GIVE_UP_TRIES):
            if not self._greenlet:
                return
            self._greenlet.throw(Killed)

    def _resume_dead(self) -> None:
        if not self._greenlet.dead:
            if self._greenlet:
                self._greenlet.throw(Killed)
            else:  # never started
                self.on_end(self)


class Engine:
    """The clock, the heap of events and the only source of chance."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self._streams: dict[str, random.Random] = {}
        self.now = 0.0
        self.hub = greenlet.getcurrent()
        self.bug: BaseException | None = None
        self.steps = 0
        self.faults: Counter[str] = Counter()
        self.last: deque[str] = deque(maxlen=60)
        self._heap: list[tuple[float, int, Callable[[], Any]]] = []
        self._count = 0
        self._tasks: set[Task] = set()
        self._digest = hashlib.blake2b(digest_size=16)
        #: Called after every event.
        self.check: Callable[[], None] = lambda: None

    def end(self) -> None:
        """Nothing happens any more. A stack that waits is seen by no garbage collector, and would be kept for good."""
        for task in list(self._tasks):
            task.give_up()
        self._tasks.clear()
        self._heap.clear()

    # --- what happened -------------------------------------------------------------------------------------------

    def log(self, text: str) -> None:
        """An event of the run: part of its hash, and among the last words of a failure."""
        line = f"{self.now:10.3f}  {text}"
        self._digest.update(line.encode("utf-8", "surrogatepass"))
        self.last.append(line)

    def fault(self, kind: str, text: str = "") -> None:
        self.faults[kind] += 1
        self.log(f"FAULT {kind} {text}")

    @property
    def hash(self) -> str:
        return self._digest.hexdigest()

    # --- time ----------------------------------------------------------------------------------------------------

    def at(self, delay: float, call: Callable[[], Any]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (self.now + max(0.0, delay), self._count, call))

    def spawn(self, name: str, body: Callable[[], Any], delay: float = 0.0) -> Task:
        task = Task(self, name, body)
        task._greenlet.task = task
        self._tasks.add(task)
        self.at(delay, lambda: None if task._greenlet.dead or task._greenlet else task._greenlet.switch())
        return task

    def forget(self, task: Task) -> None:
        self._tasks.discard(task)

    @property
    def current(self) -> Task | None:
        return getattr(greenlet.getcurrent(), "task", None)

    def sleep(self, seconds: float) -> None:
        """In a task: let the others go on for so long."""
        self.wait(seconds)

    def wait(self, seconds: float | None) -> None:
        """In a task: until `wake` or until the time is over."""
        task = self.current
        assert task is not None, "only a task can wait"
        if task.dead:
            raise Killed
        task._waiting += 1
        ticket = task._waiting
        if seconds is not None:
            self.at(seconds, lambda: self._go_on(task, ticket))
        self.hub.switch()
        if task.dead:
            raise Killed

    def wake(self, task: Task, delay: float = 0.0) -> None:
        """Let a waiting task go on. Without effect on one that does not wait."""
        ticket = task._waiting
        self.at(delay, lambda: self._go_on(task, ticket))

    def _go_on(self, task: Task, ticket: int) -> None:
        if not task.dead and task._waiting == ticket and task._greenlet:
            task._waiting += 1
            task._greenlet.switch()

    def run(self, until: float, is_over: Callable[[], bool] = lambda: False) -> None:
        """Let time pass. Raises what a task was not allowed to raise, what `check` raises, and `StandstillError`."""
        at_once = 0
        while self._heap and self._heap[0][0] <= until:
            when, _, call = heapq.heappop(self._heap)
            at_once = 0 if when > self.now else at_once + 1
            if at_once > AT_ONCE_MAX:
                raise StandstillError(
                    f"{AT_ONCE_MAX} events, and no time has passed: something is done again without a pause"
                )
            self.now = max(self.now, when)
            self.steps += 1
            call()
            if self.bug is not None:
                raise self.bug
            self.check()
            if is_over():
                return
        if not is_over():
            self.now = max(self.now, until)

    # --- chance --------------------------------------------------------------------------------------------------

    def stream(self, purpose: str) -> random.Random:
        """Chance for one purpose alone: what it gives does not change when something else draws less or more.

        Without this no failing run could be made smaller by leaving something out (`shrink.py`).
        """
        if purpose not in self._streams:
            self._streams[purpose] = random.Random(f"{self.seed} {purpose}")
        return self._streams[purpose]

    def chance(self, probability: float, purpose: str = "") -> bool:
        source = self.stream(purpose) if purpose else self.random
        return probability > 0.0 and source.random() < probability

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self.random.random()
