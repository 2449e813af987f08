"""From an HTTP request to a call of the API and back: bodies, bounds, errors, and off the event loop.

The handlers in `api_*` are plain functions from a Call to an answer; they know nothing of sockets. Every error leaves
in Google's shape. A body is read only up to its bound, whatever its Content-Length says.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from sheetd.sheets.builtin.problems import ApiError, invalid
from sheetd.sheets.builtin.render import AnswerCache, encode
from sheetd.sheets.builtin.store import Store

LARGEST_BODY = 32 * 2**20

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Call:
    """One request of the API. `body` is parsed JSON, None for an empty body."""

    store: Store
    cache: AnswerCache
    path: dict[str, str]
    query: QueryParams
    body: Any
    base_url: str

    def spreadsheet_url(self, key: str) -> str:
        return f"{self.base_url}/?s={key}"

    def flag(self, name: str) -> bool:
        """A boolean query parameter."""
        value = self.query.get(name, "false").lower()
        if value not in {"true", "false", ""}:
            raise invalid(f"Invalid value at '{name}' (TYPE_BOOL), \"{value}\"")
        return value == "true"

    def allow_query(self, *names: str) -> None:
        """Refuse an unknown query parameter, as Sheets does (Drive ignores them)."""
        for name in self.query:
            if name not in names and name not in {"fields", "alt", "prettyPrint", "key", "quotaUser", "$.xgafv"}:
                raise invalid(
                    f'Invalid JSON payload received. Unknown name "{name}": Cannot bind query parameter. '
                    "Field could not be found in request message."
                )


Handler = Callable[[Call], Any]


def endpoint(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """Serve a handler: its answer is a JSON value, bytes of JSON, or a Response; an ApiError becomes Google's error."""

    async def serve(request: Request) -> Response:
        try:
            call = Call(
                request.app.state.store,
                request.app.state.cache,
                dict(request.path_params),
                request.query_params,
                parse_json(await read_body(request)),
                f"{request.url.scheme}://{request.headers['host']}",
            )
            return await run_in_threadpool(_answer, handler, call)
        except ApiError as error:
            return error_response(error, request.url.path)
        except (
            ClientDisconnect
        ):  # before it had said what it wants: a daemon that was killed, or a page that was closed
            return Response(status_code=400)
        except Exception:
            # The bug is for our log; the client learns only that it was not its fault.
            log.exception("The built-in sheet failed on %s %s", request.method, request.url.path)
            return error_response(ApiError(500, "Internal error encountered."), request.url.path)

    return serve


def _answer(handler: Handler, call: Call) -> Response:
    answer = handler(call)
    if isinstance(answer, Response):
        return answer
    content = answer if isinstance(answer, bytes) else encode(answer).encode()
    return Response(content, media_type="application/json")


def error_response(error: ApiError, path: str) -> Response:
    """The error as the API at this path says it."""
    headers = {"WWW-Authenticate": 'Bearer realm="sheetd"'} if error.code == 401 else None
    content = json.dumps(error.body(is_drive=not path.startswith("/v4/")))
    return Response(content, error.code, headers, media_type="application/json")


async def read_body(request: Request) -> bytes:
    """The whole body; ApiError 400 beyond the bound."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > LARGEST_BODY:
            raise invalid(f"Request payload size exceeds the limit: {LARGEST_BODY} bytes.")
        chunks.append(chunk)
    return b"".join(chunks)


def parse_json(content: bytes | str) -> Any:
    """The JSON value of a body, None for an empty one; ApiError 400 for anything that is not strict JSON."""
    if not content:
        return None
    try:
        return json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise invalid("Invalid JSON payload received. Unexpected token.") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
