"""A real server and a real Chromium for every test: a person types at the page, everybody else writes over the API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from sheetd.sheets.builtin.server import SheetServer
from tests.needs import program
from tests.page.screen import Book, Screen

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program("chromium"), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SheetServer]:
    server = SheetServer(tmp_path / "sheet.sqlite")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def book(server: SheetServer) -> Book:
    """The header and eight rows; `status` and `message` are written by sheetd."""
    return Book.experiments(server.base_url, server.token)


@pytest.fixture
def new_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Pages whose errors fail the test: an exception in the page, or something that the content policy refused."""
    pages: list[Page] = []
    troubles: list[str] = []

    def open_page(**options: object) -> Page:
        page = browser.new_context(viewport={"width": 1280, "height": 800}, **options).new_page()  # type: ignore[arg-type]
        page.on(
            "pageerror", lambda error: troubles.append(str(error)) if "dynamically imported" not in str(error) else None
        )
        page.on("dialog", lambda dialog: (troubles.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on(
            "console",
            lambda message: troubles.append(message.text) if "Content Security Policy" in message.text else None,
        )
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.context.close()
    assert troubles == []


@pytest.fixture
def screen(server: SheetServer, book: Book, new_page: Callable[..., Page]) -> Screen:
    return Screen.opened(new_page(), server.url, book)
