"""Several loops in one process: they end together, and the service manager hears of them as of one."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from sheetd.build import build
from sheetd.config import load_settings
from sheetd.daemon import Mail
from sheetd.errors import JournalError
from sheetd.loops import project_of_thread, run_together
from sheetd.systemd import SharedWatchdog, Watchdog


class Loop:
    """Works until it is stopped, or fails when it is told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.over = threading.Event()
        self.has_begun = threading.Event()
        self.closed = False
        self.project = ""

    def run(self) -> None:
        self.project = project_of_thread()
        self.has_begun.set()
        try:
            if self.error is not None:
                raise self.error
            assert self.over.wait(10)
        finally:
            self.closed = True

    def stop(self) -> None:
        self.over.set()


def test_a_loop_that_fails_ends_the_others_in_peace_and_its_error_is_raised(caplog: pytest.LogCaptureFixture) -> None:
    good, bad = Loop(), Loop(OSError("no more room"))
    with caplog.at_level(logging.ERROR), pytest.raises(OSError, match="no more room"):
        run_together({"good": good, "bad": bad})
    assert good.closed
    assert "every other project with it" in caplog.text


def test_loops_work_until_all_are_stopped_each_in_a_thread_of_its_name() -> None:
    loops = {"vision": Loop(), "speech": Loop()}
    thread = threading.Thread(target=run_together, args=(loops,))
    thread.start()
    assert all(loop.has_begun.wait(10) for loop in loops.values())
    assert thread.is_alive()
    for loop in loops.values():
        loop.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert {name: loop.project for name, loop in loops.items()} == {"vision": "vision", "speech": "speech"}


def test_a_single_loop_works_in_the_thread_of_who_runs_it() -> None:
    only = Loop(KeyError("x"))
    with pytest.raises(KeyError):
        run_together({"main": only})
    assert only.project == ""
    assert project_of_thread() == ""


def test_a_project_that_breaks_ends_the_daemon_and_leaves_nothing_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "train.toml").write_text('command = ["true"]\n')
    config = tmp_path / "sheetd.toml"
    sheets = "".join(f'[[sheets]]\nname = "{name}"\n' for name in ("vision", "speech"))
    config.write_text(f'{sheets}[daemon]\nstate_dir = "state"\n[[hosts]]\nname = "here"\nlocal = true\n')
    service = build(load_settings(config))
    good, bad = (project.daemon for project in service.projects)
    turned = threading.Event()
    turn = good.turn

    def turn_and_say(news: Sequence[Mail]) -> float:
        turned.set()
        return turn(news)

    def fail(news: Sequence[Mail]) -> float:
        assert turned.wait(20)
        raise RuntimeError(f"a bug, with {len(news)} news")

    monkeypatch.setattr(good, "turn", turn_and_say)
    monkeypatch.setattr(bad, "turn", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        service.run()
    with pytest.raises(JournalError, match="in use by another sheetd"):
        build(load_settings(config))
    service.close()
    build(load_settings(config)).close()


# --- the watchdog --------------------------------------------------------------------------------------------------


class Clock:
    now_s = 100.0

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_s(self) -> float:
        return 0.0


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Callable[[], list[str]]]:
    """What a service manager has been told since it last listened."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.setblocking(False)

        def told() -> list[str]:
            words = []
            try:
                while True:
                    words.append(channel.recv(100).decode())
            except BlockingIOError:
                return words

        yield told


def test_systemd_hears_of_several_loops_what_holds_for_all_of_them(
    manager: Callable[[], list[str]], tmp_path: Path
) -> None:
    clock = Clock()
    env = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "30000000"}
    shared = SharedWatchdog(Watchdog(clock, env))
    one, two = shared.part(), shared.part()
    assert one.interval_s == two.interval_s == 10.0
    one.ready()
    assert manager() == []
    two.ready()
    assert manager() == ["READY=1"]
    for _ in range(20):  # one hangs from here on, and the other one turns
        clock.now_s += 5.0
        two.alive()
    assert manager() == []
    one.alive()
    assert manager() == ["WATCHDOG=1"]
    clock.now_s += 10.0
    one.alive()
    assert manager() == []
    two.alive()
    assert manager() == ["WATCHDOG=1"]
    one.stopping()
    two.stopping()
    assert manager() == ["STOPPING=1"]


def test_loops_that_all_turn_as_seldom_as_they_may_are_told_alive_well_within_the_period(
    manager: Callable[[], list[str]], tmp_path: Path
) -> None:
    clock = Clock()
    env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "30000000"}
    shared = SharedWatchdog(Watchdog(clock, env))
    parts = [shared.part() for _ in range(3)]
    told_s = [clock.now_s]
    for step in range(60):  # each turns every 10 s, and they do so one after the other
        clock.now_s += 10.0 / 3
        parts[step % 3].alive()
        told_s += [clock.now_s] * len(manager())
    assert max(later - earlier for earlier, later in pairwise(told_s)) <= 20.0
    assert len(told_s) > 10
