"""From the bytes of an answer to a Grid, fast.

A tab of 10,000 rows is read every few seconds and hardly changes. Decoding its JSON afresh costs most of a cycle, so
rows are recognised by their bytes: only those not seen in the last answer are decoded. The bytes `{"values":[` begin a
row and nothing else: inside a JSON string a quotation mark is escaped, after the end of a string no `v` can follow, and
no other object of our field mask has a key `values`. Where an answer does not have that form (white space, several
blocks) it is decoded as a whole.

Must not guess what a value means: `core` does that. Of each row it keeps a digest, not the bytes, which are as large
as the cells made of them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from sheetd.core.grid import BLANK, Cell, CellValue, Grid, Merge
from sheetd.sheets.claims import claim_of

Row: TypeAlias = tuple[Cell, ...]

_ROW_START = b'{"values":['
_ROWS_OPEN = re.compile(rb'"rowData":\[(?:\{\},)*\Z')
_BLANK_ROWS = re.compile(rb"(?:,\{\})*(?=\])")

# Every number of a sheet is a double; an int from JSON would compare equal but print differently.
_DECODER = json.JSONDecoder(parse_int=float)


class Answer(NamedTuple):
    """What an answer says. `grid` is None when it holds no tab (a write whose tab was renamed under it)."""

    spreadsheet_id: str
    grid: Grid | None


def digest_of(piece: bytes) -> bytes:
    """What stands for bytes of an answer: no two that anybody has found share one."""
    return hashlib.sha256(piece).digest()


class GridParser:
    """Decodes the answers of one tab, remembering the rows of the last one."""

    def __init__(self) -> None:
        self._rows_by_digest: dict[bytes, tuple[Row, ...]] = {}

    def parse(self, body: bytes, tab_id: int | None = None) -> Answer:
        """The tab `tab_id`, or the only one that came with cells where it is not known or not there.

        Raises ValueError when this is not an answer of the Sheets API with at most one such tab, in one block, and
        ClaimUnreadable when it is one, but nobody can say who serves the tab.
        """
        try:
            return self._by_rows(body, tab_id) or _whole(body, tab_id)
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"not in the form of a spreadsheet: {error!r}") from error

    def _by_rows(self, body: bytes, tab_id: int | None) -> Answer | None:
        """The answer, or None when it does not have the form in which rows can be told apart."""
        head, *pieces = body.split(_ROW_START)
        if not pieces or not _ROWS_OPEN.search(head):
            return None
        last, tail = _cut_row(pieces[-1])
        blank_rows = _BLANK_ROWS.match(tail)
        if blank_rows is None:
            return None
        pieces[-1] = last
        frame = head.rstrip(b",") + tail[blank_rows.end() :]
        document = _decode(frame)
        sheet = _chosen(document, tab_id)
        # With several blocks, or tabs, it would not be known whose rows these are.
        if (
            frame.count(b'"rowData":') != 1
            or sheet is None
            or ["rowData" in block for block in sheet.get("data", ())] != [True]
        ):
            return None
        known = self._rows_by_digest
        seen: dict[bytes, tuple[Row, ...]] = {}
        texts: dict[Cell, Cell] = {}
        rows: list[Row] = [()] * len(sheet["data"][0]["rowData"])
        for piece in pieces:
            digest = digest_of(piece)
            decoded = seen.get(digest) or known.get(digest)
            if decoded is None:
                decoded = _rows(_decode(b"[" + _ROW_START + piece.rstrip(b",") + b"]"), texts)
            seen[digest] = decoded
            rows.extend(decoded)
        self._rows_by_digest = seen
        return Answer(document["spreadsheetId"], _grid(sheet, rows, tab_id))


def _whole(body: bytes, tab_id: int | None) -> Answer:
    document = _decode(body)
    sheet = _chosen(document, tab_id)
    if sheet is None:
        return Answer(str(document["spreadsheetId"]), None)
    blocks = sheet.get("data", [])
    if len(blocks) > 1:
        raise ValueError("more than one block of cells")
    rows = _rows(blocks[0].get("rowData", []), {}) if blocks else ()
    return Answer(str(document["spreadsheetId"]), _grid(sheet, list(rows), tab_id))


def _decode(text: bytes) -> Any:
    return _DECODER.decode(text.decode("utf-8"))


def _cut_row(piece: bytes) -> tuple[bytes, bytes]:
    """Split the last row from what follows it."""
    text = (_ROW_START + piece).decode("utf-8")
    _, end = _DECODER.raw_decode(text)
    return text[:end].encode()[len(_ROW_START) :], text[end:].encode()


def _chosen(document: Mapping[str, Any], tab_id: int | None) -> Mapping[str, Any] | None:
    """The tab in question. That an answer to a write leaves out tabs that were not asked for is nowhere said.

    Among several, one without `data` is not an empty tab but one whose cells were not sent.
    """
    sheets: Sequence[Mapping[str, Any]] = document.get("updatedSpreadsheet", document).get("sheets", ())
    if len(sheets) == 1:
        return sheets[0]
    sent = [sheet for sheet in sheets if "data" in sheet]
    found = [sheet for sheet in sent if int(sheet["properties"].get("sheetId", 0)) == tab_id] or sent
    if len(found) > 1:
        raise ValueError("more than one tab with cells")
    return found[0] if found else None


def _grid(sheet: Mapping[str, Any], rows: list[Row], wanted_id: int | None) -> Grid:
    """`sheetId` 0 and zero starts are left out by Google. Another tab's claim is none of our business."""
    properties = sheet["properties"]
    size = properties.get("gridProperties", {})
    data: Sequence[Mapping[str, Any]] = sheet.get("data", ())
    block = data[0] if data else {}
    left = (BLANK,) * int(block.get("startColumn", 0))
    rows = [()] * int(block.get("startRow", 0)) + ([left + row if row else row for row in rows] if left else rows)
    while rows and not rows[-1]:
        rows.pop()
    tab_id, title = int(properties.get("sheetId", 0)), str(properties["title"])
    entries = sheet.get("developerMetadata", ()) if wanted_id in {None, tab_id} else ()
    return Grid(
        tab_id=tab_id,
        title=title,
        rows=tuple(rows),
        row_count=int(size.get("rowCount", 0)),
        column_count=int(size.get("columnCount", 0)),
        claim=claim_of(entries, tab_id, title),
        merges=tuple(_merge(one, size) for one in sheet.get("merges", ())),
    )


