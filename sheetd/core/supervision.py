"""From what hosts say to what became of each attempt, and what is asked of them next.

An attempt ends only with a proof: an exit record, a host that is certain nothing lives, a reboot, or a tombstone set
before the start. That a host cannot be reached is no proof and ends nothing, however long it lasts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sheetd.core import events as ev
from sheetd.core.actions import stop
from sheetd.core.dependencies import ran_as
from sheetd.core.effect import Describe, Effect, HandOver, Launch, Stop, TakeOver, Watch
from sheetd.core.live_edits import is_to_hand_over
from sheetd.core.model import (
    Afterwards,
    Attempt,
    AttemptId,
    Experiment,
    Phase,
    Proof,
    Reason,
    Spec,
    row_of,
)
from sheetd.core.observation import AttemptSeen, Exit, Seen
from sheetd.core.ownership import is_owner
from sheetd.core.plan import Now
from sheetd.core.probing import plan_probes
from sheetd.core.relaunch_policy import reason_of, relaunch_delay_s
from sheetd.core.strays import in_the_way, plan_stops
from sheetd.core.symptoms import bad_host_line, crash_after_health
from sheetd.core.text import clean_line
from sheetd.core.world import OVER, HostView, World

PROOFS = {
    Seen.EXITED: Proof.EXIT_RECORD,
    Seen.LOST: Proof.LOST,
    Seen.REBOOTED: Proof.REBOOTED,
    Seen.REVOKED: Proof.REVOKED,
}
#: Attempts in one request for what they are.
DESCRIBED_AT_ONCE = 50
STARTED = frozenset({Seen.RUNNING, Seen.RESTARTING, Seen.EXITED, Seen.LOST})


def decide_attempts(world: World, now: Now) -> Iterator[ev.Event]:
    """What the last answers of the hosts mean for the live attempts."""
    for id_ in world.state.live.values():
        experiment = world.state.experiments[id_]
        attempt = experiment.attempt
        seen = world.seen(attempt) if attempt is not None else None
        if attempt is None:
            continue
        if attempt.host not in world.hosts or world.is_on_another(attempt):
            yield from _decide_out_of_reach(world, experiment, attempt)
        elif seen is not None and seen.state in OVER:
            yield from _decide_end(world, experiment, attempt, seen, now)
        elif experiment.phase is Phase.LAUNCHING and attempt.id in world.refusals:
            why = world.refusals[attempt.id]
            yield from stop(experiment, why, Afterwards.RELAUNCH)
        elif seen is None:
            continue
        elif experiment.phase is Phase.LAUNCHING and seen.state in STARTED:
            yield ev.AttemptStarted(attempt=attempt.id, wall_s=now.wall_s)
        elif experiment.phase is Phase.RUNNING and seen.state is Seen.ABSENT:
            yield from stop(experiment, f"{attempt.host} has no record of it any more", Afterwards.RELAUNCH)


def _decide_out_of_reach(world: World, experiment: Experiment, attempt: Attempt) -> Iterator[ev.Event]:
    """Nothing leads to its machine, and nobody but a person can know whether it is gone.

    Where the host was only taken out of the file the machine may be well, and a restart would run beside what runs
    there: such an attempt is let go for good, or not at all.
    """
    if experiment.phase is not Phase.STOPPING or not experiment.stop_by_person:
        return
    if attempt.host in world.hosts:
        yield given_up(experiment, attempt, f"another machine answers as {attempt.host}")
    elif experiment.afterwards is Afterwards.END:
        yield given_up(experiment, attempt, f"{attempt.host} is not in sheetd.toml any more")


def _decide_end(
    world: World, experiment: Experiment, attempt: Attempt, seen: AttemptSeen, now: Now
) -> Iterator[ev.Event]:
    if not is_all_told(world, experiment, attempt, seen, now):
        return
    if experiment.phase is Phase.LAUNCHING and seen.state in STARTED:
        yield ev.AttemptStarted(attempt=attempt.id, wall_s=now.wall_s)
    end = ended(experiment, attempt, seen, is_beaten=attempt.id in world.beaten)
    yield replace(end, host_fault=_host_fault(world, experiment, attempt, seen, end))


def is_all_told(world: World, experiment: Experiment, attempt: Attempt, seen: AttemptSeen, now: Now) -> bool:
    """Whether an ended attempt's last metrics have arrived. They are waited for, but not for ever."""
    if now.s - world.ended_at_s.get(attempt.id, now.s) >= world.limits.told_within_s:
        return True
    reads_log = any(rule.regex is not None for rule in experiment.spec.metrics)
    is_searched = not reads_log or world.scan_offset.get(attempt.id, 0) >= seen.log_bytes
    return is_searched and world.metrics_offset.get(attempt.id, 0) >= seen.metrics_bytes


