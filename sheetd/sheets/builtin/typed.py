"""Values: what typed text means, what a cell's value is for Google's API, and how it is shown.

There is one rule for what a person types (`parse_entered`), used by the page and by USER_ENTERED writes; RAW and typed
writes never parse. There is no formula engine: literals, HYPERLINK of literals and SPARKLINE are understood, everything
else is an error value that says so, never a stale or guessed number. Dates are not recognised; they stay text.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any, NamedTuple

from sheetd.sheets.builtin.model import Cell, Scalar, canonical, read_json
from sheetd.sheets.builtin.problems import allow_only, boolean, invalid, text

LONGEST_TEXT = 50_000
"""Characters in one cell; Google's limit."""

NO_ENGINE = "the built-in sheet does not compute formulas"

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
# Nobody groups thousands of a zero: 0,001 is a decimal comma, and a thousandth is not one.
_GROUPED = re.compile(r"[+-]?[1-9][0-9]{0,2}(?:,[0-9]{3})+(?:\.[0-9]+)?")
_PATTERN = re.compile(r"(?P<group>#,##)?(?P<zeros>0+)(?:\.(?P<decimals>0*)(?P<more>#*))?(?P<tail>%|E\+00?)?")
_STRING = r'"(?:[^"]|"")*"'
_HYPERLINK = re.compile(rf"=\s*HYPERLINK\(\s*({_STRING})\s*(?:[,;]\s*({_STRING})\s*)?\)\s*", re.IGNORECASE)
_LITERAL = re.compile(rf"=\s*({_STRING}|[+-]?[0-9.eE+-]+|TRUE|FALSE|TRUE\(\)|FALSE\(\))\s*", re.IGNORECASE)
_SPARKLINE = re.compile(r"=\s*SPARKLINE\s*\(", re.IGNORECASE)
_EXTENDED = frozenset({"stringValue", "numberValue", "boolValue", "formulaValue", "errorValue"})


class Entered(NamedTuple):
    """What a text means: kind and value as in a Cell, and the number pattern that it brings along, if any."""

    kind: str
    value: Scalar
    pattern: str | None = None


def number(value: float) -> int | float:
    """The double that a sheet would store, as an int where that prints the same; ApiError 400 for what has no JSON."""
    try:
        double = float(value)
    except OverflowError:
        double = math.inf
    if not math.isfinite(double):
        raise invalid("Invalid value: a number must be finite")
    return int(double) if double.is_integer() and abs(double) < 2**53 else double


def check_length(value: str) -> str:
    if len(value) > LONGEST_TEXT:
        raise invalid("Your input contains more than the maximum of 50000 characters in a single cell.")
    return value


def parse_entered(typed: str) -> Entered:
    """What a person means by this text: ' forces text, = a formula, plain numbers, TRUE and FALSE; else text as is."""
    check_length(typed)
    if typed.startswith("'"):
        return Entered("s", typed[1:])
    if typed.startswith("=") and len(typed) > 1:
        return Entered("f", typed)
    word = typed.strip()
    if _NUMBER.fullmatch(word):
        parsed = float(word)
        return Entered("n", number(parsed)) if math.isfinite(parsed) else Entered("s", typed)
    if _GROUPED.fullmatch(word):
        return Entered("n", number(float(word.replace(",", ""))), "#,##0.00" if "." in word else "#,##0")
    if word.upper() in {"TRUE", "FALSE"}:
        return Entered("b", word.upper() == "TRUE")
    return Entered("s", typed) if typed else Entered("", None)


def with_entered(cell: Cell, typed: str) -> Cell:
    """The cell after somebody typed this text into it; its format, note and validation stay."""
    entered = parse_entered(typed)
    changed = cell._replace(kind=entered.kind, value=entered.value, typed=None)
    if entered.pattern and "numberFormat" not in (read_json(cell.format) if cell.format else {}):
        number_format = {"numberFormat": {"type": "NUMBER", "pattern": entered.pattern}}
        changed = changed._replace(format=canonical((read_json(cell.format) if cell.format else {}) | number_format))
    return changed if edit_text(changed) == typed else changed._replace(typed=typed)


def with_raw(cell: Cell, value: Any, *, parse: bool) -> Cell:
    """The cell after the values API wrote this JSON scalar; strings are parsed for USER_ENTERED only."""
    if isinstance(value, str):
        if parse:
            return with_entered(cell, value)
        return cell._replace(kind="s" if value else "", value=check_length(value) or None, typed=None)
    if isinstance(value, bool):
        return cell._replace(kind="b", value=value, typed=None)
    if isinstance(value, (int, float)):
        return cell._replace(kind="n", value=number(value), typed=None)
    raise invalid(f"Invalid values: a cell takes a string, a number, a boolean or null, not {type(value).__name__}")


def with_extended(cell: Cell, value: Any, where: str) -> Cell:
    """The cell after a typed write of Google's ExtendedValue (None clears). A stringValue is never parsed."""
    given = allow_only(value if value is not None else {}, _EXTENDED, where)
    if len(given) > 1:
        raise invalid(f"Invalid value at '{where}': oneof field 'value' is already set")
    if not given:
        return cell._replace(kind="", value=None, typed=None)
    name, content = next(iter(given.items()))
    if name == "stringValue":
        content = check_length(text(content, f"{where}.{name}"))
        return cell._replace(kind="s" if content else "", value=content or None, typed=None)
    if name == "boolValue":
        return cell._replace(kind="b", value=boolean(content, f"{where}.{name}"), typed=None)
    if name == "numberValue":
        if isinstance(content, bool) or not isinstance(content, (int, float)):
            raise invalid(f"Invalid value at '{where}.numberValue' (TYPE_DOUBLE): {content!r}")
        return cell._replace(kind="n", value=number(content), typed=None)
    if name == "formulaValue":
        formula = check_length(text(content, f"{where}.{name}"))
        if not formula.startswith("="):
            raise invalid(f"Invalid value at '{where}.formulaValue': a formula begins with =")
        return cell._replace(kind="f", value=formula, typed=None)
    raise invalid(f"Invalid value at '{where}': {name} cannot be written")


