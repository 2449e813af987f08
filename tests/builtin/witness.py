"""Sees all that passes between anybody and a built-in sheet, and holds it against Google's documents.

`install` puts the witness around every built-in sheet that this process starts from then on. What sheetd's own adapter
sends, known by its User-Agent, must conform; so must every answer; and so must whatever was sent and not refused, or
the built-in sheet would take what Google does not. Checking comes later (`findings`), so that a test which measures
time measures the sheet, and what was seen before is not checked again.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn
from urllib.parse import urlsplit

from sheetd.sheets.builtin import server
from tests.builtin import discovery
from tests.builtin.mismatch import MismatchError

API = ("/v4/", "/drive/", "/upload/")
OURS = "sheetd/"
#: More than this is not kept for later: it is checked at once.
KEPT_BYTES = 64 * 2**20

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[_Message, _Receive, _Send], Awaitable[None]]


class Exchange(NamedTuple):
    """One request and its answer. `status` is 0 where only the request was seen, or could be judged."""

    verb: str
    #: Path and query, as they were sent.
    url: str
    agent: str
    body: bytes
    status: int = 0
    headers: Mapping[str, str] = MappingProxyType({})
    answer: bytes = b""
    #: Not where a body was refused before its end.
    is_whole: bool = True


class Witness:
    """Keeps exchanges and judges them. May be told from any thread."""

    def __init__(self) -> None:
        self._kept: deque[Exchange] = deque()
        self._bytes = 0
        self._seen: set[bytes] = set()
        self._findings: list[str] = []
        #: Exchanges of sheetd's adapter that were seen, and of anybody else.
        self.ours = self.others = 0
        self._lock = threading.Lock()

    def see(self, exchange: Exchange) -> None:
        with self._lock:
            self._kept.append(exchange)
            self.ours += exchange.agent.startswith(OURS)
            self.others += not exchange.agent.startswith(OURS)
            self._bytes += len(exchange.body) + len(exchange.answer)
            is_full = self._bytes > KEPT_BYTES
        if is_full:
            self._judge()

    def hear(self, verb: str, url: str, agent: str, body: bytes) -> None:
        """Only a request, of a server whose answers are not meant to be Google's."""
        if url.startswith(API):
            self.see(Exchange(verb, url, agent, body))

    def findings(self) -> list[str]:
        """What did not conform since the last time, a sentence each."""
        self._judge()
        with self._lock:
            found, self._findings = self._findings, []
        return found

    def _judge(self) -> None:
        with self._lock:
            self._bytes = 0
            while self._kept:
                exchange = self._kept.popleft()
                digest = blake2b(repr(exchange[:3]).encode(), digest_size=16)
                for part in (repr(exchange[4:6]).encode(), exchange.body, exchange.answer):
                    digest.update(len(part).to_bytes(8, "big") + part)
                if digest.digest() not in self._seen:
                    self._seen.add(digest.digest())
                    self._findings += judged(exchange)


def judged(exchange: Exchange) -> list[str]:
    """What does not conform in one exchange."""
    said = f"{exchange.verb} {urlsplit(exchange.url).path}"
    found = []
    is_ours = exchange.agent.startswith(OURS)
    if exchange.is_whole and (is_ours or 200 <= exchange.status < 300):
        who = "sheetd sent" if is_ours else "the built-in sheet took"
        found += [f"{who} {said}: {error}" for error in _mismatch(_check_request, exchange, is_ours)]
    if exchange.status:
        found += [f"the built-in sheet answered {said}: {error}" for error in _mismatch(_check_answer, exchange)]
    return found


def _mismatch(check: Callable[..., None], *told: Any) -> Iterable[str]:
    try:
        check(*told)
    except MismatchError as error:
        yield str(error)


def _check_request(exchange: Exchange, is_ours: bool) -> None:
    body = _json(exchange.body)
    discovery.check_request(exchange.verb, exchange.url, body, is_lenient=not is_ours)


def _check_answer(exchange: Exchange) -> None:
    kind = exchange.headers.get("content-type", "")
    if exchange.answer and not kind.startswith("application/json"):
        raise MismatchError(f"an answer of {kind or 'no type'} where JSON is wanted")
    if exchange.status == 204 and exchange.answer:
        raise MismatchError("204 has no content")
    if exchange.status == 401 and not exchange.headers.get("www-authenticate", "").startswith("Bearer "):
        raise MismatchError("401 without WWW-Authenticate: Bearer")
    if exchange.verb != "HEAD":
        discovery.check_answer(exchange.verb, exchange.url, exchange.status, _json(exchange.answer))


def _json(content: bytes) -> Any:
    if not content:
        return None
    try:
        return json.loads(content, parse_constant=_refuse)
    except ValueError as error:
        raise MismatchError(f"not JSON: {content[:100]!r}") from error


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def watched(app: _App, see: Callable[[Exchange], None]) -> _App:
    """The same ASGI application, with each exchange of the API told when it is over."""

    async def watch(scope: _Message, receive: _Receive, send: _Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(API):
            await app(scope, receive, send)
            return
        body: list[bytes] = []
        answer: list[bytes] = []
        start: _Message = {}
        is_gone, is_whole = (
            False,
            not {b"content-length", b"transfer-encoding"} & {name for name, _ in scope["headers"]},
        )

        async def received() -> _Message:
            nonlocal is_whole, is_gone
            message = await receive()
            if message["type"] == "http.request":
                body.append(message.get("body", b""))
                is_whole = not message.get("more_body", False)
            else:
                is_gone = True
            return message

        async def sent(message: _Message) -> None:
            # Before it is passed on: who has the answer may ask for findings.
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                answer.append(message.get("body", b""))
                # Nobody hears what is said to a client that is gone.
                if not message.get("more_body", False) and not is_gone:
                    see(_exchange(scope, b"".join(body), start, b"".join(answer), is_whole=is_whole))
            await send(message)

        await app(scope, received, sent)

    return watch


def _exchange(scope: _Message, body: bytes, start: _Message, answer: bytes, *, is_whole: bool) -> Exchange:
    query = scope["query_string"].decode("latin-1")
    url = scope.get("raw_path", scope["path"].encode()).decode("latin-1") + (f"?{query}" if query else "")
    agent = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"user-agent"), "")
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in start.get("headers", [])}
    told = {name: headers[name] for name in ("content-type", "www-authenticate") if name in headers}
    return Exchange(scope["method"], url, agent, body, start["status"], told, answer, is_whole)


WITNESS = Witness()
_create_app = server.create_app


def install(see: Callable[[Exchange], None] = WITNESS.see) -> None:
    """From here on, every built-in sheet that this process starts is watched. Twice is once."""

    def create_app(store: Any, token: str) -> Any:
        return watched(_create_app(store, token), see)

    server.create_app = create_app


def report_to(path: str) -> None:
    """In a process that a test has started: append each finding to this file, before the answer goes out."""

    def see(exchange: Exchange) -> None:
        for found in judged(exchange):
            with Path(path).open("a") as findings:
                findings.write(found + "\n")

    install(see)
