"""One daemon serves a tab, whatever was copied, restored or started twice; and no old answer of it is obeyed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sheetd.core import effect as fx
from sheetd.core import events as ev
from sheetd.core import observation as obs
from sheetd.core.grid import Claim, Grid, SheetWrite
from sheetd.core.model import AttemptId, HostName, Phase, Proof, Reason, SlotName, Spec
from sheetd.core.observation import AttemptKept, AttemptSeen, Exit, Seen
from sheetd.core.ownership import host_digests
from sheetd.core.world import Identity
from tests.core.story import Line, Story, Table

EXITED = AttemptSeen(state=Seen.EXITED, exit=Exit(rc=0))
OTHER = Claim(epoch=7, owner="another", stamp=3, where="kim@lab1:/home/kim")


def claimed_by_another(story: Story, claim: Claim = OTHER) -> None:
    story.table.claim = claim
    story.table.changed()


def taking_over(claim: Claim = OTHER, **told: object) -> tuple[Story, Line]:
    """A row runs; then another daemon claims the sheet, and ours is started again."""
    story = Story(**told)  # type: ignore[arg-type]
    line = story.table.type(template="train", lr=0.1)
    story.wait(12)
    assert story.experiment(line).phase is Phase.RUNNING
    claimed_by_another(story, claim)
    return story, line


def keeps(story: Story, host: str, attempt: str, spec: Spec, seen: AttemptSeen, slot: int = 0) -> AttemptKept:
    """The host keeps an attempt that another daemon launched."""
    kept = AttemptKept(nonce="f" * 32, spec=spec, slots=(SlotName(f"{host}/{slot}"),), fingerprint="typed there")
    story.hosts[HostName(host)].attempts[AttemptId(attempt)] = seen
    story.hosts[HostName(host)].kept[AttemptId(attempt)] = kept
    return kept


# --- the claim ---------------------------------------------------------------------------------------------------


def test_a_tab_is_claimed_before_anything_is_begun():
    story = Story()
    assert story.table.claim is not None
    assert (story.table.claim.owner, story.table.claim.epoch) == (story.world.identity.owner, 1)
    assert story.hosts[HostName("alpha")].epoch == 1
    assert story.table.claim.hosts == host_digests(story.world.hosts)


def test_what_a_daemon_records_before_it_sees_the_sheet_does_not_make_up_for_what_its_backup_lacks():
    """Seed 8432 of the simulator: its own start counted, and the attempt that was missing was launched again."""
    story = Story(hosts={"alpha": 1})
    line = story.table.type(template="train", lr=0.1)
    story.wait(4)
    assert story.attempts_started() == []
    backup = list(story.journal)
    story.wait(12)
    assert story.attempts_started() == [f"{line['id']}.1"]
    story.exits(f"{line['id']}.1")
    lost = len(story.journal) - len(backup)
    assert story.table.claim is not None
    backup_lacks = story.table.claim.events - len(backup)
    assert 0 < backup_lacks <= lost
    story.journal[:] = backup
    for _ in range(backup_lacks + 1):
        story.restart_daemon()  # each start is an event
    story.wait(30)
    assert story.attempts_started() == [f"{line['id']}.1"]


def test_what_a_row_has_told_stands_though_somebody_types_over_it_before_the_takeover_ends():
    """Seed 600916: the host had been exchanged, so the row's word was all that was left, and it was done again."""
    story = Story(hosts={"alpha": 1, "beta": 1})
    line = story.table.type(template="train", lr=0.1)
    story.wait(4)
    backup = list(story.journal)
    story.wait(12)
    story.exits(f"{line['id']}.1")
    story.wait(8)
    assert line["status"] == "succeeded"
    story.journal[:] = backup
    for host in story.hosts.values():
        host.attempts.clear()
    story.hosts[HostName("beta")].is_reachable = False
    story.restart_daemon()
    story.wait(8)
    assert story.world.state.takeover is not None
    story.table.type(line, status="mine")
    story.wait(8)
    story.back("beta")
    story.wait(30)
    assert story.world.state.takeover is None
    assert len(story.attempts_started()) == 1
    assert "ended before as" in str(line["message"])


