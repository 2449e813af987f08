"""Bugs planted one at a time into a copy of the project: the simulator has to find each of them.

    python -m tests.sim.planted                 all of them; one that is not found is a blind spot
    python -m tests.sim.planted --only tomb

Each is the smallest change that breaks the promise.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Sequence

from tests.planting import Bug, Change, planted

BUGS = (
    Bug(
        "a write names its columns by their place alone",
        Change(
            "sheetd/core/render.py",
            "    if world.guards_refused >= world.limits.guards_refused_max:\n        return ()\n",
            "    return ()\n",
        ),
    ),
    Bug(
        "what another project holds is not looked at",
        Change(
            "sheetd/core/room.py",
            "        _take_for_others(room, [one for one in world.others.holdings if one.host in host.names])\n",
            "",
        ),
        Change("sheetd/core/invariants.py", "    yield from held_by_others(world, intent)\n", ""),
    ),
    Bug(
        "start marker without O_EXCL, and a lock that excludes nobody",
        Change(
            "sheetd/onhost/attempt.py",
            "fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)",
            "pass",
        ),
        Change(
            "sheetd/onhost/system.py",
            "            os.link(fresh, path)\n        except FileExistsError:\n            return False\n        finally:\n            os.unlink(fresh)\n",  # noqa: E501 - a text that is matched or sent whole
            "            os.replace(fresh, path)\n        finally:\n            pass\n",
        ),
    ),
    Bug(
        "acknowledged before the commit",
        Change(
            "sheetd/journal/sqlite.py",
            "        if not events:\n            return\n",
            '        events, self._late = getattr(self, "_late", []), list(events)\n        if not events:\n            return\n',  # noqa: E501 - a text that is matched or sent whole
        ),
    ),
    Bug(
        "written by a remembered row number",
        Change(
            "sheetd/core/render.py",
            "yield CellUpdate(row=row.index,",
            "yield CellUpdate(row=_REMEMBERED.setdefault(row.id, row.index) if row.id else row.index,",
        ),
        Change(
            "sheetd/core/render.py",
            "def plan_write(",
            "_REMEMBERED: dict[str, int] = {}\n\n\ndef plan_write(",
        ),
    ),
    Bug(
        "unreachable treated as failed",
        Change(
            "sheetd/core/absorb.py",
            "    if was_up or not host.since_s:\n",
            "    for attempt in [one for one in host.attempts if one in world.state.live]:\n        from sheetd.core.observation import Seen\n        _remember(world, host, attempt, AttemptSeen(state=Seen.LOST), now_s)\n    if was_up or not host.since_s:\n",  # noqa: E501 - a text that is matched or sent whole
        ),
    ),
    Bug(
        "epoch not checked (this fences a daemon; leases guard accelerators only)",
        Change(
            "sheetd/onhost/fence.py",
            "if epoch < newest:",
            "if epoch < 0:",
        ),
    ),
    Bug(
        "action consumed twice: what was obeyed is not journalled",
        Change(
            "sheetd/journal/sqlite.py",
            "        if not events:\n            return\n",
            '        events = [event for event in events if event.kind != "ActionConsumed"]\n        if not events:\n            return\n',  # noqa: E501 - a text that is matched or sent whole
        ),
    ),
    Bug(
        "what was done already is begun again by a row that was pasted",
        Change("sheetd/core/repeats.py", "        if holds_back(state, id_)", "        if not holds_back(state, id_)"),
    ),
    Bug(
        "id not journalled before it is written",
        Change(
            "sheetd/journal/sqlite.py",
            "        if not events:\n            return\n",
            '        events = [event for event in events if event.kind != "IdAssigned"]\n        if not events:\n            return\n',  # noqa: E501 - a text that is matched or sent whole
        ),
    ),
    Bug(
        "no tombstone: a stop that overtakes its launch leaves nothing behind",
        Change(
            "sheetd/onhost/agent.py",
            "make_claim(self.system, attempt, self.boot, None, None, {})",
            'return {"state": dict(self.state(attempt.name), state="revoked")}',
        ),
    ),
    Bug(
        "slot released before the kill is verified",
        Change(
            "sheetd/onhost/supervisor.py",
            "        begun = self.system.boottime()\n        patience",
            "        return\n        begun = self.system.boottime()\n        patience",
        ),
    ),
    Bug(
        "what somebody else uses counts as free",
        Change(
            "sheetd/onhost/accelerators.py",
            'return ("foreign", "used by {}".format(people(others)))',
            'return ("free", "free in two samples")',
        ),
    ),
    Bug(
        "an accelerator is given away while an attempt has it",
        Change(
            "sheetd/core/room.py",
            "                alone.add(one.id)\n",
            "                pass\n",
        ),
    ),
    Bug(
        "restart budget not persisted: a supervisor knows of the ends that it saw itself",
        Change(
            "sheetd/onhost/supervisor.py",
            "ends = [*ends, end] if ends else self.ends()",
            "ends = [*ends, end]",
        ),
    ),
    Bug(
        "lost exit: the shim reaps its job before its end is written",
        Change(
            "sheetd/onhost/shim.py",
            "        was_killed = end.si_code",
            "        os.waitpid(job, 0)\n        was_killed = end.si_code",
        ),
        Change(
            "sheetd/onhost/shim.py",
            "        os.waitpid(job, 0)  # else",
            "        # else",
        ),
    ),
    Bug(
        "what a person has paused goes on by itself",
        Change(
            "sheetd/core/relaunch_policy.py",
            "if experiment.afterwards is Afterwards.RESTART:",
            "if experiment.afterwards in (Afterwards.RESTART, Afterwards.PAUSE):",
        ),
    ),
    Bug(
        "a live value is said to be handed over before its host has it",
        Change(
            "sheetd/core/live_edits.py",
            "    if not is_to_hand_over(world, experiment, attempt):\n",
            "    if True:\n",
        ),
    ),
)


def find(bug: Bug, seeds: int, jobs: int) -> str:
    """The first seed that finds it, and how long that took."""
    with planted(bug) as copy:
        command = [sys.executable, "-m", "tests.sim", "--seeds", f"0..{seeds - 1}", "--jobs", str(jobs), "--stop"]
        began = time.monotonic()
        said = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False).stdout
        seconds = time.monotonic() - began
    found = re.search(r"^seed (\d+): (.*)$", said, re.MULTILINE)
    return (
        f"seed {found[1]} in {seconds:.0f} s: {found[2][:110]}"
        if found
        else f"NOT FOUND in {seeds} seeds, {seconds:.0f} s"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim.planted")
    parser.add_argument("--only", default="")
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=2)
    chosen = parser.parse_args(arguments)
    missed = 0
    for bug in BUGS:
        if chosen.only in bug.name:
            words = find(bug, chosen.seeds, chosen.jobs)
            missed += words.startswith("NOT")
            print(f"{bug.name}\n    {words}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
