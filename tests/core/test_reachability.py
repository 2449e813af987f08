"""What hosts tell about each other: one machine under two names, and a network of our own that is gone."""

from __future__ import annotations

from dataclasses import replace

from sheetd.core import events as ev
from sheetd.core import observation as obs
from sheetd.core.model import HostName
from sheetd.core.observation import HostFacts
from sheetd.core.views import held_slots, hosts_view, restore_hosts
from tests.core.story import TRAIN, Story

MACHINE = HostFacts(boot="boot 1", machine_id="c0ffee00c0ffee00", hostname="box")


def seen(name: str, facts: HostFacts = MACHINE) -> obs.HostSeen:
    return obs.HostSeen(host=HostName(name), facts=facts, attempts={}, epoch=1)


def unseen(name: str, why: str = "no answer", *, lasting: bool = False) -> obs.HostUnseen:
    return obs.HostUnseen(host=HostName(name), why=why, lasting=lasting)


def closed(story: Story) -> dict[str, bool]:
    return {name: bool(host.closed) for name, host in story.world.hosts.items()}


# --- one machine under two names ---------------------------------------------------------------------------------


def test_the_second_name_of_a_machine_gets_no_experiment_and_says_what_to_do() -> None:
    story = Story(hosts={"gpu1": 1, "gpu1-vpn": 5})
    story.turn(seen("gpu1-vpn"), seen("gpu1"))
    lines = [story.table.type(template="train", lr=0.1, seed=seed) for seed in (1, 2)]
    story.wait(10)
    assert [intent.host for intent in story.told(ev.LaunchIntended)] == ["gpu1"]
    waiting = next(line for line in lines if line["status"] == "waiting")
    assert "gpu1-vpn cannot be used: it is the same machine as gpu1" in str(waiting["message"])
    assert "`sheetd host remove gpu1-vpn`" in str(waiting["message"])


def test_a_row_that_asks_for_the_second_name_of_a_machine_gets_the_machine() -> None:
    """Seed 779 of a planted bug: after a takeover rows were bound to the name that their host had answered under."""
    story = Story(hosts={"gpu1": 1, "gpu1-vpn": 5, "other": 5}, templates=[replace(TRAIN, where="gpu1-vpn")])
    story.turn(seen("gpu1-vpn"), seen("gpu1"))
    story.table.type(template="train", lr=0.1, seed=1)
    story.wait(10)
    assert [intent.host for intent in story.told(ev.LaunchIntended)] == ["gpu1"]


def test_the_first_configured_name_stays_open_whoever_answers_first() -> None:
    for order in (["a", "b"], ["b", "a"]):
        story = Story(hosts={"a": 1, "b": 1})
        story.turn(*(seen(name) for name in order))
        assert closed(story) == {"a": False, "b": True}


def test_a_copied_machine_has_the_same_id_and_another_boot_and_is_another_machine() -> None:
    story = Story(hosts={"a": 1, "b": 1})
    story.turn(seen("a"), seen("b", replace(MACHINE, boot="boot 2")))
    assert closed(story) == {"a": False, "b": False}


def test_machines_without_an_id_are_not_taken_for_one() -> None:
    story = Story(hosts={"a": 1, "b": 1})
    story.turn(*(seen(name, replace(MACHINE, machine_id="")) for name in ("a", "b")))
    assert closed(story) == {"a": False, "b": False}


def test_entries_that_are_meant_to_share_a_machine_may() -> None:
    story = Story(hosts={"a": 1, "b": 1, "c": 1})
    for name in ("a", "b"):
        story.world.hosts[HostName(name)].may_share = True
    story.turn(seen("a"), seen("b"), seen("c"))
    assert closed(story) == {"a": False, "b": False, "c": True}


def test_a_name_that_leads_to_another_machine_later_is_opened_again() -> None:
    story = Story(hosts={"a": 1, "b": 1})
    story.turn(seen("a"), seen("b"))
    story.turn(seen("b", replace(MACHINE, machine_id="decaf000")))
    assert closed(story) == {"a": False, "b": False}


def test_what_runs_under_the_second_name_is_kept_and_ends_as_it_does() -> None:
    """Closed means: nothing new. Two names may have been used before anybody knew."""
    story = Story(hosts={"a": 1, "b": 5})
    line = story.table.type(template="train", lr=0.1)
    story.wait(8)
    assert line["host"] == "b"
    attempts = dict(story.hosts[HostName("b")].attempts)
    everywhere = [obs.HostSeen(host=HostName(name), facts=MACHINE, attempts=attempts, epoch=1) for name in ("a", "b")]
    story.turn(*everywhere)
    story.wait(8)
    assert closed(story) == {"a": False, "b": True}
    assert story.world.hosts[HostName("a")].attempts == {}
    assert line["status"] == "running"


