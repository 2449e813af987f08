"""The journal as other processes see it: `sheetd status`, `sheetd log`, tests.

Reads only, beside a running daemon or after it was killed, and never makes it wait. Each call opens the files anew, so
a reader may be kept as long as one likes and holds nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sheetd.core.metrics import MetricSummary
from sheetd.core.model import AttemptId, ExperimentId
from sheetd.errors import JournalError
from sheetd.journal import records
from sheetd.journal.cache import CACHE_NAME, View, read_metrics, read_view
from sheetd.journal.database import open_for_reading
from sheetd.journal.lock import Holder, holder_of
from sheetd.journal.migrations import is_migrated, refuse_newer
from sheetd.journal.sqlite import JOURNAL_NAME

_NONE_YET = "there is no journal in {} yet: start the daemon once"


class JournalReader:
    """Raises JournalError when the folder holds no journal, or one from a newer sheetd."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._journal = folder / JOURNAL_NAME
        self._cache = folder / CACHE_NAME
        if not self._journal.exists():
            raise JournalError(_NONE_YET.format(folder))
        with open_for_reading(self._journal) as connection:
            if not is_migrated(connection):
                raise JournalError(_NONE_YET.format(folder))  # a daemon is making it at this very moment
            refuse_newer(connection, self._journal)

    def daemon(self) -> Holder | None:
        """The daemon that is alive now, or None. The lock says so: a killed daemon is never taken for a live one."""
        return holder_of(self.folder)

    def epoch(self) -> int:
        """How many times a daemon has taken over this journal."""
        with open_for_reading(self._journal) as connection:
            return int(connection.execute("SELECT epoch FROM epoch").fetchone()[0])

    def last_number(self) -> int:
        """That of the newest event, or 0."""
        with open_for_reading(self._journal) as connection:
            return int(connection.execute("SELECT coalesce(max(number), 0) FROM events").fetchone()[0])

    def events(self, *, after: int = 0, experiment: ExperimentId | None = None) -> tuple[records.Recorded, ...]:
        """Everything recorded after that number, or only what belongs to one experiment."""
        with open_for_reading(self._journal) as connection:
            return tuple(records.read(connection, self._journal, after=after, experiment=experiment))

    def metrics(self, attempt: AttemptId) -> Mapping[str, MetricSummary]:
        """Empty when nothing was reported yet."""
        if not self._cache.exists():
            return {}
        with open_for_reading(self._cache) as connection:
            return read_metrics(connection, attempt)

    def view(self, name: str) -> View | None:
        if not self._cache.exists():
            return None
        with open_for_reading(self._cache) as connection:
            return read_view(connection, name)
