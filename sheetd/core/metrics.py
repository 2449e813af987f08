"""What a row shows of a metric: the last value, the extremes, the mean. Bounded, however long the job reports.

Metrics are data. No reported line can change an experiment's state.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sheetd.core.observation import MetricPoint

#: A job may report any names; only so many are kept per attempt.
NAMES_MAX = 100
#: Points kept per metric, for the little curve in a cell.
RECENT_MAX = 120
#: A point: its step (nan for none) and its value.
_POINT = struct.Struct("<dd")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSummary:
    """All reports of one metric by one attempt, folded. `step` is that of the last."""

    last: float
    minimum: float
    maximum: float
    mean: float
    count: int
    step: float | None = None
    #: The last points, packed: those of ten thousand experiments are in memory, and are read from disk at each start.
    recent: bytes = b""

    def points(self) -> list[tuple[float | None, float]]:
        """Step and value of the last reports, oldest first."""
        return [(None if math.isnan(step) else step, value) for step, value in _POINT.iter_unpack(self.recent)]

    def view(self, name: str) -> float:
        """The number behind a column such as `loss:min`."""
        return {"last": self.last, "min": self.minimum, "max": self.maximum, "mean": self.mean}[name]


def add_points(summaries: Mapping[str, MetricSummary], points: Iterable[MetricPoint]) -> dict[str, MetricSummary]:
    """The summaries with the points folded in. Values that are not finite do not count."""
    folded = dict(summaries)
    for point in points:
        step = point.step if point.step is not None and math.isfinite(point.step) else None
        for name, value in point.values.items():
            if math.isfinite(value) and (name in folded or len(folded) < NAMES_MAX):
                folded[name] = _with(folded.get(name), step, float(value))
    return folded


def _with(old: MetricSummary | None, step: float | None, value: float) -> MetricSummary:
    point = _POINT.pack(math.nan if step is None else step, value)
    if old is None:
        return MetricSummary(last=value, minimum=value, maximum=value, mean=value, count=1, step=step, recent=point)
    count = old.count + 1
    return MetricSummary(
        last=value,
        minimum=min(old.minimum, value),
        maximum=max(old.maximum, value),
        # Not a sum divided by a count: the sum of large finite numbers is not finite.
        mean=old.mean + (value / count - old.mean / count),
        count=count,
        step=step,
        recent=old.recent[-_POINT.size * (RECENT_MAX - 1) :] + point,
    )


def progress(summaries: Mapping[str, MetricSummary]) -> float | None:
    """How far the job says it is, from 0 to 1: its own `progress`, or its step out of `total_steps`."""
    own = summaries.get("progress")
    if own is not None:
        return min(max(own.last, 0.0), 1.0)
    total = summaries.get("total_steps")
    steps = [summary.step for summary in summaries.values() if summary.step is not None]
    if total is None or total.last <= 0 or not steps:
        return None
    return min(max(max(steps) / total.last, 0.0), 1.0)
