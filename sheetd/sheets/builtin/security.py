"""Who may talk to the built-in sheet, checked before anything else sees a request.

The server listens on loopback, but any web page in the same browser can send requests there, and a rebound DNS name
can read the answers. So: a random token per start, the Host must be this machine, the Origin must be the page itself,
the API takes only a Bearer token (never the cookie), nothing is shared across origins, and no inline script runs.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sheetd.sheets.builtin.calls import error_response
from sheetd.sheets.builtin.problems import ApiError

_HOST = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?", re.IGNORECASE)
_API = ("/v4/", "/drive/", "/upload/")
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
NOT_ALLOWED = 4401
"""WebSocket close code for a page whose cookie is not (or no longer) valid."""


def content_security_policy(host: str) -> str:
    """Only our own files and our own socket; `host` has been checked."""
    return (
        f"default-src 'self'; connect-src 'self' ws://{host}; style-src 'self'; img-src 'self' data:; "
        "object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'"
    )


class Guard:
    """The outermost ASGI layer."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app = app
        self._token = token
        # The cookie is derived: who steals it gets the page, not the API.
        self._cookie = hmac.new(token.encode(), b"page", hashlib.sha256).hexdigest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send, headers)
            return
        answer = self._refusal(scope, headers)
        target: ASGIApp = self.app if answer is None else answer

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                out = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    out[name] = value
                if _HOST.fullmatch(host):
                    out["content-security-policy"] = content_security_policy(host)
            await send(message)

        await target(scope, receive, send_guarded)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        host, path = headers.get("host", ""), str(scope["path"])
        if not _HOST.fullmatch(host):
            return _forbidden("This server answers only under the name localhost or 127.0.0.1.", path)
        origin = headers.get("origin")
        if origin is not None and not _same_origin(origin, host):
            return _forbidden("Requests from other sites are refused.", path)
        if path.startswith(_API):
            return self._api_refusal(headers, path)
        if scope["method"] not in {"GET", "HEAD"}:
            return PlainTextResponse("Method not allowed.\n", 405)
        return self._page_refusal(scope, headers)

    def _api_refusal(self, headers: Headers, path: str) -> Response | None:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _equal(given.strip(), self._token):
            return None
        return error_response(
            ApiError(401, "Request had invalid authentication credentials. Expected the built-in sheet's token."),
            path,
        )

    def _page_refusal(self, scope: Scope, headers: Headers) -> Response | None:
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if scope["path"] == "/" and "token" in query:
            if not _equal(query.pop("token")[0], self._token):
                return PlainTextResponse("This link is of an earlier start. Open the one that sheetd shows now.\n", 403)
            target = "/?" + urlencode(query, doseq=True) if query else "/"
            answer = RedirectResponse(target, 303)
            answer.set_cookie(
                _cookie_name(headers.get("host", "")), self._cookie, httponly=True, samesite="strict", path="/"
            )
            return answer
        if self._has_cookie(headers):
            return None
        return PlainTextResponse("Open the link that sheetd shows: it holds the token for this page.\n", 403)

    def _has_cookie(self, headers: Headers) -> bool:
        jar: SimpleCookie = SimpleCookie()
        try:
            jar.load(headers.get("cookie", ""))
        except CookieError:
            return False
        found = jar.get(_cookie_name(headers.get("host", "")))
        return found is not None and _equal(found.value, self._cookie)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send, headers: Headers) -> None:
        host, origin = headers.get("host", ""), headers.get("origin", "")
        if not _HOST.fullmatch(host) or not _same_origin(origin, host):
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        if not self._has_cookie(headers):
            # Accepted first, because a browser hides why a handshake was refused.
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": NOT_ALLOWED, "reason": "open the link of sheetd again"})
            return
        await self.app(scope, receive, send)


def _forbidden(message: str, path: str) -> Response:
    """A client of the API reads JSON, a person plain text."""
    return (
        error_response(ApiError(403, message), path)
        if path.startswith(_API)
        else PlainTextResponse(message + "\n", 403)
    )


def _cookie_name(host: str) -> str:
    """One per port, since browsers share cookies between the ports of a host."""
    port = host.rpartition(":")[2] if not host.endswith("]") and ":" in host else "80"
    return f"sheetd-{port}"


def _same_origin(origin: str, host: str) -> bool:
    return origin.lower() == f"http://{host}".lower()


def _equal(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())
