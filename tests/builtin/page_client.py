"""The page's side of the live protocol, without a browser: a model that applies what comes."""

from __future__ import annotations

import json
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import requests
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from sheetd.sheets.builtin.server import SheetServer

DEADLINE_S = 10


def cookie(server: SheetServer) -> str:
    """The cookie that opening the page's address sets."""
    session = requests.Session()
    session.trust_env = False
    answer = session.get(server.url, allow_redirects=False, timeout=10)
    session.close()
    return answer.headers["set-cookie"].partition(";")[0]


class Page:
    """One connection and the model of one tab: `rows` are row ids, `cells` maps (row id, column id) to CELLs."""

    def __init__(self, server: SheetServer, key: str, client: str = "test-client") -> None:
        connecting = connect(
            f"ws{server.base_url[4:]}/live/{key}",
            origin=Origin(server.base_url),
            additional_headers={"Cookie": cookie(server)},
            max_size=2**26,
            proxy=None,
        )
        self._stack = ExitStack()
        self.socket: ClientConnection = self._stack.enter_context(connecting)
        self.client = client
        self.rev: int | None = None
        self.sheet: int | None = None
        self.rows: list[int] = []
        self.columns: list[dict[str, Any]] = []
        self.cells: dict[tuple[int, int], Any] = {}
        self.rules: dict[str, Any] = {}
        self.tabs: list[dict[str, Any]] = []
        self.messages: list[dict[str, Any]] = []
        self.seq = 0

    def __enter__(self) -> Page:  # noqa: PYI034 - typing.Self needs Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def send(self, message: dict[str, Any]) -> None:
        self.socket.send(json.dumps(message))

    def hello(self, sheet: int | None = None, since: int | None = None) -> dict[str, Any]:
        self.send({"t": "hello", "sheet": sheet, "since": since, "client": self.client})
        return self.receive()

    def receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.socket.recv(DEADLINE_S))
        self.messages.append(message)
        if message["t"] == "snapshot":
            self._snapshot(message)
        elif message["t"] == "patch":
            self._patch(message)
        return message

    def receive_until(self, kind: str) -> dict[str, Any]:
        while True:
            message = self.receive()
            if message["t"] == kind:
                return message

    def settle(self, rev: int) -> None:
        """Receive until the model has reached a revision."""
        while self.rev is None or self.rev < rev:
            self.receive()

    def edit(self, *ops: dict[str, Any], seq: int | None = None) -> dict[str, Any]:
        """Send one message and return its ack; what else comes before it is applied."""
        self.seq = seq or self.seq + 1
        self.send({"t": "edit", "seq": self.seq, "base": self.rev, "sheet": self.sheet, "ops": list(ops)})
        return self.receive_until("ack")

    def type(self, row: int, column: int, text: str, was: str | None = None) -> dict[str, Any]:
        """Type into the cell at these indexes."""
        return self.edit({"op": "cells", "cells": [[self.rows[row], self.columns[column]["id"], text, was]]})

    def cell(self, row: int, column: int) -> Any:
        """The CELL at these indexes of the model; None when empty."""
        return self.cells.get((self.rows[row], self.columns[column]["id"]))

    def shown(self, row: int, column: int) -> str:
        cell = self.cell(row, column)
        return cell if isinstance(cell, str) else (cell or {}).get("v", "")

    def column(self, column: int, rows: int) -> list[str]:
        return [self.shown(row, column) for row in range(rows)]

    def _snapshot(self, message: dict[str, Any]) -> None:
        self.rev, self.sheet, self.tabs = message["rev"], message["sheet"], message["tabs"]
        self.columns, self.rules = message["columns"], message["rules"]
        self.rows, self.cells = [], {}
        for row_id, cells in message["rows"]:
            self.rows.append(row_id)
            self._row(row_id, cells)

    def _row(self, row_id: int, cells: list[Any]) -> None:
        for column, cell in zip(self.columns, cells, strict=False):
            self._set(row_id, column["id"], cell)

    def _set(self, row_id: int, column_id: int, cell: Any) -> None:
        if cell is None:
            self.cells.pop((row_id, column_id), None)
        else:
            self.cells[row_id, column_id] = cell

    def _patch(self, message: dict[str, Any]) -> None:
        assert (message["from"], message["sheet"]) == (self.rev, self.sheet), "a gap"
        self.rev = message["rev"]
        for op in message["ops"]:
            if op["op"] == "rules":
                self.rules |= op["rules"]
            elif op["op"] == "delete":
                gone = set(op["ids"])
                self.rows = [row for row in self.rows if row not in gone]
                self.cells = {key: cell for key, cell in self.cells.items() if key[0] not in gone}
            elif op["op"] == "insert":
                at = 0 if op["after"] is None else self.rows.index(op["after"]) + 1
                self.rows[at:at] = [row_id for row_id, _ in op["rows"]]
                for row_id, cells in op["rows"]:
                    self._row(row_id, cells)
            elif op["op"] == "order":
                assert sorted(op["rows"]) == sorted(self.rows)
                self.rows = op["rows"]
            elif op["op"] == "cells":
                for row_id, column_id, cell in op["cells"]:
                    self._set(row_id, column_id, cell)
            elif op["op"] == "tabs":
                self.tabs = op["tabs"]
