"""Conditional formats: which rule colours which cell.

The colour of a row follows its status word without a write per change, so the rules must be evaluated here for anybody
to see it. Rules are compiled once per tab version; a rule that can only look at its own row lets that row's colours be
kept with the row. Gradients and conditions on other tabs are refused when a rule is added.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sheetd.sheets.builtin.formats import Format, merge, normalise, text_of
from sheetd.sheets.builtin.formula import Condition, Reference, compile_condition, shift_references, truth
from sheetd.sheets.builtin.model import BLANK, Cell, Row, Scalar, Sheet, canonical, read_json
from sheetd.sheets.builtin.problems import allow_only, invalid, items, text, unimplemented
from sheetd.sheets.builtin.ranges import Region, from_grid_range, to_grid_range
from sheetd.sheets.builtin.typed import parse_entered, shown, worth

CellTest = Callable[[Cell], bool]

_SHOWABLE = frozenset({"backgroundColor", "backgroundColorStyle", "textFormat"})
_TEXT_TESTS: dict[str, Callable[[str, str], bool]] = {
    "TEXT_EQ": lambda value, wanted: value == wanted,
    "TEXT_CONTAINS": lambda value, wanted: wanted in value,
    "TEXT_NOT_CONTAINS": lambda value, wanted: wanted not in value,
    "TEXT_STARTS_WITH": lambda value, wanted: value.startswith(wanted),
    "TEXT_ENDS_WITH": lambda value, wanted: value.endswith(wanted),
}
_NUMBER_TESTS: dict[str, tuple[int, Callable[..., bool]]] = {
    "NUMBER_EQ": (1, lambda value, wanted: value == wanted),
    "NUMBER_NOT_EQ": (1, lambda value, wanted: value != wanted),
    "NUMBER_GREATER": (1, lambda value, wanted: value > wanted),
    "NUMBER_GREATER_THAN_EQ": (1, lambda value, wanted: value >= wanted),
    "NUMBER_LESS": (1, lambda value, wanted: value < wanted),
    "NUMBER_LESS_THAN_EQ": (1, lambda value, wanted: value <= wanted),
    "NUMBER_BETWEEN": (2, lambda value, least, most: least <= value <= most),
    "NUMBER_NOT_BETWEEN": (2, lambda value, least, most: not least <= value <= most),
}


def normalise_rule(value: Any, where: str) -> dict[str, Any]:
    """A ConditionalFormatRule of a request in the form that is stored and answered; what cannot be shown is refused."""
    given = allow_only(value, frozenset({"ranges", "booleanRule", "gradientRule"}), where)
    if "gradientRule" in given:
        raise unimplemented("gradient rules of conditional formats")
    if not given.get("ranges") or "booleanRule" not in given:
        raise invalid(f"Invalid value at '{where}': a rule needs ranges and a booleanRule")
    boolean_rule = allow_only(given["booleanRule"], frozenset({"condition", "format"}), f"{where}.booleanRule")
    look = normalise(boolean_rule.get("format", {}), f"{where}.booleanRule.format")
    if set(look) - _SHOWABLE:
        raise invalid(f"Invalid value at '{where}': a rule may set colours and text style only")
    condition = _normalise_condition(boolean_rule.get("condition", {}), f"{where}.booleanRule.condition")
    compile_test(canonical(condition))
    regions = [from_grid_range(part, f"{where}.ranges") for part in items(given["ranges"], f"{where}.ranges")]
    if len({region.sheet_id for region in regions}) > 1:
        raise invalid(f"Invalid value at '{where}.ranges': all ranges must lie on one sheet")
    ranges = [to_grid_range(region) for region in regions]
    return {"ranges": ranges, "booleanRule": {"condition": condition, "format": look}}


def _normalise_condition(value: Any, where: str) -> dict[str, Any]:
    given = allow_only(value, frozenset({"type", "values"}), where)
    values = []
    for item in items(given.get("values"), f"{where}.values"):
        part = allow_only(item, frozenset({"userEnteredValue", "relativeDate"}), f"{where}.values")
        if "relativeDate" in part:
            raise unimplemented("relative dates in conditions")
        values.append({"userEnteredValue": text(part.get("userEnteredValue", ""), f"{where}.values.userEnteredValue")})
    condition: dict[str, Any] = {"type": text(given.get("type", ""), f"{where}.type")}
    return condition | {"values": values} if values else condition


@lru_cache(maxsize=1024)
def compile_test(condition: str) -> Condition | CellTest:
    """The test that a condition (canonical JSON) states: over cells for CUSTOM_FORMULA, over the cell itself else."""
    parsed = read_json(condition)
    kind, words = parsed["type"], [value["userEnteredValue"] for value in parsed.get("values", [])]
    if kind == "CUSTOM_FORMULA" and len(words) == 1:
        return compile_condition(words[0])
    if kind in {"BLANK", "NOT_BLANK"} and not words:
        return lambda cell: (worth(cell)[0] == "") == (kind == "BLANK")
    if any(word.startswith("=") for word in words):
        raise unimplemented(f"a formula as the value of a {kind} condition")
    if kind in _TEXT_TESTS and len(words) == 1:
        compare, wanted = _TEXT_TESTS[kind], words[0].casefold()
        return lambda cell: compare((shown(cell) or "").casefold(), wanted)
    if kind in _NUMBER_TESTS and len(words) == _NUMBER_TESTS[kind][0]:
        return _number_test(kind, words)
    raise unimplemented(f"conditions of type {kind!r} with {len(words)} values")


def _number_test(kind: str, words: list[str]) -> CellTest:
    entered = [parse_entered(word) for word in words]
    if any(part.kind != "n" for part in entered):
        raise invalid(f"Invalid value: a {kind} condition compares with numbers")
    limits, compare = [part.value for part in entered], _NUMBER_TESTS[kind][1]

    def test(cell: Cell) -> bool:
        found, value = worth(cell)
        return found == "n" and compare(value, *limits)

    return test


@dataclass(frozen=True)
class Rule:
    """One compiled rule; `format` and `condition` are canonical JSON, the condition as it reads from row 1."""

    regions: tuple[Region, ...]
    test: Condition | CellTest
    format: str
    condition: str

    def sign(self, region: Region) -> str:
        """The same text for the same effect on the columns of a region."""
        return f"{region.left}:{region.right}:{self.regions[0].left}:{self.condition}:{self.format}"


class Painter:
    """The rules of one tab, compiled.

    `is_local` says that the colours of a row depend only on its own cells, the layout of columns and its `coverage`.
    """

    def __init__(self, sheet: Sheet) -> None:
        self.sheet = sheet
        self.rules = tuple(_compiled(sheet, rule) for rule in sheet.rules)
        self.is_local = all(_looks_only_at_own_row(rule) for rule in self.rules)
        parts = [(region, rule.sign(region)) for rule in self.rules for region in rule.regions]
        self._edges = sorted({edge for region, _ in parts for edge in (region.top, region.row_range.stop)})
        starts = [-1, *self._edges]
        self._bands = [tuple(sign for region, sign in parts if start in region.row_range) for start in starts]
        self._rules = [
            [(rule, columns) for rule in self.rules if (columns := _columns_at(rule, start))] for start in starts
        ]

    def coverage(self, index: int) -> tuple[str, ...]:
        """What lies over a row: each rule and its columns, said without row numbers, so that rows may move."""
        return self._bands[bisect_right(self._edges, index)]

    def paint(self, index: int, row: Row) -> dict[int, str]:
        """The conditional format (canonical JSON) of each coloured column of a row, by column index."""
        painted: dict[int, str] = {}
        for rule, columns in self._rules[bisect_right(self._edges, index)]:
            for column in self._met(rule, columns, index, row):
                painted[column] = overlay(rule.format, painted[column]) if column in painted else rule.format
        return painted

    def _met(self, rule: Rule, columns: list[int], index: int, row: Row) -> list[int]:
        """Those of the columns for which the rule's condition holds."""
        test = rule.test
        if isinstance(test, Condition):
            origin = rule.regions[0]
            if all(reference.column_fixed for reference in test.references):
                return columns if self._holds(test, origin, index, columns[0], row) else []
            return [column for column in columns if self._holds(test, origin, index, column, row)]
        return [column for column in columns if test(row.cells.get(self.sheet.columns[column].id, BLANK))]

    def _holds(self, condition: Condition, origin: Region, index: int, column: int, row: Row) -> bool:
        def look(reference: Reference) -> Scalar:
            at_row = reference.row if reference.row_fixed else reference.row + index - origin.top
            at_column = reference.column if reference.column_fixed else reference.column + column - origin.left
            if at_row == index and 0 <= at_column < len(self.sheet.columns):
                return worth(row.cells.get(self.sheet.columns[at_column].id, BLANK))[1]
            return worth(self.sheet.cell(at_row, at_column))[1]

        return truth(condition.expression(look))


