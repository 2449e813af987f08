"""What stands behind each header of ours: a note that explains the column in one sentence, and how wide it is at first.

Parameters and a person's own columns have neither: what they mean is not ours to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from sheetd.core.colours import Heading
from sheetd.core.rows import Column, ColumnKind


class About(NamedTuple):
    """A sentence that ends where the note ends, and a width in pixels."""

    note: str
    width: int


#: By the canonical name of the column.
COLUMNS: Mapping[str, About] = {
    "template": About("which of the operator's recipes this row runs; may be empty when there is only one", 130),
    "action": About(
        "run, stop, restart (last checkpoint), rerun (from nothing), pause or resume; each word is obeyed once", 90
    ),
    "where": About("a label, a word of a GPU's model such as a100, or the name of a host; empty is anywhere", 100),
    "gpus": About("how many GPUs or slots it takes, from 1; empty is what the template says", 60),
    "priority": About("a number; among the rows that wait the larger goes first, and empty is 0", 95),
    "after": About(
        "rows that have to succeed first: ids or names with commas between, or previous for the row above", 110
    ),
    "repeat": About("how often each combination of values is run, from 1; empty is once", 80),
    "id": About("the name of this row's experiment for good, written by the daemon; it moves with the row", 80),
    "status": About("where the experiment is, in one word that also colours the row; written by the daemon", 105),
    "message": About("why the row is where it is, and what happens next or what to do; written by the daemon", 360),
    "host": About("the machine on which the newest attempt runs or ran; written by the daemon", 110),
    "attempt": About("the number of the newest execution: 2 and more were begun again; written by the daemon", 90),
    "progress": About("the part that is done, from step and total_steps of what the program logs", 95),
    "eta": About("how long it takes yet at the pace so far, where the program logs total_steps", 75),
    "started": About("when the experiment began to run; written by the daemon", 150),
    "runtime": About("how long the newest attempt has run, or all runs of the row together; written by the daemon", 85),
    "code": About(
        "the first signs of the hash of the code that was frozen for this row; later edits change later rows", 100
    ),
}
METRICS: Mapping[str, About] = {
    "last": About("the last value of {metric} that the program reported", 85),
    "min": About("the smallest value of {metric} so far", 85),
    "max": About("the largest value of {metric} so far", 85),
    "mean": About("the mean of all values of {metric} so far", 85),
    "curve": About("all values of {metric} so far as a small line, from the first on the left", 150),
}
HOSTS_TAB: Mapping[str, About] = {
    "host": About("the name of the machine in sheetd.toml", 120),
    "action": About("drain (nothing new goes there), resume (use it again) or retest; each word is obeyed once", 90),
    "state": About("whether the machine is used, in one word that also colours the row", 105),
    "why": About("why it is in this state, and until when", 360),
    "free": About("how many of its slots are free now", 60),
    "slots": About("how many slots it has", 70),
    "used by": About("which experiments hold its slots", 160),
    "others": About("who else uses its accelerators, as far as the machine tells", 160),
    "machine": About("what it is made of", 200),
    "seen": About("when it last answered", 110),
}
RUNS_TAB: Mapping[str, About] = {
    "run": About("the id of one run of a row that stands for several: `sheetd logs` and `sheetd stop` take it", 95),
    "group": About("the id of the row that it belongs to", 80),
    "status": About("where this run is, in one word that also colours the line", 105),
    **{name: COLUMNS[name] for name in ("message", "host", "attempt", "started", "runtime")},
}


@lru_cache(maxsize=8)  # asked for in each turn, and columns rarely change
def headings(columns: tuple[Column, ...]) -> tuple[Heading, ...]:
    """Of the columns of a tab of experiments."""
    found = []
    for column in columns:
        if column.kind in (ColumnKind.CONTROL, ColumnKind.SYSTEM):
            found.append(heading(column.position, COLUMNS[column.name]))
        elif column.kind is ColumnKind.METRIC:
            metric, _, view = column.name.rpartition(":")
            about = METRICS[view]
            found.append(heading(column.position, about._replace(note=about.note.replace("{metric}", metric))))
    return tuple(found)


def headings_by(abouts: Mapping[str, About], positions: Mapping[str, int]) -> tuple[Heading, ...]:
    """Of a tab whose columns are known by their headers."""
    return tuple(heading(positions[name], about) for name, about in abouts.items() if name in positions)


def heading(column: int, about: About) -> Heading:
    return Heading(column=column, note=about.note, width=about.width)
