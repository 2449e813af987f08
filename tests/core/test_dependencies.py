"""Rows that run after others: who their parents are, when they begin and where."""

from __future__ import annotations

import pytest

from sheetd.core import events as ev
from sheetd.core.model import AttemptId, ExperimentId, HostName, Phase
from tests.core.story import OWNED_HEADER, Line, Story, Table

HEADER = ("template", "lr", "seed", "action", "where", "after", "name", *OWNED_HEADER)


def story_of(hosts: dict[str, int] | None = None) -> Story:
    return Story(hosts=hosts or {"alpha": 2, "beta": 2}, table=Table(HEADER))


def typed(story: Story, after: str | float, /, **values: object) -> Line:
    line = story.table.type(template="train", lr=0.2, after=after, **values)  # type: ignore[arg-type]
    story.wait(12)
    return line


def first(story: Story, **values: object) -> Line:
    line = story.table.type(template="train", lr=0.1, **values)  # type: ignore[arg-type]
    story.wait(12)
    assert line["status"] == "running"
    return line


def ends(story: Story, line: Line, rc: int = 0) -> None:
    attempt = story.experiment(line).attempt
    assert attempt is not None
    story.exits(attempt.id, rc)
    story.wait(8)


def test_a_row_begins_when_the_row_it_names_has_succeeded():
    story = story_of()
    parent = first(story)
    child = typed(story, str(parent["id"]))
    assert (child["status"], child["message"]) == ("waiting", f"waits for {parent['id']} (running)")
    assert story.experiment(child).spec.after == (parent["id"],)
    ends(story, parent)
    assert child["status"] == "running"


def test_previous_is_the_row_above_at_the_moment_at_which_the_row_is_accepted():
    story = story_of()
    parent = first(story)
    child = typed(story, "Previous")
    story.table.sort(lambda line: str(line["id"]) != child["id"])
    story.wait(8)
    assert story.table.lines[0] is child
    assert str(child["message"]) == f"waits for {parent['id']} (running)"


def test_several_are_named_by_ids_and_by_what_stands_in_the_column_name():
    story = story_of()
    one, other = first(story, name="Pre-train, small"), first(story, seed=1, name="tokens")
    story.table.type(one, name="pre-train")
    child = typed(story, f" PRE-TRAIN; {other['id']}")
    assert story.experiment(child).spec.after == (one["id"], other["id"])
    assert child["message"] == f"waits for {one['id']} (running), {other['id']} (running)"
    ends(story, one)
    assert child["message"] == f"waits for {other['id']} (running)"
    spaced = typed(story, f"{one['id']} {other['id']}", seed=2)
    assert story.experiment(spaced).spec.after == (one["id"], other["id"])


def test_a_number_may_be_a_name():
    story = story_of()
    parent = first(story, name=7.0)
    assert story.experiment(typed(story, 7.0)).spec.after == (parent["id"],)


@pytest.mark.parametrize(
    ("after", "why"),
    [
        ("pretrain", 'after names "pretrain", and no row has this id, or this text in a column "name": type one'),
        ("twin", 'after names "twin", and 2 rows are called so: name one by its id'),
        ("me", "after names its own row: name another one, or empty it"),
    ],
)
def test_what_cannot_be_told_is_asked_back_and_nothing_begins(after: str, why: str):
    story = story_of()
    first(story, name="twin")
    first(story, seed=1, name="twin")
    child = typed(story, after, name="me")
    assert child["status"] == "draft"
    assert str(child["message"]).startswith(why)
    assert len(story.told(ev.RowAccepted)) == 2
    story.table.type(child, after="")
    story.wait(12)
    assert child["status"] == "running"


def test_nothing_is_above_the_first_row():
    story = story_of()
    child = typed(story, "previous")
    assert (child["status"], child["message"]) == ("draft", "after is previous, and no row is above it")


def test_a_row_that_is_typed_with_the_one_that_it_waits_for_finds_it_by_name():
    story = story_of()
    child = story.table.type(template="train", lr=0.2, after="base")
    parent = story.table.type(template="train", lr=0.1, name="base")
    story.wait(20)
    assert story.experiment(child).spec.after == (parent["id"],)
    assert (parent["status"], child["status"]) == ("running", "waiting")


def test_a_circle_is_not_begun():
    story = story_of()
    one = story.table.type(template="train", lr=0.1, name="one", after="two")
    two = story.table.type(template="train", lr=0.2, name="two", after="one")
    story.wait(20)
    assert story.attempts_started() == []
    assert two["status"] == "draft"
    circle = f"{two['id']} waits for {one['id']} waits for {two['id']}"
    assert two["message"] == f"after makes a circle: {circle}: change one of them"
    assert one["message"] == f"waits for {two['id']}, which is a draft"


