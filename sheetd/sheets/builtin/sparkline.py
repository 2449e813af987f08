"""The drawing that a SPARKLINE of literal numbers asks for, as the page draws it.

Only literals are understood, `=SPARKLINE({1,2,3},{"color","green"})`: that is what sheetd writes into a curve cell. A
formula over cells gives no drawing rather than a wrong one.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any

from sheetd.sheets.builtin.typed import unquote

MOST_POINTS = 500

_CALL = re.compile(
    r"=\s*SPARKLINE\(\s*\{(?P<values>[^{}]*)\}\s*(?:[,;]\s*\{(?P<options>[^{}]*)\}\s*)?\)\s*", re.IGNORECASE
)
_ITEM = re.compile(r'\s*("(?:[^"]|"")*"|[^,;"]*?)\s*(?:[,;]|$)')
_TYPES = frozenset({"line", "column", "bar", "winloss"})
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}|[a-z]{3,20}")


@lru_cache(maxsize=2048)
def drawing(formula: str) -> dict[str, Any] | None:
    """What the page shall draw: values, type, colour, limits; None when the formula is not made of literals."""
    call = _CALL.fullmatch(formula)
    if call is None:
        return None
    values = [_number(item) for item in _items(call["values"])]
    if not values or len(values) > MOST_POINTS or any(value is None for value in values):
        return None
    answer: dict[str, Any] = {"values": values, "type": "line"}
    words = _items(call["options"] or "")
    for name, value in zip(words[::2], words[1::2], strict=False):
        key = _text(name).lower()
        if key == "charttype" and _text(value).lower() in _TYPES:
            answer["type"] = _text(value).lower()
        elif key == "color" and _COLOUR.fullmatch(_text(value)):
            answer["color"] = _text(value)
        elif key in {"ymin", "ymax"} and _number(value) is not None:
            answer[key] = _number(value)
    return answer


def _items(text: str) -> list[str]:
    found, at = [], 0
    while at < len(text):
        match = _ITEM.match(text, at)
        if match is None or match.end() == at:
            return []
        found.append(match[1])
        at = match.end()
    return found


def _text(item: str) -> str:
    return unquote(item) if item.startswith('"') else item


def _number(item: str) -> float | None:
    try:
        value = float(item)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
