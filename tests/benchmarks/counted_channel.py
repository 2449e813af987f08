"""A channel to an agent that counts what goes through it, so that "in one request" is a figure and not a claim."""

from __future__ import annotations

from dataclasses import dataclass

from sheetd.hosts.client import Channel


@dataclass
class Traffic:
    """`requests` are what was handed over to be sent: the client hands over one frame at a time."""

    requests: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0

    def __sub__(self, before: Traffic) -> Traffic:
        return Traffic(
            self.requests - before.requests,
            self.sent_bytes - before.sent_bytes,
            self.received_bytes - before.received_bytes,
        )

    def copy(self) -> Traffic:
        return Traffic(self.requests, self.sent_bytes, self.received_bytes)


class CountedChannel:
    """Another channel, with its traffic added to `traffic`."""

    def __init__(self, inner: Channel, traffic: Traffic) -> None:
        self._inner = inner
        self._traffic = traffic

    def open(self) -> None:
        self._inner.open()

    def send(self, data: bytes) -> None:
        self._traffic.requests += 1
        self._traffic.sent_bytes += len(data)
        self._inner.send(data)

    def receive(self) -> bytes:
        data = self._inner.receive()
        self._traffic.received_bytes += len(data)
        return data

    def complaint(self) -> str:
        return self._inner.complaint()

    def close(self) -> None:
        self._inner.close()
