"""`python -m tests.campaign.planted`: a bug that starts jobs twice, on real hosts; the judgement has to find it.

The exit status is 0 when the storm told of a double start. A campaign whose checker never fires proves nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence

from tests.planting import Bug, Change, planted

STARTED_AGAIN = Bug(
    "a launch that is repeated starts the job again",
    Change(
        "sheetd/onhost/agent.py",
        'if claim["boot"] != self.boot or attempt.runs() or attempt.has("exit.json"):',
        'if claim["boot"] != self.boot or attempt.has("exit.json"):',
    ),
    Change("sheetd/onhost/attempt.py", "fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)", "pass"),
    Change("sheetd/onhost/supervisor.py", "        if runs:\n            proc", "        if False:\n            proc"),
    Change(
        "sheetd/onhost/supervisor.py",
        'if not self.system.publish(attempt.at("started.{}".format(k)), dump(started)):',
        'if self.system.publish(attempt.at("started.{}".format(k)), dump(started)) is None:',
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign.planted")
    parser.add_argument("--count", type=int, default=60, help="kills to deliver")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    storm = ["--count", str(chosen.count), "--seed", str(chosen.seed), "--rest-s", "20"]
    with planted(STARTED_AGAIN) as copy:
        command = [sys.executable, "-m", "tests.campaign", "kills", "--json-only", *storm]
        env = {**os.environ, "TMPDIR": str(copy.parent)}  # what the campaign keeps as evidence goes with the copy
        said = subprocess.run(command, cwd=copy, env=env, stdout=subprocess.PIPE, text=True, check=False).stdout
    summary = json.loads(said.splitlines()[-1])
    told = [one for one in summary["violations"] if "started twice: " in one or "alive twice: " in one]
    print("\n".join(told[:3]) or "NOT FOUND")
    violations, kills = summary["violations_total"], summary["kills_total"]
    print(f"{len(told)} of {violations} violations are double starts, after {kills} kills")
    return 0 if told else 1


if __name__ == "__main__":
    sys.exit(main())
