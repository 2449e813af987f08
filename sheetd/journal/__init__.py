"""The record that sheetd recovers from, in one folder on a local disk of the daemon's machine.

    daemon.lock      flock held by the daemon that writes; its text says who that is
    journal.sqlite   the events, each durable before its effect is tried; one writer, only ever appended to
    requests.sqlite  what people asked for on the command line, and the answers
    cache.sqlite     metrics, byte offsets and views: can be asked again, so losing this file loses nothing

Each file has its own reason to exist: the command line must be able to write while a daemon runs without ever holding
the journal's write lock, and the cache must be able to write often without paying for an fsync.
"""

from sheetd.journal.cache import View
from sheetd.journal.lock import Holder, hold
from sheetd.journal.reader import JournalReader
from sheetd.journal.records import Recorded
from sheetd.journal.requests import Request, RequestStore
from sheetd.journal.sqlite import JOURNAL_NAME, SqliteJournal

__all__ = [
    "JOURNAL_NAME",
    "Holder",
    "JournalReader",
    "Recorded",
    "Request",
    "RequestStore",
    "SqliteJournal",
    "View",
    "hold",
]
