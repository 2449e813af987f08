"""A real built-in sheet with the adapter on one side and a person with gspread on the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gspread
import pytest

from sheetd.sheets.builtin import batch, batch_metadata
from sheetd.sheets.builtin.draft import Draft
from sheetd.sheets.builtin.problems import ApiError
from sheetd.sheets.builtin.server import SheetServer
from sheetd.sheets.google import GoogleSheet, open_builtin
from sheetd.sheets.transport import SheetHTTPClient, loopback_session


@dataclass(frozen=True)
class Address:
    base_url: str
    token: str
    key: str

    def client(self) -> SheetHTTPClient:
        """For a person: what it sends is not sheetd's, and not held against Google's documents as such."""
        session = loopback_session(self.base_url, self.token)
        session.headers["User-Agent"] = "a person"
        return SheetHTTPClient(session, base_url=self.base_url)

    def open(self, tab: str) -> GoogleSheet:
        return open_builtin(self.base_url, self.token, self.key, tab)


@contextmanager
def builtin_server(folder: Path) -> Iterator[Address]:
    """A running server with one new spreadsheet."""
    server = SheetServer(folder / "sheet.sqlite")
    server.start()
    try:
        yield Address(server.base_url, server.token, server.store.create_spreadsheet("Lab"))
    finally:
        server.stop()


@contextmanager
def builtin_sheet(folder: Path, tab: str = "Experiments") -> Iterator[tuple[GoogleSheet, Address]]:
    with builtin_server(folder) as address:
        sheet = address.open(tab)
        sheet.create_tab_if_missing()
        try:
            yield sheet, address
        finally:
            sheet.close()


@contextmanager
def lost_updates_passed_over() -> Iterator[None]:
    """An update of metadata that selects nothing is carried out as nothing, as it may be at Google, not refused."""

    def update(draft: Draft, payload: Any) -> dict[str, Any]:
        try:
            return batch_metadata.update(draft, payload)
        except ApiError as error:
            if batch_metadata.NOTHING_MATCHES not in error.message:
                raise
            return {"updateDeveloperMetadata": {}}

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(batch.KINDS, "updateDeveloperMetadata", update)
        yield


class BuiltinPerson:
    """A person who edits over the same API, with gspread as it is."""

    def __init__(self, address: Address, tab: str) -> None:
        self.address = address
        self.http = address.client()
        client = gspread.Client(auth=None, session=self.http.session, http_client=lambda *_: self.http)  # type: ignore[arg-type]
        self.spreadsheet = client.open_by_key(address.key)
        self.tab = self.spreadsheet.worksheet(tab)
        self.colleagues: list[GoogleSheet] = []

    def close(self) -> None:
        self.http.close()
        for sheet in self.colleagues:
            sheet.close()

    def enter(self, row: int, column: int, text: str) -> None:
        self.tab.update_acell(gspread.utils.rowcol_to_a1(row + 1, column + 1), text)

    def insert_row(self, row: int) -> None:
        self.tab.insert_row([], row + 1)

    def insert_column(self, column: int) -> None:
        self.tab.insert_cols([[]], column + 1)

    def sort(self, column: int) -> None:
        self.tab.sort((column + 1, "asc"), range=f"A2:{gspread.utils.rowcol_to_a1(self.tab.row_count, 26)}")

    def merge(self, rows: tuple[int, int], columns: tuple[int, int]) -> None:
        """From the first row and column to the last, these included."""
        where = {"startRowIndex": rows[0], "endRowIndex": rows[1] + 1}
        where |= {"startColumnIndex": columns[0], "endColumnIndex": columns[1] + 1}
        self.batch({"mergeCells": {"range": {"sheetId": self.tab.id, **where}, "mergeType": "MERGE_ALL"}})

    def unmerge(self) -> None:
        self.batch({"unmergeCells": {"range": {"sheetId": self.tab.id}}})

    def rename_tab(self, title: str) -> None:
        self.tab.update_title(title)

    def delete_tab(self) -> None:
        self.spreadsheet.del_worksheet(self.tab)

    def colleague(self) -> GoogleSheet:
        self.colleagues.append(self.address.open(self.tab.title))
        return self.colleagues[-1]

    def batch(self, *requests: dict[str, Any]) -> Any:
        return self.spreadsheet.batch_update({"requests": list(requests)})
