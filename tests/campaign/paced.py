"""`python -m tests.campaign.paced run ...`: sheetd, which asks the built-in sheet as seldom as it would ask Google.

Only the pace is another: what it sends and how it decides is what is shipped.
"""

from __future__ import annotations

import sys
from unittest import mock

from sheetd import opening, reloading
from sheetd.cli.app import app
from sheetd.sheets.google import GoogleSheet, open_builtin
from sheetd.sheets.quota import READS_A_MINUTE, WRITES_A_MINUTE, TokenBucket


def open_paced(base_url: str, token: str, key: str, tab: str) -> GoogleSheet:
    sheet = open_builtin(base_url, token, key, tab)
    sheet.client._quota = {"read": TokenBucket(READS_A_MINUTE), "write": TokenBucket(WRITES_A_MINUTE)}
    return sheet


def main() -> None:
    sys.argv[0] = "sheetd"
    with (  # which refuses what is not there any more
        mock.patch.object(opening, "open_builtin", open_paced),
        mock.patch.object(reloading, "BUILTIN_WRITE_GAP_S", reloading.GOOGLE_POLL_S),
        mock.patch.object(reloading, "BUILTIN_HOSTS_TAB_EVERY_S", reloading.HOSTS_TAB_EVERY_S),
    ):
        app()


if __name__ == "__main__":
    main()
