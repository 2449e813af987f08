"""The errors of the built-in sheet, in the shape in which Google's API says them.

Clients (gspread, our daemon) decide by `code` and `status`, people read `message`; so every message says what was wrong
with which part of the request. Nothing here may carry a token or a path of this machine.
"""

from __future__ import annotations

from typing import Any

#: google.rpc.Code, which has none for 405 and 413: those are said as 404 and 400.
STATUS_OF_CODE = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
}

#: How Drive names what its `errors` list, from "Resolve errors" in its guide; 501 it never says.
_DRIVE_REASON = {
    400: "badRequest",
    401: "authError",
    403: "forbidden",
    404: "notFound",
    500: "internalError",
    501: "notImplemented",
    503: "backendError",
}


class ApiError(Exception):
    """A request that is answered with an error; `code` is the HTTP status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def body(self, *, is_drive: bool = False) -> dict[str, Any]:
        """The JSON that Google's servers send: {"error": {code, message, status}}; Drive's lists its errors."""
        error: dict[str, Any] = {"code": self.code, "message": self.message, "status": STATUS_OF_CODE[self.code]}
        if is_drive:
            error["errors"] = [{"domain": "global", "reason": _DRIVE_REASON[self.code], "message": self.message}]
        return {"error": error}


def invalid(message: str) -> ApiError:
    """What Google answers to a request that can never work as written."""
    return ApiError(400, message)


def unimplemented(what: str) -> ApiError:
    """For what Google would accept and the built-in sheet cannot do: louder than pretending."""
    return ApiError(501, f"The built-in sheet does not implement {what}.")


def allow_only(payload: Any, names: frozenset[str], where: str) -> dict[str, Any]:
    """The object without its nulls (proto3 JSON: null means absent); an unknown name is refused as Google does."""
    if not isinstance(payload, dict):
        raise invalid(f"Invalid value at '{where}': an object is wanted")
    for name in payload:
        if name not in names:
            raise invalid(f"Invalid JSON payload received. Unknown name \"{name}\" at '{where}': Cannot find field.")
    return {name: value for name, value in payload.items() if value is not None}


def integer(value: Any, where: str, *, least: int = 0) -> int:
    """An int32 of a request; JSON booleans and fractions are refused."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**31:
        raise invalid(f"Invalid value at '{where}': {value!r}")
    return value


def boolean(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise invalid(f"Invalid value at '{where}' (TYPE_BOOL): {value!r}")
    return value


def text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise invalid(f"Invalid value at '{where}' (TYPE_STRING): {value!r}")
    return value


def items(value: Any, where: str) -> list[Any]:
    """A list of a request; null is an empty one."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise invalid(f"Invalid value at '{where}': a list is wanted")
    return value


def word(value: Any, where: str, known: frozenset[str]) -> str:
    """One of the words of an enum."""
    if not isinstance(value, str) or value not in known:
        raise invalid(f"Invalid value at '{where}' (TYPE_ENUM), {value!r}")
    return value
