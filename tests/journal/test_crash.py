"""A daemon that is killed at any moment loses nothing that it was told is recorded."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sheetd.core.events import RowVanished
from sheetd.journal import JournalReader, SqliteJournal

# Appends for ever; says a number only after the append of that number has returned.
WRITER = """
import sys
from pathlib import Path
from sheetd.core.events import RowVanished
from sheetd.journal import SqliteJournal
journal = SqliteJournal(Path(sys.argv[1]))
for number in range(10**9):
    journal.append([RowVanished(experiment=f"row{number}a"), RowVanished(experiment=f"row{number}b")])
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


@pytest.mark.parametrize("acknowledged", [1, 7, 60])
def test_kill_9_between_appends_loses_no_acknowledged_event(tmp_path: Path, acknowledged: int) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        said = [int(writer.stdout.readline()) for _ in range(acknowledged)]
        reader = JournalReader(tmp_path)
        holder = reader.daemon()
        assert holder is not None
        assert holder.pid == writer.pid
        assert len(reader.events()) >= 2 * acknowledged, "readable while the daemon writes"
        os.kill(writer.pid, signal.SIGKILL)
        said += [int(line) for line in writer.stdout]
    assert said == list(range(len(said)))

    assert reader.daemon() is None, "a killed daemon is not taken for a live one"
    after = reader.events()
    assert len(after) >= 2 * len(said), "readable after the daemon was killed"
    with SqliteJournal(tmp_path) as journal:
        events = journal.load()
        assert journal.epoch == 2
    assert [record.event for record in after] == list(events)
    assert len(events) % 2 == 0, "no half of a batch"
    for number in said:
        assert events[2 * number] == RowVanished(experiment=f"row{number}a")  # type: ignore[arg-type]
