"""One thread looks after many charges, as often as each wants, and is gone with the last."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import SimpleQueue

import pytest

from sheetd.hosts.attendant import Attendant

WITHIN_S = 10.0
NEVER_S = 3600.0


@pytest.fixture
def attendant() -> Iterator[Attendant]:
    yield Attendant("attendant under test")
    assert threads() == []


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "attendant under test"]


class Charge:
    """Says when it is looked at."""

    def __init__(self, pause_s: float) -> None:
        self.pause_s = pause_s
        self.looks: SimpleQueue[str] = SimpleQueue()

    def look(self) -> float:
        self.looks.put(threading.current_thread().name)
        return self.pause_s


def test_each_is_looked_at_at_once_and_as_often_as_it_wants(attendant: Attendant) -> None:
    patient, busy = Charge(NEVER_S), Charge(0.01)
    for one in (patient, busy):
        attendant.attend(one, one.look)
    for _ in range(3):
        busy.looks.get(timeout=WITHIN_S)
    assert patient.looks.get(timeout=WITHIN_S) == "attendant under test"
    assert patient.looks.empty()
    assert len(threads()) == 1, "one thread for both"
    attendant.leave(patient)
    busy.looks.get(timeout=WITHIN_S)
    attendant.leave(busy)
    assert threads() == [], "and none for nobody"


def test_it_begins_again_after_everybody_has_left(attendant: Attendant) -> None:
    one = Charge(NEVER_S)
    for _ in range(50):
        attendant.attend(one, one.look)
        one.looks.get(timeout=WITHIN_S)
        attendant.leave(one)


def test_leaving_twice_and_without_having_come_is_nothing(attendant: Attendant) -> None:
    one = Charge(NEVER_S)
    attendant.leave(one)
    attendant.attend(one, one.look)
    attendant.leave(one)
    attendant.leave(one)


def test_many_come_and_go_at_once(attendant: Attendant) -> None:
    """Whoever leaves last does not wait for one who comes meanwhile."""

    def come_and_go() -> None:
        one = Charge(0.0)
        for _ in range(100):
            attendant.attend(one, one.look)
            one.looks.get(timeout=WITHIN_S)
            attendant.leave(one)

    crowd = [threading.Thread(target=come_and_go) for _ in range(4)]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join(WITHIN_S)
    assert not any(one.is_alive() for one in crowd)
