"""What a sheet cycle costs: requests, and CPU of this process beside a bare gspread read of the same tab.

    python -m tests.benchmarks.sheet_cycle [--json] [--rows 10 1000 10000]

The built-in sheet runs in another process, so only the client is measured. Ours and bare take turns within one run, on
the same bytes; figures are medians. `idle` is a read that finds nothing new, `changed` one that finds one cell changed,
`first` one that knows nothing yet. Bare is `spreadsheets.get` with the same mask through gspread's client, then
`json.loads`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from gspread.http_client import HTTPClient
from gspread.urls import SPREADSHEET_URL
from rich.console import Console
from rich.table import Table

from sheetd.core.grid import CellUpdate, CellValue, SheetWrite
from sheetd.sheets.google import GoogleSheet
from sheetd.sheets.transport import loopback_session
from sheetd.sheets.wire import READ_FIELDS
from tests.sheets.builtin_rig import Address, builtin_server

COLUMNS = 20
CHANGED_ROWS = 5
TAB = "Experiments"


@dataclass(frozen=True)
class Cost:
    """CPU in milliseconds a cycle; `requests` are those of one cycle."""

    rows: int
    columns: int
    answer_bytes: int
    requests_idle: int
    requests_changed: int
    bare_ms: float
    idle_ms: float
    changed_ms: float
    write_ms: float
    first_ms: float

    @property
    def idle_ratio(self) -> float:
        return self.idle_ms / self.bare_ms

    @property
    def changed_ratio(self) -> float:
        return self.changed_ms / self.bare_ms


def _serve(folder: str, pipe: Connection) -> None:
    with builtin_server(Path(folder)) as address:
        pipe.send(address)
        # Until the other end is closed, also by a crash.
        pipe.poll(None)


@contextmanager
def server_process() -> Iterator[Address]:
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(folder, theirs))
        process.start()
        theirs.close()
        try:
            yield ours.recv()
        finally:
            ours.close()
            process.join()


def _cell(row: int, column: int) -> CellValue:
    """A third numbers, a third short words, a third sentences: about what a tab of experiments holds."""
    if column % 3 == 0:
        return row * 0.001 + column
    return "running" if column % 3 == 1 else f"row {row}: on gpu1, step {row * column} of 100000"


def fill(sheet: GoogleSheet, rows: int) -> None:
    sheet.write_header([f"column {column}" for column in range(COLUMNS)])
    tab_id = sheet.read().tab_id
    missing = rows + 1 - sheet.read().row_count
    if missing > 0:
        append = {"appendDimension": {"sheetId": tab_id, "dimension": "ROWS", "length": missing}}
        sheet.client.batch_update(sheet.key, {"requests": [append]})
    for start in range(1, rows + 1, 1000):
        updates = [
            CellUpdate(row=row, column=column, value=_cell(row, column))
            for row in range(start, min(start + 1000, rows + 1))
            for column in range(COLUMNS)
        ]
        sheet.write(SheetWrite(tab_id=tab_id, updates=tuple(updates)))


def cpu_ms(work: Callable[[], object]) -> float:
    start_s = time.process_time()
    work()
    return (time.process_time() - start_s) * 1000


def _change(sheet: GoogleSheet, rows: int, round_: int) -> SheetWrite:
    """What a busy cycle writes: status and message of a few rows."""
    tab_id = sheet.read().tab_id
    chosen = [1 + (round_ * CHANGED_ROWS + offset) % rows for offset in range(CHANGED_ROWS)]
    cells = [CellUpdate(row=row, column=column, value=f"{round_}") for row in chosen for column in (4, 5)]
    return SheetWrite(tab_id=tab_id, updates=tuple(cells))


def measure(address: Address, rows: int, rounds: int) -> Cost:
    tab = f"{TAB} {rows}"
    person = address.open(tab)
    person.create_tab_if_missing(COLUMNS)
    fill(person, rows)
    sheet = address.open(tab)
    bare = HTTPClient(None, loopback_session(address.base_url, address.token))  # type: ignore[arg-type]
    bare.set_timeout(60)
    url = address.base_url + SPREADSHEET_URL.removeprefix("https://sheets.googleapis.com") % address.key
    params = {"ranges": [f"'{tab}'"], "fields": READ_FIELDS, "prettyPrint": "false"}
    answer_bytes = len(bare.request("get", url, params=params).content)

    def bare_read() -> object:
        return json.loads(bare.request("get", url, params=params).content)

    samples: dict[str, list[float]] = {name: [] for name in ("first", "bare", "idle", "changed", "write")}
    samples["first"].append(cpu_ms(sheet.read))
    for round_ in range(rounds):
        samples["bare"].append(cpu_ms(bare_read))
        samples["idle"].append(cpu_ms(sheet.read))
        person.write(_change(person, rows, 2 * round_))
        samples["changed"].append(cpu_ms(sheet.read))
        write = _change(sheet, rows, 2 * round_ + 1)
        samples["write"].append(cpu_ms(lambda write=write: sheet.write(write)))
        sheet.read()

    sent = sheet.client.requests
    sent.clear()
    sheet.read()
    requests_idle = sent.total()
    sheet.write(_change(sheet, rows, 0))
    requests_changed = sent.total() - requests_idle
    medians = {f"{name}_ms": statistics.median(times) for name, times in samples.items()}
    for each in (person, sheet):
        each.close()
    bare.session.close()
    return Cost(
        rows=rows,
        columns=COLUMNS,
        answer_bytes=answer_bytes,
        requests_idle=requests_idle,
        requests_changed=requests_changed,
        **medians,
    )


def table(costs: list[Cost]) -> Table:
    shown = Table(title=f"One sheet cycle, {COLUMNS} columns: requests, and client CPU beside a bare gspread read")
    for name in (
        "rows",
        "answer kB",
        "requests idle",
        "changed",
        "bare ms",
        "idle ms",
        "x",
        "changed ms",
        "x",
        "write ms",
        "first ms",
    ):
        shown.add_column(name, justify="right")
    for cost in costs:
        shown.add_row(
            str(cost.rows),
            f"{cost.answer_bytes / 1000:.0f}",
            str(cost.requests_idle),
            str(cost.requests_changed),
            f"{cost.bare_ms:.1f}",
            f"{cost.idle_ms:.1f}",
            f"{cost.idle_ratio:.2f}",
            f"{cost.changed_ms:.1f}",
            f"{cost.changed_ratio:.2f}",
            f"{cost.write_ms:.1f}",
            f"{cost.first_ms:.1f}",
        )
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--rows", type=int, nargs="+", default=[10, 1000, 10_000])
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    with server_process() as address:
        costs = [measure(address, rows, options.rounds) for rows in options.rows]
    if options.json:
        ratios = [{"idle_ratio": cost.idle_ratio, "changed_ratio": cost.changed_ratio} for cost in costs]
        print(json.dumps([asdict(cost) | ratio for cost, ratio in zip(costs, ratios, strict=True)], indent=2))
    else:
        Console(width=140).print(table(costs))


if __name__ == "__main__":
    main()
