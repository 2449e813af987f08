"""Stand-ins for the programs of systemd and launchd, first on PATH: they write down their calls, and obey notes.

All they know is in one folder: `calls`, what `show` or `print` answers, and `fails-VERB` with what that verb complains
of. No stand-in runs a daemon: whoever is "started" is the process that the test names.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sheetd.journal.lock import Holder

SYSTEMCTL = """\
#!/bin/sh
echo "systemctl $*" >> "$FAKE/calls"
while test "${1#--}" != "$1"; do shift; done
if test -e "$FAKE/no-manager"; then echo "Failed to connect to bus: No medium found" >&2; exit 1; fi
if test -e "$FAKE/fails-$1"; then cat "$FAKE/fails-$1" >&2; exit 1; fi
case $1 in
  show) cat "$FAKE/state" ;;
  start | restart) cat "$FAKE/running" > "$FAKE/state" ;;
  disable) : > "$FAKE/state" ;;
esac
"""
LAUNCHCTL = """\
#!/bin/sh
echo "launchctl $*" >> "$FAKE/calls"
if test -e "$FAKE/fails-$1"; then cat "$FAKE/fails-$1" >&2; exit 5; fi
case "$1 $2" in
  "print gui/"*/*) test -s "$FAKE/state" || { echo "Could not find service" >&2; exit 113; }; cat "$FAKE/state" ;;
  bootstrap* | kickstart*) cat "$FAKE/running" > "$FAKE/state" ;;
  bootout*) : > "$FAKE/state" ;;
esac
"""
LOGINCTL = """\
#!/bin/sh
echo "loginctl $*" >> "$FAKE/calls"
while test "${1#--}" != "$1"; do shift; done
if test -e "$FAKE/fails-$1"; then cat "$FAKE/fails-$1" >&2; exit 1; fi
case $1 in
  show-user) cat "$FAKE/linger" ;;
  enable-linger) echo yes > "$FAKE/linger" ;;
esac
"""
JOURNALCTL = """\
#!/bin/sh
echo "journalctl $*" >> "$FAKE/calls"
cat "$FAKE/log"
"""

RUNNING = """\
MainPID={pid}
NRestarts=2
Result=success
ActiveState=active
SubState=running
UnitFileState=enabled
ActiveEnterTimestampMonotonic=1000000
"""
RUNNING_ON_A_MAC = """\
gui/501/sheetd-lab = {{
\tactive count = 1
\tpath = /Users/kim/Library/LaunchAgents/sheetd-lab.plist
\tstate = running

\tprogram = /usr/bin/python3
\truns = 3
\tpid = {pid}
\tlast exit code = 1
\tspawn type = daemon (3)

\tendpoints = {{
\t\tstate = active
\t\tpid = 7
\t}}
}}
"""


class FakeManager:
    """One machine's service managers."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, *, running: str = RUNNING) -> None:
        self.folder = folder
        self.pid = os.getpid()
        programs = folder / "bin"
        programs.mkdir(parents=True)
        named = {"systemctl": SYSTEMCTL, "launchctl": LAUNCHCTL, "loginctl": LOGINCTL, "journalctl": JOURNALCTL}
        for name, text in named.items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        self.note("running", running.format(pid=self.pid))
        for name, text in {"state": "", "linger": "no\n", "log": "", "calls": ""}.items():
            self.note(name, text)
        monkeypatch.setenv("FAKE", str(folder))
        monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")

    def note(self, name: str, text: str = "") -> None:
        (self.folder / name).write_text(text)

    def fail(self, verb: str, complaint: str) -> None:
        self.note(f"fails-{verb}", complaint)

    def mend(self, verb: str) -> None:
        (self.folder / f"fails-{verb}").unlink()

    def calls(self) -> list[str]:
        """What was asked since the last time, but for looking."""
        lines = (self.folder / "calls").read_text().splitlines()
        self.note("calls")
        plain = [line.replace(" --user", "").replace(" --no-ask-password", "") for line in lines]
        return [line for line in plain if line.split()[1] not in ("show", "show-user", "print")]

    def holder(self, _state_dir: Path) -> Holder | None:
        """Who holds the lab: the service, while it runs."""
        is_running = bool((self.folder / "state").read_text())
        return Holder(pid=self.pid, host="here") if is_running else None