def _merge(area: Mapping[str, Any], size: Mapping[str, Any]) -> Merge:
    """A GridRange: what is left out at its beginning is 0, and at its end the end of the tab."""
    return Merge(
        top=int(area.get("startRowIndex", 0)),
        left=int(area.get("startColumnIndex", 0)),
        bottom=int(area.get("endRowIndex", size.get("rowCount", 0))),
        right=int(area.get("endColumnIndex", size.get("columnCount", 0))),
    )


def _rows(row_data: Sequence[Mapping[str, Any]], texts: dict[Cell, Cell]) -> tuple[Row, ...]:
    """`texts` has one cell for all that hold the same text: most of a tab's texts stand in many rows."""
    return tuple([_row(row.get("values", ()), texts) for row in row_data])


def _row(values: Sequence[Mapping[str, Any]], texts: dict[Cell, Cell]) -> Row:
    cells = [_cell(value, texts) if value else BLANK for value in values]
    while cells and cells[-1] is BLANK:
        cells.pop()
    return tuple(cells)


def _cell(data: Mapping[str, Any], texts: dict[Cell, Cell]) -> Cell:
    """A typed cell. An answer names at most one kind of effective value."""
    effective = data.get("effectiveValue")
    entered = data.get("userEnteredValue")
    formula: str | None = entered.get("formulaValue") if entered else None
    value: CellValue = None
    error: str | None = None
    if effective:
        if "stringValue" in effective:
            value = effective["stringValue"]
        elif "numberValue" in effective:
            value = float(effective["numberValue"])
        elif "boolValue" in effective:
            value = bool(effective["boolValue"])
        elif "errorValue" in effective:
            problem = effective["errorValue"]
            error = ": ".join(filter(None, (problem.get("type", "ERROR"), problem.get("message"))))
    if formula is None and error is None and (value is None or value == ""):
        return BLANK
    # Skips the keyword handling of the constructor, which is most of the cost at 200,000 cells.
    shown = data.get("formattedValue", "")
    cell: Cell = tuple.__new__(Cell, (value, value if shown == value else shown, formula, error))
    # Only texts: among numbers 1.0 would stand for True.
    return texts.setdefault(cell, cell) if type(value) is str else cell
