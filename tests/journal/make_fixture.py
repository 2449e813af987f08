"""Writes `journal_v1.sql` again. Only before version 1 is released: after that the file is what old journals look like.

python -m tests.journal.make_fixture
"""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path

from sheetd.journal import SqliteJournal
from sheetd.journal.sqlite import JOURNAL_NAME
from tests.journal.samples import ONE_OF_EACH

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        with SqliteJournal(Path(folder), wall_s=lambda: 1.7e9) as journal:
            journal.append(ONE_OF_EACH)
        connection = sqlite3.connect(Path(folder) / JOURNAL_NAME)
        text = "\n".join(connection.iterdump()) + "\n"
        connection.close()
    Path(__file__).with_name("journal_v1.sql").write_text(text, encoding="utf-8")
