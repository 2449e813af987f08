"""The two sides of a test: Screen is a person at the page, Book is everybody else, over the server's API."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import requests
from playwright.sync_api import Locator, Page, expect
from tenacity import retry, retry_if_exception_message, stop_after_delay

from sheetd.core.colours import ROW_COLOURS

HEADER = ["template", "lr", "seed", "action", "status", "message"]
TEMPLATE, LR, SEED, ACTION, STATUS, MESSAGE = range(1, 7)
"""Columns, counted from 1 as in aria-colindex."""

CHANNELS = ("red", "green", "blue")
ACTIONS = ["run", "stop", "restart", "rerun", "pause", "resume"]
PATIENCE_S = 20.0
"""Long, because it only passes when something is broken: the machine may be busy with other tests."""

expect.set_options(timeout=PATIENCE_S * 1000)


def eventually(page: Page, question: Callable[[], Any], wanted: Any) -> None:
    """Ask until the answer is the wanted one; the last answer is shown when it never is."""
    deadline = time.monotonic() + PATIENCE_S
    answer = question()
    while answer != wanted and time.monotonic() < deadline:
        page.wait_for_timeout(20)
        answer = question()
    assert answer == wanted


@dataclass
class Book:
    """A spreadsheet as a client of the API sees it."""

    base_url: str
    token: str
    key: str = ""
    sheet: int = 0

    @classmethod
    def create(
        cls, base_url: str, token: str, title: str = "Vision experiments", rows: int = 200, columns: int = 12
    ) -> Book:
        grid = {"rowCount": rows, "columnCount": columns, "frozenRowCount": 1}
        body = {
            "properties": {"title": title},
            "sheets": [{"properties": {"title": "Experiments", "gridProperties": grid}}],
        }
        book = cls(base_url, token)
        made = book._call("POST", "", body)
        book.key = made["spreadsheetId"]
        book.sheet = made["sheets"][0]["properties"].get("sheetId", 0)
        return book

    @classmethod
    def experiments(cls, base_url: str, token: str) -> Book:
        book = cls.create(base_url, token)
        book.write("A1", [HEADER, *([f"net-{row}", "0.5", str(100 + row)] for row in range(2, 10))])
        book.install_colours()
        book.own(STATUS - 1, MESSAGE)
        book.allow(ACTION - 1, ACTIONS)
        return book

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        answer = requests.request(
            method,
            f"{self.base_url}/v4/spreadsheets{path}",
            json=body,
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=PATIENCE_S,
        )
        assert answer.ok, answer.text
        return answer.json()

    def write(self, place: str, rows: list[list[str]], how: str = "RAW") -> None:
        path = f"/{self.key}/values/{quote(place)}?valueInputOption={how}"
        self._call("PUT", path, {"range": place, "values": rows})

    def read(self, place: str) -> list[list[str]]:
        values: list[list[str]] = self._call("GET", f"/{self.key}/values/{quote(place)}").get("values", [])
        return values

    def column(self, letter: str, first: int = 2, last: int = 12) -> list[str]:
        rows = self.read(f"{letter}{first}:{letter}{last}")
        return [row[0] if row else "" for row in rows]

    def batch(self, *changes: dict[str, Any]) -> None:
        self._call("POST", f"/{self.key}:batchUpdate", {"requests": list(changes)})

    def install_colours(self) -> None:
        """Rows take the colour of their status word, the way the daemon installs it."""
        area = {"sheetId": self.sheet, "startRowIndex": 1, "startColumnIndex": 0, "endColumnIndex": 6}
        for index, (word, colour) in enumerate(ROW_COLOURS.items()):
            formula = {"type": "CUSTOM_FORMULA", "values": [{"userEnteredValue": f'=$E2="{word}"'}]}
            paint = {
                "condition": formula,
                "format": {"backgroundColorStyle": {"rgbColor": dict(zip(CHANNELS, colour, strict=True))}},
            }
            rule = {"ranges": [area], "booleanRule": paint}
            self.batch({"addConditionalFormatRule": {"rule": rule, "index": index}})

    def own(self, start: int, end: int) -> None:
        area = {"sheetId": self.sheet, "startRowIndex": 1, "startColumnIndex": start, "endColumnIndex": end}
        protected = {"range": area, "description": "sheetd writes these columns", "warningOnly": True}
        self.batch({"addProtectedRange": {"protectedRange": protected}})

    def allow(self, column: int, words: list[str], rows: int = 200) -> None:
        area = {"sheetId": self.sheet, "startRowIndex": 1, "endRowIndex": rows, "startColumnIndex": column}
        area["endColumnIndex"] = column + 1
        values = [{"userEnteredValue": word} for word in words]
        rule = {"condition": {"type": "ONE_OF_LIST", "values": values}, "strict": True, "showCustomUi": True}
        self.batch({"setDataValidation": {"range": area, "rule": rule}})

    def insert_row_above(self, row: int) -> None:
        area = {"sheetId": self.sheet, "dimension": "ROWS", "startIndex": row - 1, "endIndex": row}
        self.batch({"insertDimension": {"range": area, "inheritFromBefore": False}})

    def delete_row(self, row: int) -> None:
        area = {"sheetId": self.sheet, "dimension": "ROWS", "startIndex": row - 1, "endIndex": row}
        self.batch({"deleteDimension": {"range": area}})


@retry(
    retry=retry_if_exception_message(match=".*ERR_NETWORK_CHANGED"),
    stop=stop_after_delay(PATIENCE_S),
    reraise=True,
)
def go(page: Page, url: str) -> None:
    """Open an address, again if need be: Chromium drops requests while other tests set up network interfaces."""
    page.goto(url)


@dataclass
class Screen:
    """A person at the page."""

    page: Page
    book: Book

    @classmethod
    def opened(cls, page: Page, url: str, book: Book) -> Screen:
        separator = "&" if "?" in url else "?"
        go(page, f"{url}{separator}s={book.key}")
        screen = cls(page, book)
        expect(page.locator("#connection")).to_have_attribute("data-state", "live")
        expect(page.locator("#body .row").first).to_be_visible()
        return screen

    def cell(self, row: int, column: int) -> Locator:
        return self.page.locator(f'[aria-rowindex="{row}"] [aria-colindex="{column}"]')

    def select(self, row: int, column: int) -> None:
        self.cell(row, column).click()

    def type(self, text: str, delay_ms: float = 0) -> None:
        self.page.keyboard.type(text, delay=delay_ms)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def expect_text(self, row: int, column: int, text: str) -> None:
        expect(self.cell(row, column)).to_have_text(text)

    def expect_saved(self) -> None:
        """Every edit is acknowledged."""
        expect(self.page.locator("#connection")).to_have_attribute("data-waiting", "0")

    @property
    def hint(self) -> Locator:
        return self.page.locator("#hint")

    @property
    def editor(self) -> Locator:
        return self.page.locator("#editor.open")

    def revision(self) -> str | None:
        return self.page.locator("#grid").get_attribute("data-rev")

    def expect_newer_than(self, revision: str | None) -> None:
        expect(self.page.locator("#grid")).not_to_have_attribute("data-rev", str(revision))

    def background(self, row: int, column: int) -> str:
        colour_now: str = self.cell(row, column).evaluate("element => getComputedStyle(element).backgroundColor")
        return colour_now

    def pick_from_menu(self, row: int, label: str, column: int = TEMPLATE) -> None:
        self.cell(row, column).click(button="right")
        self.page.get_by_role("menuitem", name=label).click()
