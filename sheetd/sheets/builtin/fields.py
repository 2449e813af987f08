"""Field masks: `sheets(properties(sheetId,title),data/rowData)` as a tree, and a resource cut down to it.

The names of the resources that a mask may choose from are listed, so that a misspelt mask fails here as it would at
Google instead of giving an empty answer.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from sheetd.sheets.builtin.problems import ApiError, invalid

Mask = dict[str, Any]
"""Name -> mask of what is below; {} stands for everything below."""

ALL: Mask = {}

_TOKEN = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*|[*(),/.])")
_LONGEST = 4000

_ANY: dict[str, Any] = {"*": None}
_CELL = dict.fromkeys(
    [
        *("userEnteredValue", "effectiveValue", "userEnteredFormat", "effectiveFormat", "dataValidation"),
        *("dataSourceFormula", "dataSourceTable", "pivotTable", "textFormatRuns", "chipRuns"),
    ],
    _ANY,
) | dict.fromkeys(["formattedValue", "note", "hyperlink"])
_GRID = dict.fromkeys(
    [
        *("rowCount", "columnCount", "frozenRowCount", "frozenColumnCount", "hideGridlines"),
        *("rowGroupControlAfter", "columnGroupControlAfter"),
    ]
)
_SHEET_PROPERTIES: dict[str, Any] = {
    **dict.fromkeys(["sheetId", "title", "index", "sheetType", "hidden", "rightToLeft"]),
    "gridProperties": _GRID,
    "tabColor": _ANY,
    "tabColorStyle": _ANY,
    "dataSourceSheetProperties": _ANY,
}
_DATA: dict[str, Any] = {
    "startRow": None,
    "startColumn": None,
    "rowData": {"values": _CELL},
    "rowMetadata": _ANY,
    "columnMetadata": _ANY,
}
METADATA: dict[str, Any] = {
    **dict.fromkeys(["metadataId", "metadataKey", "metadataValue", "visibility"]),
    "location": _ANY,
}
_SHEET: dict[str, Any] = {
    "properties": _SHEET_PROPERTIES,
    "data": _DATA,
    "developerMetadata": METADATA,
    **dict.fromkeys(
        [
            *(
                "merges",
                "conditionalFormats",
                "filterViews",
                "protectedRanges",
                "basicFilter",
                "charts",
                "bandedRanges",
            ),
            *("rowGroups", "columnGroups", "slicers", "tables"),
        ],
        _ANY,
    ),
}
SPREADSHEET: dict[str, Any] = {
    "spreadsheetId": None,
    "spreadsheetUrl": None,
    "properties": _ANY,
    "sheets": _SHEET,
    "developerMetadata": METADATA,
    **dict.fromkeys(["namedRanges", "dataSources", "dataSourceSchedules"], _ANY),
}
BATCH_ANSWER: dict[str, Any] = {"spreadsheetId": None, "replies": _ANY, "updatedSpreadsheet": SPREADSHEET}
ANYTHING = _ANY
"""A resource whose names are not listed here: every name is accepted."""


@lru_cache(maxsize=256)
def _parse(text: str) -> Mask:
    if len(text) > _LONGEST:
        raise invalid("Request contains an invalid argument: fields is too long")
    tokens: list[str] = []
    at = 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None:
            raise invalid(f"Request contains an invalid argument. Invalid field selection {text}")
        tokens.append(match[1])
        at = match.end()
    mask: Mask = {}
    end = _parse_list(tokens, 0, mask, text)
    if end != len(tokens) or not tokens:
        raise invalid(f"Request contains an invalid argument. Invalid field selection {text}")
    return mask


def _parse_list(tokens: list[str], at: int, into: Mask, text: str, depth: int = 0) -> int:
    if depth > 20:
        raise invalid("Request contains an invalid argument. Invalid field selection: too deep")
    while True:
        path: list[str] = []
        while True:
            if at >= len(tokens) or tokens[at] in "(),/.":
                raise invalid(f"Request contains an invalid argument. Invalid field selection {text}")
            path.append(tokens[at])
            at += 1
            if at < len(tokens) and tokens[at] in "/.":
                at += 1
                continue
            break
        inner: Mask = {}
        if at < len(tokens) and tokens[at] == "(":
            at = _parse_list(tokens, at + 1, inner, text, depth + 1)
            if at >= len(tokens) or tokens[at] != ")":
                raise invalid(f"Request contains an invalid argument. Invalid field selection {text}")
            at += 1
        _add(into, path, inner)
        if at >= len(tokens) or tokens[at] != ",":
            return at
        at += 1


def _add(into: Mask, path: list[str], inner: Mask) -> None:
    *parents, name = path
    for parent in parents:
        if parent in into and not into[parent]:
            return
        into = into.setdefault(parent, {})
    if name in into and (not into[name] or not inner):
        into[name] = {}
        return
    target = into.setdefault(name, {})
    for key, below in inner.items():
        target[key] = below


def parse_mask(text: str | None, known: dict[str, Any]) -> Mask | None:
    """The tree of a mask, None for no mask; ApiError 400 for a syntax error or a name that `known` does not have."""
    if text is None:
        return None
    mask = _parse(text)
    _check(mask, known, text)
    return mask


def _check(mask: Mask, known: dict[str, Any] | None, text: str) -> None:
    for name, below in mask.items():
        if name == "*" or (known is not None and "*" in known):
            continue
        if known is None or name not in known:
            raise ApiError(400, f"Request contains an invalid argument. Invalid field selection {name} in {text}")
        _check(below, known[name], text)


def has(mask: Mask | None, name: str) -> bool:
    """Whether the mask chooses this field or something below it; no mask chooses everything."""
    return not mask or name in mask or "*" in mask


def below(mask: Mask | None, name: str) -> Mask | None:
    """The mask for what is below a chosen field; None for everything."""
    if not mask or "*" in mask:
        return None
    return mask.get(name) or None


def cut(value: Any, mask: Mask | None) -> Any:
    """A JSON value cut down to the mask; lists are cut element by element."""
    if not mask or "*" in mask:
        return value
    if isinstance(value, list):
        return [cut(item, mask) for item in value]
    if isinstance(value, dict):
        return {name: cut(item, mask[name]) for name, item in value.items() if name in mask}
    return value
