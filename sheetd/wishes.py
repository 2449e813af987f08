"""What people wish of a host holds for every project, whichever of them hears of it.

The command line tells all of them. A word in a tab of hosts is read by one, which passes it on before it records that
it has obeyed: after a crash in between it is passed on again, and what is so already changes nothing. A project that
is new begins with the drains of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sheetd.core.events import Event, HostActionConsumed
from sheetd.core.hosts_tab import BY
from sheetd.core.state import State
from sheetd.journal import JournalReader, SqliteJournal


class ProjectJournal(SqliteJournal):
    """The journal of one of several projects. Once it knows the others, it leaves requests with them."""

    _others: Sequence[ProjectJournal] = ()
    _wake: Callable[[], None] | None = None

    def pass_on(self, others: Sequence[ProjectJournal], wake: Callable[[], None]) -> None:
        """From now on. `wake` tells their loops, and may be called from any thread."""
        self._others, self._wake = others, wake

    def append(self, events: Sequence[Event]) -> None:
        """As `SqliteJournal.append`; a wish that cannot be passed on is not recorded either."""
        wishes = [event for event in events if isinstance(event, HostActionConsumed) and event.obeyed]
        for other in self._others:
            for wish in wishes:
                other.add_request(wish.action, wish.host, by=BY)
        super().append(events)
        if wishes and self._wake is not None:
            self._wake()


def begin_with_drains(journals: Sequence[SqliteJournal]) -> None:
    """Have those that hold nothing yet keep away from the hosts that are drained in any other."""
    new = [journal for journal in journals if not JournalReader(journal.folder).last_number()]
    if not new:
        return
    drained: dict[str, str] = {}
    for journal in journals:
        state = State()
        for event in () if journal in new else journal.load():
            state.apply(event, 0.0)
        drained |= {name: health.drained_by for name, health in state.health.items() if health.drained_by}
    for journal in new:
        for name, by in drained.items():
            journal.add_request("drain", name, by=by)
