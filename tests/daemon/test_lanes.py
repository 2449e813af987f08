"""Effects beside the loop: in order within a lane, lanes independent of each other, and no thread without work."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import SimpleQueue

import pytest

from sheetd.core import effect as fx
from sheetd.core.absorb import News
from sheetd.core.model import AttemptId, HostName
from sheetd.lanes import Lanes

WITHIN_S = 10.0


class Work:
    """Carries out effects when it is told to, and keeps what was delivered."""

    def __init__(self) -> None:
        self.begun: SimpleQueue[str] = SimpleQueue()
        self.delivered: SimpleQueue[News | BaseException] = SimpleQueue()
        self.gates: dict[str, threading.Semaphore] = {"alpha": threading.Semaphore(0), "beta": threading.Semaphore(0)}
        self.bugs: list[Exception] = []
        self.lanes = Lanes(self.carry_out, self.delivered.put)

    def carry_out(self, effect: fx.Effect) -> News:
        assert isinstance(effect, fx.Stop)
        self.begun.put(effect.attempt)
        assert self.gates[effect.host].acquire(timeout=WITHIN_S)
        if self.bugs:
            raise self.bugs.pop()
        return fx.HostSilent(effect=effect, why="")

    def submit(self, host: str, *attempts: str) -> None:
        for attempt in attempts:
            self.lanes.submit(fx.Stop(host=HostName(host), attempt=AttemptId(attempt), grace_s=1.0))

    def let(self, host: str, count: int = 1) -> None:
        self.gates[host].release(count)

    def done(self) -> str:
        news = self.delivered.get(timeout=WITHIN_S)
        assert isinstance(news, fx.HostSilent)
        assert isinstance(news.effect, fx.Stop)
        return news.effect.attempt


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("lane ")]


@pytest.fixture
def work() -> Iterator[Work]:
    work = Work()
    yield work
    for gate in work.gates:
        work.let(gate, 100)
    work.lanes.close(WITHIN_S)
    assert threads() == []


def test_a_lane_carries_out_one_after_another_in_order(work: Work):
    work.submit("alpha", "a.1", "a.2", "a.3")
    assert work.begun.get(timeout=WITHIN_S) == "a.1"
    assert work.begun.empty()
    work.let("alpha", 3)
    assert [work.done() for _ in range(3)] == ["a.1", "a.2", "a.3"]


def test_a_slow_host_delays_nobody_but_itself(work: Work):
    work.submit("alpha", "a.1")
    work.submit("beta", "b.1")
    work.let("beta")
    assert work.done() == "b.1"


def test_a_lane_at_rest_has_no_thread_and_gets_one_again(work: Work):
    work.submit("alpha", "a.1")
    (thread,) = threads()
    work.let("alpha")
    assert work.done() == "a.1"
    thread.join(WITHIN_S)
    assert threads() == []
    work.submit("alpha", "a.2")
    work.let("alpha")
    assert work.done() == "a.2"


def test_a_bug_surfaces_in_the_loop_and_the_lane_goes_on(work: Work):
    work.bugs.append(ZeroDivisionError("a bug"))
    work.submit("alpha", "a.1", "a.2")
    work.let("alpha", 2)
    assert isinstance(work.delivered.get(timeout=WITHIN_S), ZeroDivisionError)
    assert work.done() == "a.2"


def test_what_is_done_aside_waits_for_no_lane_and_a_bug_in_it_surfaces_too(work: Work):
    work.submit("alpha", "a.1")
    assert work.begun.get(timeout=WITHIN_S) == "a.1"
    done = threading.Event()
    work.lanes.aside(done.set)
    assert done.wait(WITHIN_S)
    work.lanes.aside(lambda: 1 // 0)
    assert isinstance(work.delivered.get(timeout=WITHIN_S), ZeroDivisionError)
    work.let("alpha", 1)


def test_what_has_not_begun_when_the_daemon_ends_is_dropped(work: Work):
    work.submit("alpha", "a.1", "a.2")
    assert work.begun.get(timeout=WITHIN_S) == "a.1"
    closing = threading.Thread(target=work.lanes.close, args=(WITHIN_S,))
    closing.start()
    while not work.lanes._is_closing:
        pass
    work.let("alpha", 2)
    closing.join(WITHIN_S)
    assert work.done() == "a.1"
    assert work.begun.empty()
    assert threads() == []


def test_who_is_not_through_in_time_is_not_waited_for(work: Work):
    work.submit("alpha", "a.1")
    assert work.begun.get(timeout=WITHIN_S) == "a.1"
    work.lanes.close(0.01)
    assert len(threads()) == 1
