"""The survival test: does a job outlive every connection to its host?

Many hosts end whatever a login leaves behind (logind's KillUserProcesses, containers that stop with their last
session, some HPC front ends), some only seconds later (UserStopDelaySec). No setting tells for sure, so it is tried: a
job is started by the real agent, every connection of ours is closed for longer than that, and then it is looked for.
What the host's logind says meanwhile is only used to name the remedy.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any, Literal

from sheetd.core.model import AttemptId, Restarts, Spec
from sheetd.core.observation import AttemptSeen, HostFacts, Seen
from sheetd.core.text import clean_line
from sheetd.core.world import OVER
from sheetd.errors import HostError, HostRefused
from sheetd.hosts.host import AgentHost
from sheetd.ports import LaunchOrder

#: logind ends a user's processes ten seconds after the last session (UserStopDelaySec, logind.conf(5)); doubled.
CLOSED_S = 20.0
START_S, END_S = 20.0, 20.0
GRACE_S = 2.0
LOG_MAX_BYTES = 65536
_LOOK_EVERY_S = 0.2

#: Says every second what logind makes of us. Runs on the host's own Python, like everything of ours there.
PROGRAM = """\
import json, os, subprocess, time

def ask(*argv):
    try:
        told = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.decode("utf-8", "replace").split("\\n")

while True:
    user = ask("loginctl", "show-user", str(os.geteuid()), "--property=Linger", "--property=State")
    logind = ask("loginctl", "show-user", "--property=KillUserProcesses")
    print(json.dumps({"user": user, "logind": logind}), flush=True)
    time.sleep(1)
"""


@dataclass(frozen=True, slots=True)
class Survival:
    """How it went, in words, and what to do about it."""

    verdict: Literal["ok", "warning", "failed"]
    detail: str
    next: str = ""


def survive(
    dial: Callable[[], AgentHost],
    closed_s: float,
    say: Callable[[str], None],
    pause: Callable[[float], None] = time.sleep,
) -> Survival:
    """Try it. `say` is told what is being waited for, `pause` waits. Raises HostError when the host cannot be asked."""
    attempt = AttemptId(f"survival{secrets.token_hex(6)}.1")
    with closing(dial()) as host:
        facts = host.facts()
        say("starting a job")
        _start(host, attempt)
        told = _await_log(host, attempt)
    for left in range(round(closed_s), 0, -1):
        say(f"every connection is closed; looking for the job in {left} s")
        pause(min(1.0, closed_s))
    say("looking for the job")
    with closing(dial()) as host:
        after = host.facts()
        seen = _await_word(host, attempt)
        if seen.state in OVER:
            _forget(host, attempt)
            return _died(facts, after, seen, told, closed_s)
        lines = _log(host, attempt)
        say("stopping the job")
        host.stop(attempt, GRACE_S)
        if not _await_end(host, attempt):
            text = "the job outlived every connection, but some of it did not end when it was stopped"
            return Survival("failed", text, f"see what is left there: `ps -ef | grep {attempt}`")
        _forget(host, attempt)
    return _lived(told, lines, closed_s)


def _start(host: AgentHost, attempt: AttemptId) -> None:
    spec = Spec(template="survival test", argv=("python3", "-c", PROGRAM), grace_s=GRACE_S, restarts=Restarts(max=0))
    host.launch(LaunchOrder(attempt=attempt, nonce=secrets.token_hex(16), spec=spec, resume=False, secrets={}))


def _await_log(host: AgentHost, attempt: AttemptId) -> Mapping[str, Any]:
    """The job's first line: only then does it run. Raises HostRefused with what it said instead."""
    until_s = time.monotonic() + START_S
    while not (lines := _log(host, attempt)):
        seen = host.seen(attempt)
        if seen.state in OVER or time.monotonic() > until_s:
            said = clean_line(" ".join(seen.last_lines) or (seen.exit.error if seen.exit else None) or "nothing")
            raise HostRefused(
                "survival", f"{host.name}: a job cannot be started there: it is {seen.state.value} and said {said}"
            )
        time.sleep(_LOOK_EVERY_S)
    return lines[0]