def test_a_restarted_daemon_claims_anew_and_has_nothing_to_fear():
    story = Story()
    line = story.table.type(template="train", lr=0.1)
    story.wait(12)
    story.restart_daemon()
    story.wait(5)
    assert story.told(ev.TakeoverBegun) == []
    assert story.table.claim is not None
    assert story.table.claim.epoch == 2
    assert story.experiment(line).phase is Phase.RUNNING


def test_every_write_carries_a_larger_stamp():
    story = Story()
    stamps = []
    for number in range(3):
        story.table.type(template="train", lr=0.1, seed=number)
        story.wait(12)
        assert story.table.claim is not None
        stamps.append(story.table.claim.stamp)
    assert stamps == sorted(set(stamps))


def test_whoever_was_taken_over_from_stops_acting_and_writes_nothing_more():
    story, line = taking_over()
    story.started.clear()
    story.table.type(line, action="stop")
    story.wait(60)
    assert {type(effect) for effect in story.started} == {fx.ReadSheet}
    assert "taken over this sheet (kim@lab1:/home/kim, epoch 7)" in story.world.halted
    assert story.table.claim == OTHER


def test_a_claim_that_somebody_deleted_is_made_again():
    story = Story()
    story.table.claim = None
    story.table.changed()
    story.wait(30)
    assert story.table.claim is not None
    line = story.table.type(template="train", lr=0.1)
    story.wait(12)
    assert story.experiment(line).phase is Phase.RUNNING


# --- taking over -------------------------------------------------------------------------------------------------


def test_a_daemon_that_finds_another_claim_takes_over_with_a_larger_epoch():
    story, line = taking_over()
    story.restart_daemon()
    story.wait(10)
    assert [type(event) for event in story.events[-2:]] == [ev.TakeoverBegun, ev.TakeoverEnded]
    assert story.table.claim is not None
    assert (story.table.claim.epoch, story.hosts[HostName("alpha")].epoch) == (8, 8)
    assert story.experiment(line).phase is Phase.RUNNING
    assert len(story.attempts_started()) == 1


def test_a_later_life_of_the_same_folder_is_taken_over_from_as_well():
    """A state folder was restored from a backup, at the very place where it was."""
    story, _ = taking_over(Claim(epoch=2, owner="me", stamp=90, where="here"))
    story.restart_daemon()
    story.wait(10)
    assert len(story.told(ev.TakeoverBegun)) == 1
    assert story.world.state.epoch == 3


def test_a_journal_that_is_shorter_than_the_sheet_has_seen_it_is_a_restored_one():
    """A backup of the same day: its epoch alone looks like that of an ordinary restart."""
    story = Story()
    line = story.table.type(template="train", lr=0.1)
    story.wait(12)
    backup = story.journal[:3]
    story.wait(20)
    story.journal[:] = backup
    story.restart_daemon()
    story.wait(10)
    assert [type(event) for event in story.events[2:]][:2] == [ev.TakeoverBegun, ev.AttemptAdopted]
    assert story.experiment(line).phase is Phase.RUNNING
    assert len(story.attempts_started()) == 1


def told_claim(story: Story, events: int) -> None:
    """The sheet was not written since: it has seen no more of the journal than this."""
    assert story.table.claim is not None
    story.table.claim = story.table.claim._replace(events=events)
    story.table.changed()


def test_a_host_that_keeps_more_than_the_journal_knows_shows_that_a_backup_was_restored():
    """Seeds 23846 and 26035 of the simulator: the sheet could not be written before the journal was lost."""
    story = Story(hosts={"alpha": 1, "beta": 1})
    line = story.table.type(template="train", lr=0.1)
    story.wait(12)
    (attempt,) = story.attempts_started()
    backup = story.journal[:3]
    assert [type(event) for event, _ in backup] == [ev.DaemonStarted, ev.IdAssigned, ev.RowAccepted]
    story.exits(attempt)
    story.journal[:] = backup
    told_claim(story, events=len(backup))
    story.table.type(line, status="waiting", host=None, attempt=None)
    story.restart_daemon()
    story.wait(30)
    assert story.attempts_started() == [attempt]
    assert line["status"] == "succeeded"
    (begun,) = story.told(ev.TakeoverBegun)
    assert begun.former_where == f"a later state of its own folder (alpha keeps {attempt}, which is not in the journal)"
    assert len(story.told(ev.TakeoverEnded)) == 1


