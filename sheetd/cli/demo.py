"""`sheetd demo`: the whole of sheetd on this machine, with rows that show what it is for.

Nothing in it is pretended: the sheet is spoken to through gspread, the three hosts are agents with their own folders,
the jobs are real processes. All of it lives in a temporary folder, and everything is stopped and removed at the end.
"""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
import threading
import time
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from sheetd.build import Service, build
from sheetd.cli.init import starter
from sheetd.cli.terminal import JsonOption, complain, out
from sheetd.config import load_settings
from sheetd.core.grid import CellUpdate, CellValue, Grid, SheetWrite
from sheetd.errors import SheetdError
from sheetd.opening import PORT_MAX
from sheetd.sheets.google import GoogleSheet, open_builtin

TAB = "Experiments"
LOOK_EVERY_S = 0.5
FINAL = frozenset({"succeeded", "failed", "stopped", "invalid"})

CONFIG = """\
[sheet]
url = "builtin"
poll_s = 0.5
settle_s = 1.0

[daemon]
state_dir = "state"
templates = ["templates"]
"""
HOST = """
[[hosts]]
name = "{name}"
local = true
slots = 1
root = "hosts/{name}"
"""
HOSTS = ("maple", "birch", "cedar")
TEMPLATE = """\
description = "gradient descent on a toy problem, with checkpoints"
command = ["python3", "train.py", "--lr={lr}", "--steps={steps}", "--crash-at-step={crash_at}"]
code = "../code"
restarts = { max = 2, backoff_s = 0.5 }
grace_s = 5

[params.lr]
type = "number"
min = 0.0
max = 1.0

[params.steps]
type = "integer"
default = 60
min = 1

[params.crash_at]
type = "integer"
default = 0

[metrics]
loss = {}
"""


@dataclass(frozen=True, slots=True)
class DemoRow:
    """What is typed into a row, and what must have come of it in the end."""

    note: str
    cells: dict[str, CellValue]
    status: str
    says: str = ""


ROWS = (
    DemoRow("a first try", {"lr": 0.1, "steps": 60.0}, "succeeded"),
    DemoRow("crashes once, goes on", {"lr": 0.3, "steps": 60.0, "crash_at": 20.0}, "succeeded", "restarted once"),
    DemoRow("learns too fast", {"lr": 0.9, "steps": 60.0}, "failed", "diverged"),
    DemoRow("a comma instead of a point", {"lr": "0,05", "steps": 60.0}, "invalid", "0.05"),
    DemoRow("a slow one", {"lr": 0.02, "steps": 80.0}, "succeeded"),
    DemoRow("a fast one", {"lr": 0.5, "steps": 40.0}, "succeeded"),
)


def demo(
    headless: Annotated[bool, typer.Option("--headless", help="Open no browser.")] = False,
    until_done: Annotated[
        bool,
        typer.Option(
            "--until-done", help="End when every row has ended: exit code 1 if one ended in another way than promised."
        ),
    ] = False,
    as_json: JsonOption = False,
    timeout_s: Annotated[float, typer.Option(help="With --until-done: give up after this long.")] = 120.0,
    port: Annotated[int, typer.Option(min=0, max=PORT_MAX, help="Port of the sheet; 0 takes a free one.")] = 0,
) -> None:
    """Show sheetd at work: a sheet in the browser, three hosts on this machine, and rows that run, crash and fail.

    [dim]Examples:[/]  sheetd demo   sheetd demo --headless --until-done --json
    """
    with (
        tempfile.TemporaryDirectory(prefix="sheetd-demo-") as folder,
        running(Path(folder) / "sheetd demo", port) as (service, sheet, over),
    ):
        began_s = time.monotonic()
        type_rows(sheet)
        if service.server is not None and not as_json:
            out.print(f"The sheet is at [bold]{escape(service.server.url)}[/]", soft_wrap=True)
            out.print("Type a row of your own while it runs: a number into lr is enough. Ctrl-C ends the demo.")
            if not headless:
                webbrowser.open(service.server.url)
        watcher = Watcher(sheet=sheet, over=over, began_s=began_s)
        rows = watcher.watch(timeout_s if until_done else None)
    if until_done:
        problems = differences(rows)
        if as_json:
            result = {"rows": rows, "first_green_s": watcher.first_green_s, "problems": problems}
            print(json.dumps(result, indent=2, ensure_ascii=False))
        for problem in problems:
            complain(problem)
        if problems:
            raise typer.Exit(1)
        if not as_json:
            out.print(f"Every row ended as it should; the first ran after {watcher.first_green_s:.1f} s.")


