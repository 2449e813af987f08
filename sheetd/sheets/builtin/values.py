"""The values resource: plain lists of lists by A1 range, as most gspread methods read and write them.

What Google trims is trimmed (empty cells and rows at the end), `values` is absent when there is nothing, and an append
goes below the table that it finds at the range, not to the range.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from sheetd.sheets.builtin.draft import Draft, SheetDraft
from sheetd.sheets.builtin.model import BLANK, Cell, Scalar, Sheet, Spreadsheet
from sheetd.sheets.builtin.problems import allow_only, invalid
from sheetd.sheets.builtin.ranges import Region, column_name, parse_a1, quote_title, to_a1
from sheetd.sheets.builtin.typed import shown, with_raw, worth

RENDER_OPTIONS = frozenset({"FORMATTED_VALUE", "UNFORMATTED_VALUE", "FORMULA"})
INPUT_OPTIONS = frozenset({"RAW", "USER_ENTERED"})
_VALUE_RANGE = frozenset({"range", "majorDimension", "values"})


class Reading(NamedTuple):
    """How values are wanted."""

    render: str = "FORMATTED_VALUE"
    major: str = "ROWS"


def choice(value: str | None, options: frozenset[str], default: str | None, name: str) -> str:
    """One of the enum's words; unspecified ones mean the default, which may be missing (ApiError 400)."""
    if value is None or value.endswith("_UNSPECIFIED"):
        if default is None:
            raise invalid(f"'{name}' is required but not specified")
        return default
    if value not in options:
        raise invalid(f"Invalid value at '{name}' (TYPE_ENUM), \"{value}\"")
    return value


MAJORS = frozenset({"ROWS", "COLUMNS"})


def read(sheet: Sheet, region: Region, how: Reading) -> dict[str, Any]:
    """A ValueRange."""
    closed = region.within(sheet)
    columns = [column.id for column in sheet.columns[closed.left : closed.right]]
    rows = [
        [_render(row.cells.get(column, BLANK), how.render) for column in columns] if row.cells else []
        for row in sheet.rows[closed.top : closed.bottom]
    ]
    if how.major == "COLUMNS":
        width = len(columns)
        padded = [row or [None] * width for row in rows]
        rows = [list(column) for column in zip(*padded, strict=True)]
    values = _trimmed(rows)
    answer: dict[str, Any] = {"range": to_a1(sheet, region), "majorDimension": how.major}
    return answer | {"values": values} if values else answer


def _render(cell: Cell, render: str) -> Scalar:
    if cell.kind == "":
        return None
    if render == "FORMATTED_VALUE":
        return shown(cell) or None
    if render == "FORMULA" and cell.kind == "f":
        return cell.value
    return worth(cell)[1]


def _trimmed(rows: list[list[Scalar]]) -> list[list[Scalar]]:
    trimmed: list[list[Scalar]] = []
    for row in rows:
        end = len(row)
        while end and row[end - 1] is None:
            end -= 1
        trimmed.append(["" if value is None else value for value in row[:end]])
    while trimmed and not trimmed[-1]:
        trimmed.pop()
    return trimmed


def grid_of(value: Any, where: str = "data") -> list[list[Any]]:
    """The values of a ValueRange by row; ApiError 400 for anything but lists of lists."""
    given = allow_only(value, _VALUE_RANGE, where)
    values = given.get("values", [])
    if not isinstance(values, list) or any(not isinstance(row, list) for row in values):
        raise invalid(f"Invalid value at '{where}.values' (type.googleapis.com/google.protobuf.ListValue)")
    if choice(given.get("majorDimension"), MAJORS, "ROWS", "majorDimension") == "COLUMNS":
        longest = max((len(column) for column in values), default=0)
        return [[column[row] if row < len(column) else None for column in values] for row in range(longest)]
    return values


def update(draft: Draft, region: Region, rows: list[list[Any]], *, parse: bool) -> Region:
    """Write values from the region's first cell on; null leaves a cell as it is. Returns what was covered."""
    sheet = draft.sheet(region.sheet_id)
    width = max((len(row) for row in rows), default=0)
    is_one_cell = (region.bottom, region.right) == (region.top + 1, region.left + 1)
    if not is_one_cell:
        if region.bottom is not None and region.top + len(rows) > region.bottom:
            raise invalid(f"Requested writing within range, but tried writing to row [{region.bottom + 1}]")
        if region.right is not None and region.left + width > region.right:
            raise invalid(f"Requested writing within range, but tried writing to column [{column_name(region.right)}]")
    covered = Region(region.sheet_id, region.top, region.top + len(rows), region.left, region.left + width)
    if region.top + len(rows) > len(sheet.rows) or region.left + width > len(sheet.columns):
        raise invalid(
            f"Range ({quote_title(sheet.meta.title)}!{column_name(region.left)}{region.top + 1}) exceeds grid limits. "
            f"Max rows: {len(sheet.rows)}, max columns: {len(sheet.columns)}"
        )
    for row, values in enumerate(rows, start=region.top):
        for column, value in enumerate(values, start=region.left):
            if value is not None:
                sheet.put(row, column, with_raw(sheet.cell(row, column), value, parse=parse))
    return covered


