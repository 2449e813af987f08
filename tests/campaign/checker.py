"""The judgement, from what the code under test did not write: ledgers of the jobs and of the decoys, and the blows.

Against these are held the rows of the sheet and what the journal claims of each attempt. What is asked:

    started twice       a run of an attempt has two starts, or an experiment was alive twice at once
    lost exit           a job wrote that it ends, a witness of it lived (its shim or its supervisor, and its host kept
                        its power until the end was known), and yet something else is claimed, or it was done again
    invented end        an end is claimed that no job ever wrote and no blow explains
    decoy signalled     a stranger under the number of one of ours was signalled or killed
    stuck row           after the faults have stopped a row does not come to its end
    wrong row           a row ends as its program never could, or a cell that a person typed has changed

Weak: times are compared with a slack of a second, so a blow that came just too late excuses as well.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sheetd.core.events import AttemptEnded, Event, LaunchIntended
from sheetd.core.model import Reason
from tests.campaign.job import STATUS_OF_ENDING
from tests.campaign.tally import Tally

#: A blow and the line of a ledger are noted by two processes: in doubt they are one moment.
SLACK_S = 1.0


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a job's ledger."""

    host: str
    word: str
    attempt: str
    k: int
    token: str
    pid: int
    boot: str
    at_s: float
    more: str

    @property
    def rc(self) -> int:
        return int(self.more)

    @property
    def number(self) -> int:
        return int(self.attempt.rpartition(".")[2])

    @property
    def experiment(self) -> str:
        return self.attempt.rpartition(".")[0]

    def __str__(self) -> str:
        return f"{self.at_s:.3f} {self.host}: {self.word} {self.attempt} run {self.k} (pid {self.pid}) {self.more}"


def read_ledger(host: str, path: Path) -> list[Line]:
    lines = []
    for text in path.read_text().splitlines() if path.exists() else []:
        word, attempt, k, token, pid, boot, at_s, more = text.split()
        lines.append(Line(host, word, attempt, int(k), token, int(pid), boot, float(at_s), more))
    return lines


@dataclass
class Evidence:
    """All that was written down, by whomever."""

    lines: list[Line]
    tally: Tally
    events: Iterable[tuple[float, Event]]  # and when each was recorded
    rows: list[dict[str, str]]
    endings: Mapping[str, str]  # of the typed tokens
    stopped: Collection[str] = ()  # tokens that a person wanted stopped
    by_attempt: dict[str, list[Line]] = field(default_factory=lambda: defaultdict(list))
    claims: dict[str, AttemptEnded] = field(default_factory=dict)
    known_s: dict[str, float] = field(default_factory=dict)
    attempts: int = 0

    def __post_init__(self) -> None:
        for line in self.lines:
            self.by_attempt[line.attempt].append(line)
        for at_s, event in self.events:
            self.attempts += isinstance(event, LaunchIntended)
            if isinstance(event, AttemptEnded):
                self.claims[event.attempt] = event
                self.known_s[event.attempt] = at_s + SLACK_S

    def about(self, attempt: str) -> str:
        """Everything known of an attempt, in order of time."""
        told: list[tuple[float, str]] = [(line.at_s, str(line)) for line in self.by_attempt.get(attempt, [])]
        hosts = {line.host for line in self.by_attempt.get(attempt, [])}
        began_s = min((at_s for at_s, _ in told), default=0.0)
        told += [
            (blow.at_s, str(blow))
            for blow in self.tally.blows
            if blow.attempt == attempt or (blow.kind == "reboot" and blow.host in hosts and blow.at_s >= began_s)
        ]
        return "\n    ".join([f"{self.claims.get(attempt)}", *(text for _, text in sorted(told))])


def judge(evidence: Evidence) -> Iterator[str]:
    """Every violation, with its evidence."""
    yield from started_twice(evidence)
    for attempt in evidence.by_attempt:
        yield from untrue_end(evidence, attempt)
    yield from done_again(evidence)
    yield from wrong_rows(evidence)


