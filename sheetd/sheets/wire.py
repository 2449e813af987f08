"""What is said to the Sheets API: field masks, addresses, and the body of one write.

Pure: builds plain JSON values, imports no client. Must never produce a `formulaValue` but that of a `Curve`, which
holds no text, or ask for text to be parsed as if typed: text of a job that begins with `=` would then load addresses
and carry off other cells. Weak: `findReplace` has no typed form, Google parses its replacement as if typed; therefore
only ids are let through, see `find_replace`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from sheetd.core.curve import Curve
from sheetd.core.grid import CellUpdate, CellValue, Replacement, SheetWrite, Shown
from sheetd.sheets.claims import claim_request
from sheetd.sheets.column_tags import guard_request

#: A JSON object on its way to the API.
Json: TypeAlias = dict[str, Any]

#: Everything that a grid is made of, and nothing else: formats and rules would make an idle read many times as large.
GRID_FIELDS = (
    "sheets(properties(sheetId,title,gridProperties(rowCount,columnCount)),merges,"
    "developerMetadata(metadataId,metadataKey,metadataValue),"
    "data(startRow,startColumn,rowData(values(userEnteredValue/formulaValue,effectiveValue,formattedValue))))"
)
READ_FIELDS = f"spreadsheetId,{GRID_FIELDS}"
WRITE_FIELDS = f"spreadsheetId,updatedSpreadsheet({GRID_FIELDS})"
TABS_FIELDS = "spreadsheetId,sheets(properties(sheetId,title))"

#: An id that `findReplace` may put into a cell: a letter first, so that Google cannot take it for a number or a
#: formula.
REPLACEABLE_ID = re.compile(r"[a-z][a-z0-9]*\Z")

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Block:
    """A full rectangle of new values whose top left cell is (`row`, `column`)."""

    row: int
    column: int
    rows: tuple[tuple[Shown, ...], ...]


def quote_title(title: str) -> str:
    """The whole tab as a range. Always quoted, or a tab called `A1` would be a cell."""
    return "'" + title.replace("'", "''") + "'"


def blocks(updates: Iterable[CellUpdate]) -> list[Block]:
    """Merge neighbouring cells into rectangles; the last update of a cell wins.

    Runs within a row are merged downwards where they span the same columns: the daemon writes the same columns of many
    rows, so a busy cycle becomes a handful of requests instead of one a cell. Not the least possible number, which
    would be a search.
    """
    values = {(update.row, update.column): update.value for update in updates}
    open_blocks: dict[tuple[int, int], tuple[int, list[tuple[Shown, ...]]]] = {}
    done: list[Block] = []
    for row, column, run in _runs(values):
        span = (column, len(run))
        top, rows = open_blocks.get(span, (row, []))
        if top + len(rows) != row:
            done.append(Block(top, column, tuple(rows)))
            top, rows = row, []
        rows.append(run)
        open_blocks[span] = (top, rows)
    done.extend(Block(top, column, tuple(rows)) for (column, _), (top, rows) in open_blocks.items())
    return sorted(done, key=lambda block: (block.row, block.column))


def _runs(values: Mapping[tuple[int, int], Shown]) -> Iterable[tuple[int, int, tuple[Shown, ...]]]:
    """Unbroken stretches of cells, row by row: (row, first column, values)."""
    run: list[Shown] = []
    previous = (-1, -1)
    for row, column in sorted(values):
        if run and (row, column) != (previous[0], previous[1] + 1):
            yield previous[0], previous[1] - len(run) + 1, tuple(run)
            run = []
        run.append(values[row, column])
        previous = (row, column)
    if run:
        yield previous[0], previous[1] - len(run) + 1, tuple(run)


def cell_data(value: Shown) -> Json:
    """One typed cell. A `stringValue` is never parsed by Google, whatever it begins with; nothing at all clears the
    cell.

    JSON has no NaN and UTF-8 no lone surrogates; either would have the whole write refused, so the first becomes its
    name and the second the replacement character.
    """
    if value is None or value == "":
        return {}
    if isinstance(value, bool):
        return {"userEnteredValue": {"boolValue": value}}
    if isinstance(value, str):
        return {"userEnteredValue": {"stringValue": _LONE_SURROGATE.sub("\ufffd", value)}}
    if isinstance(value, Curve):
        return {"userEnteredValue": {"formulaValue": value.formula}}
    if not math.isfinite(value):
        return {"userEnteredValue": {"stringValue": str(float(value))}}
    return {"userEnteredValue": {"numberValue": float(value)}}


def update_cells(tab_id: int, block: Block) -> Json:
    made: dict[tuple[type, Shown], Json] = {}  # a column mostly says the same, and ten thousand cells are megabytes

    def cell(value: Shown) -> Json:
        key = (type(value), value)
        return made.get(key) or made.setdefault(key, cell_data(value))

    return {
        "updateCells": {
            "start": {"sheetId": tab_id, "rowIndex": block.row, "columnIndex": block.column},
            "rows": [{"values": [cell(value) for value in row]} for row in block.rows],
            "fields": "userEnteredValue",
        }
    }


def append_cells(tab_id: int, rows: Sequence[Sequence[CellValue]]) -> Json:
    """Below the last row in use, wherever that is when the request is carried out: no row number is named."""
    lines = [{"values": [cell_data(value) for value in row]} for row in rows]
    return {"appendCells": {"sheetId": tab_id, "rows": lines, "fields": "userEnteredValue"}}


def find_replace(tab_id: int, replacement: Replacement) -> Json:
    """Exchange an id for another, or for nothing, wherever in its column it is now.

    Raises ValueError for anything that is not an id: the replacement is parsed as if a person had typed it.
    """
    new_is_safe = replacement.new == "" or REPLACEABLE_ID.match(replacement.new)
    if not re.fullmatch(r"[a-z0-9]+", replacement.old) or not new_is_safe:
        raise ValueError(f"only ids are replaced by content, not {replacement.old!r} by {replacement.new!r}")
    return {
        "findReplace": {
            "find": replacement.old,
            "replacement": replacement.new,
            "matchCase": True,
            "matchEntireCell": True,
            "searchByRegex": False,
            "includeFormulas": False,
            "range": {
                "sheetId": tab_id,
                "startRowIndex": 1,
                "startColumnIndex": replacement.column,
                "endColumnIndex": replacement.column + 1,
            },
        }
    }


def write_requests(write: SheetWrite) -> list[Json]:
    """The claim and the guards first: where they are refused, nothing else is tried. Then replacements, which undo what
    an earlier write put on a wrong row.
    """
    claimed = [claim_request(write.tab_id, write.claim)] if write.claim is not None else []
    guarded = [guard_request(write.tab_id, tag) for tag in write.guards]
    replaced = [find_replace(write.tab_id, replacement) for replacement in write.replacements]
    return claimed + guarded + replaced + [update_cells(write.tab_id, block) for block in blocks(write.updates)]


def batch_with_answer(requests: Sequence[Json], title: str) -> Json:
    """A batchUpdate that is answered with the whole tab, so that a misplaced write is seen in the same request."""
    return {
        "requests": list(requests),
        "includeSpreadsheetInResponse": True,
        "responseIncludeGridData": True,
        "responseRanges": [quote_title(title)],
    }
