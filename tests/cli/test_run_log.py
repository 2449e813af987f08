"""What the daemon logs of the answers of hosts holds no secret, and nothing that a terminal would obey."""

from __future__ import annotations

import logging

from sheetd.cli.run import Redacting
from sheetd.core.redaction import Redactor


def test_a_line_of_the_log_holds_no_secret_and_no_escape() -> None:
    record = logging.LogRecord(
        "x", logging.ERROR, "x", 1, "%s: it said %s", ("alpha", "\x1b]0;t\x07hun\x1b[1mter2x"), None
    )
    assert Redacting(lambda: Redactor.of(["hunter2x"])).filter(record)
    assert record.getMessage() == "alpha: it said [redacted]"