def started_twice(evidence: Evidence) -> Iterator[str]:
    starts = Counter((line.attempt, line.k) for line in evidence.lines if line.word == "start")
    for (attempt, k), count in starts.items():
        if count > 1:
            yield f"started twice: run {k} of {attempt}, {count} times\n    {evidence.about(attempt)}"
    for line in evidence.lines:
        if line.word == "twice":
            yield f"alive twice: {line}, beside {line.more}\n    {evidence.about(line.attempt)}"


def exits(evidence: Evidence, attempt: str) -> list[Line]:
    return [line for line in evidence.by_attempt[attempt] if line.word == "exit"]


def is_excused(evidence: Evidence, exit_: Line) -> bool:
    """Whether nobody is left who could know of this end, or it did not come to it."""
    run = [line for line in evidence.by_attempt[exit_.attempt] if line.k == exit_.k and line.word == "start"]
    since_s = min((line.at_s for line in run), default=exit_.at_s) - SLACK_S
    known_s = evidence.known_s.get(exit_.attempt, float("inf"))
    tally = evidence.tally
    if any(tally.power_losses(exit_.host, since_s, known_s)):
        return True
    if any(blow.pid == exit_.pid for blow in tally.struck(exit_.attempt, "job", since_s, known_s)):
        return True  # between its last line and its last instruction
    had_shim = not any(tally.struck(exit_.attempt, "shim", since_s, exit_.at_s + SLACK_S))
    had_supervisor = not any(tally.struck(exit_.attempt, "supervisor", since_s, known_s))
    return not had_shim and not had_supervisor


def untrue_end(evidence: Evidence, attempt: str) -> Iterator[str]:
    """What the journal claims of an attempt, against what its jobs wrote."""
    claim = evidence.claims.get(attempt)
    if claim is None:
        return  # it is a stuck row, then
    written = exits(evidence, attempt)
    last = max(written, key=lambda line: line.k, default=None)
    if last is not None and last.k == claim.restarts:
        true = claim.reason is Reason.SUCCEEDED if last.rc == 0 else claim.exit_code == last.rc
        # A stop that struck between a job's last line and its last instruction.
        true |= last.token in evidence.stopped and claim.reason is Reason.STOPPED_BY_USER and claim.exit_code is None
        if not true and not is_excused(evidence, last):
            yield f"lost exit: {last}\n    {evidence.about(attempt)}"
    elif claim.reason is Reason.SUCCEEDED or claim.exit_code is not None:
        yield f"invented end: {attempt} with {claim.restarts} restarts\n    {evidence.about(attempt)}"
    if last is not None and last.k > claim.restarts:
        yield f"restarts: {attempt} had run {last.k}, {claim.restarts} are claimed\n    {evidence.about(attempt)}"
    is_signalled = claim.reason is Reason.FAILED and claim.exit_code is None
    if is_signalled and not any(evidence.tally.struck(attempt, "job", 0.0)):
        yield f"invented end: no job of {attempt} was killed\n    {evidence.about(attempt)}"


def done_again(evidence: Evidence) -> Iterator[str]:
    """After a success nothing of the experiment starts again, unless nobody could know of it."""
    starts: dict[str, list[Line]] = defaultdict(list)
    for line in evidence.lines:
        if line.word == "start":
            starts[line.experiment].append(line)
    for line in evidence.lines:
        if line.word != "exit" or line.rc != 0 or is_excused(evidence, line):
            continue
        for later in starts[line.experiment]:
            if (later.number, later.k) > (line.number, line.k):
                yield f"lost exit: {line}, and then {later}\n    {evidence.about(line.attempt)}"


def wrong_rows(evidence: Evidence) -> Iterator[str]:
    rows = {row["token"]: row for row in evidence.rows if row.get("token")}
    for token, ending in evidence.endings.items():
        row = rows.get(token)
        if row is None:
            yield f"wrong row: the row of {token} is gone"
        elif row["status"] == "stopped" and token in evidence.stopped:
            continue
        elif row["status"] != STATUS_OF_ENDING[ending]:
            attempt = f"{row['id']}.{row['attempt']}"
            said = f"{row['status']}: {row['message']}"
            yield f"wrong row: {token} ({ending}) shows {said}\n    {evidence.about(attempt)}"
