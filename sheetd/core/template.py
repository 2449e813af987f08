"""A template: what the operator allows a row to execute, and how cells fill its placeholders.

A cell fills exactly one argv element or the value of one `--name={x}`; there is no shell, so no quoting. A value that
begins with `-` is refused where it would stand alone, since the program would read it as an option.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from sheetd.core.model import MetricRule, Restarts, Value

PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


class ParamType(str, Enum):
    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    CHOICE = "choice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """One typed parameter. `default` None means that the cell must be filled."""

    name: str
    type: ParamType = ParamType.TEXT
    default: Value | None = None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    pattern: str | None = None
    max_length: int = 4096
    #: A running job is given a new value (`live_edits`).
    live: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A checked template, built by `sheetd.templates` from TOML. `code` is the folder to snapshot, or None."""

    name: str
    command: tuple[str, ...]
    resume_command: tuple[str, ...] = ()
    params: Mapping[str, Param] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    code: str | None = None
    cwd: str | None = None
    slots: int = 1
    memory_gb: float = 0.0
    share: int = 1
    where: str = ""
    grace_s: float = 60.0
    restarts: Restarts = field(default_factory=Restarts)
    relaunches: int = 10
    #: A row that asks for what was done already begins all the same (`repeats`).
    allow_repeats: bool = False
    metrics: tuple[MetricRule, ...] = ()


def placeholders(element: str) -> tuple[str, ...]:
    """The parameter names that one argv element mentions."""
    return tuple(PLACEHOLDER.findall(element))


def fill(command: tuple[str, ...], values: Mapping[str, Value]) -> tuple[str, ...]:
    """The argv with every placeholder replaced by its value. Values are not searched for placeholders again."""
    return tuple(PLACEHOLDER.sub(lambda found: as_argument(values[found[1]]), element) for element in command)


def as_argument(value: Value) -> str:
    """How a value is spelled on a command line: numbers in the shortest form that reads back as the same number."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e16:
        return str(int(value))
    return str(value)
