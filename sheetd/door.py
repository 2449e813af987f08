"""How another process of this user finds a running daemon: the address of its sheet, and a door to knock at.

Imports next to nothing: what only looks or asks must not wait until everything is loaded that a daemon needs.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from sheetd.config import Settings

URL_NAME = "sheet.url"
#: The spreadsheet of the built-in sheet that rows are read from; there may be others.
KEY_NAME = "sheet.key"
WAKE_NAME = "wake.fifo"
_KNOCK, _END = b"k", b"e"


def sheet_address(settings: Settings) -> str:
    """Where to look at the sheet: the built-in one's address while something serves it, else empty."""
    if settings.sheet.kind != "builtin":
        return settings.sheet.url
    try:
        return (settings.daemon.state_dir / URL_NAME).read_text().strip()
    except OSError:
        return ""


def listen_for_wakes(state_dir: Path, wake: Callable[[], None]) -> Callable[[], None]:
    """Have `wake` called whenever another process knocks (`knock`). Returns what ends it.

    A FIFO rather than a socket: the path of a socket has a hundred characters at most (unix(7)).
    """
    path = state_dir / WAKE_NAME
    path.unlink(missing_ok=True)
    os.mkfifo(path, 0o600)
    # Open for writing too: a reader alone would see the end of the file whenever the last knocker leaves.
    door = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def listen() -> None:
        while _END not in os.read(door, 4096):
            wake()

    thread = threading.Thread(target=listen, name="sheetd-wake", daemon=True)
    thread.start()

    def end() -> None:
        os.write(door, _END)
        thread.join()
        os.close(door)
        path.unlink(missing_ok=True)

    return end


def knock(state_dir: Path) -> bool:
    """Tell a running daemon that there is a request. False when none listens; the request stays for its next start."""
    try:
        door = os.open(state_dir / WAKE_NAME, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False  # no FIFO, or nobody has it open
    try:
        os.write(door, _KNOCK)
    except BlockingIOError:
        return True  # full of knocks that are about to be heard
    finally:
        os.close(door)
    return True
