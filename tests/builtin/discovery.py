"""Google's own description of its API, held against what is sent and what is answered.

The documents come with google-api-python-client (a test dependency), so nothing is fetched. They know names, types,
enums and addresses; what they do not know (errors, one-ofs, what a mask is of) is added here and in `schemas` from
Google's prose. Weak: they do not know which fields of a body are required, or what anything means.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.builtin import masks
from tests.builtin.mismatch import MismatchError, at
from tests.builtin.schemas import Schemas, parameter

LENIENT_QUERY = frozenset({"includeItemsFromAllDrives", "sendNotificationEmail", "emailMessage"})
"""What gspread sends to Drive on methods that do not know it; Drive ignores it."""

LENIENT_BODY = frozenset({"withLink"})
"""gspread sends Drive v2's name in a v3 permission."""

#: google.rpc.Code by HTTP status, from google/rpc/code.proto. 405 and 413 have none.
STATUSES: Mapping[int, frozenset[str]] = {
    400: frozenset({"INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE"}),
    401: frozenset({"UNAUTHENTICATED"}),
    403: frozenset({"PERMISSION_DENIED"}),
    404: frozenset({"NOT_FOUND"}),
    409: frozenset({"ABORTED", "ALREADY_EXISTS"}),
    429: frozenset({"RESOURCE_EXHAUSTED"}),
    499: frozenset({"CANCELLED"}),
    500: frozenset({"INTERNAL", "UNKNOWN", "DATA_LOSS"}),
    501: frozenset({"UNIMPLEMENTED"}),
    503: frozenset({"UNAVAILABLE"}),
    504: frozenset({"DEADLINE_EXCEEDED"}),
}
_ERROR_NAMES = frozenset({"code", "message", "status", "details", "errors"})
_DRIVE_NAMES = frozenset({"domain", "reason", "message", "location", "locationType"})


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
        pattern = re.escape(f"/{prefix}{item.get('flatPath', item['path'])}")
        pattern = re.sub(r"\\\{([A-Za-z]+)\\\}", r"(?P<\1>[^/]+?)", pattern)
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


def method_of(verb: str, path: str) -> Method:
    """The method that is meant; MismatchError where Google has none. `path` is as it is sent, percent signs and all."""
    # The longest pattern: `values/{range}:append` before `values/{range}`.
    fitting = [method for method in methods() if method.verb == verb.upper() and method.path.fullmatch(path)]
    if not fitting:
        raise MismatchError(f"Google has no {verb.upper()} {path}")
    return max(fitting, key=lambda method: len(method.path.pattern))


def check_request(verb: str, url: str, body: Any, *, is_lenient: bool = False) -> None:
    """Raise MismatchError unless Google's documents allow this request. Lenient: as gspread is known to write it."""
    parts = urlsplit(url)
    method = method_of(verb, parts.path)
    query = parse_qsl(parts.query, keep_blank_values=True)
    with at(method.id):
        _check_path(method, parts.path)
        _check_query(method, query, is_lenient=is_lenient)
        if body is not None and method.request is None:
            raise MismatchError("takes no body")
    if method.request is not None:
        schemas = _schemas(method.id.partition(".")[0], is_request=True, is_lenient=is_lenient)
        with at(f"{method.id} request"):
            schemas.checker(method.request)({} if body is None else body)


def check_answer(verb: str, url: str, status: int, answer: Any) -> None:
    """Raise MismatchError unless Google's documents allow this answer; `answer` is None for an empty one."""
    parts = urlsplit(url)
    if status >= 400:
        check_error(answer, status, is_drive=not parts.path.startswith("/v4/"))
        return
    method = method_of(verb, parts.path)
    with at(f"{method.id} answer"):
        if (answer is None) != (method.response is None):
            raise MismatchError(f"a {method.response} is wanted" if answer is None else "nothing is wanted")
        if method.response is not None:
            mask = dict(parse_qsl(parts.query)).get("fields")
            _schemas(method.id.partition(".")[0], is_request=False, is_lenient=False).checker(method.response, mask)(
                answer
            )