def ended(experiment: Experiment, attempt: Attempt, seen: AttemptSeen, *, is_beaten: bool = False) -> ev.AttemptEnded:
    """The event that closes an attempt, with its reason, its proof and what follows."""
    exit_ = seen.exit or Exit()
    if seen.state is Seen.EXITED:
        reason = reason_of(exit_, stop_asked=experiment.phase is Phase.STOPPING)
        if reason is Reason.FAILED and bad_host_line(seen):
            reason = Reason.HOST_FAULT
    elif experiment.phase is Phase.STOPPING and experiment.afterwards is not Afterwards.RELAUNCH:
        reason = Reason.STOPPED_BY_USER
    elif seen.state is Seen.REVOKED:
        is_busy = is_beaten or seen.reason == "accelerator_busy"
        reason = Reason.ACCELERATOR_BUSY if is_busy else Reason.LAUNCH_FAILED
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


def given_up(experiment: Experiment, attempt: Attempt, why: str) -> ev.AttemptEnded:
    """A person let go of an attempt whose machine is not behind its host's name any more: nobody else can know."""
    is_wish = experiment.afterwards in (Afterwards.END, Afterwards.RERUN, Afterwards.PAUSE)
    reason = Reason.STOPPED_BY_USER if is_wish else Reason.HOST_LOST
    return ev.AttemptEnded(
        attempt=attempt.id,
        reason=reason,
        proof=Proof.FORCED_BY_OPERATOR,
        detail=f"given up by a person: {why}",
        relaunch_delay_s=relaunch_delay_s(experiment, reason),
    )


def _host_fault(world: World, experiment: Experiment, attempt: Attempt, seen: AttemptSeen, end: ev.AttemptEnded) -> str:
    """What in an end points to the host. A reboot does not: it is a proof, and happens to good machines."""
    if end.reason is Reason.HOST_FAULT:
        return bad_host_line(seen)
    if end.reason is Reason.HOST_LOST and end.proof is Proof.LOST:
        return end.detail
    if end.reason is Reason.LAUNCH_FAILED:
        return clean_line(world.host_faults.get(attempt.id, ""))
    return crash_after_health(experiment, attempt, seen.exit or Exit()) if end.reason is Reason.FAILED else ""


def _detail(experiment: Experiment, attempt: Attempt, seen: AttemptSeen, reason: Reason) -> str:
    """How it ended, in words that stand in the row for good."""
    exit_ = seen.exit or Exit()
    if reason is Reason.SUCCEEDED:
        return ""
    if reason is Reason.STOPPED_BY_USER:
        return experiment.stop_reason or "stopped outside sheetd"
    if reason is Reason.ACCELERATOR_BUSY:
        return f"{experiment.stop_reason or f'{attempt.host} had no accelerator for it any more'}; nothing was started"
    if reason is Reason.LAUNCH_FAILED:
        return experiment.stop_reason or f"{attempt.host} did not start it"
    if seen.state is Seen.REBOOTED:
        return f"{attempt.host} was rebooted"
    if seen.state is Seen.LOST:
        why = clean_line(seen.reason or "")
        return f"{attempt.host}: {why}" if why else f"its processes vanished from {attempt.host} without an exit record"
    return _last_words(exit_, seen, reason)


def _last_words(exit_: Exit, seen: AttemptSeen, reason: Reason) -> str:
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


# --- effects on hosts --------------------------------------------------------------------------------------------


