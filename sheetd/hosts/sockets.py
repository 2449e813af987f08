"""Sockets to a host: straight over TCP, or through the operator's ProxyCommand.

Measured: TCP keepalive alone does not find a dead peer while unacknowledged data is in flight, and TCP_USER_TIMEOUT
alone does not find it on an idle connection. Both are set here; the session's ping covers what is left (a frozen
host, a tunnel). Each function hands what must be closed to `own` before it waits, so that another thread can end the
wait.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import subprocess
from collections.abc import Callable
from typing import TypeAlias

CONNECT_S = 10.0
KEEPALIVE_IDLE_S, KEEPALIVE_EVERY_S, KEEPALIVE_PROBES = 10, 5, 3
TCP_USER_TIMEOUT_MS = 20_000

#: Takes what closes a thing; raises HostUnreachable when everything has been closed already.
Own: TypeAlias = Callable[[Callable[[], object]], None]


def through_tcp(host: str, port: int, own: Own) -> socket.socket:
    """The first address that answers. Raises the OSError of the last one, or gaierror when the name has none."""
    failure = OSError("the name has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        own(functools.partial(shut, sock))
        sock.settimeout(CONNECT_S)
        try:
            sock.connect(address)
        except OSError as error:
            failure = error
            sock.close()
        else:
            return _tuned(sock)
    raise failure


def _tuned(sock: socket.socket) -> socket.socket:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    wanted = {
        "TCP_NODELAY": 1,
        "TCP_KEEPIDLE": KEEPALIVE_IDLE_S,
        "TCP_KEEPINTVL": KEEPALIVE_EVERY_S,
        "TCP_KEEPCNT": KEEPALIVE_PROBES,
        "TCP_USER_TIMEOUT": TCP_USER_TIMEOUT_MS,
    }
    for option, value in wanted.items():
        if hasattr(socket, option):  # not every system has all of them
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return sock


def through_command(command: str, own: Own) -> socket.socket:
    """A socket to a ProxyCommand, which the shell interprets, as ssh_config(5) has it: the text is the operator's own.

    paramiko's ProxyCommand waits with select(), which fails beyond file descriptor 1023 (paramiko#2568).
    """
    ours, theirs = socket.socketpair()
    own(functools.partial(shut, ours))
    with theirs:
        proxy = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {command}"],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    own(functools.partial(_reap, proxy))
    return ours


def wake(sock: socket.socket) -> None:
    """End what every thread waits for that reads or writes here."""
    with contextlib.suppress(OSError):  # not connected (any more): there is nothing to wake
        sock.shutdown(socket.SHUT_RDWR)


def shut(sock: socket.socket) -> None:
    """Close, and wake every thread that waits on it."""
    wake(sock)
    sock.close()


def _reap(proxy: subprocess.Popen[bytes]) -> None:
    proxy.terminate()
    try:
        proxy.wait(2.0)
    except subprocess.TimeoutExpired:
        proxy.kill()
        proxy.wait()
