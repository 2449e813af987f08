"""From what hosts say to what became of each attempt, and who is launched next.

An attempt ends only with a proof: an exit record, a host that is certain nothing lives, a reboot, or a tombstone set
before the start. That a host cannot be reached is no proof and ends nothing, however long it lasts.
"""

from __future__ import annotations

from collections.abc import Iterator

from sheetd.core import events as ev
from sheetd.core.effect import Effect, Launch, Stop, Watch
from sheetd.core.intake import stop
from sheetd.core.model import (
    Afterwards,
    Attempt,
    AttemptId,
    Experiment,
    HostName,
    Phase,
    Proof,
    Reason,
    SlotName,
    attempt_id,
)
from sheetd.core.observation import AttemptSeen, Exit, Seen
from sheetd.core.placement import Candidate, place
from sheetd.core.plan import Chance, Now
from sheetd.core.relaunch_policy import reason_of, relaunch_delay_s
from sheetd.core.text import clean_line
from sheetd.core.world import OVER, HostView, World

PROOFS = {
    Seen.EXITED: Proof.EXIT_RECORD,
    Seen.LOST: Proof.LOST,
    Seen.REBOOTED: Proof.REBOOTED,
    Seen.REVOKED: Proof.REVOKED,
}
STARTED = frozenset({Seen.RUNNING, Seen.RESTARTING, Seen.EXITED, Seen.LOST})


def decide_attempts(world: World, now: Now) -> Iterator[ev.Event]:
    """What the last answers of the hosts mean for the live attempts."""
    for id_ in world.state.live.values():
        experiment = world.state.experiments[id_]
        attempt = experiment.attempt
        seen = world.seen(attempt) if attempt is not None else None
        if attempt is None:
            continue
        if seen is not None and seen.state in OVER:
            if not is_all_told(world, experiment, attempt, seen, now):
                continue
            if experiment.phase is Phase.LAUNCHING and seen.state in STARTED:
                yield ev.AttemptStarted(attempt=attempt.id, wall_s=now.wall_s)
            yield ended(experiment, attempt, seen)
        elif experiment.phase is Phase.LAUNCHING and attempt.id in world.refusals:
            why = world.refusals[attempt.id]
            yield from stop(experiment, why, Afterwards.RELAUNCH)
        elif seen is None:
            continue
        elif experiment.phase is Phase.LAUNCHING and seen.state in STARTED:
            yield ev.AttemptStarted(attempt=attempt.id, wall_s=now.wall_s)
        elif experiment.phase is Phase.RUNNING and seen.state is Seen.ABSENT:
            yield from stop(experiment, f"{attempt.host} has no record of it any more", Afterwards.RELAUNCH)


def is_all_told(world: World, experiment: Experiment, attempt: Attempt, seen: AttemptSeen, now: Now) -> bool:
    """Whether an ended attempt's last metrics have arrived. They are waited for, but not for ever."""
    if now.s - world.ended_at_s.get(attempt.id, now.s) >= world.limits.linger_s:
        return True
    reads_log = any(rule.regex is not None for rule in experiment.spec.metrics)
    is_searched = not reads_log or world.scan_offset.get(attempt.id, 0) >= seen.log_bytes
    return is_searched and world.metrics_offset.get(attempt.id, 0) >= seen.metrics_bytes


def ended(experiment: Experiment, attempt: Attempt, seen: AttemptSeen) -> ev.AttemptEnded:
    """The event that closes an attempt, with its reason, its proof and what follows."""
    exit_ = seen.exit or Exit()
    if seen.state is Seen.EXITED:
        reason = reason_of(exit_, stop_asked=experiment.phase is Phase.STOPPING)
    elif experiment.phase is Phase.STOPPING and experiment.afterwards is not Afterwards.RELAUNCH:
        reason = Reason.STOPPED_BY_USER
    elif seen.state is Seen.REVOKED:
        reason = Reason.LAUNCH_FAILED
    else:
        reason = Reason.HOST_LOST
    return ev.AttemptEnded(
        attempt=attempt.id,
        reason=reason,
        proof=PROOFS[seen.state],
        exit_code=exit_.rc,
        detail=_detail(experiment, attempt, seen, reason),
        restarts=seen.restarts,
        runtime_s=max(0.0, (seen.started_age_s or 0.0) - (seen.ended_age_s or 0.0)),
        relaunch_delay_s=relaunch_delay_s(experiment, reason),
    )