def test_a_host_that_cannot_say_what_it_keeps_is_doubted_once_in_the_life_of_a_daemon():
    story = Story(hosts={"alpha": 1})
    story.table.type(template="train", lr=0.1)
    story.wait(12)
    waiting = story.table.type(template="train", lr=0.2)
    story.wait(12)
    assert waiting["status"] == "waiting"
    story.hosts[HostName("alpha")].attempts[AttemptId(f"{waiting['id']}.1")] = AttemptSeen(state=Seen.REBOOTED)
    story.restart_daemon()
    story.wait(30)
    assert len(story.told(ev.TakeoverEnded)) == 1
    for _ in range(3):
        story.cut_off("alpha")
        story.wait(5)
        story.back("alpha")
        story.wait(5)
    assert len(story.told(ev.TakeoverBegun)) == 1


def test_a_row_that_tells_of_an_end_is_left_as_it_is_until_every_host_has_told():
    """Seed 27701 of the simulator: the backup knew its id only, and `waiting` was written over `succeeded`."""
    story = Story(hosts={"alpha": 1, "beta": 1})
    line = story.table.type(template="train", lr=0.1)
    story.wait(12)
    (attempt,) = story.attempts_started()
    story.exits(attempt)
    story.wait(10)
    assert line["status"] == "succeeded"
    story.journal[:] = story.journal[:2]
    story.hosts[HostName("alpha")].attempts.clear()
    story.hosts[HostName("beta")].is_reachable = False
    before = dict(line.cells)
    story.restart_daemon()
    story.wait(30)
    assert line.cells == before
    story.back("beta")
    story.wait(30)
    assert story.attempts_started() == [attempt]
    assert "ended before as" in str(line["message"])


def test_nothing_is_begun_before_every_host_has_answered():
    story, _ = taking_over(hosts={"alpha": 2, "beta": 2})
    story.hosts[HostName("beta")].is_reachable = False
    waiting = story.table.type(template="train", lr=0.2)
    story.restart_daemon()
    story.wait(60)
    assert story.told(ev.TakeoverEnded) == []
    assert waiting["id"] is None
    story.back("beta")
    story.wait(15)
    assert story.experiment(waiting).phase is Phase.RUNNING


def test_rows_that_wait_say_whose_answer_is_missing():
    story = Story(hosts={"alpha": 1, "beta": 1})
    rows = [story.table.type(template="train", lr=0.1, seed=number) for number in range(3)]
    story.wait(12)
    claimed_by_another(story)
    story.hosts[HostName("beta")].is_reachable = False
    story.restart_daemon()
    story.wait(10)
    waiting = next(line for line in rows if line["status"] == "waiting")
    assert "waits for beta to answer" in str(waiting["message"])
    assert "taken over from kim@lab1:/home/kim" in str(waiting["message"])
    assert "remove it from sheetd.toml" in str(waiting["message"])


def test_hosts_that_only_the_former_owner_knows_are_not_passed_over():
    unknown = OTHER._replace(hosts=("0123456789ab",))
    story, _ = taking_over(unknown)
    story.restart_daemon()
    story.wait(30)
    assert "start once with `sheetd run --take-over`" in story.world.halted
    assert story.table.claim == unknown


@pytest.mark.parametrize(("was", "is_now"), [("", "projects/vision"), ("projects/vision", "projects/images")])
def test_attempts_in_another_folder_of_the_same_hosts_are_not_passed_over(was: str, is_now: str):
    former = OTHER._replace(hosts=host_digests([HostName("alpha")], was))
    story, _ = taking_over(former)
    story.identity = Identity(folder=is_now)
    story.restart_daemon()
    story.wait(30)
    assert "under another name of the sheet: give it that name again" in story.world.halted
    assert story.table.claim == former
    story.identity = Identity(folder=was)
    story.restart_daemon()
    story.wait(30)
    assert story.world.halted == ""
    assert story.table.claim is not None
    assert set(former.hosts) <= set(story.table.claim.hosts)


