"""What has to be true of a host before experiments go there, one line each: how it is, and what to do about it.

Used by `sheetd host add` and `sheetd host check`. Looks, and changes nothing but the state folder that the agent needs.
What a host says is shown as text and believed about itself only.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from sheetd.build import make_host
from sheetd.cli.survival import CLOSED_S, survive
from sheetd.clock import SystemClock
from sheetd.config import HostSettings, Settings
from sheetd.core.observation import HostFacts
from sheetd.core.text import clean_line
from sheetd.errors import HostError, HostRefused, SheetdError
from sheetd.hosts.host import AgentHost
from sheetd.journal import JournalReader

HOSTS_AT_ONCE = 8
DISK_LOW_BYTES, DISK_NEEDED_BYTES = 2 << 30, 64 << 20
SKEW_WARNING_S, SKEW_BAD_S = 5.0, 300.0
PYTHON_OLDEST, PYTHON_COMFORTABLE = (3, 6), (3, 8)
ACCELERATORS_S = 50.0
ANSWER_MAX_CHARS = 300

Verdict: TypeAlias = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    what: str
    verdict: Verdict
    detail: str
    next: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """Another configured host, as it answered just now."""

    entry: HostSettings
    facts: HostFacts


def epoch_of(settings: Settings) -> int:
    """The running daemon's own epoch: with a larger one the hosts would refuse the daemon from then on.

    Before there was any daemon, the smallest one that may start something.
    """
    try:
        return max(1, JournalReader(settings.state_dir).epoch())
    except SheetdError:
        return 1


def look_over(
    settings: Settings,
    entry: HostSettings,
    others: Sequence[Known],
    say: Callable[[str], None],
    *,
    closed_s: float = CLOSED_S,
) -> Iterator[Check]:
    """Every check of one host, in the order in which a person would mend them. Ends early where nothing can follow."""
    epoch = epoch_of(settings)

    def dial() -> AgentHost:
        return make_host(settings, entry, epoch=epoch)

    say("logging in")
    try:
        with closing(dial()) as host:
            facts = host.facts()
            yield _login(facts)
            yield _python(facts)
            yield Check("state folder", "ok", f"{facts.root} is on a local disk, and only {facts.user} may write there")
            yield _disk(facts)
            yield _clock(host)
            twin = _same_machine(entry, facts, others)
            yield twin
            say("looking for accelerators")
            yield from accelerators(host)
        if twin.verdict == "failed":
            return
        found = survive(dial, closed_s, say)
        yield Check("survival", found.verdict, found.detail, found.next)
    except HostError as error:
        yield _failure(entry.name, error)


def ask_all(settings: Settings, entries: Sequence[HostSettings]) -> list[Known]:
    """Who of these hosts answers, with what it says of itself."""

    def ask(entry: HostSettings) -> Known | None:
        with closing(make_host(settings, entry, epoch=0)) as host:
            try:
                return Known(entry, host.facts())
            except HostError:
                return None  # its own check says why; it is compared when it is back, by the daemon too

    with ThreadPoolExecutor(HOSTS_AT_ONCE) as pool:
        return [known for known in pool.map(ask, entries) if known is not None]


def _failure(name: str, error: HostError) -> Check:
    text = clean_line(str(error).removeprefix(f"{name}: "), 1000)
    code = error.code if isinstance(error, HostRefused) else ""
    if code in ("bad_root", "bad_state_dir"):
        return Check(
            "state folder",
            "failed",
            text,
            "name a folder on a local disk of the host with --root, or as root = in its entry",
        )
    if code == "stale_daemon":
        what = "another daemon, or an earlier life of this one, serves this account there"
        return Check(
            "daemon", "failed", f"{what} ({text})", "give this entry a folder of its own with --root, or use one daemon"
        )
    if code == "survival":
        return Check("survival", "failed", text, "see what a login there allows: limits, quotas, a read-only home")
    if "python3" in text and ("not found" in text or "No such file" in text):
        return Check(
            "python",
            "failed",
            text,
            "install Python 3.6 or later there, as `python3` on the PATH of a login without a terminal",
        )
    return Check("login", "failed", text)


def _login(facts: HostFacts) -> Check:
    memory = f"{facts.memory_bytes / 2**30:.0f} GiB"
    return Check("login", "ok", f"as {facts.user} on {facts.hostname}: {facts.cores} cores, {memory} of memory")


def _python(facts: HostFacts) -> Check:
    numbers = tuple(int(part) for part in facts.python.split(".")[:2] if part.isdecimal())
    if PYTHON_OLDEST <= numbers < PYTHON_COMFORTABLE:
        return Check("python", "warning", f"{facts.python} is old: sheetd is content, your experiments may not be")
    return Check("python", "ok", facts.python)


def _disk(facts: HostFacts) -> Check:
    if facts.disk_free_bytes is None:
        return Check("disk", "warning", "the host does not say how much room there is for the state folder")
    free = f"{facts.disk_free_bytes / 2**30:.1f} GiB free for the state folder"
    step = "make room there, or name a folder on a larger disk with --root, or as root = in its entry"
    if facts.disk_free_bytes < DISK_NEEDED_BYTES:
        return Check("disk", "failed", free, step)
    return Check("disk", "warning", free, step) if facts.disk_free_bytes < DISK_LOW_BYTES else Check("disk", "ok", free)


def _clock(host: AgentHost) -> Check:
    """The host's clock against ours. Nothing in sheetd depends on it, but times in logs and files do."""
    clock = SystemClock()
    asked_s = clock.wall_s()
    told_s = host.facts().wall_s
    answered_s = clock.wall_s()
    if not told_s or not math.isfinite(told_s):
        return Check("clock", "warning", "the host does not say what time it is")
    ahead_s = told_s - (asked_s + answered_s) / 2
    off = f"{_span(abs(ahead_s))} {'ahead of' if ahead_s > 0 else 'behind'} this machine's"
    step = (
        "let it be set over the network (`timedatectl set-ntp true` there): times in logs and checkpoints will not fit"
    )
    if abs(ahead_s) <= max(SKEW_WARNING_S, answered_s - asked_s):
        return Check("clock", "ok", "agrees with this machine's")
    return Check("clock", "failed" if abs(ahead_s) > SKEW_BAD_S * 12 else "warning", off, step)


