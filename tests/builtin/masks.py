"""Field masks held against Google's documents: each path that is asked for, or updated, must be one of the schema's.

Grammars: partial responses (`fields=a,b(c,d),e/f`, https://developers.google.com/workspace/sheets/api/guides/field-masks)
and the masks of updates, which are paths with commas or dots between them, relative to one part of their request.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

#: Of each kind of batchUpdate request with a mask: the schema that the paths are of.
MASKED = {
    "updateSpreadsheetProperties": "SpreadsheetProperties",
    "updateSheetProperties": "SheetProperties",
    "updateDimensionProperties": "DimensionProperties",
    "updateNamedRange": "NamedRange",
    "repeatCell": "CellData",
    "updateCells": "CellData",
    "appendCells": "CellData",
    "updateFilterView": "FilterView",
    "updateProtectedRange": "ProtectedRange",
    "updateDeveloperMetadata": "DeveloperMetadata",
    "updateBanding": "BandedRange",
}
_TOKEN = re.compile(r"\s*([A-Za-z0-9_]+|\*|[(),/.])")


class MaskError(ValueError):
    """A mask that Google would refuse."""


def check_mask(document: dict[str, Any], schema: str, mask: str) -> None:
    """Raise MaskError unless every path of the mask is one of the schema."""
    for path in paths_of(mask):
        _follow(document, {"$ref": schema}, path, mask)


@lru_cache(maxsize=512)
def paths_of(mask: str) -> tuple[tuple[str, ...], ...]:
    """Every path of a mask, by its names. Raises MaskError for what is no mask."""
    tokens = _tokens(mask)
    found, place = _list(tokens, 0, ())
    if place != len(tokens) or not found:
        raise MaskError(f"{mask!r} is no mask of fields")
    return tuple(found)


def _tokens(mask: str) -> list[str]:
    tokens, place = [], 0
    while place < len(mask):
        match = _TOKEN.match(mask, place)
        if match is None:
            raise MaskError(f"{mask!r} is no mask of fields: {mask[place:]!r}")
        tokens.append(match[1])
        place = match.end()
    return tokens


def _list(tokens: list[str], place: int, above: tuple[str, ...]) -> tuple[list[tuple[str, ...]], int]:
    found: list[tuple[str, ...]] = []
    while True:
        more, place = _item(tokens, place, above)
        found += more
        if place >= len(tokens) or tokens[place] != ",":
            return found, place
        place += 1


def _item(tokens: list[str], place: int, above: tuple[str, ...]) -> tuple[list[tuple[str, ...]], int]:
    path = above
    while True:
        if place >= len(tokens) or tokens[place] in {"(", ")", ",", "/", "."}:
            raise MaskError(f"{''.join(tokens)!r} is no mask of fields: a name is wanted")
        path, place = (*path, tokens[place]), place + 1
        if place >= len(tokens) or tokens[place] not in {"/", "."}:
            break
        place += 1
    if place >= len(tokens) or tokens[place] != "(":
        return [path], place
    found, place = _list(tokens, place + 1, path)
    if place >= len(tokens) or tokens[place] != ")":
        raise MaskError(f"{''.join(tokens)!r} is no mask of fields: a bracket is open")
    return found, place + 1


def _follow(document: dict[str, Any], schema: dict[str, Any], path: tuple[str, ...], mask: str) -> None:
    for depth, name in enumerate(path):
        while "$ref" in schema or schema.get("type") == "array":
            schema = document["schemas"][schema["$ref"]] if "$ref" in schema else schema["items"]
        if name == "*":
            if depth != len(path) - 1:
                raise MaskError(f"{mask!r}: nothing may follow a *")
            return
        properties = schema.get("properties", {})
        if name not in properties:
            raise MaskError(f"{mask!r}: there is no field {'.'.join(path[: depth + 1])}")
        schema = properties[name]
