"""A smaller run that breaks the same promise: fewer kinds of fault, a shorter time, fewer rows, fewer hosts.

Nothing is replayed from a recording: each candidate is a run of its own from the same seed, and counts when it breaks
the same invariant. That works because chance has one stream for each purpose (`Engine.stream`): what is left out
disturbs the rest only through what it would have done. Weak: a smaller run may break the promise in another way than
the one it was made from, and the smallest that is found is not the smallest that there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.sim.world import Report, Setting, simulate

Run = Callable[[Setting], Report]


def promise_of(report: Report) -> str:
    """What was broken, without who and when: `I7`, or the kind of an exception."""
    first, _, rest = report.violation.partition(":")
    return f"{first}:{rest.partition(':')[0]}" if first == "an exception" else first


def setting_of(report: Report) -> Setting:
    """The run with everything that was drawn for it said. It is the same run."""
    return Setting(
        seed=report.seed, kinds=set(report.kinds), duration=report.duration, rows=report.rows, hosts=report.hosts
    )


def smaller(report: Report) -> Iterator[Setting]:
    """Candidates, the boldest first."""
    setting = setting_of(report)
    kinds = sorted(report.kinds)
    size = len(kinds)
    while size:
        for first in range(0, len(kinds), size):
            yield replace(setting, kinds=set(kinds[:first] + kinds[first + size :]))
        size //= 2
    for rows in sorted({1, report.rows // 2, report.rows - 1}):
        if 0 < rows < report.rows:
            yield replace(setting, rows=rows)
    for hosts in range(1, report.hosts):
        yield replace(setting, hosts=hosts)
    times = {report.seconds + 1.0, report.duration / 4, report.duration / 2, report.duration * 3 / 4}
    for seconds in sorted({float(int(one)) for one in times}):
        if 1.0 <= seconds < report.duration:
            yield replace(setting, duration=seconds)


def shrink(found: Report, run: Run = simulate) -> Iterator[tuple[Report, int]]:
    """Each smaller failure, with how many runs were tried so far; also after each run that did not help.

    The last one that is given is such that no candidate of it fails in the same way.
    """
    best, promise, tried = found, promise_of(found), 0
    known: set[str] = set()
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for candidate in smaller(best):
            if candidate.options() in known:
                continue
            known.add(candidate.options())
            report, tried = run(candidate), tried + 1
            if report.violation and promise_of(report) == promise:
                best, is_smaller = report, True
            yield best, tried
            if is_smaller:
                break


def size_of(report: Report) -> str:
    return f"{len(report.kinds)} kinds of fault, {report.duration:g} s, {report.rows} rows, {report.hosts} hosts"