def test_the_operator_may_say_that_the_former_owner_is_gone():
    story, line = taking_over(OTHER._replace(hosts=("0123456789ab",)))
    story.identity = Identity(takes_over=True)
    story.restart_daemon()
    story.wait(10)
    assert story.world.halted == ""
    assert story.table.claim is not None
    assert story.table.claim.epoch == 8
    assert story.experiment(line).phase is Phase.RUNNING


def test_what_the_former_owner_started_is_adopted_and_not_started_again():
    story, line = taking_over(hosts={"alpha": 1, "beta": 1})
    spec = story.experiment(line).spec
    story.hosts[HostName("alpha")].attempts[AttemptId(f"{line['id']}.1")] = AttemptSeen(state=Seen.REBOOTED)
    keeps(story, "beta", f"{line['id']}.2", spec, AttemptSeen(state=Seen.RUNNING, started_age_s=5.0))
    story.restart_daemon()
    story.wait(20)
    experiment = story.experiment(line)
    assert [(one.number, one.host) for one in experiment.attempts] == [(1, "alpha"), (2, "beta")]
    assert experiment.phase is Phase.RUNNING
    assert len(story.attempts_started()) == 1
    assert (line["host"], line["attempt"]) == ("beta", 2.0)


def test_a_row_that_only_the_former_owner_knew_keeps_its_id_and_its_experiment():
    story, line = taking_over(hosts={"alpha": 2})
    theirs = story.table.type(template="train", lr=0.3, id="xtheirs", status="running")
    spec = Spec(template="train", argv=("python", "train.py", "--lr=0.3"))
    keeps(story, "alpha", "xtheirs.2", spec, AttemptSeen(state=Seen.RUNNING, started_age_s=5.0), slot=1)
    story.restart_daemon()
    story.wait(20)
    assert (theirs["id"], theirs["status"], theirs["attempt"]) == ("xtheirs", "running", 2.0)
    former, present = story.experiment(theirs).attempts
    assert (former.proof, present.proof) == (Proof.SUCCEEDED_BY_ANOTHER, None)
    assert story.experiment(theirs).spec.where == "alpha", "one host's word starts nothing on another"
    assert len(story.attempts_started()) == 1
    assert line["status"] == "running"


@pytest.mark.parametrize("forgets", [True, False])
def test_what_was_done_is_not_done_again_where_nobody_knows_any_more_what_it_was(forgets: bool):
    """Seed 10137 of the simulator: a backup that knew the id only, and a host that lost power and what it was given."""
    story = Story(hosts={"alpha": 2})
    line, host = story.table.type(template="train", lr=0.1), story.hosts[HostName("alpha")]
    story.wait(12)
    (attempt,) = story.attempts_started()
    if forgets:
        story.exits(attempt)
        story.wait(5)
        host.attempts.clear()
    else:
        host.attempts[attempt] = AttemptSeen(state=Seen.REBOOTED)
        host.kept[attempt] = AttemptKept(nonce="f" * 32)
    story.journal[:] = story.journal[:2]
    story.restart_daemon()
    story.wait(60)
    assert story.attempts_started() == [attempt]
    assert line["status"] == "draft"
    story.table.type(line, action="run")
    story.wait(20)
    assert story.attempts_started() == [attempt, f"{line['id']}.1"]
    assert line["id"] not in attempt


@pytest.mark.parametrize("is_known", [True, False])
def test_what_was_begun_on_a_machine_that_is_gone_waits_for_a_person(is_known: bool):
    """Seed 10227 of the simulator: the row said that it runs, and was begun again because no host knew of it."""
    story = Story(hosts={"alpha": 2})
    line, host = story.table.type(template="train", lr=0.1), story.hosts[HostName("alpha")]
    story.wait(12)
    (attempt,) = story.attempts_started()
    assert line["status"] == "running"
    host.attempts.clear()
    story.journal[:] = story.journal[: 3 if is_known else 2]
    story.restart_daemon()
    story.wait(60)
    assert story.attempts_started() == [attempt]
    assert line["status"] == ("stopped" if is_known else "draft")
    assert "choose run" in str(line["message"])
    story.table.type(line, action="run")
    story.wait(20)
    assert len(story.attempts_started()) == 2


