"""The operator edits sheetd.toml or a template while the daemon runs."""

from __future__ import annotations

from dataclasses import replace

from sheetd.core import effect as fx
from sheetd.core.configuration import reconfigure
from sheetd.core.events import AttemptEnded, LaunchIntended, RowAccepted
from sheetd.core.model import AttemptId, ExperimentId, HostName, MetricRule, Phase, Proof, Reason
from sheetd.core.observation import AttemptSeen, Exit, HostRequested, Seen
from sheetd.core.ownership import host_digests, hosts_in_use
from sheetd.core.redaction import Redactor
from sheetd.core.template import Param, ParamType
from sheetd.core.world import Limits
from tests.core.story import TRAIN, Line, Story

GAMMA = replace(TRAIN, name="gamma", command=("python", "gamma.py", "--lr={lr}"), resume_command=())


def running(**hosts: int) -> tuple[Story, Line]:
    story = Story(hosts=hosts or {"alpha": 1})
    line = story.table.type(template="train", lr=0.1)
    story.wait(8)
    assert line["status"] == "running"
    return story, line


def with_default(seed: int) -> tuple[object, ...]:
    params = {**TRAIN.params, "seed": Param(name="seed", type=ParamType.INTEGER, default=seed)}
    return (replace(TRAIN, params=params),)


# --- templates ---------------------------------------------------------------------------------------------------


def test_the_next_row_is_judged_by_the_edited_template_and_a_running_one_keeps_its_spec():
    story, line = running(alpha=2)
    story.edit_files(templates=with_default(7))
    later = story.table.type(template="train", lr=0.2)
    story.wait(10)
    assert story.experiment(line).spec.params["seed"] == 0
    assert story.experiment(later).spec.params["seed"] == 7
    assert (line["status"], later["status"]) == ("running", "running")
    assert line["message"] is None


def test_a_row_that_was_refused_is_accepted_once_its_template_allows_it():
    story = Story()
    line = story.table.type(template="train", lr=50.0)
    story.wait(8)
    assert line["status"] == "invalid"
    params = {**TRAIN.params, "lr": Param(name="lr", type=ParamType.NUMBER, maximum=100.0)}
    story.edit_files(templates=(replace(TRAIN, params=params),))
    story.wait(8)
    assert line["status"] == "running"


def test_a_row_whose_template_vanished_says_so_and_goes_on_when_it_is_back():
    story = Story()
    story.edit_files(templates=(TRAIN, GAMMA))
    line = story.table.type(template="gamma", lr=0.1)
    story.wait(2)
    story.edit_files(templates=(TRAIN,))
    story.wait(8)
    assert line["status"] == "invalid"
    assert "gamma" in str(line["message"])
    story.edit_files(templates=(TRAIN, GAMMA))
    story.wait(8)
    assert line["status"] == "running"


def test_what_waits_for_room_keeps_the_spec_it_was_accepted_with():
    story, _ = running()
    line = story.table.type(template="train", lr=0.2)
    story.wait(8)
    assert line["status"] == "waiting"
    story.edit_files(templates=with_default(7))
    story.wait(8)
    assert story.experiment(line).spec.params["seed"] == 0


def test_a_column_becomes_the_metric_that_an_edited_template_declares():
    story = Story()
    column = story.table.header.index("loss")
    assert all(one.position != column for one in story.world.sheet.layout.owned)  # type: ignore[union-attr]
    story.edit_files(templates=(replace(TRAIN, metrics=(MetricRule(name="loss"),)),))
    story.settle()
    assert any(one.position == column for one in story.world.sheet.layout.owned)  # type: ignore[union-attr]


def test_a_column_that_was_lost_before_is_not_forgotten_for_an_edited_template():
    """Else rows that were typed for it would run on a default that nobody typed."""
    story = Story()
    story.table.header[story.table.header.index("seed")] = "renamed"
    story.table.changed()
    story.wait(4)
    story.edit_files(templates=with_default(7))
    line = story.table.type(template="train", lr=0.1)
    story.wait(8)
    assert line["status"] == "invalid"
    assert 'the column "seed" is gone' in str(line["message"])


def test_code_of_the_former_template_is_not_taken_for_the_new_one_be_it_there_or_on_its_way():
    story = Story(templates=(replace(TRAIN, code="/old"),))
    row = ExperimentId("xrow"), "typed"
    pin = fx.PinCode(code="/old", rows=(row,))
    story.world.pinned[row[0]] = (row[1], "0" * 64)
    story.world.in_flight[pin.key] = pin
    story.edit_files(templates=(replace(TRAIN, code="/new"),))
    story.turn(fx.CodePinned(effect=pin, sha="0" * 64))
    assert story.world.pinned == {}


