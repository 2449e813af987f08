"""`python -m tests.campaign NAME`: one campaign, told on stderr, and summed up as JSON in the last line of stdout.

python -m tests.campaign kills --count 1000 --seed 1
python -m tests.campaign absence --minutes 10
python -m tests.campaign storm --minutes 10 --seed 1

The exit status is 0 when nothing was violated, 1 when something was (it is in the summary, and the folder with all
ledgers, logs and the journal is kept), 2 when the rig itself broke, and 130 after Ctrl-C. A further campaign is a
module with `add_to` and `main`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from tests.campaign import absence, kills, storm
from tests.campaign.progress import Telling

CAMPAIGNS = {"kills": kills, "absence": absence, "storm": storm}


def interrupt(number: int, frame: FrameType | None) -> None:
    """Once: what follows is clearing up, which nothing may cut short."""
    del number, frame
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json-only", action="store_true", help="no progress, only the summary")
    names = parser.add_subparsers(dest="campaign", required=True)
    for name, module in CAMPAIGNS.items():
        one = names.add_parser(name, help=(module.__doc__ or "").partition("\n")[0])
        one.add_argument("--json-only", action="store_true", default=argparse.SUPPRESS, help="only the summary")
        module.add_to(one)
    chosen = parser.parse_args(arguments)
    if os.geteuid() != 0 and CAMPAIGNS[chosen.campaign] is not storm:
        parser.error("whole hosts need root")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    with Telling(chosen.campaign, quiet=chosen.json_only) as tell:
        outcome = CAMPAIGNS[chosen.campaign].main(chosen, tell)
    for violation in outcome.violations if not chosen.json_only else ():
        print(violation, file=sys.stderr)
    print(json.dumps(outcome.summary()), flush=True)
    if outcome.is_interrupted:
        return 130
    if outcome.broken:
        print(outcome.broken, file=sys.stderr)
        return 2
    return 1 if outcome.violations else 0


if __name__ == "__main__":
    sys.exit(main())