def test_what_was_done_under_another_id_does_not_get_its_row_back():
    """Seed 13126 of the simulator: our id never came into its cell, and what stood there was taken for a slip."""
    story = Story(hosts={"alpha": 1})
    first = story.table.type(template="train", lr=0.3)
    story.wait(12)
    line = story.table.type(template="train", lr=0.1)
    story.wait(12)
    assert (first["status"], line["status"]) == ("running", "waiting")
    story.table.type(line, id="xtheirs", status="succeeded")
    claimed_by_another(story)
    story.restart_daemon()
    story.wait(20)
    story.exits(f"{first['id']}.1")
    story.wait(60)
    assert story.attempts_started() == [f"{first['id']}.1"]
    assert line["status"] == "draft"
    again = story.table.type(template="train", lr=0.1)
    story.wait(20)
    assert story.attempts_started() == [f"{first['id']}.1", f"{again['id']}.1"]


def test_a_slot_passes_on_from_what_has_ended_under_the_former_owner():
    story, line = taking_over()
    story.hosts[HostName("alpha")].attempts[AttemptId(f"{line['id']}.1")] = AttemptSeen(state=Seen.REVOKED)
    theirs = story.table.type(template="train", lr=0.3, id="xtheirs", status="running")
    keeps(story, "alpha", "xtheirs.1", Spec(template="train", argv=("true",)), AttemptSeen(state=Seen.RUNNING))
    story.restart_daemon()
    story.wait(20)
    assert theirs["status"] == "running"
    assert story.experiment(theirs).attempts[-1].slots == ("alpha/0",)
    assert line["status"] == "waiting"


def test_what_a_second_name_of_a_machine_tells_is_adopted_when_the_holder_of_its_slots_is_heard_of_too():
    """Seed 701886 of the simulator: it was adopted without its slot, and its job went on using the card."""
    story, line = taking_over(hosts={"alpha": 1, "omega": 1})
    alpha, omega = (story.hosts[HostName(name)] for name in ("alpha", "omega"))
    if story.experiment(line).attempts[-1].host == "omega":
        alpha, omega = omega, alpha
    alpha.is_reachable = False
    alpha.attempts[AttemptId(f"{line['id']}.1")] = EXITED
    theirs = story.table.type(template="train", lr=0.3, id="xtheirs", status="running")
    keeps(story, alpha.name, "xtheirs.1", Spec(template="train", argv=("true",)), AttemptSeen(state=Seen.RUNNING))
    omega.attempts, omega.kept = dict(alpha.attempts), dict(alpha.kept)
    story.restart_daemon()
    story.wait(20)
    story.back(alpha.name)
    story.wait(20)
    assert len(story.told(ev.AttemptAdopted)) == 1
    assert story.experiment(theirs).attempts[-1].slots == (f"{alpha.name}/0",)
    assert (theirs["status"], line["status"]) == ("running", "succeeded")


def test_a_launch_that_never_came_about_gives_way_to_what_another_daemon_started_there():
    story = Story()
    story.hosts[HostName("alpha")].is_reachable = False
    line = story.table.type(template="train", lr=0.1)
    story.wait(12)
    assert story.experiment(line).phase is Phase.LAUNCHING
    theirs = story.table.type(template="train", lr=0.3, id="xtheirs", status="running")
    keeps(story, "alpha", "xtheirs.1", Spec(template="train", argv=("true",)), AttemptSeen(state=Seen.RUNNING))
    claimed_by_another(story)
    story.hosts[HostName("alpha")].is_reachable = True
    story.restart_daemon()
    story.wait(20)
    assert story.attempts_started() == []
    assert story.experiment(theirs).attempts[-1].slots == ("alpha/0",)
    assert (theirs["status"], line["status"]) == ("running", "waiting")