def _detail(experiment: Experiment, attempt: Attempt, seen: AttemptSeen, reason: Reason) -> str:
    """How it ended, in words that stand in the row for good."""
    exit_ = seen.exit or Exit()
    if reason is Reason.SUCCEEDED:
        return ""
    if reason is Reason.STOPPED_BY_USER:
        return experiment.stop_reason or "stopped outside sheetd"
    if reason is Reason.LAUNCH_FAILED:
        return experiment.stop_reason or f"{attempt.host} did not start it"
    if seen.state is Seen.REBOOTED:
        return f"{attempt.host} was rebooted"
    if seen.state is Seen.LOST:
        return f"its processes vanished from {attempt.host} without an exit record"
    how = "ended without saying how" if exit_.signal is None else f"killed by signal {exit_.signal}"
    if exit_.error:
        return clean_line(exit_.error)
    if exit_.rc is not None:
        how = f"exit code {exit_.rc}"
    if reason is Reason.OUT_OF_MEMORY:
        how = f"out of memory ({how})"
    if seen.restarts:
        how += f", after {seen.restarts} restart{'s' if seen.restarts > 1 else ''}"
    last = next((line for line in reversed([clean_line(line) for line in seen.last_lines]) if line), "")
    return f"{how}; last line: {last}" if last else how


# --- launching ---------------------------------------------------------------------------------------------------


def candidates(world: World) -> Iterator[Candidate]:
    """The hosts as placement sees them: a slot of a live attempt is taken, whatever we can see of it."""
    taken = {
        slot
        for id_ in world.state.live.values()
        if (attempt := world.state.experiments[id_].attempt) is not None
        for slot in attempt.slots
    }
    for host in world.hosts.values():
        yield Candidate(
            name=host.name,
            slots=host.slots,
            free=tuple(slot for slot in host.slots if slot not in taken),
            labels=host.labels,
            closed="" if host.is_up else f"cannot be used: {host.why}",
        )


def decide_launches(world: World, now: Now, chance: Chance) -> Iterator[ev.Event]:
    """The intent of a launch for every waiting experiment that finds room; a sentence for each other one."""
    ready, later = [], {}
    for id_ in world.state.open:
        experiment = world.state.experiments[id_]
        if experiment.phase is not Phase.WAITING:
            continue
        if experiment.missing_since_s is not None:
            later[id_] = "its row is gone from the sheet; it is not launched"
        elif experiment.not_before_s > now.s:
            later[id_] = ""
        else:
            ready.append(experiment)
    placement = place(ready, candidates(world))
    world.waiting = {**later, **placement.waiting}
    for id_, (host, slots) in placement.placed.items():
        yield launch_intent(world.state.experiments[id_], host, slots, chance.nonce())


def launch_intent(experiment: Experiment, host: HostName, slots: tuple[SlotName, ...], nonce: str) -> ev.LaunchIntended:
    number = len(experiment.attempts) + 1
    return ev.LaunchIntended(attempt=attempt_id(experiment.id, number), host=host, slots=slots, nonce=nonce)


# --- effects on hosts --------------------------------------------------------------------------------------------


def plan_hosts(world: World, now: Now) -> Iterator[Effect]:
    """What to ask of the hosts that can be asked: launches and stops that are not answered yet, and whom to watch."""
    for id_ in world.state.live.values():
        experiment = world.state.experiments[id_]
        attempt = experiment.attempt
        if attempt is None or (host := world.hosts.get(attempt.host)) is None or not host.is_up:
            continue
        effect = _request(experiment, attempt, world.seen(attempt))
        if effect is None or effect.key in world.in_flight or world.hold_until_s.get(effect.key, 0.0) > now.s:
            continue
        yield effect
    for host in world.hosts.values():
        watch = Watch(host=host.name, attempts=watched(world, host))
        if not host.is_up or not is_watch_due(world, host, watch, now) or watch.key in world.in_flight:
            continue
        if world.hold_until_s.get(watch.key, 0.0) <= now.s:
            yield watch


def _request(experiment: Experiment, attempt: Attempt, seen: AttemptSeen | None) -> Effect | None:
    state = Seen.ABSENT if seen is None else seen.state
    if experiment.phase is Phase.LAUNCHING and state in (Seen.ABSENT, Seen.CLAIMED):
        return Launch(
            host=attempt.host,
            attempt=attempt.id,
            nonce=attempt.nonce,
            spec=experiment.spec,
            resume=experiment.resume,
        )
    if experiment.phase is Phase.STOPPING and state not in OVER:
        return Stop(host=attempt.host, attempt=attempt.id, grace_s=experiment.spec.grace_s)
    return None


def is_watch_due(world: World, host: HostView, watch: Watch, now: Now) -> bool:
    """At once for an attempt that is to be watched; those that have ended can be dropped together a little later."""
    lingers_s = world.limits.linger_s
    return not watch.attempts <= host.watching or any(
        now.s - world.ended_at_s.get(attempt, float("-inf")) >= lingers_s for attempt in host.watching - watch.attempts
    )


def watched(world: World, host: HostView) -> frozenset[AttemptId]:
    """The live attempts whose news the host should send: those it was asked to start.

    None that has ended: an end is recorded when everything of it has been told.
    """
    wanted = {attempt for attempt in host.attempts if attempt in world.state.live}
    for id_ in world.state.live.values():
        live = world.state.experiments[id_].attempt
        if live is not None and live.host == host.name and live.started:
            wanted.add(live.id)
    return frozenset(wanted)
