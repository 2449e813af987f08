"""The conditions that conditional formats may state: `=$C2="running"`, AND, OR, NOT, comparisons and a few tests.

This is no formula engine: it compiles a boolean expression over cells once and evaluates it for each row. A formula
outside of this language is refused when the rule is added, so that a colour is never silently wrong.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from sheetd.sheets.builtin.model import Scalar
from sheetd.sheets.builtin.problems import ApiError, unimplemented
from sheetd.sheets.builtin.ranges import column_name, column_number
from sheetd.sheets.builtin.typed import unquote

Look = Callable[["Reference"], Scalar]
Expression = Callable[[Look], Scalar]

_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"]|"")*")|(?P<number>[0-9]+\.?[0-9]*(?:[eE][+-]?[0-9]+)?)
    |(?P<reference>\$?[A-Za-z]{1,3}\$?[1-9][0-9]{0,6})(?![A-Za-z0-9_(])|(?P<word>[A-Za-z_]+)|(?P<mark><>|<=|>=|[=<>(),;&-]))""",
    re.VERBOSE,
)
_REFERENCE = re.compile(r"(\$?)([A-Za-z]{1,3})(\$?)([1-9][0-9]{0,6})")
_COMPARE: dict[str, Callable[[tuple[int, Scalar], tuple[int, Scalar]], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_DEEPEST = 50


class Reference(NamedTuple):
    """A cell that a formula names, as written for the top left cell of the rule's first range; zero-based."""

    row: int
    column: int
    row_fixed: bool
    column_fixed: bool


@dataclass(frozen=True)
class Condition:
    """A compiled formula and the cells it looks at."""

    expression: Expression
    references: tuple[Reference, ...]


def rank(value: Scalar, other: Scalar) -> tuple[int, Scalar]:
    """Sheets' order: numbers, then text without regard to case, then booleans; an empty cell equals 0, "" and FALSE."""
    if value is None:
        value = False if isinstance(other, bool) else "" if isinstance(other, str) else 0
    if isinstance(value, bool):
        return 2, value
    return (1, value.casefold()) if isinstance(value, str) else (0, value)


def truth(value: Scalar) -> bool:
    """Whether a condition holds; text never does."""
    return bool(value) and not isinstance(value, str)


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.references: list[Reference] = []
        self.tokens = self._split(text[1:])
        self.at = 0
        self.depth = 0

    def refused(self) -> ApiError:
        return unimplemented(
            f"the conditional formula {self.text!r} (only cells, literals, comparisons, AND, OR, NOT ...)"
        )

    def _split(self, text: str) -> list[tuple[str, str]]:
        tokens, at, text = [], 0, text.rstrip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None or match.lastgroup is None:
                raise self.refused()
            tokens.append((match.lastgroup, match[match.lastgroup]))
            at = match.end()
        return tokens

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", "")

    def take(self, mark: str | None = None) -> tuple[str, str]:
        token = self.peek()
        if mark is not None and token != ("mark", mark):
            raise self.refused()
        self.at += 1
        return token

    def comparison(self) -> Expression:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise self.refused()
        left = self.joined()
        while self.peek()[0] == "mark" and self.peek()[1] in _COMPARE:
            left = _compare(_COMPARE[self.take()[1]], left, self.joined())
        self.depth -= 1
        return left

    def joined(self) -> Expression:
        left = self.operand()
        while self.peek() == ("mark", "&"):
            self.take()
            left = _join(left, self.operand())
        return left

    def operand(self) -> Expression:
        kind, word = self.take()
        if kind in {"string", "number"}:
            return _constant(unquote(word) if kind == "string" else float(word))
        if kind == "reference":
            return self.reference(word)
        if kind == "word":
            return self.function(word.upper())
        if word == "(":
            inner = self.comparison()
            self.take(")")
            return inner
        if word == "-" and self.peek()[0] == "number":
            return _constant(-float(self.take()[1]))
        raise self.refused()

    def reference(self, word: str) -> Expression:
        match = _REFERENCE.fullmatch(word)
        if match is None:
            raise self.refused()
        found = Reference(int(match[4]) - 1, column_number(match[2]), bool(match[3]), bool(match[1]))
        self.references.append(found)
        return lambda look: look(found)

    def function(self, name: str) -> Expression:
        if name in {"TRUE", "FALSE"}:
            if self.peek() == ("mark", "("):
                self.take()
                self.take(")")
            return _constant(name == "TRUE")
        if name not in _FUNCTIONS:
            raise self.refused()
        self.take("(")
        arguments = [self.comparison()]
        while self.peek() in {("mark", ","), ("mark", ";")}:
            self.take()
            arguments.append(self.comparison())
        self.take(")")
        least, most, compute = _FUNCTIONS[name]
        if not least <= len(arguments) <= most:
            raise self.refused()
        return lambda look: compute([argument(look) for argument in arguments])


def _constant(value: Scalar) -> Expression:
    return lambda _look: value


def _compare(
    test: Callable[[tuple[int, Scalar], tuple[int, Scalar]], bool], left: Expression, right: Expression
) -> Expression:
    def compare(look: Look) -> bool:
        one, other = left(look), right(look)
        return test(rank(one, other), rank(other, one))

    return compare


def _join(left: Expression, right: Expression) -> Expression:
    return lambda look: f"{left(look) or ''}{right(look) or ''}"


_FUNCTIONS: dict[str, tuple[int, int, Callable[[list[Scalar]], Scalar]]] = {
    "AND": (1, 255, lambda values: all(truth(value) for value in values)),
    "OR": (1, 255, lambda values: any(truth(value) for value in values)),
    "NOT": (1, 1, lambda values: not truth(values[0])),
    "ISBLANK": (1, 1, lambda values: values[0] is None),
    "ISNUMBER": (1, 1, lambda values: isinstance(values[0], (int, float)) and not isinstance(values[0], bool)),
    "ISTEXT": (1, 1, lambda values: isinstance(values[0], str)),
    "EXACT": (2, 2, lambda values: str(values[0] or "") == str(values[1] or "")),
    "LEN": (1, 1, lambda values: len(str(values[0] or ""))),
}


def compile_condition(text: str) -> Condition:
    """A formula as a function of the cells it names; ApiError 501 for one outside of this language."""
    parser = _Parser(text)
    expression = parser.comparison()
    if not text.startswith("=") or parser.peek()[0] != "end":
        raise parser.refused()
    return Condition(expression, tuple(parser.references))


def shift_references(text: str, *, row: Callable[[int], int], column: Callable[[int], int]) -> str:
    """The formula with its references moved, as an insert of rows or columns moves them; string literals stay."""
    parts = re.split(r'("(?:[^"]|"")*")', text)

    def moved(match: re.Match[str]) -> str:
        return f"{match[1]}{column_name(column(column_number(match[2])))}{match[3]}{row(int(match[4]) - 1) + 1}"

    pattern = re.compile(rf"(?<![A-Za-z0-9_$]){_REFERENCE.pattern}(?![A-Za-z0-9_(])")
    return "".join(part if part.startswith('"') else pattern.sub(moved, part) for part in parts)