def test_an_older_intent_is_not_carried_out_while_it_may_have_been_overtaken():
    story = Story(hosts={"alpha": 1, "beta": 1})
    for host in story.hosts.values():
        host.is_reachable = False
    line = story.table.type(template="train", lr=0.1)
    story.wait(12)
    intended = story.experiment(line).attempts[-1]
    other = next(name for name in story.hosts if name != intended.host)
    keeps(story, other, f"{line['id']}.2", story.experiment(line).spec, AttemptSeen(state=Seen.RUNNING))
    claimed_by_another(story)
    story.hosts[intended.host].is_reachable = True
    story.restart_daemon()
    story.wait(20)
    assert story.attempts_started() == []
    story.back(other)
    story.wait(10)
    assert story.attempts_started() == []
    assert (line["host"], line["attempt"]) == (other, 2.0)


def test_rows_that_we_do_not_know_are_left_as_they_are_until_every_host_has_told():
    """A restored backup: their own words are all that is known of them, and a host may know them by their id."""
    story, _ = taking_over(hosts={"alpha": 1, "beta": 1})
    theirs = story.table.type(
        template="train", lr=0.3, id="xtheirs", status="succeeded", message="", host="beta", attempt=1.0
    )
    before = dict(theirs.cells)
    keeps(story, "beta", "xtheirs.1", Spec(template="train", argv=("true",)), EXITED)
    story.hosts[HostName("beta")].is_reachable = False
    story.restart_daemon()
    story.wait(30)
    assert theirs.cells == before
    story.back("beta")
    story.wait(20)
    assert (theirs["id"], theirs["status"]) == ("xtheirs", "succeeded")
    assert story.told(ev.LaunchIntended)[1:] == []


def test_what_nobody_shows_any_more_is_not_begun_after_a_takeover():
    """Seeds 49 and 60 with M4 and M6: the former owner had done the row under another id."""
    story = Story()
    story.hosts[HostName("alpha")].is_reachable = False
    line = story.table.type(template="train", lr=0.1)
    story.wait(12)
    assert story.experiment(line).phase is Phase.LAUNCHING
    ours = story.experiment(line).id
    story.table.type(line, id="xtheirs", status="succeeded")
    keeps(story, "alpha", "xtheirs.1", story.experiment_by(ours).spec, EXITED)
    claimed_by_another(story)
    story.hosts[HostName("alpha")].is_reachable = True
    story.restart_daemon()
    story.wait(700, step_s=5)
    assert story.attempts_started() == []
    assert (line["id"], line["status"]) == ("xtheirs", "succeeded")
    assert story.experiment_by(ours).phase is Phase.ENDED


def test_what_the_former_owner_had_ended_and_no_host_knows_is_not_done_again_by_itself():
    story, _ = taking_over(hosts={"alpha": 2})
    theirs = story.table.type(template="train", lr=0.3, id="xtheirs", status="stopped", message="before it started")
    story.restart_daemon()
    story.wait(30)
    assert theirs["status"] == "draft"
    assert "ended before as xtheirs, under another daemon" in str(theirs["message"])
    assert len(story.attempts_started()) == 1
    story.table.type(theirs, action="run")
    story.wait(15)
    assert theirs["status"] == "running"


def test_of_two_attempts_of_one_experiment_the_newer_is_adopted():
    story, line = taking_over(hosts={"alpha": 1, "beta": 1, "gamma": 1})
    spec = story.experiment(line).spec
    keeps(story, "beta", f"{line['id']}.2", spec, AttemptSeen(state=Seen.EXITED))
    keeps(story, "gamma", f"{line['id']}.3", spec, AttemptSeen(state=Seen.RUNNING))
    story.restart_daemon()
    story.wait(20)
    assert [one.host for one in story.experiment(line).attempts][2] == "gamma"
    assert all(one.proof is not None for one in story.experiment(line).attempts[:2])
    assert story.experiment(line).phase is Phase.RUNNING


def test_an_action_that_stands_there_at_a_takeover_is_not_done_again_but_for_stop():
    story, line = taking_over(hosts={"alpha": 2})
    other = story.table.type(template="train", lr=0.2)
    story.table.claim = story.world.sheet.grid.claim  # type: ignore[union-attr]
    story.table.changed()
    story.wait(12)
    claimed_by_another(story)
    story.table.type(line, action="restart")
    story.table.type(other, action="stop")
    story.restart_daemon()
    story.wait(15)
    assert story.experiment(line).phase is Phase.RUNNING
    assert "was not done again" in str(line["message"])
    assert story.experiment(other).phase is Phase.ENDED
    story.table.type(line, action=None)
    story.wait(5)
    story.table.type(line, action="stop")
    story.wait(10)
    assert story.experiment(line).phase is Phase.ENDED


