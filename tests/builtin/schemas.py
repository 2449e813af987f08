"""The schemas of Google's documents as checks of JSON values, compiled once for each schema and mask.

Stricter than proto3 JSON is towards requests: an int32 is a JSON integer, an int64 a string of digits, an enum one of
its words. An answer holds no null outside of free-form values and nothing that its mask did not ask for.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any

from tests.builtin import masks
from tests.builtin.mismatch import MismatchError, at

Checker = Callable[[Any], None]

#: Objects of which Google's prose says that one of their fields is set; the documents cannot say it.
ONE_OF = frozenset({"DataFilter", "ExtendedValue", "Request", "Response"})
#: Of which exactly one is set, not at most one.
EXACTLY_ONE = frozenset({"DataFilter", "Request"})

#: What the mask of an update is a mask of: a field beside it, or a schema where that would be in a list.
UPDATE_MASKS: Mapping[str, str] = {
    **dict.fromkeys(("AppendCellsRequest", "UpdateCellsRequest"), "#CellData"),
    "RepeatCellRequest": "cell",
    "UpdateBandingRequest": "bandedRange",
    "UpdateDataSourceRequest": "dataSource",
    "UpdateDeveloperMetadataRequest": "developerMetadata",
    "UpdateDimensionGroupRequest": "dimensionGroup",
    "UpdateDimensionPropertiesRequest": "properties",
    "UpdateEmbeddedObjectBorderRequest": "border",
    "UpdateEmbeddedObjectPositionRequest": "newPosition",
    "UpdateFilterViewRequest": "filter",
    "UpdateNamedRangeRequest": "namedRange",
    "UpdateProtectedRangeRequest": "protectedRange",
    "UpdateSheetPropertiesRequest": "properties",
    "UpdateSlicerSpecRequest": "spec",
    "UpdateSpreadsheetPropertiesRequest": "properties",
    "UpdateTableRequest": "table",
}

_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})", re.ASCII)
_TEXTS: Mapping[str, re.Pattern[str]] = {
    "int64": re.compile(r"-?(0|[1-9][0-9]*)"),
    "uint64": re.compile(r"0|[1-9][0-9]*"),
    "date": re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII),
    "date-time": _MOMENT,
    "google-datetime": _MOMENT,
}
_INTEGERS = {"int32": range(-(2**31), 2**31), "uint32": range(2**32)}
_FLOAT_WORDS = frozenset({"NaN", "Infinity", "-Infinity"})


class Schemas:
    """The schemas of one document for one direction."""

    def __init__(
        self, document: Mapping[str, Any], *, is_request: bool, passed_over: frozenset[str] = frozenset()
    ) -> None:
        """`passed_over`: names that are let through though no schema has them."""
        self._document = document
        self._is_request = is_request
        self._passed_over = passed_over
        self._named: dict[str, Checker] = {}
        self._masked: dict[tuple[str, str], Checker] = {}

    def checker(self, name: str, mask: str | None = None) -> Checker:
        """The check of a named schema; with a mask, what it did not choose is refused."""
        if mask is None:
            return self._checker({"$ref": name}, {})
        if (name, mask) not in self._masked:
            masks.check(self._document, {"$ref": name}, mask)
            self._masked[name, mask] = self._checker({"$ref": name}, masks.parse(mask))
        return self._masked[name, mask]

    def _checker(self, schema: Mapping[str, Any], mask: masks.Tree) -> Checker:
        if "$ref" in schema:
            name = schema["$ref"]
            if mask:
                return self._object(self._document["schemas"][name], mask)
            if name not in self._named:
                self._named[name] = self._object(self._document["schemas"][name], mask)
            return self._named[name]
        kind = schema.get("type", "any")
        if kind == "any":
            return _anything
        if kind == "array":
            return self._list(schema["items"], mask)
        return self._object(schema, mask) if kind == "object" else _scalar(schema, kind)

    def _list(self, items: Mapping[str, Any], mask: masks.Tree) -> Checker:
        one = self._checker(items, mask)
        free = one is _anything

        def check(value: Any) -> None:
            if type(value) is not list:
                raise MismatchError(f"a list is wanted, not {_short(value)}")
            for index, item in enumerate(value):
                try:
                    (_refuse_null if item is None and not free else one)(item)
                except MismatchError as error:  # noqa: PERF203 - to know the place costs nothing where nothing is raised
                    error.where.append(f"[{index}]")
                    raise

        return check

    def _object(self, schema: Mapping[str, Any], mask: masks.Tree) -> Checker:
        if schema.get("type") == "any":
            return _anything
        known: dict[str, Checker] = {}
        is_request, find = self._is_request, self._finder(schema, mask, known)
        also = self._of_the_whole(schema)

        def check(value: Any) -> None:
            if type(value) is not dict:
                raise MismatchError(f"an object is wanted, not {_short(value)}")
            for name, item in value.items():
                one = known.get(name) or find(name)
                if item is None and (is_request or one is _anything):
                    continue
                try:
                    (_refuse_null if item is None else one)(item)
                except MismatchError as error:
                    error.where.append(f".{name}")
                    raise
            if also is not None:
                also(value)

        return check

    def _finder(
        self, schema: Mapping[str, Any], mask: masks.Tree, known: dict[str, Checker]
    ) -> Callable[[str], Checker]:
        """Compiles the check of a field when it is first met, since schemas hold themselves; refuses other names."""
        properties, free = schema.get("properties", {}), schema.get("additionalProperties")

        def find(name: str) -> Checker:
            found = properties.get(name, free)
            if found is None:
                if name in self._passed_over:
                    return _anything
                raise MismatchError(f"unknown name {name!r} in {schema.get('id', 'an object')}")
            if mask and name not in mask and "*" not in mask:
                raise MismatchError(f"{name!r} was not asked for by fields")
            known[name] = self._checker(found, mask.get(name, mask.get("*", {})))
            return known[name]

        return find

    def _of_the_whole(self, schema: Mapping[str, Any]) -> Checker | None:
        """What fields of an object demand of each other."""
        name = schema.get("id", "")
        if name in ONE_OF:
            least = 1 if name in EXACTLY_ONE and self._is_request else 0

            def one_of(value: dict[str, Any]) -> None:
                there = sorted(key for key, item in value.items() if item is not None)
                if not least <= len(there) <= 1:
                    raise MismatchError(f"one field of {name} is set, not {there}")

            return one_of
        return self._update_mask(schema) if self._is_request and name in UPDATE_MASKS else None

    def _update_mask(self, schema: Mapping[str, Any]) -> Checker:
        target = UPDATE_MASKS[schema["id"]]
        of: Mapping[str, Any] = {"$ref": target[1:]} if target[0] == "#" else schema["properties"][target]

        def check(value: dict[str, Any]) -> None:
            with at(".fields"):
                if not value.get("fields"):
                    raise MismatchError("an update needs a mask")
                masks.check(self._document, of, value["fields"], is_update=True)

        return check


def parameter(schema: Mapping[str, Any]) -> Checker:
    """The check of one value of a parameter in a path or a query, where everything is text."""
    kind, integers = schema["type"], _INTEGERS.get(schema.get("format", ""))

    def check(text: str) -> None:
        if kind == "boolean":
            fits = text in {"true", "false"}
        elif integers is not None:
            fits = re.fullmatch("-?[0-9]+", text) is not None and int(text) in integers
            fits = fits and int(schema.get("minimum", text)) <= int(text) <= int(schema.get("maximum", text))
        else:
            _scalar(schema, kind)(text)
            fits = re.fullmatch(schema.get("pattern", ".*"), text, re.DOTALL) is not None
        if not fits:
            raise MismatchError(f"{text!r} is not a {schema.get('format', kind)} that is allowed")

    return check


def _anything(_value: Any) -> None:
    """A free-form value: JSON of any kind."""


def _refuse_null(_value: Any) -> None:
    raise MismatchError("null where something is wanted: what is not there is left out")


def _scalar(schema: Mapping[str, Any], kind: str) -> Checker:
    if kind == "boolean":
        return _boolean
    if kind == "number":
        return _number
    if kind == "integer":
        return _integer(schema["format"])
    if kind != "string":
        raise MismatchError(f"a schema of the unknown type {kind}")
    if "enum" in schema:
        return _enum(frozenset(schema["enum"]))
    wanted = schema.get("format")
    if wanted == "byte":
        return _bytes
    return _formatted(wanted, _TEXTS[wanted]) if wanted in _TEXTS else _text


def _boolean(value: Any) -> None:
    if type(value) is not bool:
        raise MismatchError(f"{_short(value)} is not a boolean")


def _number(value: Any) -> None:
    if type(value) is not float and type(value) is not int and value not in _FLOAT_WORDS:
        raise MismatchError(f"{_short(value)} is not a number")


def _text(value: Any) -> None:
    if type(value) is not str:
        raise MismatchError(f"{_short(value)} is not a string")


def _bytes(value: Any) -> None:
    _text(value)
    try:
        base64.urlsafe_b64decode(value)
    except binascii.Error as error:
        raise MismatchError(f"{_short(value)} is not base64") from error


def _integer(wanted: str) -> Checker:
    allowed = _INTEGERS[wanted]

    def check(value: Any) -> None:
        if type(value) is not int or value not in allowed:
            raise MismatchError(f"{_short(value)} is not an {wanted}")

    return check


def _enum(words: frozenset[str]) -> Checker:
    def check(value: Any) -> None:
        if type(value) is not str or value not in words:
            raise MismatchError(f"{_short(value)} is not one of {sorted(words)}")

    return check


def _formatted(wanted: str, pattern: re.Pattern[str]) -> Checker:
    def check(value: Any) -> None:
        if type(value) is not str or not pattern.fullmatch(value):
            raise MismatchError(f"{_short(value)} is not a {wanted} in a string")

    return check


def _short(value: Any) -> str:
    said = repr(value)
    return said if len(said) <= 100 else said[:100] + "..."
