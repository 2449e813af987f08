"""`python -m tests.sim`: run seeds, or every single crash, and tell what happened.

python -m tests.sim --seed 7              one run, with its last events
python -m tests.sim --seeds 0..1000 --jobs 2
python -m tests.sim --exhaustive --jobs 2
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from tests.sim.exhaustive import run_case, run_exhaustive, setting_of
from tests.sim.world import Report, Setting, simulate


def run_seed(seed: int) -> Report:
    return simulate(Setting(seed))


def run_all(seeds: Iterable[int], jobs: int) -> Iterator[Report]:
    if jobs == 1:
        yield from map(run_seed, seeds)
        return
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        yield from pool.imap_unordered(run_seed, seeds, chunksize=2)


def replay_command(report: Report) -> str:
    return f"python -m tests.sim {report.replay or f'--seed {report.seed}'}"


def run_named_case(words: str) -> Report:
    """`2 daemon 17`: the third scenario, the daemon, its eighteenth boundary."""
    number, who, at = words.split()
    return run_case(replace(setting_of(int(number)), crash_who=who, crash_at=int(at)))


def tell(report: Report, lines: int = 25) -> str:
    words = [f"seed {report.seed}: {report.violation or 'fine'}", f"  event hash {report.hash}, {report.steps} steps"]
    words += [f"  {line}" for line in report.last[-lines:]]
    return "\n".join([*words, f"  replay: {replay_command(report)}"])


class Summary:
    def __init__(self) -> None:
        self.runs = self.steps = self.turns = self.executions = 0
        self.seconds = self.job_seconds = 0.0
        self.faults: Counter[str] = Counter()
        self.failed: list[Report] = []

    def add(self, report: Report) -> None:
        self.runs += 1
        self.steps += report.steps
        self.turns += report.turns
        self.executions += report.executions
        self.seconds += report.seconds
        self.job_seconds += report.job_seconds
        self.faults.update(report.faults)
        if report.violation:
            self.failed.append(report)

    def table(self) -> str:
        done = f"{self.runs:,} runs, {self.steps:,} steps, {self.turns:,} turns of the loop, {self.executions:,} executions"  # noqa: E501 - a text that is matched or sent whole
        time = f"{self.seconds / 3600:,.0f} simulated hours, {self.job_seconds / 3600:,.0f} job-hours"
        lines = [f"{done}, {time}, {sum(self.faults.values()):,} faults, {len(self.failed)} violations"]
        lines += [f"{count:>10,}  {kind}" for kind, count in sorted(self.faults.items())]
        return "\n".join(lines)


def seeds_of(text: str) -> range:
    first, _, last = text.partition("..")
    return range(int(first), int(last) + 1)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--seeds", type=seeds_of, help="A..B")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--exhaustive", action="store_true")
    parser.add_argument("--case", type=run_named_case, help="one of the exhaustive ones: 'SCENARIO WHO BOUNDARY'")
    parser.add_argument("--stop", action="store_true", help="at the first violation")
    chosen = parser.parse_args(arguments)
    if chosen.seed is not None or chosen.case is not None:
        report = chosen.case or run_seed(chosen.seed)
        print(tell(report, 60))
        return 1 if report.violation else 0
    summary, began = Summary(), time.monotonic()
    reports = run_exhaustive(chosen.jobs) if chosen.exhaustive else run_all(chosen.seeds or range(100), chosen.jobs)
    for report in reports:
        summary.add(report)
        if report.violation:
            print("\n" + tell(report), flush=True)
            if chosen.stop:
                break
        if summary.runs % 20 == 0:
            pace = summary.runs / (time.monotonic() - began)
            print(
                f"\r{summary.runs} runs, {pace:.1f} a second, {len(summary.failed)} violations", end="", file=sys.stderr
            )
    print("\n" + summary.table())
    return 1 if summary.failed else 0


if __name__ == "__main__":
    sys.exit(main())
