"""A witness between each built-in sheet that a test starts and whoever asks it: all of it must be what Google allows.

Every answer is held against Google's documents, and every request that is sheetd's own or was obeyed. What anybody else
sends to be refused may be wrong. `take` tells of what was wrong since the last time, and the test during which it came
fails for it. Weak for a sheet that a daemon serves in a process of its own: nobody stands there.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

from tests.builtin import discovery

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

OWN = "sheetd/"
#: Paths of Google's APIs; the page has others.
WATCHED = ("/v4/", "/drive/", "/upload/")
#: What is larger is said by tests of speed, of cells that other tests show too, and holding it would take seconds.
HELD_MAX_BYTES = 1 << 20

_lock = threading.Lock()
_wrong: list[str] = []
_seen = {"requests": 0, "own": 0}


def take() -> list[str]:
    """What was not as Google has it, and is forgotten by that."""
    with _lock:
        taken, _wrong[:] = list(_wrong), []
    return taken


def seen() -> dict[str, int]:
    """How many exchanges were looked at in this process, and how many of them were sheetd's own."""
    with _lock:
        return dict(_seen)


def note(text: str) -> None:
    with _lock:
        _wrong.append(text)


class Witness:
    """ASGI: passes everything on as it is."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(WATCHED):
            await self.app(scope, receive, send)
            return
        asked, answered = bytearray(), bytearray()
        status = 0

        async def receiving() -> Message:
            message = await receive()
            asked.extend(message.get("body", b""))
            return message

        async def sending(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            answered.extend(message.get("body", b""))
            if message["type"] == "http.response.body" and not message.get("more_body"):
                hold(scope, bytes(asked), status, bytes(answered))
            await send(message)

        await self.app(scope, receiving, sending)


def hold(scope: Message, asked: bytes, status: int, answered: bytes) -> None:
    """Note what of one exchange Google would not have sent or taken."""
    headers = {name.lower(): value for name, value in scope["headers"]}
    is_own = headers.get(b"user-agent", b"").startswith(OWN.encode())
    url = f"{scope.get('raw_path', scope['path'].encode()).decode()}?{scope['query_string'].decode()}"
    with _lock:
        _seen["requests"] += 1
        _seen["own"] += is_own
    is_of_guard = status == HTTPStatus.FORBIDDEN and not answered.startswith(b"{")  # to other sites and names
    if is_of_guard or max(len(asked), len(answered)) > HELD_MAX_BYTES:
        return
    try:
        answer = json.loads(answered) if answered else None
        if status < 400 or is_own:
            body = json.loads(asked) if asked else None
            discovery.check(scope["method"], url, body, status, answer)
        else:
            discovery.check_error(answer, status)
    except (AssertionError, ValueError) as error:
        who = "sheetd" if is_own else "a client"
        note(f"{scope['method']} {url[:300]} of {who}, answered {status}: {error}")
