"""The WebSocket between the page and the store: each viewer holds a snapshot, and is sent what differs from the newest.

There is no queue of events that could overflow or be missed: a slow viewer simply gets a bigger patch later, and
changes within a frame or two become one patch. A viewer's own edit is always shown to it before it is acknowledged.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from sheetd.sheets.builtin.calls import parse_json
from sheetd.sheets.builtin.conditional import painter_of
from sheetd.sheets.builtin.draft import Draft
from sheetd.sheets.builtin.live_edits import Editor, Outcome
from sheetd.sheets.builtin.live_view import patch_ops, row_wire, snapshot
from sheetd.sheets.builtin.model import Sheet, Spreadsheet
from sheetd.sheets.builtin.problems import ApiError, invalid
from sheetd.sheets.builtin.render import Raw, encode
from sheetd.sheets.builtin.store import Store

COALESCE_S = 0.025
SEND_DEADLINE_S = 30.0
MOST_VIEWERS = 64
REMEMBERED = 64
"""Revisions per spreadsheet from which a returning page can be caught up by a patch."""

LARGEST_MESSAGE = 8 * 2**20

#: What ends the connection. After 1013 a page comes back, and sends again what was not acknowledged.
_CLOSE_CODES = {404: 4404, 503: 1013}

log = logging.getLogger(__name__)

_CLIENT = re.compile(r"[A-Za-z0-9_-]{8,64}")


class Viewer:
    """One open page."""

    def __init__(self, socket: WebSocket, key: str) -> None:
        self.socket = socket
        self.key = key
        self.client = ""
        self.sheet_id = -1
        self.seen: Spreadsheet | None = None
        self.actors: set[str] = set()
        self.stale = asyncio.Event()
        self.sending = asyncio.Lock()

    async def send(self, message: dict[str, Any]) -> None:
        text = await run_in_threadpool(encode, message)
        await asyncio.wait_for(self.socket.send_text(text), SEND_DEADLINE_S)


class Hub:
    """All viewers of one store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.viewers: set[Viewer] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._history: dict[str, deque[Spreadsheet]] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen to the store for as long as the server's event loop runs."""
        self._loop = asyncio.get_running_loop()
        stop = self.store.subscribe(self._committed)
        try:
            yield
        finally:
            stop()

    def _committed(self, key: str, actor: str) -> None:
        if self._loop is not None and self.viewers:
            # RuntimeError: the loop has just closed, so nobody is looking any more.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._changed, key, actor)

    def _changed(self, key: str, actor: str) -> None:
        for viewer in self.viewers:
            if viewer.key == key:
                viewer.actors.add(actor)
                viewer.stale.set()

    async def serve(self, socket: WebSocket) -> None:
        """The life of one page's connection."""
        key = socket.path_params["key"]
        await socket.accept()
        if len(self.viewers) >= MOST_VIEWERS:
            await socket.close(1013, "too many open pages")
            return
        viewer = Viewer(socket, key)
        self.viewers.add(viewer)
        pump = asyncio.create_task(self._pump(viewer))
        try:
            while socket.application_state == WebSocketState.CONNECTED:
                await self._receive(viewer, await socket.receive_text())
        except WebSocketDisconnect:
            pass
        except asyncio.TimeoutError:
            await _close(socket, 1013, "this page reads too slowly")
        except ApiError as error:
            await _close(socket, _CLOSE_CODES.get(error.code, 4400), error.message)
        except KeyError:
            await _close(socket, 4400, "text messages only")
        finally:
            self.viewers.discard(viewer)
            pump.cancel()
            with suppress(asyncio.CancelledError):
                await pump

    async def _pump(self, viewer: Viewer) -> None:
        """Bring the viewer up to date whenever something changed, at most once a frame or two."""
        while True:
            await viewer.stale.wait()
            await asyncio.sleep(COALESCE_S)
            try:
                await self._catch_up(viewer)
            except WebSocketDisconnect:
                break
            except asyncio.TimeoutError:
                await _close(viewer.socket, 1013, "this page reads too slowly")
                break
            except ApiError as error:
                await _close(viewer.socket, 4404, error.message)
                break
            except Exception:
                # A page that is no longer brought up to date must notice: it connects again.
                log.exception("The live view of a page failed")
                await _close(viewer.socket, 1011, "internal error")
                break

    async def _receive(self, viewer: Viewer, text: str) -> None:
        message = parse_json(text)
        kind = message.get("t") if isinstance(message, dict) else None
        if kind == "ping":
            await viewer.send({"t": "pong"})
        elif kind == "hello":
            await self._hello(viewer, message)
        elif kind == "edit" and viewer.seen is not None:
            await self._edit(viewer, message)
        else:
            raise invalid("expected hello, edit or ping; hello comes first")

    async def _hello(self, viewer: Viewer, message: dict[str, Any]) -> None:
        client, sheet_id, since = message.get("client"), message.get("sheet"), message.get("since")
        if not isinstance(client, str) or not _CLIENT.fullmatch(client):
            raise invalid("hello needs a client id of 8 to 64 letters")
        async with viewer.sending:
            book = await run_in_threadpool(self.store.snapshot, viewer.key)
            viewer.client = client
            viewer.sheet_id = sheet_id if isinstance(sheet_id, int) else -1
            viewer.seen = None
            known = next((old for old in self._history.get(viewer.key, ()) if old.rev == since), None)
            if known is not None and known.sheet(viewer.sheet_id) is not None:
                viewer.seen = known
            await self._show(viewer, book, always=True)

    async def _catch_up(self, viewer: Viewer) -> None:
        async with viewer.sending:
            viewer.stale.clear()
            if viewer.seen is None:
                return
            book = await run_in_threadpool(self.store.snapshot, viewer.key)
            if book is not viewer.seen:
                await self._show(viewer, book)

    async def _show(self, viewer: Viewer, book: Spreadsheet, *, always: bool = False) -> None:
        """Send what brings the viewer from what it has seen to this revision."""
        actors, viewer.actors = sorted(viewer.actors), set()
        old = viewer.seen
        sheet = book.sheet(viewer.sheet_id)
        message: dict[str, Any] | None = None
        if old is not None and sheet is not None:
            message = await run_in_threadpool(_patch, old, book, sheet, actors)
        if message is None:
            sheet = sheet or next((tab for tab in book.sheets if not tab.hidden), book.sheets[0])
            message = await run_in_threadpool(snapshot, book, sheet)
            viewer.sheet_id = sheet.id
        viewer.seen = book
        history = self._history.setdefault(viewer.key, deque(maxlen=REMEMBERED))
        if not history or history[-1].rev < book.rev:
            history.append(book)
        if always or old is None or old.rev != book.rev:
            await viewer.send(message)

    async def _edit(self, viewer: Viewer, message: dict[str, Any]) -> None:
        seq, sheet_id, ops = message.get("seq"), message.get("sheet"), message.get("ops")
        if isinstance(seq, bool) or not isinstance(seq, int) or seq < 1 or not isinstance(sheet_id, int):
            raise invalid("an edit needs a seq of at least 1 and a sheet")
        if not isinstance(ops, list):
            raise invalid("an edit needs a list of ops")
        ack = await run_in_threadpool(self._commit, viewer, seq, sheet_id, ops)
        await self._catch_up(viewer)
        await viewer.send(ack)

    def _commit(self, viewer: Viewer, seq: int, sheet_id: int, ops: list[Any]) -> dict[str, Any]:
        def answer(outcome: Outcome, _before: Spreadsheet, after: Spreadsheet) -> str:
            return encode(_ack(seq, sheet_id, outcome, after))

        def change(draft: Draft) -> Outcome:
            return Editor(self.store, draft, sheet_id).run(ops)

        kinds = tuple(str(op.get("op")) for op in ops if isinstance(op, dict))
        try:
            done = self.store.transact(
                viewer.key, viewer.client, kinds, change, message=(viewer.client, seq), answer=answer
            )
        except ApiError as error:
            if error.code in _CLOSE_CODES:
                raise
            refused = {"cell": None, "text": "", "code": "refused", "why": error.message}
            rev = self.store.snapshot(viewer.key).rev
            return {"t": "ack", "seq": seq, "rev": rev, **_NOTHING, "rejected": [refused]}
        acknowledged: dict[str, Any] = parse_json(done.ack or "{}")
        return acknowledged