def _await_word(host: AgentHost, attempt: AttemptId) -> AttemptSeen:
    """A sign of life, or the proof of its end. What the agent says at once is what it has not looked into yet."""
    size = host.tail(attempt, "log", 0, 0).size
    until_s = time.monotonic() + END_S
    while (seen := host.seen(attempt)).state not in OVER and host.tail(attempt, "log", 0, 0).size == size:
        if time.monotonic() > until_s:
            raise HostRefused("survival", f"{host.name}: the job that was left there neither goes on nor ends")
        time.sleep(_LOOK_EVERY_S)
    return seen


def _await_end(host: AgentHost, attempt: AttemptId) -> bool:
    until_s = time.monotonic() + END_S
    while host.seen(attempt).state not in OVER:
        if time.monotonic() > until_s:
            return False
        time.sleep(_LOOK_EVERY_S)
    return True


def _forget(host: AgentHost, attempt: AttemptId) -> None:
    """Its few files are given back; where that fails they cost nothing."""
    with suppress(HostError):
        host.ask("forget", attempt=attempt)


def _log(host: AgentHost, attempt: AttemptId) -> list[Mapping[str, Any]]:
    """What the job has printed. The host may say anything: what is no JSON object is left out."""
    text = host.tail(attempt, "log", -LOG_MAX_BYTES, LOG_MAX_BYTES).data.decode("utf-8", "replace")
    found: list[Mapping[str, Any]] = []
    for line in text.splitlines():
        with suppress(ValueError, RecursionError):
            said = json.loads(line)
            if isinstance(said, dict):
                found.append(said)
    return found


def _property(said: Mapping[str, Any], source: str, name: str) -> str | None:
    """A property as loginctl prints it, or None where there is no logind."""
    lines = said.get(source)
    for line in lines if isinstance(lines, list) else ():
        key, _, value = str(line).partition("=")
        if key == name:
            return value.strip()
    return None


def _is_logged_in(said: Mapping[str, Any]) -> bool:
    """Whether the account has an open session. One that is kept only by what it left behind is `closing`."""
    return _property(said, "user", "State") in ("active", "online")


def _lived(before: Mapping[str, Any], lines: list[Mapping[str, Any]], closed_s: float) -> Survival:
    text = f"a job outlived {closed_s:.0f} s without any connection, and was stopped completely"
    if _is_logged_in(before) and all(map(_is_logged_in, lines)):
        who = "somebody was logged in there under this account all the time, so this proves little"
        return Survival("warning", f"{text}; but {who}", "log out there, stop the daemon, and try again")
    if closed_s < CLOSED_S:
        return Survival("ok", f"{text} (quick: hosts may clean up later than that)")
    return Survival("ok", text)


def _died(before: HostFacts, after: HostFacts, seen: AttemptSeen, told: Mapping[str, Any], closed_s: float) -> Survival:
    if before.boot != after.boot:
        what = "the host, or its container, was restarted as soon as nobody was connected"
        return Survival(
            "failed", what, "keep it running without logins: that is set where the machine is rented or made"
        )
    how = "it left no exit record" if seen.state is Seen.LOST else f"it was {seen.state.value}"
    if seen.exit is not None and seen.exit.signal is not None:
        how = f"it was killed by signal {seen.exit.signal}"
    text = f"a job did not outlive {closed_s:.0f} s without a connection: {how}"
    return Survival("failed", text, _remedy(before.user or "the user", told))


def _remedy(user: str, told: Mapping[str, Any]) -> str:
    """Tried on a real logind: with KillUserProcesses=yes lingering alone saves nothing, excluding the user does."""
    kills = _property(told, "logind", "KillUserProcesses")
    enable = f"type `loginctl enable-linger` there as {user} (an administrator: `sudo loginctl enable-linger {user}`)"
    admin = (
        f"an administrator writes `KillExcludeUsers=root {user}` (or `KillUserProcesses=no`) below [Login] in "
        "/etc/systemd/logind.conf, and runs `systemctl restart systemd-logind`"
    )
    if kills == "yes":
        return f"this host ends what a login leaves behind (KillUserProcesses=yes), even with `enable-linger`: {admin}"
    if kills is None:
        return f"something there ends what a login leaves behind. Where it is systemd: {enable}; else ask who runs it"
    if _property(told, "user", "Linger") == "yes":
        return f"something other than logind ends it there: ask who runs the host; to be sure of logind, {admin}"
    return f"{enable}, and try again; if that is not enough, {admin}"
