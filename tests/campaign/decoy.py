"""The decoys of one host, from this side: started with every boot, told whose number to take."""

from __future__ import annotations

import select
import subprocess
from pathlib import Path
from typing import final

from tests.rig.fleet import HOME, FleetHost

KEEPER = Path(__file__).with_name("decoy_keeper.py")
LEDGER = "decoys"
ANSWER_S = 10.0


@final
class Decoys:
    """One keeper, for one boot of a host. Used by one thread."""

    def __init__(self, host: FleetHost, program: Path) -> None:
        """`program` is a copy of the keeper where the host can see it."""
        argv = host.console("/usr/bin/python3", "-I", "-S", str(program), f"{HOME}/{LEDGER}")
        self._keeper = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)

    def plant(self, pid: int, role: str) -> bool:
        """A stranger under this number of the host. False when somebody else has it, or the host is off."""
        into, out = self._keeper.stdin, self._keeper.stdout
        assert into is not None
        assert out is not None
        try:
            into.write(f"plant {pid} {role}\n".encode())
            into.flush()
        except BrokenPipeError:
            return False
        if not select.select([out], [], [], ANSWER_S)[0]:
            raise RuntimeError(f"the keeper of the decoys did not answer within {ANSWER_S:g} s")
        return out.readline() == b"planted\n"

    def close(self) -> None:
        """Put them away. Harmless when the host lost power."""
        self._keeper.communicate()


def offences(host: FleetHost) -> list[str]:
    """What was done to decoys. Nobody may do anything to them."""
    ledger = host.home / LEDGER
    return ledger.read_text().splitlines() if ledger.exists() else []
