"""Whether an attempt that is over still holds its accelerators is asked patiently."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sheetd.onhost import probedesk, release
from sheetd.onhost.release import ANEW_S, PATIENCE_S, Release
from sheetd.onhost.system import System

SAMPLE = {"at": 1.0, "began": 0.5, "devices": [], "notes": []}


class Machine:
    """As much of a system as a release asks: a clock that stands still unless somebody waits, and no open files."""

    def __init__(self) -> None:
        self.now = 100.0
        self.tools = SimpleNamespace(at=str)

    def boottime(self) -> float:
        return self.now

    def open_files(self, _prefixes: tuple[str, ...]) -> list[tuple[str, int]]:
        return []


def test_a_probe_that_dies_at_once_is_not_begun_anew_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seed 12208 of the simulator: each death woke the supervisor, which forked the next one, for ten seconds."""
    (tmp_path / "probe").mkdir()
    (tmp_path / "probe" / "samples.json").write_text(json.dumps({"samples": [SAMPLE]}))
    machine, begun = Machine(), []

    def dies_at_once(*_: object) -> int:
        begun.append(machine.now)
        done, done_in = os.pipe()
        os.close(done_in)
        return done

    def wait(_processes: list[object], _seconds: float) -> None:
        machine.now += 0.1  # woken by the death of the prober, long before the time is over

    monkeypatch.setattr(release, "start_probe", dies_at_once)
    attempt = SimpleNamespace(root=str(tmp_path), name="abcd.1")
    spec = {"accelerators": [{"kind": "nvidia", "id": "GPU-1"}]}
    Release(machine, attempt, spec).settle(set(), lambda *_: None, wait)  # type: ignore[arg-type]
    assert machine.now - 100.0 == pytest.approx(PATIENCE_S, abs=0.2)
    assert 1 < len(begun) <= PATIENCE_S / ANEW_S + 1


def test_a_launcher_that_cannot_fork_leaves_last_words_and_lets_go(tmp_path: Path) -> None:
    """Seed 35669 of the simulator: a user without processes left; what went wrong was told to nobody."""
    (tmp_path / "probe").mkdir()

    class Crowded(System):
        def fork(self, role: str, life: Callable[[], Any], group: Callable[[], int] | None = None) -> int:
            if role == "prober":
                raise BlockingIOError(errno.EAGAIN, "fork")
            return super().fork(role, life, group)

    done = probedesk.start_probe(Crowded(), str(tmp_path), 300)
    assert done is not None
    assert os.read(done, 1) == b"", "it says at once that it is over"
    os.close(done)
    assert "BlockingIOError" in (tmp_path / "probe" / "prober.err").read_text()
    lock = probedesk.lock_probe(str(tmp_path))
    assert lock is not None
    os.close(lock)
