"""What people ask for reaches the daemon, whichever sheetd they asked with."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sheetd.journal.requests import REQUESTS_NAME, RequestStore


def test_a_request_says_of_whom_or_what_and_by_whom(tmp_path: Path) -> None:
    store = RequestStore(tmp_path)
    store.add("stop", "k7p2xw")
    store.add("drain", "gpu1", by="kim")
    told = [(one.action, one.subject, one.by) for one in store.pending()]
    store.close()
    assert told == [("stop", "k7p2xw", ""), ("drain", "gpu1", "kim")]


def test_requests_of_before_hosts_could_be_spoken_of_are_still_heard(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / REQUESTS_NAME)
    old.executescript(
        """CREATE TABLE requests (
             number INTEGER PRIMARY KEY AUTOINCREMENT, action TEXT NOT NULL, experiment TEXT NOT NULL,
             wall_s REAL NOT NULL, answer TEXT);
           INSERT INTO requests (action, experiment, wall_s) VALUES ('stop', 'k7p2xw', 0.0);"""
    )
    old.close()
    for _ in range(2):
        store = RequestStore(tmp_path)
        told = [(one.number, one.action, one.subject, one.by) for one in store.pending()]
        store.close()
        assert told == [(1, "stop", "k7p2xw", "")]
