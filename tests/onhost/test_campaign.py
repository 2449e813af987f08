"""A storm: several agents, repeated launches, stops, and kill -9 of anybody at any moment. One seed, one storm.

`test_crash_points.py` is complete for one death; this one is for what several deaths and races bring about together.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.onhost.link import ENDED, Link, until

RESTARTS = 2


class Storm:
    """Everything drawn from one seed: who sends what, and who is killed."""

    def __init__(self, root: Path, connect: Callable[..., Link], seed: int) -> None:
        self.root = root
        self.connect = connect
        self.draw = random.Random(seed)
        self.links = [connect(), connect()]
        self.attempts = [f"abcd1.{number}" for number in range(1, 5)]
        self.stopped: set[str] = set()

    def starts(self, attempt: str) -> Counter[str]:
        path = self.root / f"starts-{attempt}"
        return Counter(path.read_text().split() if path.exists() else [])

    def request(self, link: Link, attempt: str) -> dict[str, Any]:
        script = (
            f'echo "$SHEETD_RESTART" >> {self.root}/starts-{attempt}; sleep 0.05; test "$SHEETD_RESTART" = {RESTARTS}'
        )
        return link.request(attempt, ["sh", "-c", script], restarts={"max": RESTARTS, "backoff_s": 0.01})

    def say(self, index: int, verb: str, **fields: Any) -> None:
        """A request to an agent that may be dead already; then another one is connected."""
        try:
            self.links[index].ask(verb, **fields)
        except (AssertionError, BrokenPipeError):
            self.links[index] = self.connect()

    def family(self) -> list[int]:
        """Agents, supervisors, shims and jobs of this storm."""
        found = [link.process.pid for link in self.links]
        for path in self.root.glob("a/*/*"):
            if path.name.startswith(("supervisor.json", "proc.")):
                with contextlib.suppress(OSError):
                    numbers = path.read_text().replace("]", "[").split("[")
                    found += [int(part.split(",")[0]) for part in numbers if part[:1].isdigit()]
        mine = str(self.root).encode()
        return [pid for pid in found if mine in command_line(pid)]

    def blow(self) -> None:
        """One event."""
        index, attempt = self.draw.randrange(2), self.draw.choice(self.attempts)
        match self.draw.choice(["launch", "launch", "launch", "kill", "kill", "stop", "status"]):
            case "launch":
                self.say(index, "launch", **self.request(self.links[index], attempt))
            case "stop" if self.draw.random() < 0.3:
                self.stopped.add(attempt)
                self.say(index, "stop", attempt=attempt, grace_s=1, epoch=1)
            case "kill":
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.draw.choice(self.family() or [self.links[index].process.pid]), signal.SIGKILL)
            case _:
                self.say(index, "status", attempts=None)


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("seed", range(8))
def test_in_any_storm_each_run_starts_at_most_once_and_everything_ends(
    root: Path, connect: Callable[..., Link], seed: int
):
    storm = Storm(root, connect, seed)
    for _ in range(40):
        storm.blow()
    calm = connect()
    for attempt in storm.attempts:
        answer = calm.ask("launch", **storm.request(calm, attempt))
        assert "state" in answer or answer["code"] == "revoked", answer

    def ended() -> dict[str, Any] | None:
        states: dict[str, Any] = calm.ask("status", attempts=storm.attempts)["attempts"]
        return states if all(state["state"] in ENDED for state in states.values()) else None

    ends: dict[str, Any] = until("everything ends", ended, deadline_s=60)
    for attempt, end in ends.items():
        starts = storm.starts(attempt)
        assert all(count == 1 for count in starts.values()), (attempt, starts, end)
        assert len(starts) <= RESTARTS + 1
        if end["state"] == "revoked":
            assert not starts
            assert attempt in storm.stopped
        if end["exit"] is not None and end["exit"]["stopped"]:
            assert attempt in storm.stopped
        if end["exit"] is not None and end["exit"]["rc"] == 0:
            assert str(RESTARTS) in starts
