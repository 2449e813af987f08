"""Ranges of cells: A1 notation, Google's GridRange, and what becomes of a range when rows or columns come and go.

All indexes are zero-based and half-open, as in GridRange; None stands for an open end. Rules, protections, merges and
named ranges live by these functions, so an insert above a coloured block moves the colour along with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from sheetd.sheets.builtin.model import Sheet, Spreadsheet
from sheetd.sheets.builtin.problems import allow_only, integer, invalid

Axis = Literal["ROWS", "COLUMNS"]
SpanChange = Callable[[int, int | None], tuple[int, int | None] | None]

_REFERENCE = re.compile(r"\$?([A-Za-z]{1,3})?\$?([1-9][0-9]{0,6})?")
_PLAIN_TITLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LOOKS_LIKE_CELL = re.compile(r"[A-Za-z]{1,3}[0-9]+|[Rr][0-9]*[Cc][0-9]*")
_GRID_KEYS = frozenset({"sheetId", "startRowIndex", "endRowIndex", "startColumnIndex", "endColumnIndex"})


class Region(NamedTuple):
    """A rectangle on one tab; an end of None is open."""

    sheet_id: int
    top: int = 0
    bottom: int | None = None
    left: int = 0
    right: int | None = None

    def within(self, sheet: Sheet) -> Region:
        """With its open ends closed at the edges of the grid, and nothing outside of it."""
        rows, columns = len(sheet.rows), len(sheet.columns)
        bottom = rows if self.bottom is None else min(self.bottom, rows)
        right = columns if self.right is None else min(self.right, columns)
        return Region(self.sheet_id, min(self.top, bottom), bottom, min(self.left, right), right)

    @property
    def row_range(self) -> range:
        """Rows of a region that `within` has closed."""
        return range(self.top, self.top if self.bottom is None else self.bottom)

    @property
    def column_range(self) -> range:
        return range(self.left, self.left if self.right is None else self.right)


def column_name(index: int) -> str:
    """A for 0, Z for 25, AA for 26."""
    name = ""
    index += 1
    while index:
        index, letter = divmod(index - 1, 26)
        name = chr(65 + letter) + name
    return name


def column_number(name: str) -> int:
    """0 for A; the inverse of `column_name`."""
    number = 0
    for letter in name.upper():
        number = number * 26 + ord(letter) - 64
    return number - 1


def quote_title(title: str) -> str:
    """A tab's title as it stands before the ! of A1 notation."""
    if _PLAIN_TITLE.fullmatch(title) and not _LOOKS_LIKE_CELL.fullmatch(title):
        return title
    return "'" + title.replace("'", "''") + "'"


def to_a1(sheet: Sheet, region: Region) -> str:
    """The full A1 text of a closed region, as answers carry it."""
    closed = region.within(sheet)
    last_row, last_column = max(closed.row_range.stop, closed.top + 1), max(closed.column_range.stop, closed.left + 1)
    first, last = f"{column_name(closed.left)}{closed.top + 1}", f"{column_name(last_column - 1)}{last_row}"
    return f"{quote_title(sheet.title)}!{first}" + ("" if first == last else f":{last}")


def parse_a1(book: Spreadsheet, text: str) -> Region:
    """The region that an A1 text names: `Tab!A1:B2`, `'My tab'`, `A:C`, `2:5`, a named range; else ApiError 400."""
    title, _, rest = _split_title(text)
    if title is not None:
        sheet = next((sheet for sheet in book.sheets if sheet.title.lower() == title.lower()), None)
        if sheet is None:
            raise invalid(f"Unable to parse range: {text}")
        if not rest:
            return Region(sheet.id)
    else:
        sheet = book.sheets[0]
    region = _parse_cells(sheet.id, rest)
    if region is not None:
        _refuse_outside(sheet, region, text)
        return region
    for named in book.named_ranges:
        if named["name"].lower() == rest.lower():
            return from_grid_range(named["range"], "range")
    by_title = next((sheet for sheet in book.sheets if sheet.title.lower() == rest.lower()), None)
    if title is None and by_title is not None:
        return Region(by_title.id)
    raise invalid(f"Unable to parse range: {text}")


def _split_title(text: str) -> tuple[str | None, str, str]:
    if text.startswith("'"):
        end = 1
        while (end := text.find("'", end)) != -1 and text[end : end + 2] == "''":
            end += 2
        if end == -1:
            raise invalid(f"Unable to parse range: {text}")
        rest = text[end + 1 :]
        if rest and not rest.startswith("!"):
            raise invalid(f"Unable to parse range: {text}")
        return text[1:end].replace("''", "'"), "!", rest[1:]
    if "!" in text:
        title, bang, rest = text.rpartition("!")
        return title, bang, rest
    return None, "", text


