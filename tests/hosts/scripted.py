"""A host in memory, whose agent says what the test wants."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any

from sheetd.hosts.wire import Decoder, encode

#: Given a request, what the agent sends back; None is silence.
Script = Callable[[dict[str, Any]], "bytes | Mapping[str, Any] | None"]


class ScriptedChannel:
    """Takes stage 0's lines, then answers frames as the script says."""

    def __init__(self, script: Script, *, need: bool = False, greeting: bytes = b"Welcome!\n") -> None:
        self.script = script
        self.need = need
        self.greeting = greeting
        self.blob = b""
        self.is_closed = threading.Event()
        self.nonce = ""
        self._incoming: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._decoder: Decoder | None = None

    def open(self) -> None:
        self._incoming.put(self.greeting)

    def send(self, data: bytes) -> None:
        if self._decoder is None:
            source, header, rest = data.split(b"\n", 2)
            assert source.startswith((b"'", b'"'))
            assert rest == b""
            self.nonce = header.decode().partition('"nonce": "')[2][:32]
            self._decoder = Decoder(self.nonce)
            self.say({"need": self.need})
            return
        if self.need and not self.blob:
            self.blob = data
            return
        for request in self._decoder.feed(data):
            answer = self.script(request)
            if isinstance(answer, bytes):
                self._incoming.put(answer)
            elif answer is not None:
                self.say({"id": request["id"], **answer})

    def say(self, message: Mapping[str, Any]) -> None:
        self._incoming.put(encode(self.nonce, message))

    def receive(self) -> bytes:
        return self._incoming.get()

    def complaint(self) -> str:
        return "bash: warning: setlocale"

    def close(self) -> None:
        self.is_closed.set()
        self._incoming.put(b"")


def echo(request: dict[str, Any]) -> Mapping[str, Any]:
    return {"ok": request}


HELLO = {
    "boot": {"boot_id": "b", "pidns": 1, "pid1_ticks": 2},
    "boottime_s": 100.0,
    "cores": 4,
    "hostname": "gpu1",
    "memory_bytes": 1,
    "disk_free_bytes": 1,
}


def idle(request: dict[str, Any]) -> Mapping[str, Any]:
    """An agent that keeps no attempts."""
    answers = {"hello": HELLO, "ping": {"boottime_s": 101.0}, "status": {"attempts": {}}, "watch": {"attempts": {}}}
    return {"ok": answers[request["verb"]]}