def test_what_the_former_owner_had_ended_is_not_launched():
    story, _ = taking_over()
    waiting = story.table.type(template="train", lr=0.2)
    story.table.claim = story.world.sheet.grid.claim  # type: ignore[union-attr]
    story.table.changed()
    story.wait(12)
    assert waiting["status"] == "waiting"
    claimed_by_another(story)
    story.table.type(waiting, status="stopped")
    story.restart_daemon()
    story.wait(15)
    assert story.experiment(waiting).phase is Phase.ENDED
    assert "choose run" in str(waiting["message"])


def test_a_takeover_that_was_cut_short_goes_on_after_a_restart():
    story, line = taking_over(hosts={"alpha": 1, "beta": 1})
    story.hosts[HostName("beta")].is_reachable = False
    story.restart_daemon()
    story.wait(10)
    story.restart_daemon()
    story.wait(10)
    assert story.world.state.takeover is not None
    story.back("beta")
    story.wait(10)
    assert story.world.state.takeover is None
    assert story.experiment(line).phase is Phase.RUNNING


# --- old answers -------------------------------------------------------------------------------------------------


def old_and_new(story: Story, line: Line, word: str | None) -> obs.SheetSeen:
    """The sheet as it was before the last write, whatever it held then."""
    now, story.table.claim = story.table.claim, story.table.claim._replace(stamp=1)  # type: ignore[union-attr]
    kept = line["action"]
    old = obs.SheetSeen(grid=story.table.type(line, action=word) and story.table.read())
    story.table.claim = now
    story.table.type(line, action=kept)
    return old


def test_an_old_answer_that_still_holds_a_cleared_word_is_not_obeyed():
    story = Story()
    line = story.table.type(template="train", lr=0.1)
    story.wait(12)
    story.exits(f"{line['id']}.1")
    story.table.type(line, action="rerun")
    story.wait(12)
    story.exits(f"{line['id']}.2")
    story.table.type(line, action=None)
    story.wait(12)
    story.turn(old_and_new(story, line, "rerun"))
    story.settle()
    story.wait(20)
    assert len(story.told(ev.ExperimentReopened)) == 1


def test_a_word_in_an_answer_that_may_be_old_waits_for_a_write_to_prove_it():
    """Without a write of ours in between no stamp tells old from new: then the answer to the next write does."""
    story = Story()
    line = story.table.type(template="train", lr=0.1)
    story.wait(12)
    kept = story.table.read()
    story.table.type(line, action="stop")
    seen = story.table.read()
    story.table.type(line, action=None)
    assert kept.claim == seen.claim
    story.turn(obs.SheetSeen(grid=seen))
    story.settle()
    story.wait(10)
    assert story.experiment(line).phase is Phase.RUNNING


def test_an_older_version_of_the_sheet_that_stays_is_believed_and_its_words_are_not_obeyed():
    story = Story()
    line = story.table.type(template="train", lr=0.1)
    story.wait(12)
    story.exits(f"{line['id']}.1")
    story.wait(5)
    assert story.table.claim is not None
    story.table.claim = story.table.claim._replace(stamp=1)
    story.table.type(line, action="rerun")
    story.wait(40)
    assert story.told(ev.ExperimentReopened) == []
    assert "was not done again" in str(line["message"])
    story.table.type(line, action=None)
    story.wait(10)
    story.table.type(line, action="rerun")
    story.wait(15)
    assert len(story.told(ev.ExperimentReopened)) == 1


class Reticent(Table):
    """A sheet that leaves the claim out of its answers to writes: nobody has tried what Google does."""

    def write(self, write: SheetWrite) -> Grid:
        return replace(super().write(write), claim=None)


def test_a_sheet_whose_answers_to_writes_leave_out_the_claim_is_served_all_the_same():
    story = Story(table=Reticent())
    line = story.table.type(template="train", lr=0.1)
    story.wait(30)
    assert story.experiment(line).phase is Phase.RUNNING
    story.table.type(line, action="stop")
    story.wait(20)
    assert line["status"] == "stopped"