def update_answer(book: Spreadsheet, covered: Region, rows: list[list[Any]], reading: Reading | None) -> dict[str, Any]:
    """An UpdateValuesResponse; counts of zero are left out."""
    sheet = book.sheet(covered.sheet_id)
    if sheet is None:
        raise invalid(f"No grid with id: {covered.sheet_id}")
    written = [(r, c) for r, row in enumerate(rows) for c, value in enumerate(row) if value is not None]
    counts = {
        "updatedRows": len({r for r, _ in written}),
        "updatedColumns": len({c for _, c in written}),
        "updatedCells": len(written),
    }
    answer: dict[str, Any] = {"spreadsheetId": book.key, "updatedRange": to_a1(sheet, covered)}
    answer |= {name: number for name, number in counts.items() if number}
    if reading is not None:
        answer["updatedData"] = read(sheet, covered, reading)
    return answer


def clear(draft: Draft, region: Region) -> None:
    """Remove values and keep formats, notes and validation."""
    sheet = draft.sheet(region.sheet_id)
    closed = draft.close(sheet, region)
    for row in closed.row_range:
        if sheet.rows[row].cells:
            for column in closed.column_range:
                cell = sheet.cell(row, column)
                if cell.kind:
                    sheet.put(row, column, cell._replace(kind="", value=None, typed=None))


def find_table(sheet: SheetDraft, region: Region) -> Region | None:
    """The table that an append to `region` belongs to: filled cells that touch, the lowest ones within the region."""
    bottom = len(sheet.rows) if region.bottom is None else region.bottom
    right = len(sheet.columns) if region.right is None else region.right
    seed = None
    for row in range(bottom - 1, region.top - 1, -1):
        filled = [column for column in _filled(sheet, row) if region.left <= column < right]
        if filled:
            seed = Region(region.sheet_id, row, row + 1, filled[0], filled[-1] + 1)
            break
    return None if seed is None else _grown(sheet, seed)


def _grown(sheet: SheetDraft, seed: Region) -> Region:
    """The block of filled cells around a seed, diagonals included; each row is looked at once per widening."""
    top, bottom, left, right = seed.top, seed.top + 1, seed.left, seed.column_range.stop
    filled: dict[int, list[int]] = {}

    def near(row: int) -> list[int]:
        if row not in filled:
            filled[row] = _filled(sheet, row)
        return [column for column in filled[row] if left - 1 <= column <= right]

    while True:
        while top > 0 and near(top - 1):
            top -= 1
        while bottom < len(sheet.rows) and near(bottom):
            bottom += 1
        ends = [column for row in range(top, bottom) for column in (near(row) or [left])]
        wider = min(left, *ends), max(right, max(ends) + 1)
        if wider == (left, right):
            return Region(seed.sheet_id, top, bottom, left, right)
        left, right = wider


def _filled(sheet: SheetDraft, row: int) -> list[int]:
    cells = sheet.rows[row].cells
    if not cells:
        return []
    return [index for index, column in enumerate(sheet.columns) if cells.get(column.id, BLANK).kind]


def append(
    draft: Draft, region: Region, rows: list[list[Any]], *, parse: bool, insert: bool
) -> tuple[Region, Region | None]:
    """Write below the table at `region`, adding rows as needed; returns what was covered and the table, if any."""
    sheet = draft.sheet(region.sheet_id)
    table = find_table(sheet, region)
    top, left = (table.row_range.stop, table.left) if table else (region.top, region.left)
    missing = len(rows) if insert else top + len(rows) - len(sheet.rows)
    if missing > 0:
        sheet.insert_rows(top if insert else len(sheet.rows), missing, inherit_before=bool(table) and top > 1)
    width = max((len(row) for row in rows), default=0)
    if left + width > len(sheet.columns):
        sheet.insert_columns(len(sheet.columns), left + width - len(sheet.columns))
    covered = update(draft, Region(region.sheet_id, top, None, left, None), rows, parse=parse)
    return covered, table


def resolve(book: Spreadsheet, texts: list[str]) -> Iterator[tuple[Sheet, Region]]:
    """Each A1 text as a tab and a region on it."""
    for text in texts:
        region = parse_a1(book, text)
        sheet = book.sheet(region.sheet_id)
        if sheet is None:
            raise invalid(f"Unable to parse range: {text}")
        yield sheet, region
