"""What every host promises, whatever it is: `ports.Host`, sentence by sentence.

On the daemon's own machine, over a real sshd, and on the simulator's machine, which earns its trust here. The programs
are those of `programs.py`.
"""

from __future__ import annotations

import hashlib
import io
import json
import secrets
import signal
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sheetd.core.model import AttemptId, MetricRule, Restarts, SlotName
from sheetd.core.observation import (
    AcceleratorsReported,
    AttemptKept,
    AttemptReported,
    HostSeen,
    HostUnseen,
    MetricsReported,
    Seen,
)
from sheetd.errors import HostRefused, HostUnreachable
from sheetd.ports import Host
from tests.contracts import programs
from tests.contracts.host_rigs import HostRig, local, over_ssh, simulated
from tests.hosts.seen import Reports, order
from tests.needs import needs_sshd

# Attempts are found by their id among all processes of the user, so no two tests may share one at the same time.
A = AttemptId(f"{secrets.token_hex(8)}.1")
B = AttemptId(f"{secrets.token_hex(8)}.1")


@needs_sshd
def _over_ssh() -> None:
    """Carries the marks of a test that needs sshd, for the parameter below."""


REAL = [
    pytest.param(local, id="local"),
    pytest.param(over_ssh, id="ssh", marks=_over_ssh.pytestmark),  # type: ignore[attr-defined]
]


@pytest.fixture(params=[*REAL, pytest.param(simulated, id="simulated")])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HostRig]:
    with request.param(tmp_path) as rig:
        yield rig


def real_only(_reason: str) -> pytest.MarkDecorator:
    """For what a simulated machine cannot show."""
    return pytest.mark.parametrize("rig", REAL, indirect=True)


@pytest.fixture
def host(rig: HostRig) -> Host:
    return rig.host(1)


@pytest.fixture
def reports(rig: HostRig, host: Host) -> Reports:
    reports = rig.reports()
    host.keep(reports.add)
    reports.wait(HostSeen)
    return reports


def test_it_says_hello_without_being_kept(host: Host) -> None:
    facts = host.facts()
    assert facts.boot
    assert facts.cores > 0
    assert facts.memory_bytes > 0
    again = host.facts()
    assert (again.boot, again.machine_id) == (facts.boot, facts.machine_id)


def test_a_kept_host_is_seen_with_every_attempt_it_keeps(host: Host, rig: HostRig) -> None:
    host.facts()
    host.launch(order(A, *programs.succeeds()))
    host.close()
    reports = rig.reports()
    second = rig.host(2)
    second.keep(reports.add)
    assert set(reports.wait(HostSeen).attempts) == {A}


def test_a_call_fails_at_once_while_there_is_no_connection(host: Host) -> None:
    with pytest.raises(HostUnreachable, match="not connected"):
        host.launch(order(A, *programs.succeeds()))


def test_accelerators_are_answered_at_once_and_their_probe_is_reported(host: Host, reports: Reports) -> None:
    first = host.accelerators(max_age_s=0.0, idle_memory_mb=300)
    assert (first.samples, first.age_s, first.is_probing) == (0, None, True)
    report = reports.wait(AcceleratorsReported)
    assert (report.samples, report.is_probing) == (2, False)
    assert report.age_s is not None
    again = host.accelerators(max_age_s=1000.0, idle_memory_mb=300)
    assert (again.samples, again.is_probing) == (2, False)
    assert [one.id for one in again.accelerators] == [one.id for one in report.accelerators]


def test_an_attempt_runs_and_its_end_is_reported(host: Host, reports: Reports) -> None:
    host.watch({A: 0})
    assert host.launch(order(A, *programs.exits(3))).state in {Seen.RUNNING, Seen.EXITED, Seen.CLAIMED}
    seen = reports.attempt(A, Seen.EXITED)
    assert seen.exit is not None
    assert seen.exit.rc == 3


def test_repeated_and_concurrent_launches_start_it_once(host: Host, reports: Reports, rig: HostRig) -> None:
    host.watch({A: 0})
    launch = order(A, *programs.says_that_it_started())
    rig.at_once([lambda: host.launch(launch)] * 4)
    reports.attempt(A, Seen.EXITED)
    assert host.launch(launch).state is Seen.EXITED
    assert host.tail(A, "log", 0, 100).data == b"started\n"


