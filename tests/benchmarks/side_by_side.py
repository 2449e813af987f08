"""How the benchmarks compare: contenders take turns within one run, figures are medians, and ratios are what counts.

The machine that measures is noisy, so a figure of one run says little about a figure of another. Taking turns puts the
same noise on both sides, and the median throws the worst of it away. A contender whose program is not installed is
named with what would bring it; it is no part of sheetd and never needed.
"""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Samples:
    """What one contender needed, once per round."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def least(self) -> float:
        return min(self.values)

    @property
    def most(self) -> float:
        return max(self.values)


def take_turns(
    rounds: int, contenders: Mapping[str, Callable[[], Mapping[str, float]]]
) -> dict[str, dict[str, Samples]]:
    """Each contender once per round, each round beginning with another one. Answers with their figures by name."""
    names = list(contenders)
    taken: dict[str, list[Mapping[str, float]]] = {name: [] for name in names}
    for round_ in range(rounds):
        first = round_ % len(names)
        for name in (*names[first:], *names[:first]):
            taken[name].append(contenders[name]())
    return {
        name: {figure: Samples(tuple(one[figure] for one in ones)) for figure in ones[0]}
        for name, ones in taken.items()
    }


@dataclass(frozen=True)
class Comparison:
    """A finished benchmark: the table's rows, the rivals that were not there, and what programs may want to read."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    figures: Mapping[str, object]
    missing: Mapping[str, str]

    def table(self) -> Table:
        shown = Table(
            title=self.title, caption="; ".join(f"{name}: {why}" for name, why in self.missing.items()) or None
        )
        for number, name in enumerate(self.columns):
            shown.add_column(name, justify="right" if number else "left")
        for row in self.rows:
            shown.add_row(*row)
        return shown

    def tell(self) -> None:
        """The table for people, then one line of JSON."""
        Console(width=160).print(self.table())
        print(json.dumps({**self.figures, "missing": dict(self.missing)}))


def told(samples: Samples, unit: str = "") -> str:
    """Median, and in brackets the least and the most."""
    return f"{samples.median:.1f}{unit} ({samples.least:.1f}..{samples.most:.1f})"


def ticks_s(pid: int) -> float:
    """CPU seconds of one process, its children apart, in the kernel's ticks (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def proportional_kb(pid: int) -> int:
    """What a process holds, with each shared page counted by how many share it (proc(5), smaps_rollup)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