def test_an_edit_that_changes_nothing_for_the_rows_reads_nothing_anew():
    story, _ = running()
    reads, view = story.table.reads, story.world.sheet
    story.edit_files(hosts={"alpha": 2})
    assert (story.table.reads, story.world.sheet) == (reads, view)


def test_rows_are_the_same_rows_by_an_edited_template():
    """An id is bound by what its row says, and a column that counts now may have said something all along."""
    story, line = running(alpha=2)
    story.table.type(line, notes=5.0)
    params = {**TRAIN.params, "my notes": Param(name="my notes", type=ParamType.NUMBER, default=0.0)}
    story.edit_files(templates=(replace(TRAIN, params=params),))
    story.wait(30)
    id_ = line["id"]
    assert len(story.told(RowAccepted)) == 1
    story.table.type(line, id="")
    story.wait(8)
    assert (line["id"], line["status"]) == (id_, "running")


# --- hosts -------------------------------------------------------------------------------------------------------


def test_a_new_host_gets_what_waits():
    story, _ = running()
    line = story.table.type(template="train", lr=0.2)
    story.wait(8)
    assert line["status"] == "waiting"
    story.edit_files(hosts={"alpha": 1, "beta": 1})
    story.wait(8)
    assert (line["status"], line["host"]) == ("running", "beta")


def test_nothing_begins_on_a_new_host_before_the_sheet_says_that_we_use_it():
    """Whoever takes over goes by that: a host that nobody named is not asked what runs there."""
    story, _ = running()
    story.table.type(template="train", lr=0.2)
    story.wait(8)
    claims: list[tuple[str, ...]] = []
    story.hears = lambda event: (
        claims.append(story.table.claim.hosts if story.table.claim else ())
        if isinstance(event, LaunchIntended)
        else None
    )
    story.edit_files(hosts={"alpha": 1, "beta": 1})
    story.wait(8)
    assert claims == [host_digests([HostName("alpha"), HostName("beta")])]


def test_the_sheet_goes_on_to_name_a_host_that_is_gone_while_something_lives_there():
    story, line = running(alpha=1, beta=1)
    name = HostName(str(line["host"]))
    (other,) = set(story.world.hosts) - {name}
    story.edit_files(hosts={other: 1})
    story.table.type(template="train", lr=0.3)
    story.wait(8)
    assert story.table.claim is not None
    assert set(host_digests([name])) < set(story.table.claim.hosts)


def test_more_slots_take_more_and_a_host_that_is_reached_as_before_is_not_met_anew():
    story, _ = running()
    line = story.table.type(template="train", lr=0.2)
    story.wait(8)
    host = story.world.hosts[HostName("alpha")]
    story.edit_files(hosts={"alpha": 2})
    story.wait(8)
    assert story.world.hosts[HostName("alpha")] is host
    assert line["status"] == "running"


def test_fewer_slots_end_nothing_and_take_nothing_more():
    story, line = running(alpha=2)
    story.edit_files(hosts={"alpha": 1})
    later = story.table.type(template="train", lr=0.2)
    story.wait(8)
    assert (line["status"], later["status"]) == ("running", "waiting")


def test_a_host_that_is_gone_keeps_its_attempt_which_goes_on_when_it_is_back():
    story, line = running(alpha=1, beta=1)
    name = str(line["host"])
    (other,) = {"alpha", "beta"} - {name}
    story.edit_files(hosts={other: 1})
    story.wait(600, step_s=20)
    assert line["status"] == "unreachable"
    assert str(line["message"]).startswith(f"{name} is no longer in sheetd.toml: put it back")
    assert story.told(AttemptEnded) == []
    story.edit_files(hosts={other: 1, name: 1})
    story.wait(8)
    assert (line["status"], line["message"]) == ("running", None)
    story.exits(f"{line['id']}.1")
    story.wait(8)
    assert line["status"] == "succeeded"
    assert len(story.attempts_started()) == 1


def test_what_runs_on_a_host_that_is_gone_is_let_go_when_a_person_stops_it():
    story, line = running(alpha=1, beta=1)
    name = HostName(str(line["host"]))
    (other,) = set(story.world.hosts) - {name}
    story.edit_files(hosts={other: 1})
    story.table.type(line, action="stop")
    story.wait(8)
    (end,) = (event for event in story.told(AttemptEnded) if isinstance(event, AttemptEnded))
    assert (end.proof, end.reason) == (Proof.FORCED_BY_OPERATOR, Reason.STOPPED_BY_USER)
    assert line["status"] == "stopped"
    assert f"given up by a person: {name} is not in sheetd.toml any more" in str(line["message"])
    story.edit_files(hosts={other: 1, name: 1})
    story.wait(8)
    seen = story.hosts[name].attempts[AttemptId(f"{line['id']}.1")]
    assert seen.state is Seen.EXITED, "it is stopped as soon as it can be asked"


