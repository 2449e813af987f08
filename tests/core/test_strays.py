"""A machine that was given up comes back: what it still runs is stopped before anything is started beside it.

Seed 3230 of the simulator.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from sheetd.core import effect as fx
from sheetd.core import observation as obs
from sheetd.core.model import AttemptId, HostName, Phase, Proof, SlotName
from sheetd.core.observation import AttemptSeen, Seen
from sheetd.core.views import held_slots, hosts_view, restore_hosts
from tests.core.story import FakeHost, Line, Story

ALPHA = HostName("alpha")


def exchange(story: Story, machine: str, attempts: dict[AttemptId, AttemptSeen]) -> None:
    """Another machine answers as alpha."""
    host = story.hosts[ALPHA]
    host.machine, host.attempts = machine, attempts
    story.cut_off("alpha")
    story.back("alpha")


def given_up_and_back(hosts: dict[str, int], word: str) -> tuple[Story, Line, AttemptId]:
    """An attempt on a machine that was exchanged, a person who let go of it, and the machine as it was."""
    story = Story(hosts=hosts)
    exchange(story, "first", {})
    line = story.table.type(template="train", lr=0.1)
    story.wait(12)
    (attempt,) = story.attempts_started()
    running = dict(story.hosts[ALPHA].attempts)
    exchange(story, "second", {})
    story.hosts[ALPHA].refusal = ("internal", "not just now")
    for other in story.hosts.values():
        other.is_reachable = other.name == ALPHA  # whatever is intended there now does not begin
    story.table.type(line, action=word)
    story.wait(30)
    assert story.experiment(line).attempts[0].proof is Proof.FORCED_BY_OPERATOR
    story.hosts[ALPHA].refusal = None
    exchange(story, "first", running)
    return story, line, attempt


@pytest.fixture(autouse=True)
def slow_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop takes its time here: it is over when a test says so."""

    def stop(host: FakeHost, attempt: AttemptId) -> AttemptSeen:
        seen = host.attempts.get(attempt)
        state = Seen.REVOKED if seen is None or seen.state in (Seen.REVOKED, Seen.ABSENT) else Seen.STOPPING
        host.attempts[attempt] = AttemptSeen(state=state) if seen is None else replace(seen, state=state)
        return host.attempts[attempt]

    monkeypatch.setattr(FakeHost, "stop", stop)


def test_it_is_stopped_and_nothing_of_its_experiment_starts_before_it_is_over():
    story, line, attempt = given_up_and_back({"alpha": 1, "beta": 1}, "stop")
    story.table.type(line, action="")
    story.wait(10)
    story.table.type(line, action="run")
    story.wait(60)
    assert attempt in {effect.attempt for effect in story.asked(fx.Stop)}  # type: ignore[attr-defined]
    assert story.attempts_started() == [attempt]
    assert line["message"] == f"{attempt}, which was taken to be over, still runs on alpha: it is stopped first"
    story.exits(attempt, rc=143)
    story.wait(15)
    assert story.attempts_started() == [attempt, f"{line['id']}.2"]
    assert story.experiment(line).phase is Phase.RUNNING


def test_a_launch_that_was_intended_before_it_came_back_waits_for_it_too():
    story, line, attempt = given_up_and_back({"alpha": 1, "beta": 1}, "restart")
    newest = story.experiment(line).attempt
    assert newest is not None
    assert newest.host == "beta"
    story.hosts[HostName("beta")].is_reachable = True
    story.wait(120)
    assert story.attempts_started() == [attempt]
    story.exits(attempt, rc=143)
    story.wait(30)
    assert story.attempts_started() == [attempt, newest.id]


def test_its_slots_are_taken_for_others_and_every_view_says_by_whom():
    story, _, attempt = given_up_and_back({"alpha": 1}, "stop")
    other = story.table.type(template="train", lr=0.2)
    story.wait(30)
    assert (other["status"], other["message"]) == ("waiting", "waits for 1 slot: 1 of 1 are taken")
    assert held_slots(story.world) == {ALPHA: {"alpha/0": attempt}}
    told = restore_hosts(hosts_view(story.world, story.now()), daemon_alive=True)
    assert told[ALPHA].strays.keys() == {attempt}
    story.exits(attempt, rc=143)
    story.wait(15)
    assert other["status"] == "running"
    assert story.world.hosts[ALPHA].strays == {}


def test_what_it_says_of_itself_leaves_the_row_alone():
    story, line, attempt = given_up_and_back({"alpha": 1}, "stop")
    before = (line["status"], line["message"], line["attempt"])
    story.exits(attempt, rc=0)
    story.wait(15)
    assert (line["status"], line["message"], line["attempt"]) == before


def test_an_answer_that_was_overtaken_by_the_end_makes_a_stray_only_until_it_is_asked():
    story = Story(hosts={"alpha": 1})
    line = story.table.type(template="train", lr=0.1)
    story.wait(12)
    (attempt,) = story.attempts_started()
    late = story.hosts[ALPHA].seen()
    story.exits(attempt)
    story.wait(5)
    assert line["status"] == "succeeded"
    story.hosts[ALPHA].stop = lambda one: story.hosts[ALPHA].attempts[one]  # type: ignore[method-assign]
    story.turn(obs.HostSeen(host=ALPHA, facts=late.facts, attempts=late.attempts, epoch=late.epoch))
    story.wait(10)
    assert story.world.hosts[ALPHA].strays == {}
    assert line["status"] == "succeeded"


def test_one_that_another_daemon_gave_up_is_stopped_as_soon_as_its_successor_is_adopted():
    """Seed 293 of the simulator, with little more than two daemons and machines that are exchanged."""
    story = Story(hosts={"alpha": 2})
    line, host = story.table.type(template="train", lr=0.1), story.hosts[ALPHA]
    story.wait(12)
    (first,) = story.attempts_started()
    kept = host.kept[first]
    second = AttemptId(f"{line['id']}.2")
    host.attempts[second] = AttemptSeen(state=Seen.RUNNING, started_age_s=1.0)
    host.kept[second] = replace(kept, nonce="e" * 32, slots=(SlotName("alpha/1"),))
    story.journal[:] = story.journal[:2]
    story.restart_daemon()
    story.wait(20)
    assert [attempt.id for attempt in story.experiment(line).attempts] == [first, second]
    assert [effect.attempt for effect in story.asked(fx.Stop)][:1] == [first]  # type: ignore[attr-defined]
    assert story.world.hosts[ALPHA].strays.keys() == {first}
    story.exits(first, rc=143)
    story.wait(5)
    assert story.world.hosts[ALPHA].strays == {}
    assert line["status"] == "running"