def test_what_runs_under_the_second_name_keeps_a_slot_of_the_first() -> None:
    """Seed 7426 of the simulator: after a takeover the second name had an attempt, and the first gave its slot away."""
    story = Story(hosts={"a": 1, "b": 5})
    line = story.table.type(template="train", lr=0.1)
    story.wait(8)
    attempts = dict(story.hosts[HostName("b")].attempts)
    for name in ("a", "b"):
        story.hosts[HostName(name)].machine = MACHINE.machine_id
    everywhere = [obs.HostSeen(host=HostName(name), facts=MACHINE, attempts=attempts, epoch=1) for name in ("a", "b")]
    story.turn(*everywhere)
    other = story.table.type(template="train", lr=0.2)
    story.wait(30)
    assert (line["host"], line["status"], other["status"]) == ("b", "running", "waiting")
    assert list(held_slots(story.world)) == ["a"]
    story.exits(f"{line['id']}.1")
    story.wait(8)
    assert (other["host"], other["status"]) == ("a", "running")


def test_others_are_told_that_a_host_is_closed() -> None:
    story = Story(hosts={"a": 1, "b": 1})
    story.turn(seen("a"), seen("b"))
    told = restore_hosts(hosts_view(story.world, story.now()), daemon_alive=True)[HostName("b")]
    assert told.is_up
    assert told.closed == told.why
    assert "same machine as a" in told.why


# --- many hosts gone at once -------------------------------------------------------------------------------------

OWN_NETWORK = "hosts vanished within 30 s: probably this machine's own network"


def up(**hosts: int) -> Story:
    story = Story(hosts=hosts)
    story.turn(*(seen(name, replace(MACHINE, machine_id=name)) for name in hosts))
    return story


def test_half_of_the_hosts_gone_at_once_is_put_down_to_our_own_network_in_the_rows() -> None:
    story = up(a=1, b=5, c=1, d=1)
    runs = story.table.type(template="train", lr=0.1)
    story.wait(8)
    assert runs["host"] == "b"
    story.turn(unseen("b"))
    story.wait(10)
    assert OWN_NETWORK not in str(runs["message"])
    story.turn(unseen("c"))
    story.wait(5)
    assert runs["status"] == "unreachable"
    assert runs["message"] == (
        f"b no answer; 2 of 4 {OWN_NETWORK}; it goes on by itself when that is back; "
        "presumed running, nothing is started elsewhere"
    )
    assert "2 of 4" in hosts_view(story.world, story.now())["c"]["why"]
    assert hosts_view(story.world, story.now())["a"]["why"] == ""


def test_a_row_that_waits_is_told_once() -> None:
    story = up(a=1, b=1, c=1)
    story.turn(unseen("a"), unseen("b"), unseen("c"))
    line = story.table.type(template="train", lr=0.1)
    story.wait(8)
    assert line["status"] == "waiting"
    assert str(line["message"]).count(OWN_NETWORK) == 1


def test_hosts_that_go_one_by_one_two_hosts_or_refusals_do_not_point_to_us() -> None:
    one_by_one = up(a=1, b=1, c=1)
    one_by_one.turn(unseen("a"))
    one_by_one.wait(31)
    one_by_one.turn(unseen("b"))
    assert not one_by_one.world.outage
    only_two = up(a=1, b=1)
    only_two.turn(unseen("a"), unseen("b"))
    assert not only_two.world.outage
    refused = up(a=1, b=1, c=1)
    refused.turn(unseen("a", "another key", lasting=True), unseen("b", "another key", lasting=True))
    assert not refused.world.outage


def test_hosts_that_never_answered_do_not_count() -> None:
    story = Story(hosts={"a": 1, "b": 1, "c": 1, "d": 1})
    story.restart_daemon()
    for host in story.world.hosts.values():
        host.is_up = False
    story.turn(seen("a"), *(unseen(name) for name in ("b", "c", "d")))
    assert not story.world.outage


def test_the_first_that_answers_again_ends_the_suspicion() -> None:
    story = up(a=1, b=1, c=1)
    story.turn(*(unseen(name) for name in ("a", "b", "c")))
    assert story.world.outage.startswith("3 of 3")
    story.turn(unseen("a", "still no answer"))
    assert story.world.outage.startswith("3 of 3")
    story.turn(seen("b"))
    assert not story.world.outage
    assert hosts_view(story.world, story.now())["c"]["why"] == "no answer"
