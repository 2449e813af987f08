"""What a row shows of a metric: the last value, the extremes, the mean. Bounded, however long the job reports.

Metrics are data. No reported line can change an experiment's state.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from sheetd.core.observation import MetricPoint

#: A job may report any names; only so many are kept per attempt.
NAMES_MAX = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSummary:
    """All reports of one metric by one attempt, folded. `step` is that of the last report."""

    last: float
    minimum: float
    maximum: float
    total: float
    count: int
    step: float | None = None

    @property
    def mean(self) -> float:
        return self.total / self.count

    def view(self, name: str) -> float | None:
        """The number behind a column such as `loss:min`."""
        number = {"last": self.last, "min": self.minimum, "max": self.maximum, "mean": self.mean}[name]
        return number if math.isfinite(number) else None


def add_points(summaries: Mapping[str, MetricSummary], points: Iterable[MetricPoint]) -> dict[str, MetricSummary]:
    """The summaries with the points folded in. Values that are not finite do not count."""
    folded = dict(summaries)
    for point in points:
        for name, value in point.values.items():
            if not math.isfinite(value):
                continue
            old = folded.get(name)
            if old is not None:
                folded[name] = replace(
                    old,
                    last=value,
                    minimum=min(old.minimum, value),
                    maximum=max(old.maximum, value),
                    total=old.total + value,
                    count=old.count + 1,
                    step=point.step,
                )
            elif len(folded) < NAMES_MAX:
                folded[name] = MetricSummary(
                    last=value, minimum=value, maximum=value, total=value, count=1, step=point.step
                )
    return folded


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