def test_a_host_is_in_use_as_long_as_anything_of_ours_lives_there():
    story, line = running(alpha=1, beta=1)
    name = HostName(str(line["host"]))
    (other,) = set(story.world.hosts) - {name}
    story.edit_files(hosts={other: 1})
    assert hosts_in_use(story.world) == {name}
    story.table.type(line, action="stop")
    story.wait(8)
    assert hosts_in_use(story.world) == set()
    story.edit_files(hosts={other: 1, name: 1})
    assert hosts_in_use(story.world) == {name}, "a stray, until it is stopped"
    story.wait(8)
    assert hosts_in_use(story.world) == set()


def test_a_restart_is_not_done_elsewhere_while_it_may_run_on_a_host_that_is_gone():
    story, line = running(alpha=1, beta=1)
    (other,) = set(story.world.hosts) - {HostName(str(line["host"]))}
    story.edit_files(hosts={other: 1})
    story.table.type(line, action="restart")
    story.wait(600, step_s=20)
    assert story.experiment(line).phase is Phase.STOPPING
    assert len(story.attempts_started()) == 1
    assert "choose stop" in str(line["message"])


def test_an_answer_of_a_host_that_is_gone_meanwhile_means_nothing():
    story = Story(hosts={"alpha": 1, "beta": 1})
    story.table.type(template="train", lr=0.1)
    removed: list[str] = []

    def remove(effect: fx.Effect) -> None:
        if isinstance(effect, fx.Launch) and not removed:
            removed.append(effect.host)
            (other,) = set(story.world.hosts) - {effect.host}
            story.edit_files(hosts={other: 1})

    story.meddle = remove
    story.wait(20)
    assert not any(key[0] in removed for key in (*story.world.in_flight, *story.world.hold_until_s))
    assert len(story.told(LaunchIntended)) == 1, "it may have begun there: nothing is begun elsewhere"


def test_an_answer_over_the_former_way_means_nothing():
    story, line = running(alpha=1)
    attempt = AttemptId(f"{line['id']}.1")
    story.table.type(line, action="stop")
    story.wait(2)
    stop = fx.Stop(host=HostName("alpha"), attempt=attempt, grace_s=60.0)
    story.world.in_flight[stop.key] = stop
    story.edit_files(renewed=["alpha"])
    ended = AttemptSeen(state=Seen.EXITED, exit=Exit(rc=0))
    before = dict(story.world.hosts[HostName("alpha")].attempts)
    story.turn(fx.HostAnswered(effect=stop, seen=ended))
    assert story.world.hosts[HostName("alpha")].attempts == before


def test_a_host_that_is_reached_another_way_is_met_anew_and_its_attempt_goes_on():
    story, line = running(alpha=1)
    before = story.world.hosts[HostName("alpha")]
    story.edit_files(renewed=["alpha"])
    assert story.world.hosts[HostName("alpha")] is not before
    story.wait(8)
    assert line["status"] == "running"
    assert len(story.attempts_started()) == 1


def test_what_was_asked_of_a_host_that_is_gone_is_asked_of_nobody():
    story = Story(hosts={"alpha": 1, "beta": 1})
    story.world.host_requests[1] = HostRequested(host=HostName("beta"), action="drain", by="mo", request=1)
    story.edit_files(hosts={"alpha": 1})
    assert story.world.host_requests == {}


def test_the_second_name_of_a_machine_is_used_when_the_first_is_gone():
    story = Story(hosts={"alpha": 1, "omega": 1})
    for host in story.hosts.values():
        host.machine = "m1"
        story.turn(host.seen())
    assert story.world.hosts[HostName("omega")].closed
    story.edit_files(hosts={"omega": 1})
    assert not story.world.hosts[HostName("omega")].closed


# --- the rest ----------------------------------------------------------------------------------------------------


def test_times_are_those_of_the_file():
    story, line = running()
    story.edit_files(limits=Limits(dress_every_s=1e9, deleted_row_grace_s=30.0))
    story.table.delete(line)
    story.wait(60)
    assert [event.reason for event in story.told(AttemptEnded) if isinstance(event, AttemptEnded)] == [
        Reason.STOPPED_BY_USER
    ]


def test_secrets_stay_known_for_what_runs_and_those_of_an_edited_template_are_known_too():
    story = Story()
    for value in ("former secret", "later secret"):
        found = replace(story.configuration(), redactor=Redactor.of([value]))
        reconfigure(story.world, found, (), story.now_s)
    assert story.world.redactor.text("former secret, later secret") == "[redacted], [redacted]"


def test_the_same_files_change_nothing():
    story, line = running(alpha=2)
    journal, view = len(story.journal), story.world.sheet
    story.edit_files()
    assert (len(story.journal), story.world.sheet, story.world.has_claimed) == (journal, view, True)
    assert line["status"] == "running"
