"""The proxy itself: what it is told to do to a connection is done, and what follows arrives."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.rig.fault_proxy import LOOPBACK, FaultProxy


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    """Before a server that says everything back, to one client."""
    with socket.create_server((LOOPBACK, 0)) as listener:

        def echo() -> None:
            near, _ = listener.accept()
            with near:
                while data := near.recv(1000):
                    near.sendall(data)

        server = threading.Thread(target=echo)
        server.start()
        with FaultProxy(listener.getsockname()[1]) as proxy:
            yield proxy
        server.join()


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[socket.socket]:
    with socket.create_connection((LOOPBACK, proxy.port), timeout=10.0) as client:
        yield client


def test_lost_bytes_are_gone_and_what_follows_arrives(proxy: FaultProxy, client: socket.socket) -> None:
    client.sendall(b"hello")
    assert client.recv(100) == b"hello"
    proxy.lose(3)
    client.sendall(b"goodbye")
    assert client.recv(100) == b"dbye"


def test_after_it_is_healed_nothing_is_lost(proxy: FaultProxy, client: socket.socket) -> None:
    proxy.lose(3)
    proxy.latency_s = 100.0
    proxy.heal()
    client.sendall(b"goodbye")
    assert client.recv(100) == b"goodbye"
