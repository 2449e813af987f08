"""Kill -9 of every process of the family, before and after each of its effects: all of them, not a sample.

Whatever is killed, a job is started at most once, the attempt comes to an end that never changes, and an end that
somebody saw is known. The launch is sent again afterwards, as the daemon does when no answer came.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.onhost.link import Link, clean_up, until

A = "abcd1.1"
CRASHING = Path(__file__).with_name("crashing.py")
ROLES = ("agent", "launcher", "supervisor", "shim")
MOMENTS = ("before", "after")


class Scene:
    """One root, an agent that will crash in it, and one that will not."""

    def __init__(self, root: Path, role: str, moment: str, number: int) -> None:
        self.root = root
        self.crashing = Link(root, command=[sys.executable, str(CRASHING), str(root), role, moment, str(number)])
        self.sound = Link(root)
        self.starts = root / "starts"

    def request(self, link: Link, script: str, **spec: Any) -> dict[str, Any]:
        argv = ["sh", "-c", f"echo started >> {self.starts}; {script}"]
        return link.request(A, argv, **spec)

    def dare(self, link: Link, verb: str, **fields: Any) -> None:
        """A request whose answer may never come."""
        try:
            link.ask(verb, **fields)
        except (AssertionError, BrokenPipeError):
            link.process.wait(20)

    def count(self) -> int:
        return len(self.starts.read_text().splitlines()) if self.starts.exists() else 0

    def crashed(self) -> str:
        marker = self.root / "crashed"
        return marker.read_text() if marker.exists() else ""

    def leave(self) -> None:
        clean_up(self.root)
        for link in (self.crashing, self.sound):
            link.close()


def scenes(tmp_path: Path, role: str, moment: str) -> Iterator[Scene]:
    """One scene for each effect of this role, until it has no more."""
    for number in range(100):
        root = tmp_path / str(number)
        root.mkdir(mode=0o700)
        scene = Scene(root, role, moment, number)
        try:
            scene.sound.boot_up()
            yield scene
            if not scene.crashed():
                assert number > 0, "no effect of this role was ever reached"
                return
        finally:
            print(scene.crashed())
            scene.leave()
    raise AssertionError("the effects have no end")


def final(link: Link) -> dict[str, Any]:
    """The end of the attempt, asked twice: it must not change."""
    end = link.until_ended(A)
    again = link.state(A)
    assert (end["state"], end["exit"]) == (again["state"], again["exit"])
    return end


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("role", ROLES)
def test_killed_anywhere_in_a_launch_a_job_is_started_at_most_once_and_ends(tmp_path: Path, role: str, moment: str):
    for scene in scenes(tmp_path, role, moment):
        scene.crashing.boot = scene.sound.hello()["boot"]
        scene.dare(scene.crashing, "launch", **scene.request(scene.crashing, "exit 3"))
        scene.sound.ask("launch", **scene.request(scene.sound, "exit 3"))
        end = final(scene.sound)
        assert scene.count() <= 1, scene.crashed()
        if end["state"] == "lost":
            assert not end["executed"], scene.crashed()
            assert scene.count() == 0, scene.crashed()
        else:
            assert (end["state"], end["exit"]["rc"], scene.count()) == ("exited", 3, 1), scene.crashed()


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("role", ROLES)
def test_killed_anywhere_in_a_life_with_restarts_the_budget_holds(tmp_path: Path, role: str, moment: str):
    for scene in scenes(tmp_path, role, moment):
        scene.crashing.boot = scene.sound.hello()["boot"]
        spec: dict[str, Any] = {"restarts": {"max": 2, "backoff_s": 0}}
        scene.dare(scene.crashing, "launch", **scene.request(scene.crashing, "exit 3", **spec))
        scene.sound.ask("launch", **scene.request(scene.sound, "exit 3", **spec))
        end = final(scene.sound)
        assert end["restarts"] <= 2, scene.crashed()
        assert scene.count() <= end["restarts"] + 1, scene.crashed()
        if end["state"] == "exited":
            assert end["exit"]["rc"] == 3
            assert scene.count() >= end["restarts"], scene.crashed()  # one run may have been recorded and not executed


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("role", ["agent", "launcher", "supervisor"])
def test_killed_anywhere_in_a_stop_the_attempt_stops(tmp_path: Path, role: str, moment: str):
    for scene in scenes(tmp_path, role, moment):
        scene.crashing.boot = scene.sound.hello()["boot"]
        request = scene.request(scene.crashing, "exec sleep 60")
        scene.dare(scene.crashing, "launch", **request)
        if scene.crashing.process.poll() is None:
            scene.dare(scene.crashing, "stop", attempt=A, grace_s=5, epoch=1)
        scene.sound.stop(A)
        end = final(scene.sound)
        assert scene.count() <= 1, scene.crashed()
        if end["state"] == "revoked":
            assert scene.count() == 0, scene.crashed()
            assert scene.sound.ask("launch", **request)["code"] == "revoked"
        elif end["state"] == "exited" and end["executed"]:
            assert (end["exit"]["signal"], end["exit"]["stopped"]) == (signal.SIGTERM, True), scene.crashed()
        until("nothing is started later", lambda scene=scene: scene.count() <= 1)


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_anywhere_in_a_revocation_it_never_runs_afterwards(tmp_path: Path, moment: str):
    for scene in scenes(tmp_path, "agent", moment):
        scene.crashing.boot = scene.sound.hello()["boot"]
        scene.dare(scene.crashing, "stop", attempt=A, grace_s=5, epoch=1)
        revoked = scene.sound.stop(A)
        assert revoked["state"] == "revoked", scene.crashed()
        assert scene.sound.ask("launch", **scene.request(scene.sound, "true"))["code"] == "revoked"
        assert scene.count() == 0
