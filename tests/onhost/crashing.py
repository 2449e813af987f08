"""An agent that is killed at one exact step: `crashing.py ROOT ROLE MOMENT NUMBER`.

ROLE is agent, launcher, supervisor or shim; MOMENT before or after; NUMBER counts that role's effects on the world
from 0. The file ROOT/crashed says that the step was reached. Nothing of the shipped code knows of this: it stands in
for `System`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sheetd.onhost.agent import serve
from sheetd.onhost.system import System

EFFECTS = ("publish", "replace", "write", "claim", "fork", "open_gate", "signal")


class Crashing(System):
    def __init__(self, root: str, role: str, moment: str, number: int) -> None:
        super().__init__()
        self.place = Path(root)
        self.victim = (role, moment)
        self.number = number
        self.role = ""
        self.count = 0
        for name in EFFECTS:
            setattr(self, name, self.crashing(getattr(self, name), name))

    def become(self, role: str) -> None:
        self.role, self.count = role, 0
        super().become(role)

    def crashing(self, effect: Callable[..., Any], name: str) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            me = os.getpid()
            number, self.count = self.count, self.count + 1
            self.crash_if((self.role, "before"), number, name, args)
            result = effect(*args, **kwargs)
            if os.getpid() == me:  # not in the child of a fork
                self.crash_if((self.role, "after"), number, name, args)
            return result

        return wrapped

    def crash_if(self, here: tuple[str, str], number: int, name: str, args: tuple[Any, ...]) -> None:
        marker = self.place / "crashed"
        if here == self.victim and number == self.number and not marker.exists():
            marker.write_text(f"{here[1]} {here[0]}'s effect {number}: {name} {args[:1]}")
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    serve(Crashing(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])), sys.argv[1])
