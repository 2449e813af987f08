"""The little curve of a metric in a cell: its whole history in a bounded number of points, and the one formula of ours.

A `Curve` is made of small whole numbers and of nothing else, so no text of a job can become a formula. It shows a
shape: the lowest value is 0, the highest is `TOP`. Whole numbers between semicolons also mean the same in every
spreadsheet: a `formulaValue` is parsed in the spreadsheet's locale (googleapis/google-api-nodejs-client#1994), where a
comma may be the decimal separator, and `;` separates the rows of an array in all of them (that Google takes it
everywhere: mricon/ingress-fieldplan#5; not measured by us).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import final

#: Points of a curve at most. Even, since full ones are merged in pairs.
POINTS_MAX = 60
TOP = 99

_HEAD = struct.Struct("<Q")
_VALUE = struct.Struct("<d")
_FORMULA = re.compile(r"=SPARKLINE\(\{([0-9]{1,2}(?:[;,\\][0-9]{1,2})*)\}\)", re.IGNORECASE)


@final
@dataclass(frozen=True, slots=True)
class Curve:
    """A line to draw. Raises ValueError for anything but a few whole numbers from 0 to `TOP`."""

    points: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 2 <= len(self.points) <= POINTS_MAX:
            raise ValueError(f"a curve has 2 to {POINTS_MAX} points, not {len(self.points)}")
        if any(type(point) is not int or not 0 <= point <= TOP for point in self.points):
            raise ValueError(f"a curve is made of whole numbers from 0 to {TOP}")

    @property
    def formula(self) -> str:
        return f"=SPARKLINE({{{';'.join(f'{point:d}' for point in self.points)}}})"

    def is_shown_by(self, formula: str | None) -> bool:
        """Whether a formula as read draws it: another spelling of the same would be written again for ever."""
        found = _FORMULA.fullmatch(re.sub(r"\s", "", formula or ""))
        return found is not None and tuple(int(text) for text in re.split(r"[;,\\]", found[1])) == self.points


def with_value(history: bytes, value: float) -> bytes:
    """The history with one more finite value. Each kept number is the mean of equally many values, the last of fewer.

    What is kept depends on the values alone, not on how they came in.
    """
    count, means = _HEAD.unpack_from(history)[0] if history else 0, history[_HEAD.size :]
    stride = _stride(count)
    if count == stride * POINTS_MAX:
        pairs = zip(*[iter(_unpacked(history))] * 2, strict=True)
        means = b"".join(_VALUE.pack(left / 2 + right / 2) for left, right in pairs)
        stride *= 2
    part = count % stride + 1
    if part > 1:
        (mean,) = _VALUE.unpack(means[-_VALUE.size :])
        means, value = means[: -_VALUE.size], mean + (value / part - mean / part)
    return _HEAD.pack(count + 1) + means + _VALUE.pack(value)


def curve_of(history: bytes) -> Curve | None:
    """What to draw; None before there are two points."""
    means = _unpacked(history)
    if len(means) < 2:
        return None
    low, high = min(means), max(means)
    # Halved, for the distance of large finite numbers is not finite.
    height = high / 2 - low / 2
    return Curve(tuple([round(TOP * ((mean / 2 - low / 2) / height)) if height > 0 else TOP // 2 for mean in means]))


def _stride(count: int) -> int:
    """How many values one kept number stands for."""
    stride = 1
    while count > stride * POINTS_MAX:
        stride *= 2
    return stride


def _unpacked(history: bytes) -> list[float]:
    return [value for (value,) in _VALUE.iter_unpack(history[_HEAD.size :])]
