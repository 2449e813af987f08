"""One connection's promises, against a channel whose other end the test plays: deadlines, pushes, refusals, the end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from sheetd.errors import HostRefused, HostUnreachable
from sheetd.hosts.bootstrap import Place, bundle
from sheetd.hosts.client import AgentClient
from sheetd.hosts.wire import ProtocolError, encode
from tests.hosts.scripted import ScriptedChannel, echo
from tests.rig.waiting import wait_for

Opened = Callable[[ScriptedChannel], AgentClient]


@pytest.fixture
def pushes() -> list[Mapping[str, Any]]:
    return []


@pytest.fixture
def opened(pushes: list[Mapping[str, Any]]) -> Iterator[Opened]:
    clients = []

    def open_(channel: ScriptedChannel) -> AgentClient:
        client = AgentClient("gpu1", channel, pushes.append)
        clients.append(client)
        client.open(bundle(), Place())
        return client

    yield open_
    for client in clients:
        client.close()


def test_an_answer_belongs_to_its_request_whatever_the_shell_prints_between(opened: Opened) -> None:
    client = opened(ScriptedChannel(echo, greeting=b"motd\nSHEETD is not installed\n"))
    assert client.request("status", dict, attempts=["a.1"])["attempts"] == ["a.1"]
    assert client.request("ping", dict)["verb"] == "ping"


def test_the_agent_is_shipped_only_when_it_is_needed(opened: Opened) -> None:
    has_it, lacks_it = ScriptedChannel(echo), ScriptedChannel(echo, need=True)
    opened(has_it)
    opened(lacks_it)
    assert has_it.blob == b""
    assert lacks_it.blob == bundle().blob


def test_a_refusal_carries_the_agents_code_and_text(opened: Opened) -> None:
    refusal = {"error": {"code": "disk_full", "message": "make room"}}
    with pytest.raises(HostRefused, match="gpu1: make room") as refused:
        opened(ScriptedChannel(lambda _: refusal)).request("launch", dict)
    assert refused.value.code == "disk_full"


@pytest.mark.parametrize("error", [None, "no", {"code": "x" * 5000}, {"code": None, "message": ["\ud800"]}, {}])
def test_a_refusal_of_any_shape_is_one(opened: Opened, error: object) -> None:
    with pytest.raises(HostRefused) as refused:
        opened(ScriptedChannel(lambda _: {"error": error})).request("launch", dict)
    assert len(refused.value.code) <= 500
    str(refused.value).encode()


def test_a_deadline_that_passes_drops_the_connection(opened: Opened) -> None:
    channel = ScriptedChannel(lambda _: None)
    client = opened(channel)
    with pytest.raises(HostUnreachable, match="no answer to `launch` in time"):
        client.request("launch", dict, deadline_s=0.05)
    assert channel.is_closed.is_set()
    with pytest.raises(HostUnreachable, match="no answer to `launch`"):
        client.request("ping", dict)


def test_the_end_of_the_channel_ends_every_request_that_waits(opened: Opened) -> None:
    channel = ScriptedChannel(lambda _: None)
    client = opened(channel)
    waiting = threading.Timer(0.05, channel.close)
    waiting.start()
    with pytest.raises(HostUnreachable, match=r"closed the connection; it said: 'bash: warning: setlocale'"):
        client.request("status", dict)
    waiting.join()
    assert client.ended.is_set()


def test_an_answer_that_makes_no_sense_ends_the_connection(opened: Opened) -> None:
    def refuse(answer: Mapping[str, Any]) -> None:
        raise ProtocolError(f"an answer that makes no sense: {answer}")

    client = opened(ScriptedChannel(echo))
    with pytest.raises(HostUnreachable, match="makes no sense"):
        client.request("hello", refuse)
    assert client.ended.is_set()


def test_damage_on_the_way_ends_the_connection(opened: Opened) -> None:
    channel = ScriptedChannel(lambda _: encode(channel.nonce, {"id": 1, "ok": {"x": 1}}).replace(b'"x":1', b'"x":2'))
    with pytest.raises(HostUnreachable, match="does not match its hash"):
        opened(channel).request("ping", dict)


def test_pushes_arrive_in_order_and_between_answers(opened: Opened, pushes: list[Mapping[str, Any]]) -> None:
    channel = ScriptedChannel(echo)
    client = opened(channel)
    for number in range(5):
        channel.say({"push": "attempt", "number": number})
    client.request("ping", dict)
    assert [push["number"] for push in pushes] == [0, 1, 2, 3, 4]


def test_a_late_answer_is_ignored(opened: Opened) -> None:
    channel = ScriptedChannel(echo)
    client = opened(channel)
    channel.say({"id": 999, "ok": {}})
    assert client.request("ping", dict)["verb"] == "ping"


def test_stage_0_can_refuse(opened: Opened) -> None:
    class Refusing(ScriptedChannel):
        def say(self, message: Mapping[str, Any]) -> None:
            super().say({"error": {"code": "bad_root", "message": "not our folder"}} if "need" in message else message)

    channel = Refusing(echo)
    with pytest.raises(HostRefused, match="not our folder") as refused:
        opened(channel)
    assert refused.value.code == "bad_root"
    assert channel.is_closed.is_set()


def test_requests_from_many_threads_get_their_own_answers(opened: Opened) -> None:
    client = opened(ScriptedChannel(echo))
    found: dict[int, Any] = {}
    threads = [
        threading.Thread(target=lambda n=n: found.update({n: client.request("echo", dict, n=n)["n"]}))
        for n in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: n for n in range(20)}


def test_closing_ends_the_reader_thread(opened: Opened) -> None:
    before = threading.enumerate()
    client = opened(ScriptedChannel(echo))
    client.close()
    client.close()
    assert threading.enumerate() == before


def test_a_request_that_cannot_even_be_sent_is_found_to_be_stuck(opened: Opened) -> None:
    class Full(ScriptedChannel):
        def send(self, data: bytes) -> None:
            if b'"launch"' in data:
                self.is_closed.wait(10.0)
                raise BrokenPipeError("closed while sending")
            super().send(data)

    outcome: list[Exception] = []

    def launch() -> None:
        try:
            client.request("launch", dict, deadline_s=0.01)
        except HostUnreachable as error:
            outcome.append(error)

    client = opened(Full(echo))
    asking = threading.Thread(target=launch)
    asking.start()
    wait_for(client.is_asking, "the request is being sent")
    client.drop_if_stuck(60.0)
    assert not client.ended.is_set()
    wait_for(lambda: client.drop_if_stuck(0.0) or client.ended.is_set(), "it is dropped")
    asking.join()
    assert "could not even be sent" in str(outcome[0])
