"""What a row shows of a metric: the last value, the extremes, the mean, a curve. Bounded, however long the job reports.

Metrics are data. No reported line can change an experiment's state.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sheetd.core.curve import with_value
from sheetd.core.observation import MetricPoint

#: A job may report any names; only so many are kept per attempt.
NAMES_MAX = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSummary:
    """All reports of one metric by one attempt, folded. `step` is that of the last."""

    last: float
    minimum: float
    maximum: float
    mean: float
    count: int
    step: float | None = None
    #: The whole history in a few numbers (`curve`), packed: those of ten thousand experiments are in memory, and are
    #: read from disk at each start.
    history: bytes = b""

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
    if old is None:
        history = with_value(b"", value)
        return MetricSummary(last=value, minimum=value, maximum=value, mean=value, count=1, step=step, history=history)
    count = old.count + 1
    return MetricSummary(
        last=value,
        minimum=min(old.minimum, value),
        maximum=max(old.maximum, value),
        # Not a sum divided by a count: the sum of large finite numbers is not finite.
        mean=old.mean + (value / count - old.mean / count),
        count=count,
        step=step,
        history=with_value(old.history, value),
    )


def shown_number(number: float) -> float:
    """Six digits are what a person compares; the exact values are on the host."""
    return float(f"{number:.6g}")


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
