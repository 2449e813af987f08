"""How durations and moments are told to people."""

from __future__ import annotations

from datetime import datetime, timezone

#: Ten years.
LONGEST_S = 315_576_000.0


def duration_text(seconds: float) -> str:
    """A duration as people say it, coarser as it grows, so that a running row does not cost a write each second.

    Empty where no clock could have said so: ages come from hosts, and estimates from what a job reports.
    """
    if not 0.0 <= seconds < LONGEST_S:
        return "" if seconds >= LONGEST_S else "0 s"
    whole = int(seconds)
    if whole < 10:
        return f"{whole} s"
    if whole < 60:
        return f"{whole // 10 * 10} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min" if whole < 36000 else f"{whole // 3600} h"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def wall_text(wall_s: float | None) -> str:
    """A wall time for people, in UTC: the sheet is read in several time zones."""
    return "" if wall_s is None else f"{datetime.fromtimestamp(wall_s, timezone.utc):%Y-%m-%d %H:%M} UTC"
