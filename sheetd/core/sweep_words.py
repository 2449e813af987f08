"""What the row of a group says of its runs: one word, how many are where, and their numbers taken together."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sheetd.core.grid import Shown
from sheetd.core.metrics import MetricSummary, progress, shown_number
from sheetd.core.model import ExperimentId
from sheetd.core.rows import ColumnKind, Layout
from sheetd.core.times import duration_text, wall_text
from sheetd.core.world import World

#: The first of these that a run has is the word of the group.
_PRECEDENCE = (
    *("running", "restarting", "launching", "stopping", "unreachable", "waiting"),
    *("failed", "paused", "stopped", "succeeded"),
)
_ENDED = frozenset({"succeeded", "failed", "stopped"})
_LIVE = frozenset({"running", "restarting"})
#: Of these one is told of with its reason.
_TOLD = ("failed", "unreachable", "stopping", "restarting", "launching", "waiting", "paused", "stopped")
HOSTS_TOLD = 3


class Told(NamedTuple):
    """One run: its status and why."""

    id: ExperimentId
    word: str
    story: str


def group_status(words: Sequence[str]) -> str:
    """Whatever goes on comes before what has ended, and what went wrong before what went well."""
    return next((word for word in _PRECEDENCE if word in words), "waiting")


def counts(runs: Sequence[Told]) -> str:
    """How many are where, and of the first that is not well why."""
    words = Counter(run.word for run in runs)
    parts = [f"{words['succeeded']} of {len(runs)} done"]
    parts += [f"{words[word]} {word}" for word in _PRECEDENCE if word != "succeeded" and words[word]]
    told = [", ".join(parts)]
    for word in _TOLD:
        first = next((run for run in runs if run.word == word and run.story), None)
        if first is not None:
            told.append(f"{first.id}: {first.story}")
    return "; ".join(told)


def group_cells(
    world: World, layout: Layout, told: Mapping[ExperimentId, tuple[str, float | None]]
) -> dict[str, Shown]:
    """The cells that sum up what is known of each run: by its id its status, and for how long it has run."""
    runs = [world.state.experiments[id_] for id_ in told]
    summaries = [{} if run.attempt is None else world.metrics.get(run.attempt.id, {}) for run in runs]
    cells: dict[str, Shown] = {}
    hosts = list(dict.fromkeys(run.attempt.host for run in runs if run.attempt is not None))
    more = f" and {len(hosts) - HOSTS_TOLD} more" if len(hosts) > HOSTS_TOLD else ""
    cells["host"] = ", ".join(hosts[:HOSTS_TOLD]) + more
    starts = [run.started_wall_s for run in runs if run.started_wall_s is not None]
    cells["started"] = wall_text(min(starts)) if starts else ""
    ran_s = [runtime_s for _, runtime_s in told.values() if runtime_s is not None]
    cells["runtime"] = duration_text(sum(ran_s)) if ran_s else ""
    words = [word for word, _ in told.values()]
    done = [1.0 if word in _ENDED else progress(known) or 0.0 for word, known in zip(words, summaries, strict=True)]
    if any(done):
        cells["progress"] = f"{sum(done) / len(done):.0%}"
        cells["eta"] = _eta(sum(done), len(done), sum(ran_s), sum(word in _LIVE for word in words))
    for column in layout.owned:
        if column.kind is ColumnKind.METRIC:
            name, _, view = column.name.rpartition(":")
            cells[column.name] = _together([known[name] for known in summaries if name in known], view)
    return cells


def _eta(done: float, count: int, ran_s: float, at_once: int) -> str:
    """If what is left takes as long for each run as what is done, and as many run at once as now."""
    if not at_once or not ran_s or done >= count:
        return ""
    return duration_text((count - done) * ran_s / done / at_once)


def _together(summaries: Sequence[MetricSummary], view: str) -> Shown:
    """The last values as mean and standard deviation, the best and the worst of all; no curve."""
    if not summaries or view == "curve":
        return None
    numbers = [summary.view(view) for summary in summaries]
    if view in ("min", "max"):
        return shown_number(min(numbers) if view == "min" else max(numbers))
    mean = sum(number / len(numbers) for number in numbers)  # the sum of large finite numbers is not finite
    deviation = _deviation(numbers, mean)
    if len(numbers) == 1 or view == "mean" or not math.isfinite(deviation):
        return shown_number(mean)
    return f"{mean:.4g} \u00b1 {deviation:.2g}"


def _deviation(numbers: Sequence[float], mean: float) -> float:
    """Of a sample. Scaled first: the squares of large finite numbers are not finite."""
    scale = max(abs(number - mean) for number in numbers)
    if scale == 0.0 or not math.isfinite(scale):
        return scale
    squares = sum(((number - mean) / scale) ** 2 for number in numbers)
    return float(scale * (squares / (len(numbers) - 1)) ** 0.5)
