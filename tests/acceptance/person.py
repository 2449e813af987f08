"""A person at the sheet, with plain gspread: types rows, and moves them about without changing what they say."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import gspread

from sheetd.core.rows import SYSTEM_HEADERS
from tests.sheets.builtin_rig import Address

HEADER = ["token", "seconds", "ending", "notes", "id", "status", "message", "host", "attempt", "loss", "loss:min"]
OWNED = frozenset({*SYSTEM_HEADERS, "loss", "loss:min"})


class Person:
    """Keeps a book of what was typed, row by row, to compare with at the end."""

    def __init__(self, address: Address, tab: str, header: Sequence[str] = HEADER) -> None:
        client = gspread.Client(auth=None, http_client=lambda *_a, **_k: address.client())  # type: ignore[arg-type]
        self.spreadsheet = client.open_by_key(address.key)
        self.tab: gspread.Worksheet = self.spreadsheet.worksheet(tab)
        self.header = list(header)
        self.columns = [name for name in header if name not in OWNED]
        self.typed: list[tuple[Any, ...]] = []
        self.rng = random.Random(20)

    def write_header(self) -> None:
        self.tab.update([self.header], "A1", raw=True)

    def type_rows(self, rows: list[dict[str, Any]]) -> None:
        """Below everything that is there, as a person would."""
        first = len(self.tab.get_all_values()) + 1
        values = [[row.get(name, "") for name in self.columns] for row in rows]
        missing = first + len(values) - 1 - self.tab.row_count
        if missing > 0:
            self.tab.add_rows(missing)
        self.tab.update(values, f"A{first}", raw=True)
        self.typed += [tuple(str(value) for value in row) for row in values]

    def type_cell(self, token: str, name: str, value: str) -> None:
        """Into the row of this token, in a sheet that nobody moves about."""
        index = next(n for n, row in enumerate(self.typed) if row[self.columns.index("token")] == token)
        self.tab.update([[value]], gspread.utils.rowcol_to_a1(index + 2, self.header.index(name) + 1), raw=True)
        row = list(self.typed[index])
        row[self.columns.index(name)] = value
        self.typed[index] = tuple(row)

    # --- moving rows about -----------------------------------------------------------------------------------------

    def sort(self) -> None:
        """By a column of their own, up or down."""
        column = self.rng.choice([1, 4])
        self.tab.sort((column, self.rng.choice(["asc", "des"])), range=f"A2:{self._last_cell()}")

    def insert_above(self) -> None:
        """A remark on a row of its own, above rows that run."""
        remark = f"remark {self.rng.random()}"
        self.tab.insert_row(["", "", "", remark], index=self.rng.randint(2, 4))
        self.typed.append(("", "", "", remark))

    def delete_a_remark(self) -> None:
        """One of the rows that are nothing but a remark."""
        for number, row in enumerate(self.tab.get_all_values(), start=1):
            if number > 1 and len(row) > 3 and row[3].startswith("remark") and not row[0]:
                self.tab.delete_rows(number)
                self.typed.remove(("", "", "", row[3]))
                return

    def meddle(self) -> None:
        self.rng.choice([self.sort, self.insert_above, self.delete_a_remark])()

    # --- looking ---------------------------------------------------------------------------------------------------

    def rows(self) -> list[dict[str, str]]:
        """What the sheet shows, by header, for every row with anything in it."""
        header, *rows = self.tab.get_all_values()
        return [dict(zip(header, row, strict=False)) for row in rows if any(row)]

    def typed_now(self) -> list[tuple[str, ...]]:
        """The user's cells as they stand, for comparing with `typed`."""
        return [tuple(row.get(name, "") for name in self.columns) for row in self.rows()]

    def colours(self) -> dict[str, dict[str, float]]:
        """The background that each row's status cell is shown with, by token."""
        got = self.spreadsheet.fetch_sheet_metadata(
            {"includeGridData": "true", "ranges": self.tab.title, "fields": "sheets.data.rowData.values"}
        )
        token, status = self.header.index("token"), self.header.index("status")
        shown = {}
        for row in got["sheets"][0]["data"][0]["rowData"][1:]:
            cells = row.get("values", [])
            if len(cells) > status and cells[token].get("formattedValue"):
                background = cells[status].get("effectiveFormat", {}).get("backgroundColor", {})
                shown[cells[token]["formattedValue"]] = background
        return shown

    def _last_cell(self) -> str:
        return gspread.utils.rowcol_to_a1(len(self.tab.get_all_values()) + 3, len(self.header))