_NOTHING: dict[str, Any] = {"fixed": [], "rejected": [], "conflicts": [], "ids": {}, "inserted": []}


def _patch(old: Spreadsheet, book: Spreadsheet, sheet: Sheet, actors: list[str]) -> dict[str, Any] | None:
    before = old.sheet(sheet.id)
    ops = None if before is None else patch_ops(old, before, book, sheet)
    if ops is None:
        return None
    return {"t": "patch", "from": old.rev, "rev": book.rev, "sheet": sheet.id, "actors": actors, "ops": ops}


def _ack(seq: int, sheet_id: int, outcome: Outcome, after: Spreadsheet) -> dict[str, Any]:
    sheet = after.sheet(sheet_id)
    fixed = []
    if sheet is not None:
        painter = painter_of(sheet)
        for row_id, column_id, text in outcome.touched:
            row, column = sheet.row_index.get(row_id, -1), sheet.column_index.get(column_id, -1)
            if row < 0 or column < 0:
                continue
            cells = row_wire(sheet, painter, row)
            wire = cells[column] if column < len(cells) else "null"
            if wire != encode(text or None):
                fixed.append([row_id, column_id, Raw(wire)])
    return {
        "t": "ack",
        "seq": seq,
        "rev": after.rev,
        "fixed": fixed,
        "rejected": outcome.rejected,
        "conflicts": outcome.conflicts,
        "ids": outcome.ids,
        "inserted": outcome.inserted,
    }


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    # RuntimeError: the page went away first.
    with suppress(RuntimeError, WebSocketDisconnect):
        await socket.close(code, reason.encode(errors="replace")[:120].decode(errors="ignore"))
