"""What a row asks for: its typed cells, checked against its template. `intake` decides when it becomes an experiment.

The answer is a spec, or problems: sentences that say what to type instead. Nothing is guessed: a number that looks
like text, a decimal comma, an error value are refused, since a silently changed hyper-parameter costs weeks
(gspread's `numericise` turns "0,001" into 1).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import TypeVar

from sheetd.core.grid import Cell
from sheetd.core.model import Spec, Value, is_same
from sheetd.core.rows import CONTROL_HEADERS, Layout, Row, canonical, read_layout
from sheetd.core.sweep_cells import RUNS_MAX, Axis, BadSweep, alternatives, count_of, counted
from sheetd.core.template import Param, ParamType, Template, fill, placeholders

NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?", re.ASCII)
#: The whole numbers up to here are exact in a cell.
INTEGER_MAX = 2**53
WHERE_MAX = 200
#: A row waits for at most so many others, and none has a longer name.
AFTER_MAX, NAME_MAX = 50, 200
DECIMAL_COMMA = re.compile(r"[-+]?[0-9]+,[0-9]+", re.ASCII)
#: A number that a sheet shows as a date or a time: 46024 may look like 2026-01-02, 2.1.2026, 1/2/2026 or 2 Jan 2026.
_MOMENT = re.compile(
    r"""
      [0-9][:/][0-9]
    | ^\D*[0-9]{1,4}([-.])[0-9]{1,2}\1[0-9]{1,4}(?![0-9])
    | [0-9][ .-]+[^\W\d_]{3,}[ .-]+[0-9]
    | [^\W\d_]{3,}[ .]+[0-9]{1,2},[ ]*[0-9]{2,4}
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The row is valid. The code of the spec is still to be pinned: `code` names the folder.

    `after` is what the row calls those it waits for; who that is, only the other rows tell (`dependencies`). Where it
    stands for several runs, `axes` are the parameters that vary, and the spec is of the first.
    """

    spec: Spec
    code: str | None
    after: tuple[str, ...] = ()
    axes: tuple[Axis, ...] = ()
    repeat: int = 1

    @property
    def runs(self) -> int:
        return count_of(self.axes, self.repeat)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Why the row cannot be run, and what to type instead."""

    problems: tuple[str, ...]


Read = TypeVar("Read")


class _BadCell(Exception):  # noqa: N818 - carries one sentence to the row
    pass


def layout_by(templates: Mapping[str, Template], header: Iterable[Cell]) -> Layout:
    """The columns of a header row, by the parameters and metrics that the templates declare."""
    parameters = [name for template in templates.values() for name in template.params]
    metrics = [rule.name for template in templates.values() for rule in template.metrics]
    return read_layout(header, parameters, metrics)


def judge(row: Row, layout: Layout, templates: Mapping[str, Template]) -> Accepted | Refused:
    """What the row asks for, by its template."""
    if row.merged:
        return Refused(problems=(row.merged,))
    try:
        template = _template(row, layout, templates)
    except _BadCell as bad:
        return Refused(problems=(str(bad),))
    problems: list[str] = []
    no_names: tuple[str, ...] = ()

    def take(read: Callable[[Cell], Read], name: str, otherwise: Read) -> Read:
        try:
            return read(row.cell(layout.position(name)))
        except _BadCell as bad:
            problems.append(str(bad))
            return otherwise

    problems += [why for name, why in layout.lost.items() if name in template.params or name in CONTROL_HEADERS]
    axes = [Axis(param.name, take(partial(_values, param), param.name, ())) for param in template.params.values()]
    slots = take(partial(_slots, default=template.slots), "gpus", 1)
    priority = take(_priority, "priority", 0.0)
    where = take(_where, "where", "") or template.where
    after = take(_after, "after", no_names)
    repeat = take(_repeat, "repeat", 1)
    if not problems and (runs := count_of(axes, repeat)) > RUNS_MAX:
        problems.append(f"this row makes {counted(runs)} runs, more than {RUNS_MAX:,}: shorten a list or a range")
    if not problems:
        problems += dict.fromkeys(_leading_dashes(template, axes))
    if problems:
        return Refused(problems=tuple(problems))
    values = {axis.name: axis.values[0] for axis in axes}
    spec = Spec(
        template=template.name,
        argv=fill(template.command, values),
        resume_argv=fill(template.resume_command, values),
        params=values,
        env=template.env,
        secrets=template.secrets,
        cwd=template.cwd,
        slots=slots,
        memory_gb=template.memory_gb,
        share=template.share,
        where=where,
        priority=priority,
        grace_s=template.grace_s,
        restarts=template.restarts,
        relaunches=template.relaunches,
        metrics=template.metrics,
    )
    varying = tuple(axis for axis in axes if len(axis.values) > 1)
    return Accepted(spec=spec, code=template.code, after=after, axes=varying, repeat=repeat)