@lru_cache(maxsize=8)
def _schemas(api: str, *, is_request: bool, is_lenient: bool) -> Schemas:
    document = next(method.document for method in methods() if method.id.startswith(f"{api}."))
    return Schemas(document, is_request=is_request, passed_over=LENIENT_BODY if is_lenient else frozenset())


def check_error(answer: Any, status: int, *, is_drive: bool = False) -> None:
    """The shape that all of Google's JSON errors have. Drive's lists its `errors`, and may leave out `status`."""
    with at(f"the answer {status} is not an error of Google's"):
        error = answer.get("error") if isinstance(answer, dict) and set(answer) == {"error"} else None
        if not isinstance(error, dict):
            raise MismatchError(f"only an object `error` is wanted, not {str(answer)[:100]!r}")
        _check_code(error, status, is_drive=is_drive)
        if set(error) - _ERROR_NAMES:
            raise MismatchError(f"unknown names {sorted(set(error) - _ERROR_NAMES)}")
        if is_drive:
            _check_drive_errors(error.get("errors"))
        for detail in error.get("details", []):
            if not isinstance(detail, dict) or not isinstance(detail.get("@type"), str):
                raise MismatchError("a detail has no @type")


def _check_code(error: dict[str, Any], status: int, *, is_drive: bool) -> None:
    if error.get("code") != status or type(error["code"]) is not int:
        raise MismatchError(f"code is {error.get('code')!r}")
    if not isinstance(error.get("message"), str) or not error["message"]:
        raise MismatchError("it has no message")
    if status not in STATUSES:
        raise MismatchError("google.rpc.Code has nothing for it")
    if not (is_drive and "status" not in error) and error.get("status") not in STATUSES[status]:
        raise MismatchError(f"status is {error.get('status')!r}, not one of {sorted(STATUSES[status])}")


def _check_drive_errors(errors: Any) -> None:
    if not isinstance(errors, list) or not errors:
        raise MismatchError("Drive lists its errors")
    for one in errors:
        if not isinstance(one, dict) or set(one) - _DRIVE_NAMES or not {"domain", "reason", "message"} <= set(one):
            raise MismatchError(f"{one!r} is not an error of Drive's")
        if not all(isinstance(text, str) and text for text in one.values()):
            raise MismatchError(f"{one!r} holds something else than text")


def _check_path(method: Method, path: str) -> None:
    match = method.path.fullmatch(path)
    assert match is not None
    for name, text in match.groupdict().items():
        _check_value(method.parameters[name], name, unquote(text))


def _check_query(method: Method, query: list[tuple[str, str]], *, is_lenient: bool) -> None:
    names = [name for name, _ in query]
    for name, known in method.parameters.items():
        if known.get("required") and known["location"] == "query" and name not in names:
            raise MismatchError(f"the query parameter {name} is missing")
        if names.count(name) > 1 and not known.get("repeated"):
            raise MismatchError(f"the query parameter {name} is there {names.count(name)} times")
    for name, value in query:
        known = method.parameters.get(name)
        if known is None and is_lenient and method.id.startswith("drive.") and name in LENIENT_QUERY:
            continue
        if known is None or known["location"] != "query":
            raise MismatchError(f"there is no query parameter {name}")
        # gspread lets Python spell its booleans.
        is_spelt_so = is_lenient and value in {"True", "False"} and known["type"] == "boolean"
        _check_value(known, name, value.lower() if is_spelt_so else value)
        if name == "fields":
            if method.response is None:
                raise MismatchError("fields cannot choose from an answer of nothing")
            masks.check(method.document, {"$ref": method.response}, value)


def _check_value(known: dict[str, Any], name: str, value: str) -> None:
    with at(f" {name}"):
        parameter(known)(value)


def sheets_document() -> dict[str, Any]:
    return next(method.document for method in methods() if method.id.startswith("sheets."))


def sheets_schema(name: str) -> dict[str, Any]:
    """One schema of the Sheets document."""
    found: dict[str, Any] = sheets_document()["schemas"][name]
    return found


def request_kinds() -> set[str]:
    """The kinds of batchUpdate requests that Google has."""
    return set(sheets_schema("Request")["properties"])