def _parse_cells(sheet_id: int, text: str) -> Region | None:
    first, colon, last = text.partition(":")
    start, end = _REFERENCE.fullmatch(first), _REFERENCE.fullmatch(last if colon else first)
    if start is None or end is None or not first or (colon and not last):
        return None
    if not colon and not (start[1] and start[2]):
        return None
    rows = [int(match[2]) - 1 if match[2] else None for match in (start, end)]
    columns = [column_number(match[1]) if match[1] else None for match in (start, end)]
    top, bottom = _span(rows)
    left, right = _span(columns)
    return Region(sheet_id, top, bottom, left, right)


def _span(ends: list[int | None]) -> tuple[int, int | None]:
    """From two inclusive ends, either of which may be open, in either order."""
    known = [end for end in ends if end is not None]
    if not known:
        return 0, None
    if len(known) == 1:
        return known[0], None
    return min(known), max(known) + 1


def _refuse_outside(sheet: Sheet, region: Region, text: str) -> None:
    rows, columns = len(sheet.rows), len(sheet.columns)
    bottom = region.bottom if region.bottom is not None else region.top + 1
    right = region.right if region.right is not None else region.left + 1
    if bottom > rows or right > columns:
        shown = text if "!" in text else f"{quote_title(sheet.title)}!{text}"
        raise invalid(f"Range ({shown}) exceeds grid limits. Max rows: {rows}, max columns: {columns}")


def from_grid_range(value: Any, where: str) -> Region:
    """A GridRange of a request; a missing sheetId is 0 (proto3 default)."""
    given = allow_only(value, _GRID_KEYS, where)
    numbers = {name: integer(given[name], f"{where}.{name}") for name in given}
    region = Region(
        numbers.get("sheetId", 0),
        numbers.get("startRowIndex", 0),
        numbers.get("endRowIndex"),
        numbers.get("startColumnIndex", 0),
        numbers.get("endColumnIndex"),
    )
    if region.bottom is not None and region.bottom < region.top:
        raise invalid(f"Invalid value at '{where}': endRowIndex is before startRowIndex")
    if region.right is not None and region.right < region.left:
        raise invalid(f"Invalid value at '{where}': endColumnIndex is before startColumnIndex")
    return region


def to_grid_range(region: Region) -> dict[str, int]:
    """As Google answers it: sheetId 0 left out, open ends left out."""
    answer = {"sheetId": region.sheet_id} if region.sheet_id else {}
    if region.top or region.bottom is not None:
        answer["startRowIndex"] = region.top
    if region.bottom is not None:
        answer["endRowIndex"] = region.bottom
    if region.left or region.right is not None:
        answer["startColumnIndex"] = region.left
    if region.right is not None:
        answer["endColumnIndex"] = region.right
    return answer


def map_span(region: Region, axis: Axis, change: SpanChange) -> Region | None:
    """The region with its rows or columns changed; None when nothing of it is left."""
    span = change(region.top, region.bottom) if axis == "ROWS" else change(region.left, region.right)
    if span is None:
        return None
    if axis == "ROWS":
        return region._replace(top=span[0], bottom=span[1])
    return region._replace(left=span[0], right=span[1])


def inserted(at: int, number: int, *, extend_end: bool) -> SpanChange:
    """What an insert of `number` lines before line `at` makes of a span."""

    def change(start: int, end: int | None) -> tuple[int, int | None]:
        moved_start = start + number if at < start or (at == start and not (start == 0 and end is None)) else start
        if end is None:
            return moved_start, None
        grows = at < end or (at == end and extend_end)
        return moved_start, end + number if grows else end

    return change


def deleted(at: int, number: int) -> SpanChange:
    """What the deletion of lines [at, at + number) makes of a span."""

    def after(line: int) -> int:
        return line if line <= at else max(at, line - number)

    def change(start: int, end: int | None) -> tuple[int, int | None] | None:
        if end is None:
            return after(start), None
        left = after(start), after(end)
        return None if left[0] == left[1] and start != end else left

    return change


def moved(new_index: list[int]) -> SpanChange:
    """What a move makes of a span: it follows when its lines stay together, else it stays where it was."""

    def change(start: int, end: int | None) -> tuple[int, int | None]:
        if end is None or end > len(new_index) or start >= end:
            return start, end
        lines = sorted(new_index[start:end])
        return (lines[0], lines[-1] + 1) if lines[-1] - lines[0] == len(lines) - 1 else (start, end)

    return change
