"""Opens the sheets of one process: what several of them share is there once.

That is the built-in sheet's server, in which each of ours is a tab of one spreadsheet, and the quota of an account at
Google. But for that server nothing is contacted here.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sheetd.config import Settings
from sheetd.door import KEY_NAME, URL_NAME
from sheetd.errors import SheetRefused
from sheetd.sheets.google import GoogleSheet, open_builtin, open_google
from sheetd.sheets.quota import Quotas

if TYPE_CHECKING:
    from sheetd.sheets.builtin.server import SheetServer

STORE_NAME = "sheet.sqlite"
PORT_NAME = "sheet.port"
PORT_MAX = 65535


class Opener:
    """Everything that is opened is closed with the stack. `server` is ours, once a built-in sheet was opened."""

    def __init__(self, stack: ExitStack, *, port: int = 0) -> None:
        self.server: SheetServer | None = None
        self._stack = stack
        self._port = port
        self._key = ""
        self._quotas = Quotas()

    def open(self, settings: Settings) -> GoogleSheet:
        """The sheet of these settings; the built-in one is started, if it is not."""
        wanted = settings.sheet
        if wanted.kind == "google":
            assert wanted.credentials is not None  # noqa: S101 - checked by the settings; said for the type checker
            sheet = open_google(wanted.url, wanted.tab, wanted.credentials, quotas=self._quotas)
        elif wanted.kind == "server":
            sheet = open_builtin(wanted.url, wanted.token or "", wanted.key or "", wanted.tab)
        else:
            server = self.server or self._start(settings)
            sheet = open_builtin(server.base_url, server.token, self._key, wanted.tab)
        self._stack.callback(sheet.close)
        return sheet

    def _start(self, settings: Settings) -> SheetServer:
        # Here, because a daemon over a sheet elsewhere need not hold the server and its libraries: 3 MB.
        from sheetd.sheets.builtin.model import new_sheet  # noqa: PLC0415

        state_dir = settings.daemon.state_dir
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        server = self.server = _started_server(state_dir, self._port)
        self._stack.callback(server.stop)
        (state_dir / PORT_NAME).write_text(f"{server.port}\n")
        self._stack.callback((state_dir / URL_NAME).unlink, missing_ok=True)
        _write_privately(state_dir / URL_NAME, server.url + "\n")
        title = settings.path.parent.name
        first = new_sheet(0, settings.sheet.tab)
        self._key = server.store.newest_key() or server.store.create_spreadsheet(title, sheets=[first])
        (state_dir / KEY_NAME).write_text(f"{self._key}\n")  # by which another process opens the same spreadsheet
        return server


def _started_server(state_dir: Path, port: int) -> SheetServer:
    """With port 0 at the port of the last time, so that an open page finds it; or at a free one if that is taken."""
    from sheetd.sheets.builtin.server import SheetServer  # noqa: PLC0415 - as in `Opener`
    from sheetd.sheets.builtin.store import StoreInUseError  # noqa: PLC0415

    kept = _kept_port(state_dir) if port == 0 else 0
    try:
        if kept:
            with suppress(OSError):
                return SheetServer(state_dir / STORE_NAME, port=kept).start()
        return SheetServer(state_dir / STORE_NAME, port=port).start()
    except StoreInUseError as error:
        raise SheetRefused(f"{error} (`sheetd serve`, or another daemon?)") from error
    except OSError as error:
        raise SheetRefused(f"port {port} cannot be used ({error.strerror}): choose another with --port") from error


def _kept_port(state_dir: Path) -> int:
    """The port of the last time, or 0."""
    try:
        text = (state_dir / PORT_NAME).read_text().strip()
    except OSError:
        return 0
    return int(text) if text.isascii() and text.isdigit() and int(text) <= PORT_MAX else 0


def _write_privately(path: Path, text: str) -> None:
    """For this user's eyes from its first byte on: the page's address holds the token."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
