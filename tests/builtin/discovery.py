"""Google's own description of its API, held against what is sent and what is answered.

The documents come with google-api-python-client (a test dependency). They know names, types and enums; they do not know
which fields are required or what anything means. `Google.check` is for one exchange; use it on every request of a test.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.builtin.masks import MASKED, MaskError, check_mask

LENIENT_QUERY = {"includeItemsFromAllDrives", "sendNotificationEmail", "emailMessage"}
"""What gspread sends to Drive on methods that do not know it; Drive ignores it."""

LENIENT_BODY = {"withLink"}
"""gspread sends Drive v2's name in a v3 permission."""

_FLOAT_WORDS = {"NaN", "Infinity", "-Infinity"}


@dataclass(frozen=True)
class Method:
    """One method of a discovery document."""

    id: str
    verb: str
    path: re.Pattern[str]
    parameters: dict[str, Any]
    request: str | None
    response: str | None
    document: dict[str, Any]


#: What Google's servers say in `status` (https://cloud.google.com/apis/design/errors, google.rpc.Code).
CANONICAL = {
    400: {"INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE"},
    401: {"UNAUTHENTICATED"},
    403: {"PERMISSION_DENIED"},
    404: {"NOT_FOUND"},
    409: {"ALREADY_EXISTS", "ABORTED"},
    429: {"RESOURCE_EXHAUSTED"},
    499: {"CANCELLED"},
    500: {"INTERNAL", "UNKNOWN", "DATA_LOSS"},
    501: {"UNIMPLEMENTED"},
    503: {"UNAVAILABLE"},
    504: {"DEADLINE_EXCEEDED"},
}


@lru_cache(maxsize=1)
def methods() -> list[Method]:
    found: list[Method] = []
    for name in ("sheets.v4", "drive.v3"):
        text = files("googleapiclient.discovery_cache.documents").joinpath(f"{name}.json").read_text("utf-8")
        document = json.loads(text)
        found += _methods(document, document["servicePath"])
    return found


def _methods(node: dict[str, Any], prefix: str) -> list[Method]:
    found = []
    document = node if "schemas" in node else node["document"]
    for item in node.get("methods", {}).values():
        path = item.get("flatPath", item["path"])
        pattern = re.escape(f"/{prefix}{path}").replace(r"\{", "{").replace(r"\}", "}")
        pattern = re.sub(r"\{[A-Za-z]+\}", "[^/]+?", pattern)
        found.append(
            Method(
                item["id"],
                item["httpMethod"],
                re.compile(pattern),
                item.get("parameters", {}) | document["parameters"],
                item.get("request", {}).get("$ref"),
                item.get("response", {}).get("$ref"),
                document,
            )
        )
    for resource in node.get("resources", {}).values():
        found += _methods({**resource, "document": document}, prefix)
    return found


class MismatchError(AssertionError):
    """Something that Google would not send or take; the message says where."""


def method_of(verb: str, path: str) -> Method:
    # The longest pattern: `values/{range}:append` before `values/{range}`.
    fitting = [method for method in methods() if method.verb == verb.upper() and method.path.fullmatch(path)]
    if not fitting:
        raise MismatchError(f"Google has no {verb.upper()} {path}")
    return max(fitting, key=lambda method: len(method.path.pattern))


def check(verb: str, url: str, body: Any, status: int, answer: Any) -> None:
    """Raise MismatchError unless Google's documents allow this request and this answer."""
    parts = urlsplit(url)
    method = method_of(verb, parts.path)
    given = parse_qsl(parts.query, keep_blank_values=True)
    for name, value in given:
        _check_parameter(method, name, value)
    _check_presence(method, [name for name, _ in given])
    if body is not None:
        if method.request is None:
            raise MismatchError(f"{method.id} takes no body")
        walk(method.document, {"$ref": method.request}, body, f"{method.id} request")
        if method.id == "sheets.spreadsheets.batchUpdate":
            _check_update_masks(method, body)
    if status >= 400:
        check_error(answer, status)
    elif answer is not None and method.response is not None:
        walk(method.document, {"$ref": method.response}, answer, f"{method.id} response", nulls=False)


def check_error(answer: Any, status: int) -> None:
    """The shape that all of Google's JSON errors have."""
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict) or error.get("code") != status:
        raise MismatchError(f"not Google's error shape: {answer}")
    if not isinstance(error.get("message"), str):
        raise MismatchError(f"not Google's error shape: {answer}")
    if error.get("status") not in CANONICAL.get(status, ()):
        raise MismatchError(f"{error.get('status')} is not what Google calls {status}")


