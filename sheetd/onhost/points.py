"""Metrics as points: from the lines that a job's library appended, or from its log by a template's regexes.

Both files are hostile input. Only finite numbers leave here as numbers; a line that is no metric is passed over, and no
line can be long enough to keep a regex busy.
"""

import json
import math
from typing import Any, Dict, List, Optional, Tuple

LINE_BYTES_MAX = 4096
VALUES_MAX = 64
NAME_CHARACTERS_MAX = 64

Json = Dict[str, Any]


def point_of(line: bytes) -> Optional[Json]:
    """A metrics line as a point, or None.

    The job's file is hostile input, and only finite numbers leave here as numbers.
    """
    try:
        said = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or not isinstance(said.get("values"), dict):
        return None
    values = {
        name: value for name, value in said["values"].items() if is_number(value) and len(name) <= NAME_CHARACTERS_MAX
    }
    odd = said.get("nonfinite")
    odd = odd if isinstance(odd, dict) else {}
    odd = {
        name: word for name, word in odd.items() if word in ("nan", "inf", "-inf") and len(name) <= NAME_CHARACTERS_MAX
    }
    if not (values or odd) or len(values) + len(odd) > VALUES_MAX:
        return None
    point: Json = {"k": said["k"] if isinstance(said.get("k"), int) else 0, "values": values}
    point.update({name: said[name] if is_number(said.get(name)) else None for name in ("step", "t")})
    if odd:
        point["nonfinite"] = odd
    return point


def is_number(value: Any) -> bool:
    return (
        isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e308 and math.isfinite(value)
    )


def scan_line(line: bytes, patterns: List[Tuple[str, Any]], k: int) -> Optional[Json]:
    """The point that a template's regexes find in a line of the log; a metric named `step` is the step."""
    values, odd = {}, {}
    for name, pattern in patterns:
        found = pattern.search(line)
        if found is None or not found.groups() or found.group(1) is None:
            continue
        try:
            number = float(found.group(1).decode("ascii"))
        except ValueError:
            continue
        if math.isfinite(number):
            values[name] = number
        else:
            odd[name] = str(number)
    step = values.pop("step", None)
    if not values and not odd:
        return None
    point: Json = {"k": k, "step": step, "t": None, "values": values}
    if odd:
        point["nonfinite"] = odd
    return point