def _template(row: Row, layout: Layout, templates: Mapping[str, Template]) -> Template:
    wanted = canonical(row.cell(layout.position("template")).shown)
    names = ", ".join(sorted(templates)) or "none is configured"
    if not wanted:
        if len(templates) == 1:
            return next(iter(templates.values()))
        raise _BadCell(f"template is empty: type one of {names}")
    for name, template in templates.items():
        if canonical(name) == wanted:
            return template
    raise _BadCell(
        f"there is no template {_quoted(wanted)}: type one of {names} (templates are read when sheetd starts)"
    )


def _values(param: Param, cell: Cell) -> tuple[Value, ...]:
    """Everything that the cell stands for: nearly always one value."""
    if not isinstance(cell.value, str) or cell.error is not None:
        return (_value(param, cell),)
    try:
        texts = alternatives(cell.value, param.type)
    except BadSweep as bad:
        raise _BadCell(f"{param.name} {bad}") from None
    except ArithmeticError:
        raise _BadCell(f"{param.name} is {_quoted(cell.value)}: its numbers are too large or too small") from None
    if texts is None:
        return (_value(param, cell),)
    values = tuple(_value(param, Cell(value=text, shown=text)) for text in texts)
    seen: set[Value] = set()
    for text, value in zip(texts, values, strict=True):
        if value in seen:
            raise _BadCell(f"{param.name} says {_quoted(text)} twice: a column repeat runs the same more than once")
        seen.add(value)
    return values


def _value(param: Param, cell: Cell) -> Value:
    if cell.error is not None:
        raise _BadCell(f"{param.name} shows {cell.shown or cell.error}: type a value, or mend the formula")
    if cell.is_blank:
        if param.default is None:
            raise _BadCell(f"{param.name} is empty: type {_expected(param)}")
        return param.default
    return _READERS[param.type](param, cell)


def _number(param: Param, cell: Cell) -> float:
    if isinstance(cell.value, bool) or cell.value is None:
        raise _BadCell(f"{param.name} is {cell.shown}: type {_expected(param)}")
    if isinstance(cell.value, str):
        text = cell.value.strip(" ")
        if DECIMAL_COMMA.fullmatch(text):
            raise _BadCell(f"{param.name} is the text {_quoted(text)}: type it with a point, {text.replace(',', '.')}")
        if not NUMBER.fullmatch(text):
            raise _BadCell(f"{param.name} is the text {_quoted(text)}: type {_expected(param)}")
        number = float(text)
    elif _MOMENT.search(cell.shown):
        raise _BadCell(
            f"{param.name} shows {_quoted(cell.shown)}, which looks like a date or a time: type {_expected(param)}"
        )
    else:
        number = float(cell.value)
    if number in (float("inf"), float("-inf")):
        raise _BadCell(f"{param.name} is too large for a number: type {_expected(param)}")
    if param.minimum is not None and number < param.minimum:
        raise _BadCell(f"{param.name} is {number:g}, below {param.minimum:g}: type {_expected(param)}")
    if param.maximum is not None and number > param.maximum:
        raise _BadCell(f"{param.name} is {number:g}, above {param.maximum:g}: type {_expected(param)}")
    return number


def _integer(param: Param, cell: Cell) -> int:
    number = _number(param, cell)
    if not number.is_integer():
        raise _BadCell(f"{param.name} is {number:g}: type {_expected(param)}")
    if abs(number) > INTEGER_MAX:
        raise _BadCell(f"{param.name} is {number:g}, more digits than a cell keeps: type at most {INTEGER_MAX}")
    return int(number)


def _boolean(param: Param, cell: Cell) -> bool:
    if isinstance(cell.value, bool):
        return cell.value
    word = canonical(cell.shown)
    if word not in ("true", "false"):
        raise _BadCell(f"{param.name} is {_quoted(cell.shown)}: type TRUE or FALSE")
    return word == "true"


def _text(param: Param, cell: Cell) -> str:
    text = cell.value if isinstance(cell.value, str) else cell.shown
    if "\0" in text:
        raise _BadCell(f"{param.name} holds a NUL character, which no program can be given: remove it")
    if not _is_encodable(text):
        raise _BadCell(f"{param.name} holds half of a character, which no program can be given: type it again")
    if len(text) > param.max_length:
        raise _BadCell(f"{param.name} has {len(text)} characters, more than {param.max_length}: shorten it")
    if param.pattern is not None and not re.fullmatch(param.pattern, text):
        raise _BadCell(f"{param.name} is {_quoted(text)}: type something that matches {param.pattern}")
    return text


