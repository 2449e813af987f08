"""What the daemon logs of the answers of hosts holds no secret, and nothing that a terminal would obey."""

from __future__ import annotations

import logging
import threading

from sheetd.cli.run import Redacting
from sheetd.core.redaction import Redactor
from sheetd.loops import run_together


class Speaker:
    """A loop that says one thing, on its own behalf."""

    def __init__(self) -> None:
        self.record = logging.LogRecord("x", logging.WARNING, "x", 1, "the sheet is left alone: %s", ("why",), None)
        self.has_spoken = threading.Event()

    def run(self) -> None:
        assert Redacting(lambda: Redactor.of([])).filter(self.record)
        self.has_spoken.set()

    def stop(self) -> None:
        assert self.has_spoken.wait(10)


def test_a_line_of_the_log_holds_no_secret_and_no_escape() -> None:
    record = logging.LogRecord(
        "x", logging.ERROR, "x", 1, "%s: it said %s", ("alpha", "\x1b]0;t\x07hun\x1b[1mter2x"), None
    )
    assert Redacting(lambda: Redactor.of(["hunter2x"])).filter(record)
    assert record.getMessage() == "alpha: it said [redacted]"


def test_of_several_sheets_a_line_of_the_log_says_whose_it_is_and_of_one_it_does_not() -> None:
    loops = {"vision": Speaker(), "speech": Speaker()}
    run_together(loops)
    said = {name: loop.record.getMessage() for name, loop in loops.items()}
    assert said == {name: f"[{name}] the sheet is left alone: why" for name in loops}
    only = Speaker()
    run_together({"main": only})
    assert only.record.getMessage() == "the sheet is left alone: why"
