"""The demo does what the README says, without a browser and in one."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from tests.needs import needs_browser, program

DEMO = [sys.executable, "-m", "sheetd", "demo", "--headless"]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
#: Column numbers of the demo's sheet, counted from 1.
TEMPLATE, LR, STEPS, CRASH_AT, ACTION, STATUS, MESSAGE = range(1, 8)
FIRST_FREE_ROW = 8
PATIENCE_MS = 60_000


def test_every_row_of_the_demo_ends_as_it_should(tmp_path: Path) -> None:
    argv = [*DEMO, "--until-done", "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=150, check=False, env=kept_in(tmp_path))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["problems"] == []
    assert told["first_green_s"] < 30
    shown = {row["notes"]: (row["status"], row["message"]) for row in told["rows"]}
    assert shown["crashes once, goes on"] == ("succeeded", "restarted once on the way")
    assert shown["learns too fast"][0] == "failed"
    assert shown["a comma instead of a point"] == ("invalid", 'lr is the text "0,05": type it with a point, 0.05')
    assert list(tmp_path.iterdir()) == [], "it removes everything that it made"


def test_the_demo_says_so_when_a_row_does_not_end_as_it_should(tmp_path: Path) -> None:
    argv = [*DEMO, "--until-done", "--json", "--timeout-s", "1"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env=kept_in(tmp_path))
    assert done.returncode == 1
    assert json.loads(done.stdout)["problems"]
    assert "not succeeded" in done.stderr


@needs_browser
def test_rows_change_colour_without_reload_and_a_row_typed_into_the_page_is_executed(tmp_path: Path) -> None:
    with running_demo(tmp_path) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program("chromium"), args=FLAGS)
        page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
        page.goto(url)
        first = cell(page, 2, STATUS)
        expect(first).to_have_text("running", timeout=PATIENCE_MS)
        page.evaluate("window.neverReloaded = true")
        running = colour(page, 2)

        cell(page, FIRST_FREE_ROW, LR).click()
        page.keyboard.type("0.4")
        page.keyboard.press("Tab")
        page.keyboard.type("10")
        page.keyboard.press("Enter")

        expect(cell(page, FIRST_FREE_ROW, STATUS)).to_have_text("succeeded", timeout=PATIENCE_MS)
        expect(first).to_have_text("succeeded", timeout=PATIENCE_MS)
        assert colour(page, 2) != running
        assert page.evaluate("window.neverReloaded") is True
        browser.close()


def cell(page: Page, row: int, column: int):  # type: ignore[no-untyped-def] # a Locator, whose module is private
    return page.locator(f'[aria-rowindex="{row}"] [aria-colindex="{column}"]')


def colour(page: Page, row: int) -> str:
    found = cell(page, row, MESSAGE).evaluate("cell => getComputedStyle(cell).backgroundColor")
    return str(found)


def kept_in(folder: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(folder)}


@contextmanager
def running_demo(folder: Path) -> Iterator[str]:
    """The address of the page, while the demo runs; ended with Ctrl-C, which leaves nothing behind."""
    with subprocess.Popen(DEMO, stdout=subprocess.PIPE, text=True, env=kept_in(folder)) as demo:
        assert demo.stdout is not None
        line = next(line for line in demo.stdout if "http://" in line)
        found = re.search(r"http://\S+", line)
        assert found is not None
        try:
            yield found[0]
        finally:
            demo.send_signal(signal.SIGINT)
            demo.stdout.read()
            assert demo.wait(30) == 0
    assert list(folder.iterdir()) == []
