"""Fake programs of accelerator vendors, for real processes to ask: a folder to put first on PATH.

A program prints what lies in a file named by its arguments, and can be made to fail, to be slow or to hang; every call
is noted. What it says may be changed at any time.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

PROGRAM = """\
#!{python} -IS
import json, os, signal, sys, time
here = {folder!r}
with open(os.path.join(here, "calls"), "a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
with open(os.path.join(here, "says.json")) as file:
    says = json.load(file)
if says["hangs"]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while os.path.exists(os.path.join(here, "hangs")):
        time.sleep(0.05)
    sys.exit(1)
time.sleep(says["slow_s"])
for beginning, text, code in says["answers"]:
    if " ".join(sys.argv[1:]).startswith(beginning):
        sys.stdout.write(text)
        sys.exit(code)
sys.exit("not a valid field to query")
"""


class FakeTool:
    """One program in a folder of its own."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self.answers: list[tuple[str, str, int]] = []
        self.slow_s = 0.0
        folder.mkdir(parents=True, exist_ok=True)
        program = folder / name
        program.write_text(PROGRAM.format(python=sys.executable, folder=str(folder)))
        program.chmod(0o755)
        self._save()

    def says(self, beginning: str, text: str, code: int = 0) -> None:
        """What it prints when its arguments begin like this; the last word on a beginning counts."""
        self.answers = [(beginning, text, code), *(one for one in self.answers if one[0] != beginning)]
        self._save()

    def is_slow(self, seconds: float) -> None:
        self.slow_s = seconds
        self._save()

    def hangs(self) -> None:
        """Until `answers_again`; deaf to TERM, as far as a program can be."""
        (self.folder / "hangs").touch()
        self._save()

    def answers_again(self) -> None:
        (self.folder / "hangs").unlink(missing_ok=True)
        self._save()

    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def _save(self) -> None:
        hangs = (self.folder / "hangs").exists()
        fresh = self.folder / ".says.json"
        fresh.write_text(json.dumps({"hangs": hangs, "slow_s": self.slow_s, "answers": self.answers}))
        fresh.replace(self.folder / "says.json")


class FakeNvidia(FakeTool):
    """`nvidia-smi` of a machine with these cards, named by their UUIDs, and the processes on them."""

    def __init__(self, folder: Path, *uuids: str, memory_mb: int = 81920) -> None:
        super().__init__(folder, "nvidia-smi")
        self.uuids = uuids
        self.memory_mb = memory_mb
        self.users: dict[str, dict[int, int]] = {uuid: {} for uuid in uuids}
        self.show()

    def show(self) -> None:
        """Print what is on the cards now."""
        cards, modes, apps = "", "", ""
        for number, uuid in enumerate(self.uuids):
            used = 4 + sum(self.users[uuid].values())
            busy = 90 if self.users[uuid] else 0
            cards += f"{number}, {uuid}, NVIDIA A100-SXM4-80GB, {self.memory_mb}, {used}, {busy}\n"
            modes += f"{uuid}, Disabled, Default, 0, None\n"
            apps += "".join(f"{uuid}, {pid}, {mb}, /usr/bin/python3\n" for pid, mb in self.users[uuid].items())
        self.says("--query-gpu=index", cards)
        self.says("--query-gpu=uuid,mig.mode.current,compute_mode,ecc", modes)
        self.says("--query-compute-apps", apps)

    def occupy(self, uuid: str, pid: int, memory_mb: int = 4000) -> None:
        self.users[uuid][pid] = memory_mb
        self.show()

    def leave(self, uuid: str, pid: int) -> None:
        self.users[uuid].pop(pid, None)
        self.show()
