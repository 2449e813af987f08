"""`python -m tests.sim`: run seeds, or every single fault, tell what happened, and make a failing run smaller.

Progress goes to stderr and results to stdout. Ctrl-C ends it with the summary of what has been run.
"""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from tests.sim.exhaustive import run_case, run_exhaustive, setting_of
from tests.sim.faults import KINDS
from tests.sim.shrink import shrink, size_of
from tests.sim.summary import Summary, tell
from tests.sim.world import HOSTS, Report, Setting, simulate

EXAMPLES = """examples:
  python -m tests.sim --seed 7                           one run, with its last events
  python -m tests.sim --seeds 0..999 --jobs 2            many, with a table of the faults
  python -m tests.sim --seeds 0..99 --kinds G5,S7        only lost answers and sorting people
  python -m tests.sim --seed 7 --shrink                  a smaller run that breaks the same promise
  python -m tests.sim --seed 7 --kinds none --rows 2 --hosts 1 --duration 60
  python -m tests.sim --exhaustive --jobs 2 --json       every single fault of the scenarios
"""


def kinds_of(text: str) -> set[str]:
    kinds = set() if text == "none" else set(text.split(","))
    unknown = sorted(kinds - set(KINDS))
    if unknown:
        raise argparse.ArgumentTypeError(f"no such kind of fault: {', '.join(unknown)}. There are: {' '.join(KINDS)}")
    return kinds


def seeds_of(text: str) -> range:
    first, _, last = text.partition("..")
    try:
        return range(int(first), int(last) + 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not like 0..999") from None


def case_of(text: str) -> Setting:
    """`2 daemon 17`: the third scenario, the daemon, its eighteenth boundary."""
    try:
        number, who, at = text.split()
        return replace(setting_of(int(number)), crash_who=who, crash_at=int(at))
    except (ValueError, IndexError):
        raise argparse.ArgumentTypeError(f"{text!r} is not like '2 daemon 17'") from None


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.sim",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--seed", type=int, help="one run, told in full")
    what.add_argument("--seeds", type=seeds_of, default=range(100), metavar="A..B", help="many runs (default: 0..99)")
    what.add_argument("--exhaustive", action="store_true", help="every single fault of the scenarios")
    what.add_argument("--case", type=case_of, metavar="'SCENARIO WHO BOUNDARY'", help="one of the exhaustive ones")
    parser.add_argument("--kinds", type=kinds_of, metavar="ID,ID", help="only these kinds of fault; or none")
    parser.add_argument("--duration", type=float, metavar="S", help="how long the faults last, in simulated seconds")
    parser.add_argument("--rows", type=int, metavar="N", help="at most so many rows are typed")
    parser.add_argument("--hosts", type=int, choices=range(1, len(HOSTS) + 1), help="so many machines")
    parser.add_argument("--cards", type=int, choices=range(9), help="so many cards in each machine")
    parser.add_argument("--shrink", action="store_true", help="with --seed: look for a smaller run that fails alike")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (default: 1)")
    parser.add_argument("--stop", action="store_true", help="end at the first violation")
    parser.add_argument("--json", action="store_true", help="the summary is one line of JSON, the last one")
    chosen = parser.parse_args(arguments)
    if chosen.shrink and chosen.seed is None:
        parser.error("--shrink needs the --seed of a failing run")
    if (chosen.exhaustive or chosen.case) and any((chosen.kinds, chosen.duration, chosen.rows, chosen.hosts)):
        parser.error("the exhaustive runs are what they are: --kinds, --duration, --rows and --hosts are for seeds")
    return chosen


def run_all(settings: Iterable[Setting], jobs: int) -> Iterator[Report]:
    if jobs == 1:
        yield from map(simulate, settings)
        return
    with multiprocessing.get_context("fork").Pool(jobs, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        yield from pool.imap_unordered(simulate, settings, chunksize=2)


def progress(words: str) -> None:
    print(f"\r{words}\033[K" if sys.stderr.isatty() else words, end="", file=sys.stderr, flush=True)
    if not sys.stderr.isatty():
        print(file=sys.stderr)


def run_many(reports: Iterable[Report], summary: Summary, *, stop: bool) -> None:
    began = told = time.monotonic()
    for report in reports:
        summary.add(report)
        if report.violation:
            print("\n" + tell(report), flush=True)
            if stop:
                return
        if time.monotonic() > told + 2.0:
            told = time.monotonic()
            pace = summary.runs / (told - began)
            progress(f"{summary.runs} runs, {pace:.1f} a second, {len(summary.failed)} violations")


def run_one(setting: Setting, summary: Summary) -> Report:
    report = run_case(setting) if setting.script is not None else simulate(setting)
    summary.add(report)
    print(tell(report, 60), flush=True)
    return report


def run_smaller(found: Report) -> None:
    """Every interruption leaves the smallest that was found so far."""
    best = found
    try:
        for best, tried in shrink(found):
            progress(f"{tried} runs tried; fails with {size_of(best)}")
    finally:
        print(f"\n\nsmaller: {size_of(best)}, where it was {size_of(found)}\n{tell(best)}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    chosen, summary = parsed(arguments), Summary()

    def setting(seed: int) -> Setting:
        return Setting(
            seed, kinds=chosen.kinds, duration=chosen.duration, rows=chosen.rows, hosts=chosen.hosts, cards=chosen.cards
        )

    is_interrupted, is_one = False, chosen.seed is not None or chosen.case is not None
    try:
        if is_one:
            report = run_one(chosen.case or setting(chosen.seed), summary)
            if chosen.shrink and report.violation:
                run_smaller(report)
        else:
            settings = map(setting, chosen.seeds)
            reports = run_exhaustive(chosen.jobs) if chosen.exhaustive else run_all(settings, chosen.jobs)
            run_many(reports, summary, stop=chosen.stop)
    except KeyboardInterrupt:
        is_interrupted = True
        print("\ninterrupted; until then:")
    if not is_one or is_interrupted:
        print("\n" + summary.table())
    if chosen.json:
        print(summary.as_json())
    if is_interrupted:
        return 130
    return 1 if summary.failed else 0


if __name__ == "__main__":
    sys.exit(main())
