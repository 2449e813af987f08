"""Whether a crashed job is started again on this host, and when. Pure: how its runs ended in, the next step out.

The daemon's own decision, to start the experiment's next attempt on another host, is not made here.
"""

from typing import Any, Dict, List, NamedTuple, Optional

Json = Dict[str, Any]


class Policy(NamedTuple):
    """When a crashed job is restarted on this host; frozen with the spec."""

    restarts_max: int
    backoff_s: float
    backoff_s_max: float
    healthy_s: float  # a run of this length starts the backoff afresh, but not the budget


class Step(NamedTuple):
    """Restart at a boottime, or end the attempt, perhaps with a word why no further restart is made."""

    restart_at: Optional[float]
    gave_up: Optional[str] = None


def next_step(policy: Policy, ends: List[Json], secrets_lost: bool) -> Step:
    """What follows the last of these ends of runs. Success ends, what nobody saw ends (it may have been a success)."""
    last = ends[-1]
    if last["rc"] == 0 or (last["executed"] and words(last) == "unseen"):
        return Step(None)
    if last["error"]:
        return Step(None, last["error"])
    if len(ends) > policy.restarts_max:
        times = "once" if len(ends) == 1 else "{} times".format(len(ends))
        return Step(None, "crashed {}, last {}; restarts allowed: {}".format(times, words(last), policy.restarts_max))
    if secrets_lost:
        return Step(None, "the supervisor was killed, and the secrets for a restart with it")
    streak = 0
    for end in reversed(ends):
        if end["duration_s"] >= policy.healthy_s:
            break
        streak += 1
    wait = min(policy.backoff_s * 2.0 ** max(0, min(streak, 64) - 1), policy.backoff_s_max)
    return Step(last["ended"] + (wait if last["executed"] else 0.0))


def words(end: Json) -> str:
    if end["signal"] is not None:
        return "signal {}".format(end["signal"])
    return "unseen" if end["rc"] is None else "exit code {}".format(end["rc"])
