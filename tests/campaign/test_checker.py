"""The judgement itself: what it must find, and what it must excuse."""

from __future__ import annotations

from sheetd.core.events import AttemptEnded, Event, LaunchIntended
from sheetd.core.model import AttemptId, HostName, Proof, Reason
from tests.campaign.checker import Evidence, Line, judge
from tests.campaign.tally import Blow, Tally

A, B = "abcd.1", "abcd.2"


def start(attempt: str = A, k: int = 0, *, at_s: float = 10.0, pid: int = 50) -> Line:
    return Line("host0", "start", attempt, k, "t0", pid, "boot", at_s, "-")


def exit_(rc: int, attempt: str = A, k: int = 0, *, at_s: float = 20.0, pid: int = 50) -> Line:
    return Line("host0", "exit", attempt, k, "t0", pid, "boot", at_s, str(rc))


def blow(kind: str, at_s: float = 15.0, pid: int = 50, attempt: str = A) -> Blow:
    return Blow(at_s, "host0", kind, pid, attempt)


def ended(reason: Reason, attempt: str = A, *, rc: int | None = None, restarts: int = 0) -> AttemptEnded:
    proof = Proof.LOST if reason is Reason.HOST_LOST else Proof.EXIT_RECORD
    return AttemptEnded(attempt=AttemptId(attempt), reason=reason, proof=proof, exit_code=rc, restarts=restarts)


def found(
    *lines: Line,
    claims: tuple[Event, ...] = (ended(Reason.SUCCEEDED, rc=0),),
    blows: tuple[Blow, ...] = (),
    ending: str = "succeed",
    status: str = "succeeded",
) -> list[str]:
    """The first words of each violation."""
    tally = Tally(0)
    tally.blows += blows
    row = {"token": "t0", "id": "abcd", "attempt": "1", "status": status, "message": ""}
    launch = LaunchIntended(attempt=AttemptId(A), host=HostName("host0"), slots=(), nonce="n")
    events = [(9.0, launch), *((30.0, claim) for claim in claims)]
    evidence = Evidence(list(lines), tally, events, [row], {"t0": ending})
    return [violation.partition(":")[0] for violation in judge(evidence)]


def test_a_success_that_is_told_is_no_violation() -> None:
    assert found(start(), exit_(0)) == []


def test_two_starts_of_one_run_are_found() -> None:
    assert found(start(), start(pid=51), exit_(0)) == ["started twice"]


def test_a_second_one_that_found_the_lock_held_is_found() -> None:
    twice = Line("host1", "twice", A, 0, "t0", 51, "boot", 12.0, "abcd.1_0_host0")
    assert found(start(), twice, exit_(0)) == ["alive twice"]


def test_a_success_that_is_not_told_is_found() -> None:
    lost = (ended(Reason.HOST_LOST),)
    assert found(start(), exit_(0), claims=lost) == ["lost exit"]


def test_one_witness_is_enough_to_know() -> None:
    lost = (ended(Reason.HOST_LOST),)
    assert found(start(), exit_(0), claims=lost, blows=(blow("shim"),)) == ["lost exit"]
    assert found(start(), exit_(0), claims=lost, blows=(blow("supervisor"),)) == ["lost exit"]


def test_without_a_witness_an_exit_may_be_lost() -> None:
    lost = (ended(Reason.HOST_LOST),)
    assert found(start(), exit_(0), claims=lost, blows=(blow("shim"), blow("supervisor"))) == []
    assert found(start(), exit_(0), claims=lost, blows=(blow("reboot"),)) == []
    assert found(start(), exit_(0), claims=lost, blows=(blow("job", 20.0),)) == []


def test_a_blow_from_before_the_run_excuses_nothing() -> None:
    lost = (ended(Reason.HOST_LOST),)
    early = (blow("shim", 5.0), blow("supervisor", 5.0))
    assert found(start(), exit_(0), claims=lost, blows=early) == ["lost exit"]


def test_a_blow_when_the_end_was_known_or_told_excuses_nothing() -> None:
    lost = (ended(Reason.HOST_LOST),)
    assert found(start(), exit_(0), claims=lost, blows=(blow("reboot", 40.0),)) == ["lost exit"]
    testified = (blow("shim", 25.0), blow("supervisor", 25.0))
    assert found(start(), exit_(0), claims=lost, blows=testified) == ["lost exit"]


def test_the_death_of_another_process_of_the_job_excuses_nothing() -> None:
    lost = (ended(Reason.HOST_LOST),)
    assert found(start(), exit_(0), claims=lost, blows=(blow("job", pid=77),)) == ["lost exit"]


def test_an_exit_code_that_no_job_ended_with_is_found() -> None:
    claims = (ended(Reason.FAILED, rc=4),)
    assert found(start(), exit_(3), claims=claims, ending="fail", status="failed") == ["lost exit"]
    assert found(start(), claims=claims, ending="fail", status="failed") == ["invented end"]


def test_a_success_that_no_job_wrote_is_found() -> None:
    assert found(start()) == ["invented end"]


def test_a_killed_job_needs_a_killer() -> None:
    claims = (ended(Reason.FAILED),)
    assert found(start(), claims=claims, ending="fail", status="failed") == ["invented end"]
    assert found(start(), claims=claims, blows=(blow("job"),), ending="fail", status="failed") == []


def test_a_start_after_a_success_is_found() -> None:
    again = (ended(Reason.SUCCEEDED, rc=0), ended(Reason.SUCCEEDED, B, rc=0))
    assert found(start(), exit_(0), start(B), exit_(0, B), claims=again) == ["lost exit"]


def test_fewer_restarts_than_there_were_are_found() -> None:
    assert "restarts" in found(start(), exit_(3), start(k=1), exit_(0, k=1), ending="crash-once")


def test_a_row_that_ends_as_its_program_cannot_is_found() -> None:
    assert found(start(), exit_(0), status="failed") == ["wrong row"]
