"""What is told of runs: a failure with its last events and how to see it again, and the table of the faults."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from tests.sim.world import Report


def replay_command(report: Report) -> str:
    return f"python -m tests.sim {report.replay}"


def tell(report: Report, lines: int = 25) -> str:
    words = [f"seed {report.seed}: {report.violation or 'fine'}", f"  event hash {report.hash}, {report.steps} steps"]
    words += [f"  {line}" for line in report.last[-lines:]]
    return "\n".join([*words, f"  replay: {replay_command(report)}"])


class Summary:
    """Many runs in one."""

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
        work = f"{self.turns:,} turns of the loop, {self.executions:,} executions"
        done = f"{self.runs:,} runs, {self.steps:,} steps, {work}"
        time = f"{self.seconds / 3600:,.0f} simulated hours, {self.job_seconds / 3600:,.0f} job-hours"
        lines = [f"{done}, {time}, {sum(self.faults.values()):,} faults, {len(self.failed)} violations"]
        lines += [f"{count:>10,}  {kind}" for kind, count in sorted(self.faults.items())]
        return "\n".join(lines)

    def as_json(self) -> str:
        """One line."""
        said: dict[str, Any] = {
            "runs": self.runs,
            "steps": self.steps,
            "turns": self.turns,
            "executions": self.executions,
            "simulated_s": round(self.seconds, 3),
            "job_s": round(self.job_seconds, 3),
            "faults": dict(sorted(self.faults.items())),
            "violations": [
                {"seed": one.seed, "violation": one.violation, "hash": one.hash, "replay": replay_command(one)}
                for one in self.failed
            ],
        }
        return json.dumps(said)