# --- another machine under the same name -------------------------------------------------------------------------


def test_nothing_is_asked_of_another_machine_and_a_person_decides():
    story = Story(hosts={"alpha": 1})
    story.hosts[HostName("alpha")].machine = "first"
    story.cut_off("alpha")
    story.back("alpha")
    line = story.table.type(template="train", lr=0.1)
    story.wait(12)
    story.hosts[HostName("alpha")].machine = "second"
    story.hosts[HostName("alpha")].attempts.clear()
    story.cut_off("alpha")
    story.back("alpha")
    story.wait(60)
    assert len(story.attempts_started()) == 1
    assert line["status"] == "unreachable"
    assert "another machine answers as alpha" in str(line["message"])
    story.table.type(line, action="restart")
    story.wait(15)
    first, second = story.experiment(line).attempts
    assert (first.proof, first.reason) == (Proof.FORCED_BY_OPERATOR, Reason.HOST_LOST)
    assert second.started


@pytest.mark.parametrize(("word", "begun"), [("stop", 1), ("rerun", 2)])
def test_who_stops_what_is_on_a_machine_that_was_exchanged_gets_what_they_asked_for(word: str, begun: int):
    story = Story(hosts={"alpha": 1})
    story.hosts[HostName("alpha")].machine = "first"
    story.cut_off("alpha")
    story.back("alpha")
    line = story.table.type(template="train", lr=0.1)
    story.wait(12)
    story.hosts[HostName("alpha")].machine = "second"
    story.hosts[HostName("alpha")].attempts.clear()
    story.cut_off("alpha")
    story.back("alpha")
    story.table.type(line, action=word)
    story.wait(60)
    attempts = story.experiment(line).attempts
    assert (attempts[0].proof, attempts[0].reason) == (Proof.FORCED_BY_OPERATOR, Reason.STOPPED_BY_USER)
    assert len(attempts) == begun
    assert len(story.told(ev.ExperimentReopened)) == begun - 1
    assert line["status"] == ("stopped" if word == "stop" else "running")


@pytest.mark.parametrize("machine", ["", "first"])
def test_a_machine_that_is_the_same_or_does_not_say_is_trusted(machine: str):
    story = Story(hosts={"alpha": 1})
    story.hosts[HostName("alpha")].machine = machine
    story.cut_off("alpha")
    story.back("alpha")
    line = story.table.type(template="train", lr=0.1)
    story.wait(12)
    story.cut_off("alpha")
    story.back("alpha")
    story.wait(5)
    assert line["status"] == "running"


# --- edited rows -------------------------------------------------------------------------------------------------


def test_an_edited_row_that_loses_its_id_while_no_daemon_runs_is_recognised():
    """Seed 487 of the simulator: what an edited row says was known by heart only."""
    story = Story()
    line = story.table.type(template="train", lr=0.1)
    story.wait(12)
    before = line["id"]
    story.table.type(line, lr=0.5)
    story.wait(8)
    assert len(story.told(ev.RowEdited)) == 1
    story.table.type(line, id=None)
    story.restart_daemon()
    story.wait(15)
    assert line["id"] == before
    assert len(story.told(ev.RowAccepted)) == 1


def test_an_ended_row_that_loses_its_id_around_a_read_that_was_cut_short_is_recognised():
    """Seed 510 of the simulator: the short read counted as the row's deletion, and what was typed as a new row."""
    story = Story()
    line = story.table.type(template="train", lr=0.1)
    story.wait(12)
    story.exits(f"{line['id']}.1")
    story.wait(5)
    before = line["id"]
    story.table.delete(line)
    story.wait(2)
    line.cells.pop("id")
    story.table.insert(0, line)
    story.wait(15)
    assert line["id"] == before
    assert len(story.told(ev.RowAccepted)) == 1


def test_an_edit_that_is_taken_back_is_recorded_too():
    story = Story()
    line = story.table.type(template="train", lr=0.1)
    story.wait(12)
    story.table.type(line, lr=0.5)
    story.wait(8)
    story.table.type(line, lr=0.1)
    story.wait(8)
    assert story.world.state.edited == {}
    assert len(story.told(ev.RowEdited)) == 2
