"""A user's project: configuration, a template, a program that tells on itself, and the daemon as its own process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from sheetd.cli.picture import take_picture
from sheetd.config import load_settings
from sheetd.errors import JournalError, SheetdError
from sheetd.journal import JournalReader
from tests.rig.waiting import wait_for

#: Appends one line when it starts, reports a metric, ends as it is told. Pure standard library.
PROGRAM = """\
import os, sys, time
import sheetd

home, token, seconds, ending = sys.argv[1:5]
with open(os.path.join(home, "starts"), "a") as starts:
    starts.write("{} {} {}\\n".format(token, os.environ["SHEETD_ATTEMPT"], os.environ["SHEETD_RESTART"]))
steps = 10
for step in range(1, steps + 1):
    sheetd.log(step=step, loss=1.0 / step)
    time.sleep(float(seconds) / steps)
print("the end of", token, os.environ.get("LAB", ""))
if ending == "crash-once" and os.environ["SHEETD_RESTART"] == "0":
    sys.exit(3)
if ending == "bytes":
    sys.stdout.flush()
    os.write(1, bytes(range(256)) + b"\\x1b]0;title\\x07\\xe2\\x80\\xaebidi\\r\\xc2\\x9b31mC1\\r\\n")
if ending == "formula":
    sys.exit('=IMPORTDATA("http://127.0.0.1:9/")')
sys.exit(4 if ending == "fail" else 0)
"""

TEMPLATE = """\
command = ["python3", "job.py", "{home}", "{{token}}", "{{seconds}}", "{{ending}}"]
code = "../code"
restarts = {{ max = 1, backoff_s = 0.1 }}
grace_s = 5

[params.token]
type = "text"
[params.seconds]
type = "number"
[params.ending]
type = "choice"
choices = ["succeed", "fail", "crash-once", "formula", "bytes"]
default = "succeed"

[metrics]
loss = {{}}
"""

_TEMPLATES: Mapping[str, str] = MappingProxyType({"job": TEMPLATE})


class Project:
    """Files in a folder, and at most one daemon process."""

    def __init__(
        self,
        folder: Path,
        *,
        home: str,
        sheet: str,
        hosts: str,
        daemon: str = "",
        program: str = PROGRAM,
        templates: Mapping[str, str] = _TEMPLATES,
    ) -> None:
        self.folder = folder
        self.config = folder / "sheetd.toml"
        self.state = folder / "state"
        (folder / "templates").mkdir(parents=True)
        (folder / "code").mkdir()
        (folder / "code" / "job.py").write_text(program)
        for name, template in templates.items():
            (folder / "templates" / f"{name}.toml").write_text(template.format(home=home))
        self.config.write_text(f'[sheet]\n{sheet}\n[daemon]\nstate_dir = "state"\n{daemon}\n{hosts}')
        self.log = (folder / "daemon.log").open("ab")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, stdin: int = subprocess.DEVNULL, **environment: str) -> None:
        """Start the daemon; returns at once."""
        argv = [sys.executable, "-m", "sheetd", "run", "-v", "--config", str(self.config)]
        env = {**os.environ, **environment}
        self.process = subprocess.Popen(argv, stdout=self.log, stderr=self.log, stdin=stdin, env=env)

    def begin(self) -> None:
        """Start the daemon and wait until it works: from then on it can be asked to end in peace."""
        before = self.events()
        self.start()
        wait_for(lambda: self.events() > before, "the daemon has begun")

    def kill(self) -> None:
        """kill -9, and reap."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self, *, within_s: float = 20.0) -> int:
        """Ask the daemon to end in peace; its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(within_s)

    def stop_everything(self) -> None:
        """For the end of a test: have a daemon stop what still runs, and end."""
        try:
            live = take_picture(load_settings(self.config)).world.state.open
        except SheetdError:
            return  # no daemon has run here
        if not live:
            return
        if self.process is None or self.process.poll() is not None:
            self.start()
        self.command("stop", *live)
        wait_for(lambda: not take_picture(load_settings(self.config)).world.state.open, "everything is stopped")
        self.stop()

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self.log.close()

    def events(self) -> int:
        """How many events the journal holds, as another process sees it."""
        try:
            return len(JournalReader(self.state).events())
        except JournalError:
            return 0  # it was not made yet

    def command(self, *argv: str, check: bool = True) -> str:
        """What another `sheetd` process prints for this project."""
        full = [sys.executable, "-m", "sheetd", *argv, "--config", str(self.config)]
        env = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
        done = subprocess.run(full, capture_output=True, text=True, env=env, timeout=60, check=False)
        if check and done.returncode:
            raise AssertionError(f"{argv} ended with {done.returncode}: {done.stderr}")
        return done.stdout
