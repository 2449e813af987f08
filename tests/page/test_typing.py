"""The promise of the grid: what a person is typing survives whatever arrives meanwhile, and lands in the right row."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from sheetd.sheets.builtin.server import SheetServer
from tests.needs import needs_browser
from tests.page.screen import LR, SEED, TEMPLATE, Book, Screen, eventually

EDITED_ROW = 4
SEED_OF_EDITED_ROW = "104"

MEANWHILE: dict[str, Callable[[Book], None]] = {
    "another row changes": lambda book: book.write("B7", [["0.9"]]),
    "the edited row changes colour": lambda book: book.write("E4", [["running"]]),
    "the edited cell itself changes": lambda book: book.write("B4", [["0.7"]]),
    "a row is inserted above": lambda book: book.insert_row_above(3),
    "a row above is deleted": lambda book: book.delete_row(2),
    "all colours are installed anew": lambda book: book.install_colours(),
}


def learning_rates(book: Book) -> dict[str, str]:
    """By seed, which stays with its row."""
    return {row[2]: row[1] for row in book.read("A2:C12") if len(row) > 2}


@needs_browser
@pytest.mark.parametrize("event", MEANWHILE)
def test_typed_text_survives_and_lands_in_its_own_row_when(event: str, screen: Screen, book: Book) -> None:
    before = learning_rates(book)
    screen.select(EDITED_ROW, LR)
    screen.type("0.0")
    revision = screen.revision()

    MEANWHILE[event](book)
    screen.expect_newer_than(revision)
    after_event = learning_rates(book)
    expect(screen.editor).to_have_value("0.0")
    screen.type("3")
    screen.press("Enter")

    eventually(screen.page, lambda: learning_rates(book).get(SEED_OF_EDITED_ROW), "0.03")
    assert learning_rates(book) == {**after_event, SEED_OF_EDITED_ROW: "0.03"}
    assert set(before) - set(after_event) <= {"102"}, "the event itself took away more than it should"


@needs_browser
def test_typed_text_follows_its_row_when_somebody_else_sorts(
    screen: Screen, server: SheetServer, book: Book, new_page: Callable[..., Page]
) -> None:
    screen.select(EDITED_ROW, LR)
    screen.type("0.0")
    somebody = Screen.opened(new_page(), server.url, book)
    somebody.pick_from_menu(EDITED_ROW, "Sort by seed, Z to A", SEED)
    screen.expect_text(2, SEED, "109")
    screen.type("3")
    screen.press("Enter")
    eventually(screen.page, lambda: learning_rates(book).get(SEED_OF_EDITED_ROW), "0.03")
    assert list(learning_rates(book).values()).count("0.5") == 7
    somebody.expect_saved()
    somebody.press("Control+z")
    eventually(screen.page, lambda: book.column("C", 2, 9), [str(seed) for seed in range(102, 110)])


@needs_browser
def test_text_typed_into_a_row_that_was_deleted_is_offered_back(screen: Screen, book: Book) -> None:
    screen.select(EDITED_ROW, LR)
    screen.type("0.0123")
    book.delete_row(EDITED_ROW)
    expect(screen.cell(EDITED_ROW, SEED)).to_have_text("105")
    screen.press("Enter")
    expect(screen.hint).to_contain_text("deleted")
    expect(screen.hint).to_contain_text("0.0123")
    assert "0.0123" not in str(book.read("A1:L20"))


@needs_browser
def test_overwriting_what_somebody_wrote_meanwhile_offers_to_put_theirs_back(screen: Screen, book: Book) -> None:
    screen.select(EDITED_ROW, LR)
    screen.type("0.03")
    revision = screen.revision()
    book.write(f"B{EDITED_ROW}", [["0.7"]])
    screen.expect_newer_than(revision)
    screen.press("Enter")
    expect(screen.hint).to_contain_text("0.7")
    screen.expect_text(EDITED_ROW, LR, "0.03")
    screen.page.get_by_role("button", name="Put theirs back").click()
    eventually(screen.page, lambda: book.read(f"B{EDITED_ROW}"), [["0.7"]])


@needs_browser
@pytest.mark.parametrize("delay_ms", [0, 20, 60])
def test_no_key_is_lost_between_cells_however_fast_they_come(delay_ms: int, screen: Screen, book: Book) -> None:
    """Eight cells are typed without a pause while others write, recolour and insert rows further down."""
    is_over = threading.Event()

    def others() -> None:
        turn = 0
        while not is_over.is_set():
            turn += 1
            book.write("E2:E9", [["running" if (turn + row) % 2 else "failed"] for row in range(8)])
            book.insert_row_above(15)

    writer = threading.Thread(target=others)
    writer.start()
    try:
        screen.select(2, TEMPLATE)
        for number in range(8):
            screen.type(f"fast{number}", delay_ms)
            screen.page.keyboard.press("Enter", delay=delay_ms)
    finally:
        is_over.set()
        writer.join()
    eventually(screen.page, lambda: book.column("A", 2, 9), [f"fast{number}" for number in range(8)])
    assert book.column("C", 2, 9) == [str(number) for number in range(102, 110)]


@needs_browser
def test_escape_leaves_the_cell_as_it_was(screen: Screen, book: Book) -> None:
    screen.select(EDITED_ROW, LR)
    screen.type("9")
    screen.press("Escape")
    expect(screen.editor).to_have_count(0)
    screen.select(EDITED_ROW, TEMPLATE)
    screen.press("F2")
    screen.type("-b")
    screen.press("Tab")
    eventually(screen.page, lambda: book.read(f"A{EDITED_ROW}:B{EDITED_ROW}"), [["net-4-b", "0.5"]])
