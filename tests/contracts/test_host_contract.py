"""What every host promises, on the daemon's own machine and over a real sshd: `ports.Host`, sentence by sentence."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import secrets
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sheetd.core.model import AttemptId, MetricRule, Restarts
from sheetd.core.observation import AcceleratorsReported, AttemptReported, HostSeen, MetricsReported, Seen
from sheetd.errors import HostRefused, HostUnreachable
from sheetd.hosts.host import AgentHost, LocalHost, SshHost
from tests.hosts.seen import Reports, end_attempts, order
from tests.needs import needs_sshd
from tests.rig.light_sshd import LightSshd
from tests.rig.waiting import wait_for

# Attempts are found by their id among all processes of the user, so no two tests may share one at the same time.
A = AttemptId(f"{secrets.token_hex(8)}.1")
B = AttemptId(f"{secrets.token_hex(8)}.1")

#: Another host object for the same machine, as a restarted daemon makes one; the number is its epoch.
Another = Callable[[int], AgentHost]


@needs_sshd
def _over_ssh() -> None:
    """Carries the marks of a test that needs sshd, for the parameter below."""


@pytest.fixture(params=["local", pytest.param("ssh", marks=_over_ssh.pytestmark)])  # type: ignore[attr-defined]
def another(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Another]:
    hosts: list[AgentHost] = []
    root = tmp_path / "root"

    def local(epoch: int) -> AgentHost:
        return LocalHost("here", root, epoch=epoch)

    def ssh(epoch: int) -> AgentHost:
        return SshHost("there", server.alias, server.ssh_config, epoch=epoch, root=str(root))

    def kept(make: Another) -> Another:
        def make_and_keep(epoch: int) -> AgentHost:
            hosts.append(make(epoch))
            return hosts[-1]

        return make_and_keep

    with contextlib.ExitStack() as stack:
        if request.param == "ssh":
            server = stack.enter_context(LightSshd(tmp_path, "MaxSessions 1"))
        yield kept(local if request.param == "local" else ssh)
        for host in hosts:
            host.close()
        end_attempts(root)


@pytest.fixture
def host(another: Another) -> AgentHost:
    return another(1)


@pytest.fixture
def reports(host: AgentHost) -> Reports:
    reports = Reports()
    host.keep(reports.add)
    reports.wait(HostSeen)
    return reports


def test_it_says_hello_without_being_kept(host: AgentHost) -> None:
    facts = host.facts()
    assert facts.boot
    assert facts.cores > 0
    assert facts.memory_bytes > 0
    again = host.facts()
    assert (again.boot, again.machine_id) == (facts.boot, facts.machine_id)


def test_a_kept_host_is_seen_with_every_attempt_it_keeps(host: AgentHost, another: Another) -> None:
    host.facts()
    host.launch(order(A, "true"))
    host.close()
    reports = Reports()
    second = another(2)
    second.keep(reports.add)
    assert set(reports.wait(HostSeen).attempts) == {A}


def test_a_call_fails_at_once_while_there_is_no_connection(host: AgentHost) -> None:
    with pytest.raises(HostUnreachable, match="not connected"):
        host.launch(order(A, "true"))


def test_accelerators_are_answered_at_once_and_their_probe_is_reported(host: AgentHost, reports: Reports) -> None:
    first = host.accelerators(max_age_s=0.0, idle_memory_mb=300)
    assert (first.samples, first.age_s, first.is_probing) == (0, None, True)
    report = reports.wait(AcceleratorsReported)
    assert (report.samples, report.is_probing) == (2, False)
    assert report.age_s is not None
    again = host.accelerators(max_age_s=1000.0, idle_memory_mb=300)
    assert (again.samples, again.is_probing) == (2, False)
    assert [one.id for one in again.accelerators] == [one.id for one in report.accelerators]


def test_an_attempt_runs_and_its_end_is_reported(host: AgentHost, reports: Reports) -> None:
    host.watch({A: 0})
    assert host.launch(order(A, "sh", "-c", "exit 3")).state in {Seen.RUNNING, Seen.EXITED, Seen.CLAIMED}
    seen = reports.attempt(A, Seen.EXITED)
    assert seen.exit is not None
    assert seen.exit.rc == 3


def test_repeated_and_concurrent_launches_start_it_once(host: AgentHost, reports: Reports, tmp_path: Path) -> None:
    host.watch({A: 0})
    launch = order(A, "sh", "-c", f"echo started >> {tmp_path}/starts; sleep 0.3")
    threads = [threading.Thread(target=host.launch, args=(launch,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reports.attempt(A, Seen.EXITED)
    assert host.launch(launch).state is Seen.EXITED
    assert (tmp_path / "starts").read_text() == "started\n"


def test_another_spec_under_the_same_attempt_is_refused(host: AgentHost, reports: Reports) -> None:
    assert reports
    host.launch(order(A, "true"))
    with pytest.raises(HostRefused) as refused:
        host.launch(order(A, "false"))
    assert refused.value.code == "spec_conflict"


def test_an_older_daemon_is_refused_once_a_newer_one_was_here(host: AgentHost, another: Another) -> None:
    host.facts()
    another(2).facts()
    with pytest.raises(HostRefused) as refused:
        host.launch(order(A, "true"))
    assert refused.value.code == "stale_daemon"


def test_hostile_arguments_and_environment_arrive_byte_for_byte(host: AgentHost, reports: Reports) -> None:
    host.watch({A: 0})
    hostile = ("$(touch x); \"'", '=IMPORTDATA("http://x")', "two\nlines", "ümläut 雪", "-n", "")
    program = 'import os,sys,json; print(json.dumps([sys.argv[1:], os.environ["ODD"], os.environ["TOKEN"]]))'
    env = {"ODD": "`id`"}
    host.launch(order(A, "python3", "-c", program, *hostile, env=env, secrets={"TOKEN": "s3cret $HOME"}))
    reports.attempt(A, Seen.EXITED)
    log = host.tail(A, "log", 0, 10_000)
    assert json.loads(log.data) == [list(hostile), "`id`", "s3cret $HOME"]


def test_stopping_ends_it_and_says_that_it_was_stopped(host: AgentHost, reports: Reports) -> None:
    host.watch({A: 0})
    host.launch(order(A, "sleep", "60"))
    host.stop(A, 5.0)
    seen = reports.attempt(A, Seen.EXITED)
    assert seen.exit is not None
    assert seen.exit.stopped


def test_stopping_what_never_started_revokes_it(host: AgentHost, reports: Reports) -> None:
    assert reports
    assert host.stop(A, 1.0).state is Seen.REVOKED
    with pytest.raises(HostRefused) as refused:
        host.launch(order(A, "true"))
    assert refused.value.code == "revoked"


def test_a_crash_within_the_budget_is_restarted_there(host: AgentHost, reports: Reports) -> None:
    host.watch({A: 0})
    argv = ("sh", "-c", 'test "$SHEETD_RESTART" = 1')
    host.launch(order(A, *argv, restarts=Restarts(max=2, backoff_s=0.0)))
    seen = reports.attempt(A, Seen.EXITED)
    assert seen.restarts == 1
    assert seen.exit is not None
    assert seen.exit.rc == 0


def test_reported_and_printed_metrics_arrive_while_it_runs(host: AgentHost, reports: Reports) -> None:
    host.watch({A: 0})
    script = """
