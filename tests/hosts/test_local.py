"""The channel to an agent on this machine, when one thread closes what another one is opening."""

from __future__ import annotations

import subprocess
import threading
from typing import Any

import pytest

from sheetd.errors import HostUnreachable
from sheetd.hosts.local import LocalChannel


def test_a_channel_that_was_closed_before_starts_nothing(monkeypatch: pytest.MonkeyPatch):
    """It ended its thread with a traceback, when a daemon was stopped in the moment of its start."""
    started: list[Any] = []
    monkeypatch.setattr(subprocess, "Popen", lambda *argv, **_: started.append(argv))
    channel = LocalChannel("alpha")
    channel.close()
    with pytest.raises(HostUnreachable, match="alpha: the connection was closed"):
        channel.open()
    assert started == []


def test_an_agent_that_starts_while_its_channel_is_closed_is_waited_for(monkeypatch: pytest.MonkeyPatch):
    starting, usual = threading.Event(), subprocess.Popen
    started: list[subprocess.Popen[bytes]] = []
    channel = LocalChannel("alpha")
    closer = threading.Thread(target=lambda: starting.wait() and channel.close())

    def slowly(*argv: Any, **options: Any) -> subprocess.Popen[bytes]:
        starting.set()
        closer.join(0.2)
        started.append(usual(*argv, **options))
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", slowly)
    closer.start()
    channel.open()
    closer.join()
    assert started[0].returncode is not None