def group_that_waits(story: Story, after: str, **values: object) -> Line:
    """Two runs, stopped while they wait, and then asked for again with the `after` that the row says by then."""
    parent = first(story, name="first choice")
    group = story.table.type(template="train", lr="{0.4 | 0.5}", after=parent["id"], action=None, **values)  # type: ignore[arg-type]
    story.wait(12)
    story.table.type(group, action="stop")
    story.wait(8)
    assert group["status"] == "stopped"
    story.table.type(group, action=None, after=after)
    story.wait(8)
    story.table.type(group, action="run")
    story.wait(8)
    return group


def test_runs_that_are_filled_in_wait_for_those_that_the_row_names_by_now():
    """Seed 400882: they waited for the former ones, which had been stopped; the row said nothing of them."""
    story = story_of()
    other = first(story, seed=9, name="second choice")
    group = group_that_waits(story, "second choice")
    assert str(group["message"]).endswith(f"waits for {other['id']} (running)")
    ends(story, other)
    assert group["status"] == "running"


def test_a_circle_through_one_run_of_a_row_that_waits_for_others_by_now_is_seen():
    """What waits keeps those that it was accepted with, whatever its row says after it."""
    story = story_of()
    parent = first(story)
    group = story.table.type(template="train", lr="{0.4 | 0.5}", after=str(parent["id"]))
    story.wait(12)
    other = first(story, seed=9)
    story.table.type(group, lr="{0.4 | 0.5 | 0.6}", after=str(other["id"]), action="run")
    story.wait(12)
    ends(story, other)
    child = typed(story, str(group["id"]))
    story.table.type(parent, action="stop")
    story.wait(12)
    story.table.type(parent, action="rerun", after=str(child["id"]))
    story.wait(12)
    assert "after makes a circle" in str(parent["message"])


def test_a_parent_that_failed_holds_its_children_back_until_it_is_run_again():
    story = story_of()
    parent = first(story)
    child = typed(story, "previous")
    for _ in range(4):
        if story.experiment(parent).phase is not Phase.ENDED:
            ends(story, parent, rc=1)
    assert parent["status"] == "failed"
    assert child["status"] == "waiting"
    assert child["message"] == f"waits for {parent['id']}, which did not succeed (choose rerun there, or stop here)"
    story.table.type(parent, action="rerun")
    story.wait(20)
    ends(story, parent)
    assert child["status"] == "running"


def test_a_child_runs_where_what_its_parents_wrote_lies():
    story = story_of({"alpha": 1, "beta": 3})
    parent = first(story, where="alpha")
    child = typed(story, "previous")
    ends(story, parent)
    assert (child["status"], child["host"]) == ("running", "alpha")
    other = typed(story, str(parent["id"]), seed=3)
    assert other["message"] == "waits for 1 slot: 1 of 1 are taken"
    story.exits(AttemptId(f"{child['id']}.1"))
    story.wait(8)
    assert other["host"] == "alpha"


def test_a_child_of_two_hosts_runs_on_either():
    story = story_of({"alpha": 1, "beta": 1, "gamma": 5})
    one, other = first(story, where="alpha", name="one"), first(story, where="beta", seed=1, name="other")
    child = typed(story, "one, other")
    ends(story, one)
    ends(story, other)
    assert child["status"] == "running"
    assert child["host"] in ("alpha", "beta")


def test_where_that_contradicts_the_place_is_said():
    story = story_of({"alpha": 1, "beta": 1})
    parent = first(story, where="alpha")
    child = typed(story, "previous", where="beta")
    ends(story, parent)
    assert child["status"] == "waiting"
    place = "what the rows it runs after wrote lies on alpha"
    assert child["message"] == f'{place}, and where is "beta": no such host is there'


def test_a_child_whose_parent_is_deleted_says_so():
    story = story_of()
    story.hosts[HostName("alpha")].is_reachable = story.hosts[HostName("beta")].is_reachable = False
    parent = story.table.type(template="train", lr="half", name="base")
    child = typed(story, "base")
    assert child["message"] == f"waits for {parent['id']}, which is a draft"
    story.table.delete(parent)
    story.wait(12)
    assert child["message"] == f"waits for {parent['id']}, whose row is gone"


def test_a_rerun_looks_its_parents_up_anew():
    story = story_of()
    parent, child = first(story, name="one"), None
    child = typed(story, "one")
    ends(story, parent)
    ends(story, child)
    assert child["status"] == "succeeded"
    story.table.type(child, after="nobody", action="rerun")
    story.wait(12)
    assert str(child["message"]).startswith('cannot rerun: after names "nobody", and no row has this id')
    newer = first(story, seed=4, name="nobody")
    story.wait(12)
    assert story.experiment_by(ExperimentId(str(child["id"]))).spec.after == (newer["id"],)
    assert child["message"] == f"waits for {newer['id']} (running)"