@lru_cache(maxsize=4096)
def evaluate(formula: str) -> Entered | None:
    """A literal's value, None for a SPARKLINE (a drawing), kind "x" for everything that would need an engine."""
    if _SPARKLINE.match(formula):
        return None
    link = _HYPERLINK.fullmatch(formula)
    if link:
        return Entered("s", unquote(link[2] if link[2] is not None else link[1]))
    literal = _LITERAL.fullmatch(formula)
    if literal:
        word = literal[1]
        entered = Entered("s", unquote(word)) if word.startswith('"') else parse_entered(word.replace("()", ""))
        if word.startswith('"') or entered.kind in {"n", "b"}:
            return entered
    return Entered("x", "#NAME?")


def link_of(formula: str) -> str | None:
    """The address that a HYPERLINK of literals opens."""
    link = _HYPERLINK.fullmatch(formula)
    return unquote(link[1]) if link else None


def unquote(quoted: str) -> str:
    """The text of a formula's string literal."""
    return quoted[1:-1].replace('""', '"')


def worth(cell: Cell) -> tuple[str, Scalar]:
    """Kind and value after evaluation: "" for nothing (also a SPARKLINE), "x" for an error with its shown text."""
    if cell.kind != "f":
        return cell.kind, cell.value
    found = evaluate(str(cell.value))
    return ("", None) if found is None else (found.kind, found.value)


def user_entered_value(cell: Cell) -> dict[str, Any] | None:
    """Google's userEnteredValue."""
    name = {"s": "stringValue", "n": "numberValue", "b": "boolValue", "f": "formulaValue"}.get(cell.kind)
    return {name: cell.value} if name else None


def effective_value(cell: Cell) -> dict[str, Any] | None:
    """Google's effectiveValue; a formula that would need an engine is an errorValue which says so."""
    kind, value = worth(cell)
    if kind == "x":
        return {"errorValue": {"type": "NAME", "message": NO_ENGINE}}
    return user_entered_value(Cell(kind, value))


def shown(cell: Cell) -> str | None:
    """Google's formattedValue: the text that a viewer sees; None when there is nothing."""
    kind, value = worth(cell)
    if kind == "":
        return None
    if kind == "b":
        return "TRUE" if value else "FALSE"
    if kind == "n" and isinstance(value, (int, float)):
        pattern = read_json(cell.format).get("numberFormat", {}).get("pattern") if cell.format else None
        return show_number(value, pattern)
    return str(value)


def edit_text(cell: Cell) -> str:
    """What an editor opens with: typed again unchanged, it gives the same value."""
    if cell.typed is not None:
        return cell.typed
    if cell.kind == "s":
        text = str(cell.value)
        return text if _is_plainly_text(text) or parse_entered(text) == Entered("s", text) else f"'{text}"
    return (shown(cell) or "") if cell.kind == "b" else plain_text(cell.value)


def _is_plainly_text(text: str) -> bool:
    """A quick yes for most text: it begins with a letter that begins neither TRUE nor FALSE."""
    return text[:1].isalpha() and text[0] not in "tTfF"


def plain_text(value: Scalar) -> str:
    if value is None:
        return ""
    return show_number(value) if isinstance(value, (int, float)) else str(value)


def show_number(value: float, pattern: str | None = None) -> str:
    """A number as a sheet prints it; patterns of 0 # , . % and E are understood, others print as General."""
    match = _PATTERN.fullmatch(pattern) if pattern else None
    if match is None:
        return str(value) if type(value) is int else _general(value)
    fixed, optional = len(match["decimals"] or ""), len(match["more"] or "")
    tail = match["tail"] or ""
    if tail.startswith("E"):
        return f"{value:.{fixed}E}"
    printed = f"{value * 100 if tail else value:{',' if match['group'] else ''}.{fixed + optional}f}"
    if optional:
        kept = printed.rstrip("0")
        printed = kept + "0" * max(0, fixed - len(kept.partition(".")[2]))
        printed = printed.rstrip(".")
    whole, dot, rest = printed.partition(".")
    sign = "-" if whole.startswith("-") else ""
    return f"{sign}{whole.lstrip('-').zfill(len(match['zeros']))}{dot}{rest}{tail}"


def _general(value: float) -> str:
    if isinstance(value, int) or (value.is_integer() and abs(value) < 1e15):
        return str(int(value))
    printed = repr(value)
    if len(printed) > 16 or "e" in printed:
        # More digits than a sheet shows.
        printed = f"{value:.15g}"
    if "e" not in printed:
        return printed
    mantissa, _, exponent = printed.partition("e")
    if -8 <= int(exponent) < 0:
        return f"{value:.{len(mantissa.replace('.', '').lstrip('-')) - int(exponent) - 1}f}"
    return f"{mantissa}E{exponent}"
