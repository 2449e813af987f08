"""The keyboard and the clipboard, as people know them from other sheets; undo touches only one's own edits."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.needs import needs_browser
from tests.page.screen import ACTION, LR, SEED, TEMPLATE, Book, Screen, eventually

THREE_BY_THREE = "a\tb\tc\nd\te\tf\ng\th\ti"


def place(screen: Screen) -> str:
    return screen.page.locator("#place").inner_text()


def put_on_clipboard(screen: Screen, text: str) -> None:
    screen.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    screen.page.evaluate("text => navigator.clipboard.writeText(text)", text)


@needs_browser
@pytest.mark.parametrize(
    ("keys", "where"),
    [
        (["ArrowDown", "ArrowRight"], "lr · 5"),
        (["Control+ArrowDown"], "template · 9"),
        (["Control+ArrowDown", "Control+ArrowDown"], "template · 200"),
        (["Control+ArrowRight"], "seed · 4"),
        (["Control+ArrowUp"], "header · template"),
        (["End"], "message · 4"),
        (["End", "Home"], "template · 4"),
        (["Control+End", "Control+Home"], "header · template"),
        (["Tab", "Tab", "x", "Enter"], "template · 5"),
        (["x", "ArrowDown"], "template · 5"),
        (["Shift+ArrowDown", "ArrowLeft"], "template · 4"),
    ],
)
def test_keys_move_as_in_other_sheets(keys: list[str], where: str, screen: Screen) -> None:
    screen.select(4, TEMPLATE)
    screen.press(*keys)
    eventually(screen.page, lambda: place(screen), where)


@needs_browser
def test_a_block_is_pasted_and_undone_and_redone_as_one_step(screen: Screen, book: Book) -> None:
    before = book.read("A1:C12")
    put_on_clipboard(screen, THREE_BY_THREE)
    screen.select(3, TEMPLATE)
    screen.press("Control+v")
    pasted = [["a", "b", "c"], ["d", "e", "f"], ["g", "h", "i"]]
    eventually(screen.page, lambda: book.read("A3:C5"), pasted)
    screen.expect_saved()
    screen.press("Control+z")
    eventually(screen.page, lambda: book.read("A1:C12"), before)
    screen.press("Control+y")
    eventually(screen.page, lambda: book.read("A3:C5"), pasted)


@needs_browser
def test_a_paste_beyond_the_last_row_makes_the_sheet_grow(screen: Screen, book: Book) -> None:
    put_on_clipboard(screen, THREE_BY_THREE)
    screen.select(2, TEMPLATE)
    screen.press("Control+ArrowDown", "Control+ArrowDown")
    screen.press("Control+v")
    screen.expect_text(202, SEED, "i")
    eventually(screen.page, lambda: book.read("A200:C202"), [["a", "b", "c"], ["d", "e", "f"], ["g", "h", "i"]])


@needs_browser
def test_cut_copy_and_fill_keep_texts_texts(screen: Screen, book: Book) -> None:
    """A quoted 007 stays a text on its way through the clipboard; a range fills from one value."""
    screen.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    screen.select(2, TEMPLATE)
    screen.type("'007")
    screen.press("Enter")
    eventually(screen.page, lambda: book.read("A2"), [["007"]])
    screen.select(2, TEMPLATE)
    screen.press("Control+x")
    screen.select(4, TEMPLATE)
    screen.press("Shift+ArrowDown", "Shift+ArrowDown", "Control+v")
    eventually(screen.page, lambda: book.column("A", 2, 6), ["", "net-3", "007", "007", "007"])


@needs_browser
def test_undo_leaves_what_somebody_else_has_written_since(screen: Screen, book: Book) -> None:
    screen.select(3, LR)
    screen.type("0.25")
    screen.press("Enter")
    eventually(screen.page, lambda: book.read("B3"), [["0.25"]])
    book.write("B3", [["0.75"]])
    screen.expect_text(3, LR, "0.75")
    screen.press("Control+z")
    expect(screen.hint).to_contain_text("changed by somebody else")
    assert book.read("B3") == [["0.75"]]


@needs_browser
def test_rows_are_inserted_and_deleted_from_the_menu_and_come_back_with_undo(screen: Screen, book: Book) -> None:
    screen.pick_from_menu(4, "Delete row")
    screen.expect_text(4, SEED, "105")
    screen.expect_saved()
    screen.press("Control+z")
    screen.expect_text(4, SEED, "104")
    screen.pick_from_menu(4, "Insert row above")
    screen.expect_text(5, SEED, "104")
    eventually(screen.page, lambda: book.column("C", 3, 6), ["103", "", "104", "105"])


@needs_browser
def test_a_validated_cell_offers_its_words_and_refuses_others(screen: Screen, book: Book) -> None:
    screen.select(3, ACTION)
    screen.type("re")
    expect(screen.page.locator(".choice")).to_have_text(["restart", "rerun", "resume"])
    screen.press("ArrowDown", "ArrowDown", "Enter")
    eventually(screen.page, lambda: book.read("D3"), [["rerun"]])
    screen.type("explode")
    screen.press("Enter")
    expect(screen.hint).to_contain_text("explode")
    assert book.column("D", 2, 9) == ["", "rerun"]
