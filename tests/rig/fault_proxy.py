"""A TCP proxy on loopback that can be slow, silent or broken, to stand between a client and a server.

    stall()      connections stay open and nothing passes, as when a host freezes or a cable is pulled; later bytes wait
    stall_answers()  the same, but only what the server says waits: requests arrive and are obeyed
    cut()        every connection is reset, and new ones are refused service, until `heal`
    lose(n)      the next n bytes vanish, as in a broken middlebox: what follows them arrives
    latency_s    how late each piece of data arrives

Threads and plain sockets, one thread per direction: small numbers of connections only.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from typing import final

LOOPBACK = "127.0.0.1"
_RECEIVE_BYTES = 65536
_RESET = struct.pack("ii", 1, 0)


@final
class FaultProxy:
    """`with FaultProxy(port) as proxy:` and connect to `proxy.port` on loopback, wherever the server is."""

    def __init__(self, port: int, address: str = LOOPBACK) -> None:
        self._target = (address, port)
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        self.latency_s = 0.0
        self.connections = 0
        #: One for each direction: requests to the server, answers from it.
        self._requests_flow, self._answers_flow = threading.Event(), threading.Event()
        self._requests_flow.set()
        self._answers_flow.set()
        self._is_cut = False
        self._to_lose = 0
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, name="fault-proxy", daemon=True)]
        self._threads[0].start()

    def stall(self) -> None:
        self._requests_flow.clear()
        self._answers_flow.clear()

    def stall_answers(self) -> None:
        self._answers_flow.clear()

    def cut(self) -> None:
        """Ends a stall as well: what waited in it is lost."""
        self._is_cut = True
        self._reset_all()
        self._flow()

    def lose(self, count: int) -> None:
        """Of whatever passes next, in either direction."""
        with self._lock:
            self._to_lose = count

    def heal(self) -> None:
        self._is_cut = False
        self.latency_s = 0.0
        self.lose(0)
        self._flow()

    def close(self) -> None:
        with contextlib.suppress(OSError):  # a listener that was never used has nothing to shut down
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(10.0)

    def _flow(self) -> None:
        self._requests_flow.set()
        self._answers_flow.set()

    def _reset_all(self) -> None:
        with self._lock:
            for sock in self._sockets:
                _reset(sock)
            self._sockets.clear()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return  # closed
            self.connections += 1
            thread = threading.Thread(target=self._connect, args=(near,), name="fault-proxy", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _connect(self, near: socket.socket) -> None:
        self._requests_flow.wait()
        try:
            far = socket.create_connection(self._target, timeout=10.0)
        except OSError:
            _reset(near)
            near.close()
            return
        far.settimeout(None)
        with near, far:
            with self._lock:
                self._sockets |= {near, far}
            if self._is_cut:
                self._reset_all()
            back_args = (far, near, self._answers_flow)
            back = threading.Thread(target=self._pass, args=back_args, name="fault-proxy", daemon=True)
            back.start()
            self._pass(near, far, self._requests_flow)
            back.join()
            with self._lock:
                self._sockets -= {near, far}

    def _pass(self, source: socket.socket, sink: socket.socket, flow: threading.Event) -> None:
        """One direction, until its end; a connection that breaks is broken for both."""
        try:
            while data := source.recv(_RECEIVE_BYTES):
                if self.latency_s:
                    time.sleep(self.latency_s)
                flow.wait()
                sink.sendall(self._what_is_left_of(data))
            flow.wait()
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            for sock in (source, sink):
                with contextlib.suppress(OSError):  # the other direction may have been here first
                    sock.shutdown(socket.SHUT_RDWR)

    def _what_is_left_of(self, data: bytes) -> bytes:
        with self._lock:
            lost = min(self._to_lose, len(data))
            self._to_lose -= lost
        return data[lost:]

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _reset(sock: socket.socket) -> None:
    """Have the kernel send RST, not FIN, and wake the threads that wait on the socket."""
    with contextlib.suppress(OSError):  # already gone
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        sock.shutdown(socket.SHUT_RDWR)