def _columns_at(rule: Rule, index: int) -> list[int]:
    """The columns that a rule's ranges cover in a row."""
    return sorted({column for region in rule.regions if index in region.row_range for column in region.column_range})


def _compiled(sheet: Sheet, rule: Any) -> Rule:
    regions = tuple(from_grid_range({**part, "sheetId": sheet.id}, "ranges").within(sheet) for part in rule["ranges"])
    boolean_rule = rule["booleanRule"]
    condition = boolean_rule["condition"]
    test = compile_test(canonical(condition))
    if isinstance(test, Condition):
        formula = condition["values"][0]["userEnteredValue"]
        top = regions[0].top
        condition = shift_references(formula, row=lambda line: max(0, line - top), column=lambda line: line)
    return Rule(regions, test, text_of(boolean_rule["format"]) or "{}", canonical(condition))


def _looks_only_at_own_row(rule: Rule) -> bool:
    if not isinstance(rule.test, Condition):
        return True
    return all(not reference.row_fixed and reference.row == rule.regions[0].top for reference in rule.test.references)


@lru_cache(maxsize=1024)
def overlay(under: str, over: str) -> str:
    """Both formats; `over` wins where both speak. An earlier rule lies over a later one."""
    merged: Format = merge(read_json(under), read_json(over))
    return canonical(merged)


def painter_of(sheet: Sheet) -> Painter:
    """The compiled rules of a snapshot; compiled once for each."""
    found = sheet.__dict__.get("painter")
    if not isinstance(found, Painter):
        found = Painter(sheet)
        sheet.__dict__["painter"] = found
    return found
