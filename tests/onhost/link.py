"""A small client of the agent over pipes, and helpers that wait for what other processes do.

The agent is the real one, installed by the real stage 0 under a root of the test's own. The daemon's client is another
program, written from the same contract; this one stays small so that what a test sends can be read in the test.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sheetd.onhost import cgroup

ONHOST = Path(__file__).resolve().parents[2] / "sheetd" / "onhost"
REMOTE = ["-I", "-S", "-u", "-c", "exec(eval(open(0,'rb',0,closefd=False).readline()))"]
ENDED = ("exited", "lost", "revoked", "rebooted")
DEADLINE_S = 20.0


def bundle() -> bytes:
    files = {path.name: path.read_text() for path in ONHOST.glob("*.py") if path.name != "bootstrap.py"}
    return json.dumps(files, sort_keys=True, separators=(",", ":")).encode()


def until(what: str, question: Callable[[], Any], deadline_s: float = DEADLINE_S) -> Any:
    """The first truthy answer; AssertionError when none comes in time."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        answer = question()
        if answer:
            return answer
        time.sleep(0.005)
    raise AssertionError(f"not within {deadline_s} s: {what}")


def frame(nonce: str, value: Any) -> bytes:
    payload = json.dumps(value).encode()
    return f"SHEETD {nonce} {len(payload)} {hashlib.sha256(payload).hexdigest()[:16]}\n".encode() + payload + b"\n"


class Link:
    """One connection to an agent."""

    def __init__(
        self, root: Path, command: list[str] | None = None, env: dict[str, str] | None = None, folder: object = ""
    ) -> None:
        self.root = root
        self.folder = folder
        self.nonce = secrets.token_hex(16)
        self.process = subprocess.Popen(
            command or [sys.executable, *REMOTE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.into, self.out = self.process.stdin, self.process.stdout.fileno()
        self.buffer = b""
        self.pushes: list[dict[str, Any]] = []
        self.number = 0
        self.epoch = 1
        self.boot: dict[str, Any] = {}

    def raw(self, data: bytes) -> None:
        self.into.write(data)
        self.into.flush()

    def boot_up(self, *, blob: bytes | None = None, names_root: bool = True) -> dict[str, Any]:
        """Stage 0. Returns its answer."""
        blob = bundle() if blob is None else blob
        header = {
            "nonce": self.nonce,
            "agent_sha": hashlib.sha256(blob).hexdigest(),
            "agent_size": len(blob),
            "root": str(self.root) if names_root else None,
            "folder": self.folder,
        }
        self.raw(ascii((ONHOST / "bootstrap.py").read_text()).encode() + b"\n" + json.dumps(header).encode() + b"\n")
        answer = self.receive()
        if answer.get("need"):
            self.raw(blob)
        return answer

    def receive(self, deadline_s: float = DEADLINE_S) -> dict[str, Any]:
        """The next frame, whatever it is."""
        end = time.monotonic() + deadline_s
        while True:
            head, newline, rest = self.buffer.partition(b"\n")
            if newline:
                _, _, length, _ = head.split()
                if len(rest) > int(length):
                    self.buffer = rest[int(length) + 1 :]
                    received: dict[str, Any] = json.loads(rest[: int(length)])
                    return received
            left = end - time.monotonic()
            ready = select.select([self.out], [], [], max(0.0, left))[0]
            data = os.read(self.out, 1 << 20) if ready else b""
            if not data:
                raise AssertionError("the agent is gone" if ready else f"no frame within {deadline_s} s")
            self.buffer += data

    def send(self, verb: str, **fields: Any) -> int:
        self.number += 1
        self.raw(frame(self.nonce, {"id": self.number, "verb": verb, **fields}))
        return self.number

    def answer(self, number: int) -> dict[str, Any]:
        while True:
            received = self.receive()
            if "push" not in received:
                assert received["id"] == number
                return received
            self.pushes.append(received)

    def ask(self, verb: str, **fields: Any) -> dict[str, Any]:
        """The answer's `ok`, or its error as {"code": ..., "message": ...}."""
        answer = self.answer(self.send(verb, **fields))
        result: dict[str, Any] = answer.get("ok", answer.get("error"))
        return result

    def hello(self) -> dict[str, Any]:
        greeting = self.ask("hello", protocol=1, epoch=self.epoch)
        self.boot = greeting.get("boot", {})
        return greeting

    def request(
        self, attempt: str, argv: list[str], secret: dict[str, str] | None = None, **spec: Any
    ) -> dict[str, Any]:
        """The fields of a launch."""
        late = time.clock_gettime(time.CLOCK_BOOTTIME) + 120
        return {
            "attempt": attempt,
            "nonce": "n" * 32,
            "spec": {"argv": argv, **spec},
            "secrets": secret or {},
            "ticket": {"boot": self.boot, "deadline_boottime_s": late},
            "epoch": self.epoch,
        }

    def launch(self, attempt: str, argv: list[str], **spec: Any) -> dict[str, Any]:
        answer = self.ask("launch", **self.request(attempt, argv, **spec))
        result: dict[str, Any] = answer.get("state", answer)
        return result

    def stop(self, attempt: str, grace_s: float = 5) -> dict[str, Any]:
        answer = self.ask("stop", attempt=attempt, grace_s=grace_s, epoch=self.epoch)
        result: dict[str, Any] = answer.get("state", answer)
        return result

    def state(self, attempt: str) -> dict[str, Any]:
        result: dict[str, Any] = self.ask("status", attempts=[attempt])["attempts"][attempt]
        return result

    def until_state(self, attempt: str, *names: str) -> dict[str, Any]:
        def there() -> dict[str, Any] | None:
            state = self.state(attempt)
            return state if state["state"] in names else None

        found: dict[str, Any] = until(f"{attempt} is {names}", there)
        return found

    def until_ended(self, attempt: str) -> dict[str, Any]:
        return self.until_state(attempt, *ENDED)

    def next_push(self, kind: str, deadline_s: float = DEADLINE_S) -> dict[str, Any]:
        end = time.monotonic() + deadline_s
        while True:
            for index, push in enumerate(self.pushes):
                if push["push"] == kind:
                    return self.pushes.pop(index)
            self.pushes.append(self.receive(end - time.monotonic()))

    def close(self) -> int:
        """Close the channel and wait for the agent to end; returns its exit code."""
        with contextlib.suppress(BrokenPipeError):
            self.into.close()
        code = self.process.wait(DEADLINE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def kill(self) -> None:
        self.process.kill()
        self.close()


def living(marker: str) -> Iterator[int]:
    """Pids of living processes whose command line or environment holds the marker."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                dead = (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
            except OSError:
                continue
            if marker.encode() in text and not dead:
                yield int(entry.name)


def clean_up(root: Path) -> None:
    """Kill everything that works below this root: agents, supervisors, shims and jobs."""
    for _ in range(100):
        pids = list(living(str(root)))
        if not pids:
            remove_cgroups(root)
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    raise AssertionError(f"processes of {root} do not die")


def remove_cgroups(root: Path) -> None:
    """Those of attempts whose supervisors were killed and so could not do it."""
    for record in root.glob("a/*/proc.*.json"):
        folder = json.loads(record.read_text()).get("cgroup")
        if folder:
            cgroup.kill(folder)
            until("it is empty", lambda folder=folder: cgroup.remove(folder))


def data_of(push: dict[str, Any]) -> bytes:
    return base64.b64decode(push["data_base64"])