def test_another_spec_under_the_same_attempt_is_refused(host: Host, reports: Reports) -> None:
    assert reports
    host.launch(order(A, *programs.succeeds()))
    with pytest.raises(HostRefused) as refused:
        host.launch(order(A, *programs.exits(1)))
    assert refused.value.code == "spec_conflict"


def test_an_older_daemon_is_refused_once_a_newer_one_was_here(host: Host, rig: HostRig) -> None:
    host.facts()
    rig.host(2).facts()
    with pytest.raises(HostRefused) as refused:
        host.launch(order(A, *programs.succeeds()))
    assert refused.value.code == "stale_daemon"


def test_a_daemon_that_only_looks_starts_and_stops_nothing_until_it_takes_over(rig: HostRig) -> None:
    host = rig.host(0)
    host.facts()
    for ask in (
        lambda: host.launch(order(A, *programs.succeeds())),
        lambda: host.stop(A, 1.0),
        lambda: host.hand_over(A, 1, {}),
    ):
        with pytest.raises(HostRefused) as refused:
            ask()
        assert refused.value.code == "only_looks"  # which says nothing of another daemon
    seen = host.take_over(3)
    assert (seen.epoch, dict(seen.attempts)) == (3, {})
    host.launch(order(A, *programs.succeeds()))
    older = rig.host(0)
    older.facts()
    with pytest.raises(HostRefused) as refused:
        older.take_over(2)
    assert refused.value.code == "stale_daemon"


def test_what_was_launched_can_be_described_to_another_daemon(host: Host, rig: HostRig) -> None:
    host.facts()
    first = replace(order(A, *programs.succeeds()), slots=(SlotName("there/1"),), fingerprint="typed so")
    host.launch(first)
    host.facts()
    second = rig.host(2)
    second.facts()
    kept = second.describe([A, B])
    assert kept[A] == AttemptKept(nonce=first.nonce, spec=first.spec, slots=first.slots, fingerprint="typed so")
    assert kept[B].spec is None


def test_hostile_arguments_and_environment_arrive_byte_for_byte(host: Host, reports: Reports) -> None:
    host.watch({A: 0})
    hostile = ("$(touch x); \"'", '=IMPORTDATA("http://x")', "two\nlines", "ümläut 雪", "-n", "")
    env = {"ODD": "`id`"}
    host.launch(order(A, *programs.prints_what_it_got(*hostile), env=env, secrets={"TOKEN": "s3cret $HOME"}))
    reports.attempt(A, Seen.EXITED)
    log = host.tail(A, "log", 0, 10_000)
    assert json.loads(log.data) == [list(hostile), "`id`", "s3cret $HOME"]


def test_stopping_ends_it_and_says_that_it_was_stopped(host: Host, reports: Reports) -> None:
    host.watch({A: 0})
    host.launch(order(A, *programs.sleeps()))
    host.stop(A, 5.0)
    seen = reports.attempt(A, Seen.EXITED)
    assert seen.exit is not None
    assert seen.exit.stopped


def test_a_running_job_gets_the_parameters_that_are_handed_over(host: Host, reports: Reports, rig: HostRig) -> None:
    host.watch({A: 0})
    rules = (MetricRule(name="n", regex=r"n=([0-9])"),)
    launch = order(A, *programs.prints_its_params_until_stopped(), metrics=rules)
    first, second, third = ({"lr": 0.5, "name": "$(id) \u00fc", "flag": True, "n": n} for n in (1, 2, 3))

    def reads(*numbers: float) -> None:
        reports.until(lambda: [one["n"] for one in reports.points(A)] == list(numbers), f"{numbers}")

    host.launch(launch)
    reads(0)
    assert host.hand_over(A, 1, first).state is Seen.RUNNING
    reads(0, 1)
    host.hand_over(A, 2, second)
    host.hand_over(A, 2, second)
    reads(0, 1, 2)
    host.hand_over(A, 1, first)
    newer = rig.host(2)
    newer.facts()
    newer.hand_over(A, 1, third)
    reads(0, 1, 2, 3)
    assert newer.launch(launch).state is Seen.RUNNING, "what it was started with is what it was"
    with pytest.raises(HostRefused) as refused:
        host.hand_over(A, 9, first)
    assert refused.value.code == "stale_daemon"
    newer.stop(A, 1.0)
    reports.attempt(A, Seen.EXITED)
    log = newer.tail(A, "log", 0, 10_000).data.splitlines()
    assert [json.loads(line.partition(b" ")[2]) for line in log[:4]] == [{}, first, second, third]