def _check_presence(method: Method, given: list[str]) -> None:
    for name, known in method.parameters.items():
        if known.get("location") != "query":
            continue
        if known.get("required") and name not in given:
            raise MismatchError(f"{method.id} needs the query parameter {name}")
        if not known.get("repeated") and given.count(name) > 1:
            raise MismatchError(f"{method.id} takes the query parameter {name} once")


def _check_update_masks(method: Method, body: Any) -> None:
    for index, request in enumerate(body.get("requests") or ()):
        for kind, told in request.items():
            if kind not in MASKED or not isinstance(told, dict):
                continue
            try:
                check_mask(method.document, MASKED[kind], told.get("fields") or "")
            except MaskError as error:
                raise MismatchError(f"{method.id} request.requests[{index}].{kind}.fields: {error}") from error


def _check_parameter(method: Method, name: str, value: str) -> None:
    known = method.parameters.get(name)
    if known is None:
        if method.id.startswith("drive.") and name in LENIENT_QUERY:
            return
        raise MismatchError(f"{method.id} has no query parameter {name}")
    if known["type"] == "boolean" and value.lower() not in {"true", "false"}:
        raise MismatchError(f"{method.id}: {name}={value} is not a boolean")
    if known["type"] in {"integer", "number"} and not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value):
        raise MismatchError(f"{method.id}: {name}={value} is not a number")
    if "enum" in known and value not in known["enum"]:
        raise MismatchError(f"{method.id}: {name}={value} is not one of {known['enum']}")
    if name == "fields" and method.response is not None:
        try:
            check_mask(method.document, method.response, value)
        except MaskError as error:
            raise MismatchError(f"{method.id}: fields={error}") from error


def walk(document: dict[str, Any], schema: dict[str, Any], value: Any, where: str, *, nulls: bool = True) -> None:
    """Hold a JSON value against a schema of a document; `nulls` allows null for absent, as proto3 JSON does."""
    if value is None and nulls:
        return
    if "$ref" in schema:
        walk(document, document["schemas"][schema["$ref"]], value, where, nulls=nulls)
        return
    kind = schema.get("type", "any")
    if kind == "any":
        return
    if kind == "object":
        _walk_object(document, schema, value, where, nulls=nulls)
    elif kind == "array":
        if not isinstance(value, list):
            raise MismatchError(f"{where}: a list is wanted, not {value!r}")
        for index, item in enumerate(value):
            walk(document, schema["items"], item, f"{where}[{index}]", nulls=nulls)
    elif not _fits(schema, kind, value):
        raise MismatchError(f"{where}: {value!r} is not a {schema.get('format', kind)} {schema.get('enum', '')}")


def _walk_object(document: dict[str, Any], schema: dict[str, Any], value: Any, where: str, *, nulls: bool) -> None:
    if not isinstance(value, dict):
        raise MismatchError(f"{where}: an object is wanted, not {value!r}")
    properties, extra = schema.get("properties", {}), schema.get("additionalProperties")
    for name, item in value.items():
        if name in properties:
            walk(document, properties[name], item, f"{where}.{name}", nulls=nulls)
        elif extra is not None:
            walk(document, extra, item, f"{where}.{name}", nulls=nulls)
        elif name not in LENIENT_BODY:
            raise MismatchError(f"{where}: unknown name {name!r}")


def _fits(schema: dict[str, Any], kind: str, value: Any) -> bool:
    if kind == "boolean":
        return isinstance(value, bool)
    if kind in {"integer", "number"}:
        if value in _FLOAT_WORDS:
            return kind == "number"
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return is_number and (kind == "number" or (float(value).is_integer() and -(2**31) <= value < 2**31))
    if not isinstance(value, str):
        return False
    if schema.get("format") == "int64":
        return re.fullmatch("-?[0-9]+", value) is not None
    return "enum" not in schema or value in schema["enum"]


def sheets_schema(name: str) -> dict[str, Any]:
    """One schema of the Sheets document."""
    document = next(method.document for method in methods() if method.id.startswith("sheets."))
    found: dict[str, Any] = document["schemas"][name]
    return found


def request_kinds() -> set[str]:
    """The kinds of batchUpdate requests that Google has."""
    return set(sheets_schema("Request")["properties"])