def _span(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.0f} h"
    )


def _same_machine(entry: HostSettings, facts: HostFacts, others: Sequence[Known]) -> Check:
    """As the daemon judges it (`core/reachability.py`): the same id in the same boot, unless both entries mean it."""
    may_share = entry.local or entry.root is not None
    shared: list[str] = []
    for other in others:
        if other.entry.name == entry.name or not facts.machine_id:
            continue
        if (facts.machine_id, facts.boot) == (other.facts.machine_id, other.facts.boot):
            first = other.entry.name
            if may_share and (other.entry.local or other.entry.root is not None):
                shared.append(first)
                continue
            what = f"this is the machine that is configured as {first} already (machine id {facts.machine_id[:8]}…)"
            return Check("machine", "failed", what, f"use {first}: under two names its slots would be handed out twice")
    if not facts.machine_id:
        what = "has no /etc/machine-id: a second name for it would not be noticed"
        return Check("machine", "warning", what, "`systemd-machine-id-setup` there, as root, makes one")
    if shared:
        what = f"the same machine as {', '.join(shared)}, each with a folder and slots of its own"
        return Check("machine", "warning", what, "give them slots that add up to what the machine can carry")
    return Check("machine", "ok", f"id {facts.machine_id[:8]}…, no other configured host that answers has it")


def accelerators(host: AgentHost, pause: Callable[[float], None] = time.sleep) -> Iterator[Check]:
    """What two samples agree on. Nothing, of an agent that does not know the question."""
    until_s = time.monotonic() + ACCELERATORS_S
    while True:
        try:
            answer = host.ask("accelerators", max_age_s=10.0, idle_memory_mb=300)
        except HostRefused as error:
            if error.code != "bad_request":
                raise
            return
        if answer.get("samples") not in (0, 1) or time.monotonic() > until_s:
            break
        pause(0.5)
    yield _accelerators_told(answer)


def _accelerators_told(answer: Mapping[str, Any]) -> Check:
    told = answer.get("accelerators")
    found = [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []
    notes = answer.get("notes")
    note = "; ".join(_text(one) for one in notes[:3]) if isinstance(notes, list) else ""
    if not found:
        return Check("accelerators", "warning" if note else "ok", f"none found{': ' + note if note else ''}")
    models = Counter(_text(one.get("model")) for one in found)
    detail = ", ".join(f"{count} x {model}" for model, count in models.items())
    not_free = [one for one in found if one.get("state") not in ("free", "ours")]
    if not_free or note:
        whys = [
            f"{_text(one.get('id'))[:16]} is {_text(one.get('state'))} ({_text(one.get('why'))})"
            for one in not_free[:4]
        ]
        return Check("accelerators", "warning", "; ".join([detail, *whys, *([note] if note else [])]))
    return Check("accelerators", "ok", f"{detail}, all free")


def _text(value: object) -> str:
    return clean_line(str(value), ANSWER_MAX_CHARS)