def plan_hosts(world: World, now: Now) -> Iterator[Effect]:
    """What to ask of the hosts that can be asked: launches and stops that are not answered yet, and whom to watch."""
    for effect in (*_plan_takeover(world), *_plan_requests(world)):
        if effect.key not in world.in_flight and world.hold_until_s.get(effect.key, 0.0) <= now.s:
            yield effect
    yield from plan_probes(world, now)
    for host in world.hosts.values():
        watch = Watch(host=host.name, attempts=watched(world, host))
        if not host.is_up or not is_watch_due(world, host, watch, now) or watch.key in world.in_flight:
            continue
        if world.hold_until_s.get(watch.key, 0.0) <= now.s:
            yield watch


def _plan_takeover(world: World) -> Iterator[TakeOver | Describe]:
    """Each host has to obey our epoch before anything is asked of it, and to tell what it keeps for somebody else."""
    if not is_owner(world):
        return
    for host in world.hosts.values():
        if not host.is_up:
            continue
        if host.epoch != world.state.epoch:
            yield TakeOver(host=host.name, epoch=world.state.epoch)
        elif world.state.takeover is not None:
            unknown = [attempt for attempt, stranger in host.strangers.items() if stranger.kept is None]
            if unknown:
                yield Describe(host=host.name, attempts=tuple(unknown[:DESCRIBED_AT_ONCE]))


def _plan_requests(world: World) -> Iterator[Launch | Stop | HandOver]:
    for known in world.hosts.values():
        if known.is_up and known.epoch == world.state.epoch:
            yield from plan_stops(world, known)
    held_back = in_the_way(world)
    for id_ in world.state.live.values():
        experiment = world.state.experiments[id_]
        attempt = experiment.attempt
        if attempt is None or (host := world.hosts.get(attempt.host)) is None or not host.is_up:
            continue
        if host.epoch != world.state.epoch or world.is_on_another(attempt):
            continue
        effect = _request(world, experiment, attempt)
        # While it is not known what else runs, an older intent may have been overtaken by a newer attempt elsewhere.
        may_launch = world.state.takeover is None and id_ not in held_back
        if effect is not None and (may_launch or not isinstance(effect, Launch)):
            yield effect


def _request(world: World, experiment: Experiment, attempt: Attempt) -> Launch | Stop | HandOver | None:
    seen = world.seen(attempt)
    state = Seen.ABSENT if seen is None else seen.state
    if experiment.phase is Phase.LAUNCHING and state in (Seen.ABSENT, Seen.CLAIMED):
        return Launch(
            host=attempt.host,
            attempt=attempt.id,
            nonce=attempt.nonce,
            spec=_handed_over(world, experiment.spec),
            resume=experiment.resume,
            slots=attempt.slots,
            fingerprint=world.state.fingerprints[row_of(experiment.id)],
            accelerators=attempt.accelerators,
        )
    if experiment.phase is Phase.STOPPING and state not in OVER:
        return Stop(host=attempt.host, attempt=attempt.id, grace_s=experiment.spec.grace_s)
    if state not in OVER and is_to_hand_over(world, experiment, attempt):
        params = experiment.spec.params
        return HandOver(host=attempt.host, attempt=attempt.id, number=experiment.handovers, params=params)
    return None


def _handed_over(world: World, spec: Spec) -> Spec:
    """What lies on a host of a row that stands for several runs is what each of these wrote."""
    if world.state.sweeps.keys().isdisjoint(spec.after):
        return spec
    return replace(spec, after=tuple(id_ for row in spec.after for id_ in ran_as(world.state, row)))


def is_watch_due(world: World, host: HostView, watch: Watch, now: Now) -> bool:
    """At once for an attempt that is to be watched; those that have ended can be dropped together a little later."""
    lingers_s = world.limits.linger_s
    return not watch.attempts <= host.watching or any(
        now.s - world.ended_at_s.get(attempt, float("-inf")) >= lingers_s for attempt in host.watching - watch.attempts
    )


def watched(world: World, host: HostView) -> frozenset[AttemptId]:
    """The attempts whose news the host should send: the live ones that it was asked to start, and strays.

    None that has ended: an end is recorded when everything of it has been told.
    """
    wanted = {attempt for attempt in host.attempts if attempt in world.state.live} | host.strays.keys()
    for id_ in world.state.live.values():
        live = world.state.experiments[id_].attempt
        if live is not None and live.host == host.name and live.started:
            wanted.add(live.id)
    return frozenset(wanted)
