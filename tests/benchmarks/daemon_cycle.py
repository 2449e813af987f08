"""What a turn of the daemon costs with many rows: API requests, and CPU beside a bare gspread read of the same tab.

    python -m tests.benchmarks.daemon_cycle [--rows 10 1000 10000] [--cycles 200] [--seconds 10] [--json]

A real daemon (adapter, journal, core) over the built-in sheet, which runs in another process, so that only the daemon
is measured. Its clock stands still but for the step from one cycle to the next; a cycle is everything from that step
until nothing is in flight: read, parse, view, reconcile, render, write, and the answer to the write. The daemon and a
bare read take turns on the same bytes; figures are medians. Bare is `spreadsheets.get` with the same mask through
gspread's client, then `json.loads`.

The second table is about real time: how long a start takes, and what the loop does on its own while nothing happens
and while every running job reports once a second.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from gspread.http_client import HTTPClient, ParamsType
from gspread.urls import SPREADSHEET_URL
from rich.console import Console
from rich.table import Table

from sheetd.clock import SystemChance, SystemClock
from sheetd.core.absorb import News
from sheetd.core.grid import CellUpdate, SheetWrite
from sheetd.core.model import attempt_id
from sheetd.core.observation import AttemptReported, AttemptSeen, MetricPoint, MetricsReported, Seen
from sheetd.daemon import Daemon
from sheetd.effects import Ports
from sheetd.journal import SqliteJournal
from sheetd.ports import Clock
from sheetd.sheets.google import GoogleSheet
from sheetd.sheets.transport import loopback_session
from sheetd.sheets.wire import READ_FIELDS
from tests.benchmarks.laboratory import (
    HEADER,
    HOST,
    STARTED_AGE_S,
    Crowd,
    StillHost,
    fill,
    greeting,
    make_world,
    write_history,
)
from tests.benchmarks.sheet_cycle import server_process
from tests.sheets.builtin_rig import Address

STEP_S = 3.0
KINDS = ("idle", "edit", "status", "metrics")


class Steps:
    """A clock that moves when told to."""

    def __init__(self) -> None:
        self.s = 1000.0

    def monotonic_s(self) -> float:
        return self.s

    def wall_s(self) -> float:
        return 1.7e9 + self.s


@dataclass(frozen=True)
class Cycle:
    cpu_ms: float
    requests: tuple[int, int]


@dataclass(frozen=True)
class Cost:
    """CPU in milliseconds a cycle, by kind of cycle; requests (reads, writes) likewise."""

    rows: int
    columns: int
    answer_bytes: int
    bare_ms: float
    first_ms: float
    cpu_ms: dict[str, float]
    requests: dict[str, tuple[int, int]]
    cycles: int
    rss_before_mb: float
    rss_growth_mb: float

    def ratio(self, kind: str) -> float:
        return self.cpu_ms[kind] / self.bare_ms


@dataclass(frozen=True)
class Life:
    """What the loop does in real time. Turns per second, and its thread's and the whole process's share of a core."""

    rows: int
    recover_s: float
    idle_turns_per_s: float
    idle_loop_share: float
    idle_share: float
    busy_turns_per_s: float
    busy_loop_share: float
    busy_share: float


class Pilot:
    """A daemon, turned by hand."""

    def __init__(self, sheet: GoogleSheet, journal: SqliteJournal, crowd: Crowd, clock: Clock) -> None:
        self.sheet = sheet
        self.crowd = crowd
        ports = Ports(sheet=sheet, hosts={HOST: StillHost()}, journal=journal, snapshots=_NoCode(), secret=str)
        self.daemon = Daemon(make_world(crowd), ports, clock, SystemChance())

    def quiet(self) -> None:
        """Turn until nothing is in flight."""
        daemon = self.daemon
        for _ in range(100):
            if not daemon.world.in_flight:
                return
            daemon.turn(daemon._wait(daemon._clock.monotonic_s() + 60))
        raise AssertionError(f"it never ends: {list(daemon.world.in_flight)}")

    def cycle(self, clock: Steps, *news: News) -> Cycle:
        sent = self.sheet.client.requests
        before = Counter(sent)
        clock.s += STEP_S
        started_s = time.process_time()
        self.daemon.turn(news)
        self.quiet()
        cpu_ms = (time.process_time() - started_s) * 1000
        spent = sent - before
        return Cycle(cpu_ms, (spent["read"], spent["write"]))

    def close(self) -> None:
        self.daemon._lanes.close(5.0)


class _NoCode:
    def pin(self, folder: Path) -> str:
        raise AssertionError(folder)

    def archive(self, sha: str) -> Path:
        raise AssertionError(sha)


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


def reports(crowd: Crowd, round_: int) -> Iterator[MetricsReported]:
    for id_ in crowd.running_ids():
        start, end = 1000 + 50 * round_, 1050 + 50 * round_
        point = MetricPoint(values={"loss": 1 / (round_ + 2), "acc": 1 - 1 / (round_ + 2)}, step=float(round_))
        yield MetricsReported(host=HOST, attempt=attempt_id(id_, 1), start=start, end=end, points=(point,))


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
    gc.collect()
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


@contextmanager
def laboratory(address: Address, crowd: Crowd, tab: str) -> Iterator[tuple[GoogleSheet, GoogleSheet, SqliteJournal]]:
    """The daemon's sheet, a person's, and the journal, filled."""
    person, sheet = address.open(tab), address.open(tab)
    rows = fill(person, crowd)
    with tempfile.TemporaryDirectory() as folder, SqliteJournal(Path(folder)) as journal:
        write_history(journal, crowd, rows)
        try:
            yield sheet, person, journal
        finally:
            person.close()
            sheet.close()


def measure_cycles(
    lab: tuple[GoogleSheet, GoogleSheet, SqliteJournal],
    crowd: Crowd,
    bare: Callable[[], bytes],
    rounds: int,
    cycles: int,
) -> Cost:
    sheet, person, journal = lab
    clock = Steps()
    pilot = Pilot(sheet, journal, crowd, clock)
    pilot.daemon.recover()
    first = pilot.cycle(clock, greeting(crowd))
    for _ in range(5):
        pilot.cycle(clock)
    happenings = Happenings(person, crowd)
    taken: dict[str, list[Cycle]] = {kind: [] for kind in KINDS}
    bare_ms = []
    for _ in range(rounds):
        bare_ms.append(cpu_ms(lambda: json.loads(bare())))
        for kind in KINDS:
            taken[kind].append(pilot.cycle(clock, *happenings.happen(kind)))
    before_mb = resident_mb()
    for number in range(cycles):
        pilot.cycle(clock, *happenings.happen(KINDS[number % len(KINDS)]))
    growth_mb = resident_mb() - before_mb
    pilot.close()
    return Cost(
        rows=crowd.rows,
        columns=len(HEADER),
        answer_bytes=len(bare()),
        bare_ms=statistics.median(bare_ms),
        first_ms=first.cpu_ms,
        cpu_ms={kind: statistics.median(cycle.cpu_ms for cycle in taken[kind]) for kind in KINDS},
        requests={kind: max(cycle.requests for cycle in taken[kind]) for kind in KINDS},
        cycles=cycles,
        rss_before_mb=before_mb,
        rss_growth_mb=growth_mb,
    )


def measure_life(lab: tuple[GoogleSheet, GoogleSheet, SqliteJournal], crowd: Crowd, seconds: float) -> Life:
    """A second daemon over the same journal, by the real clock."""
    sheet, _, journal = lab
    pilot = Pilot(sheet, journal, crowd, SystemClock())
    started_s = time.perf_counter()
    pilot.daemon.recover()
    recover_s = time.perf_counter() - started_s
    pilot.daemon.turn([greeting(crowd)])
    _live(pilot, 2 * make_world(crowd).limits.poll_s)
    idle = _live(pilot, seconds)
    done = threading.Event()

    def report() -> None:
        round_ = 1_000_000
        while not done.is_set():
            # One after another within the second, as jobs do.
            for news in reports(crowd, round_):
                pilot.daemon.post(news)
                if done.wait(1.0 / crowd.running):
                    return
            round_ += 1

    jobs = threading.Thread(target=report)
    jobs.start()
    try:
        busy = _live(pilot, seconds)
    finally:
        done.set()
        jobs.join()
    pilot.close()
    return Life(crowd.rows, recover_s, *idle, *busy)


def _live(pilot: Pilot, seconds: float) -> tuple[float, float, float]:
    """Turns per second, and the shares of a core that the loop's thread and the process took."""
    daemon, turns, wake_s = pilot.daemon, 0, 0.0
    started_s, loop_s, process_s = time.perf_counter(), time.thread_time(), time.process_time()
    while (passed_s := time.perf_counter() - started_s) < seconds:
        ends_s = daemon._clock.monotonic_s() + seconds - passed_s
        wake_s = daemon.turn(daemon._wait(min(wake_s, ends_s)))
        turns += 1
    return turns / passed_s, (time.thread_time() - loop_s) / passed_s, (time.process_time() - process_s) / passed_s


def measure(address: Address, rows: int, *, rounds: int, cycles: int, seconds: float) -> tuple[Cost, Life]:
    tab = f"Experiments {rows}"
    crowd = Crowd(rows)
    with laboratory(address, crowd, tab) as lab:
        cost = measure_cycles(lab, crowd, bare_reader(address, tab), rounds, cycles)
        return cost, measure_life(lab, crowd, seconds)


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
            f"{cost.rss_before_mb:.0f}",
            f"{cost.rss_growth_mb:.1f}",
            str(cost.cycles),
        )
    return shown


def life_table(lives: list[Life]) -> Table:
    shown = Table(
        title="In real time: the start, and what the loop takes of a core (in brackets with the sheet's reads)"
    )
    for name in ("rows", "start s", "idle turns/s", "idle", "metrics turns/s", "metrics"):
        shown.add_column(name, justify="right")
    for life in lives:
        shown.add_row(
            str(life.rows),
            f"{life.recover_s:.2f}",
            f"{life.idle_turns_per_s:.1f}",
            f"{life.idle_loop_share:.2%} ({life.idle_share:.2%})",
            f"{life.busy_turns_per_s:.1f}",
            f"{life.busy_loop_share:.1%} ({life.busy_share:.1%})",
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
