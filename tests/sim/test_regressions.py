"""What the simulator found, told again as short stories, so that nothing is lost with their seeds.

Each names the seed that found it, as the simulator was then.
"""

from __future__ import annotations

from sheetd.core import events as ev
from sheetd.hosts.answers import attempt_seen
from tests.core.story import Story
from tests.sim.engine import Engine
from tests.sim.hosts import ready_machine
from tests.sim.machine import File, Folder
from tests.sim.world import LOADER, SYSTEM


def test_a_rerun_typed_over_a_consumed_word_is_obeyed_once() -> None:
    """Seeds 156 and 279: the old word was cleared after the new one was consumed, which forgot the new one."""
    story = Story()
    line = story.table.type(template="train", lr=0.1, seed=1)
    story.wait(20)
    story.exits(f"{line['id']}.1")
    story.table.type(line, action="stop")
    story.wait(5)
    story.table.type(line, action="rerun")
    story.wait(30)
    story.exits(f"{line['id']}.2")
    story.wait(30)
    assert len(story.told(ev.ExperimentReopened)) == 1
    assert len(story.attempts_started()) == 2


def test_an_action_is_not_obeyed_again_after_its_header_was_renamed_and_put_back() -> None:
    """Seed 207: without an action column every consumed word counted as cleared."""
    story = Story()
    line = story.table.type(template="train", lr=0.1, seed=1)
    story.wait(20)
    story.exits(f"{line['id']}.1")
    story.table.type(line, action="rerun")
    story.wait(20)
    story.exits(f"{line['id']}.2")
    place = story.table.header.index("action")
    story.table.header[place] = "aktion"
    story.table.changed()
    story.wait(20)
    story.table.header[place] = "action"
    story.table.changed()
    story.wait(20)
    assert len(story.told(ev.ExperimentReopened)) == 1


def agent_on(files: dict[str, bytes]):
    """An agent on a simulated host that keeps one attempt with these files."""
    engine = Engine(0)
    machine = ready_machine(engine, "alpha", LOADER, SYSTEM)
    folder = Folder()
    for name, content in files.items():
        folder.put(name, File(content))
    attempts = Folder()
    attempts.put("abcd.1", folder)
    machine.find("/state").put("a", attempts)
    states: list[dict] = []

    def ask() -> None:
        agent = LOADER.load("agent").Agent(SYSTEM(machine), "/state", 0o022)
        states.append(agent.answer({"id": 1, "verb": "status", "attempts": ["abcd.1"]}))

    machine.new_process(None, "agent", ask)
    engine.run(1.0)
    return states[0]


CLAIM = b'{"boot":{"boot_id":"alpha-1","pidns":"pid:[1]","pid1_ticks":5},"nonce":"n","spec_sha":"s","secret_names":[],"marker":"m"}'  # noqa: E501 - a text that is matched or sent whole


def test_an_attempt_that_waits_for_its_restart_can_be_told() -> None:
    """Seed 15: `stopped` was null for a run that is not the last, and the whole connection was given up for it."""
    end = b'{"rc":1,"signal":null,"error":null,"executed":true,"witness":"supervisor","ended":1.0,"duration_s":1.0,"oom":false}'  # noqa: E501 - a text that is matched or sent whole
    note = b'{"keeper":[300,10010],"phase":"backoff","restart_at":50.0,"reason":"crashed"}'
    answer = agent_on(
        {
            "claim.json": CLAIM,
            "started.0": b'{"at":1.0,"log":0}',
            "exit.0.json": end,
            "proc.0.json": b'{"shim":[301,1],"job":[302,1],"boot":{}}',
            "supervisor.json": note,
            "log": b"",
        }
    )
    seen = attempt_seen(answer["ok"]["attempts"]["abcd.1"])
    assert (seen.state, seen.exit.rc, seen.exit.stopped) == ("restarting", 1, False)


def test_files_that_a_power_cut_tore_do_not_silence_the_agent() -> None:
    """Seed 17: an empty supervisor.json of an earlier boot made every answer about its attempt an error."""
    claim = CLAIM.replace(b"alpha-1", b"alpha-0")
    answer = agent_on(
        {"claim.json": claim, "started.0": b"", "proc.0.json": b'{"shim"', "supervisor.json": b"", "log": b""}
    )
    assert answer["ok"]["attempts"]["abcd.1"]["state"] == "rebooted"
