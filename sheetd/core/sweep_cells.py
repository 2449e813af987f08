"""A parameter cell that stands for several values: `{0.1 | 0.01}`, `1..5`, `0..1 step 0.25`, `1e-4..1e-1 log 7`.

Only reads: one text becomes several, and `validation` judges each as if it had been typed alone. Braces with a bar are
alternatives for every type; ranges are for numbers only, so `a..b` in a text stays what it is. A backslash in front of
the brace takes the meaning away. What a cell would make is counted before anything is made.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from decimal import Decimal
from math import prod
from typing import NamedTuple

from sheetd.core.model import Spec, Value
from sheetd.core.template import ParamType, Template, fill

#: More runs than this are refused whoever asks for them: each costs memory and a place in the journal.
RUNS_MAX = 10_000
#: Nobody reads a number with more digits.
MANY = 10**12
REPEAT_VARIABLE = "SHEETD_REPEAT"
_NUMBER = r"[-+]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?"
_RANGE = re.compile(
    rf"(?P<low>{_NUMBER})\s*\.\.(?!\.)\s*(?P<high>{_NUMBER})(?:\s+(?P<how>step|log)\s+(?P<size>{_NUMBER}))?", re.ASCII
)
_LIST = re.compile(r"\{(?P<inner>.*\|.*)\}", re.DOTALL)
_LITERAL = re.compile(r"\\+\{.*\|.*\}", re.DOTALL)
_NUMBERS = (ParamType.NUMBER, ParamType.INTEGER)


class BadSweep(Exception):  # noqa: N818 - carries one sentence to the row
    """The cell is meant for several values, and they cannot be told."""


class Axis(NamedTuple):
    """A parameter and the values that it takes in turn."""

    name: str
    values: tuple[Value, ...]


def alternatives(text: str, type_: ParamType) -> tuple[str, ...] | None:
    """The texts that a cell stands for; one, where it only looked like several; None for an ordinary cell.

    Raises BadSweep with what is wrong, as the end of a sentence that begins with the parameter's name.
    """
    stripped = text.strip()
    if _LITERAL.fullmatch(stripped):
        return (stripped[1:],)
    if (listed := _LIST.fullmatch(stripped)) is not None:
        return _listed(listed["inner"])
    if type_ in _NUMBERS and (ranged := _RANGE.fullmatch(stripped)) is not None:
        return _ranged(ranged, is_whole=type_ is ParamType.INTEGER)
    return None


def _listed(inner: str) -> tuple[str, ...]:
    if "{" in inner or "}" in inner:
        raise BadSweep("has braces within braces: type {a | b}, or \\{ in front if the braces are part of the text")
    texts = tuple(part.strip() for part in inner.split("|"))
    if not all(texts):
        raise BadSweep("has an empty place between its bars: type {a | b}, or \\{ in front if it is one text")
    _refuse_too_many(len(texts))
    return texts


def _ranged(found: re.Match[str], *, is_whole: bool) -> tuple[str, ...]:
    low, high = Decimal(found["low"]), Decimal(found["high"])
    if low > high:
        raise BadSweep(f"counts down: type {found['high']}..{found['low']}, the smaller number first")
    if found["how"] == "log":
        return _logarithmic(found, is_whole=is_whole)
    if found["how"] is None and (low != low.to_integral_value() or high != high.to_integral_value()):
        raise BadSweep(f"needs a step: type {found['low']}..{found['high']} step 0.1, or log 5 for five of them")
    step = Decimal(found["size"] or 1)
    if step <= 0:
        raise BadSweep("has a step that is not above 0: type a larger one")
    steps = (high - low) / step
    _refuse_too_many(steps + 1)
    return tuple(str(low + step * index) for index in range(int(steps) + 1))


def _logarithmic(found: re.Match[str], *, is_whole: bool) -> tuple[str, ...]:
    low, high, size = float(found["low"]), float(found["high"]), Decimal(found["size"])
    if low <= 0.0:
        raise BadSweep("begins at or below 0, where no logarithm is: type a first number above 0")
    if size != size.to_integral_value() or size < 2:
        raise BadSweep(f"asks for {found['size']} numbers: type log and a whole number from 2")
    _refuse_too_many(size)
    count = int(size)
    between = (low * (high / low) ** (index / (count - 1)) for index in range(1, count - 1))
    # Six digits are what a person would have typed.
    inner = (str(round(number)) if is_whole else f"{number:.6g}" for number in between)
    return (found["low"], *inner, found["high"])


def _refuse_too_many(count: int | Decimal) -> None:
    if count >= RUNS_MAX + 1:
        raise BadSweep(f"stands for {counted(count)} values, more than {RUNS_MAX:,}: type fewer")


def counted(count: int | Decimal) -> str:
    return f"{int(count):,}" if count < MANY else f"over {MANY:,}"


def count_of(axes: Iterable[Axis], repeat: int) -> int:
    """How many runs they make, without making them."""
    return repeat * prod(len(axis.values) for axis in axes)


def members(spec: Spec, axes: tuple[Axis, ...], repeat: int, template: Template) -> Iterator[Spec]:
    """What each run executes: the last column varies fastest, and repeats faster still."""
    for values in itertools.product(*(axis.values for axis in axes)):
        params = {**spec.params, **dict(zip((axis.name for axis in axes), values, strict=True))}
        one = replace(
            spec,
            params=params,
            argv=fill(template.command, params),
            resume_argv=fill(template.resume_command, params),
        )
        for number in range(1, repeat + 1):
            yield one if repeat == 1 else replace(one, env={**one.env, REPEAT_VARIABLE: str(number)})


def sameness(spec: Spec) -> tuple[object, ...]:
    """By this a run is recognised when its row makes it again: its parameters, and which repetition it is."""
    params = sorted((name, type(value) is bool, value) for name, value in spec.params.items())
    # A first run that was alone and the first of several repetitions are the same run.
    return (spec.template, tuple(params), spec.env.get(REPEAT_VARIABLE, "1"))


def preview(axes: Iterable[Axis], repeat: int) -> str:
    """How the number of runs comes about, for the row."""
    parts = [f"{len(axis.values)} x {axis.name}" for axis in axes]
    return ", ".join([*parts, *([f"{repeat} x repeat"] if repeat > 1 else [])])