def test_what_has_ended_or_never_was_is_given_no_parameters(host: Host, reports: Reports) -> None:
    host.watch({A: 0})
    assert host.hand_over(B, 1, {"lr": 1.0}).state is Seen.ABSENT
    host.launch(order(A, *programs.succeeds()))
    reports.attempt(A, Seen.EXITED)
    assert host.hand_over(A, 1, {"lr": 1.0}).state is Seen.EXITED


def test_stopping_what_never_started_revokes_it(host: Host, reports: Reports) -> None:
    assert reports
    assert host.stop(A, 1.0).state is Seen.REVOKED
    with pytest.raises(HostRefused) as refused:
        host.launch(order(A, *programs.succeeds()))
    assert refused.value.code == "revoked"


def test_a_job_that_ignores_term_is_killed_when_its_grace_is_over(host: Host, reports: Reports) -> None:
    host.watch({A: 0})
    host.launch(order(A, *programs.ignores_term(), metrics=(MetricRule(name="deaf", regex=r"deaf=(.)"),)))
    reports.until(lambda: reports.points(A), "that it is deaf")
    host.stop(A, 0.2)
    seen = reports.attempt(A, Seen.EXITED)
    assert seen.exit is not None
    assert seen.exit.stopped
    assert seen.exit.signal in (signal.SIGABRT, signal.SIGKILL), "it is asked for a traceback first"


def test_a_program_that_cannot_be_executed_says_so(host: Host, reports: Reports) -> None:
    host.watch({A: 0})
    host.launch(order(A, *programs.cannot_be_executed()))
    seen = reports.attempt(A, Seen.EXITED)
    assert seen.exit is not None
    assert seen.exit.error is not None
    assert "cannot execute 'missing'" in seen.exit.error


def test_a_crash_within_the_budget_is_restarted_there(host: Host, reports: Reports) -> None:
    host.watch({A: 0})
    host.launch(order(A, *programs.crashes_first(), restarts=Restarts(max=2, backoff_s=0.0)))
    seen = reports.attempt(A, Seen.EXITED)
    assert seen.restarts == 1
    assert seen.exit is not None
    assert seen.exit.rc == 0


def test_reported_and_printed_metrics_arrive_while_it_runs(host: Host, reports: Reports) -> None:
    host.watch({A: 0})
    rules = (MetricRule(name="loss", regex=r"loss=(\S+)"),)
    host.launch(order(A, *programs.reports_and_prints_metrics(), metrics=rules))
    reports.until(lambda: {"acc", "loss"} <= {name for p in reports.points(A) for name in p}, "both metrics")
    host.stop(A, 1.0)
    reports.attempt(A, Seen.EXITED)
    assert sorted(map(str, reports.points(A))) == ["{'acc': 0.25}", "{'loss': 0.5}"]


def test_metrics_are_reported_from_the_offset_that_was_asked_for(host: Host, reports: Reports) -> None:
    host.watch({A: 0})
    host.launch(order(A, *programs.reports_twice()))
    reports.attempt(A, Seen.EXITED)
    end = reports.wait(MetricsReported, lambda o: o.points[-1].values == {"x": 2}).end
    first_line = host.tail(A, "metrics", 0, end).data.index(b"\n") + 1
    since = len(reports.all)
    host.watch({})  # what is watched already goes on from where it is
    host.watch({A: first_line})
    again = reports.wait(MetricsReported, since=since)
    assert [dict(point.values) for point in again.points] == [{"x": 2}]
    assert (again.start, again.end) == (first_line, end)