import sheetd, time
sheetd.log(step=1, acc=0.25)
print("loss=0.5", flush=True)
time.sleep(60)
"""
    host.launch(order(A, "python3", "-c", script, metrics=(MetricRule(name="loss", regex=r"loss=(\S+)"),)))
    wait_for(lambda: {"acc", "loss"} <= {name for p in reports.points(A) for name in p}, "both metrics")
    host.stop(A, 1.0)
    reports.attempt(A, Seen.EXITED)
    assert sorted(map(str, reports.points(A))) == ["{'acc': 0.25}", "{'loss': 0.5}"]


def test_metrics_are_reported_from_the_offset_that_was_asked_for(host: AgentHost, reports: Reports) -> None:
    host.watch({A: 0})
    host.launch(order(A, "python3", "-c", "import sheetd; sheetd.log(x=1); sheetd.log(x=2)"))
    reports.attempt(A, Seen.EXITED)
    end = reports.wait(MetricsReported, lambda o: o.points[-1].values == {"x": 2}).end
    first_line = host.tail(A, "metrics", 0, end).data.index(b"\n") + 1
    since = len(reports.all)
    host.watch({A: first_line})
    again = reports.wait(MetricsReported, since=since)
    assert [dict(point.values) for point in again.points] == [{"x": 2}]
    assert (again.start, again.end) == (first_line, end)


def test_only_watched_attempts_are_reported(host: AgentHost, reports: Reports) -> None:
    host.watch({B: 0})
    host.launch(order(A, "true"))
    host.launch(order(B, "true"))
    reports.attempt(B, Seen.EXITED)
    assert {o.attempt for o in reports.all if isinstance(o, AttemptReported)} == {B}


def test_the_tail_of_a_log_is_read_by_offset_or_from_its_end(host: AgentHost, reports: Reports) -> None:
    host.watch({A: 0})
    host.launch(order(A, "printf", "0123456789"))
    reports.attempt(A, Seen.EXITED)
    chunk = host.tail(A, "log", 2, 3)
    assert (chunk.start, chunk.end, chunk.size, chunk.data) == (2, 5, 10, b"234")
    assert host.tail(A, "log", -4, 100).data == b"6789"


def test_code_is_sent_once_and_used(host: AgentHost, reports: Reports, tmp_path: Path) -> None:
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


def test_code_that_was_never_sent_is_said_to_be_missing(host: AgentHost, reports: Reports) -> None:
    assert reports
    with pytest.raises(HostRefused) as refused:
        host.launch(order(A, "true", code="0" * 64))
    assert refused.value.code == "no_code"


def test_a_job_outlives_the_connection_and_is_found_again(host: AgentHost, reports: Reports, another: Another) -> None:
    host.watch({A: 0})
    host.launch(order(A, "sleep", "60"))
    pid = reports.wait(AttemptReported, lambda o: o.seen.pid is not None).seen.pid
    host.close()
    later = Reports()
    second = another(2)
    second.keep(later.add)
    assert later.wait(HostSeen).attempts[A].pid == pid
    second.watch({A: 0})
    second.stop(A, 1.0)
    assert later.attempt(A, Seen.EXITED).exit is not None


def test_closing_leaves_no_thread_and_nothing_is_reported_after_it(another: Another) -> None:
    before = threading.enumerate()
    host, reports = another(1), Reports()
    host.keep(reports.add)
    reports.wait(HostSeen)
    assert len(threading.enumerate()) > len(before)
    host.watch({A: 0})
    host.launch(order(A, "sleep", "60"))
    host.close()
    count = len(reports.all)
    assert threading.enumerate() == before
    assert len(reports.all) == count
    with pytest.raises(HostUnreachable):
        host.stop(A, 1.0)