def _choice(param: Param, cell: Cell) -> str:
    wanted = canonical(cell.shown)
    for choice in param.choices:
        if canonical(choice) == wanted:
            return choice
    raise _BadCell(f"{param.name} is {_quoted(cell.shown)}: type one of {', '.join(param.choices)}")


_READERS: Mapping[ParamType, Callable[[Param, Cell], Value]] = {
    ParamType.TEXT: _text,
    ParamType.INTEGER: _integer,
    ParamType.NUMBER: _number,
    ParamType.BOOLEAN: _boolean,
    ParamType.CHOICE: _choice,
}


def _slots(cell: Cell, default: int) -> int:
    if cell.is_blank:
        return default
    if not isinstance(cell.value, float) or not cell.value.is_integer() or not 0 < cell.value <= 1024:
        raise _BadCell(f"gpus is {_quoted(cell.shown)}: type a whole number from 1, or leave it empty for {default}")
    return int(cell.value)


def _where(cell: Cell) -> str:
    text = cell.shown.strip()
    if cell.error is not None:
        raise _BadCell(f"where shows {text or cell.error}: type the name or a label of a host, or leave it empty")
    if len(text) > WHERE_MAX or not _is_encodable(text):
        raise _BadCell(f"where is {_quoted(text)}: type the name or a label of a host, or leave it empty")
    return text


def _after(cell: Cell) -> tuple[str, ...]:
    if cell.error is not None:
        raise _BadCell(f"after shows {cell.shown or cell.error}: type ids or names of rows, or previous")
    named = tuple(word.strip() for word in re.split(r"[,;\n]", cell.shown) if word.strip())
    if len(named) > AFTER_MAX or any(len(word) > NAME_MAX for word in named):
        raise _BadCell(f"after names more than {AFTER_MAX} rows, or something too long: type ids or names, or previous")
    if not _is_encodable(cell.shown):
        raise _BadCell(f"after is {_quoted(cell.shown)}: type ids or names of rows, or previous")
    return named


def _repeat(cell: Cell) -> int:
    if cell.is_blank:
        return 1
    if not isinstance(cell.value, float) or not cell.value.is_integer() or not 0 < cell.value <= RUNS_MAX:
        raise _BadCell(f"repeat is {_quoted(cell.shown)}: type how many runs there are to be, a whole number from 1")
    return int(cell.value)


def _is_encodable(text: str) -> bool:
    """Half of a surrogate pair is no text: no journal, wire or argv can hold it."""
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)


def _priority(cell: Cell) -> float:
    if cell.is_blank:
        return 0.0
    if not isinstance(cell.value, float):
        raise _BadCell(f"priority is {_quoted(cell.shown)}: type a number (larger goes first), or leave it empty")
    return cell.value


def _leading_dashes(template: Template, axes: Iterable[Axis]) -> Iterable[str]:
    values = {axis.name: axis.values for axis in axes}
    for element in (*template.command, *template.resume_command):
        names = placeholders(element)
        if not names or element.startswith("-"):
            continue
        filled = (dict(zip(names, some, strict=True)) for some in product(*(values[name] for name in names)))
        if any(fill((element,), one)[0].startswith("-") for one in filled):
            yield (
                f"{names[0]} begins with - and the program would read it as an option: "
                f"change the value, or write --{names[0]}={element} in template {template.name}"
            )


def _expected(param: Param) -> str:
    low, high = param.minimum, param.maximum
    bounds = ""
    if low is not None and high is not None:
        bounds = f" from {low:g} to {high:g}"
    elif low is not None:
        bounds = f" from {low:g}"
    elif high is not None:
        bounds = f" up to {high:g}"
    kinds = {
        ParamType.NUMBER: "a number",
        ParamType.INTEGER: "a whole number",
        ParamType.BOOLEAN: "TRUE or FALSE",
        ParamType.CHOICE: f"one of {', '.join(param.choices)}",
        ParamType.TEXT: "some text",
    }
    return kinds[param.type] + bounds


def _quoted(text: str) -> str:
    """Signs that nobody sees are named: without that the text would look right to who has to mend it."""
    shown = "".join(sign if sign.isprintable() else f"<U+{ord(sign):04X}>" for sign in text[:60])
    return f'"{shown}{"…" if len(text) > 60 else ""}"'


def lost_column(layout: Layout, accepted: Spec, wanted: Spec) -> str:
    """Why an edit is not taken in which a default stands for a value that was typed into a column that is gone.

    Somebody may have renamed it while no daemon ran, and nobody has seen it go.
    """
    for name, value in accepted.params.items():
        is_gone = layout.position(name) is None
        if is_gone and name in wanted.params and not is_same(wanted.params[name], value):
            return f'the column "{name}" is gone: bring it back, or choose rerun to go on without it'
    return ""
