"""An agent on a machine that is odd in one way or another: `odd_machine.py ROOT JSON`.

The JSON says which folder stands for `/` (device files), shortens patience, and names what cannot be killed: processes
listed in a file, or vendors' tools. Nothing of the shipped code knows of this: it stands in for `System`.
"""

from __future__ import annotations

import json
import signal
import sys
import types
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sheetd.onhost import cgroup, probedesk, prober, stopping, tools
from sheetd.onhost.agent import serve
from sheetd.onhost.judgement import Identity
from sheetd.onhost.system import System


class OddMachine(System):
    def __init__(self, odd: dict[str, Any]) -> None:
        super().__init__()
        self.tools = tools.Tools(odd.get("hardware", "/"))
        self.undying = Path(odd.get("undying", "/nowhere"))

    def signal(self, identity: Identity, number: int) -> bool:
        if self.undying.exists() and str(identity.pid) in self.undying.read_text().split():
            return True
        return super().signal(identity, number)


def main() -> None:
    odd = json.loads(sys.argv[2])
    prober.APART_S = 0.1
    prober.SLOW_S = odd.get("slow_s", 10.0)
    prober.DEADLINE_S = probedesk.DEADLINE_S = odd.get("deadline_s", 20.0)
    probedesk.STUCK_S = 2 * prober.DEADLINE_S
    probedesk.OTHERS_POLL_S = probedesk.STUCK_POLL_S = 0.1
    tools.KILL_AFTER_S = 0.1
    stopping.UNKILLABLE_S = odd.get("unkillable_s", 60.0)
    if odd.get("no_cgroup") or odd.get("undying"):
        cgroup.make = lambda _name: None
    if odd.get("tools_survive"):  # as a process does that is stuck in a driver
        stand_in = types.SimpleNamespace(SIGTERM=signal.SIGTERM, SIGKILL=0)
        tools.signal = stand_in  # type: ignore[assignment]
    serve(OddMachine(odd), sys.argv[1])


if __name__ == "__main__":
    main()
