"""What the server tells is seen at once, what sheetd owns stays its own, and a lost connection loses nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from sheetd.core.colours import ROW_COLOURS
from sheetd.sheets.builtin.server import SheetServer
from tests.needs import needs_browser
from tests.page.screen import (
    LR,
    MESSAGE,
    TEMPLATE,
    Book,
    Screen,
    eventually,
)

PAGE = Path(__file__).parents[2] / "sheetd" / "sheets" / "builtin" / "page"

CONTRAST = """element => {
  const pen = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const luminance = colour => {
    pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...pen.getImageData(0, 0, 1, 1).data].map(x => x / 255)
      .map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const style = getComputedStyle(element);
  const [dark, light] = [luminance(style.color), luminance(style.backgroundColor)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
}"""


@needs_browser
def test_a_row_changes_colour_and_text_without_a_reload(screen: Screen, book: Book) -> None:
    screen.page.evaluate("window.isSamePage = true")
    plain = screen.background(3, TEMPLATE)
    book.write("E3:F3", [["running", "step 10 of 100"]])
    screen.expect_text(3, MESSAGE, "step 10 of 100")
    running = screen.background(3, TEMPLATE)
    book.write("E3:F3", [["failed", "out of memory"]])
    screen.expect_text(3, MESSAGE, "out of memory")
    failed = screen.background(3, TEMPLATE)
    assert len({plain, running, failed}) == 3
    assert screen.background(4, TEMPLATE) == plain
    expect(screen.page.locator("#tally")).to_have_text("1 failed")
    assert screen.page.evaluate("window.isSamePage")


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_coloured_rows_are_readable_by_day_and_by_night(
    scheme: str, server: SheetServer, book: Book, new_page: Callable[..., Page]
) -> None:
    book.write("E2", [[word, "a message"] for word in ROW_COLOURS])
    screen = Screen.opened(new_page(color_scheme=scheme), server.url, book)
    screen.select(20, LR)
    for row in range(2, 2 + len(ROW_COLOURS)):
        for column in (TEMPLATE, MESSAGE):
            assert screen.cell(row, column).evaluate(CONTRAST) >= 4.5
    chips = screen.page.locator(".chip")
    expect(chips).to_have_count(len(ROW_COLOURS))
    for chip in chips.all():
        assert chip.evaluate(CONTRAST) >= 4.5


@needs_browser
def test_cells_that_sheetd_writes_refuse_every_way_of_editing(screen: Screen, book: Book) -> None:
    book.write("F3", [["written by sheetd"]])
    screen.expect_text(3, MESSAGE, "written by sheetd")
    revision = screen.revision()
    screen.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    screen.page.evaluate("navigator.clipboard.writeText('pasted')")
    for keys in (["x", "y", "Enter"], ["F2"], ["Delete"], ["Control+v"], ["Control+x"]):
        screen.select(3, MESSAGE)
        expect(screen.hint).to_be_hidden()
        screen.press(*keys)
        expect(screen.hint).to_contain_text("sheetd writes the column “message”")
        expect(screen.editor).to_have_count(0)
    screen.cell(3, MESSAGE).dblclick()
    expect(screen.editor).to_have_count(0)
    assert book.read("F2:F4") == [[], ["written by sheetd"]]
    assert screen.revision() == revision, "nothing was even sent"


@needs_browser
def test_a_paste_across_owned_columns_writes_only_the_persons_own(screen: Screen, book: Book) -> None:
    screen.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    screen.page.evaluate("navigator.clipboard.writeText('n\\t0.1\\t7\\trun\\tdone\\tfake')")
    screen.select(12, TEMPLATE)
    screen.press("Control+v")
    eventually(screen.page, lambda: book.read("A12:F12"), [["n", "0.1", "7", "run"]])


HOSTILE = [
    '<img src=x onerror="window.wasHit=1">',
    "<script>window.wasHit=1</script>",
    "</textarea><svg onload=window.wasHit=1>",
    "javascript:window.wasHit=1",
    "{{constructor.constructor('window.wasHit=1')()}}",
    "\u202egnp.exe",
]


@needs_browser
def test_a_note_on_a_header_is_shown_under_the_pointer_and_in_the_line_at_the_top(screen: Screen, book: Book) -> None:
    words = "sheetd: why the row is where it is"
    at = {"sheetId": book.sheet, "rowIndex": 0, "columnIndex": MESSAGE - 1}
    book.batch({"updateCells": {"start": at, "rows": [{"values": [{"note": words}]}], "fields": "note"}})
    expect(screen.cell(1, MESSAGE)).to_have_attribute("title", words)
    screen.select(1, MESSAGE)
    expect(screen.page.locator("#full .note")).to_have_text(words)


@needs_browser
def test_hostile_text_is_only_text(server: SheetServer, new_page: Callable[..., Page]) -> None:
    """In cells, header, note, list of values, tab and title: shown letter by letter, never made into elements."""
    hostile = HOSTILE[0]
    book = Book.create(server.base_url, server.token, title=hostile)
    book.write("A1", [[hostile, "lr"], *([text] for text in HOSTILE)])
    book.batch({"addSheet": {"properties": {"title": hostile}}})
    note = {
        "start": {"sheetId": book.sheet, "rowIndex": 1, "columnIndex": 1},
        "rows": [{"values": [{"note": hostile}]}],
    }
    book.batch({"updateCells": {**note, "fields": "note"}})
    book.allow(2, HOSTILE)
    screen = Screen.opened(new_page(), server.url, book)
    for row, text in enumerate(HOSTILE, start=2):
        screen.expect_text(row, 1, text)
        screen.select(row, 1)
        expect(screen.page.locator("#full")).to_have_text(text)
    screen.select(2, 2)
    expect(screen.page.locator("#full .note")).to_have_text(hostile)
    screen.cell(2, 3).dblclick()
    expect(screen.page.locator(".choice")).to_have_text(HOSTILE)
    screen.press("Escape")
    screen.pick_from_menu(3, "Delete row")
    expect(screen.page.locator("#title")).to_have_text(hostile)
    assert hostile in screen.page.title()
    expect(screen.page.get_by_role("tab").nth(1)).to_have_text(hostile)
    strange = screen.page.locator("#grid img, #hint img, #tabs img, #choices img, body svg:not(.spark), body script")
    expect(strange).to_have_count(0)
    assert screen.page.evaluate("window.wasHit") is None


@needs_browser
def test_edits_made_while_the_server_is_away_are_sent_once_when_it_is_back(
    tmp_path: Path, new_page: Callable[..., Page]
) -> None:
    path = tmp_path / "kept.sqlite"
    first = SheetServer(path)
    first.start()
    try:
        port = int(first.base_url.rpartition(":")[2])
        book = Book.experiments(first.base_url, first.token)
        screen = Screen.opened(new_page(), first.url, book)
    finally:
        first.stop()
    banner = screen.page.locator("#banner")
    expect(banner).to_contain_text("your edits are kept and will be sent")
    screen.select(3, LR)
    for text in ("0.11", "0.22", "0.33"):
        screen.type(text)
        screen.press("Enter")
    screen.type("0.4")  # and one more is still being typed when the connection comes back
    expect(banner).to_contain_text("3 edits wait")
    screen.expect_text(4, LR, "0.22")
    second = SheetServer(path, port=port, token=first.token)
    second.start()
    try:
        eventually(screen.page, lambda: book.column("B", 3, 6), ["0.11", "0.22", "0.33", "0.5"])
        expect(banner).to_be_hidden()
        screen.type("4")
        screen.press("Enter")
        eventually(screen.page, lambda: book.column("B", 3, 6), ["0.11", "0.22", "0.33", "0.44"])
        screen.expect_saved()
    finally:
        screen.page.close()
        second.stop()


@needs_browser
def test_ten_thousand_rows_put_only_the_visible_ones_into_the_document(
    server: SheetServer, new_page: Callable[..., Page]
) -> None:
    book = Book.create(server.base_url, server.token, rows=10_000, columns=30)
    book.write("A1", [HEADER_OF_THIRTY, *([f"{row}.{col}" for col in range(30)] for row in range(2, 10_001))])
    screen = Screen.opened(new_page(), server.url, book)
    screen.select(2, TEMPLATE)
    screen.press("Control+ArrowDown")
    screen.expect_text(10_000, 1, "10000.0")
    assert screen.page.locator("#body .row").count() < 80
    book.write("A9999", [["changed far below"]])
    screen.expect_text(9_999, 1, "changed far below")


@needs_browser
def test_a_page_of_which_a_part_was_not_fetched_loads_itself_again(
    server: SheetServer, book: Book, new_page: Callable[..., Page]
) -> None:
    page = new_page()
    page.route("**/view.js", lambda route: route.abort(), times=1)
    screen = Screen.opened(page, server.url, book)
    screen.expect_text(3, TEMPLATE, "net-3")
    expect(page.locator("#banner")).to_be_hidden()


HEADER_OF_THIRTY = [f"column {number}" for number in range(30)]


@needs_browser
def test_an_empty_sheet_says_what_to_do_next(server: SheetServer, new_page: Callable[..., Page]) -> None:
    book = Book.create(server.base_url, server.token)
    screen = Screen.opened(new_page(), server.url, book)
    welcome = screen.page.locator("#welcome")
    expect(welcome).to_contain_text("Type column names into the first row")
    book.write("A1", [["template", "status"]])
    expect(welcome).to_contain_text("Type an experiment into the first empty row")
    screen.select(2, TEMPLATE)
    screen.type("net")
    screen.press("Enter")
    expect(welcome).to_be_hidden()


@needs_browser
def test_a_screen_reader_finds_a_grid(screen: Screen, book: Book) -> None:
    page = screen.page
    expect(page.get_by_role("grid")).to_have_attribute("aria-rowcount", "200")
    expect(page.get_by_role("columnheader", name="message")).to_be_visible()
    book.write("F3", [["hello"]])
    expect(page.get_by_role("gridcell", name="hello")).to_have_attribute("aria-readonly", "true")
    screen.select(3, LR)
    expect(page.locator("#active-cell")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("textbox", name="lr · 3")).to_be_focused()
    expect(page.get_by_role("tab", name="Experiments")).to_have_attribute("aria-selected", "true")


def test_the_page_never_makes_elements_from_text() -> None:
    forbidden = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser")
    modules = sorted(PAGE.glob("*.js"))
    assert len(modules) > 10
    for module in modules:
        text = module.read_text(encoding="utf-8")
        assert text.startswith("// @ts-check\n"), module.name
        assert not forbidden.search(text), module.name
    markup = (PAGE / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|style=|\son\w+=|https?://|<script(?! type=\"module\" src=)", markup)
