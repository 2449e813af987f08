"""The daemon's own machine as a host: the same agent and protocol, through a socket instead of SSH.

The agent is a process of its own in a session of its own, so Ctrl-C in the daemon's terminal does not reach it, and
it ends when its end of the socket is closed. Its error stream is a second socket, kept only for people.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading

from sheetd.errors import HostUnreachable
from sheetd.hosts.bootstrap import PYTHON_ARGV
from sheetd.hosts.sockets import shut

RECEIVE_BYTES = 65536
#: A send that makes no progress for so long has met an agent that does not read.
SEND_PATIENCE_S = 20.0
_COMPLAINT_KEPT_BYTES = 2000
_END_PATIENCE_S = 5.0


class LocalChannel:
    """A child process at the other end of a socket pair: shutting it down wakes every thread that waits on it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._ours, self._agents = socket.socketpair()
        self._errors, self._agents_errors = socket.socketpair()
        self._said = b""
        self._agent: subprocess.Popen[bytes] | None = None
        #: Another thread may close what is being opened: then no agent is left that nobody waits for.
        self._opening = threading.Lock()
        self._is_closed = False

    def open(self) -> None:
        with self._opening:
            if self._is_closed:
                raise HostUnreachable(f"{self._name}: the connection was closed")
            self._ours.settimeout(SEND_PATIENCE_S)
            self._errors.setblocking(False)
            try:
                with self._agents, self._agents_errors:
                    self._agent = subprocess.Popen(
                        [sys.executable, *PYTHON_ARGV],
                        stdin=self._agents.fileno(),
                        stdout=self._agents.fileno(),
                        stderr=self._agents_errors.fileno(),
                        start_new_session=True,
                    )
            except OSError as error:
                raise HostUnreachable(f"{self._name}: cannot start {sys.executable}: {error}") from error

    def send(self, data: bytes) -> None:
        self._ours.sendall(data)

    def receive(self) -> bytes:
        while True:
            with contextlib.suppress(TimeoutError):
                data = self._ours.recv(RECEIVE_BYTES)
                self._drain_errors()
                return data

    def complaint(self) -> str:
        self._drain_errors()
        return self._said.decode("utf-8", "replace").strip()

    def _drain_errors(self) -> None:
        """An agent whose error stream is never read would block on it one day."""
        with contextlib.suppress(OSError):  # nothing there, or closed: both mean that there is no more to read
            while chunk := self._errors.recv(RECEIVE_BYTES):
                self._said = (self._said + chunk)[-_COMPLAINT_KEPT_BYTES:]

    def close(self) -> None:
        with self._opening:
            self._is_closed = True
            shut(self._ours)
            self._errors.close()
            self._agents.close()
            self._agents_errors.close()
        if self._agent is not None:
            try:
                self._agent.wait(_END_PATIENCE_S)
            except subprocess.TimeoutExpired:
                self._agent.kill()
                self._agent.wait()
