"""What a turn of the daemon costs with many rows: API requests, and CPU beside a bare gspread read of the same tab.

    python -m tests.benchmarks.daemon_cycle [--rows 10 1000 10000] [--cycles 200] [--seconds 10] [--json]

A real daemon (adapter, journal, core) over the built-in sheet, which runs in another process, so that only the daemon
is measured. Its clock stands still but for the step from one cycle to the next; a cycle is everything from that step
until nothing is in flight: read, parse, view, reconcile, render, write, and the answer to the write. The daemon and a
bare read take turns on the same bytes; figures are medians. Bare is `spreadsheets.get` with the same mask through
gspread's client, then `json.loads`.

The second table, about real time, is that of `daemon_life`.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from gspread.http_client import HTTPClient, ParamsType
from gspread.urls import SPREADSHEET_URL
from rich.console import Console
from rich.table import Table

from sheetd.core.absorb import News
from sheetd.core.grid import CellUpdate, SheetWrite
from sheetd.core.model import attempt_id
from sheetd.core.observation import AttemptReported, AttemptSeen, Seen
from sheetd.sheets.google import GoogleSheet
from sheetd.sheets.transport import loopback_session
from sheetd.sheets.wire import READ_FIELDS
from tests.benchmarks.daemon_life import Life, life_table, measure_life
from tests.benchmarks.laboratory import HEADER, HOST, STARTED_AGE_S, Crowd, Lab, greeting, laboratory, reports
from tests.benchmarks.sheet_cycle import server_process
from tests.sheets.builtin_rig import Address

STEP_S = 3.0
KINDS = ("idle", "edit", "status", "metrics")


@dataclass(frozen=True)
class Cycle:
    cpu_ms: float
    requests: tuple[int, int]


@dataclass(frozen=True)
class Cost:
    """CPU in milliseconds a cycle, by kind of cycle; requests (reads, writes) likewise.

    Growth is from the highest of the first half of the cycles to the highest of the second half.
    """

    rows: int
    columns: int
    answer_bytes: int
    bare_ms: float
    first_ms: float
    cpu_ms: dict[str, float]
    requests: dict[str, tuple[int, int]]
    cycles: int
    rss_mb: float
    rss_growth_mb: float

    def ratio(self, kind: str) -> float:
        return self.cpu_ms[kind] / self.bare_ms


class Pilot:
    """A daemon, turned by hand."""

    def __init__(self, lab: Lab) -> None:
        self.clock = Steps()
        self.daemon = lab.daemon(self.clock)
        self._sent = lab.sheet.client.requests

    def cycle(self, *news: News) -> Cycle:
        """Step on, and turn until nothing is in flight."""
        before = Counter(self._sent)
        self.clock.s += STEP_S
        started_s = time.process_time()
        self.daemon.turn(news)
        while self.daemon.world.in_flight:
            self.daemon.turn(self.daemon._wait(self.clock.s + 60))
        cpu_ms = (time.process_time() - started_s) * 1000
        spent = self._sent - before
        return Cycle(cpu_ms, (spent["read"], spent["write"]))


class Steps:
    """A clock that moves when told to."""

    def __init__(self) -> None:
        self.s = 1000.0

    def monotonic_s(self) -> float:
        return self.s

    def wall_s(self) -> float:
        return 1.7e9 + self.s


class Happenings:
    """What happens before a cycle, different each time so that it is always news. Returns what the hosts say of it."""

    def __init__(self, person: GoogleSheet, crowd: Crowd) -> None:
        self._person = person
        self._crowd = crowd
        self._tab_id = person.read().tab_id
        self._rounds: Counter[str] = Counter()

    def happen(self, kind: str) -> list[News]:
        self._rounds[kind] += 1
        happened: Callable[[int], list[News]] = getattr(self, f"_{kind}")
        return happened(self._rounds[kind])

    def _idle(self, _round: int) -> list[News]:
        return []

    def _edit(self, round_: int) -> list[News]:
        """A person changes a parameter of a row that has ended: it is told that this needs a rerun."""
        row = 1 + round_ * 37 % self._crowd.ended
        cell = CellUpdate(row=row, column=HEADER.index("p1"), value=1e6 + round_)
        self._person.write(SheetWrite(tab_id=self._tab_id, updates=(cell,)))
        return []

    def _status(self, round_: int) -> list[News]:
        """A running job crashes and waits for its restart, or is back from it."""
        state = Seen.RESTARTING if round_ % 2 else Seen.RUNNING
        seen = AttemptSeen(state=state, pid=1, started_age_s=STARTED_AGE_S)
        return [AttemptReported(host=HOST, attempt=attempt_id(self._crowd.running_ids()[0], 1), seen=seen)]

    def _metrics(self, round_: int) -> list[News]:
        """Every running job reports one line."""
        return list(reports(self._crowd, round_))


def bare_reader(address: Address, tab: str) -> Callable[[], bytes]:
    bare = HTTPClient(None, loopback_session(address.base_url, address.token))  # type: ignore[arg-type]
    bare.set_timeout(60)
    url = address.base_url + SPREADSHEET_URL.removeprefix("https://sheets.googleapis.com") % address.key
    params: ParamsType = {"ranges": [f"'{tab}'"], "fields": READ_FIELDS, "prettyPrint": "false"}
    return lambda: bare.request("get", url, params=params).content


def cpu_ms(work: Callable[[], object]) -> float:
    started_s = time.process_time()
    work()
    return (time.process_time() - started_s) * 1000


def resident_mb() -> float:
    """What this process holds now; where only the peak since it began is told (macOS, in bytes: getrusage(2)), that."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def measure_cycles(lab: Lab, bare: Callable[[], bytes], *, rounds: int, cycles: int) -> Cost:
    crowd = lab.crowd
    pilot = Pilot(lab)
    pilot.daemon.recover()
    first = pilot.cycle(greeting(crowd))
    happenings = Happenings(lab.person, crowd)

    def some(count: int) -> None:
        for number in range(count):
            kind = KINDS[number % len(KINDS)]
            pilot.cycle(*happenings.happen(kind))

    some(2 * len(KINDS))
    taken: dict[str, list[Cycle]] = {kind: [] for kind in KINDS}
    bare_ms = []
    for _ in range(rounds):
        bare_ms.append(cpu_ms(lambda: json.loads(bare())))
        for kind in KINDS:
            taken[kind].append(pilot.cycle(*happenings.happen(kind)))
    # An answer is many megabytes and comes and goes, so what is held goes up and down: the crests are compared.
    held_mb = []
    for _ in range(max(2, cycles // len(KINDS))):
        some(len(KINDS))
        held_mb.append(resident_mb())
    half = len(held_mb) // 2
    lab.close(pilot.daemon)
    return Cost(
        rows=crowd.rows,
        columns=len(HEADER),
        answer_bytes=len(bare()),
        bare_ms=statistics.median(bare_ms),
        first_ms=first.cpu_ms,
        cpu_ms={kind: statistics.median(cycle.cpu_ms for cycle in taken[kind]) for kind in KINDS},
        requests={kind: max(cycle.requests for cycle in taken[kind]) for kind in KINDS},
        cycles=cycles,
        rss_mb=max(held_mb[:half]),
        rss_growth_mb=max(held_mb[half:]) - max(held_mb[:half]),
    )


def measure(address: Address, rows: int, *, rounds: int, cycles: int, seconds: float) -> tuple[Cost, Life]:
    tab = f"Experiments {rows}"
    with laboratory(address, Crowd(rows), tab) as lab:
        cost = measure_cycles(lab, bare_reader(address, tab), rounds=rounds, cycles=cycles)
        return cost, measure_life(lab, seconds)


def cycles_table(costs: list[Cost]) -> Table:
    shown = Table(title=f"One cycle, {len(HEADER)} columns: requests (reads + writes), CPU ms, and times bare")
    for name in ("rows", "answer kB", "bare", *(f"{kind}{what}" for kind in KINDS for what in (" req", " ms", " x"))):
        shown.add_column(name, justify="right")
    for name in ("first ms", "RSS MB", "growth MB", "cycles"):
        shown.add_column(name, justify="right")
    for cost in costs:
        figures = []
        for kind in KINDS:
            reads, writes = cost.requests[kind]
            figures += [f"{reads}+{writes}", f"{cost.cpu_ms[kind]:.1f}", f"{cost.ratio(kind):.2f}"]
        shown.add_row(
            str(cost.rows),
            f"{cost.answer_bytes / 1000:.0f}",
            f"{cost.bare_ms:.1f}",
            *figures,
            f"{cost.first_ms:.0f}",
            f"{cost.rss_mb:.0f}",
            f"{cost.rss_growth_mb:.1f}",
            str(cost.cycles),
        )
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--rows", type=int, nargs="+", default=[10, 1000, 10_000])
    parser.add_argument("--rounds", type=int, default=10, help="cycles of each kind that the medians are taken from")
    parser.add_argument("--cycles", type=int, default=200, help="further cycles, for the growth of memory")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long to look at the loop in real time")
    options = parser.parse_args()
    with server_process() as address:
        measured = [
            measure(address, rows, rounds=options.rounds, cycles=options.cycles, seconds=options.seconds)
            for rows in options.rows
        ]
    if options.json:
        ratios = [{"ratio": {kind: cost.ratio(kind) for kind in KINDS}} for cost, _ in measured]
        print(json.dumps([asdict(c) | r | {"life": asdict(v)} for (c, v), r in zip(measured, ratios, strict=True)]))
        return
    console = Console(width=200)
    console.print(cycles_table([cost for cost, _ in measured]))
    console.print(life_table([life for _, life in measured]))


if __name__ == "__main__":
    main()