@contextmanager
def running(folder: Path, port: int) -> Iterator[tuple[Service, GoogleSheet, threading.Event]]:
    """A daemon at work in the folder, a client of its sheet like any other, and an event that says it is over."""
    write_project(folder)
    service = build(load_settings(folder / "sheetd.toml"), port=port)
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    loop = threading.Thread(target=run_until_over, args=(service, over), name="sheetd-loop")
    try:
        loop.start()
        sheet = open_service_sheet(service)
        try:
            yield service, sheet, over
        finally:
            stop_jobs(service, loop)
            sheet.close()
    finally:
        service.stop()
        loop.join()
        service.close()


def run_until_over(service: Service, over: threading.Event) -> None:
    """The daemon's loop; if it breaks, the demo is over rather than waiting for ever."""
    try:
        service.run()
    finally:
        over.set()


def open_service_sheet(service: Service) -> GoogleSheet:
    """A second client of the demo's sheet, beside the daemon's own."""
    server = service.server
    if server is None:
        raise SheetdError("the demo's sheet did not start")
    return open_builtin(server.base_url, server.token, server.store.newest_key() or "", TAB)


def write_project(folder: Path) -> None:
    """Configuration, template and program, as a user would have them."""
    (folder / "templates").mkdir(parents=True)
    (folder / "code").mkdir()
    (folder / "sheetd.toml").write_text(CONFIG + "".join(HOST.format(name=name) for name in HOSTS))
    (folder / "templates" / "train.toml").write_text(TEMPLATE)
    shutil.copyfile(starter() / "examples" / "01-local" / "train.py", folder / "code" / "train.py")


def type_rows(sheet: GoogleSheet) -> None:
    """Type the rows like a person: only into the columns that are the user's, with a note of one's own."""
    grid = sheet.read()
    columns = {cell.shown: position for position, cell in enumerate(grid.rows[0])}
    note = len(grid.rows[0])
    updates = [CellUpdate(row=0, column=note, value="notes")]
    for index, row in enumerate(ROWS, start=1):
        updates += [CellUpdate(row=index, column=columns[name], value=value) for name, value in row.cells.items()]
        updates.append(CellUpdate(row=index, column=columns["template"], value="train"))
        updates.append(CellUpdate(row=index, column=note, value=row.note))
    sheet.write(SheetWrite(tab_id=grid.tab_id, updates=tuple(updates)))


@dataclass(slots=True)
class Watcher:
    """Looks at the sheet as a person would, and remembers when the first row was seen to run."""

    sheet: GoogleSheet
    over: threading.Event
    began_s: float
    first_green_s: float | None = None

    def watch(self, until_done_s: float | None) -> list[dict[str, Any]]:
        """Until the demo is over; or until every row has ended, for at most so long. Returns the rows as shown."""
        while True:
            rows = shown_rows(self.sheet.read())
            elapsed_s = time.monotonic() - self.began_s
            if self.first_green_s is None and any(row["status"] in ("running", "succeeded") for row in rows):
                self.first_green_s = round(elapsed_s, 2)
            is_done = all(row["status"] in FINAL for row in rows) or elapsed_s > (until_done_s or 0.0)
            if (until_done_s is not None and is_done) or self.over.wait(LOOK_EVERY_S):
                return rows


def shown_rows(grid: Grid) -> list[dict[str, Any]]:
    """The rows with anything in them, by header."""
    names = [cell.shown for cell in grid.rows[0]]
    rows = [dict(zip(names, (cell.shown for cell in row), strict=False)) for row in grid.rows[1:]]
    return [{name: row.get(name, "") for name in names} for row in rows if any(row.values())]


def differences(rows: list[dict[str, Any]]) -> list[str]:
    """What did not come out as the demo promises, in sentences."""
    by_note = {row["notes"]: row for row in rows}
    problems = []
    for wanted in ROWS:
        row = by_note.get(wanted.note)
        if row is None:
            problems.append(f'the row "{wanted.note}" is gone')
        elif row["status"] != wanted.status or wanted.says not in row["message"]:
            shown = f'{row["status"]} with "{row["message"]}"'
            problems.append(f'the row "{wanted.note}" shows {shown}, not {wanted.status} with "{wanted.says}"')
    return problems


def stop_jobs(service: Service, loop: threading.Thread, patience_s: float = 15.0) -> None:
    """Stop what still runs, so that the demo leaves no process behind."""
    (project,) = service.projects
    state = project.daemon.world.state
    for id_ in list(state.open):
        project.journal.add_request("stop", id_)
    service.wake()
    deadline_s = time.monotonic() + patience_s
    while state.open and loop.is_alive() and time.monotonic() < deadline_s:
        time.sleep(0.05)