def test_only_watched_attempts_are_reported(host: Host, reports: Reports) -> None:
    host.watch({B: 0})
    host.launch(order(A, *programs.succeeds()))
    host.launch(order(B, *programs.succeeds()))
    reports.attempt(B, Seen.EXITED)
    assert {o.attempt for o in reports.all if isinstance(o, AttemptReported)} == {B}


def test_the_tail_of_a_log_is_read_by_offset_or_from_its_end(host: Host, reports: Reports) -> None:
    host.watch({A: 0})
    host.launch(order(A, *programs.prints("0123456789")))
    reports.attempt(A, Seen.EXITED)
    chunk = host.tail(A, "log", 2, 3)
    assert (chunk.start, chunk.end, chunk.size, chunk.data) == (2, 5, 10, b"234")
    assert host.tail(A, "log", -4, 100).data == b"6789"


@real_only("a simulated host takes code for granted: archives are unpacked by the real tarfile into real files")
def test_code_is_sent_once_and_used(host: Host, reports: Reports, tmp_path: Path) -> None:
    content = b"print('from the snapshot')\n"
    archive = tmp_path / "code.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo("train.py")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
        blob = tarfile.TarInfo("data.bin")
        noise = b"".join(hashlib.sha256(n.to_bytes(4, "big")).digest() for n in range(20_000))
        blob.size = len(noise)
        tar.addfile(blob, io.BytesIO(noise))  # does not compress: more than one chunk
    sha = hashlib.sha256(archive.read_bytes()).hexdigest()
    host.send_code(sha, archive)
    host.send_code(sha, archive)
    host.watch({A: 0})
    host.launch(order(A, "python3", "train.py", code=sha))
    reports.attempt(A, Seen.EXITED)
    assert host.tail(A, "log", 0, 100).data == b"from the snapshot\n"


def test_code_that_was_never_sent_is_said_to_be_missing(host: Host, reports: Reports) -> None:
    assert reports
    with pytest.raises(HostRefused) as refused:
        host.launch(order(A, *programs.succeeds(), code="0" * 64))
    assert refused.value.code == "no_code"


def test_a_job_outlives_the_connection_and_is_found_again(host: Host, reports: Reports, rig: HostRig) -> None:
    host.watch({A: 0})
    host.launch(order(A, *programs.sleeps()))
    pid = reports.wait(AttemptReported, lambda o: o.seen.pid is not None).seen.pid
    host.close()
    later = rig.reports()
    second = rig.host(2)
    second.keep(later.add)
    assert later.wait(HostSeen).attempts[A].pid == pid
    second.watch({A: 0})
    second.stop(A, 1.0)
    assert later.attempt(A, Seen.EXITED).exit is not None


def test_an_agent_that_dies_is_missed_at_once_and_another_finds_the_job(
    host: Host, reports: Reports, rig: HostRig
) -> None:
    host.watch({A: 0})
    host.launch(order(A, *programs.sleeps()))
    pid = reports.wait(AttemptReported, lambda o: o.seen.pid is not None).seen.pid
    since = len(reports.all)
    rig.kill_agents()
    assert not reports.wait(HostUnseen, since=since, within_s=5.0).lasting
    assert reports.wait(HostSeen, since=since).attempts[A].pid == pid
    host.stop(A, 1.0)
    reports.attempt(A, Seen.EXITED)


def test_nothing_is_reported_or_done_once_it_is_closed(host: Host, reports: Reports) -> None:
    host.watch({A: 0})
    host.launch(order(A, *programs.says_that_it_started()))
    host.close()
    count = len(reports.all)
    with pytest.raises(HostUnreachable):
        host.stop(A, 1.0)
    assert len(reports.all) == count


@real_only("nothing of the simulator has threads")
def test_closing_leaves_no_thread(rig: HostRig) -> None:
    before = threading.enumerate()
    host, reports = rig.host(1), rig.reports()
    host.keep(reports.add)
    reports.wait(HostSeen)
    assert len(threading.enumerate()) > len(before)
    host.close()
    assert threading.enumerate() == before
