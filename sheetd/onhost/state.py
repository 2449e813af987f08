"""The AttemptState of the protocol: what the daemon is told of an attempt, from its files and /proc alone."""

import re
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from .attempt import Attempt
from .judgement import Facts, Identity, judge
from .system import System, read_range

LINES_MAX = 5
LINE_BYTES_MAX = 500
CHUNK_BYTES = 64 << 10

Json = Dict[str, Any]


class Observed(NamedTuple):
    """One look at an attempt."""

    facts: Facts
    verdict: str
    keeper: Optional[Identity]
    job: Optional[Identity]
    note: Json  # the supervisor's own words: phase, restart_at, reason


def observe(system: System, attempt: Attempt, boot: Json) -> Observed:
    claim = attempt.load("claim.json")
    note = attempt.load("supervisor.json") or {}
    runs = attempt.runs() if claim else 0
    shim, job = attempt.who(runs - 1) if runs else (None, None)
    keeper = Identity(*note["keeper"]) if note.get("keeper") else None
    same_boot = claim is not None and claim["boot"] == boot
    facts = Facts(
        claimed=claim is not None,
        tomb=attempt.has("tomb"),
        same_boot=same_boot,
        supervised=same_boot and system.alive(keeper),
        alive=same_boot and (system.alive(job) or system.alive(shim)),
        runs=runs,
        recorded=job is not None,
        stop=attempt.has("stop.json"),
        backoff=note.get("phase") == "backoff",
        ending=attempt.load("exit.json"),  # read last: an end that came meanwhile wins
    )
    return Observed(facts, judge(facts), keeper, job, note)


def essence(state: Json) -> Json:
    """What of a state is worth a push: not that time has passed."""
    passing = ("started_age_s", "age_s", "ended_age_s", "next_restart_s", "last_lines")
    return {name: value for name, value in state.items() if name not in passing}


def describe(attempt: Attempt, observed: Observed, now: float) -> Json:
    """The AttemptState, as JSON."""
    facts, verdict, note, job = observed.facts, observed.verdict, observed.note, observed.job
    first = attempt.load("started.0") if facts.runs else None
    this = attempt.load("started.{}".format(facts.runs - 1)) if facts.runs else None
    end = facts.ending
    if verdict == "restarting":
        end = attempt.load("exit.{}.json".format(facts.runs - 1))
    reason = (facts.ending or {}).get("reason") or (note.get("reason") if facts.supervised else None)
    if verdict == "revoked":
        code, words = tomb_words(attempt)
        reason = reason if code == "revoked" else words
    if verdict == "running" and not facts.supervised:
        reason = "its supervisor died (killed, or no disk space) and is being replaced"
    shown = ("rc", "signal", "witness", "stopped", "oom", "duration_s", "gave_up", "error")
    restart_at = note.get("restart_at") if verdict == "restarting" else None
    here = facts.same_boot
    return {
        "state": verdict,
        "restarts": max(0, facts.runs - 1) if facts.ending is None else facts.ending["restarts"],
        "supervised": facts.supervised,
        "executed": facts.ending["executed"] if facts.ending else job is not None,
        "pid": job.pid if job and facts.alive else None,
        "started_age_s": now - first["at"] if first and here else None,
        "age_s": now - this["at"] if this and here else None,
        "ended_age_s": now - end["ended"] if end and here else None,
        "exit": {"stopped": False, **{name: end[name] for name in shown if name in end}} if end else None,
        "last_lines": last_lines(attempt.at("log")),
        # How far there is anything to report: an end is recorded only when the last metrics have arrived.
        "metrics_bytes": whole_lines(attempt.at("metrics.jsonl")) if end else 0,
        "log_bytes": whole_lines(attempt.at("log")) if end else 0,
        "next_restart_s": max(0.0, restart_at - now) if restart_at is not None else None,
        "unkillable": bool(facts.supervised and facts.ending is None and note.get("unkillable")),
        "reason": reason,
    }


def tomb_words(attempt: Attempt) -> Tuple[str, str]:
    """Why an attempt never started, as a code and a sentence."""
    text = read_range(attempt.at("tomb"), 0, 500)[0].decode("utf-8", "replace").strip()
    code, colon, words = text.partition(": ")
    if colon and code.startswith("accelerator_"):
        return code, words
    return "revoked", "{} was stopped before it started; it never will".format(attempt.name)


def whole_lines(path: str) -> int:
    """Up to where the file consists of finished lines, as pushes count them."""
    size = read_range(path, 0, 0)[1]
    begin = max(0, size - CHUNK_BYTES)
    tail = read_range(path, begin, CHUNK_BYTES)[0]
    cut = max(tail.rfind(b"\n"), tail.rfind(b"\r")) + 1
    return begin + cut if cut or size < CHUNK_BYTES else size


def last_lines(path: str) -> List[str]:
    size = read_range(path, 0, 0)[1]
    tail = read_range(path, max(0, size - 4096), 4096)[0]
    lines = [line.strip() for line in re.split(rb"[\r\n]+", tail)]
    return [line[:LINE_BYTES_MAX].decode("utf-8", "replace") for line in lines if line][-LINES_MAX:]
