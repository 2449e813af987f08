"""A kept host: found when it is there, missed at once when it is not, and asked for nothing it has said already."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from sheetd.core.model import AttemptId, HostName
from sheetd.core.observation import AcceleratorsReported, AttemptReported, HostSeen, HostUnseen, MetricsReported
from sheetd.errors import HostRefused, HostUnreachable
from sheetd.hosts import session as session_module
from sheetd.hosts.bootstrap import Place
from sheetd.hosts.client import Channel
from sheetd.hosts.host import AgentHost
from sheetd.hosts.session import Session, Timing
from tests.hosts.scripted import HELLO, Script, ScriptedChannel, idle
from tests.hosts.seen import Reports, order
from tests.rig.waiting import wait_for

A = AttemptId("abcd.1")
B = AttemptId("efgh.1")
QUICK = Timing(quiet_s=0.1, ping_deadline_s=0.1, healthy_s=0.0, retry_max_s=0.05)

Kept = Callable[..., AgentHost]


class Dialer:
    """Makes one scripted channel per connect, and keeps what each was asked."""

    def __init__(self, script: Script = idle) -> None:
        self.script = script
        self.channels: list[ScriptedChannel] = []
        self.requests: list[dict[str, Any]] = []

    def __call__(self) -> Channel:
        channel = ScriptedChannel(self._answer)
        self.channels.append(channel)
        return channel

    def _answer(self, request: dict[str, Any]) -> bytes | Mapping[str, Any] | None:
        self.requests.append(request)
        return self.script(request)

    def asked(self, verb: str) -> list[dict[str, Any]]:
        return [request for request in self.requests if request["verb"] == verb]


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
def kept(reports: Reports) -> Iterator[Kept]:
    hosts = []

    def keep(dial: Callable[[], Channel], timing: Timing = QUICK, *, greeted: bool = True) -> AgentHost:
        name = HostName("gpu1")
        host = AgentHost(name, Session(name, dial, place=Place(), epoch=7, timing=timing))
        hosts.append(host)
        host.keep(reports.add)
        if greeted:
            reports.wait(HostSeen)
        return host

    yield keep
    for host in hosts:
        host.close()


def test_an_open_connection_has_a_reader_and_no_thread_of_its_own_beside_it(kept: Kept, reports: Reports) -> None:
    for _ in range(3):
        kept(Dialer(), timing=Timing())
    wait_for(lambda: len(reports.all) >= 3, "each has been seen")

    def names() -> list[str]:
        return sorted(one.name for one in threading.enumerate() if one.name.startswith("sheetd-"))

    wait_for(lambda: names() == ["sheetd-attendant", *["sheetd-gpu1-reader"] * 3], "the connecting threads have ended")


def test_the_greeting_carries_the_epoch_and_asks_for_every_attempt(kept: Kept, reports: Reports) -> None:
    dial = Dialer()
    kept(dial)
    assert [request["verb"] for request in dial.requests[:3]] == ["hello", "status", "watch"]
    assert dial.requests[0]["epoch"] == 7
    assert dial.requests[1]["attempts"] is None
    assert reports.wait(HostSeen).facts.boot == "b 1 2"


def test_a_host_without_a_machine_id_is_a_host(kept: Kept, reports: Reports) -> None:
    """As containers are; the agent tells it as null."""
    nameless = {"ok": {**HELLO, "machine_id": None}}
    kept(Dialer(lambda request: nameless if request["verb"] == "hello" else idle(request)))
    assert reports.wait(HostSeen).facts.machine_id == ""


def test_a_dead_channel_is_reported_at_once_and_opened_again(kept: Kept, reports: Reports) -> None:
    dial = Dialer()
    kept(dial)
    dial.channels[0].close()
    assert "closed the connection" in reports.wait(HostUnseen).why
    assert not reports.wait(HostUnseen).lasting
    reports.wait(HostSeen, since=2)
    assert len(dial.channels) == 2


def test_a_quiet_host_is_pinged_and_one_that_does_not_answer_is_missed(kept: Kept, reports: Reports) -> None:
    dial = Dialer(lambda request: None if request["verb"] == "ping" else idle(request))
    kept(dial)
    assert "no answer to `ping` in time" in reports.wait(HostUnseen).why


def test_a_host_that_talks_is_not_pinged(kept: Kept) -> None:
    dial = Dialer()
    kept(dial, Timing(quiet_s=0.4))
    end_s = time.monotonic() + 1.2
    while time.monotonic() < end_s:
        dial.channels[0].say({"push": "attempt", "attempt": A, "state": {"state": "running"}})
        time.sleep(0.05)
    assert dial.asked("ping") == []
    wait_for(lambda: dial.asked("ping"), "a ping once it is quiet")


def test_after_a_reconnect_metrics_go_on_where_they_were(kept: Kept, reports: Reports) -> None:
    dial = Dialer()
    host = kept(dial)
    host.watch({A: 100, B: 0})
    push = {"push": "metrics", "attempt": A, "points": [{"values": {"x": 1}}]}
    dial.channels[0].say({**push, "source": "file", "from": 100, "to": 140})
    dial.channels[0].say({**push, "source": "log", "from": 0, "to": 9000})
    reports.wait(MetricsReported, lambda o: o.end == 140)
    wait_for(lambda: len(reports.points(A)) == 2, "both reports")
    assert reports.wait(MetricsReported, lambda o: o.scanned == 9000).end == 140
    dial.channels[0].close()
    wait_for(
        lambda: len(dial.channels) == 2 and len(dial.asked("watch")) == 3, "the second connection is told what to watch"
    )
    assert dial.asked("watch")[-1]["attempts"] == {
        A: {"metrics_offset": 140, "scan_offset": 9000, "log_offset": None},
        B: {"metrics_offset": 0, "scan_offset": 0, "log_offset": None},
    }


def test_what_is_wanted_while_the_host_is_away_is_told_when_it_is_back(kept: Kept, reports: Reports) -> None:
    reachable = threading.Event()
    healthy = Dialer()

    def dial() -> Channel:
        if not reachable.is_set():
            raise HostUnreachable("gpu1: no answer")
        return healthy()

    host = kept(dial, greeted=False)
    reports.wait(HostUnseen)
    with pytest.raises(HostUnreachable, match="no answer"):
        host.watch({A: 5})
    reachable.set()
    reports.wait(HostSeen)
    wait_for(lambda: healthy.asked("watch"), "the watch")
    assert list(healthy.asked("watch")[0]["attempts"]) == [A]


def test_a_push_about_accelerators_is_reported_without_being_watched(kept: Kept, reports: Reports) -> None:
    dial = Dialer()
    kept(dial)
    push = {"push": "accelerators", "notes": ["slow"], "age_s": 1.5, "samples": 2, "is_probing": False}
    dial.channels[0].say({**push, "accelerators": []})
    report = reports.wait(AcceleratorsReported)
    assert (report.host, report.notes, report.age_s) == ("gpu1", ("slow",), 1.5)


def test_pushes_about_attempts_that_nobody_watches_are_dropped(kept: Kept, reports: Reports) -> None:
    dial = Dialer()
    host = kept(dial)
    host.watch({A: 0})
    for attempt in (B, A):
        dial.channels[0].say({"push": "attempt", "attempt": attempt, "state": {"state": "running"}})
    assert reports.wait(AttemptReported).attempt == A


@pytest.mark.parametrize(
    "push",
    [
        {"push": "attempt", "attempt": A, "state": {"state": "flying"}},
        {"push": "accelerators", "accelerators": [{"id": "GPU-1"}]},
        {"push": "attempt", "attempt": A},
        {"push": "metrics", "attempt": A, "from": -1, "to": 2, "points": []},
        {"push": "metrics", "attempt": A, "from": 0, "to": 2, "points": "x"},
    ],
)
def test_a_push_that_makes_no_sense_ends_the_connection(kept: Kept, reports: Reports, push: dict[str, Any]) -> None:
    dial = Dialer()
    kept(dial).watch({A: 0})
    dial.channels[0].say(push)
    assert "the agent sent" in reports.wait(HostUnseen).why


def test_numbers_that_are_not_finite_are_left_out_of_metrics(kept: Kept, reports: Reports) -> None:
    dial = Dialer()
    kept(dial).watch({A: 0})
    points = [
        {"values": {"a": 1.5, "b": float("inf"), "c": "x", "d": True, "e": 10**400}, "step": float("nan")},
        {"values": {}},
        {"values": 3},
        5,
        {"step": 2, "values": {"a": 2}},
    ]
    dial.channels[0].say({"push": "metrics", "attempt": A, "from": 0, "to": 9, "points": points})
    report = reports.wait(MetricsReported)
    assert [(dict(point.values), point.step) for point in report.points] == [({"a": 1.5}, None), ({"a": 2.0}, 2.0)]


def test_text_of_a_host_is_bounded_and_can_be_encoded(kept: Kept, reports: Reports) -> None:
    dial = Dialer()
    kept(dial).watch({A: 0})
    lines = ["\ud800" * 10, *("x" * 10_000 for _ in range(20))]
    dial.channels[0].say({"push": "attempt", "attempt": A, "state": {"state": "running", "last_lines": lines}})
    seen = reports.wait(AttemptReported).seen
    assert len(seen.last_lines) == 5
    assert max(map(len, seen.last_lines)) == 500
    "".join(seen.last_lines).encode()


@pytest.mark.parametrize(("code", "lasting"), [("stale_daemon", True), ("busy", False), ("internal", False)])
def test_a_refused_greeting_is_lasting_unless_it_may_pass(
    kept: Kept, reports: Reports, code: str, lasting: bool
) -> None:
    kept(Dialer(lambda _: {"error": {"code": code, "message": "no"}}), greeted=False)
    assert reports.wait(HostUnseen).lasting is lasting


def test_a_connection_that_dies_after_each_greeting_is_no_storm(kept: Kept, reports: Reports) -> None:
    dial = Dialer(lambda request: {"ok": {}} if request["verb"] == "watch" else idle(request))
    host = kept(dial, Timing(retry_max_s=30.0))
    wait_for(lambda: len(reports.unseen()) >= 2, "two failures")
    time.sleep(0.5)
    host.close()
    assert len(dial.channels) < 10


def test_a_launch_under_an_expired_ticket_is_asked_once_more_with_a_fresh_one(kept: Kept) -> None:
    def script(request: dict[str, Any]) -> Mapping[str, Any]:
        if request["verb"] != "launch":
            return idle(request)
        if request["ticket"]["deadline_boottime_s"] < 221:  # the ping says 101, hello said 100
            return {"error": {"code": "ticket_expired", "message": "too late"}}
        return {"ok": {"state": {"state": "running"}}}

    dial = Dialer(script)
    kept(dial, Timing()).launch(order(A, "true"))
    assert [request["ticket"]["boot"] for request in dial.asked("launch")] == [
        {"boot_id": "b", "pidns": 1, "pid1_ticks": 2}
    ] * 2


def test_only_so_many_hosts_are_connected_to_at_once(reports: Reports, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "_connecting", threading.BoundedSemaphore(2))
    go_on, opening, most = threading.Event(), [], []

    class Slow(ScriptedChannel):
        def open(self) -> None:
            opening.append(self)
            most.append(len(opening))
            go_on.wait(10.0)
            opening.remove(self)
            super().open()

    hosts = [
        AgentHost(
            HostName(f"gpu{n}"), Session(HostName(f"gpu{n}"), lambda: Slow(idle), place=Place(), epoch=1, timing=QUICK)
        )
        for n in range(6)
    ]
    for host in hosts:
        host.keep(reports.add)
    wait_for(lambda: len(opening) == 2, "two are being opened")
    go_on.set()
    for host in hosts:
        reports.wait(HostSeen, lambda o, name=host.name: o.host == name)  # type: ignore[misc]
        host.close()
    assert max(most) == 2


def test_asking_for_facts_wakes_a_session_that_waits_for_its_next_try(kept: Kept, reports: Reports) -> None:
    healthy, failures = Dialer(), iter([HostRefused("auth_failed", "gpu1: no")])

    def dial() -> Channel:
        for failure in failures:
            raise failure
        return healthy()

    host = kept(dial, Timing(), greeted=False)
    reports.wait(HostUnseen, lambda o: o.lasting)
    assert host.facts().hostname == "gpu1"
    reports.wait(HostSeen, within_s=5.0)
    assert len(healthy.channels) == 1


def test_closing_while_it_waits_for_its_next_try_is_prompt_and_silent(kept: Kept, reports: Reports) -> None:
    before = threading.enumerate()

    def dial() -> Channel:
        raise HostRefused("auth_failed", "gpu1: no")

    host = kept(dial, Timing(), greeted=False)
    reports.wait(HostUnseen)
    host.close()
    assert threading.enumerate() == before
    assert len(reports.all) == 1
    with pytest.raises(HostUnreachable):
        host.facts()
